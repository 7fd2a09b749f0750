package relay

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv/amf"
	"sluice/hub/relay"
)

// heard is what a server was told.
type heard struct {
	name  string
	tcURL any
}

// listening is a server that takes a player or publisher and says what it was told.
func listening(t *testing.T, command string) (*fake, <-chan heard) {
	told := make(chan heard, 8)
	f := newFake(t, false, func(c *fakeConn) {
		object, ok := c.connect()
		if !ok {
			return
		}
		txn, _, _ := c.next("createStream")
		c.say(0, "_result", txn, nil, 1.0)
		if _, args, ok := c.next(command); ok {
			url, _ := object.Get("tcUrl")
			told <- heard{args[1].(string), url}
			c.status(1, "status", "NetStream."+map[string]string{"play": "Play", "publish": "Publish"}[command]+".Start", "")
			c.rest()
		}
	})
	return f, told
}

// A server that sends a Source elsewhere is followed, and who is elsewhere learns neither user and
// password nor the query.
func TestSourceIsRedirected(t *testing.T) {
	there, told := listening(t, "play")
	for _, tt := range []struct {
		what, field, to, name string
	}{
		{"by tcUrl", "redirect", "rtmp://THERE/live", "cam"},
		{"by tcUrl with a query", "redirect", "rtmp://THERE/live?zone=2&key=t0ken", "cam?zone=2"},
		{"by the whole URL", "redirect2", "rtmp://THERE/live/other?zone=2", "other?zone=2"},
		{"by the whole URL as tcUrl", "redirect", "rtmp://THERE/live/cam", "cam"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			to := strings.ReplaceAll(tt.to, "THERE", there.address)
			here := newFake(t, false, func(c *fakeConn) {
				if _, ok := c.ask("play"); ok { // SRS says it there
					c.status(0, "error", "NetConnection.Connect.Rejected", "RTMP 302 Redirect", redirectTo(tt.field, to))
					c.rest()
				}
			})
			trusted := map[string]bool{}
			o := opener()
			o.Dial = func(ctx context.Context, network, address string, ok bool) (net.Conn, error) {
				trusted[address] = ok
				return new(net.Dialer).DialContext(ctx, network, address)
			}
			s := open(t, o, relay.Opening{URL: pull(t, "rtmp://joe:p4ss@"+here.address+"/live/cam?key=t0ken")})
			assert.Equal(t, there.address, s.Remote())
			got := <-told
			assert.Equal(t, tt.name, got.name)
			assert.Equal(t, "rtmp://"+there.address+"/live", got.tcURL)
			assert.Equal(t, map[string]bool{here.address: true, there.address: false}, trusted)
		})
	}
}

// The same server may have all that the URL holds.
func TestSourceIsRedirectedAtHome(t *testing.T) {
	names := make(chan string, 1)
	var f *fake
	f = newFake(t, false, func(c *fakeConn) {
		if c.n == 1 {
			c.refuseConnect("NetConnection.Connect.Rejected", "there", redirectTo("redirect", "rtmp://"+f.address+"/other"))
			return
		}
		if name, ok := c.begin("play"); ok {
			names <- name
			c.rest()
		}
	})
	open(t, opener(), relay.Opening{URL: pull(t, f.url("cam?key=t0ken"))})
	assert.Equal(t, "cam?key=t0ken", <-names)
}

// A redirect goes round in circles, out of the protocol or out of encryption.
func TestSourceIsMisled(t *testing.T) {
	var connections int
	var f *fake
	f = newFake(t, false, func(c *fakeConn) {
		connections = c.n
		c.refuseConnect("NetConnection.Connect.Rejected", "", redirectTo("redirect", "rtmp://"+f.address+"/live"))
	})
	_, err := opener().Open(t.Context(), relay.Opening{URL: pull(t, f.url("cam"))})
	failed(t, err, relay.CauseURL, "more than 3 times", "cam")
	assert.Equal(t, 4, connections)

	for _, to := range []string{"http://h/live", "rtmp://", "rtmp://h", "%zz", strings.Repeat("x", 9000)} {
		f := newFake(t, false, func(c *fakeConn) {
			c.refuseConnect("NetConnection.Connect.Rejected", "no", redirectTo("redirect", to))
		})
		_, err = opener().Open(t.Context(), relay.Opening{URL: pull(t, f.url("cam"))})
		failed(t, err, relay.CauseDenied, "Rejected")
	}
	assert.Empty(t, redirected("rtmps://h/a/b", "rtmp://h/a/b"))
}

