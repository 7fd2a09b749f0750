package admin

import (
	"context"
	_ "embed"
	"encoding/json"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"sluice/web"
)

// Events is the answer to GET /api/v1/events, the oldest first:
//
//	?after=NUMBER   what came after the event of that number; all that are kept without it
//	&limit=100      at most so many, 1 to 1000
//	&wait=10s       how long to wait for one if there is none, 30 s at the most
type Events struct {
	Events []json.RawMessage `json:"events"` // never null
	Next   uint64            `json:"next"`   // for after
	Missed uint64            `json:"missed"` // events before these that are not kept any more
}

// maxWait bounds how long a request waits for an event.
const maxWait = 30 * time.Second

// events answers GET /api/v1/events.
func (a *api) events(r *http.Request) (reply, error) {
	s, err := parseSelection(r.URL.RawQuery, "wait")
	if err != nil {
		return reply{}, err
	}
	after, wait := uint64(0), time.Duration(0)
	if s.cursor != "" {
		if after, err = strconv.ParseUint(s.cursor, 10, 64); err != nil {
			return reply{}, badRequest("after is the number of an event")
		}
	}
	if said := s.values.Get("wait"); said != "" {
		if wait, err = time.ParseDuration(said); err != nil || wait < 0 || wait > maxWait {
			return reply{}, badRequest("wait is a time such as 10s, of 30s at the most")
		}
	}
	if a.Events == nil {
		return reply{}, refuse(http.StatusNotFound, "not found", "no events are kept here")
	}
	var said Events
	said.Events, said.Next, said.Missed = a.Events(after, s.limit)
	if len(said.Events) == 0 && wait > 0 && a.WaitEvents != nil {
		ctx, cancel := context.WithTimeout(r.Context(), wait)
		defer cancel()
		a.WaitEvents(ctx, after) // its error says no more than that there may be none yet
		said.Events, said.Next, said.Missed = a.Events(after, s.limit)
	}
	if said.Events == nil {
		said.Events = []json.RawMessage{}
	}
	return reply{body: said}, nil
}

// Info is what the rest of the server tells of itself. No secret may be in it.
type Info struct {
	Version   string
	Started   time.Time
	Addresses map[string]string // at which it listens, by what for: "rtmp", "http"
	Public    web.Public        // how the world reaches it, as far as it was told
	Limits    map[string]int64  // as they are set, by name; what has none is left out
	Parts     map[string]any    // figures of other parts of the server, by name; must encode as JSON
}

// ServerInfo is the answer to GET /api/v1/info.
type ServerInfo struct {
	Version   string            `json:"version"`
	Started   *web.Time         `json:"started"`
	Now       web.Time          `json:"now"`
	Ready     bool              `json:"ready"`
	Draining  bool              `json:"draining"` // it is told to end, and therefore not ready
	Reason    string            `json:"reason"`   // why it is not ready
	Addresses map[string]string `json:"addresses"`
	Public    web.Public        `json:"public,omitzero"`
	Limits    map[string]int64  `json:"limits"`
	Parts     map[string]any    `json:"parts"`
	Totals    []Totals          `json:"totals"` // never null
}

// Totals are sums of all sessions of a protocol and role since the server began.
type Totals struct {
	Protocol string            `json:"protocol"`
	Role     string            `json:"role"`
	Running  uint64            `json:"running"` // of those that begun
	Begun    uint64            `json:"begun"`
	Ended    map[string]uint64 `json:"ended"`   // of those that begun, by reason
	Refused  map[string]uint64 `json:"refused"` // others, by reason
	Bytes    uint64            `json:"bytes"`
	Dropped  uint64            `json:"dropped"`
}

// info answers GET /api/v1/info.
func (a *api) info(r *http.Request) (reply, error) {
	if r.URL.RawQuery != "" {
		return reply{}, badRequest("this takes no query")
	}
	of := a.Info()
	said := ServerInfo{
		Version: of.Version, Now: web.Time(time.Now()), Ready: true,
		Addresses: orEmpty(of.Addresses), Public: of.Public, Limits: orEmpty(of.Limits), Parts: orEmpty(of.Parts), Totals: []Totals{},
	}
	if !of.Started.IsZero() {
		said.Started = new(web.Time(of.Started))
	}
	if a.Ready != nil {
		if err := a.Ready(); err != nil {
			said.Ready, said.Draining, said.Reason = false, isDraining(err), text(err.Error())
		}
	}
	for _, t := range a.Hub.Totals() {
		one := Totals{
			Protocol: t.Protocol, Role: t.Role.String(), Running: t.Running(), Begun: t.Begun,
			Ended: map[string]uint64{}, Refused: map[string]uint64{}, Bytes: t.Bytes, Dropped: t.Dropped,
		}
		for why, n := range t.Ended {
			one.Ended[why.String()] += n
		}
		for why, n := range t.Refused {
			one.Refused[why.String()] += n
		}
		said.Totals = append(said.Totals, one)
	}
	return reply{body: said}, nil
}

func orEmpty[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return m
}

// addressOf returns the address of ADDRESS:PORT, the zero Addr if it is none.
func addressOf(hostPort string) netip.Addr {
	at, _ := netip.ParseAddrPort(hostPort)
	return at.Addr()
}

//go:embed openapi.json
var openapi []byte

// document answers GET /api/v1/openapi.json.
func (a *api) document(*http.Request) (reply, error) {
	return reply{status: http.StatusOK, body: json.RawMessage(openapi)}, nil
}
