//go:build unix

package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
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

	"sluice/flv"
	"sluice/hub/relay"
	"sluice/hub/relay/relaytest"
)

// relaySoak are three servers, of which one relays from the first to the last, through proxies that break what
// they carry.
type relaySoak struct {
	t    *testing.T
	svc  *runningService
	edge *process
	http *relaytest.Proxy
	rtmp *relaytest.Proxy
	to   *relaytest.Proxy
	calm chan struct{} // closed when nothing is broken any more
	over chan struct{} // closed when nothing is begun any more

	made, pulled, pushed, watched atomic.Int64
}

// Pulls and pushes that come and go, fifty at a time, over connections that break: in the end nothing is left of
// them, neither streams, rules, goroutines, files nor memory.
func TestRelaySoak(t *testing.T) {
	d := 3 * time.Second
	if text := os.Getenv(soakEnv); text != "" {
		long, err := time.ParseDuration(text)
		require.NoError(t, err, soakEnv)
		d = long
	}
	wakePoller(t)
	before := footprintNow()
	t.Run("relays", func(t *testing.T) { soakRelays(t, d) })
	before.compare(t)
}

func soakRelays(t *testing.T, d time.Duration) {
	up, from := permitted(t, io.Discard, "SLUICE_DEMO=true")
	down, to := permitted(t, io.Discard)
	state := t.TempDir()
	w := &relaySoak{t: t, calm: make(chan struct{}), over: make(chan struct{})}
	for proxy, target := range map[**relaytest.Proxy]string{&w.http: from.http, &w.rtmp: from.rtmp, &w.to: to.rtmp} {
		p, err := relaytest.New(relaytest.Config{Target: target})
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, p.Close()) })
		*proxy = p
	}
	log := new(syncBuffer)
	w.svc, w.edge = permitted(t, log, append(operators, "SLUICE_DEMO=true", "SLUICE_STATE_DIR="+state, "SLUICE_LOG_LEVEL=warn",
		"SLUICE_ORIGIN_IDLE=100ms", "SLUICE_ORIGIN_START_TIMEOUT=2s", "SLUICE_PUSH_HOLD=100ms", "SLUICE_PULL_HOLD=1s",
		"SLUICE_ORIGIN=edge/* http://"+w.http.Addr()+"/live/demo.flv?{query}")...)
	var actors, breaks sync.WaitGroup
	end := sync.OnceFunc(func() {
		close(w.over)
		actors.Wait()
	})
	calm := sync.OnceFunc(func() {
		close(w.calm)
		breaks.Wait()
		for _, proxy := range []*relaytest.Proxy{w.http, w.rtmp, w.to} {
			proxy.Refuse(false)
		}
	})
	defer end()
	defer calm()
	actor := func(act func(i int)) {
		for i := range 16 {
			actors.Go(func() {
				for n := i; !isOver(w.over); n += 16 {
					act(n)
				}
			})
		}
	}
	actor(w.pull)
	actor(w.push)
	actor(w.watch)
	breaks.Go(w.breaks)
	time.Sleep(d)
	calm()
	until(t, "each of them has worked", func() bool { return w.pulled.Load() > 0 && w.pushed.Load() > 0 && w.watched.Load() > 0 })
	end()
	t.Logf("%d rules; %d pulls and %d pushes were live, %d viewers had media", w.made.Load(), w.pulled.Load(), w.pushed.Load(), w.watched.Load())
	until(t, "nothing is relayed", func() bool {
		list := w.svc.relays.get().Relays()
		return len(list) == 1 && len(list[0].Connections) == 0
	})
	until(t, "there are no streams of theirs", func() bool {
		return len(w.svc.hub.Streams()) == 1 && len(up.hub.Streams()) == 1 && len(down.hub.Streams()) == 0
	})
	figures := w.svc.relays.figures()
	for _, kind := range relay.Kinds() {
		for _, state := range kind.States() {
			assert.Zero(t, figures.Connections[kind][state], "%v %v", kind, state)
		}
	}
	text, err := os.ReadFile(filepath.Join(state, relayFile))
	require.NoError(t, err)
	assert.Equal(t, "[]\n", string(text))
	w.svc.stop()
	up.stop()
	down.stop()
	assert.NotContains(t, string(log.bytes()), "level=ERROR")
	noSecrets(t, "the log", log.bytes())
}

func isOver(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// rest waits for a moment.
func (w *relaySoak) rest(most time.Duration) {
	select {
	case <-time.After(rand.N(most)):
	case <-w.over:
	}
}

// isLive reports whether a connection of a rule is.
func (w *relaySoak) isLive(id string) bool {
	for _, r := range w.svc.relays.get().Relays() {
		for _, c := range r.Connections {
			if r.ID == id && c.State == relay.Live {
				return true
			}
		}
	}
	return false
}

// with has a rule for a while.
func (w *relaySoak) with(kind relay.Kind, about, url string) {
	of, err := relay.NewRule(kind, about, []string{url})
	require.NoError(w.t, err)
	rule, err := w.svc.relays.get().Add(of)
	if errors.Is(err, relay.ErrExists) {
		return
	}
	if !assert.NoError(w.t, err) {
		return
	}
	w.made.Add(1)
	live := false
	for end := time.Now().Add(rand.N(time.Second)); !live && !isOver(w.over); { // as long as it takes where nothing is broken
		live = w.isLive(rule.ID)
		if time.Now().After(end) && (!isOver(w.calm) || strings.HasSuffix(url, "nothing")) {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	w.rest(time.Second)
	if live {
		map[relay.Kind]*atomic.Int64{relay.Pull: &w.pulled, relay.Push: &w.pushed}[kind].Add(1)
	}
	assert.NoError(w.t, w.svc.relays.get().Remove(rule.ID))
}

func (w *relaySoak) pull(n int) {
	from := []string{"http://u:S3CRET@" + w.http.Addr() + "/live/demo.flv?k=S3CRET", "ws://" + w.http.Addr() + "/live/demo.flv", "rtmp://" + w.rtmp.Addr() + "/live/demo", "rtmp://" + w.rtmp.Addr() + "/live/nothing"}[n%4]
	w.with(relay.Pull, fmt.Sprintf("pulled/%d", n%16), from)
}

func (w *relaySoak) push(n int) {
	w.with(relay.Push, []string{"live/*", "pulled/*"}[n/16%2], fmt.Sprintf("rtmp://%s/pushed-%d/{name}?k=S3CRET", w.to.Addr(), n))
}

// watch has a stream pulled for a while.
func (w *relaySoak) watch(n int) {
	r, err := http.NewRequestWithContext(w.t.Context(), "GET", fmt.Sprintf("http://%s/edge/%d.flv?k=S3CRET", w.edge.http, n%24), nil)
	require.NoError(w.t, err)
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}).Do(r)
	if !assert.NoError(w.t, err) {
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		return // it is refused since the proxy refuses
	}
	if _, err := flv.NewReader(resp.Body).Next(); err == nil {
		w.watched.Add(1)
	}
	w.rest(300 * time.Millisecond)
}

// breaks breaks connections, and has some refused for a moment.
func (w *relaySoak) breaks() {
	for !isOver(w.calm) {
		w.rest(400 * time.Millisecond)
		proxy := []*relaytest.Proxy{w.http, w.rtmp, w.to}[rand.N(3)]
		switch rand.N(3) {
		case 0:
			proxy.Break()
		case 1:
			proxy.Finish()
		case 2:
			proxy.Refuse(true)
			proxy.Break()
			w.rest(200 * time.Millisecond)
			proxy.Refuse(false)
		}
	}
}
