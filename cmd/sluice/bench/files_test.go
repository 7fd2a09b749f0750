package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/hub"
)

// made makes a recording of some length, and returns the folder and where it plays.
func made(t *testing.T, length string) (dir, at string) {
	t.Helper()
	dir = t.TempDir()
	var stdout, stderr bytes.Buffer
	require.Equal(t, exitOK, Run(t.Context(), []string{"-make", dir, "-length", length}, &stdout, &stderr), stderr.String())
	return dir, strings.TrimSpace(stdout.String())
}

// A recording that is made has its length, and a real program finds nothing to complain of.
func TestMakeRecording(t *testing.T) {
	t.Parallel()
	dir, at := made(t, "90s")
	assert.Equal(t, "rec/live/bench/20260101T000000.000Z", at)
	file := filepath.Join(dir, strings.TrimPrefix(at, "rec/")+".flv")
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	tag, err := flv.NewReader(f).Next()
	require.NoError(t, err)
	assert.InDelta(t, 90, durationOf(tag).Seconds(), 0.1)
	if ffprobe, err := exec.LookPath("ffprobe"); err == nil {
		out, err := exec.CommandContext(t.Context(), ffprobe, "-v", "warning", file).CombinedOutput()
		require.NoError(t, err)
		assert.Empty(t, string(out))
	}
}

func TestMakeMistakes(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	code := Run(t.Context(), []string{"-make", filepath.Join(shortGOPs(t), "below")}, io.Discard, &stderr)
	assert.Equal(t, exitFailure, code, "a file is no folder")
	assert.Contains(t, stderr.String(), "not a directory")

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	assert.Equal(t, exitFailure, Run(ended, []string{"-make", dir, "-length", "1000h"}, io.Discard, io.Discard))
}

func TestSeekRun(t *testing.T) {
	t.Parallel()
	dir, at := made(t, "2m")
	g := startRecording(t, dir)
	code, r := benched(t, t.Context(), []string{"-seek", "rtmps://" + g.rtmps + "/" + at + "?key=secret", "-seeks", "20", "-json"})
	assert.Equal(t, exitOK, code, "%v", r.Problems)
	assert.Equal(t, 20, r.Seek.Seeks)
	assert.EqualValues(t, 20, r.Seek.First.Count)
	assert.Zero(t, r.Seek.Wrong)
	assert.InDelta(t, 120, r.Seek.Length, 0.1)

	var stdout, stderr bytes.Buffer
	assert.Equal(t, exitFailure, Run(t.Context(), []string{"-seek", "rtmp://" + g.rtmp + "/rec/live/bench/none"}, &stdout, &stderr))
	assert.Contains(t, stderr.String(), "refused: NetStream.Play.StreamNotFound")
}

// Players of a file get what it plays at, over each protocol, and live viewers go on.
func TestPlayRun(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	t.Parallel()
	dir, at := made(t, "15m")
	g := startRecording(t, dir)
	for url, rounds := range map[string]int{"rtmps://" + g.rtmps + "/" + at: 2, "https://" + g.https + "/" + at + ".flv?key=secret": 1, "ws://" + g.http + "/" + at + ".flv": 1} {
		code, r := benched(t, t.Context(), g.publish(t, "1"), g.watch()[:2], quick,
			[]string{"-viewers", "2", "-check", "2", "-play", url, "-players", "6", "-rounds", strconv.Itoa(rounds), "-duration", "2s", "-pid", strconv.Itoa(os.Getpid())})
		assert.Equal(t, exitOK, code, "%s: %v", url, r.Problems)
		c := r.Compared
		require.NotNil(t, c)
		assert.Len(t, c.Rounds, rounds)
		assert.Equal(t, 6, c.Count)
		assert.Positive(t, c.With.P99)
		assert.Equal(t, 6*rounds, c.Players.Joined, url)
		assert.InEpsilon(t, 206e3, c.Players.Mean, 0.5, url)
	}
	var stdout bytes.Buffer
	code := Run(t.Context(), []string{"-play", "http://" + g.http + "/rec/live/bench/none.flv", "-pid", strconv.Itoa(os.Getpid()), "-duration", "100ms", "-warmup", "0s"}, io.Discard, &stdout)
	assert.Equal(t, exitFailure, code)
	assert.Contains(t, stdout.String(), "refused: HTTP status 404")
}

