package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
)

// liar is an upstream over HTTP that does as a script says with each connection.
type liar struct {
	address string
	dials   atomic.Int32
}

// lie is a connection to a liar whose request has been read.
type lie struct {
	net.Conn
	n    int // which one it is, from 1
	path string
	over <-chan struct{} // closed with the test
}

func newLiar(t *testing.T, script func(c *lie)) *liar {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &liar{address: l.Addr().String()}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			n := int(s.dials.Add(1))
			stop := context.AfterFunc(ctx, func() { nc.Close() })
			running.Go(func() {
				defer nc.Close()
				defer stop()
				r, err := http.ReadRequest(bufio.NewReader(nc))
				if err == nil {
					script(&lie{nc, n, r.Header.Get("Sluice-Path"), ctx.Done()})
				}
			})
		}
	})
	t.Cleanup(func() {
		cancel()
		l.Close()
		running.Wait()
	})
	return s
}

// answer says that the stream is there, and begins it.
func (c *lie) answer() {
	fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\n\r\n")
	c.Write(flv.AppendHeader(nil, true, true))
}

// send sends tags, and reports false when nobody takes them.
func (c *lie) send(tags ...flv.Tag) bool {
	var b []byte
	for _, t := range tags {
		b = flv.AppendTag(b, t)
	}
	_, err := c.Write(b)
	return err == nil
}

// wait waits, and reports false at the end of the test.
func (c *lie) wait(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-c.over:
		return false
	}
}

// liedStream makes the frames of a stream of one GOP for 25 of them.
type liedStream struct {
	mark byte
	n    int
	at   uint32 // ms
}

// lieStep is what frames of a liedStream are apart.
const lieStep = 5 * time.Millisecond

func (s *liedStream) headers() []flv.Tag {
	avcC := []byte{
		1, 0x42, 0xc0, 0x0d, 0xff, 0xe1, 0, 0x15, 0x67, 0x42, 0xc0, 0x0d, 0xd9, 0x01, 0x41, 0x9f, 0xe0, 0x10, 0, 0, 3, 0,
		0x10, 0, 0, 3, 3, 0x20, 0xf1, 0x42, 0xa4, 1, 0, 4, 0x68, 0xcb, 0x83, 0xcb,
	}
	return []flv.Tag{
		{Type: flv.TypeVideo, Timestamp: s.at, Data: append([]byte{0x17, 0, 0, 0, 0}, avcC...)},
		{Type: flv.TypeAudio, Timestamp: s.at, Data: []byte{0xaf, 0, 0x12, 0x10}},
	}
}

func (s *liedStream) next() []flv.Tag {
	head := byte(0x27)
	if s.n%25 == 0 {
		head = 0x17
	}
	s.n++
	body := fmt.Appendf(nil, "%c frame %d of the picture", s.mark, s.n)
	at := s.at
	s.at += uint32(lieStep / time.Millisecond)
	return []flv.Tag{
		{Type: flv.TypeVideo, Timestamp: at, Data: append([]byte{head, 1, 0, 0, 0, 0, 0, 0, byte(len(body))}, body...)},
		{Type: flv.TypeAudio, Timestamp: at, Data: append([]byte{0xaf, 1}, fmt.Sprintf("%c sound %d", s.mark, s.n)...)},
	}
}

// play sends so many frames at their pace; 0 until nobody takes them.
func (c *lie) play(s *liedStream, frames int) bool {
	for i := 0; frames == 0 || i < frames; i++ {
		if !c.send(s.next()...) || !c.wait(lieStep) {
			return false
		}
	}
	return true
}

// lied is a viewer, who must see times that go forward only.
type lied struct {
	frames atomic.Int64
	ended  chan struct{}
	cancel context.CancelFunc
}

func watchLies(t *testing.T, address, path string) *lied {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	v := &lied{ended: make(chan struct{}), cancel: cancel}
	r, err := http.NewRequestWithContext(ctx, "GET", "http://"+address+path, nil)
	require.NoError(t, err)
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	require.NoError(t, err)
	require.Equal(t, 200, resp.StatusCode)
	go func() {
		defer close(v.ended)
		defer resp.Body.Close()
		in := flv.NewReader(resp.Body)
		var last uint32
		for {
			tag, err := in.Next()
			if err != nil {
				return
			}
			p, err := tag.Packet()
			if err != nil || p.Kind != flv.KindFrame || tag.Type != flv.TypeVideo {
				continue
			}
			assert.GreaterOrEqual(t, tag.Timestamp, last, "time goes back")
			last = tag.Timestamp
			v.frames.Add(1)
		}
	}()
	t.Cleanup(v.leave)
	return v
}

func (v *lied) leave() {
	v.cancel()
	<-v.ended
}

func (v *lied) isOver() bool {
	select {
	case <-v.ended:
		return true
	default:
		return false
	}
}
