package rtmp

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/rtmp/internal/chunk"
)

// published opens a Publisher over near and answers it at far, until it publishes:
// what comes then at far is the test's.
func published(t *testing.T, c Client, near, far net.Conn) (*Publisher, *chunk.Reader) {
	t.Helper()
	taken := make(chan *chunk.Reader, 1)
	go func() {
		defer close(taken)
		rd := serverPeer(far)
		for rd != nil {
			m, err := rd.Read()
			if err != nil {
				return
			}
			c, err := parseCommand(m)
			if m.Type != typeCommand || err != nil {
				continue
			}
			switch c.name {
			case "connect":
				far.Write(appendCommand(nil, protocolChunkSize, 0, "_result", c.txn, nil, nil))
			case "createStream":
				far.Write(appendCommand(nil, protocolChunkSize, 0, "_result", c.txn, nil, 1.0))
			case "publish":
				far.Write(appendStatus(nil, protocolChunkSize, 1, LevelStatus, CodePublishStart, ""))
				taken <- rd
				return
			}
		}
	}()
	c.Dial = func(context.Context, string, string) (net.Conn, error) { return near, nil }
	p, err := c.Publish(t.Context(), "rtmp://h/live/a")
	require.NoError(t, err)
	t.Cleanup(func() { p.Close() })
	return p, <-taken
}

// pipePublished is published over a pipe, in which every write waits for its reader.
func pipePublished(t *testing.T) (p *Publisher, far net.Conn, rd *chunk.Reader) {
	near, far := net.Pipe()
	p, rd = published(t, Client{WriteTimeout: 4 * time.Second}, near, far)
	t.Cleanup(func() { far.Close() }) // before p is closed
	return p, far, rd
}

// tcpPublished is published over TCP, with a timeout for writes that no test waits for.
func tcpPublished(t *testing.T) (p *Publisher, far net.Conn, rd *chunk.Reader) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	far, err = l.Accept()
	require.NoError(t, err)
	p, rd = published(t, Client{WriteTimeout: time.Hour}, near, far)
	t.Cleanup(func() { far.Close() }) // before p is closed
	return p, far, rd
}

// enough is that a publisher was refused.
var enough = appendStatus(nil, protocolChunkSize, 1, LevelError, CodePublishDenied, "enough")

// wantRefusal fails unless err is what enough says.
func wantRefusal(t testing.TB, err error) {
	t.Helper()
	var status *StatusError
	if assert.ErrorAs(t, err, &status) {
		assert.Equal(t, StatusError{Level: LevelError, Code: CodePublishDenied, Description: "enough"}, *status)
	}
}

// ping asks for a pong that tells which one it is.
func ping(n uint32) []byte { return appendUserControl(nil, eventPingRequest, n) }

// took is how a call ended, and when.
type took struct {
	err  error
	time time.Duration
}

// during calls f in a goroutine.
func during(f func() error) <-chan took {
	done := make(chan took, 1)
	began := time.Now()
	go func() {
		err := f()
		done <- took{err, time.Since(began)}
	}()
	return done
}

var frame = flv.Tag{Type: flv.TypeVideo, Data: make([]byte, 100_000)}

// A refusal ends the write that its server does not take any more, whatever else the
// server said before.
func TestRefusalBreaksWrite(t *testing.T) {
	for name, before := range map[string][]byte{
		"alone":        nil,
		"after a ping": ping(1),
		"after much":   append(ping(1), appendControl(ping(2), typeSetPeerBW, 1000)...),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, far, _ := pipePublished(t)
				first := during(func() error { return p.WriteTag(frame) })
				second := during(func() error { return p.WriteTag(frame) })
				time.Sleep(time.Second)
				far.Write(before)
				far.Write(enough)
				for _, write := range []<-chan took{first, second} {
					got := <-write
					wantRefusal(t, got.err)
					assert.Equal(t, time.Second, got.time)
				}
				wantRefusal(t, p.WriteTag(frame))
				closing := time.Now()
				wantRefusal(t, p.Close())
				assert.Zero(t, time.Since(closing))
				assert.ErrorIs(t, p.WriteTag(frame), net.ErrClosed)
			})
		})
	}
}

// The server does not read between its ping and its refusal: no write is under way when
// the pong is due, and the next one waits for it.
func TestRefusalBreaksReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, far, _ := pipePublished(t)
		far.Write(ping(1))
		synctest.Wait()
		write := during(func() error { return p.WriteTag(frame) })
		time.Sleep(time.Second)
		far.Write(enough)
		got := <-write
		wantRefusal(t, got.err)
		assert.Equal(t, time.Second, got.time)
	})
}

