package admin

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"sluice/hub"
	"sluice/hub/relay"
	"sluice/web"
)

// Relays is what the API needs of a *relay.Relay.
type Relays interface {
	Relays() []relay.RuleInfo
	// Add makes a rule. The error is relay.ErrExists, relay.ErrFull, or relay.ErrUnsaved for one
	// that counts and will be lost at a restart.
	Add(relay.Rule) (relay.RuleInfo, error)
	// Remove ends a rule. The error is relay.ErrNoRule, relay.ErrByConf, or relay.ErrUnsaved.
	Remove(id string) error
}

// RelayList is the answer to GET /api/v1/relays, pulls before origins before pushes and the oldest
// first:
//
//	?kind=push           pull, origin or push
//	&stream=APP/NAME     those about a stream, or about those that fit a pattern (live/*)
//	&state=refused       those with a connection in that state
//	&search=TEXT         where that stands in stream, pattern or a URL as it is shown, in any case
//	&limit=, &cursor=    as for Sessions
//
// With stream or state, of the connections there are those that are asked for.
type RelayList struct {
	Relays []Relay `json:"relays"` // never null
	Next   string  `json:"next,omitempty"`
	Total  int     `json:"total"`
}

// Relay is a rule of what is relayed, and its connections. Its URLs are without users, queries and
// the names at their ends.
type Relay struct {
	ID      string         `json:"id"`
	Kind    string         `json:"kind"`              // "pull", "origin" or "push"
	By      string         `json:"by"`                // a variable, or "api"
	Stream  string         `json:"stream,omitempty"`  // of a pull
	Pattern string         `json:"pattern,omitempty"` // of the others
	URLs    []string       `json:"urls"`
	States  map[string]int `json:"states"` // how many connections are so; never null
	// Connections are maxConnections at the most, those first that somebody should look at.
	Connections []RelayConnection `json:"connections"` // never null
}

// maxConnections is how many connections are told of a rule: one pattern may relay thousands of
// streams.
const maxConnections = 100

// RelayConnection is what becomes of one stream.
type RelayConnection struct {
	Stream  string   `json:"stream"`
	URL     string   `json:"url"`   // the present one; "" for none
	State   string   `json:"state"` // of relay.State
	Since   web.Time `json:"since"`
	Remote  string   `json:"remote"`            // HOST:PORT; "" while there is no connection
	Node    string   `json:"node"`              // of the Sluice at the other end; "" for none
	Session uint64   `json:"session,omitempty"` // of a pull, that of its publisher
	Detail  string   `json:"detail"`            // about the state
	Error   string   `json:"error"`             // why it failed the last time; "" for never

	Bytes   uint64    `json:"bytes"`
	Dropped uint64    `json:"dropped"` // packets
	LagMS   int64     `json:"lag_ms"`
	Tries   uint64    `json:"tries"`
	Breaks  uint64    `json:"breaks"`
	Joined  uint64    `json:"joined"` // breaks after which it went on at the exact packet
	Cuts    uint64    `json:"cuts"`   // and at a key frame
	Next    *web.Time `json:"next_try"`
}

var errNoRelays = refuse(http.StatusNotFound, "not found", "nothing is relayed here")

// urgency is which state somebody should look at first.
var urgency = []relay.State{relay.Refused, relay.BackingOff, relay.Slow, relay.Held, relay.Connecting, relay.Live, relay.Idle}

// relays answers GET /api/v1/relays.
func (a *api) relays(r *http.Request) (reply, error) {
	s, err := parseSelection(r.URL.RawQuery, "kind", "stream", "state", "search")
	if err != nil {
		return reply{}, err
	}
	if kind := s.values.Get("kind"); kind != "" {
		if _, ok := relay.ParseKind(kind); !ok {
			return reply{}, errKind
		}
	}
	if state := s.values.Get("state"); state != "" && !slices.ContainsFunc(urgency, func(s relay.State) bool { return s.String() == state }) {
		return reply{}, badRequest("state is idle, connecting, live, slow, backing off, refused or held")
	}
	if a.Relays == nil {
		return reply{}, errNoRelays
	}
	place, err := parseRelayPlace(s.cursor)
	if err != nil {
		return reply{}, err
	}
	infos := a.Relays.Relays()
	slices.SortFunc(infos, func(a, b relay.RuleInfo) int { return placeOf(a).compare(placeOf(b)) })
	said := RelayList{Relays: []Relay{}}
	var last string
	for _, info := range infos {
		if info.Connections = slices.DeleteFunc(info.Connections, func(c relay.ConnectionInfo) bool {
			return !s.wantsConnection(c)
		}); !s.wantsRelay(info) {
			continue
		}
		said.Total++
		switch {
		case s.cursor != "" && placeOf(info).compare(place) <= 0:
		case len(said.Relays) < s.limit:
			said.Relays, last = append(said.Relays, relayOf(info)), info.ID
		case said.Next == "":
			said.Next = encodeCursor(last)
		}
	}
	return reply{body: said}, nil
}

