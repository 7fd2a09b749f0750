package main

import (
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/cmd/sluice/certificate"
)

// What is told can be opened as it stands: with TLS under a name that the certificate has, and at every
// interface by way of localhost.
func TestAnnouncesWhatCanBeOpened(t *testing.T) {
	open := func(kind, ip string, port int) listener {
		return listener{Listener: fakeListener{addr: &net.TCPAddr{IP: net.ParseIP(ip), Port: port}}, kind: kind}
	}
	all := listeners{
		open(kindRTMP, "::", 1935), open(kindHTTP, "::", 8080), open(kindRTMPS, "::", 1936), open(kindHTTPS, "::", 443),
		open(kindAdmin, "::", 8081), open(kindMetrics, "127.0.0.1", 9091),
	}
	certificates, err := certificate.Open(certificate.Config{
		Domains: []string{"live.example.com"}, StateDir: t.TempDir(), Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	for name, c := range map[string]struct {
		cfg  config
		want []string
	}{
		"no certificate": {config{}, []string{
			"rtmps://localhost:1936/live/NAME\n", "https://localhost/\n", "http://localhost:8081/admin in", "http://127.0.0.1:9091/metrics\n",
		}},
		"one for a name": {config{certificates: certificates, ControlSettings: ControlSettings{AdminTLS: true}}, []string{
			"rtmp://localhost/live/NAME\n", "rtmps://live.example.com:1936/live/NAME\n", "http://localhost:8080/ in",
			"https://live.example.com/\n", "wss://live.example.com/live/NAME.flv\n", "https://live.example.com:8081/admin in",
			"https://127.0.0.1:9091/metrics\n",
		}},
	} {
		var said strings.Builder
		announce(&said, c.cfg, all)
		for _, want := range c.want {
			assert.Contains(t, said.String(), " "+want, name)
		}
		assert.NotContains(t, said.String(), "[::]", name)
	}
}
