package pull

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/httpflv"
	"sluice/hub"
	"sluice/hub/fanout"
	"sluice/hub/intake"
	"sluice/hub/relay"
	"sluice/hub/relay/dialer"
	"sluice/hub/tlsconn"
	"sluice/hub/tlsconn/tlstest"
)

// node is a Sluice of which streams are pulled.
type node struct {
	t   testing.TB
	hub *hub.Hub
	*httptest.Server
	// stop begins to shut it down.
	stop func()
}

const nodeID = "0123456789abcdef"

// newNode serves until the test ends, encrypted as Sluice does it or in the clear.
func newNode(t testing.TB, encrypted bool, change func(*hub.Config)) *node {
	t.Helper()
	cfg := hub.Config{PublisherGrace: -1, Node: nodeID}
	if change != nil {
		change(&cfg)
	}
	n := &node{t: t, hub: hub.New(cfg)}
	heard := intake.New(intake.Config{})
	h := &httpflv.Handler{Hub: n.hub, Pool: fanout.New(fanout.Config{}), Intake: heard}
	n.Server = httptest.NewUnstartedServer(h)
	if encrypted {
		n.Listener = tlsconn.Listen(n.Listener, tlsconn.Config{TLS: tlstest.Server("http/1.1")})
	}
	n.Start()
	ended := make(chan error, 1)
	stopping := false
	n.stop = func() {
		if !stopping {
			stopping = true
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
				defer cancel()
				ended <- n.hub.Shutdown(ctx)
			}()
		}
	}
	t.Cleanup(func() {
		n.stop()
		assert.NoError(t, <-ended, "viewers were left")
		n.CloseClientConnections()
		n.Close()
		h.Pool.Close()
		h.Wait()
		heard.Close()
	})
	return n
}

// publish begins a stream.
func (n *node) publish(name string) *hub.Publisher {
	n.t.Helper()
	key, err := hub.NewKey("live", name)
	require.NoError(n.t, err)
	p, err := n.hub.Publish(n.hub.NewSession(hub.RolePublish, key, hub.Client{Protocol: "test"}), hub.PublishOptions{})
	require.NoError(n.t, err)
	n.t.Cleanup(p.Close)
	return p
}

// tags are the beginning of a stream: headers, a key frame and further frames.
func tags(frames int) (list []flv.Tag) {
	list = append(list,
		flv.Tag{Type: flv.TypeVideo, Data: []byte("\x17\x00\x00\x00\x00header")},
		flv.Tag{Type: flv.TypeAudio, Data: []byte("\xaf\x00\x12\x10")},
		flv.Tag{Type: flv.TypeVideo, Data: []byte("\x17\x01\x00\x00\x00" + strings.Repeat("K", 20000))})
	for i := range frames {
		list = append(list,
			flv.Tag{Type: flv.TypeVideo, Timestamp: uint32(40*i + 40), Data: fmt.Appendf(nil, "\x27\x01\x00\x00\x00P%d", i)},
			flv.Tag{Type: flv.TypeAudio, Timestamp: uint32(40*i + 50), Data: fmt.Appendf(nil, "\xaf\x01A%d", i)})
	}
	return list
}

func write(t testing.TB, p *hub.Publisher, list []flv.Tag) {
	t.Helper()
	for _, tag := range list {
		require.NoError(t, p.Write(tag))
	}
}

// at returns the URL of a path of a server, with a scheme in place of its http, or of user and password.
func at(t testing.TB, server, scheme, path string) relay.URL {
	t.Helper()
	_, host, _ := strings.Cut(server, "://")
	u, err := relay.ParseURL(relay.Pull, scheme+"://"+host+path)
	require.NoError(t, err)
	return u
}

// opener returns an Opener for tests.
func opener() *Opener { return &Opener{Dial: dialer.New(0).Dial, TLS: tlstest.Client()} }

// open opens a source until the test ends.
func open(t testing.TB, o *Opener, opening relay.Opening) *source {
	t.Helper()
	s, err := o.Open(t.Context(), opening)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s.(*source)
}

// read reads n tags that are no metadata; their data is copied.
func read(t testing.TB, s relay.Source, n int) (list []flv.Tag) {
	t.Helper()
	for len(list) < n {
		tag, err := s.ReadTag()
		require.NoError(t, err, "after %d tags", len(list))
		if tag.Type == flv.TypeScript {
			continue
		}
		tag.Data = slices.Clone(tag.Data)
		list = append(list, tag)
	}
	return list
}

// readEnd reads to the end, which must not be long in coming, and returns why.
func readEnd(s relay.Source) error {
	for {
		if _, err := s.ReadTag(); err != nil {
			return err
		}
	}
}

// openEnd opens a source and returns why it is not opened, or why it ends: over WebSocket, a Sluice says only
// then that it refuses.
func openEnd(t testing.TB, o *Opener, opening relay.Opening) error {
	s, err := o.Open(t.Context(), opening)
	if err != nil {
		return err
	}
	defer s.Close()
	return readEnd(s)
}

// failsWith checks the cause and the words of an error.
func failsWith(t testing.TB, err error, cause relay.Cause, words string) {
	t.Helper()
	var f *relay.Failure
	if assert.True(t, errors.As(err, &f), "%v", err) {
		assert.Equal(t, cause, f.Cause, f.Detail)
		assert.Contains(t, f.Detail, words)
		for _, secret := range []string{"secret", "live", "demo", "127.0.0.1"} {
			assert.NotContains(t, f.Detail, secret)
		}
	}
}
