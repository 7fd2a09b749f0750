package pull

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub/relay"
)

// stream answers with a stream of tags.
func stream(nc net.Conn, _ *http.Request) {
	body := file(tags(3))
	fmt.Fprintf(nc, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// moved answers with a redirect.
func moved(status int, location string) func(net.Conn, *http.Request) {
	return said(fmt.Sprintf("HTTP/1.1 %d Moved\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n", status, location))
}

// noting notes the requests that a function answers.
func noting(list *[]*http.Request, answer func(net.Conn, *http.Request)) func(net.Conn, *http.Request) {
	return func(nc net.Conn, r *http.Request) {
		*list = append(*list, r) // one after the other, and looked at when they are answered
		answer(nc, r)
	}
}

// trusting returns an opener that trusts all servers on loopback, as if the configuration named them.
func trusting() *Opener {
	o := opener()
	dial := o.Dial
	o.Dial = func(ctx context.Context, network, address string, trusted bool) (net.Conn, error) {
		return dial(ctx, network, address, trusted || strings.HasPrefix(address, "127.0.0.1:"))
	}
	return o
}

// Redirects are followed, with user and password to the same server only, and no query but their own.
func TestRedirect(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		var first, other []*http.Request
		elsewhere := serve(t, noting(&other, stream))
		home := serve(t,
			noting(&first, moved(status, "../b/demo.flv?x=2")),
			noting(&first, moved(status, "//"+"user:other@"+strings.TrimPrefix(elsewhere.URL, "http://")+"/c.flv#part")))
		at := at(t, strings.Replace(home.URL, "//", "//user:secret@", 1), "http", "/live/a/demo.flv?key=secret")
		s := open(t, trusting(), relay.Opening{URL: at, Path: []string{"a", "me"}, Back: 1500 * time.Millisecond})
		assert.Len(t, read(t, s, 9), 9)
		assert.Equal(t, elsewhere.Addr().String(), s.Remote())
		s.Close()
		require.Len(t, first, 2)
		require.Len(t, other, 1)
		assert.Equal(t, "/live/a/demo.flv?key=secret&back=1.5", first[0].RequestURI)
		assert.Equal(t, "/live/b/demo.flv?x=2", first[1].RequestURI)
		assert.Equal(t, "/c.flv", other[0].RequestURI)
		for _, r := range append(first, other...) {
			user, password, ok := r.BasicAuth()
			assert.Equal(t, r.Host == home.Addr().String(), ok)
			if ok {
				assert.Equal(t, "user secret", user+" "+password)
			}
			assert.Equal(t, []string{"a,me"}, r.Header.Values("Sluice-Path"))
			assert.Equal(t, "Sluice", r.UserAgent())
			assert.Empty(t, r.Header.Values("Accept-Encoding"))
			assert.Empty(t, r.Header.Values("Referer"))
		}
	}
}

// Redirects lead to nothing that the configuration does not name on this side of the Internet, to no other
// protocol, and have an end.
func TestRedirectRefused(t *testing.T) {
	var reached []*http.Request
	private := serve(t, noting(&reached, stream))
	port := strings.TrimPrefix(private.Addr().String(), "127.0.0.1:")
	for _, c := range []struct{ scheme, location, words string }{
		{"http", private.URL + "/live/demo.flv", "private address"},
		{"http", "http://localhost:" + port + "/live/demo.flv", "private address"},
		{"http", "http://[::ffff:127.0.0.1]:" + port + "/live/demo.flv", "private address"},
		{"http", "http://169.254.169.254/latest/meta-data", "private address"},
		{"http", "//10.0.0.1/live/demo.flv", "private address"},
		{"ws", "ws://localhost:" + port + "/live/demo.flv", "private address"},
		{"http", "ws://127.0.0.1:" + port + "/live/demo.flv", "another protocol"},
		{"ws", "http://127.0.0.1:" + port + "/live/demo.flv", "another protocol"},
		{"http", "rtmp://127.0.0.1:" + port + "/live/demo", "another protocol"},
		{"http", "file:///etc/passwd", "another protocol"},
		{"http", "http:///live/demo.flv", "another protocol"},
		{"http", "", "nowhere"},
		{"http", "http://%zz/", "nowhere"},
		{"http", "/live/demo.flv", "more than 3 times"},
	} {
		s := serve(t, moved(302, c.location))
		_, err := opener().Open(t.Context(), relay.Opening{URL: at(t, s.URL, c.scheme, "/live/demo.flv?secret")})
		failsWith(t, err, relay.CauseURL, c.words)
	}
	assert.Empty(t, reached)
}

// What leads back to the server of the URL needs no trust, and three redirects are followed.
func TestRedirectThreeTimes(t *testing.T) {
	s := serve(t, moved(302, "/1.flv"), moved(302, "2.flv"), moved(302, "?3"), stream)
	open(t, opener(), relay.Opening{URL: at(t, s.URL, "http", "/live/demo.flv")})
	s = serve(t, moved(302, "/1.flv"), moved(302, "2.flv"), moved(302, "?3"), moved(302, "?4"), stream)
	_, err := opener().Open(t.Context(), relay.Opening{URL: at(t, s.URL, "http", "/live/demo.flv")})
	failsWith(t, err, relay.CauseURL, "more than 3 times")
}

// What is encrypted stays so.
func TestRedirectFromTLS(t *testing.T) {
	plain := serve(t, stream)
	l := tlsListener(t)
	s := serveOn(t, l, moved(302, plain.URL+"/live/demo.flv"), moved(302, "/b.flv"), stream)
	for _, want := range []string{"not encrypted", ""} {
		source, err := trusting().Open(t.Context(), relay.Opening{URL: at(t, s.URL, "https", "/live/demo.flv")})
		if want != "" {
			failsWith(t, err, relay.CauseURL, want)
			continue
		}
		require.NoError(t, err)
		assert.Len(t, read(t, source, 9), 9)
		source.Close()
	}
}

// What is dialled is told apart by host and port, and each hop says whether it is trusted.
func TestRedirectTrust(t *testing.T) {
	var dialled []string
	o := opener()
	dial := o.Dial
	s := serve(t, moved(302, "http://Named.Example:8080/a.flv"), moved(302, "http://named.example/a.flv"),
		moved(302, "http://xn--bcher-kva.example./a.flv"), stream)
	o.Dial = func(ctx context.Context, network, address string, trusted bool) (net.Conn, error) {
		dialled = append(dialled, fmt.Sprint(address, " ", trusted))
		return dial(ctx, network, s.Addr().String(), true)
	}
	u, err := relay.ParseURL(relay.Pull, "http://BÜCHER.example./live/demo.flv")
	require.NoError(t, err)
	open(t, o, relay.Opening{URL: u})
	assert.Equal(t, []string{
		"xn--bcher-kva.example.:80 true", "named.example:8080 false", "named.example:80 false", "xn--bcher-kva.example.:80 true",
	}, dialled)
}
