package hub_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// The policy is asked once, sees what the client shows, and its answer counts.
func TestAuthorize(t *testing.T) {
	elsewhere := hub.Key{App: "live", Name: "elsewhere"}
	for _, test := range []struct {
		name   string
		grant  hub.Grant
		err    error
		panics bool
		reason hub.Reason
		says   string
	}{
		{name: "granted"},
		{name: "another name", grant: hub.Grant{Key: elsewhere}},
		{name: "an error", err: errors.New("bad token"), reason: hub.ReasonDenied, says: "denied: bad token"},
		{
			name: "a refusal", err: &hub.Refusal{Reason: hub.ReasonTooMany, Detail: "3 of 3"},
			reason: hub.ReasonTooMany, says: "too many: 3 of 3",
		},
		{
			name: "a context of its own", err: fmt.Errorf("asking elsewhere: %w", context.Canceled),
			reason: hub.ReasonDenied, says: "denied: asking elsewhere: context canceled",
		},
		{
			name: "an end", err: &hub.Refusal{Reason: hub.ReasonClientLeft, Detail: "left elsewhere"},
			reason: hub.ReasonDenied, says: "denied: left elsewhere",
		},
		{name: "no reason", err: &hub.Refusal{}, reason: hub.ReasonDenied, says: "denied"},
		{
			name: "no refusal", err: (*hub.Refusal)(nil),
			reason: hub.ReasonDenied, says: "denied: permission could not be decided",
		},
		{name: "a panic", panics: true, reason: hub.ReasonDenied, says: "denied: permission could not be decided"},
		{
			name: "a grant that is over", grant: hub.Grant{Until: time.Unix(1, 0)},
			reason: hub.ReasonDenied, says: "denied: the permission has ended",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shown := hub.Client{
					Protocol: "rtmp", Address: netip.MustParseAddrPort("10.0.0.1:5"), Agent: "OBS",
					Query: url.Values{"key": {"secret"}}, TCURL: "rtmp://host/live", PageURL: "page", SWFURL: "swf",
					Host: "host", Origin: "origin", Referer: "referer", Authorization: "Bearer x", Secure: true,
				}
				var asked []*hub.Session
				var h *hub.Hub
				h = newHub(t, hub.Config{Authorize: func(ctx context.Context, s *hub.Session) (hub.Grant, error) {
					asked = append(asked, s)
					h.Streams() // no lock is held
					if test.panics {
						panic("no policy")
					}
					return test.grant, test.err
				}})
				for i, role := range []hub.Role{hub.RolePublish, hub.RoleWatch} {
					s := h.NewSession(role, key, shown)
					err := s.AskAndWait(t.Context())
					if test.reason != hub.ReasonNone { // before anything is done with it
						require.Error(t, err)
					}
					require.Len(t, asked, i+1)
					assert.Same(t, s, asked[i])
					assert.Equal(t, role, s.Role())
					assert.Equal(t, shown, s.Client())
					if err == nil {
						var end func()
						if end, err = enter(h, s); err == nil {
							defer end()
						}
					}
					if test.reason == hub.ReasonNone {
						require.NoError(t, err)
						want := key
						if test.grant.Key != (hub.Key{}) {
							want = test.grant.Key
						}
						assert.Equal(t, want, s.Key())
						assert.Equal(t, want.Name, info(t, h).Name)
						continue
					}
					assert.Equal(t, test.reason, reasonOf(t, err))
					assert.EqualError(t, err, test.says)
					assert.Empty(t, h.Streams())
				}
			})
		})
	}
}

// enter makes a session what its role says.
func enter(h *hub.Hub, s *hub.Session) (end func(), err error) {
	if s.Role() == hub.RolePublish {
		p, err := h.Publish(s, hub.PublishOptions{})
		if err != nil {
			return nil, err
		}
		return p.Close, nil
	}
	v, err := h.Watch(s, hub.WatchOptions{})
	if err != nil {
		return nil, err
	}
	return v.Close, nil
}

