package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/hub/relay"
)

// relays are those of nobody.
type relays struct {
	mu   sync.Mutex
	all  []relay.RuleInfo
	made int
	err  error // of changes
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
	if of.Kind == relay.Pull && of.Key == key("live/there") {
		return relay.RuleInfo{}, relay.ErrExists
	}
	if r.err != nil && !errors.Is(r.err, relay.ErrUnsaved) {
		return relay.RuleInfo{}, r.err
	}
	r.made++
	info := relay.RuleInfo{ID: fmt.Sprint(of.Kind, "-", 100+r.made), By: "api", Rule: of}
	r.all = append(r.all, info)
	return info, r.err
}

func (r *relays) Remove(id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.IndexFunc(r.all, func(info relay.RuleInfo) bool { return info.ID == id })
	switch {
	case i < 0:
		return relay.ErrNoRule
	case r.all[i].By != "api":
		return relay.ErrByConf
	case r.err != nil && !errors.Is(r.err, relay.ErrUnsaved):
		return r.err
	}
	r.all = slices.Delete(r.all, i, i+1)
	return r.err
}

// fill makes some rules: pull-1 to pull-11, of which the first has a connection, an origin, and a
// push with a connection for each state and two more.
func (r *relays) fill(t testing.TB) {
	rule := func(kind relay.Kind, about string, urls ...string) relay.Rule {
		made, err := relay.NewRule(kind, about, urls)
		require.NoError(t, err)
		return made
	}
	at := time.Unix(1_800_000_000, 0)
	var pushed []relay.ConnectionInfo
	to := rule(relay.Push, "live/**", "rtmps://u:S3CRET@push.example/app/S3CRET?k=S3CRET")
	for i, s := range append(relay.Push.States(), relay.Live, relay.Refused) {
		pushed = append(pushed, relay.ConnectionInfo{Key: key("live/" + string(rune('i'-i))), State: s, URL: to.URLs[0], Since: at})
	}
	r.all = append(r.all, relay.RuleInfo{ID: "push-1", By: "SLUICE_PUSH", Rule: to, Connections: pushed},
		relay.RuleInfo{ID: "origin-1", By: "SLUICE_ORIGIN", Rule: rule(relay.Origin, "edge/*", "http://o.example/{app}/{name}.flv?S3CRET={query}")})
	for n := 11; n > 0; n-- {
		r.all = append(r.all, relay.RuleInfo{ID: "pull-" + itoa(n), By: "api", Rule: rule(relay.Pull, "cam/"+itoa(n), "rtmp://pull.example/app/S3CRET")})
	}
	first := &r.all[len(r.all)-1]
	first.Connections = []relay.ConnectionInfo{{
		Key: key("cam/1"), State: relay.BackingOff, URL: first.URLs[0], Since: at, Remote: "192.0.2.1:1935", Node: "ab12", Detail: "it is down",
		Error: "the connection failed", Session: 7, Bytes: 1, Dropped: 2, Tries: 3, Breaks: 4, Joined: 5, Cuts: 6, Lag: 7 * time.Millisecond,
		Next: at.Add(time.Second),
	}}
}

func idsOf(list []Relay) (ids []string) {
	for _, one := range list {
		ids = append(ids, one.ID)
	}
	return ids
}

