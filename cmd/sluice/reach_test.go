package main

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
)

// Where clients reach a node, as it tells others: the host of its name and its listeners, if nothing else is set.
func TestReachOf(t *testing.T) {
	open := func(kind string, port int) listener {
		return listener{at{addr: fmt.Sprintf("[::]:%d", port)}, kind, ""}
	}
	for name, c := range map[string]struct {
		node string
		cfg  config
		open listeners
		want reach
	}{
		"by its address": {"10.0.0.1:6222", config{}, listeners{open("https", 8443), open("rtmp", 1935), open("http", 8080)},
			reach{"http://10.0.0.1:8080", "rtmp://10.0.0.1"}},
		"within TLS only": {"n1.example.com:6222", config{}, listeners{open("https", 443), open("rtmps", 7443)},
			reach{"https://n1.example.com", "rtmps://n1.example.com:7443"}},
		"over IPv6":              {"[::1]:6222", config{}, listeners{open("http", 8080)}, reach{"http://[::1]:8080", ""}},
		"by a name":              {"box", config{}, listeners{open("http", 8080), open("rtmp", 1936)}, reach{"http://box:8080", "rtmp://box:1936"}},
		"a name that is no host": {"the box", config{}, listeners{open("http", 8080)}, reach{}},
		"behind a proxy": {"n1:6222", config{ControlSettings: ControlSettings{ProxyProtocol: words{"http"}}}, listeners{open("http", 8080)},
			reach{"http://n1", ""}},
		"as it is set": {"n1:6222", config{ClusterSettings: ClusterSettings{ClusterHTTPURL: "https://One.example.com:443/", ClusterRTMPURL: "rtmp://1.example.com:1936"}},
			listeners{open("http", 8080), open("rtmp", 1935)}, reach{"https://one.example.com", "rtmp://1.example.com:1936"}},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, c.want, reachOf(&c.cfg, c.open, c.node)) })
	}
}
