package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"sluice/hub/tlsconn/tlstest"
)

// net namespaces that are hosts of a network of their own.
//
//	host 1     host 2     host 3       10.77.0.1, .2, .3
//	   │          │          │         a link each, which can be taken down
//	   └──────── bridge ─────┘         in a namespace too
//
// Nothing of it is in this machine's own namespace: a browser breaks off the requests for which it is connecting whenever an
// interface comes, goes or changes there.
type hosts struct {
	t     *testing.T
	id    string // of the test, in names
	count int
}

// startHosts makes a network until the test ends.
func startHosts(t *testing.T, count int) *hosts {
	t.Helper()
	h := &hosts{t: t, id: fmt.Sprintf("slc%x", os.Getpid()&0xfffff), count: count}
	ip := need(t, "ip")
	if os.Getuid() != 0 || exec.Command(ip, "netns", "add", h.id+"t").Run() != nil {
		t.Skip("left out: network namespaces need root")
	}
	h.ip("netns", "del", h.id+"t")
	t.Cleanup(func() {
		for i := range count {
			exec.Command(ip, "netns", "del", h.space(i)).Run() // and its link with it
		}
		exec.Command(ip, "netns", "del", h.middle()).Run()
	})
	h.ip("netns", "add", h.middle())
	if exec.Command(ip, "-n", h.middle(), "link", "add", "bridge", "type", "bridge").Run() != nil {
		t.Skip("left out: this system has no bridges")
	}
	h.ip("-n", h.middle(), "link", "set", "bridge", "up")
	for i := range count {
		h.ip("netns", "add", h.space(i))
		h.ip("-n", h.middle(), "link", "add", h.link(i), "type", "veth", "peer", "name", "eth0", "netns", h.space(i))
		h.ip("-n", h.middle(), "link", "set", h.link(i), "master", "bridge", "up")
		h.ip("-n", h.space(i), "addr", "add", h.address(i)+"/24", "dev", "eth0")
		h.ip("-n", h.space(i), "link", "set", "eth0", "up")
		h.ip("-n", h.space(i), "link", "set", "lo", "up")
	}
	return h
}

func (h *hosts) ip(args ...string) {
	h.t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	require.NoError(h.t, err, "ip %s: %s", strings.Join(args, " "), out)
}

func (h *hosts) middle() string       { return h.id + "-b" }
func (h *hosts) space(i int) string   { return fmt.Sprintf("%s-%d", h.id, i) }
func (h *hosts) link(i int) string    { return fmt.Sprintf("link%d", i) }
func (h *hosts) address(i int) string { return fmt.Sprintf("10.77.0.%d", i+1) }

// cut takes a host's link down.
func (h *hosts) cut(i int) { h.ip("-n", h.middle(), "link", "set", h.link(i), "down") }

// mend puts it up again.
func (h *hosts) mend(i int) { h.ip("-n", h.middle(), "link", "set", h.link(i), "up") }

// dial connects to an address as somebody on a host does.
func (h *hosts) dial(i int, address string) (nc net.Conn, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and it ends with the goroutine: it is never unlocked
		f, openErr := os.Open("/var/run/netns/" + h.space(i))
		if err = openErr; err != nil {
			return
		}
		defer f.Close()
		if err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err == nil {
			nc, err = net.Dial("tcp", address)
		}
	}()
	<-done
	return nc, err
}

// door opens a port here that leads to one on a host's loopback interface, until the test ends: clients that connect to it are
// on that host, whatever becomes of its link.
func (h *hosts) door(i int, address string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(h.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	h.t.Cleanup(func() {
		cancel()
		l.Close()
		running.Wait()
	})
	running.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer in.Close()
				out, err := h.dial(i, address)
				if err != nil {
					return
				}
				defer out.Close()
				defer context.AfterFunc(ctx, func() { in.Close(); out.Close() })()
				var back sync.WaitGroup
				back.Go(func() {
					io.Copy(in, out)
					in.(*net.TCPConn).CloseWrite()
				})
				io.Copy(out, in)
				out.(*net.TCPConn).CloseWrite()
				back.Wait()
			})
		}
	})
	return l.Addr().String()
}

// certificate makes one for all hosts, which is its own authority, and returns the variables that name it.
func (h *hosts) certificate() []string {
	var names []string
	for i := range h.count {
		names = append(names, h.address(i))
	}
	cert, key := tlstest.Write(h.t, h.t.TempDir(), "nodes", tlstest.Certificate(time.Hour, names...))
	return []string{"SLUICE_CLUSTER_TLS_CERT=" + cert, "SLUICE_CLUSTER_TLS_KEY=" + key, "SLUICE_CLUSTER_TLS_CA=" + cert}
}

