package replica

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/cluster"
	"sluice/hub/cluster/memory"
	"sluice/hub/relay/relaytest"
)

// member is a node of a cluster whose inner protocol is this one.
type member struct {
	hub     *hub.Hub
	cluster *cluster.Cluster
	proxy   *relaytest.Proxy // through which others reach it
}

// streams are those of a cluster that is made after what serves it.
type streams struct{ of *member }

func (s streams) Serve(ctx context.Context, asker string, key hub.Key, from *cluster.Position) (cluster.Outflow, error) {
	return s.of.cluster.Serve(ctx, asker, key, from)
}

// join starts a node until the test ends.
func join(t *testing.T, engine *memory.Engine, name, boot string) *member {
	t.Helper()
	m := &member{}
	address := serve(t, NewServer(Config{Streams: streams{m}, Secret: secret, Node: boot}, nil))
	proxy, err := relaytest.New(relaytest.Config{Target: address, Delay: 10 * time.Millisecond})
	require.NoError(t, err)
	m.proxy = proxy
	ready := make(chan struct{})
	// LogDuration: a GOP that has just ended may still have to go to who was cut off.
	m.hub = hub.New(hub.Config{
		Node: boot, PublisherGrace: time.Second, Pulse: time.Second, LogDuration: 5 * time.Second,
		Claim:   func(ctx context.Context, s *hub.Session) (hub.Claim, error) { <-ready; return m.cluster.Claim(ctx, s) },
		Observe: func(e hub.Event) { <-ready; m.cluster.Observe(e) },
		Locate:  func(key hub.Key) time.Duration { <-ready; return m.cluster.Locate(key) },
	})
	directory := engine.Join(name)
	m.cluster, err = cluster.New(cluster.Config{
		Hub: m.hub, Directory: directory, Open: (&Opener{Secret: secret, Node: boot}).Open, Node: name, Boot: boot,
		Media: proxy.Addr(), ProofKey: []byte("key"), Grace: time.Second,
	})
	require.NoError(t, err)
	close(ready)
	t.Cleanup(func() {
		assert.NoError(t, m.hub.Shutdown(context.Background()))
		m.cluster.Close()
		assert.NoError(t, directory.Close(context.Background()))
		assert.NoError(t, proxy.Close())
	})
	return m
}

// bodies frames tags as their bodies, one after the other.
type bodies struct{}

func (bodies) AppendTags(dst []byte, tags []flv.Tag) []byte {
	for _, tag := range tags {
		dst = append(dst, tag.Data...)
	}
	return dst
}

type waker chan struct{}

func (w waker) Wake() {
	select {
	case w <- struct{}{}:
	default:
	}
}

// watch returns what a viewer is given until its stream ends, and why that is.
func (m *member) watch(t *testing.T) (*bytes.Buffer, hub.Reason) {
	s := m.hub.NewSession(hub.RoleWatch, demo, hub.Client{Protocol: "http-flv"})
	if !assert.NoError(t, s.AskAndWait(context.Background())) {
		return nil, hub.ReasonNone
	}
	v, err := m.hub.Watch(s, hub.WatchOptions{FixedCodecs: true})
	if !assert.NoError(t, err) || !assert.NoError(t, v.Wait(context.Background())) {
		return nil, hub.ReasonNone
	}
	defer v.Close()
	w := make(waker, 1)
	v.Stream().AddWaker(w)
	defer v.Stream().RemoveWaker(w)
	var all bytes.Buffer
	var b hub.Batch
	for {
		b.Bytes = b.Bytes[:0]
		more, end := v.Fill(&b, bodies{}, 1<<20)
		all.Write(b.Bytes)
		switch {
		case end != hub.ReasonNone:
			return &all, end
		case !more:
			<-w
		}
	}
}

// A viewer at one node sees all that is published at another one, once, though the connection between them is cut
// again and again.
func TestClusterOverThisProtocol(t *testing.T) {
	const pictures = 150
	engine := memory.New(memory.Config{})
	owner, edge := join(t, engine, "n1", boot), join(t, engine, "n2", asker)
	s := owner.hub.NewSession(hub.RolePublish, demo, hub.Client{Protocol: "rtmp"})
	require.NoError(t, s.AskAndWait(t.Context()))
	p, err := owner.hub.Publish(s, hub.PublishOptions{})
	require.NoError(t, err)
	picture := func(n int) flv.Tag {
		kind := map[bool]string{true: "\x17", false: "\x27"}[n%25 == 0]
		return flv.Tag{Type: flv.TypeVideo, Timestamp: uint32(10 * n), Data: fmt.Appendf(nil, "%s\x01\x00\x00\x00<picture %d>", kind, n)}
	}
	require.NoError(t, p.Write(flv.Tag{Type: flv.TypeVideo, Data: []byte("\x17\x00\x00\x00\x00\x01\x42\xc0\x0d\xff\xe1\x00\x15" +
		"\x67\x42\xc0\x0d\xd9\x01\x41\x9f\xe0\x10\x00\x00\x03\x00\x10\x00\x00\x03\x03\x20\xf1\x42\xa4\x01\x00\x04\x68\xcb\x83\xcb")}))
	require.NoError(t, p.Write(picture(0)))
	type seen struct {
		all *bytes.Buffer
		end hub.Reason
	}
	watched := make(chan seen, 1)
	go func() {
		all, end := edge.watch(t)
		watched <- seen{all, end}
	}()
	eventually(t, func() bool { return edge.hub.Live(demo) })
	breaks := 0
	for n := 1; n < pictures; n++ {
		time.Sleep(10 * time.Millisecond)
		require.NoError(t, p.Write(picture(n)))
		if n%20 == 0 {
			breaks += owner.proxy.Break()
		}
	}
	time.Sleep(20 * time.Millisecond)
	p.Close()
	got := <-watched
	require.NotNil(t, got.all)
	assert.Equal(t, hub.ReasonUnpublished, got.end)
	assert.NotZero(t, breaks)
	text := got.all.String()
	for n := range pictures {
		at := bytes.Index([]byte(text), fmt.Appendf(nil, "<picture %d>", n))
		require.GreaterOrEqual(t, at, 0, "picture %d is lost, or came before: %d breaks", n, breaks)
		text = text[at+1:]
		require.NotContains(t, text, fmt.Sprintf("<picture %d>", n), "twice")
	}
}
