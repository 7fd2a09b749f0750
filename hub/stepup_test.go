package hub_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// elsewhere is another server, where the other one of two publishers is.
type elsewhere struct {
	mu       sync.Mutex
	claim    hub.Claim // what is answered to who would be shown
	err      error
	takes    time.Duration
	asked    []bool // by whom it was asked, if an operator wanted it
	canceled int
}

func (e *elsewhere) stepUp(ctx context.Context, _ *hub.Session, asked bool) (hub.Claim, error) {
	e.mu.Lock()
	e.asked = append(e.asked, asked)
	takes := e.takes
	e.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if ctx.Err() != nil {
		e.canceled++
		return hub.Claim{StandsBy: true}, nil
	}
	return e.claim, e.err
}

// times returns how often it was asked since it was told last.
func (e *elsewhere) times() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := len(e.asked)
	e.asked = nil
	return n
}

func (e *elsewhere) answer(c hub.Claim, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.claim, e.err = c, err
}

// backups are clients whose backup stands by for one at another server.
func backups(t *testing.T, cfg hub.Config) (*hub.Hub, *elsewhere) {
	e := &elsewhere{claim: hub.Claim{StandsBy: true}}
	cfg.StepUp = e.stepUp
	cfg.Claim = func(_ context.Context, s *hub.Session) (hub.Claim, error) {
		return hub.Claim{StandsBy: s.IsBackup()}, nil
	}
	return newHub(t, cfg), e
}

// claimed publishes as a client that has claimed its stream.
func claimed(t *testing.T, h *hub.Hub, c client) *source {
	t.Helper()
	s := &source{t: t}
	session := c.session(h, hub.RolePublish, key)
	require.NoError(t, session.AskAndWait(t.Context()))
	p, err := h.Publish(session, hub.PublishOptions{End: func(r *hub.Refusal) { s.ended = append(s.ended, r.Reason) }})
	require.NoError(t, err)
	t.Cleanup(p.Close)
	s.Publisher = p
	return s
}

var mainOne, backupOne = client{Identity: "x", Remote: "10.0.0.1:1"}, client{Identity: "x", Backup: true, Remote: "10.0.0.2:2"}

// While nothing of the other server's stream is here, one that stands by for it is nobody's publisher.
func TestStandsByForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWitness(t)
		h, e := backups(t, hub.Config{Observe: w.observe})
		assert.NotZero(t, h.Unwatched(key))
		backup := claimed(t, h, backupOne)
		assert.Equal(t, "published standby", w.tell())
		assert.False(t, h.Live(key))
		assert.Nil(t, h.PublisherOf(key))
		assert.Zero(t, h.Unwatched(key), "it wants a copy")
		_, own, held := h.Head(key)
		assert.False(t, own)
		assert.True(t, held)
		v, done := waiting(t, h, hub.WatchOptions{FixedCodecs: true})
		synctest.Wait()
		assert.Equal(t, "wanted", w.tell())
		h.Displace(key, &hub.Refusal{Reason: hub.ReasonReplaced}, nil)
		assert.Empty(t, backup.ended, "it is not this server's")

		backup.send("meta:av vc:s ac:c P:b0@0 A:b0@0")
		assert.Zero(t, e.times())
		backup.send("K:b1@40")
		assert.Equal(t, 1, e.times())
		time.Sleep(500*time.Millisecond - 1)
		backup.send("K:b2@540")
		assert.Zero(t, e.times(), "not before half a second has passed")
		time.Sleep(time.Nanosecond)
		assert.NoError(t, h.Check())
		e.answer(hub.Claim{Time: 7000}, nil)
		backup.send("K:b3@1040 A:b3@1040")
		assert.Equal(t, 1, e.times())
		require.NoError(t, <-done)
		assert.Equal(t, "meta:av@0 vc:s@0 ac:c@0 K:b3@0 A:b3@0", v.read())
		assert.Equal(t, "switched, tracks, joined", w.tell())
		head, own, _ := h.Head(key)
		assert.True(t, own)
		assert.Equal(t, int64(7000), head.Time)
		assert.NotNil(t, h.PublisherOf(key))
		assert.True(t, h.Live(key))
		assert.NoError(t, h.Check())
		backup.send("K:b4@1080")
		assert.Zero(t, e.times())
	})
}

