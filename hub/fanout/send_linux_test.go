package fanout

import (
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"sluice/hub/rawconn"
)

// descriptor returns the file descriptor of a connection, which stays open.
func descriptor(t testing.TB, c net.Conn) (raw syscall.RawConn, fd int) {
	t.Helper()
	raw, err := c.(syscall.Conn).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(n uintptr) { fd = int(n) }))
	return raw, fd
}

// The kernel takes no more than the bound of what it can't send.
func TestUnsentIsBounded(t *testing.T) {
	near, _ := dial(t, 4<<20)
	p := New(Config{Workers: 1})
	defer p.Close()
	p.NewOutlet(near)
	raw, fd := descriptor(t, near)
	sent := 0
	require.Eventually(t, func() bool {
		n, err := rawconn.TrySend(raw, make([]byte, 4000))
		sent += n
		return err != nil || n == 0
	}, 10*time.Second, time.Microsecond)
	unsent, err := unix.IoctlGetInt(fd, unix.SIOCOUTQNSD)
	require.NoError(t, err)
	assert.LessOrEqual(t, unsent, 2*maxUnsent)
	assert.Greater(t, sent, maxUnsent)
}

// BenchmarkSend compares the ways to make one write of a pass, to many connections
// in turn whose peers drop what comes: as ratios to a bare system call.
func BenchmarkSend(b *testing.B) {
	const viewers, size = 200, 2500
	var raws []syscall.RawConn
	var fds, peers []int
	for range viewers {
		near, far := dial(b, 1<<20)
		raw, fd := descriptor(b, near)
		_, peer := descriptor(b, far)
		raws, fds, peers = append(raws, raw), append(fds, fd), append(peers, peer)
	}
	p := make([]byte, size)
	ways := []func(i int){
		func(i int) { rawconn.SendNow(fds[i], p) },
		func(i int) { rawconn.TrySend(raws[i], p) },
		func(i int) { // as a net.Conn writes
			raws[i].Write(func(fd uintptr) bool {
				syscall.Write(int(fd), p)
				return true
			})
		},
	}
	took := make([]time.Duration, len(ways))
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for round := 0; b.Loop(); round++ {
		for i := range ways {
			way := (round + i) % len(ways) // none is always the first
			write := ways[way]
			begun := time.Now()
			for i := range viewers {
				write(i)
			}
			took[way] += time.Since(begun)
			for _, fd := range peers {
				unix.Syscall6(unix.SYS_RECVFROM, uintptr(fd), 0, 1<<20, unix.MSG_TRUNC|unix.MSG_DONTWAIT, 0, 0)
			}
		}
	}
	b.ReportMetric(float64(took[0].Nanoseconds())/float64(b.N*viewers), "ns/bare")
	b.ReportMetric(float64(took[1])/float64(took[0]), "direct/bare")
	b.ReportMetric(float64(took[2])/float64(took[0]), "rawconn/bare")
}
