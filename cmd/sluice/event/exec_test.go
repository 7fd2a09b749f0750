//go:build unix

package event

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// script writes a program, and returns its path and a folder in which it may write.
func script(t *testing.T, text string) (path, dir string) {
	t.Helper()
	dir = t.TempDir()
	path = filepath.Join(dir, "program")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\ncd '"+dir+"'\n"+text), 0o700))
	return path, dir
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	require.NoError(t, err)
	return string(b)
}

// The program gets the event, and nothing of our environment.
func TestExec(t *testing.T) {
	t.Setenv("SLUICE_EVENT_SECRET", "query-secret")
	path, dir := script(t, `cat >stdin; env >env; pwd -P >pwd; printf '%s|' "$@" >args; cd /; pwd >&2; echo said`)
	log, lines := logger()
	n, err := New(Config{Exec: &Exec{Program: path, Args: []string{"a b", "$HOME", ";"}}, Logger: log})
	require.NoError(t, err)
	s := session(t, hub.RolePublish, "live/a")
	n.Observe(hub.Event{Kind: hub.EventPublished, Time: time.Now(), Key: s.Key(), Session: s})
	end(n, time.Minute)
	assert.Equal(t, QueueTotals{Sent: 1}, n.Totals().Exec)
	assert.Equal(t, "a b|$HOME|;|", read(t, dir, "args"))
	assert.Contains(t, read(t, dir, "stdin"), `"type":"publish"`)
	assert.True(t, strings.HasSuffix(read(t, dir, "stdin"), "}\n"))
	env := read(t, dir, "env")
	for _, want := range []string{"EVENT_TYPE=publish\n", "EVENT_STREAM=live/a\n", "EVENT_ID=" + n.start + "-1\n", "PATH=" + execPath + "\n"} {
		assert.Contains(t, env, want)
	}
	for line := range strings.Lines(env) {
		name, _, _ := strings.Cut(line, "=")
		assert.Contains(t, []string{"EVENT_TYPE", "EVENT_STREAM", "EVENT_ID", "PATH", "PWD", "OLDPWD", "_", "SHLVL"}, name)
	}
	assert.NotContains(t, env+read(t, dir, "stdin"), "secret")
	assert.Contains(t, lines.String(), `output="/\nsaid\n"`)
}

// A stream's events are told one after the other; four programs run at a time, at the most.
func TestExecOrder(t *testing.T) {
	path, dir := script(t, `
mkdir running.$$ || exit 1
ls -d running.* | wc -l >>busy
echo "$EVENT_ID" >>"order.${EVENT_STREAM#live/}"
rmdir running.$$
`)
	log, lines := logger()
	n, err := New(Config{Exec: &Exec{Program: path}, Logger: log})
	require.NoError(t, err)
	const streams, each = 8, 6
	for range each {
		for i := range streams {
			n.Observe(tracks(hub.Key{App: "live", Name: fmt.Sprint(i)}))
		}
	}
	end(n, time.Minute)
	require.EqualValues(t, streams*each, n.Totals().Exec.Sent, "%s", lines)
	for i := range streams {
		var want strings.Builder
		for k := range each {
			fmt.Fprintf(&want, "%s-%d\n", n.start, k*streams+i+1)
		}
		assert.Equal(t, want.String(), read(t, dir, fmt.Sprint("order.", i)))
	}
	for _, busy := range strings.Fields(read(t, dir, "busy")) {
		count, err := strconv.Atoi(busy)
		require.NoError(t, err)
		assert.LessOrEqual(t, count, execWorkers)
	}
}

