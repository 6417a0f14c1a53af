package vm

// RotateFile is tested by itself: a log grows for a long time before it is cut.
var RotateFile = rotateFile
