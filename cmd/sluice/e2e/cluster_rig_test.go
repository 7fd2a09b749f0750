//go:build unix

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sluice/hub/relay/relaytest"
)

// nodes are servers of one cluster, each of which can be killed and come back at its addresses.
type nodes struct {
	t         *testing.T
	names     []string // HOST:PORT, as in SLUICE_CLUSTER
	variables []string // of all, or as NAME@N=VALUE of that one; {node} in them is the number of each
	external  []string // instead of SLUICE_CLUSTER; nil where the engine is in the nodes
	addresses [][2]string
	media     string           // where the inner protocol of the first node listens; empty: anywhere
	way       *relaytest.Proxy // between that and the other nodes; nil without
	all       []*server        // those that run; one that was killed stays until it is back
	of        *nodes           // the whole test's, where this is a subtest's; nil otherwise
}

// clusterVariables are those of every node of a test: nobody is held for longer than a test waits, and nobody jumps
// since the machine is busy.
var clusterVariables = []string{"SLUICE_MAX_LAG=2m", "SLUICE_STALL_TIMEOUT=2m", "SLUICE_PUBLISHER_GRACE=12s", "SLUICE_VIEWER_WAIT=90s"}

// wayRTT is the round trip between the first of the nodes and the others, as far as streams are concerned.
const wayRTT = 20 * time.Millisecond

// startNodes starts a cluster with as many nodes on this machine, and waits until it can decide on names. The others take
// streams from the first one through a proxy, whose address they are told.
func startNodes(t *testing.T, count int, variables ...string) *nodes {
	t.Helper()
	c := &nodes{t: t, variables: variables, all: make([]*server, count), media: quietAddress(t)}
	way, err := relaytest.New(relaytest.Config{Target: c.media, Delay: wayRTT / 2})
	require.NoError(t, err)
	t.Cleanup(func() { way.Close() })
	c.way = way
	c.begin()
	c.usable()
	return c
}

// begin starts all nodes.
func (c *nodes) begin() {
	c.t.Helper()
	for range c.all {
		c.names = append(c.names, quietAddress(c.t))
		c.addresses = append(c.addresses, [2]string{quietAddress(c.t), quietAddress(c.t)})
	}
	for i := range c.all {
		c.start(i)
	}
}

// start starts a node, for the first time or again.
func (c *nodes) start(i int) *server {
	c.t.Helper()
	if c.of != nil { // so that it outlasts the subtest
		c.all[i] = c.of.start(i).in(c.t)
		return c.all[i]
	}
	own := []string{
		"SLUICE_CLUSTER=" + strings.Join(c.names, ","), "SLUICE_CLUSTER_NODE=" + c.names[i],
		"SLUICE_CLUSTER_RTMP_URL=rtmp://" + c.addresses[i][0],
	}
	if c.external != nil {
		own = append(slices.Clone(c.external), "SLUICE_CLUSTER_NODE=n"+strconv.Itoa(i), "SLUICE_CLUSTER_MEDIA_ADDR=127.0.0.1:0")
	}
	if i == 0 && c.way != nil {
		own = append(own, "SLUICE_CLUSTER_MEDIA_ADDR="+c.media, "SLUICE_CLUSTER_MEDIA_ADVERTISE="+c.way.Addr())
	}
	for _, v := range c.variables {
		name, value, _ := strings.Cut(v, "=")
		if name, only, some := strings.Cut(name, "@"); !some || only == strconv.Itoa(i) {
			own = append(own, name+"="+strings.ReplaceAll(value, "{node}", strconv.Itoa(i)))
		}
	}
	c.all[i] = serveAt(c.t, c.addresses[i][0], c.addresses[i][1], slices.Concat(clusterVariables, own)...)
	c.all[i].mayEnd = true
	return c.all[i]
}

// in returns the cluster for a subtest.
func (c *nodes) in(t *testing.T) *nodes {
	mine := *c
	mine.t, mine.all, mine.of = t, slices.Clone(c.all), c
	for i, s := range mine.all {
		mine.all[i] = s.in(t)
	}
	return &mine
}

// clusterWritable is a line of a node that knows who decides on records.
var clusterWritable = regexp.MustCompile(`(?m)msg="cluster: records can(not)? be written".*?(?: leader=(\S+))?$`)

// leader returns which node decides on records, as the last line of this one has it; "" if nobody does.
func (s *server) leader() string {
	all := clusterWritable.FindAllStringSubmatch(s.said.String(), -1)
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1][2]
}

