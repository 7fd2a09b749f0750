package hub_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
)

// A viewer that wants to begin before the log does is given that from elsewhere, and goes
// on in the log where that ends: nothing is missing, nothing comes twice, codec headers
// included.
func TestContinueAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.live = true
		p.send("meta:av vc:s ac:c K:1@0 A:1@0 P:2@40 K:3@80 A:3@80")
		recorder := readerOf(t, h, hub.ReadOptions{FromSession: true, Lag: hub.LagBudget, Budget: hub.NewBudget(1 << 20)})
		recorded, _ := readAll(recorder)
		assert.Equal(t, "meta:av@0 vc:s@0 ac:c@0 K:1@0 A:1@0 P:2@40 K:3@80 A:3@80", recorded)
		early := recorder.Position()
		p.send("P:4@120 K:4@2000 A:4@2000 P:5@2040")

		v := watch(t, h, hub.WatchOptions{Back: time.Hour})
		at, wanted := v.Rewind()
		require.True(t, wanted)
		assert.Equal(t, key, at.Key)
		assert.Equal(t, int64(2040-3600_000), at.Time)
		assert.Equal(t, "meta:av", word(at.Metadata)[:7])
		require.False(t, v.ContinueAt(early, hub.Given{Begun: true, Begin: 80}), "the log begins behind it")
		more, _ := readAll(recorder)
		assert.Equal(t, "P:4@120 K:4@2000 A:4@2000 P:5@2040", more)
		p.send("A:5@2060 P:6@2080")
		require.True(t, v.ContinueAt(recorder.Position(), hub.Given{Begun: true, Begin: 80}))
		assert.Equal(t, "A:5@1980 P:6@2000", v.read())
		p.send("vc:t K:7@2120 A:7@2120")
		assert.Equal(t, "vc:t@2040 K:7@2040 A:7@2040", v.read(), "what changes is told")

		_, wanted = watch(t, h, hub.WatchOptions{Back: time.Millisecond}).Rewind()
		assert.False(t, wanted, "the log reaches so far")
		_, wanted = watch(t, h, hub.WatchOptions{}).Rewind()
		assert.False(t, wanted)
		p.Close()
		time.Sleep(time.Minute)
		assert.False(t, v.ContinueAt(hub.Position{}, hub.Given{}))
	})
}

// One that is given no more from elsewhere goes on with the newest key frame, or with the next one if it has had that, and one
// that has had all that it asked for ends.
func TestContinueLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.live = true
		p.send("vc:s ac:c K:1@0 A:1@0 P:2@1000 K:3@2000 A:3@2000 P:4@2040")
		var all [5]*sink
		for i := range all {
			all[i] = watch(t, h, hub.WatchOptions{Back: time.Hour})
		}
		all[0].ContinueLive(hub.Given{Begun: true, Begin: 100, Until: 1999})
		all[1].ContinueLive(hub.Given{Begun: true, Begin: 100, Until: 2000})
		all[2].ContinueLive(hub.Given{Begun: true, Begin: 100, Until: 2040, NeedKey: true})
		all[3].ContinueLive(hub.Given{})
		all[4].Complete()
		p.send("P:5@2080 A:5@2080 K:6@3000")
		assert.Equal(t, "vc:s@1900 ac:c@1900 K:3@1900 A:3@1900 P:4@1940 P:5@1980 A:5@1980 K:6@2900", all[0].read())
		for _, v := range all[1:3] {
			assert.Equal(t, "vc:s@1980 ac:c@1980 A:5@1980 K:6@2900", v.read())
		}
		assert.Equal(t, "vc:s@0 ac:c@0 K:3@0 A:3@0 P:4@40 P:5@80 A:5@80 K:6@1000", all[3].read())
		assert.Empty(t, all[4].read())
		assert.Equal(t, hub.ReasonComplete, all[4].end)
	})
}

// A viewer that joins behind a change of the picture, and was given from elsewhere what lies
// before it, goes on there with the sound as well.
func TestContinueAtWithSound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.send("meta:av vc:s ac:c K:1@0 A:1@0 P:2@40")
		recorder := readerOf(t, h, hub.ReadOptions{FromSession: true, Lag: hub.LagBudget, Budget: hub.NewBudget(1 << 20)})
		readAll(recorder)
		watch(t, h, hub.WatchOptions{}) // for whom the log is kept
		p.send("A:2@60 P:3@80 A:3@80 hc:h HK:4@120 A:4@120 HP:5@160")
		time.Sleep(2 * time.Second)
		v := watch(t, h, hub.WatchOptions{Back: time.Hour})
		require.True(t, v.ContinueAt(recorder.Position(), hub.Given{Begun: true}))
		assert.Equal(t, "A:2@60 P:3@80 A:3@80 hc:h@120 HK:4@120 A:4@120 HP:5@160", v.read())
	})
}

// The viewer's shape holds for what it is given from elsewhere.
func TestViewerShape(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.send("vc:s ac:c K:1@0 A:1@0")
		v := watch(t, h, hub.WatchOptions{NoVideo: true, Shape: flv.Shape{Form: flv.FormBrowser}})
		var scratch []byte
		for word, gets := range map[string]bool{"A:2@5": true, "ac:d": true, "P:2@5": false, "text:x": false} {
			_, ok := v.Shape(tag(word), &scratch)
			assert.Equal(t, gets, ok, word)
		}
		off := func() [2]bool { return [2]bool{v.IsOff(flv.TypeAudio), v.IsOff(flv.TypeVideo)} }
		assert.Equal(t, [2]bool{}, off())
		v.ReceiveAudio(false)
		assert.Equal(t, [2]bool{true, false}, off())
		v.ReceiveVideo(false)
		assert.Equal(t, [2]bool{true, true}, off())
	})
}

// A reader that gathers is told when there is enough for it, and of an end.
func TestReaderGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{PublisherGrace: time.Second})
		p := publish(t, h, client{})
		p.send("vc:s K:1@0")
		r := readerOf(t, h, hub.ReadOptions{FromSession: true, Lag: hub.LagBudget, Gather: 4000})
		isReady := func() bool {
			select {
			case <-r.Ready():
				return true
			default:
				return false
			}
		}
		time.Sleep(time.Minute)
		readAll(r)
		for i := range 60 {
			p.send(fmt.Sprintf("P:%d@%d", i, 40+40*i))
			require.False(t, isReady(), i)
		}
		for i := range 60 {
			p.send(fmt.Sprintf("P:%d@%d", i, 4000+40*i))
		}
		assert.True(t, isReady())
		readAll(r)
		p.send("P:a@8000")
		assert.False(t, isReady())
		p.Close()
		time.Sleep(2 * time.Second)
		assert.True(t, isReady(), "it has ended")
		_, end := readAll(r)
		assert.Equal(t, hub.ReasonUnpublished, end)
	})
}
