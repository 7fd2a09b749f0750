//go:build unix

package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// What a server says, or does instead of saying anything.
const (
	saidYes = iota
	saidNo
	unanswered // as SLUICE_AUTH_FAIL has it
)

// Whatever the server does that is asked, each client over each protocol gets an answer in time:
// its own, or that of SLUICE_AUTH_FAIL. Nobody who is there already notices, no more is read than
// 64 KiB and what lies in buffers, and nothing of it is printed.
func TestPermissionBadServers(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Error("a redirect was followed")
	}))
	defer elsewhere.Close()
	var poured atomic.Int64
	pour := func(beginning string) func(net.Conn) {
		return pours(beginning, 1<<30, func(n int64) { poured.Store(max(poured.Load(), n)) })
	}
	body := func(text string) func(net.Conn) {
		return says(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text))
	}
	redirect := func(status int) func(net.Conn) {
		return says(fmt.Sprintf("HTTP/1.1 %d X\r\nLocation: %s/S3CRETthere\r\nContent-Length: 0\r\n\r\n", status, elsewhere.URL))
	}
	const short, long = 300 * time.Millisecond, time.Minute // where it is waited for, and where it must not be
	for _, test := range []struct {
		name, format string
		serve        func(net.Conn)
		timeout      time.Duration
		want         int
	}{
		{"yes", "json", says(sayYes), long, saidYes},
		{"yes", "srs", says(sayYes), long, saidYes},
		{"yes", "nginx", says(sayYes), long, saidYes},
		{"no", "json", says(sayNo), long, saidNo},
		{"no", "srs", body(`{"code": 1}`), long, saidNo},
		{"no", "nginx", says(sayNo), long, saidNo},
		{"nothing", "srs", body(""), long, saidNo},
		{"a page", "json", body("<html>S3CRET</html>"), long, unanswered},
		{"a page", "srs", body("<html>S3CRET</html>"), long, unanswered},
		{"deep JSON", "json", body(strings.Repeat(`{"allow":`, 10_000)), long, unanswered},
		{"deep JSON", "srs", body(strings.Repeat("[", 60_000)), long, unanswered},
		{"hangs", "json", hangs, short, unanswered},
		{"hangs", "srs", hangs, short, unanswered},
		{"drips its header", "nginx", drips("HTTP/1.1 200 OK\r\nX: ", "x"), short, unanswered},
		{"drips its body", "json", drips("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\n \r\n"), short, unanswered},
		{"drips 103", "srs", drips("", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"), short, unanswered},
		{"redirects", "json", redirect(http.StatusTemporaryRedirect), long, saidNo},
		{"redirects", "srs", redirect(http.StatusFound), long, saidNo},
		{"redirects", "nginx", redirect(http.StatusFound), long, saidNo},
		{"sends 1 GB", "json", pour("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n"), long, unanswered},
		{"sends 1 GB without a length", "srs", pour("HTTP/1.1 200 OK\r\n\r\n"), long, unanswered},
		{"sends 1 GB of header", "nginx", pour("HTTP/1.1 200 OK\r\nX: "), long, unanswered},
		{"sends 1 GB with a no", "json", pour("HTTP/1.1 403 No\r\nContent-Length: 1073741824\r\n\r\n"), long, unanswered},
		{"closes", "json", func(net.Conn) {}, long, unanswered},
		{"closes amid", "srs", says("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"co"), long, unanswered},
		{"yes and then no", "json", says(sayYes + sayNo), long, saidYes},
		{"no and then yes", "json", says(sayNo + sayYes), long, saidNo},
		{"no and then yes", "nginx", says(sayNo + sayYes), long, saidNo},
		{"garbage", "json", says("\x00\xff\x80S3CRET garbage\r\n\r\n"), long, unanswered},
		{"another protocol", "nginx", says("SSH-2.0-S3CRET\r\n"), long, unanswered},
		{"fails", "json", says("HTTP/1.1 503 S3CRET\r\nContent-Length: 0\r\n\r\n"), long, unanswered},
		{"switches", "nginx", says("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"), long, saidNo},
	} {
		for _, fail := range []string{"closed", "open"} {
			t.Run(test.name+", "+test.format+", "+fail, func(t *testing.T) {
				server, log := newBadServer(t, says(sayYes)), new(syncBuffer)
				svc, p := permitted(t, log,
					"SLUICE_PUBLISH_AUTH=url", "SLUICE_WATCH_AUTH=url", "SLUICE_AUTH_URL="+server.url(), "SLUICE_AUTH_FORMAT="+test.format,
					"SLUICE_AUTH_FAIL="+fail, "SLUICE_AUTH_TIMEOUT="+test.timeout.String())
				there := newParty(t, svc, p)
				server.become(test.serve)
				poured.Store(0)
				began := time.Now()
				answers := askAll(t, p, "key=S3CRETshown")
				took := time.Since(began)
				allAnswered(t, answers, test.want == saidYes || test.want == unanswered && fail == "open")
				there.stays(t, svc)
				there.leaves()
				svc.stop() // who gave up a connection has closed it
				server.close()
				assert.Less(t, poured.Load(), int64(64<<20), "bytes that were taken of an answer")
				noSecrets(t, "the log", log.bytes())
				if test.want == unanswered {
					assert.NotContains(t, string(log.bytes()), "permission was not answered in time", "the hub had to give up")
				}
				t.Logf("%v; all answered in %v; %d bytes taken at the most", answers, took.Round(time.Millisecond), poured.Load())
			})
		}
	}
}

// However many ask, a server that hangs has 64 connections at the most, and once it has failed
// five times none for five seconds; then it is asked again, and everything is as before.
func TestPermissionServerIsLeftAlone(t *testing.T) {
	t.Parallel()
	server, log := newBadServer(t, says(sayYes)), new(syncBuffer)
	svc, p := permitted(t, log, "SLUICE_PUBLISH_AUTH=url", "SLUICE_WATCH_AUTH=url", "SLUICE_AUTH_URL="+server.url(),
		"SLUICE_AUTH_TIMEOUT=1m", "SLUICE_VIEWER_WAIT=0")
	there := newParty(t, svc, p)
	server.become(hangs)
	const crowd = 300
	var asking sync.WaitGroup
	ask := func(i int) {
		a, name := askers[i%len(askers)], fmt.Sprintf("cam?key=%d", i)
		if a.role == hub.RolePublish {
			name = fmt.Sprintf("new%d?key=x", i)
		}
		client := a.ask(t, p, net.IPv4(127, 0, byte(i>>8), byte(i%250+1)), name)
		defer client.Close()
		answer, err := client.answer()
		assert.NoError(t, err)
		assert.Contains(t, answer, a.denied, a.protocol)
	}
	for i := range crowd {
		asking.Go(func() { ask(i) })
	}
	until(t, "all ask", func() bool {
		return len(svc.hub.Sessions()) >= crowd && server.connections() >= 64
	})
	hanging := server.connections()
	assert.Equal(t, 64, hanging, "connections at a time")
	server.become(func(net.Conn) {})
	began := time.Now()
	server.cut()
	asking.Wait()
	took := time.Since(began)
	total := server.connections()
	assert.LessOrEqual(t, total, 4, "places are taken anew before the fifth failure")
	began = time.Now()
	for i := range 20 {
		ask(crowd + i)
	}
	if after := server.connections(); took+time.Since(began) < 5*time.Second {
		assert.Equal(t, total, after, "it is left alone")
	}
	t.Logf("%d clients had %d connections, and %d more until all were answered, %v later", crowd, hanging, total, took.Round(time.Millisecond))
	server.become(says(sayYes))
	until(t, "the server is asked again", func() bool {
		client := askers[2].ask(t, p, nil, "cam?key=again")
		defer client.Close()
		answer, err := client.answer()
		return err == nil && answer == in
	})
	there.stays(t, svc)
	there.leaves()
	svc.stop()
	noSecrets(t, "the log", log.bytes())
}

// While the server is down, a publisher that was granted before comes back within its grace,
// with the stream that it was given; nobody else is let in by that.
func TestPermissionPublisherComesBack(t *testing.T) {
	t.Parallel()
	rename := "HTTP/1.1 302 X\r\nLocation: cam\r\nContent-Length: 0\r\n\r\n"
	server, log := newBadServer(t, says(rename)), new(syncBuffer)
	svc, p := permitted(t, log, "SLUICE_PUBLISH_AUTH=url", "SLUICE_AUTH_URL="+server.url(), "SLUICE_AUTH_FORMAT=nginx",
		"SLUICE_AUTH_TIMEOUT=500ms", "SLUICE_PUBLISHER_GRACE=5m")
	publish := askers[0]
	come := func(from net.IP, name, want string) *asked {
		client := publish.ask(t, p, from, name)
		t.Cleanup(func() { client.Close() })
		answer, err := client.answer()
		require.NoError(t, err)
		assert.Contains(t, answer, want, name)
		return client
	}
	here, there := net.IPv4(127, 0, 0, 5), net.IPv4(127, 0, 0, 6)
	name := typedKey + "?token=S3CRET"
	publisher := come(here, name, in)
	for _, serve := range []func(net.Conn){hangs, func(net.Conn) {}, says("HTTP/1.1 500 X\r\n\r\n")} {
		server.become(serve)
		publisher.Close()
		until(t, "it has left", func() bool { return len(svc.hub.Sessions()) == 0 })
		come(there, name, publish.denied)
		come(here, typedKey, publish.denied)
		come(here, typedKey+"?token=S3CRET2", publish.denied)
		come(here, "cam?token=S3CRET", publish.denied)
		publisher = come(here, name, in)
		assert.True(t, len(svc.hub.Sessions()) == 1 && svc.hub.Sessions()[0].Session.Shown() == "live/cam")
	}
	server.close() // nobody listens any more
	publisher.Close()
	until(t, "it has left", func() bool { return len(svc.hub.Sessions()) == 0 })
	come(here, name, in).Close()
	svc.stop()
	noSecrets(t, "the log", log.bytes())
}

// Clients who give up while the server hangs leave nothing behind: no question, no connection.
func TestPermissionClientsWhoGiveUp(t *testing.T) {
	server := newBadServer(t, hangs)
	svc, p := permitted(t, io.Discard, "SLUICE_PUBLISH_AUTH=url", "SLUICE_WATCH_AUTH=url", "SLUICE_AUTH_URL="+server.url(),
		"SLUICE_AUTH_TIMEOUT=1m")
	var clients []*asked
	for i := range 50 {
		a := askers[i%len(askers)]
		clients = append(clients, a.ask(t, p, net.IPv4(127, 0, 0, byte(i+1)), fmt.Sprintf("x%d", i)))
	}
	until(t, "all ask", func() bool { return len(svc.hub.Sessions()) == len(clients) })
	for _, c := range clients {
		c.Close()
	}
	until(t, "nobody asks", func() bool {
		server.mu.Lock()
		defer server.mu.Unlock()
		return len(svc.hub.Sessions()) == 0 && len(server.open) == 0
	})
}
