//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// eventServer is told of events in a format, and fails now and then. In the forms of SRS and
// nginx-rtmp it is asked as well.
type eventServer struct {
	*httptest.Server
	t      *testing.T
	format string
	mended atomic.Bool // it does not fail any more

	mu       sync.Mutex
	taken    map[string]bool // ids of events
	sessions map[string]*toldSession
	count    map[string]int  // by type
	seqs     map[uint64]bool // in json
	last     uint64          // of them
	lost     uint64          // as gaps tell
	denied   int             // those that were left out included
	begun    map[string]bool // paths of recordings; only json tells of these
	finished map[string]bool
	problems []string
}

// toldSession is what the server knows of a session.
type toldSession struct {
	role    string // publish or play
	address netip.Addr
	ended   bool
}

// soakCall is a question or an event in any of the forms.
type soakCall struct {
	what, id     string // publish, unpublish, play, stop or another type of event
	address      netip.Addr
	key          string
	seq, leftOut uint64
	lost         uint64
	path         string // of a recording
}

func newEventServer(t *testing.T, format string) *eventServer {
	s := &eventServer{
		t: t, format: format, taken: make(map[string]bool), sessions: make(map[string]*toldSession), count: make(map[string]int),
		seqs: make(map[uint64]bool), begun: make(map[string]bool), finished: make(map[string]bool),
	}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

// ServeHTTP is asked and told. Events have an id; they are taken once, however often they are told.
func (s *eventServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil { // who asked has given up
		return
	}
	call, err := parseSoakCall(s.format, body)
	if err != nil {
		s.problem("%v: %s", err, body)
		return
	}
	id := r.Header.Get("webhook-id")
	if id == "" {
		s.answer(w, call)
		return
	}
	switch n := rand.IntN(300); {
	case s.mended.Load() || n > 2:
		s.take(id, call)
	case n == 0:
		w.WriteHeader(http.StatusServiceUnavailable)
	case n == 1: // it has it, and says that it has not
		s.take(id, call)
		w.WriteHeader(http.StatusServiceUnavailable)
	case n == 2:
		s.take(id, call)
		panic(http.ErrAbortHandler)
	}
}

// answer answers a question. What it grants begins.
func (s *eventServer) answer(w http.ResponseWriter, call soakCall) {
	time.Sleep(rand.N(10 * time.Millisecond))
	granted := strings.HasPrefix(call.key, publishKey) || call.key == watchKey
	if granted {
		s.mu.Lock()
		s.sessionLocked(call)
		s.mu.Unlock()
	}
	switch {
	case s.format == "srs" && granted:
		io.WriteString(w, "0")
	case s.format == "srs":
		io.WriteString(w, "1")
	case !granted:
		w.WriteHeader(http.StatusForbidden)
	}
}

// take takes an event.
func (s *eventServer) take(id string, call soakCall) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken[id] {
		return
	}
	s.taken[id] = true
	s.count[call.what]++
	if s.format == "json" {
		if call.seq == 0 || s.seqs[call.seq] {
			s.problems = append(s.problems, fmt.Sprintf("seq %d twice", call.seq))
		}
		s.seqs[call.seq], s.last, s.lost = true, max(s.last, call.seq), s.lost+call.lost
	}
	switch call.what {
	case "publish", "play", "unpublish", "stop":
		s.sessionLocked(call)
	case "denied":
		s.denied += int(call.leftOut)
		if call.id != "" {
			s.denied++
		}
	case "record.begun":
		s.begun[call.path] = true
	case "record.finished":
		s.finished[call.path] = true
	}
}

// sessionLocked begins or ends a session.
func (s *eventServer) sessionLocked(call soakCall) {
	roles := map[string]string{"unpublish": "publish", "stop": "play"}
	role, ends := roles[call.what]
	known := s.sessions[call.id]
	switch {
	case !ends && known == nil:
		s.sessions[call.id] = &toldSession{role: call.what, address: call.address}
	case ends && known != nil && !known.ended && known.role == role && known.address == call.address:
		known.ended = true
	default:
		s.problems = append(s.problems, fmt.Sprintf("%s of %s at %v, after %+v", call.what, call.id, call.address, known))
	}
}

