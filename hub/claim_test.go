package hub_test

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// asked is how often somebody was asked, and about whom last.
type asked struct {
	times atomic.Int64
	who   atomic.Pointer[hub.Session]
}

func (a *asked) claim(_ context.Context, s *hub.Session) (hub.Claim, error) {
	a.times.Add(1)
	a.who.Store(s)
	return hub.Claim{}, nil
}

// Who may publish as far as the policy goes is asked for elsewhere, once, and so is nobody else.
func TestClaim(t *testing.T) {
	elsewhere := hub.Key{App: "live", Name: "elsewhere"}
	check := hub.Key{App: "live", Name: hub.CheckName([16]byte{})}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for name, test := range map[string]struct {
		policy  bool
		grant   hub.Grant
		denied  error
		role    hub.Role
		key     hub.Key
		recheck error
		ctx     context.Context
		times   int64
		about   hub.Key
		reason  hub.Reason
	}{
		"no policy":                   {key: key, times: 1, about: key},
		"a policy":                    {policy: true, grant: hub.Grant{Subject: "alice"}, key: key, times: 1, about: key},
		"another name":                {policy: true, grant: hub.Grant{Key: elsewhere}, key: key, times: 1, about: elsewhere},
		"the policy denies":           {policy: true, denied: errors.New("no"), key: key, reason: hub.ReasonDenied},
		"the grant is over":           {policy: true, grant: hub.Grant{Until: time.Unix(1, 0)}, key: key, reason: hub.ReasonDenied},
		"banned":                      {key: key, recheck: errors.New("banned"), reason: hub.ReasonKicked},
		"banned, with a policy":       {policy: true, key: key, recheck: errors.New("banned"), reason: hub.ReasonKicked},
		"it has left":                 {key: key, ctx: gone, reason: hub.ReasonClientLeft},
		"it has left, with a policy":  {policy: true, key: key, ctx: gone, reason: hub.ReasonClientLeft},
		"a viewer":                    {role: hub.RoleWatch, key: key},
		"a viewer, with a policy":     {policy: true, role: hub.RoleWatch, key: key},
		"a self-test":                 {key: check},
		"a self-test, with a policy":  {policy: true, key: check},
		"a viewer of a self-test too": {role: hub.RoleWatch, key: check},
	} {
		t.Run(name, func(t *testing.T) {
			var elsewhere asked
			cfg := hub.Config{Claim: elsewhere.claim}
			if test.policy {
				cfg.Authorize = func(context.Context, *hub.Session) (hub.Grant, error) { return test.grant, test.denied }
			}
			if test.recheck != nil {
				cfg.Recheck = func(*hub.Session) error { return test.recheck }
			}
			h := newHub(t, cfg)
			s := client{}.session(h, test.role, test.key)
			ctx := t.Context()
			if test.ctx != nil {
				ctx = test.ctx
			}
			err := s.AskAndWait(ctx)
			if test.reason != hub.ReasonNone {
				assert.Equal(t, test.reason, reasonOf(t, err))
			} else {
				require.NoError(t, err)
			}
			require.NoError(t, h.Shutdown(t.Context())) // when all have answered
			assert.Equal(t, test.times, elsewhere.times.Load())
			if test.times > 0 {
				assert.Same(t, s, elsewhere.who.Load())
				assert.Equal(t, test.about, s.Key())
				assert.Equal(t, test.grant.Subject, s.Subject())
			}
		})
	}
}

// Whoever asks elsewhere knows by then which stream it is about, and who wants it.
func TestClaimKnowsTheGrant(t *testing.T) {
	granted := hub.Key{App: "live", Name: "granted"}
	h := newHub(t, hub.Config{
		Authorize: func(context.Context, *hub.Session) (hub.Grant, error) {
			return hub.Grant{Key: granted, Identity: "alice", Subject: "Alice"}, nil
		},
		Claim: func(_ context.Context, s *hub.Session) (hub.Claim, error) {
			assert.Equal(t, granted, s.Key())
			assert.Equal(t, "Alice", s.Subject())
			assert.NotNil(t, s.Proof(proofKey))
			return hub.Claim{}, &hub.Refusal{Reason: hub.ReasonBusy, Detail: "at another server"}
		},
	})
	err := publisher(h, key).AskAndWait(t.Context())
	assert.Equal(t, hub.ReasonBusy, reasonOf(t, err))
	assert.ErrorContains(t, err, "at another server")
}

