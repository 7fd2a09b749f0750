//go:build race

package relay

func init() { race = true }
