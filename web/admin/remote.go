package admin

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/go-chi/chi/v5"

	"sluice/hub"
	"sluice/hub/cluster"
)

// What is asked of another node of a cluster goes there as it came, without the token: who may send orders is a node,
// and the one that was asked has looked at the token. There it is answered by what is at that node alone.

// Asker has another node answer an order, which is named by its name or by the id of its process. The error is
// cluster.ErrNobody where none of that name gives signs of life; others may be answered too late.
type Asker interface {
	Order(ctx context.Context, node string, order []byte) (answer []byte, err error)
}

// command is a request that another node is to answer.
type command struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	Query  string `json:"query,omitempty"`
	Kind   string `json:"kind,omitempty"` // of the body
	Body   []byte `json:"body,omitempty"`
	From   string `json:"from"` // the operator's address
}

// ordered is the answer.
type ordered struct {
	Status int             `json:"status"`
	Body   json.RawMessage `json:"body,omitempty"` // none for no content
}

// maxOrdered bounds the body of an answer to another node, in bytes.
const maxOrdered = cluster.MaxMessage - 4<<10

// Orders returns what answers the orders of other nodes (cluster.Config.Obey), with the same parts as Handler.
func Orders(c Config) func(order []byte) []byte {
	a := newAPI(c)
	a.local = true
	routes := a.orders()
	return func(data []byte) []byte {
		var o command
		if json.Unmarshal(data, &o) != nil {
			return nil
		}
		q, err := http.NewRequest(o.Method, "http://node"+o.Path, bytes.NewReader(o.Body))
		if err != nil {
			return nil
		}
		q.URL.RawQuery, q.RemoteAddr = o.Query, o.From
		q.Header.Set("Content-Type", o.Kind)
		w := &memory{header: make(http.Header), status: http.StatusOK}
		routes.ServeHTTP(w, q)
		body := bytes.TrimSpace(w.Bytes())
		if len(body) > maxOrdered {
			w.status, body = http.StatusBadRequest, marshal(problem{
				"bad request", "the answer is larger than what nodes tell each other: ask with a smaller limit"})
		}
		if len(body) == 0 {
			body = nil
		}
		return marshal(ordered{w.status, body})
	}
}

// memory keeps an answer.
type memory struct {
	bytes.Buffer
	header http.Header
	status int
}

func (m *memory) Header() http.Header    { return m.header }
func (m *memory) WriteHeader(status int) { m.status = status }

// asked is what can be asked of another node, by path.
var asked = map[string]func(*api, *http.Request) (reply, error){
	"/api/v1/streams": (*api).streams, "/api/v1/sessions": (*api).sessions, "/api/v1/info": (*api).info,
	"/api/v1/recordings": (*api).recordings, "/api/v1/relays": (*api).relays, "/api/v1/series": (*api).series,
}

// orders are the routes of what other nodes may want.
func (a *api) orders() chi.Router {
	r := chi.NewRouter()
	for path, handle := range asked {
		r.Get(path, a.answer(func(q *http.Request) (reply, error) { return handle(a, q) }))
	}
	r.Get(placesPath, a.answer(a.places))
	r.Get("/api/v1/sessions/{id}", a.answer(a.session))
	r.Delete("/api/v1/sessions/{id}", a.answer(a.endSession))
	r.Post("/api/v1/streams/kick", a.answer(a.kick))
	r.Post("/api/v1/streams/switch", a.answer(a.switchPublisher))
	r.Post(endBannedPath, a.answer(a.endBanned))
	r.Delete(recordingsPath+"*", a.answer(a.deleteRecording))
	r.Post(recordingsPath+"*", a.answer(a.pinRecording))
	none := a.answer(func(*http.Request) (reply, error) {
		return reply{}, refuse(http.StatusNotFound, "not found", "no node does that for another one")
	})
	r.NotFound(none)
	r.MethodNotAllowed(none)
	return r
}

// self returns the name of this node, and the id of its process; "" where it is alone.
func self(c *Config) func() (name, boot string) {
	return sync.OnceValues(func() (string, string) {
		if c.Nodes != nil {
			for _, n := range c.Nodes.Nodes() {
				if n.Self {
					return n.Name, n.Boot
				}
			}
		}
		return "", ""
	})
}

