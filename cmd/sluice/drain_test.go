//go:build unix

package main

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/rtmp"
)

// What a client of an app is asked.
func TestReconnectURL(t *testing.T) {
	for _, tt := range []struct {
		drain, app string
		secure     bool
		want       string
	}{
		{"", "live", false, ""},
		{"rtmp://b", "live", false, "rtmp://b/live"},
		{"rtmp://b:1936/", "live/a", false, "rtmp://b:1936/live/a"},
		{"rtmps://b", "live", false, "rtmps://b/live"},
		{"rtmps://b", "live", true, "rtmps://b/live"},
		{"rtmp://b", "live", true, ""},
		{"rtmp://b", "/live", false, "rtmp://b/live"},
		{"rtmp://b", "//c/live", false, "rtmp://b/c/live"},
		{"rtmp://b", "live?token=x&y", false, "rtmp://b/live?token=x&y"},
		{"rtmp://b", "li ve", false, "rtmp://b/li%20ve"},
		{"rtmp://b", "live%zz", false, ""},
		{"rtmp://[::1]:1935", "live", false, "rtmp://[::1]:1935/live"},
	} {
		require.NoError(t, checkDrainURL(tt.drain))
		assert.Equal(t, rtmp.Reconnect{TcURL: tt.want, Description: drainDescription}, reconnectTo(tt.drain, tt.app, tt.secure), tt)
	}
}

// Where nothing is said of all, clients are sent to the other nodes in turn, and those that are encrypted to none that is not.
func TestReconnectToOtherNodes(t *testing.T) {
	s := &service{}
	assert.Empty(t, s.reconnect("live", false).TcURL)
	s.drain.nodes.look(nil)
	assert.Empty(t, s.reconnect("live", false).TcURL)
	s.drain.nodes.addresses.Store(&[]string{"rtmp://b", "rtmps://c", "rtmp://d"})
	var to []string
	for range 3 {
		to = append(to, s.reconnect("live", false).TcURL)
		assert.Equal(t, "rtmps://c/live", s.reconnect("live", true).TcURL)
	}
	assert.NotEqual(t, to[0], to[1])
	s.drain.nodes.addresses.Store(&[]string{"rtmp://b"})
	assert.Empty(t, s.reconnect("live", true).TcURL)
	s.drain.DrainURL = "rtmp://e"
	assert.Equal(t, "rtmp://e/live", s.reconnect("live", false).TcURL)
}

// readiness is what /readyz says.
func readiness(t *testing.T, address string) (status int, what string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	res, err := client.Get("http://" + address + "/readyz")
	require.NoError(t, err)
	defer res.Body.Close()
	var said struct{ Error, Status, Reason string }
	require.NoError(t, json.NewDecoder(res.Body).Decode(&said))
	return res.StatusCode, said.Error + said.Status
}

// nameFor returns the name that an asker asks for where name is published: to publish another one.
func nameFor(role hub.Role, name string) string {
	if role == hub.RolePublish {
		return name + "2"
	}
	return name
}

// eventTypes returns the types of events in their order, with the reasons why sessions were refused.
func eventTypes(answer map[string]any) string {
	var types strings.Builder
	for _, e := range answer["events"].([]any) {
		e := e.(map[string]any)
		fmt.Fprint(&types, e["type"], " ")
		if e["type"] == "denied" {
			fmt.Fprint(&types, e["reason"], " ")
		}
	}
	return types.String()
}

