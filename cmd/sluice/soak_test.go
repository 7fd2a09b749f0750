//go:build unix

package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// How long TestSoak goes on, and the seed of what its actors do, can be set from
// outside, as in
//
//	SOAK=5m go test -race -timeout 20m -run Soak -v ./cmd/sluice
const (
	soakEnv     = "SOAK"
	soakSeedEnv = "SOAK_SEED"
	soakLogEnv  = "SOAK_LOG" // a file for the log of the server
)

const (
	soakShort  = 3 * time.Second // by default, for each of two rounds
	soakGrace  = 2 * time.Second // SLUICE_PUBLISHER_GRACE
	soakSecret = "sesame-"       // begins what must never show in the log
	// soakSlack is how much more heap there may be afterwards, in bytes.
	soakSlack = 16 << 20
)

// Publishers and viewers of all kinds come and go, and some are broken, stalled or
// hostile. No healthy viewer sees a gap, a duplicate, or anything but what was
// published; and in the end nothing is left. It ends once with everybody leaving
// first, and once with the server's shutdown in the midst of it.
func TestSoak(t *testing.T) {
	d, seed := soakShort, rand.Uint64()
	if text := os.Getenv(soakEnv); text != "" {
		long, err := time.ParseDuration(text)
		require.NoError(t, err, soakEnv)
		d = long / 2
	}
	if text := os.Getenv(soakSeedEnv); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err, soakSeedEnv)
	}
	for _, amid := range []bool{false, true} {
		t.Run(map[bool]string{false: "everybody leaves", true: "shutdown in the midst"}[amid], func(t *testing.T) {
			t.Logf("%s=%d sets what the actors do", soakSeedEnv, seed)
			newSoak(t).run(d, seed, amid)
		})
	}
}

// soak is a running test: the service, and what its actors share.
type soak struct {
	t                  *testing.T
	svc                *service
	log                *soakLog
	rtmpAddr, httpAddr string
	dir                string // of recordings
	streams            []*soakStream
	observer           *soakObserver
	slowReaders        bool // all of them, not some

	ctx     context.Context // ends when the actors are to leave
	leave   context.CancelFunc
	closing atomic.Bool // the server is shutting down
	actors  sync.WaitGroup

	lastSession atomic.Uint32
	sessions    sync.Map // id → *soakSession
	tags        atomic.Int64
	failed      atomic.Int32

	mu     sync.Mutex
	counts map[string]int
}

func newSoak(t *testing.T) *soak {
	w := &soak{t: t, log: &soakLog{lines: map[string]int{}}, counts: map[string]int{}}
	for i := range 6 {
		w.streams = append(w.streams, &soakStream{key: fmt.Sprintf("soak/%d", i)})
	}
	if name := os.Getenv(soakLogEnv); name != "" {
		var err error
		w.log.file, err = os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		require.NoError(t, err)
		t.Cleanup(func() { w.log.file.Close() })
	}
	w.observer = newSoakObserver(w)
	w.ctx, w.leave = context.WithCancel(context.Background())
	t.Cleanup(w.leave)
	return w
}

// soakConfig makes short what is long in life. Nobody is late, however slow the
// machine is; so who takes nothing is ended in a long soak only.
var soakConfig = []string{
	"SLUICE_RTMP_ADDR=127.0.0.1:0", "SLUICE_HTTP_ADDR=127.0.0.1:0",
	"SLUICE_PUBLISHER_GRACE=" + soakGrace.String(), "SLUICE_VIEWER_WAIT=2s", "SLUICE_MAX_LAG=2m", "SLUICE_STALL_TIMEOUT=10s", "SLUICE_LOG_DURATION=5s",
}

// run is the test.
func (w *soak) run(d time.Duration, seed uint64, amid bool) {
	t := w.t
	wakePoller(t)
	before := footprintNow()
	w.dir = t.TempDir()
	cfg, err := loadConfig(slices.Concat(soakConfig, soakRecording(w.dir)))
	require.NoError(t, err)
	failed := w.serve(cfg)
	for i, s := range w.streams {
		w.act(seed, 100+i, func(rng *rand.Rand) { w.publish(s, rng) })
	}
	for i := range 8 {
		w.act(seed, 200+i, w.watch)
	}
	for i := range 4 {
		w.act(seed, 300+i, w.play)
	}
	for i := range 8 {
		w.act(seed, 400+i, w.attack)
	}
	budget := hub.NewBudget(soakBudget)
	for i, s := range w.streams {
		w.act(seed, 500+i, func(rng *rand.Rand) { w.readAll(s, budget, rng) })
	}
	for i := range 6 {
		w.act(seed, 600+i, w.playFiles)
	}
	w.act(seed, 700, w.tidy)
	w.act(seed, 800, w.watchMetrics)
	select {
	case <-time.After(d):
	case err := <-failed:
		t.Errorf("a part of the server failed: %v", err)
	}
	// On a busy machine the few viewers of one protocol may so far all have left before their
	// first frame.
	assert.Eventually(t, w.everyProtocolWatched, time.Minute, 10*time.Millisecond, "nobody got media over a protocol")
	if !amid {
		w.leave()
		w.actors.Wait()
		assert.Eventually(t, func() bool { return len(w.svc.hub.Streams()) == 0 }, time.Minute, 10*time.Millisecond, "streams are left")
	}
	w.shutdown()
	w.leave()
	w.actors.Wait()
	w.report()
	w.observer.check(w.svc.hub)
	w.checkMetrics()
	w.checkFiles(w.dir)
	assert.Zero(t, budget.Used(), "of the readers' budget")
	assert.Empty(t, w.log.bad(), "lines of the log")
	w.svc, w.observer = nil, nil
	before.compare(t)
}

