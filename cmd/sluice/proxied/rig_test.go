package proxied

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Addresses of loopback that tests use, so that each is somebody else.
var (
	proxyAddr    = netip.MustParseAddr("127.0.0.7")
	strangerAddr = netip.MustParseAddr("127.0.0.8")
)

// proxies trusts the proxy of the tests and 10.0.0.0/8.
func proxies(a netip.Addr) bool {
	return a == proxyAddr || netip.MustParsePrefix("10.0.0.0/8").Contains(a)
}

// output keeps what a logger writes.
type output struct {
	mu sync.Mutex
	b  strings.Builder
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func (o *output) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(o, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// listenTCP returns a listener on loopback that reads PROXY headers, and what it logs.
func listenTCP(t testing.TB) (net.Listener, *output) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var log output
	p := Listen(l, Config{Trusted: proxies, Logger: log.logger()})
	t.Cleanup(func() { p.Close() })
	return p, &log
}

// dialFrom connects from one of the addresses of loopback.
func dialFrom(t testing.TB, from netip.Addr, to net.Addr) *net.TCPConn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from.AsSlice()}, Timeout: 10 * time.Second}
	c, err := d.Dial("tcp", to.String())
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// v2 returns a header of version 2 with a command, a family and what follows the length.
func v2(command, family byte, rest ...byte) string {
	return string(signatureV2) + string([]byte{command, family, byte(len(rest) >> 8), byte(len(rest))}) + string(rest)
}

// v2TCP4 returns a header of version 2 for 192.0.2.9:4660, with n bytes of values after the
// addresses.
func v2TCP4(n int) string {
	rest := []byte{192, 0, 2, 9, 198, 51, 100, 1, 0x12, 0x34, 0x07, 0x8f}
	if n > 0 {
		rest = append(rest, 0xe0, byte((n-3)>>8), byte(n-3))
		rest = append(rest, make([]byte, n-3)...)
	}
	return v2(0x21, 0x11, rest...)
}

// v1TCP4 returns a header of version 1 for an address.
func v1TCP4(from string) string {
	return fmt.Sprintf("PROXY TCP4 %s 198.51.100.1 4660 1935\r\n", from)
}

// addrOf returns a net.IP as the rest of the tests have addresses.
func addrOf(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}
