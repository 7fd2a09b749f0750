package main

import (
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/web"
)

func TestPublicURLs(t *testing.T) {
	for _, c := range []struct {
		rtmp, http string
		want       web.Public
	}{
		{"", "", web.Public{}},
		{"rtmp://live.example.com", "", web.Public{RTMP: []string{"rtmp://live.example.com"}}},
		{"RTMPS://Live.Example.COM:443/", "", web.Public{RTMP: []string{"rtmps://live.example.com"}}},
		{"rtmps://a.example ; rtmp://b.example:1936\n", "", web.Public{RTMP: []string{"rtmps://a.example", "rtmp://b.example:1936"}}},
		{"rtmp://[2001:db8::1]:1935", "http://[2001:DB8::1]:8080", web.Public{RTMP: []string{"rtmp://[2001:db8::1]"}, HTTP: "http://[2001:db8::1]:8080"}},
		{"", "https://live.example.com:443", web.Public{HTTP: "https://live.example.com"}},
		{"", "http://192.0.2.7:80/", web.Public{HTTP: "http://192.0.2.7"}},
		{"", "https://localhost:8443", web.Public{HTTP: "https://localhost:8443"}},
	} {
		cfg, err := loadConfig([]string{"SLUICE_PUBLIC_RTMP_URL=" + c.rtmp, "SLUICE_PUBLIC_HTTP_URL=" + c.http})
		require.NoError(t, err)
		assert.Equal(t, c.want, cfg.public())
	}
}

// at is a listener that is nowhere.
type at struct {
	net.Listener
	addr string
}

func (a at) Addr() net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(a.addr)) }

// The page tells people of each scheme a port that they reach; that of the proxy where they would
// be turned away at our own.
func TestRTMPAddressesOfThePage(t *testing.T) {
	open := func(kind string, addrs ...string) (l listeners) {
		for _, addr := range addrs {
			l = append(l, listener{at{addr: addr}, kind, ""})
		}
		return l
	}
	rtmp, rtmps := open(kindRTMP, "127.0.0.1:1935", "[::1]:1936", "0.0.0.0:19350", "0.0.0.0:19351"), open(kindRTMPS, "127.0.0.1:19443")
	for _, c := range []struct {
		proxied string
		l       listeners
		want    []string
	}{
		{"off", nil, []string{}},
		{"off", rtmp, []string{"rtmp://:19350"}},
		{"off", append(rtmp, rtmps...), []string{"rtmp://:19350", "rtmps://:19443"}},
		{"http", rtmp[:2], []string{"rtmp://:1935"}},
		{"rtmp", rtmp, []string{"rtmp://:1935"}},
		{"http rtmp", append(rtmp, rtmps...), []string{"rtmp://:1935", "rtmps://:19443"}},
	} {
		cfg, err := loadConfig([]string{"SLUICE_TRUSTED_PROXIES=127.0.0.1", "SLUICE_PROXY_PROTOCOL=" + c.proxied})
		require.NoError(t, err)
		assert.Equal(t, c.want, rtmpAddresses(&cfg, c.l))
	}
}

// What is taken stands in the page's address bar, in headers and in lines for a shell: nothing gets
// in there that means something, and what is taken is taken again as it is.
func FuzzPublicURL(f *testing.F) {
	for _, seed := range []string{"https://live.example.com", "http://[::1]:8080", "http://a:80", "https://x\"><", "http://a%00b", "http://;", "http://a:1:2", "https://-"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		origins, err := parsePublic(text, httpSchemes)
		if err != nil {
			assert.Empty(t, origins)
			return
		}
		for _, origin := range origins {
			assert.Regexp(t, `^https?://([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:[0-9]+)?$`, origin)
			again, err := parsePublic(origin, httpSchemes)
			assert.NoError(t, err)
			assert.Equal(t, []string{origin}, again)
		}
	})
}

// A server that was told how the world reaches it announces that, and where it listens.
func TestAnnouncesPublicURLs(t *testing.T) {
	out, _ := start(t, "SLUICE_PUBLIC_RTMP_URL=rtmps://in.example.com;rtmp://in.example.com:1936", "SLUICE_PUBLIC_HTTP_URL=https://live.example.com")
	said := out.find(t, `is ready\.\n\n((?:  .+\n)+)\n`)[1]
	assert.Regexp(t, `^  Publish   rtmps://in\.example\.com/live/NAME
            rtmp://in\.example\.com:1936/live/NAME
            in OBS: server rtmps://in\.example\.com/live, stream key NAME
  Watch     https://live\.example\.com/ in a browser
            rtmps://in\.example\.com/live/NAME
            rtmp://in\.example\.com:1936/live/NAME
            https://live\.example\.com/live/NAME\.flv
            wss://live\.example\.com/live/NAME\.flv
  Listens   rtmp://127\.0\.0\.1:\d+
            http://127\.0\.0\.1:\d+
$`, said)
	out, _ = start(t, "SLUICE_PUBLIC_HTTP_URL=https://live.example.com", "SLUICE_LOG_FORMAT=json")
	said = out.find(t, `.*"msg":"ready".*`)[0]
	assert.Contains(t, said, `"page":"https://live.example.com/"`)
	assert.Regexp(t, `"publish":"rtmp://127\.0\.0\.1:\d+/live/NAME"`, said)
	assert.Regexp(t, `"http_addr":"127\.0\.0\.1:\d+"`, said)
}
