package check

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
)

// say is a server that answers everything with one text, and then closes.
func say(t *testing.T, text string) string {
	return serveEach(t, listen(t), func(c net.Conn) {
		c.Read(make([]byte, 4096))
		io.WriteString(c, text)
		c.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, c)
	})
}

// mute is a server that takes connections and says nothing.
func mute(t *testing.T) string {
	return serveEach(t, listen(t), func(c net.Conn) { io.Copy(io.Discard, c) })
}

// Each fault at the door is named, and the sentence says where to look.
func TestFaultsOfOpening(t *testing.T) {
	t.Parallel()
	s, a := startServer(t, hub.Config{}), newAuthority(t)
	closed := listen(t)
	closed.Close()
	expired, early, other := ofLoopback(), ofLoopback(), &x509.Certificate{DNSNames: []string{"live.example", "www.example"}}
	expired.NotAfter = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	early.NotBefore = time.Now().Add(48 * time.Hour)
	noName := tls.NewListener(listen(t), &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		return nil, fmt.Errorf("none")
	}})
	stranger := newAuthority(t)
	cases := []struct{ name, url, word, says string }{
		{"nothing listens", "http://" + closed.Addr().String(), "refused-connection", "nothing listens on " + closed.Addr().String()},
		{"no such name", "http://no-such-name.invalid", "name", "look at"},
		{"port of RTMP for HTTP", "http://" + s.rtmp, "not-http", "speaks RTMP and not HTTP"},
		{"port of HTTP for RTMP", "rtmp://" + s.http, "not-rtmp", "speaks HTTP and not RTMP"},
		{"something else for RTMP", "rtmp://" + say(t, "SSH-2.0-OpenSSH_9.2\r\n"), "not-rtmp", "does not speak RTMP: look at the port"},
		{"something else for HTTP", "http://" + say(t, "SSH-2.0-OpenSSH_9.2\r\n"), "not-http", "does not speak HTTP: look at the port"},
		{"plain port of HTTP for https", "https://" + s.http, "not-tls", "speaks HTTP without TLS: use http://"},
		{"plain port of RTMP for rtmps", "rtmps://" + s.rtmp, "not-tls", "speaks RTMP without TLS: use rtmp://"},
		{"port of TLS for http", "http://" + secureFront(t, s.http, a.sign(t, ofLoopback())), "not-http", "speaks TLS and not plain HTTP: use https://"},
		{"port of TLS for rtmp", "rtmp://" + secureFront(t, s.rtmp, a.sign(t, ofLoopback())), "not-rtmp", "speaks TLS and not plain RTMP: use rtmps://"},
		{"certificate expired", "https://" + secureFront(t, s.http, a.sign(t, expired)), "certificate-expired", "has expired on 2026-03-01: renew it"},
		{"certificate expired, rtmps", "rtmps://" + secureFront(t, s.rtmp, a.sign(t, expired)), "certificate-expired", "has expired on 2026-03-01"},
		{"certificate not yet valid", "https://" + secureFront(t, s.http, a.sign(t, early)), "certificate-early", "clock of this machine"},
		{"certificate of another name", "https://" + secureFront(t, s.http, a.sign(t, other)), "certificate-name", "is for live.example, www.example, and not for 127.0.0.1"},
		{"unknown authority", "https://" + secureFront(t, s.http, stranger.sign(t, ofLoopback())), "certificate-authority", `signed by "CN=Test authority", whom this machine does not trust`},
		{"signed by itself", "https://" + secureFront(t, s.http, new(authority).sign(t, ofLoopback())), "certificate-authority", "signed by itself"},
		{"no certificate", "https://" + serveEach(t, noName, func(c net.Conn) { c.Read(make([]byte, 1)) }), "tls", "certificate for 127.0.0.1"},
		{"silent", "http://" + mute(t), "no-answer", "proxy_buffering off"},
		{"silent, rtmp", "rtmp://" + mute(t), "no-answer", "does not answer"},
		{"silent, TLS", "https://" + mute(t), "tls", "does not answer the TLS handshake"},
		{"a page", "http://" + say(t, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi"), "not-flv", "is text/html and no FLV"},
		{"something binary", "http://" + say(t, "HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\n\r\n...ftyp.............."), "not-flv", "is no FLV"},
		{"gateway", "http://" + say(t, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"), "gateway", "does not reach the server behind it"},
		{"redirect", "http://" + say(t, "HTTP/1.1 301 Moved\r\nLocation: https://live.example/x?token=S3CRET\r\nContent-Length: 0\r\n\r\n"), "redirect", "(https://live.example/x): give that address"},
		{"unauthorized", "http://" + say(t, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 5\r\n\r\nno \x1b[31m\n"), "denied-watch", "does not permit to watch (HTTP status 401"},
		{"full", "http://" + say(t, `HTTP/1.1 503 Busy`+"\r\nContent-Length: 45\r\n\r\n"+`{"error":"too many","reason":"no room at all"}`), "full", "has no room"},
		{"other status", "http://" + say(t, "HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\n\r\n"), "status", "418"},
		{"endless head", "http://" + say(t, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 2*maxHead)), "not-http", "is malformed HTTP"},
	}
	args := []string{"-skip", "ws,wss", "rtmp://" + s.rtmp}
	for _, c := range cases {
		args = append(args, c.url)
	}
	r := runTest(t, func(o *options) {
		o.authorities, o.times.open, o.times.silence, o.times.probe = a.pool(), 3*time.Second, 3*time.Second, 3*time.Second
	}, args...)
	table, js := r.texts(t)
	require.Len(t, r.Outputs, 1+len(cases))
	assert.True(t, r.Publish[0].OK && r.Outputs[0].OK, "the rest works: %s", table)
	assert.False(t, r.OK)
	assert.NotContains(t, table+js, "S3CRET")
	assert.NotContains(t, table+js, "\x1b")
	for i, c := range cases {
		f := r.Outputs[i+1].Fault
		if assert.NotNil(t, f, c.name) {
			assert.Equal(t, c.word, f.Word, "%s: %s", c.name, f.Sentence)
			assert.Contains(t, f.Sentence, c.says, c.name)
			assert.Regexp(t, "look at|use |renew it|give that", f.Sentence, "%s: it says what to do", c.name)
		}
	}
}

// A full server resets connections as soon as it has accepted them: that is no matter of the network.
func TestResetWhileConnecting(t *testing.T) {
	f := connectFault(&way{address: "a.example:1935"}, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNRESET)})
	assert.Equal(t, "closed", f.Word)
	assert.Contains(t, f.Sentence, "it may be full")
}

// What a WebSocket lacks is named.
func TestFaultsOfWebSocket(t *testing.T) {
	t.Parallel()
	s := startServer(t, hub.Config{})
	cases := []struct{ name, answer, word, says string }{
		{"not passed on", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "not-websocket", "nginx: proxy_http_version 1.1"},
		{"bad request", "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "not-websocket", "has to pass on the upgrade"},
		{"wrong key", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n", "not-websocket", "Sec-WebSocket-Key"},
		{"none there", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "not-found", "WebSocket-FLV"},
	}
	args := []string{"-skip", "http,rtmp", "rtmp://" + s.rtmp}
	for _, c := range cases {
		args = append(args, "http://"+say(t, c.answer))
	}
	r := runTest(t, nil, args...)
	for i, c := range cases {
		if f := r.Outputs[i].Fault; assert.NotNil(t, f, c.name) {
			assert.Equal(t, c.word, f.Word, c.name)
			assert.Contains(t, f.Sentence, c.says, c.name)
		}
	}
}

// Refusals of the server are told as what they are, over each protocol.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		role   hub.Role
		reason hub.Reason
		word   string
		says   string
	}{
		{hub.RolePublish, hub.ReasonDenied, "denied-publish", "look at -key, -token"},
		{hub.RolePublish, hub.ReasonBusy, "busy", "although it is a random one"},
		{hub.RoleWatch, hub.ReasonDenied, "denied-watch", "-watch-key"},
		{hub.RoleWatch, hub.ReasonNotFound, "not-found", "same server"},
		{hub.RoleWatch, hub.ReasonTooMany, "full", "bounds"},
	} {
		t.Run(c.role.String()+" "+c.reason.String(), func(t *testing.T) {
			t.Parallel()
			s := startServer(t, hub.Config{Authorize: func(_ context.Context, s *hub.Session) (hub.Grant, error) {
				if s.Role() == c.role {
					return hub.Grant{}, &hub.Refusal{Reason: c.reason, Detail: map[hub.Reason]string{hub.ReasonTooMany: "at most 3 may"}[c.reason]}
				}
				return hub.Grant{}, nil
			}})
			r := runTest(t, nil, "rtmp://"+s.rtmp, "http://"+s.http)
			rows := r.Outputs
			if c.role == hub.RolePublish {
				for _, row := range rows {
					assert.True(t, row.NotTried)
				}
				rows = r.Publish
			}
			for _, row := range rows {
				require.NotNil(t, row.Fault, row.Protocol)
				assert.Equal(t, c.word, row.Fault.Word, row.Protocol+": "+row.Fault.Sentence)
				assert.Contains(t, row.Fault.Sentence, c.says)
			}
		})
	}
}

// mangled serves the streams of a server over HTTP with other tags than they have: change is
// called with each, and what emits the tags that a viewer gets.
func mangled(t *testing.T, s *server, change func(tag flv.Tag, emit func(flv.Tag))) string {
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	return serveEach(t, listen(t), func(c net.Conn) {
		request, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		answer, err := client.Get("http://" + s.http + request.URL.Path)
		if err != nil {
			return
		}
		defer answer.Body.Close()
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\n\r\n")
		w := flv.NewWriter(c, true, true)
		r := flv.NewReader(answer.Body)
		for {
			tag, err := r.Next()
			if err != nil {
				return
			}
			change(tag, func(tag flv.Tag) { err = w.WriteTag(tag) })
			if err != nil {
				return
			}
		}
	})
}

// kindOf returns what a tag is.
func kindOf(tag flv.Tag) (kind flv.Kind, key bool) {
	p, err := tag.Packet()
	if err != nil {
		return flv.KindUnknown, false
	}
	return p.Kind, p.Key
}

// What is wrong with frames is named.
func TestFaultsOfFrames(t *testing.T) {
	t.Parallel()
	s := startServer(t, hub.Config{})
	isVideoFrame := func(tag flv.Tag) bool {
		kind, _ := kindOf(tag)
		return tag.Type == flv.TypeVideo && kind == flv.KindFrame
	}
	type change = func(tag flv.Tag, emit func(flv.Tag))
	cases := []struct {
		name string
		make func() change // for one viewer
		word string
		says string
	}{
		{"one missing", func() change {
			n := 0
			return func(tag flv.Tag, emit func(flv.Tag)) {
				if isVideoFrame(tag) {
					if n++; n == 5 {
						return
					}
				}
				emit(tag)
			}
		}, "missing", "1 frames of video before"},
		{"twice", func() change {
			n := 0
			return func(tag flv.Tag, emit func(flv.Tag)) {
				emit(tag)
				if isVideoFrame(tag) {
					if n++; n == 5 {
						emit(tag)
					}
				}
			}
		}, "twice", "came twice"},
		{"out of order", func() change {
			var held *flv.Tag
			n := 0
			return func(tag flv.Tag, emit func(flv.Tag)) {
				if isVideoFrame(tag) {
					if n++; n == 5 {
						held = &tag
						return
					}
				}
				emit(tag)
				if isVideoFrame(tag) && held != nil {
					emit(*held)
					held = nil
				}
			}
		}, "missing", "missing"},
		{"changed", func() change {
			return func(tag flv.Tag, emit func(flv.Tag)) {
				if isVideoFrame(tag) {
					tag.Data = append(bytes.Clone(tag.Data), 0)
				}
				emit(tag)
			}
		}, "changed", "is not what was sent"},
		{"other timestamps", func() change {
			return func(tag flv.Tag, emit func(flv.Tag)) {
				if tag.Type == flv.TypeVideo {
					tag.Timestamp += tag.Timestamp / 10
				}
				emit(tag)
			}
		}, "timestamps", "off from the one before"},
		{"sound moved", func() change {
			return func(tag flv.Tag, emit func(flv.Tag)) {
				if tag.Type == flv.TypeAudio {
					tag.Timestamp += 500
				}
				emit(tag)
			}
		}, "timestamps", "moved against each other by -500 ms"},
		{"no sound", func() change {
			return func(tag flv.Tag, emit func(flv.Tag)) {
				if tag.Type != flv.TypeAudio {
					emit(tag)
				}
			}
		}, "no-sound", "no sound came"},
		{"no video", func() change {
			return func(tag flv.Tag, emit func(flv.Tag)) {
				if tag.Type != flv.TypeVideo {
					emit(tag)
				}
			}
		}, "no-video", "no video came"},
		{"no key frame", func() change {
			return func(tag flv.Tag, emit func(flv.Tag)) {
				if _, key := kindOf(tag); !key {
					emit(tag)
				}
			}
		}, "no-key-frame", "although one is sent each second"},
		{"no codec header", func() change {
			return func(tag flv.Tag, emit func(flv.Tag)) {
				if kind, _ := kindOf(tag); kind != flv.KindConfig || tag.Type != flv.TypeVideo {
					emit(tag)
				}
			}
		}, "header", "without its codec header"},
		{"no codec header of the sound", func() change {
			return func(tag flv.Tag, emit func(flv.Tag)) {
				if kind, _ := kindOf(tag); kind != flv.KindConfig || tag.Type != flv.TypeAudio {
					emit(tag)
				}
			}
		}, "header", "the sound began without its codec header"},
	}
	args := []string{"-skip", "ws,rtmp", "rtmp://" + s.rtmp}
	for _, c := range cases {
		args = append(args, "http://"+mangled(t, s, c.make()))
	}
	r := runTest(t, func(o *options) { o.times.picture = 4 * time.Second }, args...)
	for i, c := range cases {
		if f := r.Outputs[i].Fault; assert.NotNil(t, f, c.name) {
			assert.Equal(t, c.word, f.Word, "%s: %s", c.name, f.Sentence)
			assert.Contains(t, f.Sentence, c.says, c.name)
		}
	}
}

// What comes late, slowly, or not to its end is named.
func TestFaultsOfTime(t *testing.T) {
	t.Parallel()
	s := startServer(t, hub.Config{})
	lump := func(size int) func(io.Writer, io.Reader) {
		return func(dst io.Writer, src io.Reader) {
			head, _ := io.ReadAll(io.LimitReader(src, 200)) // the answer's head, and some of the body
			dst.Write(head)
			for held := make([]byte, size); ; {
				if _, err := io.ReadFull(src, held); err != nil {
					return
				}
				if _, err := dst.Write(held); err != nil {
					return
				}
			}
		}
	}
	cases := []struct {
		name string
		pass func(dst io.Writer, src io.Reader)
		word string
		says string
	}{
		{"a proxy that buffers", lump(48 << 10), "late", "a proxy that buffers (nginx: proxy_buffering off)"},
		{"a proxy that holds everything back", func(dst io.Writer, src io.Reader) { io.Copy(io.Discard, src) }, "no-answer", "proxy_buffering off"},
		{"a proxy that holds the body back", func(dst io.Writer, src io.Reader) {
			r := bufio.NewReader(src)
			for {
				line, err := r.ReadString('\n')
				if io.WriteString(dst, line); err != nil || line == "\r\n" {
					break
				}
			}
			io.Copy(io.Discard, r)
		}, "no-bytes", "nothing of the stream came"},
		{"slow first picture", func(dst io.Writer, src io.Reader) {
			time.Sleep(700 * time.Millisecond)
			io.Copy(dst, src)
		}, "slow", `the stage "commands": look at whom the server asks`},
		{"ended in its midst", func(dst io.Writer, src io.Reader) { io.CopyN(dst, src, 30<<10) }, "ended", "although it was still being published"},
		{"stands still", func(dst io.Writer, src io.Reader) {
			io.CopyN(dst, src, 30<<10)
			io.Copy(io.Discard, src)
		}, "stalled", "stood still"},
	}
	args := []string{"-skip", "rtmp,ws", "rtmp://" + s.rtmp}
	for _, c := range cases {
		args = append(args, "http://"+front(t, listen(t), s.http, c.pass))
	}
	r := runTest(t, func(o *options) {
		o.times.open, o.times.silence, o.times.picture, o.times.watch = 3*time.Second, 3*time.Second, 6*time.Second, 4*time.Second
		o.times.slow, o.times.lumps = 500*time.Millisecond, 500*time.Millisecond
	}, args...)
	for i, c := range cases {
		if f := r.Outputs[i].Fault; assert.NotNil(t, f, c.name) {
			assert.Equal(t, c.word, f.Word, "%s: %s", c.name, f.Sentence)
			assert.Contains(t, f.Sentence, c.says, c.name)
		}
	}
}

// A publisher that is ended in its midst is told as that, and nothing else is blamed.
func TestPublisherIsEnded(t *testing.T) {
	t.Parallel()
	s := startServer(t, hub.Config{MaxBitrate: 20_000})
	r := runTest(t, func(o *options) { o.times.lead, o.times.watch = 20*time.Second, 20*time.Second }, "rtmp://"+s.rtmp)
	f := r.Publish[0].Fault
	require.NotNil(t, f)
	assert.Equal(t, "publish-ended", f.Word)
	assert.Contains(t, f.Sentence, "20000 bits per second")
	assert.True(t, r.Outputs[0].NotTried)
}
