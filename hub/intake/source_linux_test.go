package intake

import (
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// bound is the time for what must happen sooner or later.
const bound = 20 * time.Second

func newPool(t testing.TB, workers int) *Pool {
	p := New(Config{Workers: workers})
	t.Cleanup(p.Close)
	return p
}

// pair returns the two ends of a connection.
func pair(t testing.TB) (near, far *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	a, err := l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { a.Close() })
	return a.(*net.TCPConn), c.(*net.TCPConn)
}

// caller is a source whose runs a test waits for.
type caller struct {
	*Source
	t         testing.TB
	near, far *net.TCPConn
	runs      chan struct{}
}

func newCaller(t testing.TB, p *Pool) *caller {
	t.Helper()
	c := &caller{t: t, runs: make(chan struct{}, 100)}
	c.near, c.far = pair(t)
	var err error
	c.Source, err = p.Add(c.near, func() { c.runs <- struct{}{} })
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func (c *caller) expectRun() {
	c.t.Helper()
	select {
	case <-c.runs:
	case <-time.After(bound):
		require.Fail(c.t, "not run")
	}
}

// expectNoRun waits until the pool had time for another source.
func (c *caller) expectNoRun() {
	c.t.Helper()
	other := newCaller(c.t, &Pool{pumps: []*pump{c.pump}})
	for range 3 {
		other.Wait(time.Time{})
		other.send("x")
		other.expectRun()
	}
	assert.Empty(c.t, c.runs)
}

func (c *caller) send(s string) {
	c.t.Helper()
	_, err := c.far.Write([]byte(s))
	require.NoError(c.t, err)
}

func (c *caller) expectRead(size int, want string, err error) {
	c.t.Helper()
	buf := make([]byte, size)
	n, got := c.TryRead(buf)
	assert.Equal(c.t, want, string(buf[:n]))
	assert.ErrorIs(c.t, got, err)
}

func TestRunOncePerWait(t *testing.T) {
	c := newCaller(t, newPool(t, 1))
	c.expectRead(9, "", ErrNothing)
	c.send("abcdef")
	c.expectNoRun()
	c.Wait(time.Time{})
	c.expectRun()
	c.expectNoRun()
	c.expectRead(4, "abcd", nil)
	c.Wait(time.Time{})
	c.expectRun() // what was left
	c.expectRead(4, "ef", nil)
	c.expectRead(4, "", ErrNothing)
	c.expectNoRun() // a report from before the reads, which were outside of a run, is through
	c.Wait(time.Time{})
	c.expectNoRun()
	c.send("g")
	c.expectRun()
	c.expectRead(1, "g", nil)
	c.expectRead(1, "", ErrNothing)
}

func TestTheEndIsSomethingToRead(t *testing.T) {
	c := newCaller(t, newPool(t, 1))
	c.Wait(time.Time{})
	c.send("x")
	c.far.CloseWrite()
	c.expectRun()
	c.expectRead(1, "x", nil)
	for range 2 {
		c.Wait(time.Time{})
		c.expectRun()
		c.expectRead(1, "", io.EOF)
	}
}

func TestAResetIsSomethingToRead(t *testing.T) {
	c := newCaller(t, newPool(t, 1))
	c.Wait(time.Time{})
	c.far.SetLinger(0)
	c.far.Close()
	c.expectRun()
	c.expectRead(1, "", syscall.ECONNRESET)
}

// A reset while a run takes long makes no noise, and is not lost.
func TestResetOfASourceThatDoesNotWait(t *testing.T) {
	c := newCaller(t, newPool(t, 1))
	c.Wait(time.Time{})
	c.send("x")
	c.expectRun()
	c.far.SetLinger(0)
	c.far.Close()
	c.expectNoRun()
	c.pump.mu.Lock()
	assert.False(t, c.watched, "still reported")
	c.pump.mu.Unlock()
	c.Wait(time.Time{})
	c.expectRun()
}

func TestWake(t *testing.T) {
	c := newCaller(t, newPool(t, 1))
	c.Wait(time.Time{})
	c.expectNoRun()
	c.Wake()
	c.expectRun()
	c.expectRead(1, "", ErrNothing)
	c.Wake()
	c.Wake()
	c.expectNoRun()
	c.Wait(time.Time{}) // not lost
	c.expectRun()
	c.Wait(time.Time{}) // and not doubled
	c.expectNoRun()
}

func TestDeadline(t *testing.T) {
	c := newCaller(t, newPool(t, 1))
	for _, d := range []time.Duration{-time.Hour, 0, time.Millisecond, 20 * time.Millisecond} {
		due := time.Now().Add(d)
		c.Wait(due)
		c.expectRun()
		assert.False(t, time.Now().Before(due))
	}
	// A later deadline than the last is not cut short by it, and an earlier counts.
	due := time.Now().Add(30 * time.Millisecond)
	c.Wait(due)
	c.Wake()
	c.expectRun()
	due = due.Add(30 * time.Millisecond)
	c.Wait(due)
	c.expectRun()
	assert.False(t, time.Now().Before(due))
	c.Wait(time.Now().Add(time.Hour))
	c.Wake()
	c.expectRun()
	c.Wait(time.Now().Add(10 * time.Millisecond))
	c.expectRun()
	c.Wait(time.Now().Add(10 * time.Millisecond))
	c.Wake()
	c.expectRun()
	c.Wait(time.Time{}) // nor does one count that is given up
	time.Sleep(20 * time.Millisecond)
	c.expectNoRun()
}

func TestManyDeadlines(t *testing.T) {
	p := newPool(t, 2)
	var all sync.WaitGroup
	for i := range 100 {
		near, _ := pair(t)
		due := time.Now().Add(time.Duration(i%10) * 5 * time.Millisecond)
		all.Add(1)
		s, err := p.Add(near, func() {
			defer all.Done()
			assert.False(t, time.Now().Before(due))
		})
		require.NoError(t, err)
		s.Wait(due)
	}
	all.Wait()
}

// Whatever comes together, the last byte and the last Wake are followed by a run.
func TestNothingIsLost(t *testing.T) {
	const (
		sources = 20
		rounds  = 300
	)
	p := newPool(t, 2)
	var done sync.WaitGroup
	for range sources {
		near, far := pair(t)
		var sent, seen atomic.Int64
		finished := make(chan struct{})
		var s *Source
		got, buf := 0, make([]byte, 7)
		ready := make(chan struct{})
		s, err := p.Add(near, func() {
			<-ready
			seen.Store(sent.Load())
			for {
				n, err := s.TryRead(buf)
				got += n
				if err != nil {
					assert.Equal(t, ErrNothing, err)
					break
				}
			}
			if got == rounds && seen.Load() == rounds {
				close(finished)
				return
			}
			s.Wait(time.Time{})
		})
		require.NoError(t, err)
		close(ready)
		s.Wait(time.Time{})
		done.Go(func() {
			for range rounds {
				sent.Add(1)
				s.Wake()
				runtime.Gosched()
			}
		})
		done.Go(func() {
			for range rounds {
				far.Write([]byte{1})
			}
		})
		done.Go(func() {
			select {
			case <-finished:
			case <-time.After(bound):
				assert.Fail(t, "a wakeup was lost")
			}
			s.Close()
		})
	}
	done.Wait()
}

// Close may come at any time; what is closed is not run again.
func TestCloseRaces(t *testing.T) {
	p := newPool(t, 2)
	var done sync.WaitGroup
	for range 200 {
		near, far := pair(t)
		var closed atomic.Bool
		var s *Source
		ready := make(chan struct{})
		s, err := p.Add(near, func() {
			<-ready
			s.Wait(time.Now().Add(time.Microsecond))
		})
		require.NoError(t, err)
		close(ready)
		s.Wait(time.Time{})
		done.Go(func() {
			for !closed.Load() {
				s.Wake()
			}
		})
		done.Go(func() { far.Write([]byte{1}) })
		done.Go(func() {
			s.Close()
			near.Close()
			s.Close()
			closed.Store(true)
		})
	}
	done.Wait()
	for _, pump := range p.pumps {
		pump.mu.Lock()
		assert.Len(t, pump.free, len(pump.sources))
		assert.Empty(t, pump.deadlines)
		pump.mu.Unlock()
	}
}

func TestClosedSourceIsNotRun(t *testing.T) {
	p := newPool(t, 1)
	c := newCaller(t, p)
	c.Wait(time.Now().Add(20 * time.Millisecond))
	c.Close()
	c.send("x")
	c.Wake()
	c.Wait(time.Time{})
	time.Sleep(30 * time.Millisecond)
	other := newCaller(t, p)
	other.expectNoRun()
	assert.Empty(t, c.runs)
}

// A closed connection is of no more use, and its source finds out when it is woken.
func TestConnectionClosedUnderTheSource(t *testing.T) {
	c := newCaller(t, newPool(t, 1))
	c.Wait(time.Time{})
	c.near.Close()
	c.Wake()
	c.expectRun()
	c.expectRead(1, "", net.ErrClosed)
	c.Wait(time.Time{})
	c.Wake()
	c.expectRun()
	assert.ErrorIs(t, c.pump.add(&Source{pump: c.pump, raw: c.raw}), net.ErrClosed)
}

// A source whose connection was closed hears nothing of the one that has its
// descriptor now.
func TestDescriptorReuse(t *testing.T) {
	p := newPool(t, 1)
	var old []*caller
	for range 20 {
		c := newCaller(t, p)
		c.Wait(time.Time{})
		c.near.Close()
		old = append(old, c)
	}
	var now []*caller
	for i := range 20 {
		c := newCaller(t, p)
		c.Wait(time.Time{})
		now = append(now, c)
		if i%2 == 0 { // late, and not for the new one
			old[i].Close()
		}
	}
	for _, c := range now {
		c.send("x")
		c.expectRun()
		c.expectRead(9, "x", nil)
		assert.Empty(t, c.runs)
	}
	for _, c := range old {
		assert.Empty(t, c.runs)
	}
}

// Runs that block hold up neither each other nor anybody else.
func TestBlockedRuns(t *testing.T) {
	p := newPool(t, 1)
	before := runtime.NumGoroutine()
	release := make(chan struct{})
	var stuck atomic.Int64
	for range 10 {
		near, _ := pair(t)
		s, err := p.Add(near, func() {
			stuck.Add(1)
			<-release
		})
		require.NoError(t, err)
		s.Wait(time.Time{})
		s.Wake()
	}
	c := newCaller(t, p)
	for range 5 {
		c.Wait(time.Time{})
		c.send("x")
		c.expectRun()
		c.expectRead(9, "x", nil)
	}
	require.Eventually(t, func() bool { return stuck.Load() == 10 }, bound, time.Millisecond)
	c.Wait(time.Now())
	c.expectRun()
	close(release)
	require.Eventually(t, func() bool { // which is itself called by a goroutine
		return runtime.NumGoroutine() <= before+1
	}, bound, time.Millisecond, "the goroutines that were stuck end")
	c.Wait(time.Time{})
	c.Wake()
	c.expectRun()
}

// What a stuck run sets up counts, though it has lost its role.
func TestWaitInABlockedRun(t *testing.T) {
	p := newPool(t, 1)
	near, far := pair(t)
	runs := make(chan int, 10)
	release := make(chan struct{})
	n := 0
	var s *Source
	s, err := p.Add(near, func() {
		n++
		if n == 1 {
			<-release
		}
		s.TryRead(make([]byte, 9))
		runs <- n
		s.Wait(time.Time{})
	})
	require.NoError(t, err)
	s.Wait(time.Now())
	c := newCaller(t, p)
	c.Wait(time.Time{})
	c.Wake()
	c.expectRun()
	far.Write([]byte{1}) // while it is stuck
	c.expectNoRun()
	s.Wake()
	close(release)
	for want := 1; want <= 2; want++ {
		select {
		case got := <-runs:
			assert.Equal(t, want, got)
		case <-time.After(bound):
			require.Fail(t, "not run")
		}
	}
	s.Close()
}

func TestPoolClose(t *testing.T) {
	p := New(Config{Workers: 1})
	waits, runs := newCaller(t, p), newCaller(t, p)
	waits.Wait(time.Time{})
	near, _ := pair(t)
	entered, release := make(chan struct{}), make(chan struct{})
	var left atomic.Bool
	s, err := p.Add(near, func() {
		close(entered)
		<-release
		left.Store(true)
	})
	require.NoError(t, err)
	s.Wait(time.Now())
	<-entered
	closed := make(chan struct{})
	go func() {
		p.Close()
		assert.True(t, left.Load(), "waits for runs under way")
		p.Close()
		close(closed)
	}()
	require.Eventually(t, func() bool {
		_, err := p.Add(near, func() {})
		return errors.Is(err, net.ErrClosed)
	}, bound, time.Millisecond)
	waits.Wake()
	waits.send("x")
	runs.Wait(time.Now())
	close(release)
	<-closed
	assert.Empty(t, waits.runs)
	assert.Empty(t, runs.runs)
	s.Close()
}

func TestIdleSourcesOwnNoGoroutine(t *testing.T) {
	p := newPool(t, 2)
	before := runtime.NumGoroutine()
	for range 300 {
		near, _ := pair(t)
		s, err := p.Add(near, func() {})
		require.NoError(t, err)
		s.Wait(time.Now().Add(time.Hour))
	}
	require.Eventually(t, func() bool { // which is itself called by a goroutine
		return runtime.NumGoroutine() <= before+1
	}, bound, time.Millisecond)
}

// cycle is a source that sends itself a byte in each run.
func cycle(t testing.TB) (turn func()) {
	near, far := pair(t)
	raw, err := far.SyscallConn()
	require.NoError(t, err)
	one, buf := []byte{1}, make([]byte, 64)
	write := func(fd uintptr) { syscall.Write(int(fd), one) }
	ran := make(chan struct{})
	var s *Source
	s, err = newPool(t, 1).Add(near, func() {
		for {
			if _, err := s.TryRead(buf); err != nil {
				break
			}
		}
		s.Wait(time.Now().Add(time.Hour))
		ran <- struct{}{}
	})
	require.NoError(t, err)
	s.Wait(time.Now().Add(time.Hour))
	return func() {
		raw.Control(write)
		<-ran
	}
}

func TestCycleDoesNotAllocate(t *testing.T) {
	turn := cycle(t)
	turn()
	assert.Zero(t, testing.AllocsPerRun(200, turn))
}

func BenchmarkCycle(b *testing.B) {
	turn := cycle(b)
	b.ReportAllocs()
	for b.Loop() {
		turn()
	}
}
