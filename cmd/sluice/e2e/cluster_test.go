//go:build unix

package e2e

import (
	"math/rand/v2"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/rtmp"
)

// times returns a number of the environment, for tests whose long form takes more than others have time for.
func times(t *testing.T, name string, usual int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, name)
	return n
}

// badName is what a publisher is told whose name another one has.
const badName = "NetStream.Publish.BadName"

// What a cluster of three does as long as all of its nodes run, and what it does when one of them does not: in turn, since
// three nodes need seconds until they can decide on anything.
func TestCluster(t *testing.T) {
	t.Parallel()
	c := startNodes(t, 3, "SLUICE_RECORD_DIR="+t.TempDir()+"/{node}", "SLUICE_RECORD_DIR@2=", "SLUICE_RECORD=live/recorded", "SLUICE_RECORD_MIN_FREE=0")
	real := c.all[2].publish("live/real", both) // programs, all the time
	pulls := []*pull{c.all[0].pull(ffmpegRTMP, "live/real"), c.all[1].pull(curl, "live/real"), c.all[1].pull(rtmpdumpLive, "live/real")}
	held := mustEncode(t, c.all[0], "live/over", 1)
	left := watchAt(t, "live/over", 2, c.all...)
	left.see(t, held)
	held.end() // and does not come back
	t.Run("serves", func(t *testing.T) { clusterServes(c.in(t)) })
	t.Run("recordings", func(t *testing.T) { clusterRecordings(c.in(t)) })
	t.Run("race", func(t *testing.T) { clusterRace(c.in(t)) })
	t.Run("cuts", func(t *testing.T) { clusterCuts(c.in(t)) })
	t.Run("freeze", func(t *testing.T) { clusterFreeze(c.in(t)) })
	t.Run("backup", func(t *testing.T) { clusterBackup(c.in(t)) })
	left.ended(t)
	left.whole(t)
	for _, p := range pulls {
		p.reaches(2000)
	}
	real.signal(os.Interrupt)
	for _, p := range pulls {
		p.done()
		checkRecording(t, p.path, both)
	}
	t.Run("kill", func(t *testing.T) { clusterKill(c.in(t), 0) })
	t.Run("leader killed", func(t *testing.T) { clusterLeaderKilled(c.in(t)) })
	t.Run("rolling", func(t *testing.T) { clusterRolling(c.in(t)) })
}

// What is published at one node is watched at the others, each of which copies it once; when its publisher has left it goes on
// at any.
func clusterServes(c *nodes) {
	t, key := c.t, "live/serves"
	early := watchAt(t, key, 2, c.all[1:]...) // before anybody publishes
	e := mustEncode(t, c.all[0], key, 1)
	all := append(early, watchAt(t, key, 4, c.all...)...)
	all.see(t, e)
	for n, s := range c.all {
		of := [...]string{"rtmp", "cluster", "cluster"}[n]
		publishers := 0
		for _, w := range s.sessions(key) {
			if w.Role == "publish" {
				publishers++
				assert.Equal(t, of, w.Protocol)
			}
		}
		assert.Equal(t, 1, publishers, "of %s", c.names[n])
	}
	_, err := encode(t, c.all[1], key, 2)
	assert.Equal(t, badName, statusCode(err))
	all.see(t, e)
	e.end()
	next := encodeAgain(t, c.all[2], key, 2)
	all.see(t, next)
	all.whole(t)
	c.owner(key, 2)
}

// Of two who publish one name at two nodes at the same moment one is let in, each time.
func clusterRace(c *nodes) {
	t := c.t
	rounds := times(t, "RACES", 50)
	for n := range rounds {
		key := "live/race" + strconv.Itoa(n)
		var at [2]*encoder
		var errs [2]error
		var ready, both sync.WaitGroup
		ready.Add(1)
		for i := range at {
			both.Go(func() {
				ready.Wait()
				at[i], errs[i] = encode(t, c.all[(n+i)%3], key, 1+i)
			})
		}
		ready.Done()
		both.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Fatalf("round %d: %v, %v", n, errs[0], errs[1])
		}
		for i := range at {
			if errs[i] != nil {
				assert.Equal(t, badName, statusCode(errs[i]), "round %d: %v", n, errs[i])
				continue
			}
			at[i].end()
		}
	}
}