// The same with a server whose buffers are full.
func TestRefusalBreaksWriteOverTCP(t *testing.T) {
	p, far, _ := tcpPublished(t)
	write := during(func() error {
		for {
			if err := p.WriteTag(frame); err != nil {
				return err
			}
		}
	})
	_, err := far.Write(append(ping(1), enough...))
	require.NoError(t, err)
	got := <-write
	wantRefusal(t, got.err)
	closing := during(p.Close)
	got = <-closing
	wantRefusal(t, got.err)
	assert.Less(t, got.time, 10*time.Second)
}

// A server that refuses and closes at once, with input unread, resets the connection:
// the write fails before the refusal is read. Where the system did not let the reader
// run within closeTimeout, a round says nothing.
func TestRefusalAndReset(t *testing.T) {
	refused := 0
	for range 20 {
		p, far, _ := tcpPublished(t)
		write := during(func() error {
			for {
				if err := p.WriteTag(frame); err != nil {
					return err
				}
			}
		})
		far.Read(make([]byte, 1))
		far.Write(enough)
		far.Close()
		got := <-write
		if _, ok := errors.AsType[*StatusError](got.err); !ok && got.time >= closeTimeout {
			t.Logf("the refusal was not read in %v: %v", got.time, got.err)
			continue
		}
		refused++
		wantRefusal(t, got.err)
		wantRefusal(t, p.Close())
	}
	assert.Positive(t, refused)
}

// resetConn is a connection whose writes fail once it was reset, while what came before
// can still be read.
type resetConn struct {
	net.Conn
	reset atomic.Bool
}

func (c *resetConn) Write(b []byte) (int, error) {
	if c.reset.Load() {
		return 0, &net.OpError{Op: "write", Err: os.NewSyscallError("write", syscall.ECONNRESET)}
	}
	return c.Conn.Write(b)
}

// The refusal may be read for closeTimeout after the write has failed.
func TestRefusalAfterFailedWrite(t *testing.T) {
	for _, tt := range []struct {
		after   time.Duration
		refused bool
	}{{0, true}, {closeTimeout - time.Millisecond, true}, {closeTimeout + time.Millisecond, false}} {
		synctest.Test(t, func(t *testing.T) {
			pipe, far := net.Pipe()
			near := &resetConn{Conn: pipe}
			p, _ := published(t, Client{}, near, far)
			defer far.Close()
			near.reset.Store(true)
			write := during(func() error { return p.WriteTag(frame) })
			time.Sleep(tt.after)
			far.Write(enough)
			got := <-write
			assert.Equal(t, min(tt.after, closeTimeout), got.time)
			if tt.refused {
				wantRefusal(t, got.err)
			} else {
				assert.ErrorIs(t, got.err, syscall.ECONNRESET)
			}
		})
	}
}

// A write that the server does not take ends by itself, and so does what follows.
func TestWriteTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _, _ := pipePublished(t)
		got := <-during(func() error { return p.WriteTag(frame) })
		assert.ErrorIs(t, got.err, os.ErrDeadlineExceeded)
		assert.Equal(t, 4*time.Second, got.time)
		got = <-during(func() error { return p.WriteTag(frame) })
		assert.ErrorIs(t, got.err, os.ErrDeadlineExceeded)
		assert.Zero(t, got.time)
		got = <-during(p.Close)
		assert.ErrorIs(t, got.err, os.ErrDeadlineExceeded)
		assert.Zero(t, got.time)
	})
}

// Close gives a write under way a moment, and breaks it then.
func TestCloseBreaksWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _, _ := pipePublished(t)
		first := during(func() error { return p.WriteTag(frame) })
		second := during(func() error { return p.WriteTag(frame) })
		synctest.Wait()
		got := <-during(p.Close)
		assert.ErrorIs(t, got.err, os.ErrDeadlineExceeded)
		assert.Equal(t, closeGrace, got.time)
		for _, write := range []<-chan took{first, second} {
			got = <-write
			assert.ErrorIs(t, got.err, net.ErrClosed)
			assert.Equal(t, closeGrace, got.time)
		}
		assert.ErrorIs(t, p.Close(), net.ErrClosed)
	})
}