// What a session shows is printed nowhere where it may be secret.
func TestSessionsKeepSecrets(t *testing.T) {
	h := newHub(t, hub.Config{})
	c := hub.Client{Protocol: "rtmp", Query: url.Values{"k": {"SECRET"}}, TCURL: "SECRET", PageURL: "SECRET",
		SWFURL: "SECRET", Origin: "SECRET", Referer: "SECRET", Host: "SECRET", Authorization: "SECRET", Name: "SECRET"}
	s := h.NewSession(hub.RolePublish, key, c)
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		for _, v := range []any{c, &c, s, hub.Event{Session: s}, &hub.Event{Session: s}} {
			assert.NotContains(t, fmt.Sprintf(format, v), "SECRET", "%s of a %T", format, v)
		}
	}
	assert.NotContains(t, fmt.Sprint(c.LogValue()), "SECRET")
	assert.NotContains(t, fmt.Sprint(s.LogValue()), "SECRET")
	assert.NotEqual(t, s.ID(), h.NewSession(hub.RolePublish, key, c).ID())
}

// A policy that hangs is waited for until the deadline; one that ignores its context keeps
// no client waiting longer.
func TestPolicyHangs(t *testing.T) {
	for _, heeds := range []bool{true, false} {
		t.Run(fmt.Sprintf("heeds its context %v", heeds), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				h := newHub(t, hub.Config{Authorize: func(ctx context.Context, _ *hub.Session) (hub.Grant, error) {
					if heeds {
						<-ctx.Done()
					} else {
						<-release
					}
					return hub.Grant{}, nil
				}})
				began := time.Now()
				err := publisher(h, key).AskAndWait(t.Context())
				assert.Equal(t, hub.ReasonDenied, reasonOf(t, err))
				assert.ErrorContains(t, err, "permission was not answered in time")
				assert.Equal(t, 10*time.Second, time.Since(began))
				close(release)
				synctest.Wait()
			})
		})
	}
}

// A client that leaves cancels its question.
func TestLeavingCancelsTheQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cancelled := make(chan error, 1)
		h := newHub(t, hub.Config{Authorize: func(ctx context.Context, _ *hub.Session) (hub.Grant, error) {
			<-ctx.Done()
			cancelled <- ctx.Err()
			return hub.Grant{}, ctx.Err()
		}})
		ctx, leave := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, leave)
		began := time.Now()
		err := viewer(h, key).AskAndWait(ctx)
		assert.Equal(t, hub.ReasonClientLeft, reasonOf(t, err))
		assert.Equal(t, time.Second, time.Since(began))
		assert.ErrorIs(t, <-cancelled, context.Canceled)
	})
}

// A policy that ends its goroutine, as a failing test does, has said no, and the next
// question finds a place.
func TestPolicyEndsItsGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{Authorize: func(context.Context, *hub.Session) (hub.Grant, error) {
			runtime.Goexit()
			return hub.Grant{}, nil
		}})
		began := time.Now()
		for range 3000 {
			err := publisher(h, key).AskAndWait(t.Context())
			require.EqualError(t, err, "denied: permission could not be decided")
		}
		require.NoError(t, h.Shutdown(t.Context()))
		assert.Zero(t, time.Since(began))
	})
}

// A policy may keep the session, and look at it whenever it likes.
func TestPolicyKeepsTheSession(t *testing.T) {
	var looking sync.WaitGroup
	defer looking.Wait()
	h := newHub(t, hub.Config{Authorize: func(_ context.Context, s *hub.Session) (hub.Grant, error) {
		looking.Go(func() {
			for range 100 {
				_, _, _ = s.Key(), s.Client(), s.LogValue()
			}
		})
		return hub.Grant{Key: hub.Key{App: "live", Name: "elsewhere"}, Identity: "x"}, nil
	}})
	for range 10 {
		s := publisher(h, key)
		require.NoError(t, s.AskAndWait(t.Context()))
		assert.Equal(t, "elsewhere", s.Key().Name)
	}
}

