package hub_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// begins begins a session that plays a recording.
func begins(t *testing.T, s *hub.Session) context.Context {
	t.Helper()
	ctx, err := s.Begin()
	require.NoError(t, err)
	return ctx
}

var kicked = &hub.Refusal{Reason: hub.ReasonKicked, Detail: "bad manners"}

// Every kind of session is listed, and ends when it is dismissed, whatever it is about.
func TestSessionsAreListedAndDismissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events []hub.Event
		ask := make(chan struct{})
		h := newHub(t, hub.Config{
			ViewerWait: time.Minute,
			Observe:    func(e hub.Event) { events = append(events, e) },
			Authorize: func(ctx context.Context, s *hub.Session) (hub.Grant, error) {
				if s.Client().Query.Has("slow") {
					select {
					case <-ask:
					case <-ctx.Done():
					}
				}
				return hub.Grant{Subject: "tester"}, nil
			},
		})
		began := time.Now()
		granted := func(role hub.Role, k hub.Key) *hub.Session {
			s := h.NewSession(role, k, hub.Client{Protocol: "test"})
			require.NoError(t, s.AskAndWait(t.Context()))
			return s
		}
		ended := make(chan *hub.Refusal, 1)
		p, err := h.Publish(granted(hub.RolePublish, key), hub.PublishOptions{End: func(why *hub.Refusal) { ended <- why }})
		require.NoError(t, err)
		defer p.Close()
		for _, word := range strings.Fields("vc:s meta:v K:1@0 P:2@40") {
			require.NoError(t, p.Write(tag(word)))
		}
		running, err := h.Watch(granted(hub.RoleWatch, key), hub.WatchOptions{NoAudio: true})
		require.NoError(t, err)
		defer running.Close()
		require.NoError(t, running.Wait(t.Context()))
		waiting, err := h.Watch(granted(hub.RoleWatch, hub.Key{App: "live", Name: "nobody"}), hub.WatchOptions{})
		require.NoError(t, err)
		defer waiting.Close()
		waited := make(chan error, 1)
		go func() { waited <- waiting.Wait(t.Context()) }()
		file := granted(hub.RoleWatch, key)
		playing := begins(t, file)
		asking := h.NewSession(hub.RoleWatch, key, hub.Client{Protocol: "test", Query: url.Values{"slow": {"1"}}})
		asked := make(chan error, 1)
		asking.Ask(t.Context(), func(err error) { asked <- err })
		time.Sleep(time.Second)

		var states []string
		for _, info := range h.Sessions() {
			states = append(states, info.State.String()+" "+info.Session.Role().String()+" "+info.Waits)
			assert.WithinRange(t, info.Since, began, time.Now().Add(-time.Second))
		}
		assert.Equal(t, []string{"running publish ", "running watch ", "waiting watch publisher", "running watch ", "asking watch permission"}, states)

		assert.Equal(t, 0, h.Dismiss(func(*hub.Session) bool { return false }, kicked))
		assert.Equal(t, 5, h.Dismiss(func(*hub.Session) bool { return true }, kicked))
		assert.Equal(t, kicked, <-ended)
		assert.Equal(t, kicked, <-waited)
		assert.Equal(t, kicked, <-asked)
		<-playing.Done()
		assert.Equal(t, kicked, context.Cause(playing))
		file.End(kicked, 0, 0)
		_, end := running.Fill(new(hub.Batch), discard{}, 1000)
		assert.Equal(t, hub.ReasonKicked, end)
		running.End(&hub.Refusal{Reason: end})
		waiting.Close()
		synctest.Wait()
		assert.Empty(t, h.Sessions())
		ends := 0
		for _, e := range events {
			switch e.Kind {
			case hub.EventUnpublished, hub.EventLeft, hub.EventRefused:
				ends++
				assert.Equal(t, hub.ReasonKicked, e.Reason, "%v", e.Kind)
				assert.Equal(t, "bad manners", e.Detail, "%v", e.Kind)
			}
		}
		assert.Equal(t, 5, ends)
		assert.Equal(t, "grace", info(t, h).State, "the stream waits for another publisher")
	})
}

