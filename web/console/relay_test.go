package console

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub/relay"
)

// relays are those of nobody.
type relays struct {
	mu  sync.Mutex
	all []relay.RuleInfo
}

func (r *relays) Relays() []relay.RuleInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	said := slices.Clone(r.all)
	for i := range said {
		said[i].Connections = slices.Clone(said[i].Connections)
	}
	return said
}

func (r *relays) Add(of relay.Rule) (relay.RuleInfo, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.ContainsFunc(r.all, func(i relay.RuleInfo) bool { return i.Equal(of) }) {
		return relay.RuleInfo{}, relay.ErrExists
	}
	info := relay.RuleInfo{ID: fmt.Sprint(of.Kind, "-", len(r.all)+1), By: "api", Rule: of}
	r.all = append(r.all, info)
	return info, nil
}

func (r *relays) Remove(id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = slices.DeleteFunc(r.all, func(i relay.RuleInfo) bool { return i.ID == id })
	return nil
}

// fill makes a pull, an origin without a stream, and a push with a connection in each state.
func (r *relays) fill() {
	rule := func(kind relay.Kind, about string, urls ...string) relay.Rule {
		made, err := relay.NewRule(kind, about, urls)
		if err != nil {
			panic(err)
		}
		return made
	}
	now := time.Now()
	pull := rule(relay.Pull, "live/channel-001", "http://u:S3CRET@upstream.example/live/S3CRET.flv", "rtmp://second.example/live/S3CRET")
	push := rule(relay.Push, "live/**", "rtmps://a.rtmps.platform.example:443/live2/S3CRET")
	var pushed []relay.ConnectionInfo
	for i, s := range relay.Push.States() {
		c := relay.ConnectionInfo{
			Key: key(fmt.Sprintf("live/channel-%03d", i+1)), State: s, URL: push.URLs[0], Since: now.Add(-time.Hour), Remote: "203.0.113.7:443",
			Bytes: 123_456_789, Tries: uint64(i), Lag: time.Duration(i) * 40 * time.Millisecond, Dropped: uint64(i * 100),
		}
		switch s {
		case relay.BackingOff:
			c.Detail, c.Error, c.Next = "nothing came in time", "nothing came in time", now.Add(20*time.Second)
		case relay.Refused:
			c.Detail, c.Error, c.Next = "codec: HEVC", "codec: HEVC", now.Add(30*time.Second)
		case relay.Live:
			c.Error = "the server says: NetStream.Publish.BadName <b>"
		}
		pushed = append(pushed, c)
	}
	r.all = []relay.RuleInfo{
		{ID: "pull-1", By: "SLUICE_PULL", Rule: pull, Connections: []relay.ConnectionInfo{{
			Key: pull.Key, State: relay.Live, URL: pull.URLs[0], Since: now.Add(-26 * time.Hour), Node: "1f42fc85ea6d9143", Session: 7,
			Bytes: 9_876_543_210, Tries: 5, Breaks: 4, Joined: 3, Cuts: 1,
		}}},
		{ID: "origin-1", By: "api", Rule: rule(relay.Origin, "edge/*", "https://origin.example/{app}/{name}.flv?{query}")},
		{ID: "push-1", By: "SLUICE_PUSH", Rule: push, Connections: pushed},
	}
}

// Relays are shown with what is wrong first, made and ended; no secret comes to the page.
func TestRelays(t *testing.T) {
	r := newRig(t)
	r.relays.fill()
	p := r.tab(t)
	p.Open(r.URL + Path)
	p.login("#/relays")
	p.Until("document.querySelectorAll('main tbody tr').length === 9")
	text := p.text("main")
	for _, want := range []string{
		"Codec: HEVC. Next try in", "Nothing came in time.", "rtmps://a.rtmps.platform.example:443/live2/***", "http://upstream.example/live/***",
		"Went on 3 times at the exact packet, 1 time at a key frame.", "SLUICE_PUSH", "edge/*", "BadName <b>",
	} {
		assert.Contains(t, text, want)
	}
	assert.NotContains(t, text, "S3CRET")
	p.Run(desktop)
	p.Screenshot("relays")

	p.press("main .actions", "Add…")
	p.Until("!!document.getElementById('dialog')")
	p.set("kind", "push")
	p.set("of", " live/x ")
	p.set("url", "http://h/a/b")
	p.press("#dialog", "Add")
	p.Until("document.querySelector('#dialog .wrong').textContent.includes('must begin with rtmp://')")
	p.set("url", " rtmp://new.example/app/S3CRET ")
	p.press("#dialog", "Add")
	p.told("The relay is added as push-4.")
	p.Until("document.querySelectorAll('main tbody tr').length === 10")
	assert.NotContains(t, p.text("main"), "S3CRET")
	require.Equal(t, "rtmp://new.example/app/S3CRET", r.relays.Relays()[3].URLs[0].Secret())

	p.press(`main tr:last-child`, "End…")
	p.Until("!!document.getElementById('dialog')")
	p.press("#dialog", "End")
	p.Until("document.querySelectorAll('main tbody tr').length === 9")
	assert.Len(t, r.relays.Relays(), 3)

	p.visit("#/relays?state=refused")
	p.Until("document.querySelectorAll('main tbody tr').length === 1")
	p.visit("#/stream/live%2Fchannel-001")
	p.Until("document.querySelectorAll('main .relays tbody tr').length === 2")
	assert.Contains(t, p.text("main"), "Pulled from, pushed to")
	p.Screenshot("relays-of-stream")
	p.visit("#/stream/live%2Fother")
	p.Until("sluice.rounds > 0 && document.querySelectorAll('main .relays tbody tr').length === 0")
	assert.NotContains(t, p.text("main"), "Pulled from")
}
