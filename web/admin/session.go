package admin

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/hub"
	"sluice/hub/why"
	"sluice/web"
)

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
	Waits   string   `json:"waits"`   // for what: "permission", "publisher", "track", "codec header", "key frame"; "" for nothing
	Since   web.Time `json:"since"`
	Bytes   uint64   `json:"bytes"`
	Dropped uint64   `json:"dropped"` // packets that it was too slow for
	LagMS   int64    `json:"lag_ms"`  // behind the newest packet; estimated where that is more than the stream's log holds
	Paused  bool     `json:"paused"`
	Standby bool     `json:"standby,omitempty"` // a publisher that viewers do not see

	Protocol  string `json:"protocol"`
	Secure    bool   `json:"secure"`
	Recording string `json:"recording,omitempty"` // that is watched in place of the stream

	Why *Why `json:"why"` // null for a publisher

	// Of a session of a cluster: the name of its node, and how it is called at any node.
	Node string `json:"node,omitempty"`
	Ref  string `json:"ref,omitempty"`
}

// Why is why a viewer's picture is black, if it is, and how its bytes get on.
type Why struct {
	Code     string    `json:"code"` // of those of package why
	Sentence string    `json:"sentence"`
	Since    *web.Time `json:"since"`    // null where that is not known
	Expected *web.Time `json:"expected"` // when it should be over; null where nothing tells

	BehindMS       int64     `json:"behind_ms"`
	Unwritten      int       `json:"unwritten"`      // bytes framed for it that its connection has not taken
	Unacknowledged *int      `json:"unacknowledged"` // bytes; null where the system does not tell
	Written        *web.Time `json:"written"`        // when bytes were last sent; null where that is not known
	Acknowledged   *web.Time `json:"acknowledged"`   // when its peer was last heard to have taken some

	Told  []string `json:"told"`  // tracks that it was told of, like "video h264"; never null
	Got   []string `json:"got"`   // of those that which it gets now; never null
	Codec string   `json:"codec"` // which its player cannot play; "" for none
}

// maxShown bounds what is repeated of what a client says of itself, in bytes.
const maxShown = 128

// sessionsOf returns sessions as they are told.
func (a *api) sessionsOf(infos []hub.SessionInfo) []Session {
	said, now := make([]Session, 0, len(infos)), time.Now()
	for i, viewer := range a.Hub.Examine(infos) {
		s := sessionOf(&infos[i])
		if s.Role == hub.RoleWatch.String() {
			s.Why = whyOf(&infos[i], viewer, now)
		}
		if node, boot := a.self(); boot != "" {
			s.Node, s.Ref = node, boot+"-"+strconv.FormatUint(s.ID, 10)
		}
		said = append(said, s)
	}
	return said
}

// whyOf says why a viewer's picture is black.
func whyOf(info *hub.SessionInfo, viewer hub.ViewerInfo, now time.Time) *Why {
	a := why.Of(why.Known{
		Now: now, Protocol: info.Session.Protocol(), Agent: info.Session.Agent(), Plays: info.Session.Plays(),
		State: info.State, Since: info.Since, Dropped: info.Dropped, Viewer: viewer,
	})
	said := &Why{
		Code: string(a.Code), Sentence: a.Sentence, Since: timeOf(a.Since), Expected: timeOf(a.Expected),
		BehindMS: viewer.Lag.Milliseconds(), Told: tracksOf(viewer.Told), Got: tracksOf(viewer.Gets), Codec: why.Codec(a.Codec),
	}
	if d := &viewer.Delivery; viewer.Served {
		said.Unwritten, said.Written, said.Acknowledged = d.Unwritten, timeOf(d.Written), timeOf(d.Acknowledged)
		if d.Unacknowledged >= 0 {
			said.Unacknowledged = &d.Unacknowledged
		}
	}
	return said
}

// timeOf returns a time, nil for the zero Time.
func timeOf(t time.Time) *web.Time {
	if t.IsZero() {
		return nil
	}
	return new(web.Time(t))
}

func tracksOf(tracks []hub.ViewerTrack) []string {
	said := make([]string, 0, len(tracks))
	for _, t := range tracks {
		said = append(said, why.Track(t))
	}
	return said
}

func sessionOf(info *hub.SessionInfo) Session {
	s, c := info.Session, info.Session.Client()
	said := Session{
		ID: s.ID(), Role: s.Role().String(), Stream: s.Shown(),
		Subject: text(s.Subject()), Method: s.Method(), Client: cut(c.Agent, maxShown),
		State: info.State.String(), Waits: info.Waits, Since: web.Time(info.Since),
		Bytes: info.Bytes, Dropped: info.Dropped, LagMS: info.Lag.Milliseconds(), Paused: info.Paused, Standby: info.Standby,
		Protocol: c.Protocol, Secure: c.Secure,
	}
	if c.Address.IsValid() {
		said.Address, said.Port = c.Address.Addr().String(), c.Address.Port()
	}
	recording, _, _ := strings.Cut(c.Recording, "?") // what follows may be a secret
	said.Recording = cut(recording, maxShown)
	return said
}

// session answers GET /api/v1/sessions/ID.
func (a *api) session(r *http.Request) (reply, error) {
	if node, id, ok := a.elsewhere(r); ok {
		return a.forwardSession(r, node, id)
	}
	id, err := a.parseID(r)
	if err != nil {
		return reply{}, err
	}
	if _, err := parseSelection(r.URL.RawQuery); err != nil {
		return reply{}, err
	}
	all := a.Hub.Sessions() // by id
	i, found := slices.BinarySearchFunc(all, id, func(info hub.SessionInfo, id uint64) int { return cmp.Compare(info.Session.ID(), id) })
	if !found {
		return reply{}, errNoSession
	}
	return reply{body: a.sessionsOf(all[i : i+1])[0]}, nil
}

var errNoSession = refuse(http.StatusNotFound, "not found", "there is no such session, or no longer")

// parseID reads the id of a session from a request's path.
func (a *api) parseID(r *http.Request) (uint64, error) {
	_, said, _ := a.elsewhere(r)
	id, err := strconv.ParseUint(said, 10, 64)
	if err != nil {
		return 0, badRequest("a session has a number")
	}
	return id, nil
}

// endSession answers DELETE /api/v1/sessions/ID. How it is ended stands in the query, or in a
// body like that of a kick.
func (a *api) endSession(r *http.Request) (reply, error) {
	if node, id, ok := a.elsewhere(r); ok {
		return a.forwardSession(r, node, id)
	}
	id, err := a.parseID(r)
	if err != nil {
		return reply{}, err
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
		return reply{}, errNoSession
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