// wantsConnection reports whether a connection is asked for.
func (s *selection) wantsConnection(c relay.ConnectionInfo) bool {
	state := s.values.Get("state")
	return (s.stream == nil || s.stream(c.Key.String())) && (state == "" || state == c.State.String())
}

// wantsRelay reports whether a rule is asked for, of whose connections those are left that are.
func (s *selection) wantsRelay(info relay.RuleInfo) bool {
	if kind := s.values.Get("kind"); kind != "" && kind != info.Kind.String() {
		return false
	}
	if len(info.Connections) == 0 {
		if s.values.Get("state") != "" || s.stream != nil && !s.isAbout(info) {
			return false
		}
	}
	if s.search == "" || strings.Contains(strings.ToLower(about(info)), s.search) {
		return true
	}
	return slices.ContainsFunc(info.URLs, func(u relay.URL) bool { return strings.Contains(strings.ToLower(u.String()), s.search) }) ||
		slices.ContainsFunc(info.Connections, func(c relay.ConnectionInfo) bool {
			return strings.Contains(strings.ToLower(c.Key.String()), s.search)
		})
}

// isAbout reports whether a rule without connections is about the streams that are asked for.
func (s *selection) isAbout(info relay.RuleInfo) bool {
	if info.Kind == relay.Pull {
		return s.stream(info.Key.String())
	}
	app, name := cutLast(s.values.Get("stream"))
	return info.Matches(hub.Key{App: app, Name: name}) // for a pattern that is asked for, hardly
}

// about returns the stream or the pattern of a rule.
func about(info relay.RuleInfo) string {
	if info.Kind == relay.Pull {
		return info.Key.String()
	}
	return info.Pattern.String()
}

// relayOf returns a rule as it is told.
func relayOf(info relay.RuleInfo) Relay {
	said := Relay{
		ID: info.ID, Kind: info.Kind.String(), By: info.By, URLs: []string{}, States: map[string]int{}, Connections: []RelayConnection{},
	}
	if info.Kind == relay.Pull {
		said.Stream = about(info)
	} else {
		said.Pattern = about(info)
	}
	for _, u := range info.URLs {
		said.URLs = append(said.URLs, strings.ToValidUTF8(u.String(), "?"))
	}
	all := slices.Clone(info.Connections)
	slices.SortStableFunc(all, func(a, b relay.ConnectionInfo) int {
		return cmp.Or(cmp.Compare(slices.Index(urgency, a.State), slices.Index(urgency, b.State)),
			strings.Compare(a.Key.String(), b.Key.String()))
	})
	for _, c := range all {
		said.States[c.State.String()]++
		if len(said.Connections) < maxConnections {
			said.Connections = append(said.Connections, connectionOf(c))
		}
	}
	return said
}

func connectionOf(c relay.ConnectionInfo) RelayConnection {
	return RelayConnection{
		Stream: c.Key.String(), URL: text(c.URL.String()), State: c.State.String(), Since: web.Time(c.Since), Remote: c.Remote,
		Node: text(c.Node), Session: c.Session, Detail: text(c.Detail), Error: text(c.Error),
		Bytes: c.Bytes, Dropped: c.Dropped, LagMS: c.Lag.Milliseconds(), Tries: c.Tries, Breaks: c.Breaks,
		Joined: c.Joined, Cuts: c.Cuts, Next: timeOf(c.Next),
	}
}

// relayPlace is where a rule stands in the list.
type relayPlace struct {
	kind   relay.Kind
	number uint64
	id     string
}

func (p relayPlace) compare(with relayPlace) int {
	return cmp.Or(cmp.Compare(p.kind, with.kind), cmp.Compare(p.number, with.number), strings.Compare(p.id, with.id))
}

func placeOf(info relay.RuleInfo) relayPlace { return placeOfID(info.ID) }

