package relay

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/hub"
)

// A push is live while its stream is published and the target acknowledges it; what it sends begins
// with metadata and codec headers, at time 0, and says through which servers it has come.
func TestPushLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newPushRig(t, time.Minute)
		g.run()
		assert.Equal(t, Idle, g.state())
		assert.Empty(t, g.target.triedAt())
		p := g.publish()
		p.play(80 * time.Millisecond)
		require.NotEmpty(t, g.target.sinks())
		path := g.target.opened[0].Path
		assert.Equal(t, "here", path[len(path)-1], "the first metadata may come later")
		p.play(1920 * time.Millisecond)
		assert.Equal(t, "connecting, live", g.story())
		s := g.target.last()
		assert.True(t, strings.HasPrefix(pushWords(s.got()), "meta@0 V:header@0 A@0 K0@0 a0@0 P1@40 a1@40 P2@80"), pushWords(s.got()))
		values, err := amf.DecodeAll(s.got()[0].Data, amf.Limits{})
		require.NoError(t, err)
		passed, _ := values[1].(amf.ECMAArray).Get(hub.PathProperty)
		assert.Equal(t, "origin,middle,here", passed)
		checkPushClock(t, s.got())
		i := g.push.info()
		assert.Equal(t, "192.0.2.1:1", i.Remote)
		assert.Equal(t, uint64(1), i.Tries)
		assert.Greater(t, i.Bytes, uint64(50*1000))
		assert.Zero(t, i.Dropped)
		assert.Empty(t, i.Detail)
		assert.Equal(t, 1, g.log.count("a push is live"))
		p.Close()
		g.end()
		assert.True(t, s.isClosed(), "without a proper end")
	})
}

// Nobody is told: the push finds out by itself that its stream is published, and that it is not.
func TestPushEventsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newPushRig(t, 20*time.Second)
		g.nudged = false
		g.run()
		synctest.Wait()
		p := g.publish()
		p.play(7 * time.Second)
		assert.Equal(t, Live, g.state())
		p.Close()
		time.Sleep(2 * time.Second)
		assert.Equal(t, Held, g.state())
		time.Sleep(20 * time.Second)
		assert.True(t, g.ended())
		g.end()
	})
}

// While the publisher is away the target is told nothing, for the hold; what follows goes on over the
// same connection and on one timeline, whether the hub still has the stream or not.
func TestPushHold(t *testing.T) {
	tests := []struct {
		name   string
		away   time.Duration
		header string
		again  string // of headers
	}{
		{"within the grace", 3 * time.Second, "header", ""},
		{"after the grace", 30 * time.Second, "header", ""},
		{"within the grace, with other headers", 3 * time.Second, "other", "V:other"},
		{"after the grace, with other headers", 30 * time.Second, "other", "V:other"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newPushRig(t, time.Minute)
				p := g.publish()
				g.run()
				p.play(1500 * time.Millisecond)
				s := g.target.last()
				assert.Equal(t, "connecting, live", g.story())
				p.Close()
				assert.Equal(t, "held", g.story())
				before := s.got()
				time.Sleep(tt.away)
				assert.Equal(t, Held, g.state())
				assert.Len(t, s.got(), len(before), "told something")
				p = g.publishAs(7, tt.header)
				assert.Equal(t, Held, g.state(), "until something is sent")
				p.play(2 * time.Second)
				assert.Equal(t, "live", g.story())
				require.Len(t, g.target.sinks(), 1)
				after := s.got()[len(before):]
				words := pushWords(after)
				if tt.again == "" {
					assert.Regexp(t, `^K0@\d+ a0@`, words)
				} else {
					assert.Regexp(t, `^`+tt.again+`@\d+ K0@\d+ a0@`, words)
				}
				checkPushClock(t, s.got())
				step := time.Duration(after[0].Timestamp-before[len(before)-1].Timestamp) * time.Millisecond
				if tt.away > 8*time.Second {
					assert.InDelta(t, tt.away, step, float64(200*time.Millisecond), "the timeline goes on as time does")
				} else { // the hub's does
					assert.Less(t, step, tt.away+200*time.Millisecond)
				}
				p.Close()
				time.Sleep(time.Minute)
				assert.True(t, g.ended())
				assert.True(t, s.isClosed(), "without a proper end")
				assert.Equal(t, "held, idle", g.story())
				g.end()
			})
		})
	}
}

