package admin

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/hub"
	"sluice/hub/cluster"
	"sluice/web"
)

// NodeList is the answer to GET /api/v1/nodes: the nodes, how the engine is, and which streams are where:
//
//	?stream=APP/NAME   one stream, or those that fit a pattern (live/*)
//	&search=TEXT       in whose name that stands, in any case
//	&limit=, &cursor=  of the streams, which go by app and name
type NodeList struct {
	Nodes   []Node         `json:"nodes"` // by name
	Engine  Engine         `json:"engine"`
	Streams []PlacedStream `json:"streams"` // never null
	Next    string         `json:"next,omitempty"`
	Unreached
}

// Unreached is what is missing of an answer that is about all nodes.
type Unreached struct {
	// Nodes are those that have not answered, by name.
	Nodes []string `json:"unreached,omitempty"`
}

// Node is one of the cluster, as this server hears it.
type Node struct {
	Name        string    `json:"name"`
	Boot        string    `json:"boot"`  // the id of its process; "" if it was never heard of
	Self        bool      `json:"self"`  // it is this server
	State       string    `json:"state"` // "running", "draining" or "silent"
	Media       string    `json:"media"` // HOST:PORT
	HTTP        string    `json:"http"`  // where clients reach it, SCHEME://HOST[:PORT]; "" where they do not, or it is not known
	RTMP        string    `json:"rtmp"`
	Version     string    `json:"version"`
	Started     *web.Time `json:"started"`
	Heard       *web.Time `json:"heard"`    // null for never
	ClockMS     int64     `json:"clock_ms"` // by which its clock is ahead of this server's
	Owned       int       `json:"owned"`    // streams that are published there
	Provisional int       `json:"provisional"`
	Copied      int       `json:"copied"` // streams of other nodes
	Sessions    int       `json:"sessions"`
	Connections int       `json:"connections"`
}

// Engine is how that is on which the nodes agree.
type Engine struct {
	Connected   bool      `json:"connected"`
	Writable    bool      `json:"writable"`
	Leader      string    `json:"leader"` // "" if there is none, or it is not known
	Voters      int       `json:"voters"` // 0 if not known
	Reachable   int       `json:"reachable"`
	Since       *web.Time `json:"since"`
	RoundtripMS float64   `json:"roundtrip_ms"`
	Detail      string    `json:"detail"` // what is wrong
}

// PlacedStream is where a stream is: at its owner, from which all other nodes copy it that have viewers.
type PlacedStream struct {
	Stream string  `json:"stream"`
	Places []Place `json:"places"` // the owner first
}

// Place is one node that has a stream, or looks for it.
type Place struct {
	Node        string    `json:"node"`
	State       string    `json:"state"` // "owner", "copying", or "looking" for it
	From        string    `json:"from"`  // the owner, as that node knows; "" for none
	Epoch       uint64    `json:"epoch"`
	Provisional bool      `json:"provisional"` // nothing is recorded of the owner yet
	Since       *web.Time `json:"since"`       // when it began, or ceased, to copy
	Viewers     int       `json:"viewers"`
	Standby     bool      `json:"standby"` // a publisher stands by there, for the one that is shown
	Breaks      int       `json:"breaks"`  // of the connection
	Joined      int       `json:"joined"`  // of them, those after which it went on with the next packet
	Lost        uint64    `json:"lost"`    // packets
	Detail      string    `json:"detail"`  // why nothing comes
}

// Nodes is what the API needs of a *cluster.Cluster.
type Nodes interface {
	Nodes() []cluster.NodeInfo
	Health() cluster.Health
	// Streams returns those of this node, by app and name.
	Streams() []cluster.StreamInfo
	Asker
}

var errAlone = refuse(http.StatusNotFound, "not found", "this server is alone: it is no node of a cluster")

// nodes answers GET /api/v1/nodes.
func (a *api) nodes(r *http.Request) (reply, error) {
	s, err := parseSelection(r.URL.RawQuery, "stream", "search")
	if err != nil {
		return reply{}, err
	}
	if a.Nodes == nil {
		return reply{}, errAlone
	}
	after := ""
	if s.cursor != "" {
		if after, err = decodeCursor(s.cursor); err != nil {
			return reply{}, err
		}
	}
	said := NodeList{Nodes: []Node{}, Engine: engineOf(a.Nodes.Health()), Streams: []PlacedStream{}}
	for _, info := range a.Nodes.Nodes() {
		said.Nodes = append(said.Nodes, nodeOf(info))
	}
	query := url.Values{"after": {after}, "limit": {strconv.Itoa(s.limit + 1)}}
	for _, name := range []string{"stream", "search"} {
		if s.values.Get(name) != "" {
			query.Set(name, s.values.Get(name))
		}
	}
	lists, unreached := askAll[map[string]Place](a, r, command{Method: "GET", Path: placesPath, Query: query.Encode()})
	lists = append(lists, a.ownPlaces(&s, after, s.limit+1))
	said.Streams, said.Next = placed(lists, s.limit)
	said.Unreached = unreached
	return reply{body: said}, nil
}

