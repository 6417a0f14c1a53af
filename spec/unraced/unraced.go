// Package unraced gives tests a program for their children that is built
// without the race detector: under it CRuby in WebAssembly takes minutes and
// every start of a child is slow, and there is nothing for it to find.
package unraced