// A push follows to the same server only: the name is the key.
func TestSinkIsRedirected(t *testing.T) {
	there, _ := listening(t, "publish")
	here := newFake(t, false, func(c *fakeConn) {
		c.refuseConnect("NetConnection.Connect.Rejected", "", redirectTo("redirect", "rtmp://"+there.address+"/live"))
	})
	_, err := opener().Send(t.Context(), relay.Sending{URL: push(t, here.url("k3y"))})
	failed(t, err, relay.CauseURL, "another host", "k3y")

	names := make(chan string, 1)
	var f *fake
	f = newFake(t, false, func(c *fakeConn) {
		if c.n == 1 {
			c.refuseConnect("NetConnection.Connect.Rejected", "", redirectTo("redirect", "rtmp://"+f.address+"/other"))
			return
		}
		if name, ok := c.begin("publish"); ok {
			names <- name
			c.rest()
		}
	})
	send(t, opener(), relay.Sending{URL: push(t, f.url("k3y?x=1"))})
	assert.Equal(t, "k3y?x=1", <-names)
}

// A target that asks a push to connect anew is told of as a move, to the same server only.
func TestSinkMoves(t *testing.T) {
	for _, tt := range []struct{ what, to, want, detail string }{
		{"home", "", "rtmp://joe:p4ss@HERE/live/k3y?x=1", "connect anew: soon"},
		{"to another app", "rtmp://HERE/other", "rtmp://joe:p4ss@HERE/other/k3y?x=1", "connect anew: soon"},
		{"to another host", "rtmp://h/live", "", "another host"},
		{"to another port", "rtmp://127.0.0.1/live", "", "another host"},
		{"out of the protocol", "rtmps://HERE/live", "", "another host"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			var f *fake
			f = newFake(t, false, func(c *fakeConn) {
				if _, ok := c.begin("publish"); ok {
					c.status(0, "status", "NetConnection.Connect.ReconnectRequest", "soon",
						amf.Property{Name: "tcUrl", Value: strings.ReplaceAll(tt.to, "HERE", f.address)})
					c.rest()
				}
			})
			s := send(t, opener(), relay.Sending{URL: push(t, "rtmp://joe:p4ss@"+f.address+"/live/k3y?x=1")})
			m := <-s.Moved()
			assert.Equal(t, strings.ReplaceAll(tt.want, "HERE", f.address), m.URL.Secret())
			assert.Contains(t, m.Detail, tt.detail)
			require.NoError(t, s.WriteTags(clip(3)), "it goes on until it is closed")
		})
	}
}

// A Source that is asked to connect anew breaks off, and the next one begins where it was asked to
// go, once: at another server without what the URL shows to this one.
func TestSourceMoves(t *testing.T) {
	there, told := listening(t, "play")
	for _, tt := range []struct{ what, to, name string }{
		{"elsewhere", "rtmp://" + there.address + "/live", "cam"},
		{"to nobody", "rtmp://127.0.0.1:1/live", ""},
		{"home", "", "cam?key=t0ken"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			names := make(chan string, 8)
			f := newFake(t, false, func(c *fakeConn) {
				if name, ok := c.begin("play"); ok {
					names <- name
					c.status(0, "status", "NetConnection.Connect.ReconnectRequest", "soon", amf.Property{Name: "tcUrl", Value: tt.to})
					c.tag(videoHeader)
					c.rest()
				}
			})
			o := opener()
			opening := relay.Opening{URL: pull(t, f.url("cam?key=t0ken")), Back: time.Second}
			_, err := open(t, o, opening).ReadTag()
			failed(t, err, relay.CauseConnection, "connect anew: soon")
			assert.Equal(t, "cam?key=t0ken&back=1", <-names)
			opening.Back = 2 * time.Second
			open(t, o, opening)
			switch tt.name {
			case "cam":
				assert.Equal(t, "cam?back=2", (<-told).name)
			default:
				assert.Equal(t, "cam?key=t0ken&back=2", <-names)
			}
			open(t, o, opening)
			assert.Equal(t, "cam?key=t0ken&back=2", <-names)
		})
	}
}

// Moves are bounded in number and time.
func TestMoves(t *testing.T) {
	var m moves
	now := time.Now()
	for i := range maxMoves + 5 {
		m.put(fmt.Sprint(i), "x", now)
	}
	assert.Len(t, m.to, maxMoves)
	assert.Equal(t, "x", m.take("0", now.Add(moveHolds)))
	assert.Empty(t, m.take("0", now))
	assert.Empty(t, m.take("1", now.Add(moveHolds+1)))
	assert.Empty(t, m.take(fmt.Sprint(maxMoves), now))
	m.put("a", "y", now)
	m.put("b", "y", now)
	m.put("c", "y", now.Add(2*moveHolds))
	assert.Equal(t, "y", m.take("c", now.Add(2*moveHolds)))
}