func nodeOf(info cluster.NodeInfo) Node {
	said := Node{
		Name: text(info.Name), Boot: info.Boot, Self: info.Self, State: "running", Media: text(info.Media), HTTP: info.HTTP, RTMP: info.RTMP, Version: text(info.Version),
		Started: timeOf(info.Started), Heard: timeOf(info.Heard), ClockMS: info.Clock.Milliseconds(),
		Owned: info.Owned, Provisional: info.Provisional, Copied: info.Copied, Sessions: info.Sessions, Connections: info.Connections,
	}
	switch {
	case info.Silent:
		said.State = "silent"
	case info.Draining:
		said.State = "draining"
	}
	return said
}

func engineOf(h cluster.Health) Engine {
	return Engine{
		Connected: h.Connected, Writable: h.Writable, Leader: text(h.Leader), Voters: h.Voters, Reachable: h.Reachable,
		Since: timeOf(h.Since), RoundtripMS: float64(h.Roundtrip.Microseconds()) / 1000, Detail: text(h.Detail),
	}
}

// placesPath is where other nodes ask what is at this one.
const placesPath = "/api/v1/places"

// places answers other nodes: by the names of streams, what this one has of them.
func (a *api) places(r *http.Request) (reply, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return reply{}, badRequest("the query cannot be read")
	}
	after := values.Get("after")
	limit, _ := strconv.Atoi(values.Get("limit")) // 0 for what is no number
	values.Del("after")
	values.Del("limit")
	s, err := parseSelection(values.Encode(), "stream", "search")
	if err != nil {
		return reply{}, err
	}
	return reply{body: a.ownPlaces(&s, after, min(limit, maxLimit+1))}, nil
}

// ownPlaces returns what this node has of streams behind one, limit of them at the most.
func (a *api) ownPlaces(s *selection, after string, limit int) map[string]Place {
	name, _ := a.self()
	here := make(map[hub.Key]hub.StreamInfo)
	for _, info := range a.Hub.Streams() {
		here[hub.Key{App: info.App, Name: info.Name}] = info
	}
	all := make(map[string]Place)
	for _, info := range a.Nodes.Streams() {
		stream := info.Key.String()
		if len(all) >= limit {
			break
		}
		if stream > after && (s.stream == nil || s.stream(stream)) && strings.Contains(strings.ToLower(stream), s.search) {
			p := whereOf(info)
			is := here[info.Key]
			p.Node, p.Viewers, p.Standby = name, is.Viewers, is.Standby != nil
			all[stream] = p
		}
	}
	return all
}

func whereOf(info cluster.StreamInfo) Place {
	p := Place{State: "owner", From: text(info.Node), Epoch: info.Epoch, Provisional: info.Provisional}
	if c := info.Copy; c != nil {
		p.State, p.Since, p.Breaks, p.Joined, p.Lost, p.Detail = "looking", timeOf(c.Since), c.Breaks, c.Joined, c.Lost, text(c.Detail)
		if c.Copying {
			p.State = "copying"
		}
	}
	return p
}

// placed brings together what the nodes have, each by its first streams, and returns the first ones of all, and where
// those begin that follow.
func placed(lists []map[string]Place, limit int) (streams []PlacedStream, next string) {
	by := make(map[string][]Place)
	for _, list := range lists {
		for stream, p := range list {
			by[stream] = append(by[stream], p)
		}
	}
	names := make([]string, 0, len(by))
	for stream := range by {
		names = append(names, stream)
	}
	slices.Sort(names)
	if len(names) > limit {
		names = names[:limit]
		next = encodeCursor(names[limit-1])
	}
	streams = []PlacedStream{}
	for _, stream := range names {
		places := by[stream]
		slices.SortFunc(places, func(a, b Place) int {
			return cmp.Or(cmp.Compare(rank(a), rank(b)), strings.Compare(a.Node, b.Node))
		})
		streams = append(streams, PlacedStream{Stream: stream, Places: places})
	}
	return streams, next
}

func rank(p Place) int { return slices.Index([]string{"owner", "copying", "looking"}, p.State) }

// marshal returns JSON of what is known to encode.
func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// askWithin bounds questions to all nodes, since one that does not answer must not keep the others' answers back for
// long.
const askWithin = time.Second
