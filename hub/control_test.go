package hub_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"

	"sluice/hub"
)

// A paused viewer gets nothing, and goes on at the newest key frame.
func TestPause(t *testing.T) {
	for _, test := range []struct {
		name, meanwhile, want string
	}{
		{"key frame meanwhile", "P:3@80 K:4@120 P:5@160 K:6@200 P:7@240", "K:6@200 P:7@240"},
		{"no key frame meanwhile", "P:3@80 P:4@120", "P:3@80 P:4@120"},
		{"nothing meanwhile", "", ""},
		{"headers meanwhile", "vc:t K:3@80 P:4@120", "vc:t@80 K:3@80 P:4@120"},
		{"long enough to be late", "P:3@3000 K:4@6000 P:5@9000", "K:4@6000 P:5@9000"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, hub.Config{})
				p := publish(t, h, client{})
				p.send("meta:v vc:s K:1@0 P:2@40")
				v := watch(t, h, hub.WatchOptions{})
				v.read()
				v.Pause(true)
				p.send(test.meanwhile)
				assert.Empty(t, v.read())
				assert.Equal(t, hub.ReasonNone, v.end)
				v.Pause(false)
				assert.Equal(t, test.want, v.read())
				assert.Zero(t, v.Dropped(), "it was not slow")
				p.send("P:z@9040")
				assert.Contains(t, v.read(), "P:z@")
			})
		})
	}
}

// Pausing before the first packet and pausing for a moment change nothing.
func TestPauseWithoutEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.send("meta:v vc:s K:1@0 P:2@40")
		v := watch(t, h, hub.WatchOptions{})
		v.Pause(true)
		assert.Empty(t, v.read())
		v.Pause(false)
		assert.Equal(t, "meta:v@0 vc:s@0 K:1@0 P:2@40", v.read())
		p.send("P:3@80 K:4@120")
		v.Pause(true)
		v.Pause(false)
		assert.Equal(t, "P:3@80 K:4@120", v.read())
	})
}

// The end of a stream reaches a paused viewer.
func TestEndOfPausedViewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{PublisherGrace: -1})
		p := publish(t, h, client{})
		p.send(av)
		v := watch(t, h, hub.WatchOptions{})
		v.read()
		v.Pause(true)
		p.send("P:2@40")
		p.Close()
		assert.Empty(t, v.read())
		assert.Equal(t, hub.ReasonUnpublished, v.end)
	})
}

// ReceiveVideo(false) leaves video out; it comes back with a key frame.
func TestReceiveVideo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.send(av)
		v := watch(t, h, hub.WatchOptions{})
		v.read()
		v.ReceiveVideo(false)
		p.send("P:2@40 A:2@40 K:3@80 A:3@80 P:4@120")
		assert.Equal(t, "A:2@40 A:3@80", v.read())
		v.ReceiveVideo(true)
		p.send("P:5@160 A:5@160 K:6@200 P:7@240")
		assert.Equal(t, "A:5@160 K:6@200 P:7@240", v.read())
		assert.Zero(t, v.Dropped(), "it was not slow")
	})
}

// Without a video packet in between, turning video off and on changes nothing.
func TestReceiveVideoWithoutEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.send(av)
		v := watch(t, h, hub.WatchOptions{})
		v.read()
		v.ReceiveVideo(false)
		p.send("A:2@23")
		assert.Equal(t, "A:2@23", v.read())
		v.ReceiveVideo(true)
		p.send("P:3@40")
		assert.Equal(t, "P:3@40", v.read())
	})
}

func TestReceiveAudio(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.send(av)
		v := watch(t, h, hub.WatchOptions{})
		v.read()
		v.ReceiveAudio(false)
		p.send("P:2@40 A:2@40 K:3@80 A:3@80")
		assert.Equal(t, "P:2@40 K:3@80", v.read())
		v.ReceiveAudio(true)
		p.send("A:4@120 P:4@120")
		assert.Equal(t, "A:4@120 P:4@120", v.read())
	})
}

// Video turned off before the start: the viewer hears at once, its clock starts
// with what it hears, and it sees from the next key frame on.
func TestReceiveVideoBeforeTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.send("meta:av vc:s ac:c K:1@100 A:1@110 P:2@140")
		v := watch(t, h, hub.WatchOptions{})
		v.ReceiveVideo(false)
		assert.Equal(t, "meta:av@0 vc:s@0 ac:c@0 A:1@0", v.read())
		v.ReceiveVideo(true)
		p.send("P:3@180 K:4@210")
		assert.Equal(t, "K:4@100", v.read())
	})
}