// copyOf copies what the other server has, for one that stands by here, and for a viewer.
func copyOf(t *testing.T, h *hub.Hub) (main *source, v *sink) {
	main, err := copied(t, h, client{})
	require.NoError(t, err)
	for _, word := range []string{"meta:av", "vc:s", "ac:c", "K:m1", "A:m1"} {
		main.put(word, 5000)
	}
	v = watch(t, h, hub.WatchOptions{FixedCodecs: true})
	require.Equal(t, "meta:av@0 vc:s@0 ac:c@0 K:m1@0 A:m1@0", v.read())
	return main, v
}

// Behind a copy it asks as soon as that is silent, or an operator wants it, and goes on with the key frame with which it asked.
func TestStepsUpForACopy(t *testing.T) {
	for name, switched := range map[string]bool{"silence": false, "an operator": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWitness(t)
				h, e := backups(t, hub.Config{Observe: w.observe})
				backup := claimed(t, h, backupOne)
				main, v := copyOf(t, h)
				assert.NoError(t, h.Check())
				assert.Equal(t, "10.0.0.2:2", info(t, h).Standby.Address)
				assert.True(t, h.Live(key))
				backup.send("meta:av vc:s ac:c K:b1@0 A:b1@0 P:b2@40")
				w.tell()
				for range 5 {
					time.Sleep(900 * time.Millisecond)
					backup.send("K:b@900")
					main.put("K:m2", 5900)
					main.put("A:m2", 5900)
				}
				assert.Zero(t, e.times())
				v.read()

				if switched {
					require.NoError(t, h.Switch(key))
				} else {
					time.Sleep(500 * time.Millisecond)
					backup.send("P:b3@1400")
					time.Sleep(500 * time.Millisecond)
				}
				backup.send("P:b4@1900")
				assert.Zero(t, e.times(), "no key frame")
				backup.send("K:b5@1900 A:b5@1900")
				require.Equal(t, 1, e.times())
				assert.Empty(t, v.read(), "the other server says no")
				assert.Empty(t, main.ended)
				e.takes = 200 * time.Millisecond
				e.answer(hub.Claim{Time: 7000}, nil)
				time.Sleep(500 * time.Millisecond)
				backup.send("K:b6@2400 A:b6@2400 P:b7@2440")
				e.mu.Lock()
				assert.Equal(t, []bool{switched}, e.asked)
				e.mu.Unlock()
				assert.Equal(t, "K:b6@2000 A:b6@2000 P:b7@2040", v.read(), "behind what the other server has come to")
				assert.Equal(t, []hub.Reason{hub.ReasonReplaced}, main.ended)
				assert.Nil(t, info(t, h).Standby)
				assert.Equal(t, "unpublished (replaced), switched, tracks", w.tell())
				assert.Equal(t, hub.ReasonNone, v.end)
				assert.NoError(t, h.Check())
			})
		})
	}
}

// When the one elsewhere has ended it follows at once, without a key frame, so that nobody else does.
func TestFollowsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWitness(t)
		h, e := backups(t, hub.Config{Observe: w.observe})
		h.StepUp(key)
		backup := claimed(t, h, backupOne)
		main, v := copyOf(t, h)
		backup.send("meta:av vc:s ac:c K:b1@0 A:b1@0 P:b2@40")
		w.tell()
		h.StepUp(key)
		assert.Equal(t, 1, e.times())
		assert.Empty(t, main.ended, "the other server says no")
		e.answer(hub.Claim{Time: 8000}, nil)
		h.StepUp(key)
		assert.Zero(t, e.times(), "it has just asked")
		time.Sleep(500 * time.Millisecond)
		h.StepUp(key)
		assert.Equal(t, []hub.Reason{hub.ReasonReplaced}, main.ended)
		assert.NoError(t, h.Check())
		_, err := tryPublish(t, h, client{Identity: "y"})
		assert.Equal(t, hub.ReasonBusy, reasonOf(t, err))
		assert.Equal(t, "10.0.0.2:2", info(t, h).Publisher)
		assert.NotNil(t, h.PublisherOf(key))
		backup.send("P:b3@80 A:b3@80")
		assert.Empty(t, v.read())
		backup.send("K:b4@120 A:b4@120")
		assert.Equal(t, "K:b4@3000 A:b4@3000", v.read())
		assert.Equal(t, "unpublished (replaced), refused (busy), switched, tracks", w.tell())
		assert.Equal(t, 1, e.times())
		h.StepUp(key)
		assert.Zero(t, e.times())
	})
}

