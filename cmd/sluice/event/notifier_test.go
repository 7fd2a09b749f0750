package event

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/monitor"
)

// ringEvents returns what the ring holds.
func ringEvents(t *testing.T, n *Notifier) (events []Event, text string) {
	t.Helper()
	raw, _, _ := n.Ring().Since(0, 0)
	for _, b := range raw {
		var e Event
		require.NoError(t, json.Unmarshal(b, &e))
		events = append(events, e)
		text += string(b) + "\n"
	}
	return events, text
}

// Each event of the hub in JSON. Nothing of a query, a password or a fragment is in any.
func TestEventsOfTheHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(endpoint)
		n, _ := begin(t, p, nil)
		pub, view := session(t, hub.RolePublish, "live/a"), session(t, hub.RoleWatch, "live/a")
		mine := fmt.Sprintf(`"session":{"id":%d,"role":"publish","protocol":"rtmp","address":"192.0.2.7:4711","agent":"FMLE/3.0"}`, pub.ID())
		theirs := fmt.Sprintf(`"session":{"id":%d,"role":"watch","protocol":"rtmp","address":"192.0.2.7:4711","agent":"FMLE/3.0"}`, view.ID())
		for i, c := range []struct {
			e    hub.Event
			want []string
		}{
			{hub.Event{Kind: hub.EventPublished, Session: pub}, []string{`"type":"publish","time":"T","server":"here","stream":"live/a",` + mine}},
			{hub.Event{Kind: hub.EventTracks, Session: pub, Tracks: []hub.Track{
				{Video: &flv.VideoFormat{Codec: flv.CodecH264, Profile: "High", Width: 1280, Height: 720, FrameRate: 25}},
				{Number: 1, Audio: &flv.AudioFormat{Codec: flv.CodecAAC, Profile: "LC", SampleRate: 48000, Channels: 2}},
			}}, []string{`"type":"tracks","time":"T","server":"here","stream":"live/a",` + mine + `,"tracks":[` +
				`{"track":0,"kind":"video","codec":"H.264","profile":"High","width":1280,"height":720,"fps":25},` +
				`{"track":1,"kind":"audio","codec":"AAC","profile":"LC","sample_rate":48000,"channels":2}]`}},
			{hub.Event{Kind: hub.EventJoined, Session: view}, []string{`"type":"play","time":"T","server":"here","stream":"live/a",` + theirs}},
			{hub.Event{Kind: hub.EventLeft, Session: view, Reason: hub.ReasonKicked, Detail: "by hand", Duration: time.Minute, Bytes: 5, Dropped: 6}, []string{
				`"type":"kicked","time":"T","server":"here","stream":"live/a",` + theirs + `,"reason":"kicked","detail":"by hand"`,
				`"type":"stop","time":"T","server":"here","stream":"live/a",` + theirs + `,"reason":"kicked","detail":"by hand","duration":60,"bytes":5,"dropped":6`,
			}},
			{hub.Event{Kind: hub.EventUnpublished, Session: pub, Reason: hub.ReasonIdle}, []string{
				`"type":"unpublish","time":"T","server":"here","stream":"live/a",` + mine + `,"reason":"idle","duration":0,"bytes":0,"dropped":0`,
			}},
			{hub.Event{Kind: hub.EventPublished, Session: pub, Standby: true}, []string{
				`"type":"publish","time":"T","server":"here","stream":"live/a",` + mine + `,"standby":true`,
			}},
			{hub.Event{Kind: hub.EventSwitched, Session: pub}, []string{`"type":"switched","time":"T","server":"here","stream":"live/a",` + mine}},
			{hub.Event{Kind: hub.EventWanted, Session: view}, []string{`"type":"wanted","time":"T","server":"here","stream":"live/a",` + theirs}},
			{hub.Event{Kind: hub.EventUnwanted, Key: view.Key()}, []string{`"type":"unwanted","time":"T","server":"here","stream":"live/a"`}},
			{hub.Event{Kind: hub.EventRefused, Session: view, Reason: hub.ReasonNotFound}, nil},
			{hub.Event{Kind: hub.EventRefused, Session: view, Reason: hub.ReasonClientLeft}, nil},
			{hub.Event{Kind: hub.EventRefused, Session: pub, Reason: hub.ReasonKicked}, []string{
				`"type":"kicked","time":"T","server":"here","stream":"live/a",` + mine + `,"reason":"kicked"`,
			}},
			{hub.Event{Kind: hub.EventRefused, Session: pub, Reason: hub.ReasonDenied, Detail: "there is no recording \"a?key=query-secret\""}, []string{
				`"type":"denied","time":"T","server":"here","stream":"live/a",` + mine + `,"reason":"denied","detail":"there is no recording \"a"`,
			}},
		} {
			c.e.Time = time.Now()
			if c.e.Session != nil {
				c.e.Key = c.e.Session.Key()
			}
			before := n.Ring().last
			n.Observe(c.e)
			events, _, _ := n.Ring().Since(before, 0)
			require.Len(t, events, len(c.want), "%d", i)
			for k, b := range events {
				_, got, _ := strings.Cut(string(b), `,"type"`)
				got = strings.Replace(got, time.Now().Format(time.RFC3339), "T", 1)
				assert.Equal(t, c.want[k]+"}", `"type"`+got)
			}
		}
		end(n, time.Second)
		_, all := ringEvents(t, n)
		for _, text := range append(p.bodies, all) {
			assert.NotContains(t, text, "secret")
			assert.NotContains(t, text, "pass@")
		}
		ids := make(map[string]bool)
		for _, e := range p.took() {
			assert.False(t, ids[e.ID], "ids are unique")
			ids[e.ID] = true
		}
	})
}

