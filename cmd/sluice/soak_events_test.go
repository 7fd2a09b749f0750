//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/rtmp"
)

// eventSoak is a running soak of who is told. Each of its clients comes from an address of its
// own, by which it is found again in what the server was told.
type eventSoak struct {
	t        *testing.T
	svc      *runningService
	p        *process
	operator operator
	server   *eventServer
	over     time.Time
	last     atomic.Uint32 // client

	mu      sync.Mutex
	clients map[string]*eventClient // by address
}

// eventClient is what a client knows of itself.
type eventClient struct {
	role    string // publish or play
	how     string // it ends, or is refused
	wrong   bool   // it shows a wrong key
	begun   bool   // it was let in to publish, or got media
	refused string // the answer
	unsure  bool   // it left before it knew, or did not look
	most    int    // how many sessions of its may have begun, where it does not know
}

// notFound is the answer to who waited in vain, in all protocols.
const notFound = "not found"

func (c *eventClient) outcome() string {
	switch {
	case c.begun:
		return c.role + ", " + c.how
	case c.unsure:
		return c.role + ", " + c.how + ", does not know"
	}
	return c.role + ", " + c.how + ": " + c.refused
}

// After a soak of short publishers and viewers over all protocols, of whom some are refused,
// kicked, taken over, cut off or leave while they are asked about, with a receiver of events that
// fails some of the time: each session that a client has begun has exactly one beginning and,
// after it, one end, and there are no others. Where the receiver is the server that was asked, in
// the forms of SRS and nginx-rtmp, a question that it granted is the beginning. SOAK sets how
// long it goes on.
func TestSoakEvents(t *testing.T) {
	t.Parallel()
	d := 9 * time.Second
	if text := os.Getenv(soakEnv); text != "" {
		var err error
		d, err = time.ParseDuration(text)
		require.NoError(t, err, soakEnv)
	}
	for _, format := range []string{"json", "srs", "nginx"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			soakEvents(t, format, d/3)
		})
	}
}

func soakEvents(t *testing.T, format string, d time.Duration) {
	e := &eventSoak{t: t, clients: make(map[string]*eventClient), server: newEventServer(t, format)}
	dir, log := t.TempDir(), new(syncBuffer)
	environ := []string{
		"SLUICE_ADMIN_ADDR=127.0.0.1:0", "SLUICE_ADMIN_TOKEN=" + adminToken, "SLUICE_AUTH_FAILURES=0", "SLUICE_PUBLISHER_GRACE=200ms",
		"SLUICE_VIEWER_WAIT=400ms", "SLUICE_RECORD_DIR=" + dir, "SLUICE_RECORD_SYNC=0", "SLUICE_RECORD_MIN_FREE=0",
		"SLUICE_EVENT_URL=" + e.server.URL, "SLUICE_EVENT_FORMAT=" + format, "SLUICE_LOG_LEVEL=info",
	}
	if format == "json" {
		environ = append(environ, "SLUICE_PUBLISH_AUTH=key", "SLUICE_PUBLISH_KEYS=** "+publishKey+"; ** "+publishKey+"2",
			"SLUICE_WATCH_AUTH=key", "SLUICE_WATCH_KEYS=** "+watchKey)
	} else {
		environ = append(environ, "SLUICE_PUBLISH_AUTH=url", "SLUICE_WATCH_AUTH=url", "SLUICE_AUTH_URL="+e.server.URL, "SLUICE_AUTH_FORMAT="+format)
	}
	e.svc, e.p = permitted(t, log, environ...)
	e.operator = operator{t, e.svc.listeners.addr("admin")}
	e.over = time.Now().Add(d)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var actors sync.WaitGroup
	for i := range 6 {
		for j, act := range []func(string, *rand.Rand){e.publish, e.intrude, e.watch, e.watch, e.watch, e.look} {
			rng := rand.New(rand.NewPCG(seed, uint64(10*i+j)))
			actors.Go(func() {
				for time.Now().Before(e.over) {
					act(fmt.Sprint("soak", i), rng)
				}
			})
		}
	}
	actors.Wait()
	until(t, "all have left", func() bool { return len(e.svc.hub.Sessions()) == 0 })
	e.server.mended.Store(true)
	until(t, "recordings are finished", func() bool {
		parts, err := filepath.Glob(filepath.Join(dir, "*", "*", "*.part"))
		return err == nil && len(parts) == 0
	})
	until(t, "all is told", func() bool { return e.svc.notifier.Totals().Webhook.Waiting == 0 })
	e.svc.stop()
	totals := e.svc.notifier.Totals().Webhook
	assert.Zero(t, totals.Dropped)
	t.Logf("%+v", totals)
	files, err := filepath.Glob(filepath.Join(dir, "*", "*", "*.flv"))
	require.NoError(t, err)
	e.server.check(e.clients, len(files))
	if format == "json" {
		begun := uint64(0)
		for _, sum := range e.svc.hub.Totals() {
			begun += sum.Begun
		}
		assert.Len(t, e.server.sessions, int(begun))
	}
	noSecrets(t, "the log", log.bytes())
}