// placeOfID returns the place of a rule by its id: push-3 is the third of the pushes.
func placeOfID(id string) relayPlace {
	text, number, _ := strings.Cut(id, "-")
	kind, _ := relay.ParseKind(text)
	n, _ := strconv.ParseUint(number, 10, 64)
	return relayPlace{kind, n, id}
}

// parseRelayPlace reads a cursor.
func parseRelayPlace(cursor string) (relayPlace, error) {
	if cursor == "" {
		return relayPlace{}, nil
	}
	id, err := decodeCursor(cursor)
	return placeOfID(id), err
}

// relayRequest is the body of POST /api/v1/relays. A pull has a stream; the others have a stream or
// a pattern. A push has one URL.
type relayRequest struct {
	Kind    string   `json:"kind"`
	Stream  string   `json:"stream"`
	Pattern string   `json:"pattern"`
	URL     string   `json:"url"`
	URLs    []string `json:"urls"`
}

// RelayMade is the answer to it.
type RelayMade struct {
	Relay Relay `json:"relay"`
	Saved
}

var errKind = badRequest("kind is pull, origin or push")

// parse makes a rule of what is asked for. The error repeats nothing of it.
func (q *relayRequest) parse() (relay.Rule, error) {
	kind, ok := relay.ParseKind(q.Kind)
	if !ok {
		return relay.Rule{}, errKind
	}
	of := q.Pattern
	switch {
	case q.Stream != "" && q.Pattern != "":
		return relay.Rule{}, badRequest("stream and pattern are one too many")
	case q.Stream+q.Pattern == "":
		return relay.Rule{}, badRequest("a pull has a stream, APP/NAME; an origin or a push has a stream or a pattern")
	case q.Pattern != "" && kind == relay.Pull:
		return relay.Rule{}, badRequest("a pull has a stream, and no pattern")
	case q.URL != "" && len(q.URLs) > 0:
		return relay.Rule{}, badRequest("url and urls are one too many")
	case q.Stream != "":
		key, err := parseKey(q.Stream)
		if err != nil {
			return relay.Rule{}, err
		}
		of = literal(key)
	}
	if q.URL != "" {
		q.URLs = []string{q.URL}
	}
	rule, err := relay.NewRule(kind, of, q.URLs)
	if err != nil {
		return rule, badRequest(err.Error())
	}
	return rule, nil
}

// addRelay answers POST /api/v1/relays.
func (a *api) addRelay(r *http.Request) (reply, error) {
	var asked relayRequest
	if err := parseBody(r, &asked); err != nil {
		return reply{}, err
	}
	rule, err := asked.parse()
	if err != nil {
		return reply{}, err
	}
	if a.Relays == nil {
		return reply{}, errNoRelays
	}
	info, err := a.Relays.Add(rule)
	said := RelayMade{Saved: Saved{errors.Is(err, relay.ErrUnsaved)}}
	switch {
	case errors.Is(err, relay.ErrExists), errors.Is(err, relay.ErrFull):
		return reply{}, conflict(err)
	case said.Unsaved:
		a.Logger.Warn("relays will be lost at a restart", "error", err)
	case err != nil:
		return reply{}, err
	}
	said.Relay = relayOf(info)
	a.log(r, "relay", "relay", info.ID, "kind", info.Kind.String(), "of", about(info), "url", info.URLs[0].String(), "urls", len(info.URLs))
	return reply{status: http.StatusCreated, body: said}, nil
}

// removeRelay answers DELETE /api/v1/relays/ID, as removeBan does.
func (a *api) removeRelay(r *http.Request) (reply, error) {
	if a.Relays == nil {
		return reply{}, errNoRelays
	}
	id := lastSegment(r)
	err := a.Relays.Remove(id)
	unsaved := errors.Is(err, relay.ErrUnsaved)
	switch {
	case errors.Is(err, relay.ErrNoRule):
		return reply{}, refuse(http.StatusNotFound, "not found", "there is no such relay, or no longer")
	case errors.Is(err, relay.ErrByConf):
		return reply{}, conflict(err)
	case unsaved:
		a.Logger.Warn("relays will come back at a restart", "error", err)
	case err != nil:
		return reply{}, err
	}
	a.log(r, "end relay", "relay", text(id))
	if unsaved {
		return reply{body: Saved{true}}, nil
	}
	return reply{status: http.StatusNoContent}, nil
}

// conflict refuses because of what there is, in the words of an error that is for people.
func conflict(err error) error { return refuse(http.StatusConflict, "conflict", err.Error()) }