// What whoever is asked elsewhere does wrong concerns nobody but that session.
func TestClaimFails(t *testing.T) {
	for name, test := range map[string]struct {
		claim  func(context.Context) error
		leaves time.Duration // 0 for never
		reason hub.Reason
		says   string
		after  time.Duration
	}{
		"an error":    {func(context.Context) error { return errors.New("mute") }, 0, hub.ReasonDenied, "mute", 0},
		"a refusal":   {func(context.Context) error { return &hub.Refusal{Reason: hub.ReasonBusy, Detail: "n2"} }, 0, hub.ReasonBusy, "n2", 0},
		"an end":      {func(context.Context) error { return &hub.Refusal{Reason: hub.ReasonClientLeft, Detail: "n2"} }, 0, hub.ReasonDenied, "n2", 0},
		"a panic":     {func(context.Context) error { panic("oh") }, 0, hub.ReasonDenied, "could not be decided", 0},
		"it vanishes": {func(context.Context) error { runtime.Goexit(); return nil }, 0, hub.ReasonDenied, "could not be decided", 0},
		"it waits":    {func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, 0, hub.ReasonDenied, "not answered in time", 10 * time.Second},
		"it is stuck": {func(context.Context) error { time.Sleep(time.Minute); return nil }, 0, hub.ReasonDenied, "not answered in time", 10 * time.Second},
		"client leaves": {
			func(ctx context.Context) error { <-ctx.Done(); return nil }, time.Second, hub.ReasonClientLeft, "left while", time.Second,
		},
	} {
		for _, policy := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWitness(t)
					cfg := hub.Config{Observe: w.observe, Claim: func(ctx context.Context, s *hub.Session) (hub.Claim, error) {
						if s.Key() == key {
							return hub.Claim{Time: 1000}, test.claim(ctx)
						}
						return hub.Claim{}, nil
					}}
					if policy {
						cfg.Authorize = func(context.Context, *hub.Session) (hub.Grant, error) { return hub.Grant{}, nil }
					}
					h := newHub(t, cfg)
					ctx, leave := context.WithCancel(t.Context())
					defer leave()
					if test.leaves > 0 {
						time.AfterFunc(test.leaves, leave)
					}
					began := time.Now()
					asking := publisher(h, key)
					answer := make(chan error, 2)
					asking.Ask(ctx, func(err error) { answer <- err })
					other := publisher(h, hub.Key{App: "live", Name: "other"})
					require.NoError(t, other.AskAndWait(t.Context()))
					err := <-answer
					assert.Equal(t, test.reason, reasonOf(t, err))
					assert.ErrorContains(t, err, test.says)
					assert.Equal(t, test.after, time.Since(began))
					time.Sleep(time.Hour)
					assert.Empty(t, answer, "once")
					assert.Regexp(t, `^refused \([^,]*$`, w.tell())
				})
			})
		}
	}
}

// Where there is no policy, an address proves what it proved before: with the same one, a stream is taken over.
func TestClaimKeepsIdentity(t *testing.T) {
	for _, claims := range []bool{false, true} {
		cfg := hub.Config{}
		var elsewhere asked
		if claims {
			cfg.Claim = elsewhere.claim
		}
		h := newHub(t, cfg)
		enter := func(c client) (p *source, err error) {
			s := c.session(h, hub.RolePublish, key)
			if err := s.AskAndWait(t.Context()); err != nil {
				return nil, err
			}
			p = &source{t: t}
			p.Publisher, err = h.Publish(s, hub.PublishOptions{End: func(r *hub.Refusal) { p.ended = append(p.ended, r.Reason) }})
			if err == nil {
				t.Cleanup(p.Close)
			}
			return p, err
		}
		first, err := enter(client{Identity: "x"})
		require.NoError(t, err)
		for _, c := range []client{{}, {Identity: "y"}, {Backup: true}} {
			_, err = enter(c)
			assert.Equal(t, hub.ReasonBusy, reasonOf(t, err))
		}
		_, err = enter(client{Identity: "x", Backup: true})
		require.NoError(t, err, "it stands by")
		assert.Empty(t, first.ended)
		_, err = enter(client{Identity: "x"})
		require.NoError(t, err)
		assert.Equal(t, []hub.Reason{hub.ReasonReplaced}, first.ended)
	}
}

// A stream that nobody has granted is shown in disguise where there is no policy, whoever is asked elsewhere.
func TestClaimKeepsDisguise(t *testing.T) {
	var elsewhere asked
	h := newHub(t, hub.Config{Claim: elsewhere.claim, Disguise: func(hub.Key) string { return "live/…" }})
	s := publisher(h, key)
	require.NoError(t, s.AskAndWait(t.Context()))
	assert.Equal(t, "live/…", s.Shown())
	s.Refuse(&hub.Refusal{Reason: hub.ReasonClientLeft})
}

// A session begins no earlier than its stream has come to elsewhere, and no earlier than here.
func TestClaimTime(t *testing.T) {
	for name, test := range map[string]struct {
		claim int64
		here  int64 // up to where it was copied; 0 if it was not
		want  string
	}{
		"nowhere":         {0, 0, "K:1@0 A:1@10 P:2@40"},
		"elsewhere":       {5000, 0, "K:1@5000 A:1@5010 P:2@5040"},
		"elsewhere more":  {5000, 4000, "K:1@5000 A:1@5010 P:2@5040"},
		"here more":       {3000, 4000, "K:1@4020 A:1@4030 P:2@4060"},
		"here only":       {0, 4000, "K:1@4020 A:1@4030 P:2@4060"},
		"beyond 32 bits":  {1 << 33, 0, "K:1@0 A:1@10 P:2@40"},
		"makes no sense":  {-5, 0, "K:1@0 A:1@10 P:2@40"},
		"none, and worse": {-1 << 62, 4000, "K:1@4020 A:1@4030 P:2@4060"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t, hub.Config{Claim: func(context.Context, *hub.Session) (hub.Claim, error) {
				return hub.Claim{Time: test.claim}, nil
			}})
			if test.here > 0 {
				copied, err := pull(t, h, client{})
				require.NoError(t, err)
				copied.put("vc:s", 0)
				copied.put("K:0", test.here)
			}
			s := publisher(h, key)
			require.NoError(t, s.AskAndWait(t.Context()))
			p, err := h.Publish(s, hub.PublishOptions{})
			require.NoError(t, err)
			t.Cleanup(p.Close)
			head, own, ok := h.Head(key)
			require.True(t, own && ok)
			assert.Equal(t, max(0, test.claim, test.here), head.Time)
			r := readFrom(t, h, head.Seq)
			for _, word := range []string{"meta:av", "vc:s", "ac:c", "K:1@70", "A:1@80", "P:2@110"} {
				require.NoError(t, p.Write(tag(word)))
			}
			story := ""
			for _, p := range packetsOf(t, r) {
				if !p.Header {
					story += " " + word(p.Tag)
				}
			}
			assert.Equal(t, " "+test.want, story)
		})
	}
}
