//go:build unix

//lint:file-ignore SA1019 the WebSocket library is given, and final at this version.

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"nhooyr.io/websocket"

	"sluice/flv"
	"sluice/rtmp"
)

// The stream of the tests of draining: frames that say their numbers, at 25 a second.
const (
	countedGOP  = 25 // frames
	countedStep = 40 // ms
)

// countedFrame returns a frame. Its timestamp is that of its number.
func countedFrame(n int) flv.Tag {
	body := []byte("\x27\x01\x00\x00\x00LLLL\x41nnnn")
	if n%countedGOP == 0 {
		body = []byte("\x17\x01\x00\x00\x00LLLL\x65nnnn")
	}
	binary.BigEndian.PutUint32(body[10:], uint32(n))
	return flv.Tag{Type: flv.TypeVideo, Timestamp: uint32(n * countedStep), Data: nalUnit(append(body, make([]byte, 500)...))}
}

// countOf returns the number of a frame, false for other tags.
func countOf(t flv.Tag) (n int, ok bool) {
	if t.Type != flv.TypeVideo || len(t.Data) < 14 || t.Data[1] != 1 {
		return 0, false
	}
	return int(binary.BigEndian.Uint32(t.Data[10:])), true
}

// movingClient is a client that can reconnect.
func movingClient(roots *x509.CertPool) rtmp.Client {
	return rtmp.Client{CanReconnect: true, TLS: &tls.Config{RootCAs: roots}}
}

// movingPublisher publishes at the pace of its stream, and moves as it is asked to: it goes on
// until the next key frame, which is the first that the new server gets.
type movingPublisher struct {
	client rtmp.Client
	stop   chan struct{}
	ended  chan error // why it ended: nil when it was stopped
	moved  int        // so often
}

// publishMoving begins to publish; roots are for rtmps.
func publishMoving(t *testing.T, url string, roots *x509.CertPool) *movingPublisher {
	t.Helper()
	m := &movingPublisher{client: movingClient(roots), stop: make(chan struct{}), ended: make(chan error, 1)}
	p, err := m.client.Publish(t.Context(), url)
	require.NoError(t, err)
	go func() { m.ended <- m.run(p) }()
	t.Cleanup(sync.OnceFunc(func() {
		select {
		case <-m.stop:
		default:
			close(m.stop)
		}
	}))
	return m
}

func (m *movingPublisher) run(p *rtmp.Publisher) error {
	defer func() { p.Close() }()
	next := make(chan *rtmp.Publisher, 1)
	begin := true
	for n := 0; ; n++ {
		select {
		case <-m.stop:
			return nil
		case <-time.After(countedStep * time.Millisecond):
		}
		select {
		case asked := <-p.Reconnects():
			go func() {
				if p, err := m.client.Publish(context.Background(), asked.URL); err == nil {
					next <- p // otherwise it stays as long as it may
				}
			}()
		default:
		}
		if n%countedGOP == 0 {
			select {
			case other := <-next:
				if err := p.Close(); err != nil {
					return err
				}
				p, begin, m.moved = other, true, m.moved+1
			default:
			}
		}
		tags := []flv.Tag{countedFrame(n)}
		for half := range uint32(2) { // there is sound as well
			sound := flv.Tag{Type: flv.TypeAudio, Timestamp: tags[0].Timestamp + half*countedStep/2, Data: []byte("\xaf\x01\x21\x10\x04")}
			tags = append(tags, sound)
		}
		if begin {
			tags, begin = append(madeHeader(), tags...), false
		}
		if err := p.WriteTags(tags); err != nil {
			return err
		}
	}
}

// end stops the publisher and returns why it ended.
func (m *movingPublisher) end() error {
	close(m.stop)
	return <-m.ended
}

// shown is a frame as a player got it.
type shown struct {
	n    int
	time uint32
	at   time.Time
}

// movingPlayer plays, and moves as it is asked to: it opens the stream anew, and shows what it gets
// from the old server until that is over.
type movingPlayer struct {
	client   rtmp.Client
	mu       sync.Mutex
	old, new []shown
	oldEnd   error // at the old server
	ended    chan error
}