// client notes a client, which has an address of its own.
func (e *eventSoak) client(role, how string) (*eventClient, net.IP) {
	n := e.last.Add(1)
	ip := net.IPv4(127, byte(1+n>>16), byte(n>>8), byte(n))
	c := &eventClient{role: role, how: how, wrong: how == "wrong key", most: 1}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.clients[ip.String()] = c
	return c, ip
}

// kick has the operator end the sessions of a client.
func (e *eventSoak) kick(ip net.IP) {
	_, answer := e.operator.do(http.MethodGet, "/api/v1/sessions?address="+ip.String(), "")
	sessions, _ := answer["sessions"].([]any)
	for _, s := range sessions {
		e.operator.do(http.MethodDelete, fmt.Sprintf("/api/v1/sessions/%v?ban=0", s.(map[string]any)["id"]), "")
	}
}

// eventPublisher is a client that publishes.
type eventPublisher struct {
	*rtmp.Publisher
	conn *net.TCPConn
	ip   net.IP
}

// open begins to publish; nil if it may not.
func (e *eventSoak) open(name, how, key string) *eventPublisher {
	c, ip := e.client("publish", how)
	p := &eventPublisher{ip: ip}
	client := from(ip)
	dial := client.Dial
	client.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		nc, err := dial(ctx, network, address)
		if err == nil {
			p.conn = nc.(*net.TCPConn)
		}
		return nc, err
	}
	var err error
	p.Publisher, err = client.Publish(e.t.Context(), "rtmp://"+e.p.rtmp+"/live/"+name+"?key="+key)
	status, refused := errors.AsType[*rtmp.StatusError](err)
	switch {
	case err == nil:
		c.begun = true
		return p
	case refused:
		c.refused = status.Code
	default:
		c.unsure = true
	}
	return nil
}

// send publishes for a while, or until it is ended.
func (p *eventPublisher) send(rng *rand.Rand, most time.Duration) {
	if p.WriteTags(madeHeader()) != nil {
		return
	}
	begun := time.Now()
	for _, tag := range stream200k.frames(upTo(rng, most)) {
		time.Sleep(time.Until(begun.Add(time.Duration(tag.Timestamp) * time.Millisecond)))
		if p.WriteTag(tag) != nil {
			return
		}
	}
}

// upTo returns a time below a bound.
func upTo(rng *rand.Rand, most time.Duration) time.Duration {
	return time.Duration(rng.Int64N(int64(most)))
}