// A push ends when nobody has published for its hold, whatever it was about.
func TestPushHoldOver(t *testing.T) {
	tests := []struct {
		name   string
		hold   time.Duration
		how    pushScript
		before State
		during State
	}{
		{"live", time.Minute, pushScript{}, Live, Held},
		{"no hold", 0, pushScript{}, Live, Idle},
		{"refused", time.Minute, pushScript{refuse: Failed(CauseDenied, "no")}, Refused, Idle},
		{"opening", time.Minute, pushScript{hang: true}, Connecting, Connecting},
		{"blocked", time.Minute, pushScript{blocks: true}, Connecting, Held},
		{"slow to end", time.Minute, pushScript{slowEnd: true}, Live, Held},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newPushRig(t, tt.hold, tt.how)
				p := g.publish()
				g.run()
				p.play(2 * time.Second)
				assert.Equal(t, tt.before, g.state())
				p.Close()
				assert.Equal(t, tt.during, g.state())
				assert.Equal(t, tt.hold == 0, g.ended())
				time.Sleep(tt.hold + pushDrain + 2*pushClose)
				assert.True(t, g.ended())
				if tt.before == Live && !tt.how.slowEnd {
					s := g.target.last()
					assert.True(t, s.isClosed())
					assert.Contains(t, pushWords(s.got()), "a49@1960", "what was due yet was sent")
				}
				g.end()
			})
		})
	}
}

// What ends the push while it is held, or the connection, ends just that.
func TestPushHeldAndBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newPushRig(t, time.Minute)
		p := g.publish()
		g.run()
		p.play(2 * time.Second)
		p.Close()
		time.Sleep(10 * time.Second)
		g.target.last().end(nil)
		assert.Equal(t, Idle, g.state())
		time.Sleep(20 * time.Second)
		assert.Len(t, g.target.triedAt(), 1, "tried for nobody")
		p = g.publish()
		p.play(2 * time.Second)
		assert.Equal(t, Live, g.state())
		require.Len(t, g.target.sinks(), 2)
		checkPushClock(t, g.target.last().got())
		p.Close()
		time.Sleep(time.Second)
		assert.Equal(t, Held, g.state())
		g.end() // by its context
		assert.True(t, g.target.last().isClosed())
	})
}

// The hub ends: a stream whose publisher cannot come back is not held.
func TestPushServerStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newPushRig(t, time.Minute)
		p := g.publish()
		g.run()
		p.play(time.Second)
		g.hub.RefuseNew()
		p.play(time.Second)
		assert.Equal(t, Live, g.state())
		p.Close()
		assert.True(t, g.ended())
		assert.True(t, g.target.last().isClosed())
		g.end()
	})
}

// In a cluster, who has the target may be another node that is just leaving: it is tried again soon, for the first times.
func TestPushBusyInCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newPushRig(t, 0, pushScript{refuse: Failed(CauseBusy, "taken")})
		g.push.cfg.Several = true
		p := g.publish()
		g.run()
		p.frame()
		for g.state() == Connecting {
			time.Sleep(time.Millisecond)
		}
		assert.Equal(t, Refused, g.state())
		assert.LessOrEqual(t, time.Until(g.push.info().Next), busySoon[0])
		time.Sleep(busySoon[0] + busySoon[1] + busySoon[2] + 100*time.Millisecond)
		assert.Len(t, g.target.triedAt(), 1+len(busySoon))
		assert.Greater(t, time.Until(g.push.info().Next), 25*time.Second)
		p.Close()
		g.end()
	})
}