func playMoving(t *testing.T, url string, roots *x509.CertPool) *movingPlayer {
	t.Helper()
	m := &movingPlayer{client: movingClient(roots), ended: make(chan error, 1)}
	p, err := m.client.Play(t.Context(), url)
	require.NoError(t, err)
	go func() { m.ended <- m.run(p) }()
	return m
}

// run returns when it was not asked to move, or has ended at the new server.
func (m *movingPlayer) run(p *rtmp.Player) error {
	var second sync.WaitGroup
	var end error
	defer p.Close()
	for {
		tag, err := p.ReadTag()
		select {
		case asked := <-p.Reconnects():
			second.Go(func() { end = m.goOn(asked.URL) })
		default:
		}
		if err != nil {
			m.mu.Lock()
			m.oldEnd = err
			m.mu.Unlock()
			break
		}
		m.show(&m.old, tag)
	}
	p.Close()
	second.Wait()
	return end
}

// goOn plays at the new server until the stream ends.
func (m *movingPlayer) goOn(url string) error {
	p, err := m.client.Play(context.Background(), url)
	if err != nil {
		return err
	}
	defer p.Close()
	for {
		tag, err := p.ReadTag()
		if err != nil {
			return err
		}
		m.show(&m.new, tag)
	}
}

func (m *movingPlayer) show(where *[]shown, tag flv.Tag) {
	if n, ok := countOf(tag); ok {
		m.mu.Lock()
		defer m.mu.Unlock()
		*where = append(*where, shown{n, tag.Timestamp, time.Now()})
	}
}

// frames returns how many it has shown of the old and of the new server.
func (m *movingPlayer) frames() (old, new int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.old), len(m.new)
}

// gap checks what was shown, and returns how much of the stream is missing between the two servers,
// and how long its player got nothing.
func (m *movingPlayer) gap(t *testing.T) (media, stall time.Duration) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	assert.ErrorIs(t, m.oldEnd, io.EOF, "a proper end")
	assert.NotErrorIs(t, m.oldEnd, io.ErrUnexpectedEOF)
	require.NotEmpty(t, m.old)
	require.NotEmpty(t, m.new)
	for _, part := range [][]shown{m.old, m.new} {
		assert.Zero(t, part[0].n%countedGOP, "it begins with a key frame")
		for i := 1; i < len(part); i++ {
			assert.Equal(t, part[i-1].n+1, part[i].n, "no frame is missing")
			assert.EqualValues(t, countedStep, part[i].time-part[i-1].time)
		}
	}
	last, first := m.old[len(m.old)-1], m.new[0]
	return time.Duration(first.n-last.n-1) * countedStep * time.Millisecond, first.at.Sub(last.at)
}

// isClosed reports whether an error says that the server has ended the connection, in whatever way.
func isClosed(err error) bool {
	op := (*net.OpError)(nil)
	refused := (*rtmp.StatusError)(nil)
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &op) || errors.As(err, &refused)
}

// stayingViewer is one that cannot move.
type stayingViewer struct {
	name   string // of its protocol
	frames []int
	end    error
	ended  chan struct{}
}

// stay reads what a viewer gets until that ends.
func stay(name string, v testViewer) *stayingViewer {
	s := &stayingViewer{name: name, ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		defer v.close()
		for s.end == nil {
			var tag flv.Tag
			if tag, s.end = v.next(); s.end == nil {
				if n, ok := countOf(tag); ok {
					s.frames = append(s.frames, n)
				}
			}
		}
	}()
	return s
}

// hasSeenAll says that it was ended properly, after the last frame that the server had, and had all
// since it came.
func (s *stayingViewer) hasSeenAll(t *testing.T, last int) {
	t.Helper()
	<-s.ended
	if s.name == "ws-flv" || s.name == "wss" {
		assert.Equal(t, websocket.StatusGoingAway, websocket.CloseStatus(s.end), s.end)
	} else {
		assert.ErrorIs(t, s.end, io.EOF, s.name)
		assert.NotErrorIs(t, s.end, io.ErrUnexpectedEOF, s.name)
	}
	if !assert.NotEmpty(t, s.frames, s.name) {
		return
	}
	assert.Equal(t, last, s.frames[len(s.frames)-1], "%s: the whole stream", s.name)
	assert.Len(t, s.frames, last-s.frames[0]+1, "%s: nothing missing", s.name)
}
