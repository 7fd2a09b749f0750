//go:build unix

package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// badServer is a server that is asked, or that keys are fetched from, with every byte of its
// answers in the hands of the test. How it serves may change; connections keep what they began
// with.
type badServer struct {
	l       net.Listener
	serving sync.WaitGroup

	mu    sync.Mutex
	serve func(net.Conn)
	open  map[net.Conn]struct{}
	total int // connections since it serves like that
}

func newBadServer(t *testing.T, serve func(net.Conn)) *badServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &badServer{l: l, serve: serve, open: make(map[net.Conn]struct{})}
	s.serving.Go(s.accept)
	t.Cleanup(s.close)
	return s
}

func (s *badServer) accept() {
	for {
		c, err := s.l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.open[c] = struct{}{}
		s.total++
		serve := s.serve
		s.mu.Unlock()
		s.serving.Go(func() {
			defer func() {
				c.Close()
				s.mu.Lock()
				delete(s.open, c)
				s.mu.Unlock()
			}()
			serve(c)
		})
	}
}

// close ends all connections. A later one is refused by the system.
func (s *badServer) close() {
	s.l.Close()
	s.cut()
	s.serving.Wait()
}

// cut ends the connections that are open.
func (s *badServer) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		c.Close()
	}
}

// become changes how it serves.
func (s *badServer) become(serve func(net.Conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serve, s.total = serve, 0
}

// connections returns how many there have been since it serves as it does.
func (s *badServer) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}

// url returns its address, with a password and a query that are secrets.
func (s *badServer) url() string {
	return "http://asks:S3CRETpassword@" + s.l.Addr().String() + "/hook?token=S3CREThook"
}

// hear reads a request, with its body.
func hear(c net.Conn) bool {
	r, err := http.ReadRequest(bufio.NewReader(c))
	if err == nil {
		_, err = io.Copy(io.Discard, r.Body)
	}
	return err == nil
}

// says returns what answers each request with the same bytes, and closes.
func says(text string) func(net.Conn) {
	return func(c net.Conn) {
		if hear(c) {
			io.WriteString(c, text)
		}
	}
}

// hangs reads and never answers.
func hangs(c net.Conn) { io.Copy(io.Discard, c) }

// drips returns what answers with the beginning, and then a text again and again, for ever.
func drips(beginning, text string) func(net.Conn) {
	return func(c net.Conn) {
		if !hear(c) {
			return
		}
		for _, err := io.WriteString(c, beginning); err == nil; _, err = io.WriteString(c, text) {
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// pours returns what answers with the beginning and as many bytes as are taken, up to a number,
// and tells how many were.
func pours(beginning string, most int64, poured func(int64)) func(net.Conn) {
	return func(c net.Conn) {
		if !hear(c) {
			return
		}
		io.WriteString(c, beginning)
		n, _ := io.CopyN(c, spaces{}, most)
		poured(n)
	}
}

// spaces is white space without an end, which JSON may begin with.
type spaces struct{}

func (spaces) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}

// Answers that are a yes in all three forms, and a no in all.
const (
	sayYes = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 24\r\n\r\n{\"allow\":true,\"code\":0 }"
	sayNo  = "HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: 26\r\n\r\n{\"allow\":false,\"code\":403}"
)

// party are clients of each protocol who are there: a publisher of live/cam, and those who
// watch it.
type party struct {
	publisher *asked
	viewers   []*asked
	ids       map[uint64]bool // of their sessions
}

// newParty has them come in.
func newParty(t *testing.T, svc *runningService, p *process) *party {
	t.Helper()
	come := func(a asker) *asked {
		client := a.ask(t, p, nil, "cam?key=S3CRETparty")
		t.Cleanup(func() { client.Close() })
		answer, err := client.answer()
		require.NoError(t, err)
		require.Equal(t, in, answer, a.protocol)
		return client
	}
	g := &party{publisher: come(askers[0]), ids: make(map[uint64]bool)}
	for _, tag := range append(madeHeader(), stream200k.frames(time.Second)...) {
		require.NoError(t, g.publisher.rtmp.sendTag(1, tag))
	}
	until(t, "the stream is live", func() bool { return svc.hub.Live(hub.Key{App: "live", Name: "cam"}) })
	for _, a := range askers[1:] {
		if a.protocol != "HTTP-FLV HEAD" {
			g.viewers = append(g.viewers, come(a))
		}
	}
	for _, info := range svc.hub.Sessions() {
		g.ids[info.Session.ID()] = true
	}
	require.Len(t, g.ids, 1+len(g.viewers))
	return g
}

// stays fails unless all of them are still there, and what is published reaches who watches.
func (g *party) stays(t *testing.T, svc *runningService) {
	t.Helper()
	still := 0
	for _, info := range svc.hub.Sessions() {
		if g.ids[info.Session.ID()] {
			still++
		}
	}
	assert.Equal(t, len(g.ids), still, "nobody who is there is ended")
	for i, tag := range stream200k.frames(2 * time.Second) {
		tag.Timestamp += 5000
		require.NoError(t, g.publisher.rtmp.sendTag(1, tag), i)
	}
	for _, v := range g.viewers {
		v.SetReadDeadline(time.Now().Add(patience))
		for {
			tag, err := v.next()
			if !assert.NoError(t, err) {
				return
			}
			if tag.Timestamp >= 5000 { // each viewer's clock begins near the publisher's
				break
			}
		}
	}
}

// leaves has all of them leave.
func (g *party) leaves() {
	g.publisher.Close()
	for _, v := range g.viewers {
		v.Close()
	}
}

// askAll has one client of each kind ask at the same time, and returns their answers by protocol.
// A publisher wants a stream of its own.
func askAll(t *testing.T, p *process, query string) map[string]string {
	t.Helper()
	var mu sync.Mutex
	answers := make(map[string]string)
	var asking sync.WaitGroup
	for _, a := range askers {
		asking.Go(func() {
			name := "cam?"
			if a.role == hub.RolePublish {
				name = "new?"
			}
			client := a.ask(t, p, nil, name+query)
			defer client.Close()
			client.SetReadDeadline(time.Now().Add(2 * patience))
			answer, err := client.answer()
			if err != nil {
				answer = err.Error()
			}
			mu.Lock()
			defer mu.Unlock()
			answers[a.protocol] = answer
		})
	}
	asking.Wait()
	return answers
}

// allAnswered fails unless all were let in, or all refused.
func allAnswered(t *testing.T, answers map[string]string, granted bool) {
	t.Helper()
	for _, a := range askers {
		if granted {
			assert.Equal(t, in, answers[a.protocol], a.protocol)
		} else {
			assert.Contains(t, answers[a.protocol], a.denied, a.protocol)
		}
	}
}

// statusOf sends the text of a request from an address, and returns the status of the answer; 0
// where there is none.
func statusOf(t *testing.T, from net.IP, addr, request string) int {
	t.Helper()
	conn := dialFrom(t, from, addr)
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	go io.WriteString(conn, request) // it may be refused before all of it was read
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0
	}
	return res.StatusCode
}
