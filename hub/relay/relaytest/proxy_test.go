package relaytest

import (
	"bytes"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// rig is a proxy in front of a target whose connections the test has.
type rig struct {
	*Proxy
	t       *testing.T
	targets chan net.Conn
}

func newRig(t *testing.T, delay time.Duration) *rig {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p, err := New(Config{Target: l.Addr().String(), Delay: delay})
	require.NoError(t, err)
	r := &rig{p, t, make(chan net.Conn, 16)}
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			r.targets <- c
		}
	})
	t.Cleanup(func() {
		assert.NoError(t, p.Close())
		l.Close()
		accepting.Wait()
		assert.Zero(t, p.Open())
	})
	return r
}

// dial connects a client and returns both ends.
func (r *rig) dial() (client, target net.Conn) {
	r.t.Helper()
	client, err := net.Dial("tcp", r.Addr())
	require.NoError(r.t, err)
	r.t.Cleanup(func() { client.Close() })
	client.SetDeadline(time.Now().Add(time.Minute))
	target = <-r.targets
	target.SetDeadline(time.Now().Add(time.Minute))
	return client, target
}

// send has one end say something, and the other read it.
func (r *rig) send(from, to net.Conn, text string) {
	r.t.Helper()
	_, err := io.WriteString(from, text)
	require.NoError(r.t, err)
	got := make([]byte, len(text))
	_, err = io.ReadFull(to, got)
	require.NoError(r.t, err)
	assert.Equal(r.t, text, string(got))
}

func TestEachByteIsLaterByTheDelay(t *testing.T) {
	const delay = 30 * time.Millisecond
	r := newRig(t, delay)
	began := time.Now()
	client, target := r.dial()
	r.send(client, target, "first")
	assert.GreaterOrEqual(t, time.Since(began), 3*delay, "connecting is a round trip, too")
	began = time.Now()
	r.send(target, client, "an answer")
	assert.GreaterOrEqual(t, time.Since(began), delay)
	time.Sleep(time.Until(began.Add(2 * delay)))
	began = time.Now()
	r.send(client, target, "more")
	assert.GreaterOrEqual(t, time.Since(began), delay)
	assert.Equal(t, 1, r.Accepted())
}

// One piece after the other would take 40 s.
func TestTheDelayDoesNotBoundTheRate(t *testing.T) {
	const pieces, size, delay = 400, 32 << 10, 100 * time.Millisecond
	r := newRig(t, delay)
	client, target := r.dial()
	sent := make([]byte, pieces*size)
	for i := range sent {
		sent[i] = byte(i>>15 ^ i)
	}
	began := time.Now()
	var sending sync.WaitGroup
	sending.Go(func() {
		_, err := client.Write(sent)
		assert.NoError(t, err)
		assert.NoError(t, client.(*net.TCPConn).CloseWrite())
	})
	got, err := io.ReadAll(target)
	sending.Wait()
	require.NoError(t, err)
	assert.True(t, bytes.Equal(sent, got), "%d bytes came", len(got))
	assert.Less(t, time.Since(began), pieces*delay/2)
	r.send(target, client, "the other direction goes on")
	require.NoError(t, target.Close())
	_, err = client.Read(make([]byte, 1))
	assert.ErrorIs(t, err, io.EOF)
}

// A reader that takes nothing holds up its sender.
func TestWhatIsOnItsWayIsBounded(t *testing.T) {
	r := newRig(t, 0)
	client, target := r.dial()
	client.SetWriteDeadline(time.Now().Add(time.Second))
	piece, sent := make([]byte, 1<<20), 0
	for {
		n, err := client.Write(piece)
		sent += n
		if err != nil {
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			break
		}
		require.Less(t, sent, 200<<20)
	}
	require.NoError(t, client.(*net.TCPConn).CloseWrite())
	n, err := io.Copy(io.Discard, target)
	require.NoError(t, err)
	assert.EqualValues(t, sent, n)
}

