//go:build !unix

package event

import "os/exec"

// ownGroup does nothing: there are no groups of processes here that could be killed.
func ownGroup(*exec.Cmd) {}

func killGroup(cmd *exec.Cmd) error { return cmd.Process.Kill() }