// When a copy ends viewers are held until the one that stood by for it is let in, or refused.
func TestCopyEndsBeforeStandby(t *testing.T) {
	for name, err := range map[string]error{"let in": nil, "refused": &hub.Refusal{Reason: hub.ReasonBusy, Detail: "no"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWitness(t)
				h, e := backups(t, hub.Config{Observe: w.observe})
				backup := claimed(t, h, backupOne)
				main, v := copyOf(t, h)
				backup.send("meta:av vc:s ac:c K:b1@0 A:b1@0")
				w.tell()
				main.Close()
				assert.NoError(t, h.Check())
				assert.False(t, h.Live(key))
				time.Sleep(20 * time.Second)
				v.read()
				assert.Equal(t, hub.ReasonNone, v.end)
				e.times()
				e.answer(hub.Claim{}, err)
				if err == nil {
					backup.send("K:b2@40 A:b2@40")
					assert.Equal(t, "K:b2@20 A:b2@20", v.read())
					return
				}
				assert.Equal(t, hub.ReasonBusy, reasonOf(t, backup.Write(tag("K:b2@40"))))
				assert.Equal(t, []hub.Reason{hub.ReasonBusy}, backup.ended)
				assert.Equal(t, "grace", info(t, h).State)
				assert.Contains(t, w.tell(), "unpublished standby (busy)")
			})
		})
	}
}

// A publisher that comes here is shown, and who stood by for one elsewhere stands by for it, or makes way.
func TestStandbyAndOneThatComesHere(t *testing.T) {
	for name, test := range map[string]struct {
		comes  client
		copied bool
		stays  bool
	}{
		"the main one, with a copy":    {mainOne, true, true},
		"the main one, without a copy": {mainOne, false, true},
		"a stranger, with a copy":      {client{Identity: "y"}, true, false},
		"a stranger, without a copy":   {client{}, false, false},
		"itself again, with a copy":    {backupOne, true, false},
		"itself again, without a copy": {backupOne, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, e := backups(t, hub.Config{})
				backup := claimed(t, h, backupOne)
				var copied *source
				if test.copied {
					copied, _ = copyOf(t, h)
				}
				if test.comes.Identity != "x" {
					_, err := tryPublish(t, h, test.comes)
					assert.Equal(t, hub.ReasonBusy, reasonOf(t, err), "not before one that follows")
					time.Sleep(1500 * time.Millisecond) // that is silent now
				}
				comes := claimed(t, h, test.comes)
				assert.NoError(t, h.Check())
				comes.send("meta:av vc:s ac:c K:n1@0 A:n1@0")
				if !test.stays {
					assert.Equal(t, []hub.Reason{hub.ReasonReplaced}, backup.ended)
					return
				}
				if test.copied {
					assert.Equal(t, []hub.Reason{hub.ReasonReplaced}, copied.ended)
				}
				assert.Empty(t, backup.ended)
				require.NotNil(t, info(t, h).Standby)
				backup.send("meta:av vc:s ac:c K:b1@0")
				v := watch(t, h, hub.WatchOptions{})
				v.read()
				comes.Close()
				backup.send("K:b2@40 A:b2@40")
				assert.Equal(t, "K:b2@20 A:b2@20", v.read())
				assert.Zero(t, e.times(), "its stream is this server's own")
			})
		})
	}
}

// Who ends while it asks is not waited for, and is not shown, whatever the answer.
func TestEndsWhileItAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, e := backups(t, hub.Config{})
		backup := claimed(t, h, backupOne)
		e.takes = time.Hour
		e.answer(hub.Claim{}, nil)
		began := time.Now()
		go func() {
			time.Sleep(100 * time.Millisecond)
			h.Dismiss(func(*hub.Session) bool { return true }, kicked)
		}()
		assert.Equal(t, hub.ReasonKicked, reasonOf(t, backup.Write(tag("K:b1@0"))))
		assert.Equal(t, 100*time.Millisecond, time.Since(began))
		assert.Equal(t, 1, e.canceled)

		backup = claimed(t, h, backupOne)
		began = time.Now()
		var asks atomic.Bool
		time.AfterFunc(2*time.Second, func() { asks.Store(h.StandsBy(key)) })
		backup.send("K:b1@0")
		assert.Equal(t, 3*time.Second, time.Since(began), "no longer than that in any case")
		assert.True(t, asks.Load(), "it is not silent while what it sends waits")
		assert.True(t, h.StandsBy(key))
		h.HandOver()
		e.times()
		time.Sleep(time.Second)
		backup.send("K:b2@40")
		assert.Zero(t, e.times(), "nothing comes to a server that is about to end")
		assert.False(t, h.StandsBy(key), "nobody need wait for it")
	})
}

