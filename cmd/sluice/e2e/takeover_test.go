//go:build unix

package e2e

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
)

// A publisher falls silent with its connection open, as after a drop of the
// network: the next one takes its place, and viewers go on.
func TestTakeOverOfASilentPublisher(t *testing.T) {
	t.Parallel()
	s := serve(t)
	silent := s.publish("live/x", both)
	pulls := []*pull{s.pull(ffmpegRTMP, "live/x"), s.pull(curl, "live/x")}
	for _, p := range pulls {
		p.reaches(2000)
	}
	silent.signal(syscall.SIGSTOP)
	before := read(t, pulls[0].path).length()
	var second *process
	until(t, "the viewers get more, from the second publisher", func() bool {
		if second == nil || !second.running() { // it came too soon, and was refused
			second = s.tryPublish("live/x", both)
		}
		return read(t, pulls[0].path).length() >= before+2000
	})
	for _, p := range pulls {
		p.reaches(before + 2000)
		p.stop()
		checkRecording(t, p.path, both)
	}
	silent.signal(syscall.SIGCONT)
	assert.NotZero(t, silent.wait(), "the first one is told that it was replaced")
	assert.True(t, second.running())
}
