//go:build unix

package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"sluice/flv"
	"sluice/rtmp"
)

// hostile is one thing that somebody does who means no good, or has bad luck.
type hostile struct {
	name string
	do   func(*soak, context.Context, *rand.Rand) error
}

var hostiles = []hostile{
	{"viewer takes nothing", (*soak).stall},
	{"viewer reads slowly", (*soak).dawdle},
	{"viewer of a stream that never comes", (*soak).waitInVain},
	{"half a handshake", (*soak).halfOpen},
	{"noise", (*soak).noise},
	{"a capture with changed bytes", (*soak).mutate},
	{"noise behind a handshake", (*soak).noiseInside},
	{"WebSocket flood", (*soak).floodSocket},
	{"HTTP junk", (*soak).junkHTTP},
	{"a publisher without the token", (*soak).intrude},
	{"a publisher of garbage", (*soak).publishGarbage},
	{"commands without end", (*soak).floodCommands},
}

// attack is one actor: it does one hostile thing after the other. What comes of it
// is of no interest.
func (w *soak) attack(rng *rand.Rand) {
	for !w.over() {
		h := hostiles[rng.IntN(len(hostiles))]
		w.count(h.name)
		ctx, stop := context.WithCancel(w.ctx)
		h.do(w, ctx, rng)
		stop()
		w.sleep(time.Duration(rng.IntN(100)) * time.Millisecond)
	}
}

// openAny begins to watch v, over any protocol.
func (w *soak) openAny(ctx context.Context, v selection, rng *rand.Rand) (net.Conn, error) {
	switch rng.IntN(3) {
	case 0:
		conn, err := w.dial(ctx, w.httpAddr)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(conn, "GET /%s.flv%s HTTP/1.%d\r\nHost: soak\r\n\r\n", v.key, v.query, rng.IntN(2))
		return conn, nil
	case 1:
		s, err := w.dialSocket(ctx, &v)
		if err != nil {
			return nil, err
		}
		return s.Conn, nil
	default:
		app, name, _ := strings.Cut(v.key, "/")
		c, err := w.dialRaw(ctx, app, rng.IntN(2) == 0)
		if err != nil {
			return nil, err
		}
		c.command(0, "createStream", 2.0, nil)
		return c.Conn, c.command(1, "play", 0.0, nil, name+v.query, 0.0)
	}
}

func (w *soak) stall(ctx context.Context, rng *rand.Rand) error {
	conn, err := w.openAny(ctx, w.selection(rng), rng)
	if err != nil {
		return err
	}
	conn.(*net.TCPConn).SetReadBuffer(2048)
	w.sleep(time.Duration(rng.IntN(20_000)) * time.Millisecond)
	return nil
}

func (w *soak) dawdle(ctx context.Context, rng *rand.Rand) error {
	conn, err := w.openAny(ctx, w.selection(rng), rng)
	if err != nil {
		return err
	}
	conn.(*net.TCPConn).SetReadBuffer(2048)
	b := make([]byte, 1000)
	for range rng.IntN(100) {
		if _, err := conn.Read(b); err != nil {
			return err
		}
		w.sleep(soakTick)
	}
	return nil
}

func (w *soak) waitInVain(ctx context.Context, rng *rand.Rand) error {
	v := w.selection(rng)
	v.key = fmt.Sprintf("soak/nobody-%x", rng.Uint32())
	conn, err := w.openAny(ctx, v, rng)
	if err != nil {
		return err
	}
	conn.SetReadDeadline(time.Now().Add(time.Duration(rng.IntN(3000)) * time.Millisecond))
	_, err = io.Copy(io.Discard, conn)
	return err
}

// anyPort opens a connection to one of the ports.
func (w *soak) anyPort(ctx context.Context, rng *rand.Rand) (net.Conn, error) {
	return w.dial(ctx, []string{w.rtmpAddr, w.httpAddr}[rng.IntN(2)])
}

func (w *soak) halfOpen(ctx context.Context, rng *rand.Rand) error {
	conn, err := w.anyPort(ctx, rng)
	if err != nil {
		return err
	}
	begins := [][]byte{append([]byte{3}, make([]byte, rng.IntN(3200))...), []byte("GET /soak/0.fl"), {}}
	conn.Write(begins[rng.IntN(len(begins))])
	w.sleep(time.Duration(rng.IntN(2000)) * time.Millisecond)
	return nil
}

func (w *soak) noise(ctx context.Context, rng *rand.Rand) error {
	conn, err := w.anyPort(ctx, rng)
	if err != nil {
		return err
	}
	return w.throw(conn, noise(rng, rng.IntN(10_000)))
}

// throw sends bytes and reads what the answer may be, for a moment.
func (w *soak) throw(conn net.Conn, b []byte) error {
	conn.SetDeadline(time.Now().Add(500 * time.Millisecond))
	if _, err := conn.Write(b); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, conn)
	return err
}