// A refusal is waited out at once; what may pass is tried again after waits that grow.
func TestPushRefused(t *testing.T) {
	for cause, state := range map[Cause]State{
		CauseConnection: BackingOff, CauseNotFound: BackingOff, CauseDenied: Refused, CauseBusy: Refused,
		CauseLoop: Refused, CauseMedia: Refused, CauseURL: Refused,
	} {
		synctest.Test(t, func(t *testing.T) {
			g := newPushRig(t, 0, pushScript{refuse: Failed(cause, "said no %d", cause)})
			p := g.publish()
			g.run()
			p.frame()
			for g.state() == Connecting {
				time.Sleep(time.Millisecond)
			}
			i := g.push.info()
			assert.Equal(t, state, i.State, cause)
			assert.Contains(t, i.Detail, "said no")
			wait := time.Until(i.Next)
			if state == Refused {
				assert.Greater(t, wait, 29*time.Second)
				assert.Less(t, wait, 34*time.Second)
			} else {
				assert.LessOrEqual(t, wait, firstDelay)
			}
			time.Sleep(5 * time.Minute) // the publisher need not send anything
			tries := g.target.triedAt()
			if state == Refused {
				assert.InDelta(t, 10, len(tries), 1.5)
			} else {
				assert.Greater(t, len(tries), 12)
				assert.Less(t, len(tries), 60)
				for n := 1; n < len(tries); n++ {
					assert.LessOrEqual(t, tries[n]-tries[n-1], min(maxDelay, firstDelay<<(n-1)), "wait %d", n)
				}
				assert.Less(t, g.log.count("level=WARN"), 3, "a line for each try")
			}
			g.end()
			p.Close()
		})
	}
}

// Targets that failed at the same moment are not tried again at the same moment.
func TestPushRetryJitter(t *testing.T) {
	for _, cause := range []Cause{CauseConnection, CauseDenied} {
		at := map[time.Time]bool{}
		now := time.Now()
		for range 50 {
			var r pushRetry
			r.failed(Failed(cause, ""), false, false, now)
			at[r.at] = true
		}
		assert.Greater(t, len(at), 45)
	}
	var r pushRetry
	now := time.Now()
	for range 200 {
		r.failed(Failed(CauseConnection, ""), false, false, now)
		require.LessOrEqual(t, r.at.Sub(now), maxDelay)
	}
	r.failed(Failed(CauseConnection, ""), true, false, now)
	assert.Equal(t, now, r.at, "one that worked is tried at once")
	r.failed(Failed(CauseConnection, ""), false, false, now)
	assert.LessOrEqual(t, r.at.Sub(now), firstDelay, "and then as at first")
}

// A connection that worked is tried again at once; one that ends again and again soon after it
// began is not, however much it took.
func TestPushBreaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newPushRig(t, 0)
		p := g.publish()
		g.run()
		p.play(10 * time.Second)
		broke := time.Since(g.target.began)
		g.target.last().end(nil)
		synctest.Wait()
		assert.Equal(t, broke, g.target.triedAt()[1])
		assert.EqualValues(t, 1, g.push.info().Breaks)
		assert.NotEmpty(t, g.push.info().Error)
		assert.Equal(t, []string{"origin", "middle", "here"}, g.target.opened[1].Path)
		p.play(time.Second)
		assert.Equal(t, Live, g.state())
		g.end()
		p.Close()
	})
	synctest.Test(t, func(t *testing.T) {
		g := newPushRig(t, 0, pushScript{keys: 2})
		p := g.publish()
		g.run()
		p.play(2 * time.Minute)
		assert.Less(t, len(g.target.triedAt()), 40)
		g.end()
		p.Close()
	})
}