// A bounded number of questions is asked at a time, the others in their order; when the
// queue is full, the greediest address gives way, and everything comes back.
func TestQuestionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most, queue = 1024, 8192
		var asked, running atomic.Int64
		release := make(chan struct{})
		h := newHub(t, hub.Config{
			AuthorizeTimeout: time.Minute,
			Authorize: func(context.Context, *hub.Session) (hub.Grant, error) {
				asked.Add(1)
				assert.LessOrEqual(t, running.Add(1), int64(most))
				<-release
				running.Add(-1)
				return hub.Grant{}, nil
			},
		})
		var mu sync.Mutex
		answers := make(map[string]map[string]int)
		ask := func(address string) {
			s := client{Remote: address + ":1"}.session(h, hub.RoleWatch, key)
			s.Ask(t.Context(), func(err error) {
				mu.Lock()
				defer mu.Unlock()
				says := "granted"
				if err != nil {
					says = err.Error()
				}
				if answers[address] == nil {
					answers[address] = make(map[string]int)
				}
				answers[address][says]++
			})
		}
		for range most {
			ask("10.0.0.1")
		}
		for range queue - 100 {
			ask("10.0.0.2")
		}
		for range 100 {
			ask("10.0.0.3")
		}
		assert.Empty(t, answers)
		synctest.Wait()
		assert.Equal(t, int64(most), asked.Load())
		for range 10 {
			ask("10.0.0.2") // as greedy as any
			ask("10.0.0.3")
			ask("[2001:db8::1]")
		}
		const tooMany = "too many: too many wait for permission"
		assert.Equal(t, map[string]map[string]int{"10.0.0.2": {tooMany: 30}}, answers)
		close(release)
		synctest.Wait()
		assert.Equal(t, map[string]map[string]int{
			"10.0.0.1":      {"granted": most},
			"10.0.0.2":      {"granted": queue - 100 - 20, tooMany: 30},
			"10.0.0.3":      {"granted": 110},
			"[2001:db8::1]": {"granted": 10},
		}, answers)
		assert.Zero(t, running.Load())
		assert.NoError(t, publisher(h, key).AskAndWait(t.Context()))
	})
}

// A crowd of viewers who wait for their turn keeps no publisher waiting, nor the other way round.
func TestPublishersAndViewersAreAskedByTurns(t *testing.T) {
	for _, crowd := range []hub.Role{hub.RolePublish, hub.RoleWatch} {
		t.Run(crowd.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var others atomic.Int64
				turn := make(chan struct{})
				h := newHub(t, hub.Config{Authorize: func(_ context.Context, s *hub.Session) (hub.Grant, error) {
					if s.Role() != crowd {
						others.Add(1)
					}
					<-turn
					return hub.Grant{}, nil
				}})
				ask := func(role hub.Role) {
					client{}.session(h, role, key).Ask(t.Context(), func(err error) { assert.NoError(t, err) })
				}
				for range 1024 + 8192 { // as many as there is room for
					ask(crowd)
				}
				ask(hub.RoleWatch - crowd) // the other role
				synctest.Wait()
				assert.Zero(t, others.Load())
				for range 2 {
					turn <- struct{}{}
					synctest.Wait()
				}
				assert.EqualValues(t, 1, others.Load())
				close(turn)
				synctest.Wait()
			})
		})
	}
}

// Where the queue is full of addresses with one question each, who comes later does not
// push out who waits.
func TestFullQueueOfManyAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		h := newHub(t, hub.Config{Authorize: func(context.Context, *hub.Session) (hub.Grant, error) {
			<-release
			return hub.Grant{}, nil
		}})
		const places = 1024 + 8192
		granted, refused := make([]bool, places+100), 0
		for i := range granted {
			s := client{Remote: fmt.Sprintf("10.0.%d.%d:1", i/256, i%256)}.session(h, hub.RoleWatch, key)
			s.Ask(t.Context(), func(err error) {
				granted[i] = err == nil
				if err != nil {
					assert.Equal(t, hub.ReasonTooMany, reasonOf(t, err))
					refused++
				}
			})
		}
		assert.Equal(t, 100, refused)
		close(release)
		synctest.Wait()
		for i, in := range granted {
			require.Equal(t, i < places, in, "client %d", i)
		}
	})
}

