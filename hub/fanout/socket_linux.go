package fanout

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sluice/hub"
	"sluice/hub/rawconn"
)

// boundUnsent makes the kernel take no more than about n bytes that it can't send
// yet (tcp(7), TCP_NOTSENT_LOWAT), whatever it would have memory for; what is under
// way to the peer does not count. Connections that know no such bound are left as
// they are.
func boundUnsent(raw syscall.RawConn, n int) {
	raw.Control(func(fd uintptr) {
		unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, n)
	})
}

// look fills in what the kernel knows of a connection (tcp(7), TCP_INFO).
func look(raw syscall.RawConn, d *hub.Delivery) {
	if n, ok := rawconn.Unacknowledged(raw); ok {
		d.Unacknowledged = n
	}
	var info *unix.TCPInfo
	var err error
	if raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }) != nil || err != nil {
		return
	}
	now := time.Now()
	ago := func(ms uint32) time.Time { return now.Add(-time.Duration(ms) * time.Millisecond) }
	d.Written, d.Acknowledged = ago(info.Last_data_sent), ago(info.Last_ack_recv)
	d.Unanswered = int(info.Retransmits)
	// A timer that backs off is that of what was sent again, or of questions whether a
	// window that was closed is open.
	if d.Closed = info.Backoff > 0 && info.Retransmits == 0 && d.Unacknowledged > 0; d.Closed {
		d.Asked = int(info.Backoff)
	}
}