// A target that does not take a codec is sent nothing of it, and is tried again as soon as there is
// another one.
func TestPushCodec(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newPushRig(t, 0, pushScript{lacks: flv.CodecHEVC})
		p := g.publishAs(12, "header")
		g.run()
		p.play(4 * time.Second)
		i := g.push.info()
		assert.Equal(t, Refused, i.State)
		assert.Equal(t, "codec: HEVC", i.Detail)
		require.Len(t, g.target.sinks(), 1)
		assert.Empty(t, g.target.last().got())
		assert.True(t, g.target.last().isClosed())

		p.n = 0
		p.header(7, "header")
		p.play(4 * time.Second)
		assert.Equal(t, Live, g.state())
		require.Len(t, g.target.sinks(), 2)
		s := g.target.last()
		assert.True(t, strings.HasPrefix(pushWords(s.got()), "meta@0 V:header@0 A@0 K"), pushWords(s.got()))

		p.n = 0
		p.header(12, "header")
		p.play(2 * time.Second)
		assert.Equal(t, Refused, g.state())
		for _, tag := range s.got() {
			if packet, err := tag.Packet(); err == nil {
				require.NotEqual(t, flv.CodecHEVC, packet.Codec)
			}
		}
		p.play(40 * time.Second)
		assert.Equal(t, Refused, g.state())
		assert.Len(t, g.target.sinks(), 3, "asked again after a while")
		assert.Empty(t, g.target.last().got())
		g.end()
		p.Close()
	})
}

// A target that takes half of what there is jumps from key frame to key frame; the log says so once.
func TestPushSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newPushRig(t, 0, pushScript{rate: 12_500 + 1})
		p := g.publish()
		g.run()
		p.play(60 * time.Second)
		i := g.push.info()
		assert.Equal(t, Slow, i.State)
		assert.Greater(t, i.Dropped, uint64(500))
		assert.Less(t, i.Lag, 15*time.Second)
		assert.Len(t, g.target.sinks(), 1)
		assert.Equal(t, "connecting, live, slow", g.story())
		assert.Equal(t, 1, g.log.count("too slow"))
		checkPushClock(t, g.target.last().got())
		g.target.last().set(func(s *pushScript) { s.rate = 0 })
		p.play(20 * time.Second)
		assert.Equal(t, "live", g.story())
		assert.Equal(t, 1, g.log.count("keeps up again"))
		assert.Less(t, g.push.info().Lag, 50*time.Millisecond)
		g.end()
		p.Close()
	})
}

// A target that takes nothing, or acknowledges nothing, is not live, and is ended and tried again.
func TestPushTakesNothing(t *testing.T) {
	tests := []struct {
		name   string
		change func(*pushScript)
	}{
		{"blocks", func(s *pushScript) { s.blocks = true }},
		{"acknowledges nothing", func(s *pushScript) { s.mute = true }},
		{"blocks, and it is not known what it acknowledges", func(s *pushScript) { s.blocks, s.unknown = true, true }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newPushRig(t, 0)
				p := g.publish()
				g.run()
				p.play(10 * time.Second)
				assert.Equal(t, "connecting, live", g.story())
				first := g.target.last()
				first.set(tt.change)
				p.play(3 * time.Second)
				assert.Equal(t, Live, g.state())
				p.play(5 * time.Second)
				i := g.push.info()
				assert.Equal(t, Slow, i.State)
				assert.Contains(t, i.Detail, "nothing was acknowledged for")
				p.play(6 * time.Second)
				assert.True(t, first.isOver())
				assert.Regexp(t, "^slow, (backing off, )?connecting, live$", g.story())
				assert.Len(t, g.target.sinks(), 2)
				g.end()
				p.Close()
			})
		})
		t.Run(tt.name+" from the first", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var how pushScript
				tt.change(&how)
				g := newPushRig(t, 0, how)
				p := g.publish()
				g.run()
				p.play(time.Minute)
				assert.NotContains(t, g.story(), "live")
				assert.Greater(t, len(g.target.sinks()), 3)
				assert.Less(t, len(g.target.sinks()), 8)
				assert.Contains(t, g.push.info().Detail, "nothing")
				g.end()
				p.Close()
			})
		})
	}
}

