package relay

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/hub/relay"
	"sluice/hub/relay/relaytest"
)

// The first frame comes after five round trips, that of TCP among them, and after two where the server
// is known. A busy machine is given several tries.
func TestRoundTrips(t *testing.T) {
	const trip, tries = 60 * time.Millisecond, 20
	s := newSluice(t, hub.Config{Node: "there"}, false)
	sink := send(t, opener(), relay.Sending{URL: push(t, s.url("a"))})
	require.NoError(t, sink.WriteTags(clip(20)))
	proxy, err := relaytest.New(relaytest.Config{Target: s.address, Delay: trip / 2})
	require.NoError(t, err)
	t.Cleanup(func() { proxy.Close() })
	u := pull(t, strings.Replace(s.url("a"), s.address, proxy.Addr(), 1))
	for _, tt := range []struct {
		what  string
		back  time.Duration
		trips int
	}{{"first", 0, 5}, {"again", time.Second, 2}} {
		took := time.Hour
		for range tries {
			began := time.Now()
			source, err := opener().Open(t.Context(), relay.Opening{URL: u, Path: []string{"here"}, Back: tt.back})
			require.NoError(t, err)
			nextFrame(t, source)
			took = min(took, time.Since(began))
			source.Close()
			if took < time.Duration(tt.trips+1)*trip {
				break
			}
		}
		t.Logf("%s: %.2f round trips", tt.what, float64(took)/float64(trip))
		assert.Less(t, took, time.Duration(tt.trips+1)*trip, tt.what)
	}
}

// A server that was a Sluice and is none any more is opened in the usual way.
func TestAtOnceIsNotTaken(t *testing.T) {
	for what, script := range map[string]func(c *fakeConn){
		"closes":  func(*fakeConn) {},
		"refuses": func(c *fakeConn) { c.refuseConnect("NetConnection.Connect.Rejected", "what?") },
		"another id": func(c *fakeConn) {
			c.connect()
			txn, _, _ := c.next("createStream")
			c.say(0, "_result", txn, nil, 5.0)
			c.rest()
		},
	} {
		f := newFake(t, false, func(c *fakeConn) {
			if c.n == 1 {
				script(c)
				return
			}
			c.begin("play")
			c.rest()
		})
		s, err := opener().Open(t.Context(), relay.Opening{URL: pull(t, f.url("a")), Back: time.Second})
		require.NoError(t, err, what)
		s.Close()
	}
}
