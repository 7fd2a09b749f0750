package pull

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/relay"
)

// Statuses have causes; the words of servers are not repeated.
func TestStatus(t *testing.T) {
	shutting := `{"error":"shutting down","reason":"the server is shutting down"}`
	for _, c := range []struct {
		answer string
		cause  relay.Cause
		words  string
	}{
		{"404 secret", relay.CauseNotFound, "HTTP status 404"},
		{"410 Gone", relay.CauseNotFound, "HTTP status 410"},
		{"401 Unauthorized", relay.CauseDenied, "HTTP status 401"},
		{"403 Forbidden", relay.CauseDenied, "HTTP status 403"},
		{"407 Proxy", relay.CauseDenied, "HTTP status 407"},
		{"400 Bad Request", relay.CauseDenied, "HTTP status 400"},
		{"408 Timeout", relay.CauseConnection, "HTTP status 408"},
		{"409 Conflict", relay.CauseBusy, "HTTP status 409"},
		{"429 Too Many", relay.CauseBusy, "HTTP status 429"},
		{"500 Error", relay.CauseConnection, "HTTP status 500"},
		{"502 Bad Gateway", relay.CauseConnection, "HTTP status 502"},
		{"503 Unavailable", relay.CauseBusy, "HTTP status 503"},
		{"503 Unavailable\r\nSluice-Node: n\r\nContent-Length: 5\r\n\r\n{\"err", relay.CauseBusy, "HTTP status 503"},
		{fmt.Sprintf("503 Unavailable\r\nSluice-Node: n\r\nContent-Length: %d\r\n\r\n%s", len(shutting), shutting),
			relay.CauseConnection, "shutting down"},
		{fmt.Sprintf("503 Unavailable\r\nContent-Length: %d\r\n\r\n%s", len(shutting), shutting), relay.CauseBusy, "HTTP status 503"},
		{"508 Loop Detected", relay.CauseLoop, "HTTP status 508"},
		{"204 No Content", relay.CauseMedia, "HTTP status 204"},
		{"206 Partial Content", relay.CauseMedia, "HTTP status 206"},
		{"300 Multiple", relay.CauseMedia, "HTTP status 300"},
		{"304 Not Modified", relay.CauseMedia, "HTTP status 304"},
	} {
		for _, scheme := range []string{"http", "ws"} {
			if scheme == "ws" && c.cause == relay.CauseMedia && c.answer[0] == '2' {
				c.words = "WebSocket"
			}
			s := serve(t, said("HTTP/1.1 "+c.answer+"\r\n\r\n"))
			_, err := opener().Open(t.Context(), relay.Opening{URL: at(t, s.URL, scheme, "/live/demo.flv?secret")})
			failsWith(t, err, c.cause, c.words)
		}
	}
}

// Who has no stream may have it the next time.
func TestNotFoundThenThere(t *testing.T) {
	s := serve(t, said("HTTP/1.1 404 Not Found\r\n\r\n"), stream)
	opening := relay.Opening{URL: at(t, s.URL, "http", "/live/demo.flv")}
	_, err := opener().Open(t.Context(), opening)
	failsWith(t, err, relay.CauseNotFound, "404")
	assert.Len(t, read(t, open(t, opener(), opening), 9), 9)
}

// chunk returns a chunk of a body.
func chunk(text string) string { return fmt.Sprintf("%x;ext=1\r\n%s\r\n", len(text), text) }

