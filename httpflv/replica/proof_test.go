package replica

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/hub/cluster"
)

const uri = "/replica?stream=live%2Fdemo"

// send sends a request as it stands, and returns the answer with what there is of its body.
func send(t testing.TB, address, request string) (*http.Response, string) {
	t.Helper()
	nc, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	_, err = io.WriteString(nc, request)
	require.NoError(t, err)
	answer, err := http.ReadResponse(bufio.NewReader(nc), nil)
	require.NoError(t, err)
	if answer.StatusCode == http.StatusOK {
		return answer, ""
	}
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer, string(body)
}

// signed returns the proof of a request for a stream.
func signed(now time.Time) proof {
	return newKey(secret).sign(http.MethodGet, uri, asker, boot, now, newNonce())
}

// requestFor writes a request with fields of a header.
func requestFor(method, uri string, fields ...string) string {
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: h\r\n%s\r\n", method, uri, strings.Join(append(fields, ""), "\r\n"))
}

// Who has not proved to be a node is told nothing, and any byte of a proof that is not as it should be is none.
func TestUnproven(t *testing.T) {
	l := newLog(packet(at(1), 0, "x"))
	server := NewServer(Config{Streams: l, Secret: secret, Node: boot}, nil)
	server.unprovenDelay = 0
	address := serve(t, server)
	good := signed(time.Now()).String()
	changed := func(change func(*proof)) string {
		p := signed(time.Now())
		change(&p)
		return p.String()
	}
	for name, request := range map[string]string{
		"nothing":          requestFor("GET", uri),
		"no resource":      requestFor("GET", "/"),
		"another scheme":   requestFor("GET", uri, "Authorization: Basic YTpi"),
		"an empty one":     requestFor("GET", uri, "Authorization: "+scheme),
		"two of them":      requestFor("GET", uri, "Authorization: "+good, "Authorization: "+good),
		"more behind it":   requestFor("GET", uri, "Authorization: "+good+", x=y"),
		"another method":   requestFor("POST", uri, "Authorization: "+good),
		"another stream":   requestFor("GET", uri+"2", "Authorization: "+good),
		"another spelling": requestFor("GET", "/replica?stream=live/demo", "Authorization: "+good),
		"another node":     requestFor("GET", uri, "Authorization: "+changed(func(p *proof) { p.node = boot })),
		"to another":       requestFor("GET", uri, "Authorization: "+changed(func(p *proof) { p.to = asker })),
		"another time":     requestFor("GET", uri, "Authorization: "+changed(func(p *proof) { p.time++ })),
		"another nonce":    requestFor("GET", uri, "Authorization: "+changed(func(p *proof) { p.nonce = strings.Repeat("0", 32) })),
		"a short nonce":    requestFor("GET", uri, "Authorization: "+changed(func(p *proof) { p.nonce = "00" })),
		"a long mac":       requestFor("GET", uri, "Authorization: "+changed(func(p *proof) { p.mac += "00" })),
		"an upper mac":     requestFor("GET", uri, "Authorization: "+changed(func(p *proof) { p.mac = strings.ToUpper(p.mac) })),
		"another secret":   requestFor("GET", uri, "Authorization: "+newKey("other").sign("GET", uri, asker, boot, time.Now(), newNonce()).String()),
		"an old one of it": requestFor("GET", uri, "Authorization: "+newKey("other").sign("GET", uri, asker, boot, time.Time{}.Add(1), newNonce()).String()),
	} {
		t.Run(name, func(t *testing.T) {
			answer, body := send(t, address, request)
			assert.Equal(t, http.StatusUnauthorized, answer.StatusCode)
			assert.Empty(t, answer.Header.Get(proofHeader))
			assert.Empty(t, answer.Header.Get(nodeHeader))
			for _, told := range []string{secret, boot, "clock", "demo"} {
				assert.NotContains(t, body, told)
			}
		})
	}
	answer, _ := send(t, address, requestFor("GET", uri, "Authorization: "+good))
	assert.Equal(t, http.StatusOK, answer.StatusCode, "the proof itself is good")
	answer, body := send(t, address, requestFor("GET", uri, "Authorization: "+good))
	assert.Equal(t, http.StatusUnauthorized, answer.StatusCode, "and good once")
	assert.Empty(t, answer.Header.Get(proofHeader))
	assert.Contains(t, body, "before")
}

