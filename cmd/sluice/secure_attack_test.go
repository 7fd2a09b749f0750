//go:build unix

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"sluice/flv"
	"sluice/hub"
)

// attacker makes connections from an address of its own, until its context ends.
type attacker struct {
	context.Context
	*secureServer
	ip    net.IP
	count *atomic.Int64 // what it got done
}

// dial opens a connection, nil if it gets none.
func (a *attacker) dial() net.Conn {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: a.ip}, Timeout: patience}
	nc, err := d.DialContext(a, "tcp", a.https)
	if err != nil {
		return nil
	}
	context.AfterFunc(a, func() { nc.Close() })
	return nc
}

// secure opens a connection with TLS, nil if it gets none.
func (a *attacker) secure(protocols ...string) *tls.Conn {
	nc := a.dial()
	if nc == nil {
		return nil
	}
	conn := tls.Client(nc, &tls.Config{RootCAs: a.roots, ServerName: "127.0.0.1", NextProtos: protocols})
	if conn.HandshakeContext(a) != nil {
		nc.Close()
		return nil
	}
	return conn
}

// frames opens a connection of HTTP/2 with initial settings, and reads what comes in a goroutine.
func (a *attacker) frames(settings ...http2.Setting) (*http2.Framer, net.Conn) {
	conn := a.secure(alpnHTTP2)
	if conn == nil {
		return nil, nil
	}
	io.WriteString(conn, http2.ClientPreface)
	f := http2.NewFramer(conn, conn)
	f.WriteSettings(settings...)
	return f, conn
}

// header returns the block of a request for a path.
func (a *attacker) header(path string, more ...string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for _, field := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", a.https}, {":path", path}} {
		e.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	for i := 0; i+1 < len(more); i += 2 {
		e.WriteField(hpack.HeaderField{Name: more[i], Value: more[i+1]})
	}
	return b.Bytes()
}

// tlsAttacks each do one thing, again and again.
var tlsAttacks = map[string]func(a *attacker){
	"half-open handshakes": func(a *attacker) {
		if nc := a.dial(); nc != nil {
			nc.Write([]byte{22, 3, 1, 2, 0, 1})
		}
	},
	"dripping handshakes": func(a *attacker) {
		nc := a.dial()
		if nc == nil {
			return
		}
		go func() {
			for b := []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"); a.Err() == nil; time.Sleep(10 * time.Millisecond) {
				if _, err := nc.Write(b[:1]); err != nil {
					return
				}
				if b = b[1:]; len(b) == 0 {
					b = make([]byte, 400)
				}
			}
		}()
	},
	"whole handshakes": func(a *attacker) {
		if conn := a.secure(alpnHTTP1); conn != nil {
			conn.NetConn().Close()
		}
	},
	"renegotiation": func(a *attacker) {
		cmd := exec.CommandContext(a, "openssl", "s_client", "-bind", a.ip.String()+":0", "-connect", a.https, "-tls1_2", "-quiet", "-no_ign_eof")
		cmd.Stdin, cmd.WaitDelay = strings.NewReader("R\n"), patience
		if cmd.Run() != nil && cmd.ProcessState == nil {
			<-a.Done() // there is no openssl
		}
	},
	"PROXY within TLS": func(a *attacker) {
		if conn := a.secure(alpnHTTP1); conn != nil {
			io.WriteString(conn, "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET /live/load.flv HTTP/1.1\r\nHost: x\r\n\r\n")
			io.Copy(io.Discard, conn)
			conn.Close()
		}
	},
	"rapid reset": func(a *attacker) {
		f, conn := a.frames()
		if f == nil {
			return
		}
		defer conn.Close()
		go io.Copy(io.Discard, conn)
		for id := uint32(1); id < 20_000 && a.Err() == nil; id += 2 {
			if f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: a.header("/live/load.flv"), EndStream: true, EndHeaders: true}) != nil {
				return
			}
			if f.WriteRSTStream(id, http2.ErrCodeCancel) != nil {
				return
			}
		}
	},
	"zero windows": func(a *attacker) {
		f, conn := a.frames(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		if f == nil {
			return
		}
		go io.Copy(io.Discard, conn)
		for id := uint32(1); id < 2*maxHTTP2Streams; id += 2 {
			if f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: a.header("/live/load.flv"), EndStream: true, EndHeaders: true}) != nil {
				return
			}
		}
	},
	"endless header": func(a *attacker) {
		f, conn := a.frames()
		if f == nil {
			return
		}
		defer conn.Close()
		go io.Copy(io.Discard, conn)
		err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: a.header("/")})
		for ; err == nil && a.Err() == nil; err = f.WriteContinuation(1, false, a.header("/", "x", strings.Repeat("y", 10_000))) {
		}
	},
	"pings and settings": func(a *attacker) {
		f, conn := a.frames()
		if f == nil {
			return
		}
		defer conn.Close()
		var err error // nothing that comes is read
		for n := 0; n < 100_000 && err == nil && a.Err() == nil; n++ {
			conn.SetWriteDeadline(time.Now().Add(time.Second))
			if err = f.WritePing(false, [8]byte{}); err == nil {
				err = f.WriteSettings()
			}
		}
	},
}

