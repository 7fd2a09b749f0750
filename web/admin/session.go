package admin

import (
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"sluice/hub"
	"sluice/web"
)

// Sessions is the answer to GET /api/v1/sessions, by id:
//
//	?stream=APP/NAME     of a stream, or of those that fit a pattern (live/*)
//	&role=publish        or watch
//	&protocol=rtmp
//	&address=192.0.2.7   or network=192.0.2.0/24
//	&subject=alice
//	&state=running       or waiting, asking
//	&limit=100           at most so many, 1 to 1000
//	&cursor=NEXT         what follows the answer with that "next"
type Sessions struct {
	Sessions []Session `json:"sessions"`       // never null
	Next     string    `json:"next,omitempty"` // left out behind the last
	Total    int       `json:"total"`          // that fit, on all pages
}

// Session is a publisher or a viewer.
type Session struct {
	ID      uint64   `json:"id"` // below 2^53
	Role    string   `json:"role"`
	Stream  string   `json:"stream"`  // as it may be shown; "" if the client named none that can be
	Address string   `json:"address"` // "" for a part of the server
	Port    uint16   `json:"port,omitempty"`
	Subject string   `json:"subject"` // "" if the client showed none
	Method  string   `json:"method"`  // by which it was granted; "" for none
	Client  string   `json:"client"`  // its own words
	State   string   `json:"state"`   // "asking", "waiting" or "running"
	Waits   string   `json:"waits"`   // for what: "permission", "publisher", "key frame", "codec header"; "" for nothing
	Since   web.Time `json:"since"`
	Bytes   uint64   `json:"bytes"`
	Dropped uint64   `json:"dropped"` // packets that it was too slow for
	LagMS   int64    `json:"lag_ms"`  // behind the newest packet
	Paused  bool     `json:"paused"`

	Protocol  string `json:"protocol"`
	Secure    bool   `json:"secure"`
	Recording string `json:"recording,omitempty"` // that is watched in place of the stream
}

// maxShown bounds what is repeated of what a client says of itself, in bytes.
const maxShown = 128

// sessions answers GET /api/v1/sessions.
func (a *api) sessions(r *http.Request) (reply, error) {
	s, err := parseSelection(r.URL.RawQuery, "stream", "role", "protocol", "address", "network", "subject", "state")
	if err != nil {
		return reply{}, err
	}
	after := uint64(0)
	if s.cursor != "" {
		if after, err = strconv.ParseUint(s.cursor, 10, 64); err != nil {
			return reply{}, errCursor
		}
	}
	said := Sessions{Sessions: []Session{}}
	for _, info := range a.Hub.Sessions() {
		if !s.wants(info) {
			continue
		}
		said.Total++
		switch {
		case info.Session.ID() <= after:
		case len(said.Sessions) < s.limit:
			said.Sessions = append(said.Sessions, sessionOf(info))
		case said.Next == "":
			said.Next = strconv.FormatUint(said.Sessions[s.limit-1].ID, 10)
		}
	}
	return reply{body: said}, nil
}

// wants reports whether a session is asked for.
func (s *selection) wants(info hub.SessionInfo) bool {
	session := info.Session
	fits := func(name, value string) bool { return !s.values.Has(name) || s.values.Get(name) == value }
	return (s.role == "" || s.role == session.Role().String()) &&
		fits("state", info.State.String()) &&
		(s.where == netip.Prefix{} || s.where.Contains(session.Client().Address.Addr())) &&
		fits("protocol", session.Protocol()) &&
		fits("subject", text(session.Subject())) &&
		(s.stream == nil || s.stream(session.Shown()))
}

func sessionOf(info hub.SessionInfo) Session {
	s, c := info.Session, info.Session.Client()
	said := Session{
		ID: s.ID(), Role: s.Role().String(), Stream: s.Shown(),
		Subject: text(s.Subject()), Method: s.Method(), Client: cut(c.Agent, maxShown),
		State: info.State.String(), Waits: info.Waits, Since: web.Time(info.Since),
		Bytes: info.Bytes, Dropped: info.Dropped, LagMS: info.Lag.Milliseconds(), Paused: info.Paused,
		Protocol: c.Protocol, Secure: c.Secure,
	}
	if c.Address.IsValid() {
		said.Address, said.Port = c.Address.Addr().String(), c.Address.Port()
	}
	recording, _, _ := strings.Cut(c.Recording, "?") // what follows may be a secret
	said.Recording = cut(recording, maxShown)
	return said
}

// endSession answers DELETE /api/v1/sessions/ID. How it is ended stands in the query, or in a
// body like that of a kick.
func (a *api) endSession(r *http.Request) (reply, error) {
	id, err := strconv.ParseUint(lastSegment(r), 10, 64)
	if err != nil {
		return reply{}, badRequest("a session has a number")
	}
	how, err := parseEnd(r)
	if err != nil {
		return reply{}, err
	}
	ended, err := a.end(how, func(s *hub.Session) bool { return s.ID() == id })
	switch {
	case err != nil:
		return reply{}, err
	case ended.Ended == 0:
		return reply{}, refuse(http.StatusNotFound, "not found", "there is no such session, or no longer")
	}
	a.log(r, "end", "session", id, "reason", how.Reason, "ban", how.ban, "bans", ended.Bans)
	return reply{body: ended}, nil
}

// lastSegment returns the last segment of a request's path.
func lastSegment(r *http.Request) string {
	_, id := cutLast(r.URL.Path)
	return id
}

// parseEnd reads how one session is to be ended.
func parseEnd(r *http.Request) (endRequest, error) {
	var how endRequest
	if r.ContentLength != 0 {
		if err := parseBody(r, &how); err != nil {
			return how, err
		}
	} else {
		s, err := parseSelection(r.URL.RawQuery, "reason", "ban")
		if err != nil {
			return how, err
		}
		how.Reason = s.values.Get("reason")
		if s.values.Has("ban") {
			how.Ban = new(s.values.Get("ban"))
		}
	}
	return how, how.check()
}