// A program that hangs is killed with its children, and its event counts as told.
func TestExecThatHangs(t *testing.T) {
	path, dir := script(t, `
trap '' TERM INT
sleep 1000 &
echo $! >child
echo $$ >pid
wait
`)
	log, lines := logger()
	p, err := newProgram(Exec{Program: path}, log)
	require.NoError(t, err)
	p.timeout = time.Second
	q := newQueue("exec", execWorkers, p.log)
	q.deliver = p.deliver
	q.add(&Event{ID: "1", Type: TypeStarted})
	require.Eventually(t, func() bool { return q.sums().Sent == 1 }, time.Minute, 10*time.Millisecond)
	q.close(t.Context())
	assert.Equal(t, QueueTotals{Sent: 1, Failed: 1}, q.sums())
	assert.Contains(t, lines.String(), "killed after 1s")
	for _, name := range []string{"pid", "child"} {
		pid, err := strconv.Atoi(strings.TrimSpace(read(t, dir, name)))
		require.NoError(t, err)
		require.Eventually(t, func() bool { return !runs(pid) }, time.Minute, 10*time.Millisecond, "%s is still there", name)
	}
}

// runs reports whether a process runs. One that nobody has waited for does not.
func runs(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

// The end of the server ends programs that hang.
func TestCloseWhileProgramsHang(t *testing.T) {
	path, dir := script(t, "echo $$ >pid\nexec sleep 1000\n")
	log, _ := logger()
	n, err := New(Config{Exec: &Exec{Program: path}, Logger: log})
	require.NoError(t, err)
	n.Started()
	require.Eventually(t, func() bool {
		b, _ := os.ReadFile(filepath.Join(dir, "pid"))
		return strings.HasSuffix(string(b), "\n")
	}, time.Minute, 10*time.Millisecond)
	end(n, 0)
	pid, err := strconv.Atoi(strings.TrimSpace(read(t, dir, "pid")))
	require.NoError(t, err)
	assert.False(t, runs(pid))
	assert.Equal(t, QueueTotals{Waiting: 1}, n.Totals().Exec)
}

// A program that fails has been told; one that leaves children behind that hold its output holds
// up nobody; what it prints is bounded.
func TestProgramsThatMisbehave(t *testing.T) {
	for name, c := range map[string]struct {
		text   string
		failed uint64
		log    string
	}{
		"fails":             {"exit 3", 1, "exit status 3"},
		"reads nothing":     {"exec <&-; exit 0", 0, "error=<nil>"},
		"leaves a child":    {"sleep 1000 & echo $! >child", 0, "error=<nil>"},
		"prints a lot":      {"yes 0123456789 | head -c 10000000", 0, "0123456789"},
		"is ended":          {"kill -9 $$", 1, "signal: killed"},
		"prints secretless": {"printf '\\377\\n'", 0, "\uFFFD"},
	} {
		t.Run(name, func(t *testing.T) {
			path, dir := script(t, c.text+"\n")
			log, lines := logger()
			n, err := New(Config{Exec: &Exec{Program: path}, Logger: log})
			require.NoError(t, err)
			n.Started()
			end(n, time.Minute)
			assert.Equal(t, QueueTotals{Sent: 1, Failed: c.failed}, n.Totals().Exec)
			assert.Contains(t, lines.String(), c.log)
			assert.Less(t, len(lines.String()), 4*maxOutput)
			if b, err := os.ReadFile(filepath.Join(dir, "child")); err == nil {
				pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
				require.NoError(t, err)
				require.Eventually(t, func() bool { return !runs(pid) }, time.Minute, 10*time.Millisecond)
			}
		})
	}
}

func TestProgramsThatCannotBe(t *testing.T) {
	for program, want := range map[string]string{
		"": "not absolute", "true": "not absolute", "./true": "not absolute", "/nowhere/to/be/found": "no such file", t.TempDir(): "is a folder",
	} {
		_, err := New(Config{Exec: &Exec{Program: program}})
		assert.ErrorContains(t, err, want)
	}
	path, _ := script(t, "")
	require.NoError(t, os.Chmod(path, 0o600))
	_, err := New(Config{Exec: &Exec{Program: path}})
	assert.ErrorContains(t, err, "not executable")
}
