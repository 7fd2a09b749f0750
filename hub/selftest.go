package hub

import (
	"strings"
	"time"
)

// A self-test of the server (sluice check) publishes a stream whose name says so: checkPrefix and
// 128 random bits in hexadecimal digits. Such a stream leaves no traces: it is in no list for the
// public and among no figures by name, nobody is told of its sessions, it is not recorded and not
// sent on to other servers. Its sessions have their lines in the log, and count in all sums.
// Refusals are told like all others, or who guesses secrets would do so under such names. So that
// nobody can evade recordings by them, these streams are few and short, and have no grace time.
const (
	checkPrefix = "sluice-check-"
	checkDigits = 32 // hexadecimal, of 128 bits

	maxChecks    = 8               // of them that are published at a time
	maxCheckTime = 2 * time.Minute // from the first publisher of one on
)

// IsCheck reports whether the stream of this key is one of a self-test. Whoever records streams,
// lists them, tells of them or sends them on asks this.
func (k Key) IsCheck() bool {
	digits, ok := strings.CutPrefix(k.Name, checkPrefix)
	return ok && len(digits) == checkDigits && strings.Trim(digits, "0123456789abcdef") == ""
}

// CheckName returns the name of a self-test's stream with these random bits.
func CheckName(random [checkDigits / 2]byte) string {
	const digits = "0123456789abcdef"
	name := make([]byte, 0, len(checkPrefix)+checkDigits)
	name = append(name, checkPrefix...)
	for _, b := range random {
		name = append(name, digits[b>>4], digits[b&15])
	}
	return string(name)
}

// beginCheckLocked has the stream of a self-test counted and ended in time, when its first
// publisher comes. The error is a *Refusal.
func (s *Stream) beginCheckLocked() error {
	if s.selfTest != nil || !s.key.IsCheck() {
		return nil
	}
	if s.hub.checks.Add(1) > maxChecks {
		s.hub.checks.Add(-1)
		return refuse(ReasonTooMany, "at most %d self-tests may run at a time", maxChecks)
	}
	var timer *time.Timer
	timer = time.AfterFunc(maxCheckTime, func() {
		s.update(func() {
			if s.selfTest == timer { // not over as it fired
				s.dismissAllLocked(refuse(ReasonTooMany, "a self-test may last %v", maxCheckTime))
				s.endLocked(ReasonUnpublished)
			}
		})
	})
	s.selfTest = timer
	return nil
}

// endCheckLocked undoes beginCheckLocked.
func (s *Stream) endCheckLocked() {
	if s.selfTest == nil {
		return
	}
	s.selfTest.Stop()
	s.selfTest = nil
	s.hub.checks.Add(-1)
}
