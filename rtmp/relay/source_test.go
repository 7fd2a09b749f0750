package relay

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv/amf"
	"sluice/hub"
	"sluice/hub/relay"
)

// What servers say when they refuse, and what it comes to. None of it shows what the URL holds.
func TestSourceIsRefused(t *testing.T) {
	const name, token, user, password = "cam", "t0ken", "joe", "p4ss"
	because := func(words string) amf.Property { return amf.Property{Name: hub.ReasonProperty, Value: words} }
	for _, tt := range []struct {
		what   string
		script func(c *fakeConn)
		cause  relay.Cause
		words  string
	}{
		{"not found", refusePlay("NetStream.Play.StreamNotFound", "cam?key=t0ken is not here"), relay.CauseNotFound, "*** is not here"},
		{"denied", refusePlay("NetStream.Play.Failed", "not for joe"), relay.CauseDenied, "not for ***"},
		{"a loop", refusePlay("NetStream.Play.Failed", "it was here (code=508)"), relay.CauseLoop, "508"},
		{"too many", refusePlay("NetStream.Play.Failed", "too many viewers"), relay.CauseBusy, "too many"},
		{"shutting down", refusePlay("NetStream.Play.Failed", "server is shutting down"), relay.CauseConnection, "shutting down"},
		{"by a Sluice", refusePlay("NetStream.Play.Failed", "no", because("too many")), relay.CauseBusy, "no"},
		{"by a newer Sluice", refusePlay("NetStream.Play.Failed", "no", because("what?")), relay.CauseDenied, "no"},
		{"kicked", refusePlay("NetStream.Play.Failed", "go", because("kicked")), relay.CauseDenied, "go"},
		{"broken", refusePlay("NetStream.Failed", ""), relay.CauseConnection, "NetStream.Failed"},
		{"a code of its own", refusePlay("Bad.Day", "p4ss\nis wrong"), relay.CauseDenied, "Bad.Day, *** is wrong"},
		{"connect", func(c *fakeConn) { c.refuseConnect("NetConnection.Connect.Rejected", "who is joe?") }, relay.CauseDenied, "who is ***?"},
		{"goes in connect", func(c *fakeConn) { c.next("connect") }, relay.CauseConnection, "broke off"},
		{"goes in play", func(c *fakeConn) { c.ask("play") }, relay.CauseConnection, "broke off"},
		{"garbage", func(c *fakeConn) { c.Write([]byte("\xff\xff\xff\xff\xff\xff\xff\xff")) }, relay.CauseMedia, "does not speak RTMP"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			f := newFake(t, false, tt.script)
			u := pull(t, "rtmp://"+user+":"+password+"@"+f.address+"/live/"+name+"?key="+token)
			_, err := opener().Open(t.Context(), relay.Opening{URL: u})
			failed(t, err, tt.cause, tt.words, name, token, user, password)
		})
	}
}

// refusePlay is the script of a server that refuses a player.
func refusePlay(code, description string, more ...amf.Property) func(c *fakeConn) {
	return func(c *fakeConn) {
		if _, ok := c.ask("play"); ok {
			c.status(1, "error", code, description, more...)
			c.rest()
		}
	}
}

