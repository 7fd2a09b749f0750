package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// server is a running Sluice.
type server struct {
	*process
	t    *testing.T
	rtmp string // "rtmp://127.0.0.1:PORT"
	http string // "127.0.0.1:PORT"

	operators string // their API's, likewise

	// mayEnd is for one that a test kills.
	mayEnd bool

	// stop tells it to end; a second time would make it end at once.
	stop func()
}

// announced finds the ports in what the program says at its start.
var announced = regexp.MustCompile(`(?s)Publish +(rtmp://127\.0\.0\.1:\d+)/.*Watch +http://(127\.0\.0\.1:\d+)/ .*Operators +http://(127\.0\.0\.1:\d+)/`)

// relayFailed finds what a server says of other servers that failed, of which tests know by other means, and of a machine
// that is busy.
var relayFailed = regexp.MustCompile(`(?m)^.*msg="(a (pull|push) failed|cluster: this node is alone|cluster: records cannot be written|cluster engine|the process stood still).*$`)

// serve starts the program with the variables given, NAME=value. When the test
// ends, so must the program, properly and with nothing to complain of.
func serve(t *testing.T, variables ...string) *server {
	t.Helper()
	if testing.Short() {
		t.Skip("left out: tests with real programs take minutes; run without -short")
	}
	path, err := program()
	require.NoError(t, err)
	return serveCommand(t, exec.Command(path), variables...)
}

// serveCommand is serve with a command that ends as the program.
func serveCommand(t *testing.T, cmd *exec.Cmd, variables ...string) *server {
	t.Helper()
	cmd.Env = append(environment(), "SLUICE_RTMP_ADDR=127.0.0.1:0", "SLUICE_HTTP_ADDR=127.0.0.1:0",
		"SLUICE_ADMIN_ADDR=127.0.0.1:0", "SLUICE_ADMIN_TOKEN="+operatorToken)
	cmd.Env = append(cmd.Env, variables...)
	s := &server{t: t, process: begin(t, cmd)}
	var found []string
	until(t, "the server says its ports", func() bool {
		found = announced.FindStringSubmatch(s.said.String())
		return found != nil || !s.running()
	})
	require.NotNil(t, found, "the server did not start: %s", s.said.String())
	s.rtmp, s.http, s.operators = found[1], found[2], found[3]
	s.stop = sync.OnceFunc(func() { s.signal(syscall.SIGTERM) })
	t.Cleanup(func() {
		if s.mayEnd && !s.running() {
			return
		}
		s.stop()
		assert.Zero(t, s.wait(), "exit code of the server")
		assert.NotRegexp(t, `level=(WARN|ERROR)|DATA RACE|panic`, relayFailed.ReplaceAllString(s.said.String(), ""))
	})
	return s
}

// in returns the server for a subtest.
func (s *server) in(t *testing.T) *server {
	mine := *s
	mine.t = t
	return &mine
}

// rtmpURL returns where a stream is published and played.
func (s *server) rtmpURL(key string) string { return s.rtmp + "/" + key }

// flvURL returns where a stream is fetched, scheme being http or ws.
func (s *server) flvURL(scheme, key string) string {
	return scheme + "://" + s.http + "/" + key + ".flv"
}

// operatorToken is what the tests show to the operators' API.
const operatorToken = "0123456789-operator"

// stream is what the operators' API tells of a stream.
type stream struct {
	Key   string `json:"stream"`
	State string
	Video *struct {
		Codec         string
		Width, Height int
	}
	Audio   *struct{ Codec string }
	Viewers struct {
		Total      int
		ByProtocol map[string]int `json:"by_protocol"`
	}
	Dropped int
}

// stream asks the API for a stream; the zero value has no state.
func (s *server) stream(key string) stream {
	s.t.Helper()
	for _, st := range s.streams() {
		if st.Key == key {
			return st
		}
	}
	return stream{}
}

// streams asks the API for all streams.
func (s *server) streams() []stream {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+s.operators+"/api/v1/streams?limit=1000", nil)
	require.NoError(s.t, err)
	r.Header.Set("Authorization", "Bearer "+operatorToken)
	answer, err := client.Do(r)
	require.NoError(s.t, err)
	defer answer.Body.Close()
	require.Equal(s.t, http.StatusOK, answer.StatusCode)
	var list struct{ Streams []stream }
	require.NoError(s.t, json.NewDecoder(answer.Body).Decode(&list))
	return list.Streams
}

// client is for the tests' own requests. It keeps no connection.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// until waits until the API tells of a stream what the test wants.
func (s *server) until(key, what string, ok func(stream) bool) {
	s.t.Helper()
	until(s.t, key+" is "+what, func() bool { return ok(s.stream(key)) })
}

// state waits until a stream has a state; "" is for one that is no more.
func (s *server) state(key, state string) {
	s.t.Helper()
	s.until(key, state, func(st stream) bool { return st.State == state })
}

// watched waits until a stream has so many viewers.
func (s *server) watched(key string, viewers int) {
	s.t.Helper()
	s.until(key, "watched", func(st stream) bool { return st.Viewers.Total == viewers })
}

// quietAddress is a freeAddress that the system gives to nobody by itself: nodes have many connections to each other, of
// which each would take a port, and come back to theirs. Nobody else in this process gets it again.
func quietAddress(t *testing.T) string {
	t.Helper()
	for range 1000 {
		address := fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000))
		if _, given := quietAddresses.LoadOrStore(address, true); given {
			continue
		}
		if l, err := net.Listen("tcp", address); err == nil {
			l.Close()
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}

// quietAddresses are those that tests were given, which may not listen there yet.
var quietAddresses sync.Map