// Nobody else comes before one that asks, at either server, whatever has become of its question, and however long that took.
func TestNobodyComesBeforeOneThatAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, e := backups(t, hub.Config{})
		backup := claimed(t, h, backupOne)
		copied, v := copyOf(t, h)
		backup.send("meta:av vc:s ac:c K:b1@0 A:b1@0 P:b2@40")
		requireKept := func() {
			t.Helper()
			_, err := tryPublish(t, h, client{Identity: "y"})
			require.Equal(t, hub.ReasonBusy, reasonOf(t, err))
			_, _, err = h.Yield(key, claimant(client{Identity: "y"}))
			require.Equal(t, hub.ReasonBusy, reasonOf(t, err))
			require.Empty(t, backup.ended)
			require.True(t, h.StandsBy(key))
		}
		require.NoError(t, h.Switch(key))
		for _, answer := range []hub.Claim{{StandsBy: true}, {}} {
			e.takes = 2 * time.Second
			e.answer(answer, nil)
			done := make(chan struct{})
			go func() {
				defer close(done)
				backup.send("K:b3@80 A:b3@80")
			}()
			time.Sleep(e.takes - 1)
			requireKept()
			if <-done; answer.StandsBy {
				requireKept()
			}
			time.Sleep(time.Second)
		}
		assert.Equal(t, []hub.Reason{hub.ReasonReplaced}, copied.ended)
		assert.Equal(t, "K:b3@20 A:b3@20", v.read())
	})
}

// An answer that comes late says nothing to who has been this server's own meanwhile, and stands by for another one.
func TestAnswerComesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{
			Claim: func(_ context.Context, s *hub.Session) (hub.Claim, error) {
				return hub.Claim{StandsBy: s.IsBackup()}, nil
			},
			StepUp: func(context.Context, *hub.Session, bool) (hub.Claim, error) {
				time.Sleep(100 * time.Millisecond)
				return hub.Claim{}, nil
			},
		})
		backup := claimed(t, h, backupOne)
		answered := make(chan struct{})
		go func() {
			h.StepUp(key)
			close(answered)
		}()
		synctest.Wait()
		claimed(t, h, mainOne).Close()
		_, own, _ := h.Head(key)
		assert.True(t, own, "it is to be shown")
		to := claimant(mainOne)
		to.StepsUp = true
		_, standsBy, err := h.Yield(key, to)
		require.NoError(t, err)
		assert.False(t, standsBy)
		<-answered
		_, own, _ = h.Head(key)
		assert.False(t, own)
		assert.NoError(t, h.Check())
		assert.Empty(t, backup.ended)
		time.Sleep(400 * time.Millisecond)
		h.StepUp(key)
		_, own, _ = h.Head(key)
		assert.True(t, own)
	})
}

// The one that is shown lets one that stands by elsewhere go on in its place when it is silent, or an operator wants that, and
// stands by for it, until it is asked back.
func TestStepsBack(t *testing.T) {
	for name, test := range map[string]struct {
		silent time.Duration
		asked  bool
		yields bool
	}{
		"it sends":                 {999 * time.Millisecond, false, false},
		"it is silent":             {time.Second, false, true},
		"an operator wants it":     {0, true, true},
		"it is silent for minutes": {time.Minute, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWitness(t)
				h, e := backups(t, hub.Config{Observe: w.observe})
				main := claimed(t, h, mainOne)
				main.send("meta:av vc:s ac:c K:m1@5000 A:m1@5000")
				v := watch(t, h, hub.WatchOptions{FixedCodecs: true})
				v.read()
				w.tell()
				to := claimant(backupOne)
				_, standsBy, err := h.Yield(key, to)
				require.NoError(t, err)
				assert.True(t, standsBy, "it comes")

				time.Sleep(test.silent)
				to.StepsUp, to.Asked = true, test.asked
				before, own, _ := h.Head(key)
				assert.True(t, own)
				head, standsBy, err := h.Yield(key, to)
				require.NoError(t, err)
				assert.NotEqual(t, test.yields, standsBy)
				assert.NoError(t, h.Check())
				assert.Empty(t, main.ended)
				if !test.yields {
					assert.Empty(t, w.tell())
					assert.Zero(t, head)
					main.send("P:m2@5040")
					assert.Equal(t, "P:m2@40", v.read())
					return
				}
				assert.Equal(t, "wanted", w.tell())
				assert.Equal(t, before, head)
				_, own, _ = h.Head(key)
				assert.False(t, own)
				main.send("K:m2@5040 A:m2@5040")
				assert.Empty(t, v.read(), "nothing of it is shown")
				assert.Zero(t, e.times(), "what goes on elsewhere is about to be copied")
				copied, err := copied(t, h, client{})
				require.NoError(t, err)
				for _, word := range []string{"meta:av", "vc:s", "ac:c", "K:b1", "A:b1"} {
					copied.put(word, head.Time+2000)
				}
				assert.Equal(t, "K:b1@2000 A:b1@2000", v.read())
				assert.Equal(t, "10.0.0.1:1", info(t, h).Standby.Address)
				assert.Equal(t, "published, tracks", w.tell(), "the copy")

				// And back.
				e.answer(hub.Claim{Time: head.Time + 3000}, nil)
				time.Sleep(500 * time.Millisecond)
				main.send("P:m3@6000")
				time.Sleep(500 * time.Millisecond)
				main.send("K:m4@7000 A:m4@7000")
				assert.Equal(t, "K:m4@3000 A:m4@3000", v.read())
				assert.Equal(t, hub.ReasonNone, v.end)
				assert.Contains(t, w.tell(), "switched")
			})
		})
	}
}