// From the signal on /readyz says no, and during the delay all are served as ever; then nobody new
// comes in over any protocol, and what runs goes on; then the end.
func TestDrainStepByStep(t *testing.T) {
	cfg, err := loadConfig([]string{
		"SLUICE_RTMP_ADDR=127.0.0.1:0", "SLUICE_HTTP_ADDR=127.0.0.1:0", "SLUICE_DRAIN_DELAY=1m",
		"SLUICE_ADMIN_ADDR=127.0.0.1:0", "SLUICE_ADMIN_TOKEN=" + adminToken,
	})
	require.NoError(t, err)
	require.NoError(t, cfg.open(newLogger(io.Discard, "text", 0)))
	svc, p := startConfigured(t, floodTimeout, io.Discard, cfg)
	var hooks []string
	svc.drain.onBegin = append(svc.drain.onBegin, func() {
		status, _ := readiness(t, p.http)
		hooks = append(hooks, fmt.Sprint("stopping, ready ", status))
	})
	operators := operator{t, svc.listeners.addr("admin")}
	info := func() []any {
		_, answer := operators.do(http.MethodGet, "/api/v1/info", "")
		return []any{answer["ready"], answer["draining"], answer["reason"]}
	}
	publisher := publishMoving(t, "rtmp://"+p.rtmp+"/live/x", nil)
	early := playMoving(t, "rtmp://"+p.rtmp+"/live/x", nil)
	until(t, "it is live", func() bool { now, _ := early.frames(); return now > 0 })
	lets := func(name string) (answers []string) {
		for _, a := range askers {
			asked := a.ask(t, p, nil, nameFor(a.role, name))
			said, err := asked.answer()
			if err != nil {
				said = "closed"
			}
			answers = append(answers, said)
			asked.Close()
		}
		return answers
	}
	assert.Equal(t, []any{true, false, ""}, info())

	assert.Equal(t, time.Minute, svc.BeginDrain())
	assert.Equal(t, time.Minute, svc.BeginDrain(), "again")
	status, what := readiness(t, p.http)
	assert.Equal(t, "503 draining", fmt.Sprint(status, " ", what))
	assert.Equal(t, []string{"stopping, ready 503"}, hooks)
	assert.Equal(t, []any{false, true, "the server is about to end: everybody is still served"}, info())
	_, events := operators.do(http.MethodGet, "/api/v1/events", "")
	waited := make(chan any, 1)
	go func() {
		_, answer := operators.do(http.MethodGet, fmt.Sprintf("/api/v1/events?after=%v&wait=30s", events["next"]), "")
		waited <- answer["events"]
	}()
	assert.Equal(t, []string{in, in, in, in, in}, lets("x"), "as ever")
	assert.NotEmpty(t, <-waited, "who waits for events does so")

	running := playMoving(t, "rtmp://"+p.rtmp+"/live/x", nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	svc.Move(ctx)
	assert.Equal(t, []string{"NetStream.Unpublish.Success", "NetStream.Play.UnpublishNotify", "503 shutting down", "503", "1001"}, lets("x"))
	_, what = readiness(t, p.http)
	assert.Equal(t, "draining", what)
	assert.Contains(t, info()[2], "nobody new comes in")
	before, _ := running.frames()
	until(t, "it goes on", func() bool { now, _ := running.frames(); return now > before+3 })

	_, events = operators.do(http.MethodGet, "/api/v1/events?limit=1000", "")
	assert.Regexp(t, `^server.started .*play .*draining .*publish .*play .*(denied shutting down )`, eventTypes(events))
	assert.NotRegexp(t, `denied.*draining|draining.*draining`, eventTypes(events))

	svc.stop()
	assert.Error(t, <-publisher.ended)
	for _, m := range []*movingPlayer{early, running} {
		assert.True(t, isClosed(<-m.ended), "it was asked to come back, and was refused")
	}
	assert.Len(t, hooks, 1)
}

// Who is asking for permission to publish is refused when nobody new comes in, whatever the policy
// says afterwards.
func TestDrainWhileAPublishIsAsked(t *testing.T) {
	cfg, err := loadConfig([]string{"SLUICE_RTMP_ADDR=127.0.0.1:0", "SLUICE_HTTP_ADDR=127.0.0.1:0"})
	require.NoError(t, err)
	require.NoError(t, cfg.open(newLogger(io.Discard, "text", 0)))
	asking, say := make(chan struct{}, len(askers)), make(chan struct{})
	cfg.authorize = func(context.Context, *hub.Session) (hub.Grant, error) {
		asking <- struct{}{}
		<-say
		return hub.Grant{}, nil
	}
	svc, p := startConfigured(t, floodTimeout, io.Discard, cfg)
	var all []*asked
	for _, a := range askers {
		all = append(all, a.ask(t, p, nil, "x"))
		<-asking
	}
	go svc.Move(t.Context())
	for i, want := range []string{"NetStream.Unpublish.Success", "NetStream.Play.UnpublishNotify", "503 shutting down", "503", "1001"} {
		said, err := all[i].answer()
		require.NoError(t, err)
		assert.Equal(t, want, said)
		all[i].Close()
	}
	close(say)
	svc.stop()
	assert.Empty(t, svc.hub.Streams())
}

// One that has announced that it can move and does not is ended when the time for that is over. It is
// asked once, however often that is begun.
func TestDrainOfOneThatNeverLeaves(t *testing.T) {
	log := newOutput()
	svc, p := startService(t, floodTimeout, log)
	c := rtmp.Client{CanReconnect: true}
	publisher, err := c.Publish(t.Context(), "rtmp://"+p.rtmp+"/live/x")
	require.NoError(t, err)
	defer publisher.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	for range 100 {
		svc.Move(ctx)
	}
	assert.ErrorIs(t, ctx.Err(), context.DeadlineExceeded, "it was waited for")
	asked := <-publisher.Reconnects()
	assert.Equal(t, rtmp.Reconnect{TcURL: "rtmp://" + p.rtmp + "/live", URL: "rtmp://" + p.rtmp + "/live/x", Description: drainDescription}, asked)
	assert.Empty(t, publisher.Reconnects())
	require.NoError(t, publisher.WriteTags(madeHeader()), "it goes on")
	svc.stop()
	for err == nil {
		err = publisher.WriteTags(madeHeader())
	}
	assert.True(t, isClosed(err), err)
	assert.Contains(t, log.String(), `msg="clients were asked to reconnect" asked=1 left=0`)
}

// Two servers: who can has moved to the second without a gap, the rest is ended properly, and all
// within the bound.
func TestDrainUnderLoad(t *testing.T) {
	second, stopSecond := start(t, "SLUICE_LOG_LEVEL=warn")
	drain := second.find(t, `(rtmp://127\.0\.0\.1:\d+)/live/NAME\n`)[1]
	first, stop := start(t, "SLUICE_DRAIN_URL="+drain, "SLUICE_DRAIN_DELAY=200ms")
	p := &process{
		rtmp: first.find(t, `rtmp://(127\.0\.0\.1:\d+)/live/NAME\n`)[1],
		http: first.find(t, `http://(127\.0\.0\.1:\d+)/ in a browser`)[1],
	}
	movers, others := 40, 10
	if os.Getenv("SLUICE_TEST_LONG") != "" {
		movers, others = 1000, 200
	}
	publisher := publishMoving(t, "rtmp://"+p.rtmp+"/live/x?k=v", nil)
	var moving []*movingPlayer
	for range movers {
		moving = append(moving, playMoving(t, "rtmp://"+p.rtmp+"/live/x", nil))
	}
	var viewers []*stayingViewer
	for _, protocol := range protocols {
		for range others {
			v, err := protocol.join(t.Context(), p, "x")
			require.NoError(t, err)
			viewers = append(viewers, stay(protocol.name, v))
		}
	}
	until(t, "all show something", func() bool {
		return !slices.ContainsFunc(moving, func(m *movingPlayer) bool { old, _ := m.frames(); return old < 10 })
	})

	began := time.Now()
	code := make(chan int, 1)
	go func() { code <- stop() }()
	assert.Equal(t, exitOK, <-code)
	took := time.Since(began)
	assert.Less(t, took, drainTimeout)
	until(t, "all show something of the second", func() bool {
		return !slices.ContainsFunc(moving, func(m *movingPlayer) bool { _, new := m.frames(); return new < 10 })
	})
	require.NoError(t, publisher.end())
	assert.Equal(t, 1, publisher.moved)
	assert.Equal(t, exitOK, stopSecond())

	var gaps, stalls []time.Duration
	last := 0 // of the first server
	for _, m := range moving {
		<-m.ended
		media, stall := m.gap(t)
		gaps, stalls = append(gaps, media), append(stalls, stall)
		assert.LessOrEqual(t, media, countedGOP*countedStep*time.Millisecond, "it goes on within a GOP")
		last = max(last, m.old[len(m.old)-1].n)
	}
	slices.Sort(gaps)
	slices.Sort(stalls)
	for _, v := range viewers {
		v.hasSeenAll(t, last)
	}
	assert.Contains(t, first.String(), fmt.Sprintf(`msg="clients were asked to reconnect" asked=%d left=%[1]d`, movers+1))
	assert.NotContains(t, first.String(), "not everybody ended in time")
	assert.NotContains(t, first.String()+second.String(), "k=v")
	t.Logf("ended after %v; media missing: median %v, most %v; without a frame: median %v, longest %v", took,
		gaps[len(gaps)/2], gaps[len(gaps)-1], stalls[len(stalls)/2], stalls[len(stalls)-1])
}

// Encrypted clients move as others do, from rtmps to rtmps, and those in clear with them; viewers that
// cannot move are ended properly over each protocol.
func TestDrainOfEncryptedClients(t *testing.T) {
	second := startSecure(t, "SLUICE_LOG_LEVEL=warn")
	first := startSecure(t, "SLUICE_DRAIN_URL=rtmps://"+second.rtmps)
	roots := x509.NewCertPool()
	for _, s := range []*secureServer{first, second} {
		text, err := os.ReadFile(s.file)
		require.NoError(t, err)
		require.True(t, roots.AppendCertsFromPEM(text))
	}
	publisher := publishMoving(t, "rtmps://"+first.rtmps+"/live/load", roots)
	var moving []*movingPlayer
	for _, url := range []string{"rtmps://" + first.rtmps, "rtmps://" + first.rtmps, "rtmp://" + first.rtmp} {
		moving = append(moving, playMoving(t, url+"/live/load", roots))
	}
	var viewers []*stayingViewer
	for name, join := range first.joins(t) {
		v, err := join(t.Context())
		require.NoError(t, err, name)
		viewers = append(viewers, stay(name, v))
	}
	showing := func(second bool) func() bool {
		return func() bool {
			return !slices.ContainsFunc(moving, func(m *movingPlayer) bool {
				old, new := m.frames()
				return old < 10 || second && new < 10
			})
		}
	}
	until(t, "all show something", showing(false))
	assert.Equal(t, exitOK, first.stop())
	until(t, "all show something of the second", showing(true))
	require.NoError(t, publisher.end())
	assert.Equal(t, 1, publisher.moved)
	assert.Equal(t, exitOK, second.stop())
	last := 0
	for _, m := range moving {
		<-m.ended
		media, _ := m.gap(t)
		assert.LessOrEqual(t, media, countedGOP*countedStep*time.Millisecond, "it goes on within a GOP")
		last = max(last, m.old[len(m.old)-1].n)
	}
	for _, v := range viewers {
		v.hasSeenAll(t, last)
	}
	assert.Contains(t, first.out.String(), "asked=4 left=4")
}

// One that came encrypted is sent to no address that is not.
func TestDrainSendsNobodyIntoTheClear(t *testing.T) {
	svc, s := startSecureService(t, nil, "SLUICE_DRAIN_URL=rtmp://b.example.com")
	for url, want := range map[string]string{
		"rtmps://" + s.rtmps: "rtmps://" + s.rtmps + "/live/x", "rtmp://" + s.rtmp: "rtmp://b.example.com/live/x2",
	} {
		c := movingClient(s.roots)
		name := "/live/x"
		if strings.HasPrefix(url, "rtmp:") {
			name = "/live/x2"
		}
		p, err := c.Publish(t.Context(), url+name)
		require.NoError(t, err)
		defer p.Close()
		defer func() { assert.Equal(t, want, (<-p.Reconnects()).URL) }()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	svc.Move(ctx)
}

// During the delay, too, the second signal ends the process at once.
func TestProcessExitsDuringTheDelay(t *testing.T) {
	cmd := command(t, "SLUICE_DRAIN_DELAY=5m")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer cmd.Process.Kill()
	page := regexp.MustCompile(`http://(\S+)/ in a browser`)
	address := ""
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if m := page.FindStringSubmatch(lines.Text()); m != nil {
			address = m[1]
		}
		if strings.HasPrefix(lines.Text(), "  Watch ") {
			require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		}
		if strings.Contains(lines.Text(), "until the delay is over") {
			_, what := readiness(t, address)
			assert.Equal(t, "draining", what)
			require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		}
		assert.NotContains(t, lines.Text(), "msg=stopped")
	}
	var exit *exec.ExitError
	require.ErrorAs(t, cmd.Wait(), &exit)
	assert.Equal(t, exitFailure, exit.ExitCode())
	assert.Equal(t, "sluice: a second signal: ended at once\n", stderr.String(), "an exit code of 1 alone would say nothing")
}
