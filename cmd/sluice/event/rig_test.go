package event

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// endpoint is a server for events, in memory. Its fields may be changed under mu.
type endpoint struct {
	mu sync.Mutex
	// answer decides on a request; nil takes everything. It is called without mu.
	answer func(req *http.Request, e Event) (*http.Response, error)
	tried  []Event  // in the order in which they came
	bodies []string // likewise
	taken  []Event  // of those, what was answered with 2xx
	heads  []http.Header
}

func (p *endpoint) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	var e Event
	if err := json.Unmarshal(body, &e); err != nil {
		return nil, err
	}
	p.mu.Lock()
	answer := p.answer
	p.tried, p.bodies = append(p.tried, e), append(p.bodies, string(body))
	p.heads = append(p.heads, req.Header.Clone())
	p.mu.Unlock()
	resp := respond(200)
	if answer != nil {
		resp, err = answer(req, e)
	}
	if err == nil && resp.StatusCode/100 == 2 {
		p.mu.Lock()
		p.taken = append(p.taken, e)
		p.mu.Unlock()
	}
	return resp, err
}

// set changes how requests are answered.
func (p *endpoint) set(answer func(*http.Request, Event) (*http.Response, error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = answer
}

func (p *endpoint) took() []Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Event(nil), p.taken...)
}

var errDown = errors.New("connection refused")

// down answers like a machine that is not there.
func down(*http.Request, Event) (*http.Response, error) { return nil, errDown }

// code answers with a status.
func code(status int) func(*http.Request, Event) (*http.Response, error) {
	return func(*http.Request, Event) (*http.Response, error) { return respond(status), nil }
}

func respond(status int) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("ok"))}
}

// logged is a log that can be read while it is written.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// logger returns a log of everything, debug lines included.
func logger() (*slog.Logger, *logged) {
	l := new(logged)
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug})), l
}

// begin makes a Notifier for an endpoint; change may change its configuration. It is to be ended
// with end.
func begin(t *testing.T, p *endpoint, change func(*Config)) (*Notifier, *logged) {
	t.Helper()
	log, lines := logger()
	cfg := Config{Server: "here", Logger: log}
	if p != nil {
		cfg.Webhook = &Webhook{URL: fixed("http://user:pass@events.test/hook?token=query-secret"), Transport: p}
	}
	if change != nil {
		change(&cfg)
	}
	n, err := New(cfg)
	require.NoError(t, err)
	return n, lines
}

// end closes a Notifier, and gives it so much time.
func end(n *Notifier, grace time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	n.Close(ctx)
}

// client is what clients show in tests, secrets everywhere.
func client(protocol string) hub.Client {
	return hub.Client{
		Protocol: protocol, Address: netip.MustParseAddrPort("192.0.2.7:4711"), Agent: "FMLE/3.0",
		Query:         url.Values{"key": {"query-secret"}},
		TCURL:         "rtmp://user:pass@host.test/live?key=query-secret",
		PageURL:       "https://page.test/watch?key=query-secret#secret",
		SWFURL:        "https://page.test/p%3Fkey=query-secret",
		Host:          "host.test",
		Authorization: "Bearer query-secret",
	}
}

// key makes the key of APP/NAME.
func key(t testing.TB, s string) hub.Key {
	t.Helper()
	k, err := hub.NewKey(s, "")
	require.NoError(t, err)
	return k
}

// session makes a session of no hub that serves anybody.
func session(t testing.TB, role hub.Role, stream string) *hub.Session {
	t.Helper()
	return hub.New(hub.Config{}).NewSession(role, key(t, stream), client("rtmp"))
}

// types returns the types of events, and of those that carry one, their streams.
func types(events []Event) (all []string) {
	for _, e := range events {
		s := string(e.Type)
		if e.Stream != "" {
			s += " " + e.Stream
		}
		all = append(all, s)
	}
	return all
}

// fixed is a URL that does not change.
func fixed(address string) func() string { return func() string { return address } }
