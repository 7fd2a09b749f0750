package relay

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// Pushes end before all else: their targets are told properly, nothing is pushed anew, and what is
// pulled goes on.
func TestClosePushes(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "upstream")
	publish(t, o.hub, &encoder{mark: 'a'}, 5*time.Millisecond)
	target := &pushTarget{t: t, began: time.Now()}
	e := newEdge(t, Config{Open: o.open, Send: target.send}, "pull: live/a rtmp://one/live/a", "push: ** rtmp://two/live/key")
	sinks := func() []*pushSink {
		target.mu.Lock()
		defer target.mu.Unlock()
		return target.all[:len(target.all):len(target.all)]
	}
	until(t, "it is pushed", func() bool { return e.relay.Figures().Connections[Push][Live] == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, e.relay.ClosePushes(ctx))
	require.Len(t, sinks(), 1)
	assert.True(t, sinks()[0].isClosed(), "it was ended properly")
	assert.Equal(t, Figures{}.Connections[Push], e.relay.Figures().Connections[Push])
	publish(t, e.hub, &encoder{mark: 'b'}, 5*time.Millisecond).leave() // which the pull gives way to
	until(t, "it is pulled again", func() bool { return e.relay.Figures().Connections[Pull][Live] == 1 })
	assert.Len(t, sinks(), 1)
	require.NoError(t, e.relay.ClosePushes(ctx), "it may be called again")
}

// Who waits for targets that do not let go is told when the time is over.
func TestClosePushesHasItsTime(t *testing.T) {
	t.Parallel()
	target := &pushTarget{t: t, began: time.Now(), script: []pushScript{{slowEnd: true}}}
	e := newEdge(t, Config{Open: newOrigin(t, "x").open, Send: target.send}, "push: ** rtmp://two/live/key")
	publish(t, e.hub, &encoder{mark: 'a'}, 5*time.Millisecond)
	until(t, "it is pushed", func() bool { return e.relay.Figures().Connections[Push][Live] == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	assert.ErrorIs(t, e.relay.ClosePushes(ctx), context.DeadlineExceeded)
	target.mu.Lock()
	defer target.mu.Unlock()
	target.all[0].Abort()
}

// Of several servers that are one, that pushes a stream which has it: not one that copies it, and none any more from which it
// has gone over.
func TestPushOfCopy(t *testing.T) {
	t.Parallel()
	target := &pushTarget{t: t, began: time.Now()}
	e := newEdge(t, Config{Open: newOrigin(t, "x").open, Send: target.send}, "push: ** rtmp://two/live/key")
	key := hub.Key{App: "live", Name: "a"}
	copies := func() *hub.Publisher {
		p, err := e.hub.Publish(e.hub.NewSession(hub.RolePublish, key, hub.Client{Protocol: "cluster"}), hub.PublishOptions{
			Yields: true, Copies: true,
		})
		require.NoError(t, err)
		t.Cleanup(p.Close)
		return p
	}
	pushes := func() int {
		e.relay.mu.Lock()
		defer e.relay.mu.Unlock()
		return len(e.relay.pushes)
	}
	copies()
	until(t, "it has been told", func() bool {
		e.relay.mu.Lock()
		defer e.relay.mu.Unlock()
		return len(e.relay.live[key]) == 1
	})
	assert.Zero(t, pushes())
	publish(t, e.hub, &encoder{mark: 'a'}, 5*time.Millisecond) // in its place
	until(t, "it is pushed", func() bool { return e.relay.Figures().Connections[Push][Live] == 1 })
	e.hub.Displace(key, &hub.Refusal{Reason: hub.ReasonReplaced}, nil)
	assert.Equal(t, 1, pushes(), "its publisher may come back")
	copies()
	until(t, "it is pushed no more", func() bool { return pushes() == 0 })
	target.mu.Lock()
	defer target.mu.Unlock()
	assert.Len(t, target.all, 1)
	assert.True(t, target.all[0].isClosed())
}

func TestNames(t *testing.T) {
	t.Parallel()
	e := newEdge(t, Config{Open: newOrigin(t, "x").open}, "pull: live/a https://u:p@One.example/a.flv", "push: ** rtmp://two/live/{name}")
	for address, want := range map[string]bool{
		"one.example:443": true, "two:1935": true, "one.example:80": false, "u:443": false, "": false,
	} {
		assert.Equal(t, want, e.relay.Names(address), address)
	}
}

// What became of a target is known when it is live again.
func TestPushHistory(t *testing.T) {
	t.Parallel()
	target := &pushTarget{t: t, began: time.Now(), script: []pushScript{{keys: 2, ends: Failed(CauseConnection, "it broke")}, {}}}
	e := newEdge(t, Config{Open: newOrigin(t, "x").open, Send: target.send}, "push: live/* rtmp://two/live/key")
	publish(t, e.hub, &encoder{mark: 'a'}, 5*time.Millisecond)
	var c ConnectionInfo
	until(t, "it is live again", func() bool {
		all := e.relay.Relays()[0].Connections
		if len(all) == 1 {
			c = all[0]
		}
		return c.State == Live && c.Tries == 2
	})
	assert.Equal(t, hub.Key{App: "live", Name: "a"}, c.Key)
	assert.Equal(t, "it broke", c.Error)
	assert.EqualValues(t, 1, c.Breaks)
	assert.Empty(t, c.Detail)
}