// While all of that goes on, whoever watches gets every frame, in order, in the clear and encrypted;
// and who comes gets in.
func TestTLSUnderAttack(t *testing.T) {
	svc, s := startSecureService(t, nil, "SLUICE_MAX_LAG=1m", "SLUICE_PUBLISHER_GRACE=0")
	l := newLoad(8 * time.Second)
	publisher, err := from(net.IPv4(127, 0, 0, 1)).Publish(t.Context(), "rtmp://"+s.rtmp+"/live/load")
	require.NoError(t, err)
	defer publisher.Close()
	require.NoError(t, publisher.WriteTags(append(madeHeader(), l.frames[0])))
	until(t, "the stream is live", func() bool { return len(svc.hub.Streams()) == 1 })

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var attacking, watching sync.WaitGroup
	counts := make(map[string]*atomic.Int64)
	last := byte(10)
	for name, attack := range tlsAttacks {
		last++
		a := &attacker{ctx, s, net.IPv4(127, 0, 0, last), new(atomic.Int64)}
		counts[name] = a.count
		attacking.Go(func() {
			for a.Err() == nil {
				attack(a)
				a.count.Add(1)
			}
		})
	}
	watch := func(name string, join func(context.Context) (testViewer, error)) {
		watching.Go(func() {
			began := time.Now()
			v, err := join(t.Context())
			t.Logf("%s got in within %v", name, time.Since(began).Round(time.Millisecond))
			if !assert.NoError(t, err, name) {
				return
			}
			defer v.close()
			assert.NoError(t, l.check(v.next, 0), name)
		})
	}
	for name, join := range s.joins(t) {
		watch(name, join)
	}
	began := time.Now()
	for _, frame := range l.frames[1:] {
		time.Sleep(time.Until(began.Add(time.Duration(frame.Timestamp) * time.Millisecond))) // as an encoder does
		require.NoError(t, publisher.WriteTag(frame))
	}
	require.NoError(t, publisher.Close())
	watching.Wait()
	stop()
	attacking.Wait()
	for name, count := range counts {
		t.Logf("%s: %d", name, count.Load())
	}
	t.Logf("%+v", svc.handshakes[kindHTTPS]())
	assert.Zero(t, svc.connections[kindHTTP]().GivenUp)
	until(t, "nothing is left of them", func() bool {
		return svc.connections[kindHTTPS]().Open <= 1 && svc.handshakes[kindHTTPS]().Pending == 0 // of the viewer over HTTP/2
	})
}

