package proxied

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/cmd/sluice/admission"
	"sluice/hub/fanout"
	"sluice/rtmp"
)

// serveHTTP serves handler as the gateway does, with the admission in between, and returns
// the address. What the server complains of is in the output.
func serveHTTP(t *testing.T, a *admission.Control, l net.Listener, handler http.HandlerFunc) *output {
	t.Helper()
	var log output
	srv := &http.Server{
		Handler: handler, ReadHeaderTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(log.logger().Handler(), slog.LevelDebug),
	}
	a.Guard(srv, nil)
	srv.Handler = Forwarded(proxies, srv.Handler)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(a.Listen(l, true)) }()
	t.Cleanup(func() {
		srv.Close()
		<-served
		assert.Eventually(t, func() bool { return a.Figures().Open == 0 }, 10*time.Second, time.Millisecond)
	})
	return &log
}

func newAdmission(t *testing.T, cfg admission.Config) *admission.Control {
	cfg.Trusted = proxies
	a := admission.New(cfg)
	t.Cleanup(a.Close)
	return a
}

// An admitted connection of a proxy is the client's, to all that look at its address, and
// still the raw connection to those who write.
func TestConnectionStaysRaw(t *testing.T) {
	l, _ := listenTCP(t)
	a := newAdmission(t, admission.Config{MaxPerAddress: 1})
	admitted := a.Listen(l, false)
	pool := fanout.New(fanout.Config{Workers: 1})
	defer pool.Close()

	c := dialFrom(t, proxyAddr, l.Addr())
	_, err := io.WriteString(c, v1TCP4("192.0.2.9")+"C0")
	require.NoError(t, err)
	nc, err := admitted.Accept()
	require.NoError(t, err)
	tcp, ok := nc.RemoteAddr().(*net.TCPAddr)
	require.True(t, ok, "as the RTMP gateway asks")
	assert.Equal(t, "192.0.2.9:4660", tcp.String())
	require.NoError(t, nc.(interface{ SetNoDelay(bool) error }).SetNoDelay(true))

	outlet := pool.NewOutlet(nc)
	defer outlet.Close()
	_, lent := nc.(fanout.Lender).Lend(func() {})
	assert.False(t, lent, "the outlet has the descriptor")
	_, err = outlet.Write([]byte("S0"))
	require.NoError(t, err)
	got := make([]byte, 2)
	_, err = io.ReadFull(c, got)
	require.NoError(t, err)
	assert.Equal(t, "S0", string(got))
	_, err = io.ReadFull(nc, got)
	require.NoError(t, err)
	assert.Equal(t, "C0", string(got))

	admission.MarkActive(nc)
	for _, client := range []string{"192.0.2.9", "192.0.2.10"} {
		next := dialFrom(t, proxyAddr, l.Addr())
		_, err = io.WriteString(next, v1TCP4(client))
		require.NoError(t, err)
	}
	other, err := admitted.Accept()
	require.NoError(t, err)
	assert.Equal(t, "192.0.2.10:4660", other.RemoteAddr().String(), "one of 192.0.2.9 is enough")
	assert.EqualValues(t, 1, a.Figures().TurnedByAddress)
	other.Close()
	nc.Close()
}

// A PROXY header that nothing takes off, since a stranger sent it or a proxy sent two, is
// refused by the protocols themselves, and its address is never believed.
func TestHeadersThatNobodyTakesOff(t *testing.T) {
	const spoofed = "203.0.113.77"
	headers := map[string]string{
		"v1": v1TCP4(spoofed), "v1, unknown": "PROXY UNKNOWN\r\n",
		"v2": strings.Replace(v2TCP4(0), "\xc0\x00\x02\x09", "\xcb\x00\x71\x4d", 1), "v2, local": v2(0x20, 0),
		"v2, values": v2TCP4(1500),
	}
	for name, header := range headers {
		for who, tt := range map[string]struct {
			from  net.IP
			first string
		}{
			"stranger": {strangerAddr.AsSlice(), ""},
			"twice":    {proxyAddr.AsSlice(), v1TCP4("192.0.2.9")},
		} {
			t.Run("HTTP, "+name+", "+who, func(t *testing.T) {
				l, _ := listenTCP(t)
				log := serveHTTP(t, newAdmission(t, admission.Config{}), l, func(_ http.ResponseWriter, r *http.Request) {
					t.Errorf("a request from %s", r.RemoteAddr)
				})
				c := dialFrom(t, addrOf(tt.from), l.Addr())
				_, err := io.WriteString(c, tt.first+header+"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
				require.NoError(t, err)
				refusedHTTP(t, c)
				assert.NotContains(t, log.String(), spoofed)
			})
			t.Run("RTMP, "+name+", "+who, func(t *testing.T) {
				l, _ := listenTCP(t)
				var log output
				srv := &rtmp.Server{Logger: log.logger()}
				served := make(chan error, 1)
				go func() { served <- srv.Serve(newAdmission(t, admission.Config{}).Listen(l, false)) }()
				c := dialFrom(t, addrOf(tt.from), l.Addr())
				_, err := io.WriteString(c, tt.first+header+"\x03"+strings.Repeat("\x00", 1536))
				require.NoError(t, err)
				closed(t, c)
				assert.NoError(t, srv.Close())
				<-served
				assert.NotContains(t, log.String(), spoofed)
			})
		}
	}
}

// A stranger waits for nothing: the server may speak first, and a request comes through.
func TestStrangersAreServed(t *testing.T) {
	l, _ := listenTCP(t)
	serveHTTP(t, newAdmission(t, admission.Config{}), l, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.RemoteAddr)
	})
	c := dialFrom(t, strangerAddr, l.Addr())
	assert.Equal(t, c.LocalAddr().String(), get(t, c, "X-Forwarded-For: 192.0.2.9"), "it is not believed")
}

// closed waits until the other side has closed a connection.
func closed(t *testing.T, c net.Conn) string {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(time.Minute))
	said, err := io.ReadAll(c)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	return string(said)
}

// refusedHTTP waits for the end of a connection, before which no request was answered.
func refusedHTTP(t *testing.T, c net.Conn) {
	t.Helper()
	if said := closed(t, c); said != "" { // a reset may have taken it away
		assert.Regexp(t, `^HTTP/1\.1 400 `, said)
		assert.Equal(t, 1, strings.Count(said, "HTTP/1.1"))
	}
}

// get sends a request with a line of its header, and returns the answer.
func get(t *testing.T, c net.Conn, line string) string {
	t.Helper()
	res, body := request(t, c, line)
	require.Equal(t, http.StatusOK, res.StatusCode, body)
	return body
}

func request(t *testing.T, c net.Conn, line string) (*http.Response, string) {
	t.Helper()
	_, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n"+line+"\r\n\r\n")
	require.NoError(t, err)
	c.SetReadDeadline(time.Now().Add(time.Minute))
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res, string(body)
}
