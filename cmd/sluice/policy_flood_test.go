//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/cmd/sluice/admission"
	"sluice/flv/amf"
	"sluice/hub"
)

// policyServerEnv makes TestPolicyServer be a server.
const policyServerEnv = "GO_TEST_AS_POLICY_SERVER"

// policyFigures is what the server says of itself.
type policyFigures struct {
	Goroutines, Files int
	Heap              uint64 // bytes in use, and held by the system for it
	RSS               int64
	Connections       admission.Figures
	Questions         int64 // that the policy is asked now
	MostQuestions     int64 // and was at a time
	Begun, Running    uint64
	Refused           map[string]uint64
}

// TestPolicyServer is no test but a server in a process of its own, whose policy hangs
// where the name of a stream begins with "hang", or is that of the settings in its
// environment. For each line on its standard input it writes its figures.
func TestPolicyServer(t *testing.T) {
	if os.Getenv(policyServerEnv) == "" {
		return
	}
	var questions, most atomic.Int64
	hanging := func(ctx context.Context, s *hub.Session) (hub.Grant, error) {
		if strings.HasPrefix(s.Key().Name, "hang") {
			n := questions.Add(1)
			defer questions.Add(-1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			<-ctx.Done()
		}
		return hub.Grant{}, ctx.Err()
	}
	var settings []string
	for _, set := range os.Environ() {
		if strings.HasPrefix(set, envPrefix) {
			settings = append(settings, set)
		}
	}
	ask, timeout := policy(hanging), 5*time.Minute
	if len(settings) > 0 {
		ask, timeout = nil, 0
	}
	svc, p := startPolicy(t, io.Discard, ask, timeout, settings...)
	fmt.Println(p.rtmp, p.http)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		f := policyFigures{
			Goroutines: runtime.NumGoroutine(), Files: openDescriptors(), Heap: m.HeapAlloc,
			RSS:         procField("/proc/self/smaps_rollup", "Rss:") << 10,
			Connections: svc.admission.Figures(), Questions: questions.Load(), MostQuestions: most.Load(),
			Refused: make(map[string]uint64),
		}
		for _, sums := range svc.hub.Totals() {
			f.Begun += sums.Begun
			f.Running += sums.Running()
			for reason, n := range sums.Refused {
				f.Refused[reason.String()] += n
			}
		}
		assert.NoError(t, json.NewEncoder(os.Stdout).Encode(f))
	}
}

// policyServer is a TestPolicyServer under way.
type policyServer struct {
	process
	in  io.Writer
	out *bufio.Reader

	publishQuery, watchQuery string // of the streams that are measured
}

func startPolicyServer(t *testing.T, settings ...string) *policyServer {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, "-test.run=^TestPolicyServer$")
	cmd.Env = append(append(os.Environ(), policyServerEnv+"=1"), settings...)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	s := &policyServer{process: process{cmd: cmd}, in: in, out: bufio.NewReader(out)}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		in.Close()
		said, _ := io.ReadAll(s.out)
		assert.NoError(t, cmd.Wait(), "%s%s", said, stderr.String())
	})
	_, err = fmt.Fscanln(s.out, &s.rtmp, &s.http)
	require.NoError(t, err)
	return s
}

func (s *policyServer) figures(t *testing.T) (f policyFigures) {
	t.Helper()
	_, err := io.WriteString(s.in, "\n")
	require.NoError(t, err)
	line, err := s.out.ReadBytes('\n')
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(line, &f))
	return f
}

// await waits for figures that are as wanted.
func (s *policyServer) await(t *testing.T, wanted func(policyFigures) bool) (f policyFigures) {
	t.Helper()
	assert.Eventually(t, func() bool {
		f = s.figures(t)
		return wanted(f)
	}, time.Minute, 50*time.Millisecond, "what the server was waited for")
	return f
}

// watched is the p99 of the latency of 50 viewers, in ms, over each protocol.
type watched map[string]float64

