package cluster_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/hub/cluster/memory"
)

// pull publishes at a node what that brings from elsewhere.
func (n *node) pull(name string) (*publisher, error) {
	p := &publisher{node: n, ended: make(chan *hub.Refusal, 1)}
	p.session = n.hub.NewSession(hub.RolePublish, key(name), hub.Client{Protocol: "pull", Name: name})
	opts := hub.PublishOptions{Yields: true, End: func(why *hub.Refusal) { p.ended <- why }}
	err := p.session.ClaimAndWait(context.Background(), opts)
	if err != nil {
		return nil, err
	}
	if p.pub, err = n.hub.Publish(p.session, opts); err != nil {
		return nil, err
	}
	return p, p.headers()
}

// A stream that one node pulls is watched at all, and pulled by no other; a publisher has it at once, at any node; and
// where the node that pulls it is killed another one does, for the same viewers.
func TestPulledOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 3, memory.Config{})
		pulled, err := r.nodes[0].pull("a")
		require.NoError(t, err)
		require.NoError(t, pulled.send(25))
		viewers := []*audience{r.nodes[1].watch("a"), r.nodes[2].watch("a")}
		require.NoError(t, pulled.send(25))
		time.Sleep(100 * time.Millisecond)
		for _, v := range viewers {
			require.NotEmpty(t, v.pictures())
		}
		for _, n := range r.nodes[1:] {
			assert.True(t, n.cluster.IsElsewhere(key("a")), n.name)
			_, err := n.pull("a")
			requireRefused(t, err, hub.ReasonBusy)
		}
		assert.False(t, r.nodes[0].cluster.IsElsewhere(key("a")))
		assert.False(t, r.nodes[1].cluster.IsElsewhere(key("b")))

		own, err := r.nodes[1].publish("a", "")
		require.NoError(t, err)
		assert.Equal(t, hub.ReasonReplaced, (<-pulled.ended).Reason)
		require.NoError(t, own.send(50))
		time.Sleep(100 * time.Millisecond)
		_, err = r.nodes[0].pull("a")
		requireRefused(t, err, hub.ReasonBusy)
		own.pub.Close()
		again, err := r.nodes[0].pull("a") // while that one may come back
		require.NoError(t, err)
		require.NoError(t, again.send(50))
		for _, v := range viewers {
			assert.Equal(t, hub.ReasonNone, v.ended())
		}

		r.nodes[0].kill()
		time.Sleep(2 * time.Second)
		assert.False(t, r.nodes[2].cluster.IsElsewhere(key("a")))
		last, err := r.nodes[2].pull("a") // though its viewers have a copy still, which waits
		require.NoError(t, err)
		require.NoError(t, last.send(50))
		time.Sleep(time.Second)
		for _, v := range viewers {
			assert.Equal(t, hub.ReasonNone, v.ended())
			assert.Len(t, v.pictures()[len(v.pictures())-50:], 50)
			requireUnique(t, v.pictures())
		}
		last.pub.Close()
		for _, v := range viewers {
			<-v.done
		}
	})
}
