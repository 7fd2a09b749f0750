package proxied

import (
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The header of a proxy is taken off, and not a byte more, whether it comes at once, with
// what follows, or byte by byte.
func TestListen(t *testing.T) {
	l, log := listenTCP(t)
	ways := map[string]func(t *testing.T, c net.Conn, text string){
		"at once": func(t *testing.T, c net.Conn, text string) {
			_, err := io.WriteString(c, text)
			require.NoError(t, err)
		},
		"byte by byte": func(t *testing.T, c net.Conn, text string) {
			for i := range len(text) {
				_, err := io.WriteString(c, text[i:i+1])
				require.NoError(t, err)
			}
		},
	}
	for name, tt := range map[string]struct{ header, client string }{
		"v1":                  {v1TCP4("192.0.2.9"), "192.0.2.9:4660"},
		"v1, IPv6":            {"PROXY TCP6 2001:db8::9 2001:db8::1 4660 1935\r\n", "[2001:db8::9]:4660"},
		"v1, mapped":          {"PROXY TCP6 ::ffff:192.0.2.9 ::ffff:192.0.2.1 4660 1935\r\n", "192.0.2.9:4660"},
		"v1, unknown":         {"PROXY UNKNOWN\r\n", ""},
		"v1, unknown, longer": {"PROXY UNKNOWN ffff::1 ffff::1 65535 65535\r\n", ""},
		"v2":                  {v2TCP4(0), "192.0.2.9:4660"},
		"v2 and values":       {v2TCP4(maxV2 - fixedV2 - 12), "192.0.2.9:4660"},
		"v2, IPv6": {v2(0x21, 0x21, append(append(net.ParseIP("2001:db8::9"), net.ParseIP("2001:db8::1")...), 0x12, 0x34, 0, 1)...),
			"[2001:db8::9]:4660"},
		"v2, local":                 {v2(0x20, 0), ""},
		"v2, local, with addresses": {strings.Replace(v2TCP4(0), "\x21\x11", "\x20\x11", 1), ""},
		"v2, local, too short":      {v2(0x20, 0x11, 1, 2, 3), ""},
		"v2, values of no sense":    {v2(0x21, 0x11, append([]byte(v2TCP4(0))[16:], 0xe0, 0xff, 0xff)...), "192.0.2.9:4660"},
		"v2, a UNIX socket":         {v2(0x21, 0x31, make([]byte, 216)...), ""},
	} {
		for way, send := range ways {
			t.Run(name+", "+way, func(t *testing.T) {
				c := dialFrom(t, proxyAddr, l.Addr())
				go send(t, c, tt.header+"\x03hello")
				nc, err := l.Accept()
				require.NoError(t, err)
				defer nc.Close()
				want := tt.client
				if want == "" {
					want = c.LocalAddr().String()
				}
				assert.Equal(t, want, nc.RemoteAddr().String())
				assert.IsType(t, &net.TCPAddr{}, nc.RemoteAddr())
				got := make([]byte, 6)
				_, err = io.ReadFull(nc, got)
				require.NoError(t, err)
				assert.Equal(t, "\x03hello", string(got))
			})
		}
	}
	assert.Empty(t, log.String())
}

// A connection of a proxy that does not begin with a right header is closed, and does not
// reach Accept; a warning says so.
func TestBadHeaders(t *testing.T) {
	for name, tt := range map[string]struct{ header, reason string }{
		"none, RTMP":          {"\x03" + strings.Repeat("x", 1536), errNoHeader.Error()},
		"none, HTTP":          {"GET / HTTP/1.1\r\n\r\n", errNoHeader.Error()},
		"TLS":                 {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + v1TCP4("192.0.2.9"), errNoHeader.Error()},
		"almost v1":           {"PROXy TCP4", errNoHeader.Error()},
		"almost v2":           {"\r\n\r\n\x00\r\nQUIT\r", errNoHeader.Error()},
		"v1, a name":          {v1TCP4("example.com"), "malformed"},
		"v1, no port":         {"PROXY TCP4 192.0.2.9 198.51.100.1\r\n", "malformed"},
		"v1, large port":      {"PROXY TCP4 192.0.2.9 198.51.100.1 65536 1\r\n", "malformed"},
		"v1, a zone":          {"PROXY TCP6 fe80::1%eth0 fe80::2 1 1\r\n", "malformed"},
		"v1, no address":      {v1TCP4("0.0.0.0"), "malformed"},
		"v1, too long":        {"PROXY UNKNOWN " + strings.Repeat("x", 107) + "\r\n", "too long"},
		"v1, only LF":         {"PROXY TCP4 192.0.2.9 198.51.100.1 1 1\n", "malformed"},
		"v1, ends early":      {"PROXY \r\nTCP4 192.0.2.9 198.51.100.1 1 1\r\n", "malformed"},
		"v2, wrong version":   {v2(0x11, 0x11, make([]byte, 12)...), "malformed"},
		"v2, wrong command":   {v2(0x22, 0x11, make([]byte, 12)...), "malformed"},
		"v2, too short":       {v2(0x21, 0x11, 1, 2, 3), "malformed"},
		"v2, UDP":             {v2(0x21, 0x12, []byte(v2TCP4(0))[16:]...), "without connections"},
		"v2, unspecified":     {v2(0x21, 0x00), "malformed"},
		"v2, values too long": {v2TCP4(maxV2 - fixedV2 - 12 + 1), "too long"},
		"v2, announces 65535": {string(signatureV2) + "\x21\x11\xff\xff", "too long"},
	} {
		t.Run(name, func(t *testing.T) {
			l, log := listenTCP(t)
			c := dialFrom(t, proxyAddr, l.Addr())
			_, err := io.WriteString(c, tt.header)
			require.NoError(t, err)
			good := dialFrom(t, proxyAddr, l.Addr())
			c.SetReadDeadline(time.Now().Add(time.Minute))
			_, err = c.Read(make([]byte, 1))
			require.Error(t, err)
			require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
			_, err = io.WriteString(good, v1TCP4("192.0.2.9"))
			require.NoError(t, err)
			nc, err := l.Accept()
			require.NoError(t, err)
			nc.Close()
			assert.Equal(t, "192.0.2.9:4660", nc.RemoteAddr().String(), "the bad one did not reach Accept")
			l.Close()
			assert.Contains(t, log.String(), "level=WARN")
			assert.Contains(t, log.String(), tt.reason)
		})
	}
}