// An end is not held up by a target that takes nothing, nor by one that does not answer.
func TestPushEndsInTime(t *testing.T) {
	for _, how := range []pushScript{{blocks: true}, {slowEnd: true}, {hang: true}, {rate: 100}} {
		synctest.Test(t, func(t *testing.T) {
			g := newPushRig(t, time.Minute, how)
			p := g.publish()
			g.run()
			p.play(3 * time.Second)
			g.end()
			p.Close()
		})
	}
}

// Run may be called again when it has returned.
func TestPushRunsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newPushRig(t, 0)
		p := g.publish()
		g.run()
		p.play(time.Second)
		p.Close()
		assert.True(t, g.ended())
		p = g.publish()
		synctest.Wait()
		g.done = make(chan struct{})
		g.run()
		p.play(time.Second)
		assert.Equal(t, Live, g.state())
		assert.Len(t, g.target.sinks(), 2)
		g.end()
		p.Close()
	})
}

// The same codec again, of another publisher, is nothing that a refused target is asked about.
func TestPushCodecAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newPushRig(t, time.Minute, pushScript{lacks: flv.CodecHEVC})
		g.run()
		p := g.publishAs(12, "header")
		p.play(2 * time.Second)
		assert.Equal(t, Refused, g.state())
		p.Close()
		time.Sleep(10 * time.Second)
		assert.Equal(t, Idle, g.state())
		p = g.publishAs(12, "header")
		time.Sleep(500 * time.Millisecond) // it is not known yet what comes
		p.play(10 * time.Second)
		assert.Equal(t, Refused, g.state())
		assert.Len(t, g.target.triedAt(), 1)
		p.play(15 * time.Second)
		assert.Len(t, g.target.triedAt(), 2)
		g.end()
		p.Close()
	})
}

// A publisher that comes back with fewer tracks has its headers sent, though they are known: they say
// that none of the others is in force.
func TestPushFewerTracks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newPushRig(t, time.Minute)
		g.run()
		p := g.publish()
		p.write(flv.TypeAudio, p.clock, []byte("\x95\x00mp4a\x01\x12\x10")) // of a second track (Enhanced RTMP v2)
		p.play(2 * time.Second)
		p.Close()
		before := len(g.target.last().got())
		p = g.publish()
		p.play(3 * time.Second)
		// As soon as the hub knows: with the first frame or the one after it.
		assert.Regexp(t, `^(K0@2000 )?meta@2000 V:header@2000 A@2000 `, pushWords(g.target.last().got()[before:]))
		g.end()
		p.Close()
	})
}

// A connection that is there just as the push ends is closed.
func TestPushOpenedTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newPushRig(t, time.Minute, pushScript{late: true})
		g.run()
		p := g.publish()
		p.frame()
		assert.Equal(t, Connecting, g.state())
		g.end()
		assert.True(t, g.target.last().isOver())
		p.Close()
	})
}

// A target has caught up when it has kept up for a while, not at the first moment.
func TestPushPace(t *testing.T) {
	var p pushPace
	now := time.Duration(0)
	pass := func(passed time.Duration, newest int64, edge bool, took time.Duration) time.Duration {
		now += passed
		p.read(&hub.ReadBatch{Packets: []hub.Packet{{Time: newest}}}, edge, now)
		now += took
		return p.wrote(newest, now)
	}
	assert.Zero(t, pass(0, 5000, false, 0), "nothing is known yet")
	assert.Equal(t, 20*time.Millisecond, pass(0, 7000, true, 20*time.Millisecond))
	assert.Equal(t, 3*time.Second, pass(2980*time.Millisecond, 7000, false, 0))
	assert.False(t, p.steady(now))
	assert.Equal(t, time.Millisecond, pass(0, 11_000, true, time.Millisecond))
	assert.False(t, p.steady(now))
	assert.True(t, p.steady(now+pushSteady))
	p.unsteady()
	assert.False(t, p.steady(now+pushSteady))
	p.join()
	assert.Zero(t, pass(0, 3, false, 0), "another clock")
}