// everyProtocolWatched reports whether viewers over each protocol have counted media.
func (w *soak) everyProtocolWatched() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name := range soakProtocols {
		if w.counts[countedMedia+name] == 0 {
			return false
		}
	}
	return true
}

// serve starts the service with a policy, an observer and metrics.
func (w *soak) serve(cfg config) (failed <-chan error) {
	cfg.MetricsAddr = addresses{"127.0.0.1:0"}
	cfg.authorize, cfg.observe = soakPolicy, w.observer.observe
	log := slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	cfg.archive, err = openArchive(cfg, log)
	require.NoError(w.t, err)
	cfg.permission, err = openPermission(&cfg, log)
	require.NoError(w.t, err)
	l, err := listen(w.t.Context(), cfg)
	require.NoError(w.t, err)
	w.rtmpAddr, w.httpAddr = l.addr("rtmp"), l.addr("http")
	w.svc = mustService(cfg, l, log)
	return w.svc.Start()
}

// shutdown ends the service.
func (w *soak) shutdown() {
	w.closing.Store(true)
	drain, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	assert.NoError(w.t, w.svc.Shutdown(drain))
	assert.Empty(w.t, w.svc.hub.Streams())
}

// wakePoller has the runtime open the files with which it waits for connections.
func wakePoller(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l.Close()
}

// act begins an actor, whose choices follow from seed and number.
func (w *soak) act(seed uint64, number int, actor func(*rand.Rand)) {
	w.actors.Go(func() { actor(rand.New(rand.NewPCG(seed, uint64(number)))) })
}

// over reports whether everybody is to leave, or has to.
func (w *soak) over() bool { return w.ctx.Err() != nil || w.closing.Load() }

// sleep returns early when everybody is to leave.
func (w *soak) sleep(d time.Duration) {
	select {
	case <-time.After(d):
	case <-w.ctx.Done():
	}
}

// fail reports what should not be; the first few of many.
func (w *soak) fail(format string, args ...any) {
	if w.failed.Add(1) <= 10 {
		w.t.Errorf(time.Now().UTC().Format("15:04:05.000 ")+format, args...)
	}
}

func (w *soak) count(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[what]++
}

// report logs what was done, and what the server said to it.
func (w *soak) report() {
	w.mu.Lock()
	defer w.mu.Unlock()
	var b strings.Builder
	for _, what := range slices.Sorted(maps.Keys(w.counts)) {
		fmt.Fprintf(&b, "\n%6d  %s", w.counts[what], what)
	}
	w.t.Logf("%d sessions, %d tags checked, %d failures%s\nlog lines: %v",
		w.lastSession.Load(), w.tags.Load(), w.failed.Load(), b.String(), w.log.counted())
	assert.Positive(w.t, w.tags.Load())
}

// soakLog counts the lines of a log, and keeps those that should not be there.
type soakLog struct {
	mu    sync.Mutex
	lines map[string]int // by level and message
	wrong []string
	file  *os.File // nil for none
}

func (l *soakLog) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		l.file.Write(line)
	}
	_, text, _ := strings.Cut(string(line), "level=")
	level, text, _ := strings.Cut(text, " msg=")
	message := strings.Fields(text)[0]
	if strings.HasPrefix(text, `"`) {
		message, _, _ = strings.Cut(text[1:], `"`)
	}
	l.lines[level+" "+message]++
	if level == "ERROR" || bytes.Contains(line, []byte("panic")) || bytes.Contains(line, []byte(soakSecret)) {
		l.wrong = append(l.wrong, string(line))
	}
	return len(line), nil
}

func (l *soakLog) bad() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.wrong
}

func (l *soakLog) counted() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.lines)
}

// footprint is what a process holds.
type footprint struct {
	goroutines map[string]bool // of ours, by their heads
	files      int
	heap       uint64
}

func footprintNow() footprint {
	runtime.GC()
	runtime.GC() // and what pools held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	f := footprint{goroutines: map[string]bool{}, heap: m.HeapAlloc}
	buf := make([]byte, 4<<20)
	for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(stack, "sluice/") || strings.Contains(stack, "net/http.") {
			head, _, _ := strings.Cut(stack, " [")
			f.goroutines[head] = true
		}
	}
	if files, err := os.ReadDir("/proc/self/fd"); err == nil { // where there is one
		f.files = len(files)
	}
	return f
}

// compare waits until there is no more than before.
func (before footprint) compare(t *testing.T) {
	var now footprint
	grown := func() bool {
		now = footprintNow()
		maps.DeleteFunc(now.goroutines, func(head string, _ bool) bool { return before.goroutines[head] })
		return len(now.goroutines) > 0 || now.files > before.files || now.heap > before.heap+soakSlack
	}
	for deadline := time.Now().Add(20 * time.Second); grown() && time.Now().Before(deadline); {
		time.Sleep(50 * time.Millisecond)
	}
	buf := make([]byte, 1<<20)
	assert.Empty(t, now.goroutines, "goroutines are left in:\n%s", buf[:runtime.Stack(buf, true)])
	assert.LessOrEqual(t, now.files, before.files, "open files")
	assert.LessOrEqual(t, now.heap, before.heap+soakSlack, "heap")
	t.Logf("open files %d, %d before; heap %.1f MB, %.1f before",
		now.files, before.files, float64(now.heap)/1e6, float64(before.heap)/1e6)
}