// joins returns how to watch live/load in all ways, each with a connection of its own.
func (s *secureServer) joins(t *testing.T) map[string]func(context.Context) (testViewer, error) {
	overHTTP := func(client *http.Client, url string) func(context.Context) (testViewer, error) {
		client.Timeout = 0
		return func(ctx context.Context) (testViewer, error) {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
			if err != nil {
				return testViewer{}, err
			}
			res, err := client.Do(req)
			if err != nil {
				return testViewer{}, err
			}
			if res.StatusCode != http.StatusOK {
				res.Body.Close()
				return testViewer{}, fmt.Errorf("status %s", res.Status)
			}
			return testViewer{flv.NewReader(res.Body).Next, res.Body.Close}, nil
		}
	}
	secureRTMP := from(net.IPv4(127, 0, 0, 1))
	secureRTMP.TLS = &tls.Config{RootCAs: s.roots}
	all := map[string]func(context.Context) (testViewer, error){
		"https":  overHTTP(s.client(t, false), "https://"+s.https+"/live/load.flv"),
		"HTTP/2": overHTTP(s.client(t, true), "https://"+s.https+"/live/load.flv"),
		"wss": func(ctx context.Context) (testViewer, error) {
			return joinSocket(ctx, "wss://"+s.https+"/live/load.flv", s.client(t, false))
		},
		"rtmps": func(ctx context.Context) (testViewer, error) {
			player, err := secureRTMP.Play(ctx, "rtmps://"+s.rtmps+"/live/load")
			if err != nil {
				return testViewer{}, err
			}
			return testViewer{player.ReadTag, player.Close}, nil
		},
	}
	for _, of := range protocols {
		all[of.name] = func(ctx context.Context) (testViewer, error) { return of.join(ctx, &s.process, "load") }
	}
	return all
}

// A client that asks for another handshake within TLS is not given one, and its connection ends.
func TestRenegotiation(t *testing.T) {
	t.Parallel()
	s := startSecure(t, "SLUICE_DEMO=true")
	cmd := exec.CommandContext(t.Context(), needServer(t, "openssl", "openssl"), "s_client", "-connect", s.https, "-tls1_2", "-quiet", "-no_ign_eof")
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	require.NoError(t, cmd.Start())
	rude := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer rude.Stop()
	io.WriteString(stdin, "R\n")
	assert.Error(t, cmd.Wait(), "it ends before its input does")
	assert.Regexp(t, `(?i)renegotiat.*(.|\n)*alert`, said.String())
	begins(t, s.client(t, false), "https://"+s.https+"/live/demo.flv")
}

// A viewer that opens no window for its streams is one that takes nothing.
func TestHTTP2ZeroWindow(t *testing.T) {
	t.Parallel()
	svc, s := startSecureService(t, func(cfg *config) { cfg.Demo = true }, "SLUICE_STALL_TIMEOUT=1s")
	until(t, "the demo is live", func() bool { return len(svc.hub.Streams()) == 1 })
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	a := &attacker{Context: ctx, secureServer: s, ip: net.IPv4(127, 0, 0, 3)}
	f, conn := a.frames(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	require.NotNil(t, f)
	defer conn.Close()
	for id := range uint32(3) {
		require.NoError(t, f.WriteHeaders(http2.HeadersFrameParam{
			StreamID: 2*id + 1, BlockFragment: a.header("/live/demo.flv"), EndStream: true, EndHeaders: true}))
	}
	reset := 0
	for reset < 3 {
		frame, err := f.ReadFrame()
		require.NoError(t, err)
		if frame.Header().Type == http2.FrameRSTStream {
			reset++
		}
	}
	until(t, "all of them are stalled", func() bool { return ended(svc, hub.ReasonStalled) == 3 })
}

// The header of a request is bounded, however it comes.
func TestSecureHeaderBounds(t *testing.T) {
	s := startSecure(t)
	for _, http2 := range []bool{false, true} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+s.https+"/", nil)
		require.NoError(t, err)
		req.Header.Set("X", strings.Repeat("y", 2*maxHeaderBytes))
		res, err := s.client(t, http2).Do(req)
		if err != nil { // the client was told the bound beforehand, or is cut off
			assert.True(t, http2, err)
			continue
		}
		res.Body.Close()
		assert.Equal(t, http.StatusRequestHeaderFieldsTooLarge, res.StatusCode)
	}
}

