package fanout

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/rawconn"
)

// formed is a stamper with a form of its own.
type formed struct {
	stamper
	form uint64
}

func (f *formed) Form() uint64 { return f.form }

// BenchmarkPass compares a pass over many viewers, on connections whose peers drop what
// comes, with bare writes of as many bytes to them: what is above 1 is ours.
func BenchmarkPass(b *testing.B) {
	kinds := map[string]func(i int) (form uint64, o hub.WatchOptions){
		"one":   func(int) (uint64, hub.WatchOptions) { return 1, hub.WatchOptions{} },
		"mix":   func(i int) (uint64, hub.WatchOptions) { return uint64(1 + i%3), hub.WatchOptions{} },
		"audio": func(int) (uint64, hub.WatchOptions) { return 1, hub.WatchOptions{NoVideo: true} },
	}
	for _, kind := range []string{"one", "mix", "audio"} {
		b.Run(kind, func(b *testing.B) { benchmarkPass(b, 1000, kinds[kind], false) })
	}
	b.Run("encrypted", func(b *testing.B) { benchmarkPass(b, 1000, kinds["one"], true) })
}

// threadTime is what the thread has used of a processor: other programs take turns from
// it, but not time.
func threadTime() time.Duration {
	var t unix.Timespec
	unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t)
	return time.Duration(t.Nano())
}

func benchmarkPass(b *testing.B, viewers int, kind func(i int) (uint64, hub.WatchOptions), seal bool) {
	h := hub.New(hub.Config{PublisherGrace: -1})
	pool := New(Config{Workers: 1, Coalesce: time.Hour})
	defer pool.Close()
	pool.workers[0].pace.next = time.Now().Add(time.Hour) // it makes no pass by itself
	key := hub.Key{App: "live", Name: "a"}
	p, err := h.Publish(h.NewSession(hub.RolePublish, key, hub.Client{}), hub.PublishOptions{})
	require.NoError(b, err)
	defer p.Close()
	at := uint32(0)
	write := func(typ flv.Type, head []byte, size int) {
		require.NoError(b, p.Write(flv.Tag{Type: typ, Timestamp: at, Data: append(head[:len(head):len(head)], make([]byte, size)...)}))
	}
	// What comes in 100 ms of 206 kbps: 5 frames of sound, 2 or 3 pictures.
	tick := func() {
		for range 5 {
			at += 20
			write(flv.TypeAudio, []byte{0xaf, 1}, 100)
			if at%40 == 0 {
				write(flv.TypeVideo, frameHead['P'], 900)
			}
		}
	}
	write(flv.TypeAudio, []byte{0xaf, 0, 0x12, 0x10}, 0)
	write(flv.TypeVideo, frameHead['K'], 900)
	write(flv.TypeAudio, []byte{0xaf, 1}, 100)
	var fds, peers []int
	sent := make([]*hub.Viewer, viewers)
	for i := range viewers {
		near, far := dial(b, 1<<20)
		_, fd := descriptor(b, near)
		_, peer := descriptor(b, far)
		fds, peers = append(fds, fd), append(peers, peer)
		form, o := kind(i)
		v, err := h.Watch(h.NewSession(hub.RoleWatch, key, hub.Client{}), o)
		require.NoError(b, err)
		defer v.Close()
		require.NoError(b, v.Wait(b.Context()))
		out := Conn(near)
		if seal {
			out, _ = encrypted(b, near, far)
		}
		pool.NewOutlet(out).Attach(Feed{Viewer: v, Framer: &formed{form: form}})
		sent[i] = v
	}
	w := pool.workers[0]
	g := w.snapshot()[0]
	g.settle()
	drain := func() {
		for _, fd := range peers {
			unix.Syscall6(unix.SYS_RECVFROM, uintptr(fd), 0, 1<<20, unix.MSG_TRUNC|unix.MSG_DONTWAIT, 0, 0)
		}
	}
	tick()
	g.pass(&w.batch)
	drain()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var took [2]time.Duration
	bare := make([]byte, 1<<20)
	for round := 0; b.Loop(); round++ {
		tick()
		before := sent[0].Bytes()
		for i := range took {
			begun := threadTime()
			if i == 0 {
				g.pass(&w.batch)
				w.batch.Forget()
			} else {
				p := bare[:sent[0].Bytes()-before]
				for _, fd := range fds {
					rawconn.SendNow(fd, p)
				}
			}
			took[i] += threadTime() - begun
			drain()
		}
	}
	b.ReportMetric(float64(took[0].Nanoseconds())/float64(b.N*viewers), "ns/viewer")
	b.ReportMetric(float64(took[1].Nanoseconds())/float64(b.N*viewers), "ns/bare")
	b.ReportMetric(float64(took[0])/float64(took[1]), "pass/bare")
}
