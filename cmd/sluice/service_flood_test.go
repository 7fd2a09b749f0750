//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/rtmp"
)

// A flood of connections that never finish what they begin: how many, into how
// much room, and how long each may take.
const (
	floodSize    = 1500
	floodRoom    = 1000 // connections that the server takes
	floodTimeout = 4 * time.Second
)

// flood is a way to begin and not to go on.
type flood struct {
	name, addr, bytes string
	answer            int // bytes at least
}

// floods returns one of each sort.
func floods(s *process) []flood {
	handshake := "\x03" + strings.Repeat("\x00", 1536) // C0 and C1 (RTMP 1.0 §5.2)
	connect := string(amf.AppendAMF0(nil, "connect", 1.0, amf.Object{{Name: "app", Value: "live"}}))
	header := fmt.Sprintf("\x03\x00\x00\x00\x00\x00%c\x14\x00\x00\x00\x00", len(connect))
	whole := handshake + handshake[1:] // and C2
	return []flood{
		{"RTMP, nothing", s.rtmp, "", 0},
		{"RTMP, half a handshake", s.rtmp, handshake[:700], 0},
		{"RTMP, a handshake", s.rtmp, whole, len(whole)},
		{"RTMP, a connect", s.rtmp, whole + header + connect, len(whole) + 1},
		{"HTTP, nothing", s.http, "", 0},
		{"HTTP, half a head", s.http, "GET /live/flood.flv HTTP/1.1\r\nHost: x\r\n", 0},
	}
}