// Bodies of all kinds come to their ends: proper ones, and others.
func TestBody(t *testing.T) {
	const ok, chunked = "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	whole := file(tags(3))
	sized := func(n int) string { return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", n) }
	const cut = "broke off"
	for _, c := range []struct {
		name, answer string
		tags         int
		cause        relay.Cause
		words        string // none: the stream is over
	}{
		{"in chunks", chunked + chunk(whole[:20]) + chunk(whole[20:]) + "0\r\n\r\n", 9, 0, ""},
		{"in chunks, and trailers", chunked + chunk(whole) + "0\r\nX: y\r\n\r\n", 9, 0, ""},
		{"in chunks, in upper case", chunked + fmt.Sprintf("00%X \n%s\n000\n\n", len(whole), whole), 9, 0, ""},
		{"in chunks, cut after one", chunked + chunk(whole), 9, relay.CauseConnection, cut},
		{"in chunks, cut in one", chunked + chunk(whole)[:len(whole)-3], 8, relay.CauseConnection, cut},
		{"in chunks, cut before the line's end", chunked + strings.TrimSuffix(chunk(whole), "\r\n"), 9, relay.CauseConnection, cut},
		{"in chunks, cut in a size", chunked + chunk(whole) + "5", 9, relay.CauseConnection, cut},
		{"in chunks, over in a tag", chunked + chunk(whole[:len(whole)-1]) + "0\r\n\r\n", 8, relay.CauseConnection, cut},
		{"in chunks without a size", chunked + chunk(whole) + "\r\n", 9, relay.CauseMedia, "malformed"},
		{"in chunks of a strange size", chunked + chunk(whole) + "-1\r\n", 9, relay.CauseMedia, "malformed"},
		{"in chunks of a large size", chunked + chunk(whole) + "8000000000000000\r\n", 9, relay.CauseMedia, "malformed"},
		{"in chunks that are longer", chunked + strings.TrimSuffix(chunk(whole), "\r\n") + "xx\r\n", 9, relay.CauseMedia, "malformed"},
		{"in chunks with a long line", chunked + chunk(whole) + "1;" + strings.Repeat("x", 5000) + "\r\n", 9, relay.CauseMedia, "malformed"},
		{"of a size", sized(len(whole)) + whole, 9, 0, ""},
		{"of a size, and more", sized(len(whole)) + whole + "more", 9, 0, ""},
		{"of a size, cut", sized(len(whole)+1) + whole, 9, relay.CauseConnection, cut},
		{"to the end", ok + whole, 9, relay.CauseConnection, cut},
		{"to the end, cut in a tag", ok + whole[:len(whole)-1], 8, relay.CauseConnection, cut},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\n" + whole, 9, relay.CauseConnection, cut},
		{"after interim answers", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + sized(len(whole)) + whole, 9, 0, ""},
		{"empty", sized(0), 0, 0, ""},
		{"empty, in chunks", chunked + "0\r\n\r\n", 0, 0, ""},
		{"empty, to the end", ok, 0, relay.CauseConnection, cut},
		{"a page", ok + "<html><body>secret</body></html>", 0, relay.CauseMedia, "not FLV"},
		{"packed", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", 0, relay.CauseMedia, "not FLV"},
		{"another version", ok + "FLV\x02" + whole[4:], 0, relay.CauseMedia, "not FLV"},
		{"an unknown tag", ok + whole + "\x55\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00x\x00\x00\x00\x00", 9, relay.CauseMedia, "not FLV"},
		{"a large tag, cut", ok + whole + "\x09\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00x", 9, relay.CauseConnection, cut},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, said(c.answer))
			source, err := opener().Open(t.Context(), relay.Opening{URL: at(t, s.URL, "http", "/live/demo.flv")})
			require.NoError(t, err)
			defer source.Close()
			assert.Equal(t, tags(3)[:c.tags], append([]flv.Tag{}, read(t, source, c.tags)...))
			if err = readEnd(source); c.words == "" {
				assert.Equal(t, io.EOF, err)
			} else {
				failsWith(t, err, c.cause, c.words)
			}
			assert.Equal(t, err, readEnd(source), "it stays")
			_, _, known := source.(interface {
				Tracks() (audio, video, known bool)
			}).Tracks()
			assert.False(t, known, "other servers announce what there is not")
		})
	}
}

// Heads that are none, or have no end, end in an error.
func TestHead(t *testing.T) {
	for _, c := range []struct {
		name, answer string
		cause        relay.Cause
		words        string
	}{
		{"garbage", "\x00\x01\x02\x03\r\n\r\n", relay.CauseMedia, "not HTTP"},
		{"a long line", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", maxHead), relay.CauseMedia, "too long"},
		{"many lines", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", maxHead/6), relay.CauseMedia, "too long"},
		{"interim answers", strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 10), relay.CauseMedia, "not HTTP"},
		{"cut", "HTTP/1.1 200 OK\r\nX: y", relay.CauseConnection, "broke off"},
		{"nothing", "", relay.CauseConnection, ""}, // it may be reset
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", relay.CauseMedia, "not HTTP"},
		{"another coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", relay.CauseMedia, "not HTTP"},
	} {
		s := serve(t, said(c.answer))
		_, err := opener().Open(t.Context(), relay.Opening{URL: at(t, s.URL, "http", "/live/demo.flv")})
		failsWith(t, err, c.cause, c.words)
	}
}

// A node's id that is none is not taken for one.
func TestNodeID(t *testing.T) {
	for id, want := range map[string]string{"abc": "abc", "a b": "", strings.Repeat("x", 33): "", "a,b": ""} {
		s := serve(t, said("HTTP/1.1 200 OK\r\nSluice-Node: "+id+"\r\n\r\n"))
		assert.Equal(t, want, open(t, opener(), relay.Opening{URL: at(t, s.URL, "http", "/live/demo.flv")}).Node())
		assert.Equal(t, want != "", hub.IsNodeID(id))
	}
}

// What is asked for is what the URL says, and no more.
func TestRequest(t *testing.T) {
	got := make(chan *http.Request, 1)
	s := serve(t, func(nc net.Conn, r *http.Request) {
		got <- r
		io.WriteString(nc, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for _, b := range chunk(file(tags(1))[:13]) {
			nc.Write([]byte{byte(b)})
		}
	})
	o := opener()
	x := open(t, o, relay.Opening{URL: at(t, strings.Replace(s.URL, "//", "//u%20ser:p%3Aw@", 1), "http", "/live/d%20e%2Fmo.flv?a=b c&d=%26")})
	_, err := x.ReadTag()
	failsWith(t, err, relay.CauseConnection, "broke off")
	r := <-got
	assert.Equal(t, "/live/d%20e%2Fmo.flv?a=b%20c&d=%26", r.RequestURI)
	assert.Equal(t, s.Addr().String(), r.Host)
	user, password, _ := r.BasicAuth()
	assert.Equal(t, "u ser p:w", user+" "+password)
	assert.Equal(t, http.Header{
		"User-Agent": {"Sluice"}, "Accept": {"*/*"}, "Connection": {"close"}, "Authorization": r.Header["Authorization"],
	}, r.Header)
}