// asksOthers reports whether there are other nodes, and it is for this one to ask them.
func (a *api) asksOthers() bool { return a.Nodes != nil && !a.local }

// forward has a node answer.
func (a *api) forward(r *http.Request, node string, o command) (reply, error) {
	o.From = r.RemoteAddr
	data, err := a.Nodes.Order(r.Context(), node, marshal(o))
	var said ordered
	switch {
	case errors.Is(err, cluster.ErrNobody):
		return reply{}, refuse(http.StatusNotFound, "not found", "there is no such node, or it gives no signs of life")
	case err != nil || json.Unmarshal(data, &said) != nil || said.Status < 200 || said.Status > 599:
		return reply{}, refuse(http.StatusGatewayTimeout, "no answer",
			"the node has not answered in time: what was wanted of it may have been done all the same")
	}
	answer := reply{status: said.Status}
	if len(said.Body) > 0 {
		answer.body = said.Body
	}
	return answer, nil
}

// anywhere makes a handler of a list one that answers for another node, or for all, if the query says ?node=NAME or
// ?node=all; alone it does not know that.
func (a *api) anywhere(handle func(*http.Request) (reply, error)) func(*http.Request) (reply, error) {
	if a.Nodes == nil {
		return handle
	}
	return func(r *http.Request) (reply, error) {
		values, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil || !values.Has("node") {
			return handle(r)
		}
		node := values.Get("node")
		values.Del("node")
		if node == "all" && r.URL.Path == "/api/v1/recordings" {
			return a.allRecordings(r, values)
		}
		if node == "all" {
			return a.everywhere(r, values)
		}
		return a.forward(r, node, command{Method: "GET", Path: r.URL.EscapedPath(), Query: values.Encode()})
	}
}

// lists are those that can be asked for of all nodes, by path, and by what they are sorted.
var lists = map[string]struct{ field, own string }{
	"/api/v1/streams": {"streams", "stream"}, "/api/v1/sessions": {"sessions", "id"},
}

// maxAway is how many items of another node one answer has.
const maxAway = 200

// everywhere answers with the lists of all nodes one behind the other, by the names of the nodes. A cursor is the name of one
// and a cursor of its own list.
func (a *api) everywhere(r *http.Request, values url.Values) (reply, error) {
	list, ok := lists[r.URL.Path]
	field := list.field
	s, err := parseSelection("limit=" + values.Get("limit") + "&cursor=" + url.QueryEscape(cmp.Or(values.Get("cursor"), values.Get("after"))))
	switch {
	case !ok:
		return reply{}, badRequest("node is the name of one here")
	case values.Get("sort") != "" && values.Get("sort") != list.own:
		return reply{}, badRequest("the lists of all nodes follow one on the other: there is sort for one node")
	case err != nil:
		return reply{}, err
	}
	var at, cursor string
	if s.cursor != "" {
		place, err := decodeCursor(s.cursor)
		if err != nil {
			return reply{}, err
		}
		at, cursor, _ = strings.Cut(place, "\n")
	}
	values.Del("after")
	m := merged{items: []json.RawMessage{}, room: min(s.limit, maxAway)}
	for _, node := range a.names() {
		values.Del("cursor")
		wanted := m.room
		switch {
		case node < at:
			wanted = 0
		case node == at && cursor != "":
			values.Set("cursor", cursor)
		}
		values.Set("limit", strconv.Itoa(max(1, wanted)))
		said, err := a.forward(r, node, command{Method: "GET", Path: r.URL.Path, Query: values.Encode()})
		switch {
		case err != nil:
			m.unreached = append(m.unreached, node)
			continue
		case said.status != http.StatusOK:
			return said, nil
		}
		m.add(said.body.(json.RawMessage), field, node, wanted)
	}
	return reply{body: m.said(field)}, nil
}

