package hub_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// A viewer that falls behind by more than MaxLag goes on at the newest key frame;
// what it missed is counted.
func TestSlowViewerJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{}) // MaxLag 5 s
		p := publish(t, h, client{})
		p.live = true
		p.send("meta:v vc:s K:0@0")
		slow, quick := watch(t, h, hub.WatchOptions{}), watch(t, h, hub.WatchOptions{})
		slow.read()
		for ts := 1000; ts <= 10_000; ts += 1000 {
			p.send("K:k@"+itoa(ts), "P:p@"+itoa(ts+500))
			assert.Equal(t, "K:k@"+itoa(ts)+" P:p@"+itoa(ts+500), lastTwo(quick.read()))
		}
		assert.Equal(t, "K:k@10000 P:p@10500", slow.read())
		assert.Equal(t, uint64(18), slow.Dropped())
		assert.Zero(t, quick.Dropped())
		assert.Equal(t, uint64(18), info(t, h).Dropped)
		slow.Close()
		assert.Equal(t, uint64(18), info(t, h).Dropped, "counted beyond the viewer's life")
	})
}

// Up to MaxLag nothing is left out.
func TestLagWithinBound(t *testing.T) {
	for _, test := range []struct {
		last int
		want string
	}{
		{6000, "K:1@1000 K:2@2000 K:3@3000 K:4@4000 K:5@5000 P:6@6000"},
		{6001, "K:5@5000 P:6@6001"},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := newHub(t, hub.Config{})
			p := publish(t, h, client{})
			p.live = true
			p.send("meta:v vc:s K:0@0")
			v := watch(t, h, hub.WatchOptions{})
			v.read()
			p.send("K:1@1000 K:2@2000 K:3@3000 K:4@4000 K:5@5000 P:6@" + itoa(test.last))
			assert.Equal(t, test.want, v.read())
		})
	}
}

// Headers that changed while a viewer was behind come before what it goes on with.
func TestHeadersAfterAJump(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.live = true
		p.send(av)
		v := watch(t, h, hub.WatchOptions{})
		v.read()
		p.send("vc:x K:2@900 vc:y K:3@5800 A:3@5800 ac:d A:4@6023")
		assert.Equal(t, "vc:y@5800 K:3@5800 A:3@5800 ac:d@6023 A:4@6023", v.read())
	})
}

// A publisher that was cut off for longer than MaxLag sends what it could not send
// all at once: no viewer was slow, and each gets everything.
func TestBacklogOfThePublisher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.send(av)
		v := watch(t, h, hub.WatchOptions{})
		v.read()
		time.Sleep(8 * time.Second)
		p.sendEvery("K", 1000, 1000, 8)
		assert.Len(t, strings.Fields(v.read()), 8)
		assert.Zero(t, v.Dropped())
	})
}

// Without video, a late viewer goes on at the live edge.
func TestSlowListenerJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.live = true
		p.send("meta:a ac:c A:0@0")
		v := watch(t, h, hub.WatchOptions{})
		v.read()
		p.sendEvery("A", 20, 20, 1000)
		assert.Equal(t, "A:20000@20000", v.read())
		assert.Equal(t, uint64(999), v.Dropped())
	})
}

// A viewer is not slow because the GOP is longer than MaxLag: neither one that
// keeps up, nor one that joins and has the whole GOP to catch up with.
func TestLongGOP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.live = true
		p.send("meta:v vc:s K:0@0")
		keepsUp := watch(t, h, hub.WatchOptions{})
		keepsUp.read()
		ts := 40
		for range 25 * 60 { // a minute without a key frame
			p.sendEvery("P", ts, 40, 1)
			require.Equal(t, "P:"+itoa(ts)+"@"+itoa(ts), keepsUp.read())
			ts += 40
		}
		joins := watch(t, h, hub.WatchOptions{})
		joins.limit = 100
		require.True(t, joins.pass())
		p.sendEvery("P", ts, 40, 1) // life goes on meanwhile
		assert.Equal(t, "P:"+itoa(ts)+"@"+itoa(ts), keepsUp.read())
		tags := joins.take()
		assert.Len(t, tags, 2+1+25*60+1)
		assert.Zero(t, joins.Dropped())
		assert.Zero(t, keepsUp.Dropped())
	})
}

// A viewer whose packets are gone while no key frame lies ahead: sound goes on,
// the picture with the next key frame.
func TestEvictedViewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{GOPMaxBytes: 20 << 10})
		p := publish(t, h, client{})
		p.live = true
		p.send(av)
		v := watch(t, h, hub.WatchOptions{})
		v.read()
		ts := 40
		for range 500 { // an endless GOP, beyond the byte bound
			p.send("A:a@"+itoa(ts), "P:p@"+itoa(ts))
			ts += 40
		}
		require.EqualValues(t, 1, info(t, h).GOPCuts)
		tags := v.take()
		require.NotEmpty(t, tags)
		for i, tag := range tags {
			require.Equal(t, "A:a@", word(tag)[:4], "no picture without its key frame")
			if i > 0 {
				assert.Equal(t, uint32(40), tag.Timestamp-tags[i-1].Timestamp)
			}
		}
		assert.Equal(t, uint32(ts-40), tags[len(tags)-1].Timestamp)
		assert.EqualValues(t, 1000-len(tags), v.Dropped())

		p.send("A:b@"+itoa(ts), "P:p@"+itoa(ts))
		assert.Equal(t, "A:b@"+itoa(ts), v.read(), "still none")
		ts += 40
		p.send("K:k@"+itoa(ts), "P:p@"+itoa(ts+40))
		assert.Equal(t, "K:k@"+itoa(ts)+" P:p@"+itoa(ts+40), v.read())
	})
}

// One that was evicted before it took anything still starts at 0, with headers.
func TestEvictedBeforeItsFirstFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{GOPMaxBytes: 20 << 10})
		p := publish(t, h, client{})
		p.live = true
		p.send(av)
		v := watch(t, h, hub.WatchOptions{})
		for ts := 40; ts < 20_000; ts += 40 {
			p.send("A:a@"+itoa(ts), "P:p@"+itoa(ts))
		}
		p.send("K:k@20000 A:z@20000")
		assert.Equal(t, "meta:av@0 vc:s@0 ac:c@0 K:k@0 A:z@0", v.read())
	})
}

// A jump does not reach beyond the packet at which the viewer's stream ends.
func TestNoJumpBeyondTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{GOPMaxBytes: 8 << 10})
		p := publish(t, h, client{})
		p.live = true
		p.send(av)
		v := watch(t, h, hub.WatchOptions{FixedCodecs: true})
		v.read()
		p.send("P:2@40 hc:h HK:3@80 A:3@80")
		p.sendEvery("HP", 120, 40, 1000)
		p.send("HK:4@90000")
		assert.Empty(t, v.read(), "its packets are gone")
		assert.Equal(t, hub.ReasonCodecChanged, v.end)
	})
}

func lastTwo(words string) string {
	spaces := 0
	for i := len(words) - 1; i >= 0; i-- {
		if words[i] == ' ' {
			if spaces++; spaces == 2 {
				return words[i+1:]
			}
		}
	}
	return words
}