func (w watched) worst() (ms float64) {
	for _, p99 := range w {
		ms = max(ms, p99)
	}
	return ms
}

// watch publishes a stream and watches it with 50 viewers, over all protocols, by a process
// of its own. It calls begun when they are there.
func (s *policyServer) watch(t *testing.T, window time.Duration, begun func()) watched {
	t.Helper()
	cmd := command(t)
	cmd.Args = append(cmd.Args, "bench", "-publish", "rtmp://"+s.rtmp+"/live/flood"+s.publishQuery, "-viewers", "50", "-check", "50",
		"-watch", "rtmp://"+s.rtmp+"/live/flood"+s.watchQuery, "-watch", "http://"+s.http+"/live/flood.flv"+s.watchQuery,
		"-watch", "ws://"+s.http+"/live/flood.flv"+s.watchQuery,
		"-warmup", "1s", "-duration", window.String(), "-json")
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	before := s.figures(t).Running
	require.NoError(t, cmd.Start())
	s.await(t, func(f policyFigures) bool { return f.Running >= before+51 })
	used, _ := s.usage()
	begun()
	require.NoError(t, cmd.Wait(), "%s%s", &out, &stderr)
	now, _ := s.usage()
	t.Logf("server: %.2f s of CPU in %.1f s", (now.cpu - used.cpu).Seconds(), now.at.Sub(used.at).Seconds())
	var report struct {
		Watch []struct {
			Protocol string
			Latency  struct {
				P99 float64 `json:"p99_ms"`
			}
		}
	}
	require.NoError(t, json.Unmarshal(out.Bytes(), &report))
	require.Len(t, report.Watch, 3)
	w := watched{}
	for _, r := range report.Watch {
		w[r.Protocol] = r.Latency.P99
	}
	return w
}

// hangers returns what clients of each protocol say at once to be asked about.
func (s *policyServer) hangers() []flood {
	handshake := "\x03" + strings.Repeat("\x00", 1536) // C0 and C1 (RTMP 1.0 §5.2)
	message := func(stream byte, values ...any) string {
		body := amf.AppendAMF0(nil, values...)
		return fmt.Sprintf("\x03\x00\x00\x00\x00\x00%c\x14%c\x00\x00\x00%s", len(body), stream, body)
	}
	begin := handshake + handshake[1:] + message(0, "connect", 1.0, amf.Object{{Name: "app", Value: "live"}})
	get := "GET /live/hang.flv?token=x HTTP/1.1\r\nHost: x\r\n"
	return []flood{
		{name: "WebSocket", addr: s.http, bytes: get + upgradeLines + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"},
		{name: "HTTP", addr: s.http, bytes: get + "\r\n"},
		{name: "RTMP play", addr: s.rtmp, bytes: begin + message(1, "play", 0.0, nil, "hang")},
		{name: "RTMP publish", addr: s.rtmp, bytes: begin + message(1, "publish", 0.0, nil, "hang")},
	}
}

// flood opens so many connections, each from an address of its own, within about the given
// time. They stay open.
func (s *policyServer) flood(t *testing.T, n int, within time.Duration) (conns []net.Conn) {
	kinds := s.hangers()
	var mu sync.Mutex
	var dialing sync.WaitGroup
	pace := time.NewTicker(10 * time.Millisecond)
	defer pace.Stop()
	slots := make(chan struct{}, 64)
	for began, i := time.Now(), 0; i < n; <-pace.C {
		for due := int(float64(n) * min(1, float64(time.Since(began))/float64(within))); i < due; i++ {
			slots <- struct{}{}
			client := i
			dialing.Go(func() {
				defer func() { <-slots }()
				kind := kinds[client%len(kinds)]
				from := net.IPv4(127, 1, byte(client>>8), byte(client))
				c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}).Dial("tcp", kind.addr)
				if !assert.NoError(t, err) {
					return
				}
				io.WriteString(c, kind.bytes)
				mu.Lock()
				conns = append(conns, c)
				mu.Unlock()
			})
		}
	}
	dialing.Wait()
	return conns
}