func TestRelaysForm(t *testing.T) {
	r := newRig(t, hub.Config{})
	assert.JSONEq(t, `{"relays":[],"total":0}`, r.do(request("GET", "/api/v1/relays", "")).Body.String())
	r.relays.fill(t)
	assert.JSONEq(t, `{"total":1,"relays":[{
		"id":"pull-1","kind":"pull","by":"api","stream":"cam/1","urls":["rtmp://pull.example/app/***"],"states":{"backing off":1},
		"connections":[{
			"stream":"cam/1","url":"rtmp://pull.example/app/***","state":"backing off","since":"2027-01-15T08:00:00.000Z",
			"remote":"192.0.2.1:1935","node":"ab12","session":7,"detail":"it is down","error":"the connection failed",
			"bytes":1,"dropped":2,"lag_ms":7,"tries":3,"breaks":4,"joined":5,"cuts":6,"next_try":"2027-01-15T08:00:01.000Z"}]}]}`,
		r.do(request("GET", "/api/v1/relays?stream=cam/1", "")).Body.String())
	push := get[RelayList](r, "/api/v1/relays?kind=push").Relays[0]
	assert.Equal(t, "live/**", push.Pattern)
	assert.Equal(t, map[string]int{"idle": 1, "connecting": 1, "live": 2, "slow": 1, "backing off": 1, "refused": 2, "held": 1}, push.States)
	var states []string
	for _, c := range push.Connections {
		states = append(states, c.State+" "+c.Stream)
	}
	assert.Equal(t, []string{
		"refused live/a", "refused live/d", "backing off live/e", "slow live/f", "held live/c", "connecting live/h", "live live/b", "live live/g", "idle live/i",
	}, states, "those first that somebody should look at")
	assert.NotContains(t, r.do(request("GET", "/api/v1/relays", "")).Body.String(), "S3CRET")
}

func TestRelaysList(t *testing.T) {
	r := newRig(t, hub.Config{})
	r.relays.fill(t)
	var pulls []string
	for n := range 11 {
		pulls = append(pulls, "pull-"+itoa(n+1))
	}
	everything := append(slices.Clone(pulls), "origin-1", "push-1")
	for query, want := range map[string][]string{
		"":                                everything,
		"kind=pull":                       pulls,
		"kind=origin":                     {"origin-1"},
		"state=backing%20off":             {"pull-1", "push-1"},
		"state=held&kind=pull":            nil,
		"stream=live/a":                   {"push-1"},
		"stream=live/other":               {"push-1"},
		"stream=edge/x":                   {"origin-1"},
		"stream=cam/3":                    {"pull-3"},
		"stream=cam/*":                    pulls,
		"stream=live/a&state=live":        nil,
		"search=PULL.example":             pulls,
		"search=edge":                     {"origin-1"},
		"search=s3cret":                   nil,
		"search=live/b":                   {"push-1"},
		"search=/app/***&state=refused":   {"push-1"},
		"stream=live/*&state=live&kind=x": {"400"},
		"state=dead":                      {"400"},
		"cursor=!":                        {"400"},
		"role=watch":                      {"400"},
	} {
		if len(want) == 1 && want[0] == "400" {
			act[problem](r, "GET", "/api/v1/relays?"+query, "", 400)
			continue
		}
		ids := all(t, r, "/api/v1/relays?limit=2&"+query, func(page json.RawMessage) ([]string, string) {
			var list RelayList
			require.NoError(t, json.Unmarshal(page, &list))
			assert.Equal(t, len(want), list.Total, query)
			return idsOf(list.Relays), list.Next
		})
		assert.Equal(t, want, ids, query)
	}
	said := get[RelayList](r, "/api/v1/relays?state=live").Relays[0]
	assert.Len(t, said.Connections, 2, "those that are asked for")
}

// One pattern may be of thousands of streams.
func TestRelaysConnectionsAreBounded(t *testing.T) {
	r := newRig(t, hub.Config{})
	r.relays.fill(t)
	push := &r.relays.all[0]
	for n := range 2000 {
		push.Connections = append(push.Connections, relay.ConnectionInfo{Key: key("live/x" + itoa(n)), State: relay.Live})
	}
	said := get[RelayList](r, "/api/v1/relays?kind=push").Relays[0]
	assert.Len(t, said.Connections, maxConnections)
	assert.Equal(t, 2002, said.States["live"])
	assert.Equal(t, "live/x7", get[RelayList](r, "/api/v1/relays?stream=live/x7").Relays[0].Connections[0].Stream)
}