// Formats of others get addresses without what is secret in them.
func TestAddressesForFormats(t *testing.T) {
	s := sessionOf(session(t, hub.RolePublish, "live/x/a"))
	assert.Equal(t, "rtmp://host.test/live/x", s.TCURL)
	assert.Equal(t, "https://page.test/watch", s.PageURL)
	assert.Equal(t, "https://page.test/p", s.SWFURL)
	for from, want := range map[string]string{
		"": "", "no url": "", "//host/path": "", "http:///path": "", "http://h/%zz": "", "http://u:p@h:1/a%20b?c#d": "http://h:1/a%20b",
		"http://h/" + strings.Repeat("a", maxURL): "",
	} {
		got := ""
		if u := publicURL(from); u != nil {
			got = u.String()
		}
		assert.Equal(t, want, got, "%q", from)
	}
}

// The name of a publisher that was refused may be a mistyped key: what stands for it is told,
// and nothing in which the name is.
func TestNamesThatAreNotShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(endpoint)
		n, _ := begin(t, p, nil)
		h := hub.New(hub.Config{Disguise: func(hub.Key) string { return "live/#1234" }})
		c := client("rtmp")
		c.TCURL = "rtmp://host/live/mistyped"
		s := h.NewSession(hub.RolePublish, key(t, "live/mistyped"), c)
		n.Observe(hub.Event{Kind: hub.EventRefused, Time: time.Now(), Key: s.Key(), Session: s, Reason: hub.ReasonBusy,
			Detail: "live/mistyped is being published already"})
		end(n, time.Second)
		taken := p.took()
		require.Len(t, taken, 1)
		assert.Equal(t, "live/#1234", taken[0].Stream)
		assert.NotContains(t, p.bodies[0], "mistyped")
		var e Event
		fromHub(&e, &hub.Event{Session: s, Key: s.Key()})
		assert.Empty(t, e.App+e.Name+e.Session.TCURL)
	})
}

// The endpoint that has granted a publish is not told of it a second time, and that leaves no gap.
func TestSkip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(endpoint)
		n, _ := begin(t, p, func(c *Config) {
			c.Webhook.Skip = func(e hub.Event) bool { return e.Kind == hub.EventPublished }
		})
		s := session(t, hub.RolePublish, "live/a")
		n.Observe(hub.Event{Kind: hub.EventPublished, Time: time.Now(), Key: s.Key(), Session: s})
		n.Observe(hub.Event{Kind: hub.EventUnpublished, Time: time.Now(), Key: s.Key(), Session: s})
		end(n, time.Second)
		assert.Equal(t, []string{"unpublish live/a"}, types(p.took()))
		assert.EqualValues(t, 1, p.took()[0].Seq)
		events, _ := ringEvents(t, n)
		assert.Equal(t, []string{"publish live/a", "unpublish live/a"}, types(events))
	})
}

