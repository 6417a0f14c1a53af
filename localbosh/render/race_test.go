//go:build race

package render_test

// raced: the race detector makes compiling Ruby last minutes.
const raced = true