// Once nobody new is let in, no copy begins and nobody steps up: nothing is held for that.
func TestStandsByWhereNobodyComes(t *testing.T) {
	for name, test := range map[string]func(t *testing.T, h *hub.Hub) (*source, *sink, hub.Reason){
		"nothing is copied": func(t *testing.T, h *hub.Hub) (*source, *sink, hub.Reason) {
			backup := claimed(t, h, backupOne)
			main, v := copyOf(t, h)
			main.Close()
			h.RefuseNew()
			return backup, v, hub.ReasonShuttingDown
		},
		"the copy ends": func(t *testing.T, h *hub.Hub) (*source, *sink, hub.Reason) {
			backup := claimed(t, h, backupOne)
			main, v := copyOf(t, h)
			h.RefuseNew()
			assert.NoError(t, h.Check())
			assert.Empty(t, backup.ended)
			main.Close()
			return backup, v, hub.ReasonShuttingDown
		},
		"it goes over": func(t *testing.T, h *hub.Hub) (*source, *sink, hub.Reason) {
			main := claimed(t, h, mainOne)
			main.send("meta:av vc:s ac:c K:m1@0 A:m1@0")
			v := watch(t, h, hub.WatchOptions{})
			h.RefuseNew()
			to := claimant(backupOne)
			to.StepsUp, to.Asked = true, true
			head, standsBy, err := h.Yield(key, to)
			require.NoError(t, err)
			assert.False(t, standsBy)
			assert.NotZero(t, head)
			return main, v, hub.ReasonReplaced
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, _ := backups(t, hub.Config{})
				one, v, why := test(t, h)
				assert.Equal(t, []hub.Reason{why}, one.ended)
				v.read()
				assert.Equal(t, hub.ReasonShuttingDown, v.end)
				assert.Empty(t, h.Streams())
				assert.NoError(t, h.Check())
			})
		})
	}
}

// The one that is shown may go on elsewhere: the one that stood by for it here stands by for it there.
func TestShownOneGoesElsewhere(t *testing.T) {
	for name, c := range map[string]client{"the main one": mainOne, "a stranger, behind silence": {Identity: "y"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, e := backups(t, hub.Config{})
				main, backup, v := pair(t, h)
				if c.Identity == "y" {
					time.Sleep(8 * time.Second)
				}
				head, standsBy, err := h.Yield(key, claimant(c))
				require.NoError(t, err)
				assert.False(t, standsBy)
				assert.NoError(t, h.Check())
				assert.Equal(t, []hub.Reason{hub.ReasonReplaced}, main.ended)
				_, own, _ := h.Head(key)
				if c.Identity == "y" {
					assert.Equal(t, []hub.Reason{hub.ReasonReplaced}, backup.ended)
					assert.True(t, own, "a grace time")
					return
				}
				assert.Empty(t, backup.ended)
				assert.False(t, own)
				backup.send("K:b3@80 A:b3@80")
				assert.Empty(t, v.read())
				copied, err := copied(t, h, client{})
				require.NoError(t, err)
				for _, word := range []string{"meta:av", "vc:s", "ac:c", "K:m2", "A:m2"} {
					copied.put(word, head.Time+1000)
				}
				assert.Equal(t, "K:m2@1000 A:m2@1000", v.read())
				assert.Equal(t, "10.0.0.2:2", info(t, h).Standby.Address)
				e.answer(hub.Claim{}, nil)
				time.Sleep(time.Second)
				copied.Close()
				backup.send("K:b4@120 A:b4@120")
				assert.Equal(t, "K:b4@1020 A:b4@1020", v.read())
				assert.Equal(t, hub.ReasonNone, v.end)
			})
		})
	}
}