func (s *eventServer) problem(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.problems = append(s.problems, fmt.Sprintf(format, args...))
}

// parseSoakCall reads a question or an event.
func parseSoakCall(format string, body []byte) (c soakCall, err error) {
	address := ""
	switch format {
	case "nginx":
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return c, err
		}
		c.what, c.id, address, c.key = form.Get("call"), form.Get("clientid"), form.Get("addr"), form.Get("key")
		c.path = form.Get("path")
	case "srs":
		var call struct {
			Action, IP, Param, File string
			ID                      string `json:"client_id"`
		}
		if err := json.Unmarshal(body, &call); err != nil {
			return c, err
		}
		query, err := url.ParseQuery(strings.TrimPrefix(call.Param, "?"))
		if err != nil {
			return c, err
		}
		c.what, c.id, address, c.key, c.path = strings.TrimPrefix(call.Action, "on_"), call.ID, call.IP, query.Get("key"), call.File
	default:
		var event struct {
			Type, Address string
			Seq, Lost     uint64
			LeftOut       uint64 `json:"left_out"`
			Session       *struct {
				ID      uint64
				Address string
			}
			Recording struct{ Path string }
		}
		if err := json.Unmarshal(body, &event); err != nil {
			return c, err
		}
		c = soakCall{what: event.Type, seq: event.Seq, lost: event.Lost, leftOut: event.LeftOut, path: event.Recording.Path}
		if event.Session != nil {
			c.id, address = fmt.Sprint(event.Session.ID), event.Session.Address
		}
	}
	if at, err := netip.ParseAddrPort(address); err == nil {
		address = at.Addr().String()
	}
	c.address, _ = netip.ParseAddr(address)
	names := map[string]string{"publish_done": "unpublish", "play_done": "stop", "dvr": "record.finished", "record_done": "record.finished"}
	if name := names[c.what]; name != "" {
		c.what = name
	}
	return c, nil
}

// check judges what the server was told, when all is over, by what the clients know of
// themselves. files is how many recordings there are.
func (s *eventServer) check(clients map[string]*eventClient, files int) {
	t := s.t
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, p := range s.problems {
		if i < 10 {
			t.Error(p)
		}
	}
	pairs := make(map[string]int)
	for id, told := range s.sessions {
		assert.True(t, told.ended, "session %s of %+v (%+v) has no end", id, told, clients[told.address.String()])
		if c := clients[told.address.String()]; assert.NotNil(t, c, "%v", told) && assert.Equal(t, c.role, told.role) {
			pairs[told.address.String()]++
		}
	}
	begun, unsure, turned := 0, 0, 0
	outcomes := make(map[string]int)
	for address, c := range clients {
		least, most := 0, 0
		switch {
		case c.begun:
			begun++
			least, most = 1, 1
		case c.unsure:
			unsure++
			most = c.most
		case s.format != "json" && !c.wrong: // it was granted, and refused for another reason
			least, most = 1, 1
		}
		if !c.begun && !c.unsure && c.refused != notFound {
			turned++
		}
		outcomes[c.outcome()]++
		assert.True(t, least <= pairs[address] && pairs[address] <= most, "%d pairs of %s, %+v", pairs[address], address, c)
	}
	assert.Positive(t, begun)
	assert.Len(t, s.finished, files)
	t.Logf("%d clients, %d began, %d do not know, %d turned away, %d sessions told, %d events, %d seqs, %d lost, %d recordings\n%v\n%v",
		len(clients), begun, unsure, turned, len(s.sessions), len(s.taken), s.last, s.lost, files, outcomes, s.count)
	if s.format == "json" {
		assert.Equal(t, s.last, uint64(len(s.seqs))+s.lost, "holes")
		assert.True(t, turned <= s.denied && s.denied <= turned+unsure, "%d denied, %d turned away", s.denied, turned)
		assert.Equal(t, s.finished, s.begun, "recordings")
		assert.NotZero(t, s.count["kicked"])
	}
}
