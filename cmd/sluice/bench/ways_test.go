package bench

import (
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A server of its own for each way and round, which the same viewers reach in clear, over TLS, and
// over TLS that a real nginx ends.
func TestWays(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	t.Parallel()
	ways := []way{wayPlain, wayTLS, wayNginx}
	if path, err := exec.LookPath("/usr/sbin/nginx"); testing.Short() || err != nil {
		require.NotEqual(t, "true", os.Getenv("CI"), "nothing may be left out where CI=true: apt-get install nginx libnginx-mod-stream, of which there is %q", path)
		ways = ways[:2]
	}
	g := &gatewayAt{rtmp: "own", http: "own", rtmps: "own"}
	publish := g.publish(t, "1")
	publish[1] = "rtmps://own/live/s%d?key=secret"
	var list []string
	for _, w := range ways {
		list = append(list, string(w))
	}
	code, r := benched(t, t.Context(), publish, g.watch(), quick,
		[]string{"-viewers", "15", "-check", "3", "-churn", "20", "-stay", "100ms", "-ways", strings.Join(list, ",")})
	assert.Equal(t, exitOK, code, "%v", r.Problems)
	require.Len(t, r.Ways.Ways, len(ways))
	for i, w := range r.Ways.Ways {
		assert.Equal(t, ways[i], w.Way)
		require.Len(t, w.Rounds, 1)
		m := w.Median
		assert.Equal(t, w.Rounds[0], m)
		assert.Positive(t, m.PSS)
		assert.Positive(t, m.P99)
		assert.Positive(t, m.Joins)
		assert.Positive(t, m.FirstP99)
		assert.Equal(t, w.Way != wayPlain, m.HandshakeP99 > 0, w.Way)
		assert.Equal(t, w.Way == wayNginx, m.FrontPSS > 0, w.Way)
		assert.Less(t, m.FrontPSS, m.PSS)
	}
	assert.NotContains(t, r.Problems, "secret")
}

// Medians are of each figure by itself, and the ratio is that of each round.
func TestWaysAreSummedUp(t *testing.T) {
	c := &waysReport{Ways: []*wayReport{{Way: wayPlain}, {Way: wayTLS}}}
	for _, cpu := range [][2]float64{{1, 1.5}, {2, 4}, {1, 1.1}} {
		for i, w := range c.Ways {
			side := waySide{PerViewer: 1024 * cpu[i], Joins: 7, FirstP99: 5, Failed: i}
			side.CPU = cpu[i]
			w.Rounds = append(w.Rounds, side)
		}
	}
	c.sum()
	assert.Equal(t, 1., c.Ways[0].Ratio)
	assert.Equal(t, 1.5, c.Ways[1].Ratio)
	assert.Equal(t, 1., c.Ways[0].Median.CPU)
	assert.Equal(t, 1.5*1024, c.Ways[1].Median.PerViewer)
	table := &table{}
	c.write(table)
	text := table.b.String()
	assert.Contains(t, text, "1.50 times that of plain (median of the rounds' ratios)\n")
	assert.Contains(t, text, "1.5 KB a viewer; 7 joins, first picture p50 0.00, p99 5.00 ms; 1 failed\n")
	assert.NotContains(t, text, "nginx")
}

// The schemes of viewers follow the way; a publisher in clear stays that.
func TestSchemesFollow(t *testing.T) {
	for publish, want := range map[string][2]string{"rtmp://own/a/b": {"rtmp", "rtmp"}, "rtmps://own/a/b": {"rtmp", "rtmps"}} {
		o, err := parseFlags([]string{"-ways", "plain,tls", "-publish", publish, "-watch", "wss://own/a/b.flv", "-watch", "http://own/a/b.flv"})
		if runtime.GOOS != "linux" {
			continue
		}
		require.NoError(t, err)
		for i, schemes := range [][]string{{want[0], "ws", "http"}, {want[1], "wss", "https"}} {
			by := o.by(o.ways[i])
			got := []target{by.publish, by.watch[0].target, by.watch[1].target}
			assert.True(t, slices.EqualFunc(got, schemes, func(t target, scheme string) bool { return strings.HasPrefix(t.pattern, scheme+"://") }), "%v", got)
		}
	}
}
