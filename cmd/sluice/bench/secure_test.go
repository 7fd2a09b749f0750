package bench

import (
	"crypto/tls"
	"encoding/pem"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// What is published over rtmps is watched over all encrypted protocols: by viewers that check,
// viewers that count what nobody decrypts, and viewers that come and go.
func TestEncryptedRun(t *testing.T) {
	t.Parallel()
	g := startGateway(t, hub.Config{})
	publish := g.publish(t, "1")
	publish[1] = "rtmps://" + g.rtmps + "/live/s%d?key=secret"
	asExpected := func(r *report) bool {
		return !slices.ContainsFunc(r.Watch, func(w *watchReport) bool { return !within(0.1, w.Expected, w.Mean) })
	}
	code, r := benchedAsFast(t, asExpected, publish, g.watchTLS(), quick, []string{"-viewers", "30", "-check", "6", "-churn", "20", "-stay", "100ms"})
	assert.Equal(t, exitOK, code, "%v", r.Problems)
	assert.Equal(t, 30, r.Viewers.Joined)
	assert.EqualValues(t, 30, r.Viewers.Handshakes.Count)
	require.Len(t, r.Watch, 3)
	for i, w := range r.Watch {
		assert.Equal(t, []string{"https-flv", "wss-flv", "rtmps"}[i], w.Protocol)
		assert.Equal(t, 8, w.Counting)
		assert.Positive(t, w.Findings.Frames)
		assert.Positive(t, w.Latency.Count)
	}
	c := r.Churn
	assert.Positive(t, c.Rate)
	assert.Equal(t, c.Joins, c.Handshake.Count)
	assert.LessOrEqual(t, c.Connect.P50+c.Handshake.P50, c.First.Max)
}

// writeAuthority writes the certificate of a gateway and returns the file's name.
func (g *gatewayAt) writeAuthority(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: g.encryption.Certificates[0].Certificate[0]}), 0o600))
	return name
}

// On loopback any certificate will do, unless -ca says which.
func TestCertificatesAreChecked(t *testing.T) {
	t.Parallel()
	g, other := startGateway(t, hub.Config{}), startGateway(t, hub.Config{})
	few := []string{"-viewers", "3", "-check", "3"}
	code, r := benched(t, t.Context(), g.publish(t, "1"), g.watchTLS(), quick, few, []string{"-ca", g.writeAuthority(t)})
	assert.Equal(t, exitOK, code, "%v", r.Problems)
	wrong := []string{"-ca", other.writeAuthority(t)}
	code, r = benched(t, t.Context(), g.watchTLS(), quick, few, wrong)
	assert.Equal(t, exitFailure, code)
	assert.Equal(t, 3, r.Viewers.Failed["certificate not trusted: signed by an unknown authority"], "%v", r.Viewers.Failed)
	code, r = benched(t, t.Context(), g.publish(t, "1"), g.watchTLS(), quick, few, wrong, []string{"-insecure"})
	assert.Equal(t, exitOK, code, "%v", r.Problems)

	code, r = benched(t, t.Context(), []string{"-watch", "https://" + g.http + "/a.flv", "-viewers", "1"}, quick)
	assert.Equal(t, exitFailure, code)
	assert.Equal(t, 1, r.Viewers.Failed["no TLS: first record does not look like a TLS handshake"], "%v", r.Viewers.Failed)
}

func TestLoopback(t *testing.T) {
	for host, want := range map[string]bool{"localhost": true, "127.0.0.1": true, "127.1.2.3": true, "::1": true, "10.0.0.1": false, "example.com": false, "": false} {
		assert.Equal(t, want, loopback(host), host)
		assert.Equal(t, want, new(clientTLS).config(host).InsecureSkipVerify, host)
	}
}

// Without -resume each connection is a new session; with it all but the first are resumed.
func TestSessions(t *testing.T) {
	resumed := make(chan bool, 1)
	pair, err := selfSigned()
	require.NoError(t, err)
	encryption := &tls.Config{Certificates: []tls.Certificate{pair}}
	address := listen(t, func(conn net.Conn) {
		secret := tls.Server(conn, encryption)
		io.WriteString(secret, "HTTP/1.1 200 OK\r\n\r\n")
		resumed <- secret.ConnectionState().DidResume
	})
	for _, resumes := range []bool{false, true} {
		args := []string{"-watch", "https://" + address + "/a.flv"}
		if resumes {
			args = append(args, "-resume")
		}
		o, err := parseFlags(args)
		require.NoError(t, err)
		for i := range 3 {
			v, err := opener{tls: &o.tls}.open(t.Context(), o.watch[0].target, 0)
			require.NoError(t, err)
			assert.Equal(t, resumes && i > 0, <-resumed, "%t %d", resumes, i)
			assert.Positive(t, v.took.handshake)
			v.close()
		}
	}
}

// What an encrypted viewer has to say later arrives as it would have at once, although its keys
// are gone; and what has come is counted as it is on the wire.
func TestPreparedWords(t *testing.T) {
	for name, newCounter := range counters() {
		t.Run(name, func(t *testing.T) {
			pair, err := selfSigned()
			require.NoError(t, err)
			said, ended := make(chan string), make(chan struct{})
			address := listen(t, func(conn net.Conn) {
				secret := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{pair}})
				secret.Write(make([]byte, 1000))
				got := make([]byte, 2*len(wsFLV.word(0)))
				_, err := io.ReadFull(secret, got)
				assert.NoError(t, err)
				said <- string(got)
				<-ended
			})
			v := &viewer{protocol: wsFLV}
			require.NoError(t, opener{tls: new(clientTLS)}.dial(t.Context(), v, true, "tcp", address))
			v.prepare(2)
			first, second := v.words.next(), v.words.next()
			assert.Nil(t, v.words.next())
			v.conn.Conn.Write(append(first, second...))
			assert.Equal(t, strings.Repeat(string(wsFLV.word(0)), 2), <-said)
			c := newCounter()
			require.NoError(t, c.add(v, 0, 0))
			// Tickets are among what came, or not yet.
			eventually(t, func() bool { _, n := c.status(); return n+v.conn.received.Load() > v.head+1000 }, "the bytes")
			close(ended)
			eventually(t, func() bool { alive, _ := c.status(); return alive == 0 }, "the end")
			c.close()
		})
	}
}

func TestWordsFor(t *testing.T) {
	assert.Equal(t, 16, (&options{duration: time.Second}).wordsFor())
	assert.Equal(t, 106, (&options{duration: time.Hour}).wordsFor())
	assert.Equal(t, 10_000, (&options{duration: 1 << 62}).wordsFor())
}

func TestEncryptedTargets(t *testing.T) {
	for plain, want := range map[string]string{
		"http://h/a%d.flv?x://y": "https://h/a%d.flv?x://y", "ws://h:1/a": "wss://h:1/a", "rtmp://h/a/b": "rtmps://h/a/b",
	} {
		from, err := parseTarget(plain)
		require.NoError(t, err)
		to, err := parseTarget(want)
		require.NoError(t, err)
		assert.Equal(t, to, from.encrypted(true))
		assert.Equal(t, from, to.encrypted(false))
	}
}
