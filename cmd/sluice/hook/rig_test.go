package hook

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// server is an operator's server, in memory. Each connection is served by a goroutine.
type server struct {
	// serve is given each connection, which is closed when it returns; nil for answer.
	serve func(c net.Conn)
	// answer is given each request; nil for 204.
	answer func(r *http.Request, body string) (status int, header http.Header, text string)

	running sync.WaitGroup
	mu      sync.Mutex
	refuse  int // so many connections
	dials   int
	open    int
	most    int // asked at a time
	bodies  []string
	heads   []*http.Request
}

var errRefusedDial = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}

func (s *server) dial(context.Context, string, string) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dials++
	if s.refuse > 0 {
		s.refuse--
		return nil, errRefusedDial
	}
	ours, theirs := net.Pipe()
	s.running.Go(func() {
		defer theirs.Close()
		if s.serve != nil {
			s.serve(theirs)
			return
		}
		s.talk(theirs)
	})
	return ours, nil
}

// talk answers one request.
func (s *server) talk(c net.Conn) {
	r, body, err := takeRequest(c)
	if err != nil {
		return
	}
	s.mu.Lock()
	s.bodies, s.heads = append(s.bodies, body), append(s.heads, r)
	s.open++
	s.most = max(s.most, s.open)
	answer := s.answer
	s.mu.Unlock()
	status, header, text := http.StatusNoContent, http.Header{}, ""
	if answer != nil {
		status, header, text = answer(r, body)
	}
	s.mu.Lock()
	s.open--
	s.mu.Unlock()
	(&http.Response{
		StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Header: header, ContentLength: int64(len(text)),
		Body: io.NopCloser(bytes.NewReader([]byte(text))), Request: r,
	}).Write(c)
}

// takeRequest reads one request.
func takeRequest(c net.Conn) (*http.Request, string, error) {
	r, err := http.ReadRequest(bufio.NewReader(c))
	if err != nil {
		return nil, "", err
	}
	body, err := io.ReadAll(r.Body)
	return r, string(body), err
}

// asked returns how many questions came, and how many connections were tried.
func (s *server) asked() (questions, dials int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.bodies), s.dials
}

// says answers each request alike.
func says(status int, text string) func(*http.Request, string) (int, http.Header, string) {
	return func(*http.Request, string) (int, http.Header, string) { return status, http.Header{}, text }
}

// down refuses all connections from now on, or none.
func (s *server) down(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = 0
	if down {
		s.refuse = 1 << 30
	}
}

// address is one with all sorts of secrets.
const address = "http://operator:s3cretpass@asked.example:8000/hook?apikey=s3cretkey#s3cretfragment"

// lines is a log.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// ask makes the method with a server in memory.
func ask(t *testing.T, s *server, cfg Config) (*Question, *lines) {
	t.Helper()
	log := new(lines)
	cfg.URL, cfg.Dial, cfg.Server = fixed(address), s.dial, "here"
	cfg.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	q, err := New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		q.Close()
		s.running.Wait()
	})
	return q, log
}

// streams is a hub.
var streams = sync.OnceValue(func() *hub.Hub { return hub.New(hub.Config{}) })

// someone returns the session of a client: role is a stream, and a publisher's begins with "+".
func someone(stream, query string, change ...func(*hub.Client)) *hub.Session {
	role := hub.RoleWatch
	if stream[0] == '+' {
		role, stream = hub.RolePublish, stream[1:]
	}
	key, err := hub.NewKey("", stream)
	if err != nil {
		panic(err)
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		panic(err)
	}
	c := hub.Client{
		Protocol: "rtmp", Address: netip.MustParseAddrPort("192.0.2.1:1234"), Agent: "test/1", Query: values,
		TCURL: "rtmp://host/live?t=s3crettc", Host: "host",
	}
	for _, f := range change {
		f(&c)
	}
	return streams().NewSession(role, key, c)
}

// from changes a client's address.
func from(addr string, port int) func(*hub.Client) {
	return func(c *hub.Client) { c.Address = netip.MustParseAddrPort(net.JoinHostPort(addr, strconv.Itoa(port))) }
}

var errLeft = errors.New("left")

var discardLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)

// fixed is a URL that does not change.
func fixed(address string) func() string { return func() string { return address } }