// A server that is none of RTMP's, that is not there, or that says nothing.
func TestSourceIsNotOpened(t *testing.T) {
	web := newFake(t, true, func(c *fakeConn) { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") })
	_, err := opener().Open(t.Context(), relay.Opening{URL: pull(t, web.url("a"))})
	failed(t, err, relay.CauseMedia, "does not speak RTMP")

	_, err = opener().Open(t.Context(), relay.Opening{URL: pull(t, "rtmps"+web.url("a")[len("rtmp"):])})
	failed(t, err, relay.CauseConnection, "does not speak TLS")

	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l.Close()
	_, err = opener().Open(t.Context(), relay.Opening{URL: pull(t, "rtmp://"+l.Addr().String()+"/live/a")})
	failed(t, err, relay.CauseConnection, "the connection is refused")

	silent := newFake(t, true, func(c *fakeConn) { io.Copy(io.Discard, c) })
	o := opener()
	o.OpenTimeout = 20 * time.Millisecond
	_, err = o.Open(t.Context(), relay.Opening{URL: pull(t, silent.url("a"))})
	failed(t, err, relay.CauseConnection, "nothing came in time")

	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	_, err = opener().Open(ctx, relay.Opening{URL: pull(t, silent.url("a"))})
	failed(t, err, relay.CauseConnection, "given up")
	assert.ErrorIs(t, err, context.Canceled)

	o.Dial = func(context.Context, string, string, bool) (net.Conn, error) {
		return nil, relay.Failed(relay.CauseURL, "not there")
	}
	_, err = o.Open(t.Context(), relay.Opening{URL: pull(t, silent.url("a"))})
	failed(t, err, relay.CauseURL, "not there")
}

// How a stream ends that has begun.
func TestSourceEnds(t *testing.T) {
	const silence = 50 * time.Millisecond
	for _, tt := range []struct {
		what   string
		script func(c *fakeConn)
		cause  relay.Cause
		words  string // "" is for io.EOF
	}{
		{"unpublished", func(c *fakeConn) { c.status(1, "status", "NetStream.Play.UnpublishNotify", "over") }, 0, ""},
		{"stopped", func(c *fakeConn) { c.status(1, "status", "NetStream.Play.Stop", "over") }, 0, ""},
		{"a Sluice's publisher left", func(c *fakeConn) {
			c.status(1, "status", "NetStream.Play.UnpublishNotify", "over", amf.Property{Name: hub.ReasonProperty, Value: "unpublished"})
		}, 0, ""},
		{"a Sluice shuts down", func(c *fakeConn) {
			c.status(1, "status", "NetStream.Play.UnpublishNotify", "over", amf.Property{Name: hub.ReasonProperty, Value: "shutting down"})
		}, relay.CauseConnection, "over"},
		{"failed", func(c *fakeConn) { c.status(1, "error", "NetStream.Play.Failed", "kicked cam") }, relay.CauseDenied, "kicked ***"},
		{"closed", func(c *fakeConn) {}, relay.CauseConnection, "broke off"},
		{"closed within a message", func(c *fakeConn) { c.Write([]byte{6, 0, 0, 0, 0, 1, 0, 9, 1, 0, 0, 0, 1}) }, relay.CauseConnection, "broke off"},
		{"garbage", func(c *fakeConn) { c.Write([]byte("\xff\xff\xff\xff\xff\xff\xff\xff")) }, relay.CauseMedia, "does not speak RTMP"},
		{"moves", func(c *fakeConn) {
			c.status(0, "status", "NetConnection.Connect.ReconnectRequest", "we move")
			c.tag(videoHeader)
			c.rest()
		}, relay.CauseConnection, "connect anew: we move"},
		{"silence", func(c *fakeConn) { c.rest() }, relay.CauseConnection, "nothing came in time"},
		{"slow loris", func(c *fakeConn) {
			c.Write([]byte{6, 0, 0, 0, 0, 0, 99, 9, 1, 0, 0, 0})
			for {
				time.Sleep(silence / 10)
				if _, err := c.Write([]byte{0}); err != nil {
					return
				}
			}
		}, relay.CauseConnection, "nothing came in time"},
		{"pings only", func(c *fakeConn) {
			for {
				time.Sleep(silence / 10)
				if _, err := c.Write([]byte{2, 0, 0, 0, 0, 0, 6, 4, 0, 0, 0, 0, 0, 6, 1, 2, 3, 4}); err != nil {
					return
				}
			}
		}, relay.CauseConnection, "nothing came in time"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			f := newFake(t, false, func(c *fakeConn) {
				if _, ok := c.begin("play"); ok {
					c.tag(audioHeader)
					tt.script(c)
				}
			})
			o := opener()
			if o.Silence = time.Minute; tt.words == "nothing came in time" {
				o.Silence = silence
			}
			s := open(t, o, relay.Opening{URL: pull(t, f.url("cam"))})
			tag, err := s.ReadTag()
			require.NoError(t, err)
			assert.Equal(t, audioHeader.Data, tag.Data)
			_, err = s.ReadTag()
			if tt.words == "" {
				assert.Equal(t, io.EOF, err)
				return
			}
			failed(t, err, tt.cause, tt.words)
		})
	}
}

// Close ends a ReadTag that waits.
func TestSourceCloses(t *testing.T) {
	f := newFake(t, false, func(c *fakeConn) {
		c.begin("play")
		c.rest()
	})
	s := open(t, opener(), relay.Opening{URL: pull(t, f.url("a"))})
	time.AfterFunc(10*time.Millisecond, func() { s.Close() })
	_, err := s.ReadTag()
	failed(t, err, relay.CauseConnection, "was closed")
	assert.ErrorIs(t, err, net.ErrClosed)
}

// What a server is told: the path, and in the name what is asked for.
func TestSourceSays(t *testing.T) {
	objects, names := make(chan amf.Object, 1), make(chan string, 1)
	f := newFake(t, false, func(c *fakeConn) {
		if object, ok := c.connect(amf.Property{Name: hub.NodeProperty, Value: "other"}); ok {
			objects <- object
		}
		txn, _, _ := c.next("createStream")
		c.say(0, "_result", txn, nil, 1.0)
		if _, args, ok := c.next("play"); ok {
			names <- args[1].(string)
		}
		c.status(1, "status", "NetStream.Play.Start", "")
		c.rest()
	})
	u := pull(t, "rtmp://joe:p4ss@"+f.address+"/live/a?x=1")
	s := open(t, opener(), relay.Opening{URL: u, Path: []string{"one", "two"}, Back: 1500 * time.Millisecond})
	assert.Equal(t, "other", s.Node())
	object := <-objects
	for name, want := range map[string]any{"sluicePath": "one,two", "tcUrl": "rtmp://" + f.address + "/live", "capsEx": 15.0} {
		got, _ := object.Get(name)
		assert.Equal(t, want, got, name)
	}
	assert.Equal(t, "a?x=1&back=1.5", <-names)
}

// Buffered tells whether a burst is over.
func TestSourceTellsOfBursts(t *testing.T) {
	more := make(chan struct{})
	f := newFake(t, false, func(c *fakeConn) {
		c.begin("play")
		for _, tag := range clip(9) {
			c.tag(tag)
		}
		<-more
		c.tag(videoHeader)
		c.rest()
	})
	s := open(t, opener(), relay.Opening{URL: pull(t, f.url("a"))})
	for range 9 {
		_, err := s.ReadTag()
		require.NoError(t, err)
	}
	assert.False(t, s.Buffered())
	close(more)
	require.Eventually(t, s.Buffered, 10*time.Second, time.Millisecond)
	_, err := s.ReadTag()
	require.NoError(t, err)
	assert.False(t, s.Buffered())
}