// A node is told why it is refused, by one who shows that it is a node, too.
func TestNodesAreToldWhy(t *testing.T) {
	k := newKey(secret)
	address := serveLog(t, newLog())
	for _, c := range []struct {
		name, method, uri, to string
		clock                 time.Duration
		status                int
		words, reason         string
	}{
		{"ahead", "GET", uri, boot, 31 * time.Second, 401, wordsUnproven, "ahead of"},
		{"behind", "GET", uri, boot, -90 * time.Second, 401, wordsUnproven, "is 1m3"},
		{"a little", "GET", uri, boot, 25 * time.Second, 200, "", ""},
		{"another process", "GET", uri, asker, 0, 421, wordsOther, "another process"},
		{"POST", "POST", uri, boot, 0, 400, "bad request", "GET"},
		{"another resource", "GET", "/other?stream=live/demo", boot, 0, 400, "bad request", "GET"},
		{"no stream", "GET", "/replica", boot, 0, 400, "bad request", "stream name"},
		{"half a stream", "GET", "/replica?stream=demo", boot, 0, 400, "bad request", "stream name"},
		{"not as it is written", "GET", "/replica?stream=live//demo", boot, 0, 400, "bad request", "APP/NAME"},
		{"a bad query", "GET", "/replica?stream=live/demo;a", boot, 0, 400, "bad request", "GET"},
		{"no position", "GET", uri + "&from=1", boot, 0, 400, "bad request", "no position"},
		{"nobody", "GET", uri + "2", boot, 0, 404, "not found", "nobody"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := k.sign(c.method, c.uri, asker, c.to, time.Now().Add(c.clock), newNonce())
			answer, body := send(t, address, requestFor(c.method, c.uri, "Authorization: "+p.String()))
			require.Equal(t, c.status, answer.StatusCode, body)
			if c.status == http.StatusOK {
				return
			}
			var said refusedBody
			require.NoError(t, json.Unmarshal([]byte(body), &said))
			assert.Equal(t, c.words, said.Error)
			assert.Contains(t, said.Reason, c.reason)
			assert.Equal(t, k.answerMAC(p.nonce, boot, c.status, body), answer.Header.Get(proofHeader))
		})
	}
}

// What refuses there, the client returns here.
func TestRefusalsComeAsTheyAre(t *testing.T) {
	l := newLog()
	address := serveLog(t, l)
	opening := cluster.Opening{Address: address, Boot: boot, Key: demo}
	for reason := hub.ReasonBadRequest; reason <= hub.ReasonShuttingDown; reason++ {
		l.err = fmt.Errorf("wrapped: %w", &hub.Refusal{Reason: reason, Detail: "why \"<\u2028\xff" + strings.Repeat("é", maxDetail)})
		_, err := opener().Open(t.Context(), opening)
		refusedWith(t, err, reason, "why \"<\u2028é")
		assert.NotErrorIs(t, err, ErrUnproven)
	}
	l.err = fmt.Errorf("wrapped: %w", cluster.ErrStale)
	_, err := opener().Open(t.Context(), opening)
	assert.ErrorIs(t, err, cluster.ErrStale)
	l.err = errors.New("secret words")
	_, err = opener().Open(t.Context(), opening)
	refusedWith(t, err, hub.ReasonConnection, "cannot give")
	assert.NotContains(t, err.Error(), "words")
	l.err = context.DeadlineExceeded
	_, err = opener().Open(t.Context(), opening)
	refusedWith(t, err, hub.ReasonNotFound, "in time")

	l.err = nil
	late := opener()
	late.Now = func() time.Time { return time.Now().Add(-time.Minute) }
	_, err = late.Open(t.Context(), opening)
	refusedWith(t, err, hub.ReasonDenied, "the clock of the node that asks is 1m0")
	other := opener()
	other.Secret = ""
	_, err = other.Open(t.Context(), opening)
	refusedWith(t, err, hub.ReasonDenied, "the secrets of the two nodes differ")
	assert.ErrorIs(t, err, ErrUnproven)
	opening.Boot = asker
	_, err = opener().Open(t.Context(), opening)
	assert.ErrorIs(t, err, ErrOtherProcess)
	assert.Zero(t, l.open)
}

