package e2e

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// muteNotice is how long the server takes to find that the sound has stopped.
const muteNotice = time.Second

// filmed has a phone publish and opens a browser for its audience.
func filmed(t *testing.T, prepare func(*phone)) (*phone, *audience) {
	t.Helper()
	s := serve(t, longGrace)
	ph := s.idlePhone("live/x")
	if prepare != nil {
		prepare(ph)
	}
	ph.publish()
	s.state("live/x", "live")
	return ph, openAudience(s, ph, "live/x")
}

// A phone that does nothing special is watched from the live edge, with its sound.
func TestPhone(t *testing.T) {
	t.Parallel()
	_, a := filmed(t, nil)
	attempt(t, "plain play", func() bool {
		a.leave()
		names := a.join("viewer")
		ok := a.see(time.Now(), 0, names...)
		ok = a.hear(false, names...) && ok
		ok = a.opened(1, names...) && ok
		return ok
	})
}

// joinings are when others come who were not there before: before the server has
// noticed anything, or later.
var joinings = []struct {
	name string
	soon bool
}{{"others come at once", true}, {"others come later", false}}

// A phone that is muted sends no sound at all. Everybody sees on, hears silence, and
// the sound when it is back, in the same player.
func TestPhoneIsMuted(t *testing.T) {
	t.Parallel()
	for _, others := range joinings {
		t.Run(others.name, func(t *testing.T) {
			t.Parallel()
			ph, a := filmed(t, nil)
			attempt(t, "mute", func() bool {
				a.leave()
				before := a.join("before")
				ok := a.see(time.Now(), 0, before...)
				at := ph.mute()
				since := at.Add(muteNotice)
				var after []string
				if others.soon {
					after = a.join("after")
				}
				ok = a.see(since, muteNotice, before...) && ok
				if !others.soon {
					since, after = time.Now(), a.join("after")
				}
				everybody := slices.Concat(before, after)
				ok = a.see(since, muteNotice, after...) && ok
				ok = a.hear(true, everybody...) && ok
				at = ph.unmute()
				ok = a.see(at, 0, everybody...) && ok
				ok = a.hear(false, everybody...) && ok
				ok = a.opened(1, everybody...) && ok
				return ok
			})
		})
	}
}

// A phone whose camera is off sends no picture at all. Everybody hears on, ended once
// when the server has noticed, and once more when the picture is back.
func TestPhoneCameraOff(t *testing.T) {
	t.Parallel()
	for _, others := range joinings {
		t.Run(others.name, func(t *testing.T) {
			t.Parallel()
			ph, a := filmed(t, nil)
			attempt(t, "camera off", func() bool {
				a.leave()
				before := a.join("before")
				ok := a.see(time.Now(), 0, before...)
				ends := a.ends()
				ph.cover()
				var after []string
				if others.soon {
					after = a.join("after")
				}
				ends.codecChanged()
				for _, name := range before {
					a.until(name, "opens the stream anew", func(v view) bool { return v.Opened > 1 })
				}
				if !others.soon {
					after = a.join("after")
				}
				everybody := slices.Concat(before, after)
				ok = a.hear(false, everybody...) && ok
				ok = a.opened(2, before...) && ok
				if !others.soon {
					ok = a.opened(1, after...) && ok
					for _, name := range after {
						assert.Empty(t, a.view(name).Shown, "pictures that %s saw", name)
					}
				}

				ends = a.ends()
				at := ph.uncover()
				ends.codecChanged()
				ok = a.see(at, 0, everybody...) && ok
				ok = a.hear(false, everybody...) && ok
				ok = a.opened(3, before...) && ok
				ok = a.unharmed(after...) && ok // how often those were ended depends on when they came
				return ok
			})
		})
	}
}

// A phone that is turned goes on with a picture of another size. Everybody is ended at
// its first one and sees it, whole, in the next player.
func TestPhoneIsTurned(t *testing.T) {
	t.Parallel()
	ph, a := filmed(t, nil)
	attempt(t, "turn", func() bool { return a.resized(ph.turn) })
}

// The same, when the phone begins another session for it.
func TestPhoneRestartsTurned(t *testing.T) {
	t.Parallel()
	ph, a := filmed(t, nil)
	attempt(t, "restart", func() bool { return a.resized(ph.restart) })
}

// resized has the phone turned and back, in some way.
func (a *audience) resized(turn func() time.Time) bool {
	a.t.Helper()
	a.leave()
	everybody := a.join("before")
	ok := a.see(time.Now(), 0, everybody...)
	for range 2 {
		ends := a.ends()
		at := turn()
		ends.codecChanged()
		ok = a.see(at, 0, everybody...) && ok
		ok = a.hear(false, everybody...) && ok
		ok = a.opened(2, everybody...) && ok
		a.leave()
		everybody = a.join("after")
		ok = a.see(time.Now(), 0, everybody...) && ok
		ok = a.hear(false, everybody...) && ok
		ok = a.opened(1, everybody...) && ok
	}
	return ok
}

// A phone that never says what its AAC is cannot be heard by a browser. Everybody sees
// it all the same.
func TestPhoneWithoutSoundHeader(t *testing.T) {
	t.Parallel()
	_, a := filmed(t, func(ph *phone) { ph.noHeader = true })
	attempt(t, "plain play", func() bool {
		a.leave()
		before := a.join("before")
		ok := a.see(time.Now(), 0, before...)
		after := a.join("after")
		everybody := slices.Concat(before, after)
		ok = a.see(time.Now(), 0, everybody...) && ok
		ok = a.opened(1, everybody...) && ok
		for _, name := range everybody {
			assert.Zero(t, a.view(name).Sound, "bytes that %s heard", name)
		}
		return ok
	})
}