// Requests that HTTP/1.1 cannot have are refused, and cost the connection nothing.
func TestHTTP2OddRequests(t *testing.T) {
	s := startSecure(t, "SLUICE_VIEWER_WAIT=0")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	a := &attacker{Context: ctx, secureServer: s, ip: net.IPv4(127, 0, 0, 3)}
	f, conn := a.frames()
	require.NotNil(t, f)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for i, fields := range [][]string{
		{":method", "CONNECT", ":authority", "x:443"},
		{":method", "OPTIONS", ":scheme", "https", ":authority", "x", ":path", "*"},
		{":method", "GET", ":scheme", "https", ":authority", "x", ":path", "/live/x.flv", "connection", "upgrade"},
		{":method", "GET", ":scheme", "https", ":authority", "x", ":path", "/live/x.flv", "upgrade", "websocket"},
		{":method", "GET", ":scheme", "https", ":authority", "x", ":path", ""},
		{":method", "GET", ":scheme", "https", ":path", "/live/x.flv"},
		{":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", "x", ":path", "/live/x.flv"},
		{":method", "BREW", ":scheme", "https", ":authority", "x", ":path", "/"},
	} {
		var b bytes.Buffer
		e := hpack.NewEncoder(&b)
		for n := 0; n < len(fields); n += 2 {
			e.WriteField(hpack.HeaderField{Name: fields[n], Value: fields[n+1]})
		}
		id := uint32(2*i + 1)
		require.NoError(t, f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: b.Bytes(), EndStream: true, EndHeaders: true}))
		for answered := false; !answered; {
			frame, err := f.ReadFrame()
			require.NoError(t, err, "%v", fields)
			switch frame := frame.(type) {
			case *http2.MetaHeadersFrame:
				answered = true
				assert.Regexp(t, `^4\d\d$`, frame.PseudoValue("status"), "%v", fields)
			case *http2.RSTStreamFrame:
				answered = frame.StreamID == id
			}
		}
	}
}

// A client of HTTP/2 that is gone without a word is found out by pings, though all that is sent to it
// seems to arrive.
func TestHTTP2DeadPeer(t *testing.T) {
	if os.Getenv("SLUICE_TEST_LONG") == "" {
		t.Skip("takes a minute; SLUICE_TEST_LONG=1 runs it")
	}
	svc, s := startSecureService(t, func(cfg *config) { cfg.Demo = true })
	until(t, "the demo is live", func() bool { return len(svc.hub.Streams()) == 1 })
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	a := &attacker{Context: ctx, secureServer: s, ip: net.IPv4(127, 0, 0, 3)}
	f, conn := a.frames(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
	require.NotNil(t, f)
	defer conn.Close()
	require.NoError(t, f.WriteWindowUpdate(0, 1<<30))
	require.NoError(t, f.WriteHeaders(http2.HeadersFrameParam{
		StreamID: 1, BlockFragment: a.header("/live/demo.flv"), EndStream: true, EndHeaders: true}))
	began := time.Now()
	_, err := io.Copy(io.Discard, conn) // and answers nothing
	t.Logf("%v after %v", err, time.Since(began))
	assert.GreaterOrEqual(t, time.Since(began), http2Ping+http2PingTimeout-time.Second)
	assert.Less(t, time.Since(began), http2Ping+http2PingTimeout+20*time.Second)
	until(t, "the viewer has left", func() bool { return svc.hub.Streams()[0].Viewers == 0 })
}