// Nobody is told of a self-test, but for its refusals; an endpoint that was asked about it, and keeps
// account, is told its end, and its beginning where it does not know that.
func TestSelfTestIsNotTold(t *testing.T) {
	for _, c := range []struct {
		accounts, asked bool
		want            []string
	}{
		{false, false, []string{"denied"}},
		{true, false, []string{"publish", "unpublish", "denied"}},
		{true, true, []string{"unpublish", "denied"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := new(endpoint)
			n, _ := begin(t, p, func(config *Config) {
				config.Webhook.Accounts = func(*hub.Session) bool { return c.accounts }
				config.Webhook.Skip = func(e hub.Event) bool { return c.asked && e.Kind == hub.EventPublished }
			})
			s := session(t, hub.RolePublish, "live/"+hub.CheckName([16]byte{1}))
			for _, kind := range []hub.EventKind{hub.EventWanted, hub.EventPublished, hub.EventTracks, hub.EventUnpublished, hub.EventUnwanted} {
				e := hub.Event{Kind: kind, Time: time.Now(), Key: s.Key()}
				if kind == hub.EventPublished || kind == hub.EventUnpublished {
					e.Session = s
				}
				n.Observe(e)
			}
			n.Observe(hub.Event{Kind: hub.EventRefused, Time: time.Now(), Key: s.Key(), Session: s, Reason: hub.ReasonDenied})
			n.Watched(monitor.Event{Session: s})
			end(n, time.Second)
			told := func(events []Event) (list []string) {
				for i := range events {
					list = append(list, string(events[i].Type))
				}
				return list
			}
			assert.Equal(t, c.want, told(p.took()))
			events, _ := ringEvents(t, n)
			assert.Equal(t, []string{"denied"}, told(events))
		})
	}
}

// Denials of one address are told once a second; each is counted in the end.
func TestDeniedIsSampled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, _ := begin(t, nil, nil)
		h := hub.New(hub.Config{})
		deny := func(from string) {
			c := client("rtmp")
			c.Address = netip.AddrPortFrom(netip.MustParseAddr(from), 1)
			s := h.NewSession(hub.RolePublish, key(t, "live/a"), c)
			n.Observe(hub.Event{Kind: hub.EventRefused, Time: time.Now(), Key: s.Key(), Session: s, Reason: hub.ReasonDenied})
		}
		total := 0
		for range 30 {
			for i := range 100 {
				deny("192.0.2.1")
				deny(fmt.Sprintf("2001:db8::%x", i)) // one network
				total += 2
			}
			time.Sleep(time.Second)
		}
		for i := range 3 * deniedAddresses {
			deny(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}).String())
			deny(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}).String())
			total += 2
		}
		time.Sleep(2 * deniedSweep)
		synctest.Wait()
		assert.Empty(t, n.denied.addresses)
		deny("192.0.2.1")
		deny("192.0.2.1")
		total += 2
		end(n, time.Second)
		events, _ := ringEvents(t, n)
		counted, told := 0, 0
		for _, e := range events {
			counted += int(e.LeftOut)
			if e.Session != nil {
				told++
			}
		}
		assert.Equal(t, total, counted+told)
		assert.LessOrEqual(t, told, 2*30+deniedTotal+1)
		assert.LessOrEqual(t, len(events)-told, deniedSummaries+2+2*3) // of three sweeps before
		assert.Equal(t, Event{Type: TypeDenied, LeftOut: 1, Address: "192.0.2.1"},
			Event{Type: events[len(events)-1].Type, LeftOut: events[len(events)-1].LeftOut, Address: events[len(events)-1].Address})
	})
}

// Whoever is denied drives nothing else out while the endpoint is down.
func TestDeniedTakesNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(endpoint)
		p.set(down)
		n, _ := begin(t, p, nil)
		n.Observe(tracks(hub.Key{App: "live", Name: "a"}))
		for range 2 * maxWaiting {
			n.emit(&Event{Type: TypeDenied, Stream: "live/b"})
		}
		assert.LessOrEqual(t, n.Totals().Webhook.Waiting, maxDenied+1+2) // and two gaps
		end(n, time.Second)
	})
}

// Running sessions are told in batches; while the last ones wait, there are no others.
func TestUpdates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(endpoint)
		var sessions []hub.SessionInfo
		view := session(t, hub.RoleWatch, "live/a")
		for range updateBatch + 1 {
			sessions = append(sessions, hub.SessionInfo{Session: view, State: hub.SessionRunning, Since: time.Now(), Bytes: 9})
		}
		n, _ := begin(t, p, func(c *Config) {
			c.Update, c.Sessions = time.Minute, func() []hub.SessionInfo { return sessions }
		})
		time.Sleep(time.Minute)
		synctest.Wait()
		taken := p.took()
		require.Len(t, taken, 2)
		assert.Len(t, taken[0].Sessions, updateBatch)
		assert.Len(t, taken[1].Sessions, 1)
		assert.Contains(t, p.bodies[1], `"stream":"live/a","state":"running","since":"2000-01-01T00:00:00Z","bytes":9,"dropped":0`)
		assert.NotContains(t, p.bodies[1], "secret")
		p.set(down)
		time.Sleep(time.Hour)
		assert.LessOrEqual(t, n.Totals().Webhook.Waiting, 3)
		p.set(nil)
		time.Sleep(2 * time.Minute)
		assert.Greater(t, len(p.took()), 2)
		end(n, time.Second)
		checkComplete(t, p.took(), n.hooks.seq)
		assert.Zero(t, n.Ring().last)
	})
}