// nullServer takes connections and closes them: the same clients, on the same processors,
// without a server that does anything for them.
func nullServer(t *testing.T) *policyServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var taking sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		taking.Wait()
	})
	taking.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	})
	return &policyServer{process: process{rtmp: l.Addr().String(), http: l.Addr().String()}}
}

// Clients without number that the policy leaves waiting cost those who watch nothing that
// they would notice, and leave nothing behind.
func TestPolicyFlood(t *testing.T) {
	f := newFloodRounds(t)
	n := f.clients
	s := startPolicyServer(t)
	s.watch(t, time.Second, func() {}) // what a server has from then on
	before := s.await(t, func(f policyFigures) bool { return f.Connections.Open == 0 && f.Running == 0 })
	for range f.rounds {
		refused := s.figures(t).Refused
		conns := f.round(t, s)

		// All are asked about, wait for that, or have been told that they are too many.
		const room = 1024 + 8192 // for viewers; there are fewer publishers, who have a queue of their own
		beyond := max(0, n-n/4-room)
		peak := s.await(t, func(f policyFigures) bool {
			return f.Connections.Asking+int(f.Refused["too many"]-refused["too many"]) == n && int(f.Questions) == min(n, 1024)
		})
		assert.LessOrEqual(t, peak.MostQuestions, int64(1024))
		assert.EqualValues(t, beyond, peak.Refused["too many"]-refused["too many"])
		t.Logf("%d asking: %+v; %.1f KB of heap and %.1f KB of RSS for each", peak.Connections.Asking, peak,
			float64(peak.Heap-before.Heap)/1024/float64(n), float64(peak.RSS-before.RSS)/1024/float64(n))
		const most = 64 << 10 // bytes for each
		assert.Less(t, peak.Heap, before.Heap+uint64(n)*most)
		// Those that are asked about have one each, net/http has two for each request, and those
		// that are refused have one while they are told.
		assert.LessOrEqual(t, peak.Goroutines, before.Goroutines+1024+n/4*2+beyond+100)

		for _, c := range conns {
			c.Close()
		}
		after := s.await(t, func(f policyFigures) bool {
			return f.Connections.Open == 0 && f.Questions == 0 && f.Running == 0 &&
				f.Goroutines <= before.Goroutines && f.Files <= before.Files && f.Heap <= before.Heap+soakSlack
		})
		t.Logf("afterwards: %+v; before: %+v", after, before)
	}
	f.judge(t)
}

// Three hundred clients behind one address, about whom the policy takes 3 s each, all come
// in.
func TestPolicyLosesNoCrowd(t *testing.T) {
	t.Parallel()
	svc, p := startPolicy(t, io.Discard, func(ctx context.Context, s *hub.Session) (hub.Grant, error) {
		select {
		case <-time.After(3 * time.Second):
			return hub.Grant{}, nil
		case <-ctx.Done():
			return hub.Grant{}, ctx.Err()
		}
	}, 0)
	publishHere(t, svc, "crowd")
	var coming sync.WaitGroup
	for i := range 300 {
		coming.Go(func() {
			kind, name := askers[i%len(askers)], "crowd"
			if kind.role == hub.RolePublish {
				name = fmt.Sprint("crowd", i)
			}
			a := kind.ask(t, p, net.IPv4(127, 0, 0, 7), name)
			answer, err := a.answer()
			if assert.NoError(t, err, kind.protocol) {
				assert.Equal(t, in, answer, kind.protocol)
			}
		})
	}
	coming.Wait()
	figures := svc.admission.Figures()
	assert.Zero(t, figures.GivenUp)
	assert.EqualValues(t, 300, figures.Admitted)
}
