//go:build linux && !race

package rawconn

func tellRaceDetector() {}
