package relay

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// Rules that were made at run time are kept, with their ids, and those of the configuration are not.
func TestRulesAreKept(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "upstream")
	o.says(Failed(CauseNotFound, "no such stream"))
	file := filepath.Join(t.TempDir(), "relays.json")
	cfg := Config{Open: o.open, StateFile: file}
	e := newEdge(t, cfg, "pull: live/a rtmp://one/live/a", "push: live/* rtmp://two/live/{name}")
	add := func(r *Relay, kind Kind, about string, urls ...string) (RuleInfo, error) {
		rule, err := NewRule(kind, about, urls)
		require.NoError(t, err)
		return r.Add(rule)
	}
	first, err := add(e.relay, Pull, "live/b%20c", "rtmp://user:secret@host/live/b")
	require.NoError(t, err)
	assert.Equal(t, "pull-2", first.ID)
	assert.Equal(t, "api", first.By)
	second, err := add(e.relay, Push, "live/**", "rtmp://host/live/key")
	require.NoError(t, err)
	_, err = add(e.relay, Push, "live/**", "rtmp://host/live/key")
	assert.ErrorIs(t, err, ErrExists)
	_, err = add(e.relay, Pull, "live/a", "rtmp://other/live/a")
	assert.ErrorIs(t, err, ErrExists)
	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	again := newEdge(t, cfg, "pull: live/a rtmp://one/live/a")
	ids := func(r *Relay) (ids []string) {
		for _, i := range r.Relays() {
			ids = append(ids, i.ID+" "+i.By+" "+i.About())
		}
		return ids
	}
	assert.ElementsMatch(t, []string{"pull-3 SLUICE_PULL live/a", "pull-2 api live/b%20c", "push-2 api live/**"}, ids(again.relay))
	assert.ErrorIs(t, again.relay.Remove("pull-3"), ErrByConf)
	assert.ErrorIs(t, again.relay.Remove("pull-4"), ErrNoRule)
	require.NoError(t, again.relay.Remove(second.ID))
	require.NoError(t, again.relay.Remove(first.ID))
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, "[]\n", string(text))

	require.NoError(t, os.WriteFile(file, []byte(`[{"id":"pull-1","kind":"pull","what":"live/a","urls":["secret"]}]`), 0o600))
	_, err = New(Config{Hub: e.hub, StateFile: file})
	assert.ErrorContains(t, err, "is damaged")
	assert.NotContains(t, err.Error(), "secret")
}

// A configuration that is loaded again changes what it changes, and nothing else.
func TestLoad(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "upstream")
	publish(t, o.hub, &encoder{mark: 'a'}, 5*time.Millisecond)
	e := newEdge(t, Config{Open: o.open}, "pull: live/a rtmp://one/live/a")
	until(t, "it is live", func() bool { return e.state().State == Live })
	session := e.state().Session
	load := func(text string) {
		t.Helper()
		rules, err := ParseRules(Pull, text)
		require.NoError(t, err)
		e.relay.Load(rules)
	}
	load("live/a rtmp://one/live/a; live/b rtmp://one/live/b")
	until(t, "the new one is there", func() bool { return len(e.relay.Relays()) == 2 })
	assert.Equal(t, session, e.state().Session)
	load("live/a rtmp://other/live/a")
	until(t, "another server has it", func() bool { s := e.state(); return s.State == Live && s.Session != session })
	load("")
	until(t, "nothing is pulled", func() bool { return !e.hub.Live(hub.Key{App: "live", Name: "a"}) && len(e.relay.Relays()) == 0 })
	until(t, "nothing runs", func() bool {
		var none Figures
		return e.relay.Figures().Connections == none.Connections
	})
	assert.Positive(t, e.relay.Figures().Bytes[Pull])
}

// A crowd that comes at once has one connection upstream.
func TestCrowd(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "upstream")
	publish(t, o.hub, &encoder{mark: 'a'}, 5*time.Millisecond)
	e := newEdge(t, Config{Open: func(ctx context.Context, op Opening) (Source, error) {
		time.Sleep(20 * time.Millisecond) // on the way
		return o.open(ctx, op)
	}}, "origin: ** rtmp://origin/{app}/{name}")
	const crowd = 500
	var waited, failed atomic.Int32
	for range crowd {
		v := e.watch(t, hub.Client{})
		go func() {
			if v.Wait(context.WithoutCancel(t.Context())) != nil {
				failed.Add(1)
			}
			waited.Add(1)
		}()
	}
	until(t, "all are there", func() bool { return waited.Load() == crowd })
	assert.Zero(t, failed.Load())
	assert.EqualValues(t, 1, o.opens.Load())
}

// Pulls that come and go, breaks, own publishers and rules that change leave nothing behind.
func TestChaos(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "upstream")
	e := newEdge(t, Config{Open: o.open, Idle: 20 * time.Millisecond}, "origin: ** rtmp://origin/{app}/{name}")
	rounds := 6
	for n := range rounds {
		p := publish(t, o.hub, &encoder{mark: byte('a' + n%20)}, 2*time.Millisecond)
		v, err := e.hub.Watch(e.hub.NewSession(hub.RoleWatch, hub.Key{App: "live", Name: "a"}, hub.Client{}), hub.WatchOptions{})
		if err == nil { // else it was told of the failure that was
			_ = v.Wait(t.Context())
		}
		if n%3 == 0 {
			o.breakAll(os.ErrDeadlineExceeded)
		}
		if n%4 == 0 {
			publish(t, e.hub, &encoder{mark: 'z'}, 2*time.Millisecond).leave()
		}
		if n%5 == 0 {
			p.leave()
		}
		if err == nil {
			v.Close()
		}
		p.leave()
	}
	until(t, "nothing runs", func() bool { return e.relay.Relays()[0].Connections == nil })
	until(t, "no stream is left", func() bool { return !e.hub.Live(hub.Key{App: "live", Name: "a"}) })
}