// The connections over which two nodes copy a stream from a third one are cut at any moment, again and again, some of them
// while they are being made anew: nobody misses anything, and nothing comes twice.
func clusterCuts(c *nodes) {
	t, key := c.t, "live/cuts"
	e := mustEncode(t, c.all[0], key, 1)
	all := watchAt(t, key, 2, c.all...)
	all.see(t, e)
	cut, came, began := 0, c.way.Accepted(), time.Now()
	for n := range times(t, "CUTS", 5) {
		until(t, "both nodes take the stream", func() bool { return c.way.Open() >= 2 })
		if n%4 > 0 { // else it is not known whether they have got anything since the last time
			all.see(t, e)
		}
		time.Sleep(rand.N(numberedGOP * numberedEvery))
		cut += c.way.Break()
	}
	all.see(t, e)
	t.Logf("%d connections cut in %v, %d made", cut, time.Since(began), c.way.Accepted()-came)
	assert.NotZero(t, cut)
	all.whole(t)
	e.end()
}

// The owner stands still; its publisher comes back elsewhere. Awake again it owns nothing any more, what had been sent to it
// meanwhile reaches nobody, and its viewers are served from the new owner.
func clusterFreeze(c *nodes) {
	t, key := c.t, "live/freeze"
	e := mustEncode(t, c.all[0], key, 1)
	frozen, others := watchAt(t, key, 2, c.all[0]), watchAt(t, key, 4, c.all[1:]...)
	all := append(append(witnesses(nil), frozen...), others...)
	all.see(t, e)
	c.all[0].freeze()
	late := e.sent.Load() + 3 // what is sent from the next frame on
	stood := time.Now()
	next := encodeAgain(t, c.all[1], key, 2)
	t.Logf("let in %v after the owner stood still", next.began.Sub(stood))
	others.see(t, next)
	t.Logf("the picture went on %v behind its first key frame", others.resumed(next))
	for _, w := range others {
		w.mu.Lock()
		assert.NotZero(t, w.came[2], w.what)
		w.mu.Unlock()
	}
	least := time.Duration(times(t, "FREEZE", 4)) * time.Second
	until(t, "it has stood still for long enough", func() bool { return time.Since(stood) >= least })
	lates := e.sent.Load()
	assert.Greater(t, lates, late)
	c.all[0].thaw()
	assert.Equal(t, badName, e.refused(), "of %v", e.err)
	all.see(t, next)
	c.owner(key, 1)
	for _, w := range all {
		w.mu.Lock()
		assert.Less(t, w.lastOf[1], late, "late frames at %s", w.what)
		w.mu.Unlock()
	}
	all.whole(t)
}

// An encoder publishes to one node and its backup to another: one is shown everywhere, and the other stands by, until an operator
// switches at any node, or the one that is shown ends.
func clusterBackup(c *nodes) {
	t, key := c.t, "live/backup"
	main := mustEncode(t, c.all[0], key+"?token=x", 1)
	all := watchAt(t, key, 2, c.all...)
	all.see(t, main)
	spare := mustEncode(t, c.all[1], key+"?token=x&backup=1", 2)
	_, err := encode(t, c.all[2], key+"?token=y&backup=1", 3)
	assert.Equal(t, badName, statusCode(err))
	all.see(t, main)
	c.owner(key, 0)
	c.all[2].operate(http.MethodPost, "/api/v1/streams/switch", `{"stream":"`+key+`"}`, http.StatusNoContent, nil)
	all.see(t, spare)
	c.owner(key, 1)
	until(t, "the main one stands by", func() bool { return c.standby(key) == c.names[0] })
	assert.False(t, main.isDone(), "it is not ended")
	main.end()
	main = mustEncode(t, c.all[2], key+"?token=x", 3)
	all.see(t, spare)
	spare.end()
	ended := time.Now()
	all.see(t, main)
	t.Logf("the picture went on %v after the one that was shown had ended", all.resumed(main)+main.began.Sub(ended))
	c.owner(key, 2)
	all.whole(t)
	main.end()
}

// The owner is killed under viewers at two other nodes; its publisher comes back at one of them. Nobody is ended, and
// nothing comes twice.
func clusterKill(c *nodes, owner int) {
	t, key := c.t, "live/kill"
	e := mustEncode(t, c.all[owner], key, 1)
	others := c.others(owner)
	all := watchAt(t, key, max(1, times(t, "VIEWERS", 20)/2), others...)
	all.see(t, e)
	main := mustEncode(t, c.all[owner], "live/spared?token=x", 1)
	spared := watchAt(t, "live/spared", 1, others...)
	spared.see(t, main)
	spare := mustEncode(t, others[1], "live/spared?token=x&backup=1", 2)
	spared.see(t, main)
	c.all[owner].kill()
	killed := time.Now()
	next := encodeAgain(t, others[0], key, 2)
	all.see(t, next)
	t.Logf("let in %v after the owner was killed; the picture went on %v behind its first key frame, at the last of %d viewers",
		next.began.Sub(killed), all.resumed(next), len(all))
	spared.see(t, spare)
	spared.whole(t)
	spare.end()
	third := time.Now()
	e = encodeAgain(t, others[1], "live/new", 1) // nobody may decide on records now
	t.Logf("a new name was let in after %v", e.began.Sub(third))
	watchAt(t, "live/new", 1, others...).see(t, e)
	all.see(t, next)
	c.start(owner)
	c.usable()
	all = append(all, watchAt(t, key, 2, c.all[owner])...)
	all.see(t, next)
	all.whole(t)
	c.owner(key, 1-min(owner, 1))
	next.end()
}