// Of two that stand by in one place, the one that came last does, wherever it is.
func TestPlaceIsTakenElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		main, backup, v := pair(t, h)
		_, standsBy, err := h.Yield(key, claimant(backupOne))
		require.NoError(t, err)
		assert.True(t, standsBy)
		assert.Equal(t, []hub.Reason{hub.ReasonReplaced}, backup.ended)
		main.send("P:m2@5040")
		assert.Equal(t, "P:m2@40", v.read())

		to := claimant(mainOne) // which has stood by elsewhere while the other one was shown there
		to.StepsUp = true
		_, standsBy, err = h.Yield(key, to)
		require.NoError(t, err)
		assert.True(t, standsBy, "the one that is here sends")
		time.Sleep(time.Second)
		_, standsBy, err = h.Yield(key, to)
		require.NoError(t, err)
		assert.False(t, standsBy)
		assert.Equal(t, []hub.Reason{hub.ReasonReplaced}, main.ended, "it is in the same place")

		_, _, err = h.Yield(key, hub.Claimant{StepsUp: true, ProofKey: proofKey})
		assert.NoError(t, err, "nobody publishes it any more")
	})
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		main, backup, _ := pair(t, h)
		to := claimant(backupOne) // which stood by elsewhere before this one came
		to.StepsUp = true
		time.Sleep(5 * time.Second)
		backup.send("P:b3@5000")
		steps := func() bool {
			_, standsBy, err := h.Yield(key, to)
			require.NoError(t, err)
			return !standsBy
		}
		assert.False(t, steps(), "the one that is here follows")
		main.Close()
		assert.False(t, steps(), "it is to be shown")
		assert.Empty(t, backup.ended)
		time.Sleep(time.Second)
		assert.True(t, steps(), "nothing comes to this server any more")
	})
}

// Whatever comes together, each stream has who is shown and who stands by, and nobody hangs.
func TestStepUpRaces(t *testing.T) {
	h, e := backups(t, hub.Config{PublisherGrace: -1})
	var all sync.WaitGroup
	end := time.Now().Add(300 * time.Millisecond)
	often := func(f func(random *rand.Rand)) {
		all.Go(func() {
			random := rand.New(rand.NewPCG(1, 2))
			for time.Now().Before(end) {
				f(random)
			}
		})
	}
	publishes := func(c client, copies bool) func(*rand.Rand) {
		return func(random *rand.Rand) {
			s := c.session(h, hub.RolePublish, key)
			if !copies && s.AskAndWait(t.Context()) != nil {
				return
			}
			p, err := h.Publish(s, hub.PublishOptions{Yields: copies, Copies: copies})
			if err != nil {
				return
			}
			for range random.IntN(30) {
				if p.Write(tag([]string{"vc:s", "K:k", "P:p", "A:a"}[random.IntN(4)])) != nil {
					break
				}
			}
			p.Close()
		}
	}
	often(publishes(backupOne, false))
	often(publishes(mainOne, false))
	often(publishes(client{}, true))
	often(func(random *rand.Rand) {
		e.answer(hub.Claim{StandsBy: random.IntN(2) == 0}, nil)
		if random.IntN(10) == 0 {
			e.answer(hub.Claim{}, &hub.Refusal{Reason: hub.ReasonBusy})
		}
		_ = h.Switch(key)
		if random.IntN(2) == 0 {
			h.StepUp(key)
		}
		to := claimant([]client{mainOne, backupOne}[random.IntN(2)])
		to.StepsUp, to.Asked = random.IntN(2) == 0, random.IntN(2) == 0
		if _, _, err := h.Yield(key, to); err != nil {
			refusal, ok := errors.AsType[*hub.Refusal](err)
			assert.True(t, ok && refusal.Reason != hub.ReasonNone)
		}
		assert.NoError(t, h.Check())
	})
	all.Wait()
}
