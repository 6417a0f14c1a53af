//go:build !race

package cli_test

// raced says whether the spec is built for the race detector.
const raced = false