func TestRelaysChange(t *testing.T) {
	r := newRig(t, hub.Config{})
	made := act[RelayMade](r, "POST", "/api/v1/relays", `{"kind":"push","stream":"live/a*b","url":"rtmp://h/a/S3CRET"}`, 400)
	assert.Zero(t, made)
	made = act[RelayMade](r, "POST", "/api/v1/relays", `{"kind":"push","stream":"live/a b","url":"rtmp://u:S3CRET@h.example/a/S3CRET?x=S3CRET"}`, 201)
	assert.Equal(t, Relay{
		ID: "push-101", Kind: "push", By: "api", Pattern: "live/a%20b", URLs: made.Relay.URLs, States: map[string]int{}, Connections: []RelayConnection{},
	}, made.Relay)
	assert.Equal(t, "rtmp://u:S3CRET@h.example/a/S3CRET?x=S3CRET", r.relays.all[0].URLs[0].Secret())
	made = act[RelayMade](r, "POST", "/api/v1/relays", `{"kind":"origin","pattern":"e/*","urls":["http://h/{name}.flv","rtmp://h/a/{name}"]}`, 201)
	assert.Len(t, made.Relay.URLs, 2)
	assert.Equal(t, "cam/x", act[RelayMade](r, "POST", "/api/v1/relays", `{"kind":"pull","stream":"/cam//x","url":"ws://h/x.flv"}`, 201).Relay.Stream)
	for body, want := range map[string]string{
		`{"stream":"live/a","url":"rtmp://h/a/S3CRET"}`:                                  "kind is pull, origin or push",
		`{"kind":"pull","url":"rtmp://h/a/S3CRET"}`:                                      "a pull has a stream",
		`{"kind":"pull","pattern":"live/a","url":"rtmp://h/a/S3CRET"}`:                   "a pull has a stream, and no pattern",
		`{"kind":"push","stream":"a/b","pattern":"a/b","url":"rtmp://h/a/S3CRET"}`:       "one too many",
		`{"kind":"push","stream":"a/b"}`:                                                 "there is no URL",
		`{"kind":"push","stream":"a/b","url":""}`:                                        "there is no URL",
		`{"kind":"push","stream":"a/b","urls":["rtmp://h/a/S3CRET","rtmp://h/b/c"]}`:     "a push has one URL",
		`{"kind":"push","stream":"a/b","url":"rtmp://h/a/b","urls":["rtmp://h/S3CRET"]}`: "one too many",
		`{"kind":"push","stream":"a/b","url":"https://h/a/S3CRET"}`:                      "the URL must begin with rtmp://, rtmps://",
		`{"kind":"push","pattern":"!a/b","url":"rtmp://h/a/S3CRET"}`:                     "the pattern is none",
		`{"kind":"origin","pattern":"a/b","url":"http://{name}/S3CRET"}`:                 "in path and query only",
		`{"kind":"pull","stream":"rtmp://h/a/S3CRET","url":"live/a"}`:                    "",
	} {
		said := act[problem](r, "POST", "/api/v1/relays", body, 400)
		assert.Contains(t, said.Reason, want, body)
		assert.NotContains(t, said.Reason, "S3CRET", body)
	}
	assert.Equal(t, "there is such a relay already", act[problem](r, "POST", "/api/v1/relays", `{"kind":"pull","stream":"live/there","url":"rtmp://h/a/b"}`, 409).Reason)
	r.relays.err = relay.ErrFull
	assert.Equal(t, "there are too many relays already", act[problem](r, "POST", "/api/v1/relays", `{"kind":"pull","stream":"live/x","url":"rtmp://h/a/b"}`, 409).Reason)
	r.relays.err = fmt.Errorf("%w: %w", relay.ErrUnsaved, errDisk)
	assert.True(t, act[RelayMade](r, "POST", "/api/v1/relays", `{"kind":"pull","stream":"live/x","url":"rtmp://h/a/b"}`, 201).Unsaved)
	assert.Equal(t, Saved{true}, act[Saved](r, "DELETE", "/api/v1/relays/push-101", "", 200))
	r.relays.err = nil
	act[any](r, "DELETE", "/api/v1/relays/pull-103", "", 204)
	act[problem](r, "DELETE", "/api/v1/relays/pull-103", "", 404)
	for _, line := range []string{
		"does=relay address=192.0.2.99 relay=push-101 kind=push of=live/a%20b url=rtmp://h.example/a/*** urls=1",
		`does="end relay" address=192.0.2.99 relay=push-101`, "relays will be lost at a restart", "relays will come back at a restart",
	} {
		assert.Contains(t, r.log(), line)
	}
	assert.NotContains(t, strings.ReplaceAll(r.log(), errDisk.Error(), ""), "S3CRET")
}