func TestBreakResetsBothEnds(t *testing.T) {
	r := newRig(t, time.Millisecond)
	client, target := r.dial()
	other, otherTarget := r.dial()
	r.send(client, target, "hello")
	r.send(otherTarget, other, "hello")
	assert.Equal(t, 2, r.Break())
	for _, c := range []net.Conn{client, target, other, otherTarget} {
		_, err := c.Read(make([]byte, 1))
		assert.ErrorIs(t, err, syscall.ECONNRESET)
	}
	client, target = r.dial()
	r.send(client, target, "the next one passes")
	assert.Equal(t, 3, r.Accepted())
}

func TestFinishEndsBothProperly(t *testing.T) {
	r := newRig(t, time.Millisecond)
	client, target := r.dial()
	r.send(client, target, "hello")
	stop := make(chan struct{})
	var sending sync.WaitGroup
	sending.Go(func() { // what comes meanwhile makes no reset of it
		for {
			select {
			case <-stop:
				return
			default:
				target.Write([]byte("still sending"))
			}
		}
	})
	assert.Equal(t, 1, r.Finish())
	_, err := io.Copy(io.Discard, client)
	assert.NoError(t, err)
	_, err = io.Copy(io.Discard, target)
	assert.NoError(t, err)
	close(stop)
	sending.Wait()
	client.Close()
	target.Close()
	require.Eventually(t, func() bool { return r.Open() == 0 }, time.Minute, time.Millisecond)
}

func TestBlackhole(t *testing.T) {
	r := newRig(t, 0)
	client, target := r.dial()
	r.send(client, target, "hello")
	r.Blackhole(true)
	r.Blackhole(true)
	later, laterTarget := r.dial()
	for _, c := range []net.Conn{client, target, later, laterTarget} {
		_, err := io.WriteString(c, "held")
		require.NoError(t, err)
	}
	for _, c := range []net.Conn{client, target, later, laterTarget} {
		c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		_, err := c.Read(make([]byte, 1))
		require.Error(t, err)
		c.SetReadDeadline(time.Now().Add(time.Minute))
	}
	r.Blackhole(false)
	for _, c := range []net.Conn{client, target, later, laterTarget} {
		got := make([]byte, len("held"))
		_, err := io.ReadFull(c, got)
		require.NoError(t, err)
		assert.Equal(t, "held", string(got))
	}
	r.Blackhole(true) // and it can be closed so
}

func TestRefuse(t *testing.T) {
	r := newRig(t, 0)
	client, target := r.dial()
	r.Refuse(true)
	refused, err := net.Dial("tcp", r.Addr())
	if err == nil { // reset before or after Dial has looked
		_, err = refused.Read(make([]byte, 1))
		refused.Close()
	}
	assert.ErrorIs(t, err, syscall.ECONNRESET)
	r.send(client, target, "those that there are go on")
	r.Refuse(false)
	client, target = r.dial()
	r.send(client, target, "hello")
	assert.Equal(t, 3, r.Accepted())
}

func TestRate(t *testing.T) {
	r := newRig(t, 0)
	r.Rate(100_000)
	client, target := r.dial()
	began := time.Now()
	r.send(client, target, string(make([]byte, 20_000)))
	assert.GreaterOrEqual(t, time.Since(began), 150*time.Millisecond)
}

func TestRetarget(t *testing.T) {
	r, other := newRig(t, 0), newRig(t, 0)
	r.Retarget(other.Addr())
	client, err := net.Dial("tcp", r.Addr())
	require.NoError(t, err)
	defer client.Close()
	r.send(client, <-other.targets, "hello")
}

// A target that is not there resets the client.
func TestNoTarget(t *testing.T) {
	r := newRig(t, 0)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l.Close()
	r.Retarget(l.Addr().String())
	client, err := net.Dial("tcp", r.Addr())
	if err == nil {
		_, err = client.Read(make([]byte, 1))
		client.Close()
	}
	assert.ErrorIs(t, err, syscall.ECONNRESET)
}

// A reset of one end reaches the other as one.
func TestResetsPass(t *testing.T) {
	r := newRig(t, time.Millisecond)
	client, target := r.dial()
	r.send(client, target, "hello")
	abort(target)
	_, err := client.Read(make([]byte, 1))
	assert.ErrorIs(t, err, syscall.ECONNRESET)
}
