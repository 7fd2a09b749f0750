//go:build unix

package fanout

import (
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// delivery asks as operators do, through the hub.
func (w *world) delivery() hub.Delivery {
	w.t.Helper()
	for _, s := range w.hub.Sessions() {
		if s.Session.Role() == hub.RoleWatch {
			info := w.hub.Examine([]hub.SessionInfo{s})[0]
			require.True(w.t, info.Served)
			return info.Delivery
		}
	}
	w.t.Fatal("there is no viewer")
	return hub.Delivery{}
}

// A connection is congested from the moment at which it has not taken all, until it has caught up.
func TestDeliveryTellsCongestion(t *testing.T) {
	onFakeClock(t, func(t *testing.T, wrap func(*pairConn) Conn) {
		w := newWorld(t, Config{Workers: 1}, hub.Config{})
		s := w.publish("a")
		s.send("K", 20)
		c, p := newPair(t)
		o := w.pool.NewOutlet(wrap(c))
		w.attach(o, s.key)
		synctest.Wait()
		d := w.delivery()
		assert.Zero(t, d.Congested)
		assert.Zero(t, d.Unwritten)
		generic := o.raw == nil
		wrote := time.Now()
		if generic {
			assert.WithinDuration(t, wrote, d.Written, 0)
			assert.Equal(t, -1, d.Unacknowledged)
		}

		time.Sleep(time.Second)
		began := time.Now()
		s.send("P", 50_000)
		synctest.Wait()
		time.Sleep(5 * time.Second)
		d = w.delivery()
		assert.WithinDuration(t, began, d.Congested, 0)
		assert.Greater(t, d.Unwritten, 20_000)
		for n := 0; n < 10_000 && d.Unwritten > 0; n++ {
			before := d.Unwritten
			p.read(4 << 10)
			time.Sleep(time.Millisecond)
			d = w.delivery()
			assert.LessOrEqual(t, d.Unwritten, before)
			if d.Unwritten > 0 {
				assert.WithinDuration(t, began, d.Congested, 0, "also while it takes some")
			}
		}
		synctest.Wait()
		d = w.delivery()
		assert.Zero(t, d.Unwritten)
		assert.Zero(t, d.Congested, "it has caught up")
		if generic {
			assert.True(t, d.Written.After(began))
		}
	})
}

// A rest that is shared with others counts for each.
func TestDeliveryTellsSharedRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{Workers: 1}, hub.Config{})
		s := w.publish("a")
		s.send("K", 300_000)
		c, p := newPair(t)
		w.attach(w.pool.NewOutlet(c), s.key)
		synctest.Wait()
		assert.Greater(t, w.delivery().Unwritten, 250_000)
		for n := 0; n < 10_000 && w.delivery().Unwritten > 0; n++ {
			p.read(64 << 10)
			time.Sleep(time.Millisecond)
		}
		assert.Zero(t, w.delivery().Unwritten)
	})
}

// TCP tells what its peer has taken: nothing more, where that does not read.
func TestDeliveryOverTCP(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux is asked")
	}
	w := newWorld(t, Config{}, hub.Config{})
	s := w.publish("a")
	s.send("K", 100)
	near, far := dial(t, 8<<10)
	w.attach(w.pool.NewOutlet(near), s.key)
	io.ReadAtLeast(far, make([]byte, 1<<10), 100)
	wait := func(what string, ok func(d hub.Delivery) bool) (d hub.Delivery) {
		t.Helper()
		require.Eventually(t, func() bool { d = w.delivery(); return ok(d) }, 30*time.Second, 10*time.Millisecond, what)
		return d
	}
	d := wait("all is acknowledged", func(d hub.Delivery) bool { return d.Unacknowledged == 0 })
	assert.WithinDuration(t, time.Now(), d.Written, 30*time.Second)
	assert.WithinDuration(t, time.Now(), d.Acknowledged, 30*time.Second)
	assert.False(t, d.Closed)
	s.send("KPPPPPPPPPPPPPPPPPPP", 4000)
	d = wait("the window is closed", func(d hub.Delivery) bool { return d.Closed })
	assert.Positive(t, d.Unacknowledged)
	assert.Zero(t, d.Unanswered)
	assert.Positive(t, d.Asked)
	go io.Copy(io.Discard, far)
	wait("it goes on", func(d hub.Delivery) bool {
		return d.Unacknowledged == 0 && !d.Closed && d.Asked == 0 && d.Congested.IsZero()
	})
}

// The moments of a congestion are on the clock that nobody sets.
func TestMoments(t *testing.T) {
	now := time.Now()
	c := &congestion{since: now}
	for _, after := range []time.Duration{0, 1, time.Hour} {
		at := now.Add(after)
		assert.Positive(t, c.moment(at))
		assert.Equal(t, at, c.at(c.moment(at)), "with its reading of the monotonic clock")
	}
}

// Whoever looks at viewers that come and go, and are congested and not, finds them as they are.
func TestDeliveryWhileViewersComeAndGo(t *testing.T) {
	w := newWorld(t, Config{}, hub.Config{})
	s := w.publish("a")
	s.send("K", 20_000)
	var looking, watching sync.WaitGroup
	stop := make(chan struct{})
	looking.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				for _, info := range w.hub.Examine(w.hub.Sessions()) {
					assert.GreaterOrEqual(t, info.Delivery.Unwritten, 0)
				}
			}
		}
	})
	for n := range 40 {
		near, far := dial(t, 8<<10)
		v := w.attach(w.pool.NewOutlet(near), s.key)
		watching.Go(func() {
			io.CopyN(io.Discard, far, int64(1000*n))
			far.(*net.TCPConn).Close()
			<-v.done
		})
		s.send("KPPP", 5000)
	}
	ended := make(chan struct{})
	go func() {
		watching.Wait()
		close(ended)
	}()
	for done := false; !done; {
		select {
		case <-ended:
			done = true
		case <-time.After(time.Millisecond):
			s.send("P", 500)
		}
	}
	close(stop)
	looking.Wait()
}
