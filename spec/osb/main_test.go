// Package osb_test is the black-box conformance table: the real program, the
// real engine, director and services, spoken to over HTTP as a platform does.
// Rows name the lines of checklist.md.
package osb_test
