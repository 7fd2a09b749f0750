package admin

import (
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/hub"
)

// Sessions is the answer to GET /api/v1/sessions:
//
//	?stream=APP/NAME     of a stream, or of those that fit a pattern (live/*)
//	&role=publish        or watch
//	&protocol=rtmp
//	&address=192.0.2.7   or network=192.0.2.0/24
//	&subject=alice
//	&state=running       or waiting, asking
//	&search=TEXT         in whose stream, address, subject or client that stands, in any case
//	&sort=-lag           by id (the default), since, bytes, dropped, lag, stream, address or
//	                     subject; a "-" before it for the other way round
//	&limit=100           at most so many, 1 to 1000
//	&cursor=NEXT         what follows the answer with that "next"
//
// By id, what comes or goes between two pages makes nothing appear twice. In another order a
// cursor is a place in the list, which is made anew for each page.
type Sessions struct {
	Sessions []Session `json:"sessions"`       // never null
	Next     string    `json:"next,omitempty"` // left out behind the last
	Total    int       `json:"total"`          // that fit, on all pages
	Lags     []Lag     `json:"lags"`           // of all of them that are running viewers, by rising bounds
}

// Lag is how many viewers are behind by less than so much, and by no less than the bound before.
type Lag struct {
	BelowMS *int64 `json:"below_ms"` // null for the rest
	Viewers int    `json:"viewers"`
}

// lagBounds are those of Sessions.Lags, without the last.
var lagBounds = [...]int64{500, 1000, 2000, 5000}

// maxSearch bounds the text that is searched for, in bytes.
const maxSearch = 200

// sessions answers GET /api/v1/sessions.
func (a *api) sessions(r *http.Request) (reply, error) {
	s, err := parseSelection(r.URL.RawQuery,
		"stream", "role", "protocol", "address", "network", "subject", "state", "search", "sort")
	if err != nil {
		return reply{}, err
	}
	order, err := parseOrder(s.values.Get("sort"), "id", sessionOrders)
	if err != nil {
		return reply{}, err
	}
	after, err := s.number()
	if err != nil {
		return reply{}, err
	}
	all := a.Hub.Sessions() // ours
	fit := all[:0]
	for i := range all {
		if s.wants(&all[i]) {
			fit = append(fit, all[i])
		}
	}
	said := Sessions{Total: len(fit), Lags: lagsOf(fit)}
	page, next := pageByID(fit, after, s.limit)
	if !order.isOwn() {
		page, next = order.page(fit, after, s.limit)
	}
	said.Sessions = a.sessionsOf(page)
	if next > 0 {
		said.Next = strconv.FormatUint(next, 10)
	}
	return reply{body: said}, nil
}

// wants reports whether a session is asked for.
func (s *selection) wants(info *hub.SessionInfo) bool {
	session := info.Session
	fits := func(name, value string) bool { return !s.values.Has(name) || s.values.Get(name) == value }
	return (s.role == "" || s.role == session.Role().String()) &&
		fits("state", info.State.String()) &&
		(s.where == netip.Prefix{} || s.where.Contains(session.Address().Addr())) &&
		fits("protocol", session.Protocol()) &&
		(!s.values.Has("subject") || s.values.Get("subject") == text(session.Subject())) &&
		(s.stream == nil || s.stream(session.Shown())) &&
		(s.search == "" || s.finds(session))
}

// finds reports whether what is searched for stands in what is shown of a session.
func (s *selection) finds(session *hub.Session) bool {
	has := func(text string) bool { return strings.Contains(strings.ToLower(text), s.search) }
	return has(session.Shown()) || has(text(session.Subject())) || has(cut(session.Agent(), maxShown)) ||
		session.Address().IsValid() && has(session.Address().Addr().String())
}

// lagsOf counts running viewers by how far they are behind.
func lagsOf(infos []hub.SessionInfo) []Lag {
	lags := make([]Lag, len(lagBounds)+1)
	for i := range lagBounds {
		lags[i].BelowMS = &lagBounds[i]
	}
	for i := range infos {
		info := &infos[i]
		if info.State != hub.SessionRunning || info.Session.Role() != hub.RoleWatch {
			continue
		}
		n := 0
		for n < len(lagBounds) && info.Lag.Milliseconds() >= lagBounds[n] {
			n++
		}
		lags[n].Viewers++
	}
	return lags
}

// sessionOrders are the words for orders of sessions.
var sessionOrders = map[string]by[hub.SessionInfo]{
	"id":      {number: func(i *hub.SessionInfo) int64 { return int64(i.Session.ID()) }},
	"since":   {number: func(i *hub.SessionInfo) int64 { return i.Since.UnixNano() }},
	"bytes":   {number: func(i *hub.SessionInfo) int64 { return int64(i.Bytes) }},
	"dropped": {number: func(i *hub.SessionInfo) int64 { return int64(i.Dropped) }},
	"lag":     {number: func(i *hub.SessionInfo) int64 { return int64(i.Lag / time.Millisecond) }},
	"stream":  {text: func(i *hub.SessionInfo) string { return i.Session.Shown() }},
	"subject": {text: func(i *hub.SessionInfo) string { return text(i.Session.Subject()) }},
	"address": {text: func(i *hub.SessionInfo) string {
		address := i.Session.Address().Addr()
		if address.Is4() {
			b := address.As4()
			return "4" + string(b[:])
		}
		b := address.As16()
		return "6" + string(b[:])
	}},
}

// pageByID returns at most limit sessions, which are sorted by id, with ids above one, and after
// which id the next page begins, 0 where none does.
func pageByID(sessions []hub.SessionInfo, after uint64, limit int) (page []hub.SessionInfo, next uint64) {
	from, _ := slices.BinarySearchFunc(sessions, after, func(info hub.SessionInfo, after uint64) int {
		if info.Session.ID() > after {
			return 1
		}
		return -1
	})
	page = sessions[from:min(from+limit, len(sessions))]
	if from+limit < len(sessions) {
		next = page[limit-1].Session.ID()
	}
	return page, next
}