// A session ends with its grant where that is asked for, and only there.
func TestExpireSessions(t *testing.T) {
	for _, expire := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			h := newHub(t, hub.Config{
				ExpireSessions: expire,
				Authorize: func(context.Context, *hub.Session) (hub.Grant, error) {
					return hub.Grant{Until: time.Now().Add(time.Minute)}, nil
				},
			})
			ended := make(chan *hub.Refusal, 1)
			who := publisher(h, key)
			require.NoError(t, who.AskAndWait(t.Context()))
			p, err := h.Publish(who, hub.PublishOptions{End: func(why *hub.Refusal) { ended <- why }})
			require.NoError(t, err)
			defer p.Close()
			for _, word := range strings.Fields("vc:s meta:v K:1@0 P:2@40") {
				require.NoError(t, p.Write(tag(word)))
			}
			s := viewer(h, key)
			require.NoError(t, s.AskAndWait(t.Context()))
			v, err := h.Watch(s, hub.WatchOptions{NoAudio: true})
			require.NoError(t, err)
			defer v.Close()
			require.NoError(t, v.Wait(t.Context()))
			file := viewer(h, key)
			require.NoError(t, file.AskAndWait(t.Context()))
			playing := begins(t, file)
			defer file.End(&hub.Refusal{Reason: hub.ReasonClientLeft}, 0, 0)
			time.Sleep(time.Minute - 10*time.Second) // Wait has taken a second
			_, end := v.Fill(new(hub.Batch), discard{}, 1000)
			assert.Equal(t, hub.ReasonNone, end)
			time.Sleep(20 * time.Second)
			synctest.Wait()
			_, end = v.Fill(new(hub.Batch), discard{}, 1000)
			if !expire {
				assert.Equal(t, hub.ReasonNone, end)
				assert.Empty(t, ended)
				assert.NoError(t, playing.Err())
				return
			}
			assert.Equal(t, hub.ReasonExpired, end)
			assert.Equal(t, hub.ReasonExpired, (<-ended).Reason)
			assert.Equal(t, hub.ReasonExpired, reasonOf(t, context.Cause(playing)))
		})
	}
}

// Viewers with one identity are counted, and make room when they leave.
func TestMaxPerIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{
			MaxPerIdentity: 2,
			Authorize: func(_ context.Context, s *hub.Session) (hub.Grant, error) {
				return hub.Grant{Identity: s.Client().Query.Get("who")}, nil
			},
		})
		watch := func(who string) (*hub.Viewer, error) {
			s := h.NewSession(hub.RoleWatch, key, hub.Client{Query: url.Values{"who": {who}}})
			require.NoError(t, s.AskAndWait(t.Context()))
			return h.Watch(s, hub.WatchOptions{})
		}
		for range 3 {
			v, err := watch("")
			require.NoError(t, err)
			defer v.Close()
		}
		first, err := watch("a")
		require.NoError(t, err)
		file := h.NewSession(hub.RoleWatch, key, hub.Client{Query: url.Values{"who": {"a"}}})
		require.NoError(t, file.AskAndWait(t.Context()))
		begins(t, file)
		_, err = watch("a")
		assert.EqualError(t, err, "too many: at most 2 may watch with this permission at a time")
		other, err := watch("b")
		require.NoError(t, err)
		other.Close()
		first.Close()
		second, err := watch("a")
		require.NoError(t, err)
		file.End(kicked, 0, 0)
		third, err := watch("a")
		require.NoError(t, err)
		second.Close()
		third.Close()
	})
}

// What changes between a grant and a session's beginning counts: the second look comes when the
// session can already be found.
func TestRecheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var looks atomic.Int64
		var from int64
		h := newHub(t, hub.Config{Recheck: func(*hub.Session) error {
			if looks.Add(1) >= from {
				return errors.New("banned")
			}
			return nil
		}})
		for from = range int64(3) {
			looks.Store(0)
			if from == 0 {
				continue
			}
			_, err := h.Watch(viewer(h, key), hub.WatchOptions{})
			assert.EqualError(t, err, "kicked: banned")
			looks.Store(0)
			_, err = h.Publish(publisher(h, key), hub.PublishOptions{})
			assert.EqualError(t, err, "kicked: banned")
			looks.Store(0)
			_, err = viewer(h, key).Begin()
			assert.EqualError(t, err, "kicked: banned")
		}
		from = 1
		assert.EqualError(t, viewer(h, key).AskAndWait(t.Context()), "kicked: banned", "where there is no policy to ask, too")
		assert.Empty(t, h.Sessions())

		p, err := h.Publish(publisher(h, key), hub.PublishOptions{Yields: true, Copies: true})
		require.NoError(t, err, "its publisher was looked at elsewhere, and its address is another server's")
		p.Close()
	})
}

