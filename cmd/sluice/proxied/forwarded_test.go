package proxied

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"sluice/httpflv"
)

// seen returns what the handlers behind Forwarded see of a request's client.
func seen(peer string, header http.Header) (address string, secure bool) {
	r := httptest.NewRequest("GET", "/live/a.flv", nil)
	r.RemoteAddr, r.Header = peer, header
	Forwarded(proxies, http.HandlerFunc(func(_ http.ResponseWriter, inner *http.Request) {
		address, secure = inner.RemoteAddr, httpflv.ClientOf(inner).Secure
	})).ServeHTTP(httptest.NewRecorder(), r)
	if r.RemoteAddr != peer {
		panic("the request itself was changed")
	}
	return address, secure
}

func TestForwarded(t *testing.T) {
	const proxy, stranger = "10.0.0.1:50000", "198.51.100.5:50000"
	long := strings.Repeat(" ", maxForwarded)
	for name, tt := range map[string]struct {
		peer  string
		lines []string
		want  string
	}{
		"none":                        {proxy, nil, proxy},
		"a stranger's":                {stranger, []string{"192.0.2.9"}, stranger},
		"no address":                  {"@", []string{"192.0.2.9"}, "@"},
		"one":                         {proxy, []string{"192.0.2.9"}, "192.0.2.9:0"},
		"a mapped proxy":              {"[::ffff:10.0.0.1]:50000", []string{"192.0.2.9"}, "192.0.2.9:0"},
		"rightmost that is untrusted": {proxy, []string{"192.0.2.8, 192.0.2.9,10.0.0.2 , 10.0.0.3"}, "192.0.2.9:0"},
		"spoofed trusted":             {proxy, []string{"10.0.0.9, 192.0.2.9"}, "192.0.2.9:0"},
		"spoofed malformed":           {proxy, []string{"<script>, unknown, 192.0.2.9"}, "192.0.2.9:0"},
		"lines":                       {proxy, []string{"192.0.2.8", "192.0.2.9", "10.0.0.2, 10.0.0.3"}, "192.0.2.9:0"},
		"all are trusted":             {proxy, []string{"10.0.0.4, 10.0.0.3"}, "10.0.0.4:0"},
		"unknown":                     {proxy, []string{"192.0.2.9, unknown"}, proxy},
		"unknown behind a proxy":      {proxy, []string{"192.0.2.9, unknown, 10.0.0.3"}, "10.0.0.3:0"},
		"empty":                       {proxy, []string{""}, proxy},
		"empty entry":                 {proxy, []string{"192.0.2.9,, 10.0.0.3"}, "10.0.0.3:0"},
		"empty line between":          {proxy, []string{"192.0.2.9", "", "10.0.0.3"}, "10.0.0.3:0"},
		"a port":                      {proxy, []string{"192.0.2.9:4660"}, "192.0.2.9:4660"},
		"a bad port":                  {proxy, []string{"192.0.2.9:x"}, proxy},
		"a large port":                {proxy, []string{"192.0.2.9:65536"}, proxy},
		"IPv6":                        {proxy, []string{"2001:db8::9"}, "[2001:db8::9]:0"},
		"IPv6 in brackets":            {proxy, []string{"[2001:db8::9]"}, "[2001:db8::9]:0"},
		"IPv6 and port":               {proxy, []string{"[2001:db8::9]:4660"}, "[2001:db8::9]:4660"},
		"IPv6 with a zone":            {proxy, []string{"fe80::1%eth0"}, proxy},
		"IPv6, brackets and zone":     {proxy, []string{"[fe80::1%eth0]:1"}, proxy},
		"IPv4 in brackets":            {proxy, []string{"[192.0.2.9]"}, proxy},
		"half a bracket":              {proxy, []string{"[2001:db8::9"}, proxy},
		"mapped":                      {proxy, []string{"::ffff:192.0.2.9"}, "192.0.2.9:0"},
		"mapped proxy in the list":    {proxy, []string{"192.0.2.9, ::ffff:10.0.0.3"}, "192.0.2.9:0"},
		"unspecified":                 {proxy, []string{"0.0.0.0"}, proxy},
		"quoted":                      {proxy, []string{`"192.0.2.9"`}, proxy},
		"99 proxies":                  {proxy, []string{"192.0.2.9" + strings.Repeat(", 10.0.0.3", maxHops-1)}, "192.0.2.9:0"},
		"100 proxies":                 {proxy, []string{"192.0.2.9, 10.0.0.4" + strings.Repeat(", 10.0.0.3", maxHops-1)}, "10.0.0.4:0"},
		"100 lines":                   {proxy, append([]string{"192.0.2.9"}, strings.Split(strings.Repeat("10.0.0.3 ", maxHops), " ")[:maxHops]...), "10.0.0.3:0"},
		"long on the left":            {proxy, []string{long, "192.0.2.9"}, "192.0.2.9:0"},
		"long on the right":           {proxy, []string{"192.0.2.9", long}, proxy},
		"8 KiB":                       {proxy, []string{"192.0.2.9," + long[:maxForwarded-30] + "10.0.0.3"}, "192.0.2.9:0"},
	} {
		t.Run(name, func(t *testing.T) {
			header := http.Header{}
			for _, line := range tt.lines {
				header.Add("X-Forwarded-For", line)
			}
			header.Set("Forwarded", "for=203.0.113.1;proto=https")
			header.Set("X-Real-IP", "203.0.113.2")
			got, _ := seen(tt.peer, header)
			assert.Equal(t, tt.want, got)
		})
	}
}

func TestForwardedProto(t *testing.T) {
	for lines, want := range map[string]bool{
		"": false, "https": true, "HTTPS": true, "wss": true, "http": false, "ws": false, "ftp": false,
		"http, https": true, "https, http": false, "http|https ": true, "https|http": false,
	} {
		header := http.Header{}
		if lines != "" {
			header["X-Forwarded-Proto"] = strings.Split(lines, "|")
		}
		_, secure := seen("10.0.0.1:1", header)
		assert.Equal(t, want, secure, lines)
		_, secure = seen("192.0.2.1:1", header)
		assert.False(t, secure, "a stranger's: %s", lines)
	}
}

func TestForwardedByNobody(t *testing.T) {
	h := http.NotFoundHandler()
	assert.Equal(t, fmt.Sprint(h), fmt.Sprint(Forwarded(nil, h)))
}

// Whatever a client sends, what its proxy appends decides.
func FuzzForwarded(f *testing.F) {
	f.Add("192.0.2.8, 10.0.0.1", "", false)
	f.Add("[2001:db8::1]:80, unknown", ",,", true)
	f.Add("fe80::1%eth0", "\"", true)
	f.Fuzz(func(t *testing.T, sent, more string, ownLine bool) {
		const client = "192.0.2.9"
		lines := []string{more, sent + ", " + client}
		if ownLine {
			lines = []string{more, sent, client}
		}
		assert.Equal(t, client+":0", clientOf(lines, proxies).String())
		got := clientOf([]string{more, sent}, proxies)
		if a := got.Addr(); got.IsValid() {
			assert.Empty(t, a.Zone())
			assert.Equal(t, a.Unmap(), a)
			again, err := netip.ParseAddrPort(got.String())
			assert.NoError(t, err)
			assert.Equal(t, got, again)
		}
	})
}

func BenchmarkForwarded(b *testing.B) {
	lines := []string{"192.0.2.8, 192.0.2.9, 10.0.0.3"}
	b.ReportAllocs()
	for b.Loop() {
		clientOf(lines, proxies)
	}
}
