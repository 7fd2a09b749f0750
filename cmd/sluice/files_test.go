package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestFilesAreReported(t *testing.T) {
	for _, c := range []struct {
		limit uint64
		want  string
		warn  bool
	}{
		{0, "limit=0 reserved=500 viewers=0", true},
		{256, "limit=256 reserved=500 viewers=0", true},
		{1024, "limit=1024 reserved=500 viewers=524", true},
		{10_499, "limit=10499 reserved=500 viewers=9999", true},
		{10_500, "limit=10500 reserved=500 viewers=10000", false},
		{1 << 20, "limit=1048576 reserved=500 viewers=1048076", false},
		{math.MaxUint64, "limit=18446744073709551615 reserved=500 viewers=18446744073709551115", false},
	} {
		var out bytes.Buffer
		reportFiles(c.limit, newLogger(&out, "text", slog.LevelInfo))
		assert.Contains(t, out.String(), c.want)
		assert.Equal(t, 1, bytes.Count(out.Bytes(), []byte("\n")), "one line")
		if c.warn {
			assert.Contains(t, out.String(), "level=WARN")
			assert.Contains(t, out.String(), "LimitNOFILE=")
			assert.Contains(t, out.String(), "ulimit -n")
		} else {
			assert.Contains(t, out.String(), `level=INFO msg="open files"`)
		}
	}
}

func TestConnectionsAreBoundedByFiles(t *testing.T) {
	for _, c := range []struct {
		asked int
		limit uint64
		want  int
		warn  bool
	}{
		{0, 20_000, 19_900, false},
		{19_900, 20_000, 19_900, false},
		{5000, 20_000, 5000, false},
		{19_901, 20_000, 19_900, true},
		{0, 1024, 924, false},
		{0, 64, 32, false},
		{10_000_000, 1 << 20, 1<<20 - 100, true},
		{0, math.MaxUint64, math.MaxInt32, false},
		{10_000_000, math.MaxUint64, 10_000_000, false},
	} {
		var out bytes.Buffer
		assert.Equal(t, c.want, boundConnections(c.asked, c.limit, ownFiles, newLogger(&out, "text", slog.LevelInfo)), "%v", c)
		if c.warn {
			assert.Contains(t, out.String(), "level=WARN")
			assert.Contains(t, out.String(), fmt.Sprintf("asked=%d connections=%d limit=%d reserved=100", c.asked, c.want, c.limit))
		} else {
			assert.Empty(t, out.String())
		}
	}
}

// What is configured needs files of its own.
func TestOwnFiles(t *testing.T) {
	const limit = 1 << 20
	control := func(c ControlSettings) config {
		one := addresses{":0"}
		return config{ControlSettings: c, ListenSettings: ListenSettings{RTMPAddr: one, HTTPAddr: one, HTTPSAddr: addresses{":0", ":0"}}}
	}
	for name, c := range map[string]struct {
		cfg  config
		want uint64
	}{
		"nothing":     {config{}, 100},
		"off":         {control(ControlSettings{ProxyProtocol: words{"off"}}), 100},
		"a proxy":     {control(ControlSettings{ProxyProtocol: words{"http"}}), 100 + 65},
		"two proxies": {control(ControlSettings{ProxyProtocol: words{"rtmp", "http"}}), 100 + 130},
		"with TLS":    {control(ControlSettings{ProxyProtocol: words{"rtmp", "https"}}), 100 + 3*65},
		"events":      {control(ControlSettings{EventURL: "x", EventExec: "y"}), 100 + 10 + 28},
		"operators":   {control(ControlSettings{AdminAddr: addresses{":1"}}), 100 + 128 + 64 + limit/16},
		"metrics":     {control(ControlSettings{AdminAddr: addresses{":1"}, MetricsAddr: addresses{":2"}}), 100 + 128 + 64 + limit/16},
		"ACME":        {config{TLSSettings: TLSSettings{TLSDomains: domains{"a.example"}}}, 100 + 12},
		"questions":   {config{AccessSettings: AccessSettings{AuthURL: "x", JWTJWKSURL: "y"}}, 100 + 66 + 2},
		"pushes":      {config{RelaySettings: RelaySettings{Push: "** rtmp://h/a/b"}}, 100 + 64 + 1},
		"origins":     {config{RelaySettings: RelaySettings{Origin: "** rtmp://h/a/b"}}, 100 + 64 + 1 + limit/16},
		"a cluster":   {config{ClusterSettings: ClusterSettings{Cluster: nodes{"a:1", "b:1", "c:1"}}}, 100 + 64 + 3*4 + 2*limit/16},
		"recordings":  {config{RecordDir: "x"}, 100 + limit/16},
	} {
		assert.Equal(t, c.want, c.cfg.filesBesides(limit), name)
	}
}

// The more files there may be, the more streams are pulled for viewers.
func TestOriginsAreBoundedByFiles(t *testing.T) {
	for limit, want := range map[uint64]int{0: 1, 1024: 64, 1 << 20: 1 << 16, math.MaxUint64: math.MaxInt32} {
		assert.Equal(t, want, originsFor(limit))
	}
}