// startNodes starts a node on each host, encrypted, and waits until they can decide on names.
func (h *hosts) startNodes() *nodes {
	h.t.Helper()
	path, err := program()
	require.NoError(h.t, err)
	c := &nodes{t: h.t}
	for i := range h.count {
		c.names = append(c.names, net.JoinHostPort(h.address(i), "6222"))
	}
	variables := append(h.certificate(), append(clusterVariables, "SLUICE_CLUSTER="+strings.Join(c.names, ","),
		"SLUICE_CLUSTER_SECRET=a secret of all nodes")...)
	for i := range h.count { // each finds out which it is
		s := serveCommand(h.t, exec.Command("ip", "netns", "exec", h.space(i), path), variables...)
		s.rtmp = "rtmp://" + h.door(i, strings.TrimPrefix(s.rtmp, "rtmp://"))
		s.http, s.operators = h.door(i, s.http), h.door(i, s.operators)
		c.all = append(c.all, s)
	}
	c.usable()
	return c
}

// One of three nodes is cut off from the others, and comes back. Both sides serve meanwhile: what is published there goes
// on, what is new is taken. Afterwards each name has one owner, and nobody who watches has been ended.
func TestClusterParted(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("left out: tests with real programs take minutes; run without -short")
	}
	h := startHosts(t, 3)
	c := h.startNodes()
	alone, rest := c.all[0], c.all[1:]
	mine, theirs := mustEncode(t, alone, "live/mine", 1), mustEncode(t, rest[0], "live/theirs", 1)
	stays := append(watchAt(t, "live/mine", 2, alone), watchAt(t, "live/theirs", 2, rest...)...)
	moves := watchAt(t, "live/moves", 2, c.all...)
	first := mustEncode(t, alone, "live/moves", 1)
	moves.see(t, first)
	stays[:2].see(t, mine)
	stays[2:].see(t, theirs)
	h.cut(0)
	parted := time.Now()
	second := encodeAgain(t, rest[0], "live/moves", 2)
	t.Logf("a publisher that came back on the other side was let in after %v", second.began.Sub(parted))
	moves[2:].see(t, second)
	began := time.Now()
	fresh := mustEncode(t, alone, "live/fresh", 1)
	t.Logf("a new name was let in where nobody can decide after %v", fresh.began.Sub(began))
	stays = append(stays, watchAt(t, "live/fresh", 2, alone)...)
	stays[len(stays)-2:].see(t, fresh)
	both := [2]*encoder{encodeAgain(t, alone, "live/both", 1), encodeAgain(t, rest[1], "live/both", 2)}
	twice := append(watchAt(t, "live/both", 2, alone), watchAt(t, "live/both", 2, rest...)...)
	twice[:2].see(t, both[0])
	twice[2:].see(t, both[1])
	rest[1].recorded("live/both") // as soon as those who are left have agreed on who decides
	least := time.Duration(times(t, "PARTED", 8)) * time.Second
	until(t, "they were parted for long enough", func() bool { return time.Since(parted) >= least })
	stays[:2].see(t, mine)
	stays[2:6].see(t, theirs)
	moves[:2].see(t, first)
	moves[2:].see(t, second)
	h.mend(0)
	mended := time.Now()
	c.usable()
	t.Logf("the engine is whole after %v", time.Since(mended))
	assert.Equal(t, badName, first.refused(), "%v", first.err)
	t.Logf("settled after %v", time.Since(mended))
	moves.see(t, second)
	until(t, "one of two publishers is left", func() bool { return both[0].isDone() != both[1].isDone() })
	assert.True(t, both[0].isDone(), "who has the record stays")
	twice.see(t, both[1])
	everywhere := append(watchAt(t, "live/fresh", 2, c.all...), watchAt(t, "live/mine", 2, rest...)...)
	everywhere[:6].see(t, fresh)
	everywhere[6:].see(t, mine)
	stays[:2].see(t, mine)
	stays[2:6].see(t, theirs)
	stays[6:].see(t, fresh)
	for _, all := range []witnesses{moves, stays, everywhere} {
		all.whole(t)
	}
	c.owner("live/moves", 1)
	c.owner("live/fresh", 0)
}