// usable waits until all nodes that run have all records, and agree on who decides.
func (c *nodes) usable() {
	c.t.Helper()
	until(c.t, "the nodes agree on who decides on records", func() bool {
		leader := ""
		for _, s := range c.all {
			if !s.running() {
				continue
			}
			now := s.leader()
			if c.external == nil && !strings.Contains(s.said.String(), "cluster: this node has all records") {
				return false // it would be missed if another one went
			}
			if now == "" || leader != "" && now != leader {
				return false
			}
			leader = now
		}
		return leader != ""
	})
}

// leads returns the number of the node that decides on records.
func (c *nodes) leads() int {
	c.t.Helper()
	c.usable()
	for _, s := range c.all {
		if s.running() {
			return slices.Index(c.names, s.leader())
		}
	}
	c.t.Fatal("no node runs")
	return -1
}

// others returns the other nodes.
func (c *nodes) others(but int) []*server {
	return slices.DeleteFunc(slices.Clone(c.all), func(s *server) bool { return s == c.all[but] })
}

// who is what the operators' API tells of a client.
type who struct {
	Role, Stream, Protocol, State, Client string
	Standby                               bool
}

// sessions asks the API who publishes and watches a stream, copies for viewers included.
func (s *server) sessions(key string) []who {
	s.t.Helper()
	var list struct{ Sessions []who }
	s.operate(http.MethodGet, "/api/v1/sessions?limit=1000&stream="+key, "", http.StatusOK, &list)
	return list.Sessions
}

// publisher returns over what protocol a stream comes to this server, who stands by left out; "" if it does not.
func (s *server) publisher(key string) string {
	s.t.Helper()
	for _, w := range s.sessions(key) {
		if w.Role == "publish" && w.State == "running" && !w.Standby {
			return w.Protocol
		}
	}
	return ""
}

// idle waits until no node owns a stream: those of tests before have their grace time.
func (c *nodes) idle() {
	c.t.Helper()
	until(c.t, "no node owns a stream", func() bool {
		var list struct{ Nodes []struct{ Owned int } }
		c.all[0].operate(http.MethodGet, "/api/v1/nodes?limit=1", "", http.StatusOK, &list)
		owned := 0
		for _, n := range list.Nodes {
			owned += n.Owned
		}
		return owned == 0
	})
}

// standby returns at which node a publisher stands by for the one of a stream that is shown; "" for none.
func (c *nodes) standby(key string) string {
	c.t.Helper()
	var list struct {
		Streams []struct {
			Places []struct {
				Node    string
				Standby bool
			}
		}
	}
	c.all[2].operate(http.MethodGet, "/api/v1/nodes?stream="+key, "", http.StatusOK, &list)
	for _, s := range list.Streams {
		for _, p := range s.Places {
			if p.Standby {
				return p.Node
			}
		}
	}
	return ""
}

// owner waits until a stream is published at that node, and the others that run do not have it or copy it.
func (c *nodes) owner(key string, i int) {
	c.t.Helper()
	until(c.t, key+" has one owner", func() bool {
		for n, s := range c.all {
			if !s.running() {
				continue
			}
			if by := s.publisher(key); n == i && by != "rtmp" || n != i && by != "" && by != "cluster" {
				return false
			}
		}
		return true
	})
}

// recorded waits until this server owns a stream, and the record says so.
func (s *server) recorded(key string) {
	s.t.Helper()
	until(s.t, key+" is recorded", func() bool {
		var list struct {
			Streams []struct {
				Places []struct {
					State       string
					Provisional bool
				}
			}
		}
		s.operate(http.MethodGet, "/api/v1/nodes?stream="+key, "", http.StatusOK, &list)
		for _, stream := range list.Streams {
			for _, p := range stream.Places {
				if p.State == "owner" && !p.Provisional {
					return true
				}
			}
		}
		return false
	})
}

// freeze has a server stand still, and returns when it does.
func (s *server) freeze() {
	s.t.Helper()
	s.signal(syscall.SIGSTOP)
	until(s.t, "it stands still", func() bool {
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
		_, behind, _ := strings.Cut(string(state), ") ")
		return err != nil || strings.HasPrefix(behind, "T") // without /proc it does at once

	})
}

// thaw has it go on.
func (s *server) thaw() {
	s.t.Helper()
	s.signal(syscall.SIGCONT)
}