// Copies are bounded, and a place is free again when one has ended.
func TestTooManyCopies(t *testing.T) {
	l := newLog(packet(at(1), 0, "x"))
	address := serve(t, NewServer(Config{Streams: l, Secret: secret, Node: boot, MaxCopies: 2}, nil))
	opening := cluster.Opening{Address: address, Boot: boot, Key: demo}
	first := open(t, address, nil)
	open(t, address, nil)
	_, err := opener().Open(t.Context(), opening)
	refusedWith(t, err, hub.ReasonTooMany, "as many streams as it may")
	first.Close()
	number := uint64(1)
	eventually(t, func() bool {
		number++
		l.add(packet(at(number), 0, "what is written finds that nobody is there"))
		s, err := opener().Open(t.Context(), opening)
		if err == nil {
			s.Close()
		}
		return err == nil
	})
}

func TestNonces(t *testing.T) {
	var s nonces
	made := uint64(0)
	newNonce := func() (n nonce) {
		made++
		binary.BigEndian.PutUint64(n[:], made)
		return n
	}
	now := time.Unix(1e9, 0)
	n, n2 := newNonce(), newNonce()
	assert.Equal(t, verdictNew, s.take(n, now, now))
	assert.Equal(t, verdictSeen, s.take(n, now, now.Add(maxSkew)))
	for len(s.known) < maxNonces {
		if s.take(newNonce(), now, now) != verdictNew { // testify takes seconds for so many
			t.Fatal("it is not new")
		}
	}
	assert.Equal(t, verdictFull, s.take(newNonce(), now, now))
	assert.Equal(t, verdictSeen, s.take(n, now, now), "none is forgotten for another one")
	now = now.Add(maxSkew + 1)
	assert.Equal(t, verdictNew, s.take(newNonce(), now, now))
	assert.Equal(t, verdictNew, s.take(n, now, now), "its time has passed")
	assert.Equal(t, verdictNew, s.take(n2, now.Add(maxSkew), now))
	assert.Equal(t, verdictSeen, s.take(n2, now.Add(maxSkew), now.Add(2*maxSkew)), "one from the future is remembered for longer")
	for range maxNonces / 4 {
		now = now.Add(4 * time.Millisecond)
		if s.take(newNonce(), now, now) != verdictNew { // testify takes seconds for so many
			t.Fatal("it is not new")
		}
	}
	assert.LessOrEqual(t, len(s.known), int(2*maxSkew/(4*time.Millisecond)))
	assert.Less(t, len(s.order), maxNonces)
}

func FuzzProof(f *testing.F) {
	f.Add(signed(time.Unix(1e9, 0)).String())
	f.Add(scheme + "node=a, to=b, time=-1, nonce=, mac=")
	f.Fuzz(func(t *testing.T, text string) {
		if p, n, ok := parseProof(text); ok {
			assert.Equal(t, strings.ToLower(p.nonce), fmt.Sprintf("%x", n[:]))
			again, _, ok := parseProof(p.String())
			assert.True(t, ok)
			assert.Equal(t, p, again)
		}
	})
}