// The name of a publisher that nobody has granted is not shown where it may be a secret.
func TestDisguise(t *testing.T) {
	secret := hub.Key{App: "live", Name: "s3cret"}
	h := newHub(t, hub.Config{
		Disguise: func(k hub.Key) string { return k.App + "/#" },
		Authorize: func(_ context.Context, s *hub.Session) (hub.Grant, error) {
			if s.Client().Query.Has("ok") {
				return hub.Grant{Key: key}, nil
			}
			return hub.Grant{}, errors.New("no")
		},
	})
	s := h.NewSession(hub.RolePublish, secret, hub.Client{})
	assert.Equal(t, "live/#", s.Shown())
	assert.NotContains(t, s.LogValue().String(), "s3cret")
	assert.Error(t, s.AskAndWait(t.Context()))
	assert.NotContains(t, s.LogValue().String(), "s3cret")
	s = h.NewSession(hub.RolePublish, secret, hub.Client{Query: url.Values{"ok": {""}}})
	require.NoError(t, s.AskAndWait(t.Context()))
	assert.Equal(t, key.String(), s.Shown())
	assert.Equal(t, secret.String(), h.NewSession(hub.RoleWatch, secret, hub.Client{}).Shown())
	none := h.NewSession(hub.RolePublish, hub.Key{}, hub.Client{Name: "live/s3cret"})
	assert.Empty(t, none.Shown())
	assert.NotContains(t, none.LogValue().String(), "s3cret")
}

// A session that is granted while it is being dismissed ends all the same, whether it enters
// its stream before or after.
func TestDismissedOnTheWayIn(t *testing.T) {
	for _, role := range []hub.Role{hub.RolePublish, hub.RoleWatch} {
		for _, enters := range []string{"before", "after"} {
			for _, plays := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					ask, granted := make(chan struct{}), make(chan error, 1)
					h := newHub(t, hub.Config{
						PublisherGrace: -1,
						Authorize: func(context.Context, *hub.Session) (hub.Grant, error) {
							<-ask
							return hub.Grant{}, nil
						},
					})
					s := h.NewSession(role, key, hub.Client{Protocol: "test"})
					s.Ask(t.Context(), func(err error) { granted <- err })
					ended := make(chan error, 1)
					enter := func() {
						switch {
						case role == hub.RolePublish:
							p, err := h.Publish(s, hub.PublishOptions{End: func(why *hub.Refusal) { ended <- why }})
							if err != nil {
								ended <- err
								return
							}
							t.Cleanup(p.Close)
						case plays:
							ctx, err := s.Begin()
							if err != nil {
								ended <- err
								return
							}
							context.AfterFunc(ctx, func() {
								s.End(kicked, 0, 0)
								ended <- context.Cause(ctx)
							})
						default:
							v, err := h.Watch(s, hub.WatchOptions{})
							if err != nil {
								ended <- err
								return
							}
							go func() {
								err := v.Wait(t.Context())
								v.End(kicked)
								ended <- err
							}()
						}
					}
					n := h.Dismiss(func(*hub.Session) bool { // it is known to ask, and then
						close(ask)
						require.NoError(t, <-granted)
						if enters == "before" {
							enter()
						}
						return true
					}, kicked)
					assert.Equal(t, 1, n)
					if enters == "after" {
						enter()
					}
					var why *hub.Refusal
					require.ErrorAs(t, <-ended, &why)
					assert.Equal(t, kicked, why, "%v %s %v", role, enters, plays)
					synctest.Wait()
					assert.Empty(t, h.Sessions())
				})
			}
		}
	}
}