func (w *soak) mutate(ctx context.Context, rng *rand.Rand) error {
	files, err := filepath.Glob("../../testdata/captures/*.c2s")
	if err != nil || len(files) == 0 {
		return err
	}
	b, err := os.ReadFile(files[rng.IntN(len(files))])
	if err != nil {
		return err
	}
	b = b[:min(len(b), 200_000)]
	for range 1 + rng.IntN(20) {
		b[rng.IntN(len(b))] = byte(rng.Uint32())
	}
	conn, err := w.dial(ctx, w.rtmpAddr)
	if err != nil {
		return err
	}
	return w.throw(conn, b)
}

func (w *soak) noiseInside(ctx context.Context, rng *rand.Rand) error {
	c, err := w.dialRaw(ctx, "noise", true)
	if err != nil {
		return err
	}
	for range rng.IntN(20) {
		c.send(uint8(rng.IntN(24)), uint32(rng.IntN(3)), noise(rng, rng.IntN(500)))
	}
	return w.throw(c.Conn, noise(rng, rng.IntN(10_000)))
}

func (w *soak) floodSocket(ctx context.Context, rng *rand.Rand) error {
	v := w.selection(rng)
	s, err := w.dialSocket(ctx, &v)
	if err != nil {
		return err
	}
	what := rng.IntN(5)
	for range rng.IntN(3000) {
		switch what {
		case 0:
			err = s.send(wsPing, noise(rng, 125))
		case 1:
			err = s.send(wsText, noise(rng, 100))
		case 2:
			_, err = s.Write([]byte{0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}) // of 2^63 bytes
		case 3:
			_, err = s.Write([]byte{0x89, 5, 'h', 'e', 'l', 'l', 'o'}) // not masked
		case 4:
			err = s.send(wsClose, []byte{0x03, 0xe8})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *soak) junkHTTP(ctx context.Context, rng *rand.Rand) error {
	conn, err := w.dial(ctx, w.httpAddr)
	if err != nil {
		return err
	}
	key := w.selection(rng).key
	requests := []string{
		"GET /" + key + ".flv HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 100_000) + "\r\n\r\n",
		"POST /" + key + ".flv HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nhello",
		"GET /../../" + key + "%00.flv HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /soak/%2e%2e/%0d%0aX.flv?onlyaudio=1&onlyvideo=1 HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /" + key + ".flv?back=-1&start=never HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /" + key + ".flv HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n",
		"HEAD /" + key + ".flv HTTP/1.1\r\nHost: x\r\n\r\n",
		"OPTIONS /" + key + ".flv HTTP/1.1\r\nHost: x\r\nOrigin: null\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		strings.Repeat("GET /api/v1/streams HTTP/1.1\r\nHost: x\r\n\r\n", 50),
		strings.Repeat("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 50),
	}
	return w.throw(conn, []byte(requests[rng.IntN(len(requests))]))
}

// intrude tries to publish what somebody else publishes. It may, where that one has
// gone or fallen silent.
func (w *soak) intrude(ctx context.Context, rng *rand.Rand) error {
	s := w.streams[rng.IntN(len(w.streams))]
	s.intrusion.Lock()
	defer s.intrusion.Unlock()
	p, err := new(rtmp.Client).Publish(ctx, "rtmp://"+w.rtmpAddr+"/"+s.key+"?token="+soakSecret+"guessed")
	w.countPublisher(err)
	if err != nil {
		return err
	}
	w.count("... who got in, since nobody was there")
	if present := s.current.Load(); present != nil {
		present.ended.Store(true)
	}
	return p.Close()
}

func (w *soak) publishGarbage(ctx context.Context, rng *rand.Rand) error {
	p, err := new(rtmp.Client).Publish(ctx, fmt.Sprintf("rtmp://%s/soak/garbage-%d", w.rtmpAddr, rng.IntN(3)))
	if err != nil {
		return err
	}
	defer p.Close()
	types := []flv.Type{flv.TypeAudio, flv.TypeVideo, flv.TypeVideo, flv.TypeScript}
	heads := []string{"\x17\x00\x00\x00\x00", "\x17\x01\x00\x00\x00", "\xaf\x00", "\xaf\x01", "\x90av01", "\x91hvc1", "\x96\x10", "\x97", ""}
	for range rng.IntN(300) {
		body := append([]byte(heads[rng.IntN(len(heads))]), noise(rng, rng.IntN(300))...)
		if err := p.WriteTag(flv.Tag{Type: types[rng.IntN(len(types))], Timestamp: rng.Uint32(), Data: body}); err != nil {
			return err
		}
	}
	v := selection{key: fmt.Sprintf("soak/garbage-%d", rng.IntN(3))}
	if conn, err := w.openAny(ctx, v, rng); err == nil {
		w.throw(conn, nil)
	}
	return nil
}

func (w *soak) floodCommands(ctx context.Context, rng *rand.Rand) error {
	c, err := w.dialRaw(ctx, "soak", true)
	if err != nil {
		return err
	}
	names := []string{"createStream", "FCPublish", "play", "unheardOf"}
	name := names[rng.IntN(len(names))]
	var answers sync.WaitGroup
	answers.Go(func() { io.Copy(io.Discard, c.Conn) })
	for i := range 2000 {
		if err = c.command(uint32(i%3), name, 2.0, nil, "x"); err != nil {
			break
		}
	}
	c.Close()
	answers.Wait()
	return err
}
