package relay

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/hub"
	"sluice/hub/fanout"
	"sluice/hub/relay"
	"sluice/hub/tlsconn"
	"sluice/hub/tlsconn/tlstest"
	"sluice/rtmp"
	"sluice/rtmp/gateway"
)

// sluice is a server with a hub.
type sluice struct {
	t       testing.TB
	hub     *hub.Hub
	server  *rtmp.Server
	address string
	scheme  string
}

// newSluice serves on loopback until the test ends.
func newSluice(t testing.TB, cfg hub.Config, encrypted bool) *sluice {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &sluice{t: t, address: l.Addr().String(), scheme: "rtmp"}
	if encrypted {
		l = tlsconn.Listen(l, tlsconn.Config{TLS: tlstest.Server()})
		s.scheme = "rtmps"
	}
	if cfg.PublisherGrace == 0 {
		cfg.PublisherGrace = -1
	}
	cfg.Logger = slog.New(slog.DiscardHandler)
	s.hub = hub.New(cfg)
	pool := fanout.New(fanout.Config{})
	s.server = &rtmp.Server{
		Handler: &gateway.Handler{Hub: s.hub, Pool: pool}, Logger: cfg.Logger, LingerTimeout: 100 * time.Millisecond,
	}
	served := make(chan error, 1)
	go func() { served <- s.server.Serve(l) }()
	t.Cleanup(func() {
		s.server.Close()
		assert.ErrorIs(t, <-served, rtmp.ErrServerClosed)
		pool.Close()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		assert.NoError(t, s.hub.Shutdown(ctx))
	})
	return s
}

// url returns the URL of a stream live/NAME there.
func (s *sluice) url(name string) string { return s.scheme + "://" + s.address + "/live/" + name }

// opener returns an Opener that trusts the test's certificates.
func opener() *Opener {
	return &Opener{TLS: tlstest.Client(), OpenTimeout: 10 * time.Second}
}

// pull parses the URL of a Source.
func pull(t testing.TB, text string) relay.URL { return parse(t, relay.Pull, text) }

// push parses the URL of a Sink.
func push(t testing.TB, text string) relay.URL { return parse(t, relay.Push, text) }

func parse(t testing.TB, kind relay.Kind, text string) relay.URL {
	t.Helper()
	u, err := relay.ParseURL(kind, text)
	require.NoError(t, err)
	return u
}

// open opens a Source, which is closed when the test ends.
func open(t testing.TB, o *Opener, opening relay.Opening) relay.Source {
	t.Helper()
	s, err := o.Open(t.Context(), opening)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// send opens a Sink, which is aborted when the test ends.
func send(t testing.TB, o *Opener, sending relay.Sending) relay.Sink {
	t.Helper()
	s, err := o.Send(t.Context(), sending)
	require.NoError(t, err)
	t.Cleanup(s.Abort)
	return s
}

// failed requires that an error is a *relay.Failure of a cause, whose words hold no secret.
func failed(t testing.TB, err error, cause relay.Cause, words string, secrets ...string) {
	t.Helper()
	var f *relay.Failure
	require.ErrorAs(t, err, &f)
	assert.Equal(t, cause, f.Cause, f.Detail)
	assert.Contains(t, f.Detail, words)
	for _, s := range secrets {
		for err := error(f); err != nil; {
			assert.NotContains(t, err.Error(), s)
			u, ok := err.(interface{ Unwrap() error })
			if !ok {
				break
			}
			err = u.Unwrap()
		}
	}
}

// A clip is H.264 and AAC: headers, and then GOPs of five frames, 40 ms each.
var (
	videoHeader = flv.Tag{Type: flv.TypeVideo, Data: []byte("\x17\x00\x00\x00\x00\x01\x64\x00\x0a\xff\xe1\x00\x00\x01\x00\x00")}
	audioHeader = flv.Tag{Type: flv.TypeAudio, Data: []byte{0xaf, 0, 0x12, 0x10}}
)

// clip returns the first n tags of a clip.
func clip(n int) []flv.Tag {
	tags := []flv.Tag{
		{Type: flv.TypeScript, Data: amf.AppendAMF0(nil, "onMetaData", amf.ECMAArray{{Name: "width", Value: 320.0}})},
		videoHeader, audioHeader,
	}
	for i := 0; len(tags) < n; i++ {
		first := byte(0x27)
		if i%5 == 0 {
			first = 0x17
		}
		at := uint32(40 * i)
		tags = append(tags,
			flv.Tag{Type: flv.TypeVideo, Timestamp: at, Data: append([]byte{first, 1, 0, 0, 0}, strings.Repeat("v", 200+i)...)},
			flv.Tag{Type: flv.TypeAudio, Timestamp: at, Data: append([]byte{0xaf, 1}, strings.Repeat("a", 50+i)...)})
	}
	return tags[:n]
}

// isFrame reports whether a tag is a frame: metadata and codec headers come when the hub likes.
func isFrame(t flv.Tag) bool {
	p, err := t.Packet()
	return t.Type != flv.TypeScript && err == nil && p.Kind == flv.KindFrame
}

// frames returns the frames among tags.
func frames(tags []flv.Tag) []flv.Tag {
	return slices.DeleteFunc(slices.Clone(tags), func(t flv.Tag) bool { return !isFrame(t) })
}

// nextFrame reads the next frame of a source.
func nextFrame(t testing.TB, s relay.Source) flv.Tag {
	t.Helper()
	for {
		tag, err := s.ReadTag()
		require.NoError(t, err)
		if isFrame(tag) {
			tag.Data = slices.Clone(tag.Data)
			return tag
		}
	}
}