// names returns those of all nodes, each once.
func (a *api) names() (all []string) {
	for _, n := range a.Nodes.Nodes() {
		all = append(all, n.Name)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// merged are lists of several nodes.
type merged struct {
	items     []json.RawMessage
	room      int
	next      string
	total     int
	lags      []Lag
	unreached []string
}

// add adds the list of a node, of which so many items are wanted.
func (m *merged) add(body json.RawMessage, field, node string, wanted int) {
	var all map[string]json.RawMessage
	var items []json.RawMessage
	var next string
	var total int
	var lags []Lag
	if json.Unmarshal(body, &all) != nil {
		m.unreached = append(m.unreached, node)
		return
	}
	for name, into := range map[string]any{field: &items, "next": &next, "total": &total, "lags": &lags} {
		if json.Unmarshal(all[name], into) != nil && len(all[name]) > 0 {
			m.unreached = append(m.unreached, node)
			return
		}
	}
	m.total += total
	for i := range lags {
		if len(m.lags) == i {
			m.lags = append(m.lags, lags[i])
		} else {
			m.lags[i].Viewers += lags[i].Viewers
		}
	}
	if wanted == 0 {
		if m.room == 0 && m.next == "" && len(items) > 0 {
			m.next = encodeCursor(node + "\n")
		}
		return
	}
	m.items, m.room = append(m.items, items...), m.room-len(items)
	if next != "" {
		m.next, m.room = encodeCursor(node+"\n"+next), 0
	}
}

func (m *merged) said(field string) map[string]any {
	said := map[string]any{field: m.items, "total": m.total}
	if m.next != "" {
		said["next"] = m.next
	}
	if field == "sessions" {
		said["lags"] = m.lags
	}
	if len(m.unreached) > 0 {
		said["unreached"] = m.unreached
	}
	return said
}

// askAll has all other nodes answer at once, and returns what they have answered, and which have not.
func askAll[T any](a *api, r *http.Request, o command) (answers []T, unreached Unreached) {
	if !a.asksOthers() {
		return nil, unreached
	}
	ctx, cancel := context.WithTimeout(r.Context(), askWithin)
	defer cancel()
	own, _ := a.self()
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, node := range a.names() {
		if node == own {
			continue
		}
		all.Go(func() {
			said, err := a.forward(r.WithContext(ctx), node, o)
			var answer T
			mu.Lock()
			defer mu.Unlock()
			body, _ := said.body.(json.RawMessage)
			if err != nil || said.status >= 300 || json.Unmarshal(body, &answer) != nil {
				unreached.Nodes = append(unreached.Nodes, node)
				return
			}
			answers = append(answers, answer)
		})
	}
	all.Wait()
	slices.Sort(unreached.Nodes)
	return answers, unreached
}

// elsewhere returns at which other node a session is: its id is NODE-ID then, NODE being the name of the node or the id of its
// process.
func (a *api) elsewhere(r *http.Request) (node, id string, ok bool) {
	said := lastSegment(r)
	at := strings.LastIndexByte(said, '-')
	if a.Nodes == nil || at < 0 {
		return "", said, false
	}
	node, id = said[:at], said[at+1:]
	name, boot := a.self()
	return node, id, !a.local && node != name && node != boot
}

// forwardSession has the node answer at which a session is.
func (a *api) forwardSession(r *http.Request, node, id string) (reply, error) {
	if _, err := strconv.ParseUint(id, 10, 64); err != nil {
		return reply{}, badRequest("a session has a number, or is NODE-NUMBER")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return reply{}, badRequest("the body ends too early")
	}
	o := command{Method: r.Method, Path: "/api/v1/sessions/" + id, Query: r.URL.RawQuery, Body: body, Kind: r.Header.Get("Content-Type")}
	if o.Method == http.MethodHead {
		o.Method = http.MethodGet
	}
	return a.forward(r, node, o)
}

// endBannedPath is where other nodes have those ended whom a ban is about.
const endBannedPath = "/api/v1/bans/end"

// endBanned answers other nodes.
func (a *api) endBanned(r *http.Request) (reply, error) {
	var ban Ban
	if err := parseBody(r, &ban); err != nil {
		return reply{}, err
	}
	return reply{body: Ended{Ended: a.Hub.Dismiss(ban.matches, &hub.Refusal{Reason: hub.ReasonKicked, Detail: ban.Reason})}}, nil
}
