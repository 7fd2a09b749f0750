//go:build unix

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// process is the program as a process of its own, whose cost can be told from
// that of its clients.
type process struct {
	cmd        *exec.Cmd
	rtmp, http string // host:port
}

// startProcess starts the program on free ports. It ends with the test.
func startProcess(tb testing.TB, environ ...string) *process {
	tb.Helper()
	p := &process{cmd: command(tb, environ...)}
	out := newOutput()
	p.cmd.Stdout, p.cmd.Stderr = out, out
	require.NoError(tb, p.cmd.Start())
	tb.Cleanup(func() {
		p.cmd.Process.Signal(syscall.SIGTERM)
		assert.NoError(tb, p.cmd.Wait(), "exit code 0")
	})
	p.rtmp = out.find(tb, `rtmp://(127\.0\.0\.1:\d+)/live/NAME\n`)[1]
	p.http = out.find(tb, `http://(127\.0\.0\.1:\d+)/ in a browser`)[1]
	return p
}

// usage is what a process has used so far, and holds now.
type usage struct {
	at       time.Time
	cpu      time.Duration
	rss, pss int64 // bytes
	writes   int64 // system calls
}

// usage asks the kernel; ok is false where there is no /proc.
func (p *process) usage() (u usage, ok bool) {
	dir := fmt.Sprintf("/proc/%d/", p.cmd.Process.Pid)
	stat, err := os.ReadFile(dir + "stat")
	if err != nil {
		return usage{}, false
	}
	u.at = time.Now()
	// proc_pid_stat(5): the 14th and 15th field are utime and stime in ticks, of
	// which there are 100 a second; the 2nd may hold spaces but ends with ")".
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	for _, field := range fields[11:13] {
		ticks, _ := strconv.Atoi(field)
		u.cpu += time.Duration(ticks) * time.Second / 100
	}
	u.rss = procField(dir+"smaps_rollup", "Rss:") << 10
	u.pss = procField(dir+"smaps_rollup", "Pss:") << 10
	u.writes = procField(dir+"io", "syscw:")
	return u, true
}

// procField returns the number in the line of a file that begins with name, 0
// if there is none.
func procField(file, name string) int64 {
	text, _ := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == name {
			n, _ := strconv.ParseInt(fields[1], 10, 64)
			return n
		}
	}
	return 0
}