// Over TCP too. When Close is called, the write has begun, but need not hang yet: it
// will, whatever comes first, as it is of more than all buffers hold.
func TestCloseBreaksWriteOverTCP(t *testing.T) {
	p, _, _ := tcpPublished(t)
	more := flv.Tag{Type: flv.TypeVideo, Data: make([]byte, 15<<20)}
	write := during(func() error { return p.WriteTags([]flv.Tag{more, more, more, more}) })
	require.Eventually(t, func() bool { return len(p.writing) > 0 }, 20*time.Second, time.Millisecond)
	got := <-during(p.Close)
	assert.ErrorIs(t, got.err, os.ErrDeadlineExceeded)
	assert.Less(t, got.time, 10*time.Second)
	assert.ErrorIs(t, (<-write).err, net.ErrClosed)
}

// A write that is merely slow is not broken: the stream ends as it should.
func TestCloseWaitsForWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _, rd := pipePublished(t)
		write := during(func() error { return p.WriteTag(frame) })
		synctest.Wait()
		closing := during(p.Close)
		time.Sleep(closeGrace / 2)
		m, err := rd.Read()
		require.NoError(t, err)
		assert.Len(t, m.Payload, len(frame.Data))
		assert.NoError(t, (<-write).err)
		for _, want := range []string{"FCUnpublish", "deleteStream"} {
			m, err := rd.Read()
			require.NoError(t, err)
			c, err := parseCommand(m)
			require.NoError(t, err)
			assert.Equal(t, want, c.name)
		}
		got := <-closing
		assert.NoError(t, got.err)
		assert.Equal(t, closeGrace/2, got.time)
	})
}

// Nothing is under way, but the server does not take the words of parting either.
func TestCloseOfPublisherWhoseServerTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _, _ := pipePublished(t)
		got := <-during(p.Close)
		assert.ErrorIs(t, got.err, os.ErrDeadlineExceeded)
		assert.Equal(t, closeTimeout, got.time)

		p, far, _ := pipePublished(t)
		closing := during(p.Close)
		time.Sleep(time.Second)
		far.Write(enough)
		got = <-closing
		wantRefusal(t, got.err)
		assert.Equal(t, time.Second, got.time)

		p, far, _ = pipePublished(t)
		write := during(func() error { return p.WriteTag(frame) })
		synctest.Wait()
		closing = during(p.Close)
		time.Sleep(closeGrace / 2)
		far.Write(enough)
		got = <-closing
		wantRefusal(t, got.err)
		assert.Equal(t, closeGrace/2, got.time)
		wantRefusal(t, (<-write).err)
	})
}

// What the server asks meanwhile is answered, between whole messages.
func TestPublisherAnswersPings(t *testing.T) {
	const n = 500
	p, far, rd := tcpPublished(t)
	write := during(func() error {
		for range n {
			if err := p.WriteTag(frame); err != nil {
				return err
			}
		}
		return nil
	})
	pinging := during(func() error {
		for i := range n {
			if _, err := far.Write(ping(uint32(i))); err != nil {
				return err
			}
		}
		return nil
	})
	var tags, pongs uint32
	for tags < n || pongs < n {
		m, err := rd.Read()
		require.NoError(t, err)
		switch m.Type {
		case typeVideo:
			require.Len(t, m.Payload, len(frame.Data))
			tags++
		case typeUserControl:
			require.Equal(t, []byte{0, eventPingResponse}, m.Payload[:2])
			require.Equal(t, pongs, binary.BigEndian.Uint32(m.Payload[2:]))
			pongs++
		}
	}
	assert.NoError(t, (<-write).err)
	assert.NoError(t, (<-pinging).err)
}

// A server that asks and asks and takes no answer does not cost memory without end.
func TestPublisherRepliesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, far, _ := pipePublished(t)
		write := during(func() error { return p.WriteTag(frame) })
		synctest.Wait()
		var sent int
		for ; sent < maxReplies; sent++ {
			if _, err := far.Write(ping(0)); err != nil {
				break
			}
		}
		assert.InDelta(t, maxReplies/len(ping(0)), sent, 10)
		got := <-write
		assert.ErrorIs(t, got.err, errManyReplies)
		assert.Zero(t, got.time)
	})
}

// Who closes and has no more time aborts: Close, which waits for a server that takes nothing, ends.
func TestAbortBreaksClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _, _ := pipePublished(t)
		closed := during(p.Close)
		time.Sleep(time.Second)
		p.Abort()
		got := <-closed
		assert.Error(t, got.err)
		assert.Equal(t, time.Second, got.time)
		p.Abort() // nothing
	})
}
