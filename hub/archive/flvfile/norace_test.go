//go:build !race

package flvfile

const raceEnabled = false
