//go:build unix

package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/rtmp"
)

// Clients of the tests behind proxies. The proxies are at 127.0.0.1.
var (
	behindPublisher = net.IPv4(127, 0, 0, 2)
	behindViewer    = net.IPv4(127, 0, 0, 3)
	behindWrong     = net.IPv4(127, 0, 0, 4)
	behindMistyped  = net.IPv4(127, 0, 0, 5)
	behindCurl      = net.IPv4(127, 0, 0, 6)
)

func addrOf(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

// behind is a service behind a real proxy, with what its clients hold.
type behindProxy struct {
	t         *testing.T
	svc       *runningService
	front     *front
	operator  operator
	asked     *hears
	told      *hears
	log       *syncBuffer
	publisher *rtmp.Publisher
	sent      atomic.Uint32 // frames beyond the first GOP
	others    byte          // clients that came once
}

// other returns the address of a client that was not there before.
func (b *behindProxy) other() net.IP {
	b.others++
	return net.IPv4(127, 0, 1, b.others)
}

// Behind a real nginx and a real haproxy, set up as the document says, the address of each client
// is its own: in the log, the operators' API, limits, wrong secrets, bans, events and questions.
// What clients write into X-Forwarded-For is not believed, and streams come at once and end
// properly.
func TestBehindProxies(t *testing.T) {
	for _, f := range fronts {
		t.Run(f.name, func(t *testing.T) {
			b := &behindProxy{t: t, asked: newHears(t, f.format), told: newHears(t, ""), log: new(syncBuffer)}
			var p *process
			b.svc, p = permitted(t, b.log,
				"SLUICE_TRUSTED_PROXIES=127.0.0.1", "SLUICE_PROXY_PROTOCOL="+f.protocol,
				"SLUICE_ADMIN_ADDR=127.0.0.1:0", "SLUICE_ADMIN_TOKEN="+adminToken,
				"SLUICE_PUBLISH_AUTH=url", "SLUICE_WATCH_AUTH=url", "SLUICE_AUTH_URL="+b.asked.URL, "SLUICE_AUTH_FORMAT="+f.format,
				"SLUICE_EVENT_URL="+b.told.URL, "SLUICE_AUTH_FAILURES=3/1m", "SLUICE_MAX_CONNECTIONS_PER_ADDRESS=4")
			b.operator = operator{t, b.svc.listeners.addr("admin")}
			b.front = f.start(t, p)
			if f.checks {
				b.checked()
			}
			b.publish()
			b.withoutGoroutines()
			b.watched()
			b.limited()
			b.wrongSecrets()
			b.banned()
			b.ends()
			b.svc.stop()
			b.logged()
		})
	}
}

// checked waits for checks of health, of which nothing is seen.
func (b *behindProxy) checked() {
	before := b.svc.admission.Figures().Admitted
	until(b.t, "health is checked", func() bool { return b.svc.admission.Figures().Admitted >= before+20 })
	assert.Empty(b.t, b.lines(), "what is logged")
	f := b.svc.admission.Figures()
	assert.Zero(b.t, f.TurnedByAddress+f.TurnedFull+f.GivenUp, "all checks come from one address")
}

// lines returns what is logged above the debug level, but for what is missing in this build.
func (b *behindProxy) lines() (all []string) {
	for line := range bytes.Lines(b.log.bytes()) {
		if !bytes.Contains(line, []byte("level=DEBUG")) && !bytes.Contains(line, []byte("browser player is not in this build")) {
			all = append(all, string(line))
		}
	}
	return all
}

// join has a client watch over one protocol, and requires an answer.
func (b *behindProxy) join(a asker, ip net.IP, want string) *asked {
	b.t.Helper()
	client := a.ask(b.t, &b.front.process, ip, "cam?key="+watchKey)
	b.t.Cleanup(func() { client.Close() })
	client.SetDeadline(time.Now().Add(patience))
	answer, err := client.answer()
	require.NoError(b.t, err, a.protocol)
	require.Contains(b.t, answer, want, a.protocol)
	if want == in && !strings.Contains(a.protocol, "HEAD") {
		tag, err := client.next()
		require.NoError(b.t, err, a.protocol)
		assert.NotEmpty(b.t, tag.Data)
	}
	return client
}

// flowing has the publisher send one small frame, which has to reach each client although hardly
// anything follows it.
func (b *behindProxy) flowing(clients ...*asked) {
	b.t.Helper()
	marker := fmt.Sprintf("marker %d", time.Now().UnixNano())
	require.NoError(b.t, b.send(marker))
	for _, c := range clients {
		for {
			tag, err := c.next()
			require.NoError(b.t, err)
			if bytes.Contains(tag.Data, []byte(marker)) {
				break
			}
		}
	}
}

// withoutGoroutines lets many watch, to whom nothing but the pumps writes, straight to the
// descriptors of their connections.
func (b *behindProxy) withoutGoroutines() {
	const viewers = 30
	before := runtime.NumGoroutine()
	var clients []*asked
	for i := range viewers {
		clients = append(clients, b.join([]asker{askers[1], askers[2], askers[4]}[i%3], b.other(), in))
	}
	b.flowing(clients...)
	until(b.t, "viewers have no goroutines", func() bool { return runtime.NumGoroutine() < before+viewers/3 })
	b.flowing(clients...)
	for _, c := range clients {
		c.Close()
	}
	until(b.t, "they have left", func() bool {
		b.flowing() // what is written shows that they are not there
		return len(b.svc.hub.Sessions()) == 1
	})
}

// watched has a client watch over each protocol, one more time with an address of somebody else
// in X-Forwarded-For, which is as many connections as it may have.
func (b *behindProxy) watched() {
	t := b.t
	b.join(askers[3], behindViewer, in).Close()
	clients := []*asked{b.join(askers[1], behindViewer, in), b.join(askers[2], behindViewer, in), b.join(askers[4], behindViewer, in)}
	spoofed := dialFrom(t, behindViewer, b.front.http)
	fmt.Fprintf(spoofed, "GET /live/cam.flv?key=%s HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.77\r\nX-Forwarded-For: %s, 127.0.0.1\r\n"+
		"X-Forwarded-Proto: https\r\nForwarded: for=203.0.113.77\r\nX-Real-IP: 203.0.113.77\r\n\r\n", watchKey, b.other())
	res, err := http.ReadResponse(bufio.NewReader(spoofed), nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, res.StatusCode)
	_, err = io.ReadFull(res.Body, make([]byte, 5000))
	require.NoError(t, err)
	b.flowing(clients...)

	_, answer := b.operator.do(http.MethodGet, "/api/v1/sessions", "")
	protocols := map[any]int{}
	for _, s := range answer["sessions"].([]any) {
		session := s.(map[string]any)
		want := behindViewer
		if session["role"] == "publish" {
			want = behindPublisher
		}
		assert.Equal(t, want.String(), session["address"], session)
		assert.Equal(t, false, session["secure"], session)
		protocols[session["protocol"]]++
	}
	assert.Equal(t, map[any]int{"rtmp": 2, "http-flv": 2, "ws-flv": 1}, protocols)
	_, answer = b.operator.do(http.MethodGet, "/api/v1/sessions?address="+behindViewer.String(), "")
	assert.Len(t, answer["sessions"], 4)
	for _, unknown := range []string{"127.0.0.1", "203.0.113.77"} {
		_, answer = b.operator.do(http.MethodGet, "/api/v1/sessions?address="+unknown, "")
		assert.Empty(t, answer["sessions"], unknown)
	}
	for what, address := range map[string]netip.Addr{"publish": addrOf(behindPublisher), "play": addrOf(behindViewer)} {
		want := map[string]int{"publish": 1, "play": 4}[what]
		until(t, "the events are told", func() bool { return b.told.of(what)[address] == want })
		assert.Positive(t, b.asked.of(what)[address], what)
		assert.NotContains(t, b.asked.of(what), netip.MustParseAddr("127.0.0.1"))
		assert.NotContains(t, b.told.of(what), netip.MustParseAddr("127.0.0.1"))
		assert.NotContains(t, b.asked.of(what), netip.MustParseAddr("203.0.113.77"))
	}
}

// limited has a client that has all the connections it may have ask for one more, and another
// for some of its own.
func (b *behindProxy) limited() {
	t := b.t
	turned := b.svc.admission.Figures().TurnedByAddress
	for _, addr := range []string{b.front.http, b.front.rtmp} {
		c := dialFrom(t, behindViewer, addr)
		c.SetDeadline(time.Now().Add(patience))
		if addr == b.front.http {
			fmt.Fprintf(c, "GET /live/cam.flv?key=%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", watchKey)
		}
		answer, err := io.ReadAll(io.LimitReader(c, 1000))
		assert.NotErrorIs(t, err, os.ErrDeadlineExceeded)
		assert.NotContains(t, string(answer), "200 OK")
		c.Close()
	}
	assert.Equal(t, turned+2, b.svc.admission.Figures().TurnedByAddress)
	for _, a := range askers[1:] {
		b.join(a, b.other(), in).Close()
	}
}

// wrongSecrets has a client guess, until nothing is asked about it; others go on.
func (b *behindProxy) wrongSecrets() {
	t := b.t
	guess := func(ip net.IP, a asker, name, want string) {
		c := a.ask(t, &b.front.process, ip, name)
		defer c.Close()
		answer, err := c.answer()
		require.NoError(t, err)
		assert.Contains(t, answer, want, a.protocol)
	}
	for range 3 {
		guess(behindWrong, askers[2], "cam?key=guessed", askers[2].denied)
	}
	assert.Equal(t, 3, b.asked.of("play")[addrOf(behindWrong)])
	for _, a := range askers[1:] {
		guess(behindWrong, a, "cam?key="+watchKey, a.tooMany)
		b.join(a, b.other(), in).Close()
	}
	guess(behindWrong, askers[0], "other?key="+publishKey, askers[0].tooMany)
	guess(behindMistyped, askers[0], "other?key=guessed", askers[0].denied)
	assert.Equal(t, 3, b.asked.of("play")[addrOf(behindWrong)], "it is asked no more")
	assert.Empty(t, b.asked.of("publish")[addrOf(behindWrong)])
	for _, ip := range []net.IP{behindWrong, behindMistyped} {
		until(t, "the denial is told", func() bool { return b.told.of("denied")[addrOf(ip)] > 0 })
	}
}

// banned has an operator end and ban a client.
func (b *behindProxy) banned() {
	t := b.t
	_, answer := b.operator.do(http.MethodGet, "/api/v1/sessions?address="+behindViewer.String(), "")
	for _, s := range answer["sessions"].([]any) {
		status, said := b.operator.do(http.MethodDelete, fmt.Sprintf("/api/v1/sessions/%v", s.(map[string]any)["id"]), "")
		require.Equal(t, http.StatusOK, status, said)
	}
	until(t, "it is told", func() bool {
		return b.told.of("kicked")[addrOf(behindViewer)] == 4 && b.told.of("stop")[addrOf(behindViewer)] == 4
	})
	_, answer = b.operator.do(http.MethodGet, "/api/v1/bans", "")
	for _, ban := range answer["bans"].([]any) {
		assert.Equal(t, behindViewer.String(), ban.(map[string]any)["address"])
		status, _ := b.operator.do(http.MethodDelete, fmt.Sprintf("/api/v1/bans/%v", ban.(map[string]any)["id"]), "")
		require.Less(t, status, 300)
	}
	b.join(askers[2], behindViewer, in).Close()
	status, said := b.operator.do(http.MethodPost, "/api/v1/bans", fmt.Sprintf(`{"address":%q,"reason":"spam"}`, behindViewer))
	require.Less(t, status, 300, said)
	for _, a := range askers[1:] {
		b.join(a, behindViewer, a.denied).Close()
		b.join(a, b.other(), in).Close()
	}
}

// ends has the stream end for those who watch, curl among them.
func (b *behindProxy) ends() {
	t := b.t
	rtmpViewer, httpViewer, socketViewer := b.join(askers[1], b.other(), in), b.join(askers[2], b.other(), in), b.join(askers[4], b.other(), in)
	urls := []string{"http://" + b.front.http, "http://" + b.front.http}
	if b.front.https != "" {
		urls[1] = "https://" + b.front.https
	}
	var curls []*exec.Cmd
	for i, url := range urls {
		out := filepath.Join(t.TempDir(), "curl.flv")
		cmd := realProgram(t, "curl", "-k", "-fsS", "--noproxy", "*", "--interface", behindCurl.String(), "-o", out,
			fmt.Sprintf("%s/live/cam.flv?chunked=%d&key=%s", url, i, watchKey))
		said := new(syncBuffer)
		cmd.Stdout, cmd.Stderr = said, said
		require.NoError(t, cmd.Start())
		curls = append(curls, cmd)
		until(t, "curl gets the stream", func() bool {
			info, err := os.Stat(out)
			return err == nil && info.Size() > 1000
		})
	}
	_, answer := b.operator.do(http.MethodGet, "/api/v1/sessions?address="+behindCurl.String(), "")
	require.Len(t, answer["sessions"], 2)
	if b.front.https != "" {
		assert.Equal(t, true, answer["sessions"].([]any)[1].(map[string]any)["secure"], "X-Forwarded-Proto")
		b.head()
	}
	require.NoError(t, b.publisher.Close())
	for _, c := range curls {
		assert.NoError(t, c.Wait(), "%s: %s", c, c.Stderr)
	}
	for _, c := range []*asked{httpViewer, socketViewer} {
		_, err := c.next()
		for err == nil {
			_, err = c.next()
		}
		assert.Equal(t, io.EOF, err, "a proper end")
	}
	for code := ""; code != "NetStream.Play.UnpublishNotify"; {
		m, err := rtmpViewer.rtmp.next()
		require.NoError(t, err)
		code = m.code()
	}
	until(t, "the end is told", func() bool { return b.told.of("unpublish")[addrOf(behindPublisher)] == 1 })
}

// head asks for the head of a stream over TLS.
func (b *behindProxy) head() {
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
		DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: b.other()}}).DialContext,
	}
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodHead, "https://"+b.front.https+"/live/cam.flv?key="+watchKey, nil)
	require.NoError(b.t, err)
	res, err := transport.RoundTrip(r)
	require.NoError(b.t, err)
	res.Body.Close()
	assert.Equal(b.t, http.StatusOK, res.StatusCode)
	assert.Equal(b.t, "video/x-flv", res.Header.Get("Content-Type"))
}

// logged judges the log when all is over.
func (b *behindProxy) logged() {
	remotes := map[string]bool{}
	for _, line := range b.lines() {
		if !strings.Contains(line, "level=INFO") {
			assert.Regexp(b.t, `too many wrong secrets.* address=127\.0\.0\.4\b|turned_away_by_address=[12] `, line)
		}
		if found := regexp.MustCompile(`remote=([^ :]+)`).FindStringSubmatch(line); found != nil {
			remotes[found[1]] = true
		}
	}
	for _, ip := range []net.IP{behindPublisher, behindViewer, net.IPv4(127, 0, 1, 1), behindWrong, behindCurl, behindMistyped} {
		assert.Contains(b.t, remotes, ip.String())
	}
	assert.NotContains(b.t, remotes, "127.0.0.1")
	assert.NotContains(b.t, remotes, "203.0.113.77")
	noSecrets(b.t, "the log", b.log.bytes())
}