// A node that decides on records is killed while a stream runs between the other two: nothing happens to that, and a new name
// is let in.
func clusterLeaderKilled(c *nodes) {
	t, key := c.t, "live/leader"
	leader := c.leads()
	others := c.others(leader)
	e := mustEncode(t, others[0], key, 1)
	all := watchAt(t, key, 2, others...)
	all.see(t, e)
	c.all[leader].kill()
	killed := time.Now()
	next := mustEncode(t, others[1], "live/unheard", 1)
	t.Logf("a new name was let in after %v", next.began.Sub(killed))
	viewers := watchAt(t, "live/unheard", 2, others...)
	viewers.see(t, next)
	all.see(t, e)
	_, err := encode(t, others[0], "live/unheard", 2)
	assert.Equal(t, badName, statusCode(err), "%v", err)
	c.usable()
	c.start(leader)
	c.usable()
	viewers = append(viewers, watchAt(t, "live/unheard", 2, c.all[leader])...)
	all = append(all, watchAt(t, key, 2, c.all[leader])...)
	viewers.see(t, next)
	all.see(t, e)
	all.whole(t)
	viewers.whole(t)
	e.end()
	next.end()
}

// handedOver finds what a node says of those who leave it as it ends.
var handedOver = regexp.MustCompile(`(?m)^.*go on at other nodes.*$`)

// All nodes are started anew, one after the other, under a publisher and viewers that come back elsewhere as encoders and
// browsers do: the stream does not end, and each viewer has a gap for each node that it had to leave. The publisher leaves a
// node first, and its viewers there see it again before they are ended.
func clusterRolling(c *nodes) {
	t, key := c.t, "live/rolling"
	c.idle() // what moves is counted
	at, nth := 0, 1
	e := mustEncode(t, c.all[at], key, nth)
	var up atomic.Int64 // which nodes are there, as a load balancer knows it
	up.Store(0b111)
	servers := slices.Clone(c.all)
	var stay []*comer
	for i := range 6 {
		stay = append(stay, come(t, func(try int) *server {
			for n := i + try; ; n++ {
				if n %= 3; up.Load()>>n&1 == 1 {
					return servers[n] // which comes back at its address
				}
			}
		}, key))
	}
	for i := range c.all {
		for _, v := range stay {
			v.see(t, e)
		}
		up.Add(-1 << i)
		var there witnesses
		for _, v := range stay {
			if w := v.present(); w.at == servers[i].http {
				there = append(there, w)
			}
		}
		assert.NotEmpty(t, there)
		require.Equal(t, i, at, "each node is the owner when its turn comes")
		c.all[i].stop()
		old, said, asks := e, "asked=0 ended=1", "0"
		at, nth = (i+1)%3, nth+1
		if moves := i == 1; moves { // it has announced that it can, and leaves when it is there
			asked := <-old.pub.Reconnects()
			assert.Contains(t, []string{c.all[0].rtmpURL(key), c.all[2].rtmpURL(key)}, asked.URL)
			said, asks = "asked=1 ended=0", "[01]" // it may be there still when all are asked, and is asked again then
		} else {
			until(t, "the publisher is ended", old.isDone)
		}
		e = encodeAgainBy(t, &rtmp.Client{WriteTimeout: patience, CanReconnect: at == 1}, c.all[at], key, nth)
		old.end()
		assert.Zero(t, c.all[i].wait())
		for _, w := range there {
			w.mu.Lock()
			assert.NotZero(t, w.lastOf[int64(nth)], "%s was ended before it saw the publisher again", w.what)
			w.mu.Unlock()
		}
		log := strings.Join(handedOver.FindAllString(c.all[i].said.String(), -1), "\n")
		assert.Contains(t, log, `msg="publishers go on at other nodes" `+said+` moved=1`)
		// Viewers of tests before are ended, too.
		assert.Regexp(t, `msg="viewers go on at other nodes" asked=`+asks+` left=0 ended=[1-9]`, log)
		for _, v := range stay {
			v.see(t, e)
		}
		c.start(i)
		c.usable()
		up.Add(1 << i)
	}
	for _, v := range stay {
		v.see(t, e)
		v.end()
		t.Logf("%d connections, %d gaps", len(v.seen), v.gaps())
		assert.LessOrEqual(t, len(v.seen), 4)
		v.seen.whole(t)
	}
	e.end()
}
