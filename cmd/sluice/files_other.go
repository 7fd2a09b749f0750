//go:build !linux && !darwin

package main

// raiseFileLimit does nothing here: Windows has no such limit, and on other
// systems Go's runtime has raised it as far as it goes.
func raiseFileLimit() (limit uint64, known bool) { return 0, false }