// A flood of connections that never finish a handshake keeps no viewer out and
// costs those who watch no frame; it is over by its deadlines and leaves nothing.
func TestFlood(t *testing.T) {
	var files syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files))
	if files.Cur < floodSize+floodRoom+500 {
		t.Skip("not enough open files")
	}
	goroutines, descriptors := runtime.NumGoroutine(), openDescriptors()

	out := newOutput()
	svc, p := startService(t, floodTimeout, out, fmt.Sprintf("SLUICE_MAX_CONNECTIONS=%d", floodRoom), "SLUICE_PUBLISHER_GRACE=0")
	const before, during, after = 1000, 3500, 1500 // ms of the stream
	l := &load{frames: stream200k.frames((before + during + after) * time.Millisecond)}
	for i, frame := range l.frames {
		if isKeyFrame(frame) {
			l.keys = append(l.keys, i)
		}
	}
	publisher, err := new(rtmp.Client).Publish(t.Context(), "rtmp://"+p.rtmp+"/live/load")
	require.NoError(t, err)
	defer publisher.Close()
	for _, tag := range madeHeader() {
		require.NoError(t, publisher.WriteTag(tag))
	}

	var flooding sync.WaitGroup
	var flooders []net.Conn // after flooding
	more := make(chan int, len(l.frames))
	flooding.Go(func() {
		kinds := floods(p)
		for n := range more {
			for len(flooders) < n {
				kind := kinds[len(flooders)%len(kinds)]
				c, err := net.Dial("tcp", kind.addr)
				if !assert.NoError(t, err) {
					return
				}
				io.WriteString(c, kind.bytes)
				flooders = append(flooders, c)
			}
		}
	})
	l.viewers = 30
	l.errs = make([]error, l.viewers)
	var next, in atomic.Int32
	l.join = func(ctx context.Context, p *process, name string) (testViewer, error) {
		protocol := protocols[int(next.Add(1))%len(protocols)]
		v, err := protocol.join(ctx, p, name)
		if err != nil {
			err = fmt.Errorf("over %s: %w", protocol.name, err)
		}
		in.Add(1)
		return v, err
	}
	joined := 0
	began := time.Now()
	for _, frame := range l.frames {
		at := int(frame.Timestamp)
		time.Sleep(time.Until(began.Add(time.Duration(at) * time.Millisecond))) // the stream's own pace
		require.NoError(t, publisher.WriteTag(frame))
		l.published.Add(1)
		if at > before && at <= before+during {
			more <- floodSize * (at - before) / during
		}
		for ; joined < l.viewers && at >= before/2+during*joined/l.viewers; joined++ {
			l.running.Go(l.viewer(t.Context(), p, joined))
		}
	}
	close(more)
	// where everything takes its time, the stream waits for its viewers
	assert.Eventually(t, func() bool { return int(in.Load()) == l.viewers }, 20*time.Second, time.Millisecond)
	require.NoError(t, publisher.Close())
	l.running.Wait()
	for i, err := range l.errs {
		assert.NoError(t, err, "viewer %d", i)
	}
	flooding.Wait()
	figures := svc.admission.Figures()
	assert.LessOrEqual(t, figures.Open, floodRoom)
	assert.NotZero(t, figures.GivenUp)

	for i, c := range flooders {
		c.SetReadDeadline(time.Now().Add(20 * floodTimeout))
		_, err := io.Copy(io.Discard, c)
		assert.False(t, errors.Is(err, os.ErrDeadlineExceeded), "flooding connection %d is still there", i)
		c.Close()
	}
	assert.Eventually(t, func() bool { return svc.admission.Figures().Open == 0 }, 10*time.Second, 10*time.Millisecond)
	svc.stop()
	for range 1000 { // they may still be on their way out
		if runtime.NumGoroutine() <= goroutines && openDescriptors() <= descriptors {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	assert.LessOrEqual(t, runtime.NumGoroutine(), goroutines, "goroutines are left")
	assert.LessOrEqual(t, openDescriptors(), descriptors, "descriptors are left")
	assert.Contains(t, out.String(), "connections given up or turned away")
	t.Logf("%+v, %d lines in the log", figures, strings.Count(out.String(), "\n"))
}

// A session that is given up ends at once, also where nobody reads its connection.
func TestGivenUpSessionsEnd(t *testing.T) {
	const room = 16 // so that the 9th that is pending is one too many
	out := newOutput()
	svc, p := startService(t, time.Hour, out, fmt.Sprintf("SLUICE_MAX_CONNECTIONS=%d", room), "SLUICE_LOG_LEVEL=debug")
	for _, kind := range floods(p) {
		given := svc.admission.Figures().GivenUp
		for range 2 * room {
			c, err := net.Dial("tcp", kind.addr)
			if errors.Is(err, syscall.ECONNRESET) {
				continue // given up already
			}
			require.NoError(t, err)
			defer c.Close()
			io.WriteString(c, kind.bytes)
			_, err = io.CopyN(io.Discard, c, int64(kind.answer))
			require.NoError(t, err, kind.name)
		}
		assert.Eventually(t, func() bool { return svc.admission.Figures().GivenUp-given >= room }, 10*time.Second, time.Millisecond, kind.name)
	}
	ended := regexp.MustCompile(`level=DEBUG msg="rtmp connection ends" .* bytes_in=3120 .*use of closed network connection`)
	assert.Eventually(t, func() bool { return len(ended.FindAllString(out.String(), -1)) >= room }, 10*time.Second, 10*time.Millisecond)
	assert.NotContains(t, out.String(), `level=INFO msg="rtmp connection ends"`)
}

// A server that has as many publishers and viewers as it takes turns others away,
// over HTTP with a reason, until one of them leaves.
func TestFullServer(t *testing.T) {
	svc, p := startService(t, floodTimeout, io.Discard, "SLUICE_MAX_CONNECTIONS=4")
	publisher, err := new(rtmp.Client).Publish(t.Context(), "rtmp://"+p.rtmp+"/live/full")
	require.NoError(t, err)
	defer publisher.Close()
	frames := append(madeHeader(), stream200k.frames(100*time.Millisecond)...)
	for _, tag := range frames {
		require.NoError(t, publisher.WriteTag(tag))
	}
	viewers := make([]testViewer, len(protocols))
	for i, protocol := range protocols {
		viewers[i], err = protocol.join(t.Context(), p, "full")
		require.NoError(t, err, protocol.name)
		defer viewers[i].close()
	}
	active := func() bool { return svc.admission.Figures().Pending == 0 }
	require.Eventually(t, active, 10*time.Second, time.Millisecond)

	client := &http.Client{}
	defer client.CloseIdleConnections()
	res, err := client.Get("http://" + p.http + "/live/full.flv")
	require.NoError(t, err)
	defer res.Body.Close()
	assert.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
	var body map[string]string
	require.NoError(t, json.NewDecoder(res.Body).Decode(&body))
	assert.Equal(t, "too many", body["error"])
	_, err = joinRTMP(t.Context(), p, "full")
	assert.Error(t, err)
	assert.EqualValues(t, 2, svc.admission.Figures().TurnedFull)

	viewers[0].close()
	leftOne := func() bool {
		publisher.WriteTag(frames[len(frames)-1]) // writing to it shows that it is gone
		return svc.admission.Figures().Open == len(protocols)
	}
	require.Eventually(t, leftOne, 10*time.Second, 10*time.Millisecond)
	v, err := joinRTMP(t.Context(), p, "full")
	require.NoError(t, err)
	for _, v := range []testViewer{viewers[1], viewers[2], v} {
		tag, err := v.next()
		assert.NoError(t, err)
		assert.Equal(t, flv.TypeScript, tag.Type)
		v.close()
	}
}

// The hub's bound on the viewers of a stream is set, and is one for each stream.
func TestMaxViewersIsSet(t *testing.T) {
	_, p := startService(t, floodTimeout, io.Discard, "SLUICE_MAX_VIEWERS=2")
	for _, name := range []string{"a", "b"} {
		publisher, err := new(rtmp.Client).Publish(t.Context(), "rtmp://"+p.rtmp+"/live/"+name)
		require.NoError(t, err)
		defer publisher.Close()
		for _, tag := range append(madeHeader(), stream200k.frames(100*time.Millisecond)...) {
			require.NoError(t, publisher.WriteTag(tag))
		}
		for range 2 {
			v, err := joinHTTP(t.Context(), p, name)
			require.NoError(t, err)
			defer v.close()
		}
		_, err = joinHTTP(t.Context(), p, name)
		assert.ErrorContains(t, err, "503")
		_, err = joinRTMP(t.Context(), p, name)
		assert.ErrorContains(t, err, "NetStream.Play.Failed")
	}
}

// runningService is a service in this process.
type runningService struct {
	*service
	stop func()
}

// startService starts a service on free ports, with a deadline for each step of what
// is pending. It ends with the test, or by stop.
func startService(t *testing.T, deadline time.Duration, log io.Writer, environ ...string) (*runningService, *process) {
	t.Helper()
	cfg, err := loadConfig(append([]string{
		"SLUICE_RTMP_ADDR=127.0.0.1:0", "SLUICE_HTTP_ADDR=127.0.0.1:0", "SLUICE_LOG_LEVEL=info",
	}, environ...))
	require.NoError(t, err)
	return startConfigured(t, deadline, log, cfg)
}

// startConfigured is startService with the whole configuration.
func startConfigured(t *testing.T, deadline time.Duration, log io.Writer, cfg config) (*runningService, *process) {
	t.Helper()
	open, err := listen(t.Context(), cfg)
	require.NoError(t, err)
	s := &runningService{service: mustService(cfg, open, newLogger(log, "text", slog.Level(cfg.LogLevel)))}
	s.rtmp.HandshakeTimeout, s.rtmp.ConnectTimeout, s.rtmp.CommandTimeout = deadline, deadline, deadline
	s.http.ReadHeaderTimeout = deadline
	failed := s.Start()
	s.stop = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
		defer cancel()
		assert.NoError(t, s.Shutdown(ctx))
		assert.Empty(t, failed)
	})
	t.Cleanup(s.stop)
	return s, &process{rtmp: open.addr("rtmp"), http: open.addr("http")}
}

// openDescriptors returns how many descriptors this process has open, 0 where that
// can't be told.
func openDescriptors() int {
	files, _ := os.ReadDir("/proc/self/fd")
	return len(files)
}