// The deadline of who asks is one like the hub's own: the client has not left.
func TestDeadlineOfCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{Authorize: func(ctx context.Context, _ *hub.Session) (hub.Grant, error) {
			<-ctx.Done()
			return hub.Grant{}, nil
		}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := publisher(h, key).AskAndWait(ctx)
		assert.EqualError(t, err, "denied: permission was not answered in time")
		ctx, leave := context.WithCancelCause(t.Context())
		leave(fmt.Errorf("wrapped: %w", os.ErrDeadlineExceeded))
		err = viewer(h, key).AskAndWait(ctx)
		assert.EqualError(t, err, "denied: permission was not answered in time")
		ctx, leave = context.WithCancelCause(t.Context())
		leave(errors.New("gone"))
		err = viewer(h, key).AskAndWait(ctx)
		assert.Equal(t, hub.ReasonClientLeft, reasonOf(t, err))
	})
}

// Shutdown refuses those who wait for an answer, and waits for the policy.
func TestShutdownWhileAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		returned := false
		h := newHub(t, hub.Config{Authorize: func(ctx context.Context, _ *hub.Session) (hub.Grant, error) {
			<-ctx.Done()
			time.Sleep(time.Second)
			returned = true
			return hub.Grant{}, nil
		}})
		answer := make(chan error, 1)
		publisher(h, key).Ask(t.Context(), func(err error) { answer <- err })
		require.NoError(t, h.Shutdown(t.Context()))
		assert.True(t, returned)
		assert.Equal(t, hub.ReasonShuttingDown, reasonOf(t, <-answer))
		assert.Equal(t, hub.ReasonShuttingDown, reasonOf(t, publisher(h, key).AskAndWait(t.Context())))
	})
}

// A policy that hangs does not keep Shutdown from ending publishers and viewers.
func TestShutdownWhilePolicyHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		h := newHub(t, hub.Config{Authorize: func(context.Context, *hub.Session) (hub.Grant, error) {
			<-release
			return hub.Grant{}, nil
		}})
		ended := make(chan *hub.Refusal, 1)
		p, err := h.Publish(publisher(h, key), hub.PublishOptions{End: func(why *hub.Refusal) { ended <- why }})
		require.NoError(t, err)
		defer p.Close()
		go viewer(h, key).AskAndWait(t.Context())
		synctest.Wait()
		over := make(chan error, 1)
		go func() { over <- h.Shutdown(t.Context()) }()
		synctest.Wait()
		require.Len(t, ended, 1)
		assert.Equal(t, hub.ReasonShuttingDown, (<-ended).Reason)
		assert.Empty(t, over, "the policy is waited for")
		close(release)
		require.NoError(t, <-over)
	})
}

// What has changed while the policy was asked counts: busy, and shutdown.
func TestChangesWhileAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{Authorize: func(context.Context, *hub.Session) (hub.Grant, error) {
			time.Sleep(2 * time.Second)
			return hub.Grant{Identity: "x"}, nil
		}})
		s := publisher(h, key)
		answer := make(chan error, 1)
		s.Ask(t.Context(), func(err error) { answer <- err })
		p, err := h.Publish(publisher(h, key), hub.PublishOptions{})
		require.NoError(t, err)
		defer p.Close()
		time.Sleep(time.Second)
		require.NoError(t, p.Write(tag("vc:s")))
		require.NoError(t, <-answer)
		_, err = h.Publish(s, hub.PublishOptions{})
		assert.Equal(t, hub.ReasonBusy, reasonOf(t, err))
	})
}
