//go:build race

package vod

const raceDetector = true