// publish is an actor: it publishes once.
func (e *eventSoak) publish(name string, rng *rand.Rand) {
	how := []string{"goodbye", "goodbye", "cut", "kicked", "wrong key", "taken over", "leaves"}[rng.IntN(7)]
	switch how {
	case "wrong key":
		e.open(name, how, "wrong")
		return
	case "leaves":
		c, ip := e.client("publish", how)
		c.unsure = true
		asked := askers[0].ask(e.t, e.p, ip, name+"?key="+publishKey)
		time.Sleep(upTo(rng, 10*time.Millisecond))
		asked.Close()
		return
	}
	p := e.open(name, how, publishKey)
	if p == nil {
		return
	}
	defer p.Close()
	p.send(rng, time.Second)
	switch how {
	case "cut":
		p.conn.SetLinger(0)
		p.conn.Close()
	case "kicked":
		e.kick(p.ip)
	case "taken over":
		if other := e.open(name, "takes over", publishKey); other != nil {
			other.send(rng, 200*time.Millisecond)
			other.Close()
		}
	}
}

// intrude is an actor: it tries to publish what somebody else publishes, and may where nobody
// does.
func (e *eventSoak) intrude(name string, rng *rand.Rand) {
	time.Sleep(upTo(rng, 400*time.Millisecond))
	if p := e.open(name, "intrudes", publishKey+"2"); p != nil {
		p.Close()
	}
}

// watch is an actor: it watches once.
func (e *eventSoak) watch(name string, rng *rand.Rand) {
	how := []string{"goodbye", "cut", "kicked", "stays", "wrong key", "leaves", "nobody is there", "head", "twins"}[rng.IntN(9)]
	a, key := []asker{askers[1], askers[2], askers[4]}[rng.IntN(3)], watchKey
	switch how {
	case "wrong key":
		key = "wrong"
	case "nobody is there":
		name = "nobody"
	case "head":
		a = askers[3]
	}
	c, ip := e.client("play", how)
	asked := a.ask(e.t, e.p, ip, name+"?key="+key)
	defer asked.Close()
	if how == "twins" { // who ask alike: perhaps there is one question for both
		c.unsure, c.most = true, 2
		twin := a.ask(e.t, e.p, ip, name+"?key="+key)
		defer twin.Close()
		twin.SetReadDeadline(time.Now().Add(upTo(rng, time.Second)))
		twin.answer()
		return
	}
	if how == "leaves" {
		c.unsure = true
		time.Sleep(upTo(rng, 10*time.Millisecond))
		return
	}
	asked.SetReadDeadline(time.Now().Add(patience))
	answer, err := asked.answer()
	switch {
	case how == "head", err != nil:
		c.unsure = true
		return
	case answer != in:
		c.refused = answer
		if answer == "404 not found" || answer == "4404" || answer == hub.ReasonNotFound.PlayStatus() {
			c.refused = notFound
		}
		return
	}
	if _, err = asked.next(); err != nil {
		c.unsure = true // the stream ended meanwhile
		return
	}
	c.begun = true
	stays := upTo(rng, 400*time.Millisecond)
	if how == "stays" {
		stays *= 4
	}
	asked.SetReadDeadline(time.Now().Add(stays))
	for err == nil {
		_, err = asked.next()
	}
	switch {
	case how == "cut":
		asked.SetLinger(0)
	case how == "kicked":
		e.kick(ip)
	case how == "goodbye" && asked.rtmp != nil && !strings.Contains(err.Error(), "EOF"):
		asked.rtmp.command(0, "deleteStream", 0.0, nil, 1.0)
	}
}

// look is an actor: it looks at the recordings of a stream, and fetches one.
func (e *eventSoak) look(name string, rng *rand.Rand) {
	time.Sleep(upTo(rng, 400*time.Millisecond))
	c, ip := e.client("play", "looks at recordings")
	c.unsure, c.most = true, 10
	client := http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true, DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: ip}}).DialContext,
	}}
	paths := []string{"/api/v1/recordings?stream=live/" + name, "/api/v1/recordings/live/" + name + "/latest?x=", "/rec/live/" + name + "/latest.flv?x="}
	path := paths[rng.IntN(len(paths))] + "&key=" + watchKey
	method := []string{http.MethodGet, http.MethodHead}[rng.IntN(2)]
	r, err := http.NewRequestWithContext(e.t.Context(), method, "http://"+e.p.http+path, nil)
	if !assert.NoError(e.t, err) {
		return
	}
	if resp, err := client.Do(r); assert.NoError(e.t, err) {
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
}
