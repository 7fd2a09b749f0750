package hub_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"sluice/hub"
)

// The publisher comes back within the grace time: viewers of every kind see one
// timeline, no header twice, and the new session from its first key frame.
func TestReconnect(t *testing.T) {
	for _, test := range []struct {
		name, second, want string
	}{
		{"the same", "meta:av vc:s ac:c K:5@0 A:5@0 P:6@40", "K:5@80 A:5@80 P:6@120"},
		{"clock goes on", "meta:av vc:s ac:c K:5@9000 A:5@9000 P:6@9040", "K:5@80 A:5@80 P:6@120"},
		{"inter frames first", "meta:av vc:s ac:c P:3@0 P:4@40 K:5@80 A:5@80", "K:5@80 A:5@80"},
		{"sound first", "meta:av vc:s ac:c A:5@0 A:6@23 K:7@30", "A:5@40 A:6@63 K:7@70"},
		{"no metadata", "vc:s ac:c K:5@0 A:5@0", "K:5@80 A:5@80"},
		{"no headers", "K:5@0 A:5@0", "K:5@80 A:5@80"},
		{"another SPS", "meta:av vc:t ac:c K:5@0 A:5@0 vc:t K:6@40", "vc:t@80 K:5@80 A:5@80 K:6@120"},
		{"another sample rate", "meta:av vc:s ac:d K:5@0 A:5@0 P:6@40", "ac:d@80 K:5@80 A:5@80 P:6@120"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, hub.Config{})
				p := publish(t, h, client{})
				p.send("meta:av vc:s ac:c K:1@0 A:1@0 P:2@40")
				viewers := map[string]*sink{
					"fixed":  watch(t, h, hub.WatchOptions{FixedCodecs: true}),
					"follow": watch(t, h, hub.WatchOptions{}),
				}
				for _, v := range viewers {
					v.read()
				}
				p.Close()
				for name, v := range viewers {
					assert.Empty(t, v.read(), name)
					assert.Equal(t, hub.ReasonNone, v.end, name)
				}
				assert.Equal(t, "grace", info(t, h).State)
				time.Sleep(7999 * time.Millisecond)
				publish(t, h, client{}).send(test.second)
				for name, v := range viewers {
					assert.Equal(t, test.want, v.read(), name)
				}
				time.Sleep(time.Minute)
				for name, v := range viewers {
					assert.Empty(t, v.read(), name)
					assert.Equal(t, hub.ReasonNone, v.end, name)
				}
			})
		})
	}
}

// Metadata that is not the same is news to those who follow.
func TestReconnectWithOtherMetadata(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.send("meta:av vc:s ac:c K:1@0 A:1@0")
		rtmp := watch(t, h, hub.WatchOptions{ScriptData: true})
		rtmp.read()
		p.Close()
		p = publish(t, h, client{})
		p.send("meta:av vc:s ac:c K:2@0 A:2@0")
		assert.Equal(t, "K:2@20 A:2@20", rtmp.read())
		p.Close()
		publish(t, h, client{}).send("meta:a vc:s ac:c K:3@0 A:3@0")
		assert.Equal(t, "meta:av@0 K:3@40 A:3@40", rtmp.read())
	})
}

// Many reconnects make one timeline.
func TestManyReconnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.send(av)
		v := watch(t, h, hub.WatchOptions{FixedCodecs: true})
		v.read()
		for i := range 100 {
			p.Close()
			time.Sleep(time.Second)
			p = publish(t, h, client{})
			p.send("meta:av vc:s ac:c K:k@" + itoa(i*1000) + " A:a@" + itoa(i*1000))
			at := itoa(20 * (i + 1))
			assert.Equal(t, "K:k@"+at+" A:a@"+at, v.read())
		}
		assert.Zero(t, info(t, h).Jumps)
		assert.Zero(t, v.Dropped())
	})
}

// Nobody comes back: everybody is ended, after the last packet.
func TestGraceOver(t *testing.T) {
	for _, test := range []struct {
		name         string
		grace, lasts time.Duration
	}{
		{"by default", 0, 8 * time.Second},
		{"as configured", 3 * time.Second, 3 * time.Second},
		{"at once", -1, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, hub.Config{PublisherGrace: test.grace})
				p := publish(t, h, client{})
				p.send("meta:av vc:s ac:c K:1@0 A:1@0")
				quick := watch(t, h, hub.WatchOptions{})
				slow := watch(t, h, hub.WatchOptions{FixedCodecs: true})
				quick.read()
				p.send("P:2@40 A:2@23")
				p.Close()
				if test.lasts > 0 {
					time.Sleep(test.lasts - time.Nanosecond)
					assert.Equal(t, "P:2@40 A:2@23", quick.read())
					assert.Equal(t, hub.ReasonNone, quick.end)
					assert.Equal(t, "grace", info(t, h).State)
					time.Sleep(time.Nanosecond)
					synctest.Wait()
					assert.Empty(t, quick.read())
				} else {
					assert.Equal(t, "P:2@40 A:2@23", quick.read())
				}
				assert.Equal(t, hub.ReasonUnpublished, quick.end)
				assert.Empty(t, h.Streams(), "an ended stream is forgotten, though viewers drain it")

				slow.limit = 1
				for i := range 7 { // metadata and two headers come with the first frame
					more := slow.pass()
					if len(slow.tags) < 7 {
						assert.True(t, more, i)
						assert.Equal(t, hub.ReasonNone, slow.end, "an end before the last packet")
					}
				}
				assert.Equal(t, "meta:av@0 vc:s@0 ac:c@0 K:1@0 A:1@0 P:2@40 A:2@23", words(slow.tags))
				assert.Equal(t, hub.ReasonUnpublished, slow.end)
			})
		})
	}
}

// A stream that ended and one that is published afterwards under the same name
// have nothing to do with each other.
func TestAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{PublisherGrace: -1})
		p := publish(t, h, client{})
		p.send(av)
		old := watch(t, h, hub.WatchOptions{})
		p.Close()
		publish(t, h, client{}).send("vc:n ac:n K:9@50 A:9@50")
		joined := watch(t, h, hub.WatchOptions{})
		assert.Equal(t, "meta:av@0 vc:s@0 ac:c@0 K:1@0 A:1@0", old.read())
		assert.Equal(t, hub.ReasonUnpublished, old.end)
		assert.Equal(t, "meta:av@0 vc:n@0 ac:n@0 K:9@0 A:9@0", joined.read())
		old.Close()
		p.Close()
		assert.Equal(t, 1, info(t, h).Viewers)
		assert.Equal(t, "live", info(t, h).State)
	})
}

// Who joins after a reconnect starts in the new session, never in the old one,
// however much of that the log still holds.
func TestJoinAfterReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.send("meta:av vc:s ac:c K:1@0 A:1@0 P:2@40")
		watch(t, h, hub.WatchOptions{})
		p.Close()
		p = publish(t, h, client{})
		v, done := waiting(t, h, hub.WatchOptions{})
		p.send("meta:av vc:t ac:c A:3@0 P:3@0")
		synctest.Wait()
		assert.Empty(t, done)
		p.send("K:4@80 A:4@90")
		assert.NoError(t, <-done)
		assert.Equal(t, "meta:av@0 vc:t@0 ac:c@0 K:4@0 A:4@10", v.read())
	})
}