// Stills are fetched of each stream, as often as asked for, and live viewers go on.
func TestStillsRun(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	t.Parallel()
	g := startGateway(t, hub.Config{})
	still := "https://" + g.https + "/api/v1/still?key=secret&stream=live/s%d"
	args := []string{"-viewers", "2", "-check", "2", "-stills", still, "-still-streams", "3", "-still-every", "300ms", "-rounds", "2", "-duration", "1s", "-pid", strconv.Itoa(os.Getpid())}
	code, r := benched(t, t.Context(), g.publish(t, "3"), g.watch()[:2], quick, args)
	assert.Equal(t, exitOK, code, "%v", r.Problems)
	c := r.Compared
	require.NotNil(t, c)
	assert.Len(t, c.Rounds, 2)
	assert.Equal(t, []any{"stills", 3}, []any{c.What, c.Count})
	assert.Positive(t, c.With.P99)
	assert.GreaterOrEqual(t, c.Stills.Fetched, 10)
	assert.Greater(t, c.Stills.Bytes, int64(1000*c.Stills.Fetched))
	assert.NotContains(t, c.Stills.URL, "secret")

	args[5] += "none"
	args = append(args, "-rounds", "1")
	code, r = benched(t, t.Context(), g.publish(t, "1"), g.watch()[:2], quick, args)
	assert.Equal(t, exitFailure, code)
	assert.Contains(t, fmt.Sprint(r.Problems), "stills failed")
}

// A comparison starts its own servers, and each stream makes one recording.
func TestRecordRun(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	t.Parallel()
	dir := t.TempDir()
	args := []string{"-record", dir, "-publish", "rtmp://own/live/s%d?key=secret", "-publishers", "4", "-file", shortGOPs(t),
		"-watch", "https://own/live/s%d.flv", "-viewers", "2", "-check", "2"}
	code, r := benched(t, t.Context(), args, quick)
	assert.Equal(t, exitOK, code, "%v", r.Problems)
	c := r.Compared
	require.NotNil(t, c)
	assert.Equal(t, 4, c.Count)
	assert.Equal(t, 4, c.Files)
	assert.Greater(t, c.FileBytes, int64(4*64<<10))
	assert.Positive(t, c.Without.PSS)
	assert.Positive(t, c.With.P99)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, left)

	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	args = append(args, "-json", "-duration", "1h")
	code, r = benched(t, ctx, args)
	assert.Equal(t, exitFailure, code)
	assert.True(t, r.Interrupted)
	left, err = os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, left)
}

// The figures of a comparison are medians, the differences and ratios those of the rounds.
func TestComparedRounds(t *testing.T) {
	c := &comparedReport{What: "recordings", Count: 1024}
	for _, r := range []comparedRound{
		{comparedSide{CPU: 0.5, PSS: 10 << 20, P99: 4}, comparedSide{CPU: 0.625, PSS: 20 << 20, P99: 4}},
		{comparedSide{CPU: 1.5, PSS: 11 << 20, P99: 10}, comparedSide{CPU: 1.75, PSS: 31 << 20, P99: 12, Others: 1}},
		{comparedSide{CPU: 0.75, PSS: 12 << 20, P99: 5}, comparedSide{CPU: 2.75, PSS: 23 << 20, P99: 500}},
	} {
		c.add(r)
	}
	assert.Equal(t, comparedSide{CPU: 0.75, PSS: 11 << 20, P99: 5}, c.Without)
	assert.Equal(t, comparedSide{CPU: 1.75, PSS: 23 << 20, P99: 12}, c.With)
	assert.Equal(t, 0.25, c.MoreCPU)
	assert.Equal(t, 11*1024., c.Each)
	assert.Equal(t, 1.2, c.P99)
	c.Files, c.FileBytes = 2, 4<<20
	var out strings.Builder
	require.NoError(t, (&report{Compared: c}).writeTable(&out))
	assert.Contains(t, out.String(), "  memory             11.0 KB more for each\n")
	assert.Contains(t, out.String(), "  recorded           2 files, 2048 KB each\n")
	assert.NotContains(t, out.String(), "%!")

	c.sameServer = true
	c.add(c.Rounds[1])
	assert.Equal(t, 10*1024., c.Each, "of the first round")

	c = &comparedReport{}
	c.add(comparedRound{})
	assert.Zero(t, c.P99, "nobody checked")
}

func TestDurationOf(t *testing.T) {
	script := func(values ...any) flv.Tag {
		return flv.Tag{Type: flv.TypeScript, Data: amf.AppendAMF0(nil, values...)}
	}
	whole := script("onMetaData", amf.ECMAArray{{Name: "width", Value: 640.}, {Name: "duration", Value: 1.5}})
	assert.Equal(t, 1500*time.Millisecond, durationOf(whole))
	assert.Zero(t, durationOf(script("onMetaData", amf.ECMAArray{{Name: "duration", Value: "long"}})))
	assert.Zero(t, durationOf(script("onMetaData")))
	whole.Type = flv.TypeVideo
	assert.Zero(t, durationOf(whole))
	assert.Zero(t, durationOf(flv.Tag{Type: flv.TypeScript, Data: []byte{1}}))
}
