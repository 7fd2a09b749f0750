package hub_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

const av = "meta:av vc:s ac:c K:1@0 A:1@0"

// Viewers come before the publisher, and start with its first key frame.
func TestViewersBeforeThePublisher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		v1, done1 := waiting(t, h, hub.WatchOptions{})
		v2, done2 := waiting(t, h, hub.WatchOptions{FixedCodecs: true})
		synctest.Wait()
		assert.Equal(t, "waiting", info(t, h).State)
		assert.Equal(t, 2, info(t, h).Viewers)

		time.Sleep(9 * time.Second)
		publish(t, h, client{}).send(av)
		require.NoError(t, <-done1)
		require.NoError(t, <-done2)
		const want = "meta:av@0 vc:s@0 ac:c@0 K:1@0 A:1@0"
		assert.Equal(t, want, v1.read())
		assert.Equal(t, want, v2.read())
		assert.Equal(t, "live", info(t, h).State)
	})
}

// How long a viewer waits, and why it is then refused.
func TestViewerWaitExpires(t *testing.T) {
	for _, test := range []struct {
		name string
		wait time.Duration
		want time.Duration
		says string
	}{
		{"by default", 0, 10 * time.Second, "not found: no publisher for live/demo within 10s"},
		{"as configured", 3 * time.Second, 3 * time.Second, "not found: no publisher for live/demo within 3s"},
		{"not at all", -1, 0, "not found: no publisher for live/demo"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, hub.Config{ViewerWait: test.wait})
				begun := time.Now()
				v, done := waiting(t, h, hub.WatchOptions{})
				err := <-done
				assert.Equal(t, hub.ReasonNotFound, reasonOf(t, err))
				assert.ErrorContains(t, err, test.says)
				assert.Equal(t, test.want, time.Since(begun))
				assert.Len(t, h.Streams(), 1)
				v.Close()
				assert.Empty(t, h.Streams(), "a stream that nobody waits for")
			})
		})
	}
}

// Without patience, a stream that is live can still be watched.
func TestNoViewerWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{ViewerWait: -1})
		p := publish(t, h, client{})
		p.send(av)
		watch(t, h, hub.WatchOptions{}) // has started already

		// And one whose publisher is there waits for its first picture.
		h2 := newHub(t, hub.Config{ViewerWait: -1})
		p2 := publish(t, h2, client{})
		_, done := waiting(t, h2, hub.WatchOptions{})
		time.Sleep(5 * time.Second)
		p2.send(av)
		require.NoError(t, <-done)
	})
}

// A publisher that comes at the last moment is waited for: from then on its first
// key frame is what takes time.
func TestPublisherAtTheLastMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		_, done := waiting(t, h, hub.WatchOptions{})
		time.Sleep(9900 * time.Millisecond)
		p := publish(t, h, client{})
		time.Sleep(3 * time.Second)
		p.send(av)
		require.NoError(t, <-done)
	})
}

// Somebody publishes, but sends nothing that can be watched.
func TestNoKeyFrame(t *testing.T) {
	for _, sent := range []string{"", "meta:av vc:s ac:c", "meta:v vc:s P:1@0 P:2@40"} {
		synctest.Test(t, func(t *testing.T) {
			h := newHub(t, hub.Config{})
			publish(t, h, client{}).send(sent)
			begun := time.Now()
			_, done := waiting(t, h, hub.WatchOptions{})
			err := <-done
			assert.Equal(t, hub.ReasonNotFound, reasonOf(t, err))
			assert.ErrorContains(t, err, "no key frame")
			assert.Equal(t, 20*time.Second, time.Since(begun))
		})
	}
}

// A publisher that comes and goes without a key frame changes nothing for those
// who wait but for the beginning of their patience, even where it takes the stream
// object with it.
func TestPublisherWithoutKeyFrame(t *testing.T) {
	for name, grace := range map[string]time.Duration{"grace": 0, "no grace": -1, "short grace": time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, hub.Config{PublisherGrace: grace})
				v, done := waiting(t, h, hub.WatchOptions{})
				time.Sleep(8 * time.Second)
				p := publish(t, h, client{})
				p.send("meta:av vc:s ac:c A:1 P:1")
				time.Sleep(500 * time.Millisecond)
				p.Close()
				time.Sleep(9 * time.Second)
				assert.Empty(t, done)
				assert.Equal(t, 1, info(t, h).Viewers)

				publish(t, h, client{}).send("meta:av vc:t ac:d K:9@0 A:9@0")
				require.NoError(t, <-done)
				assert.Equal(t, "meta:av@0 vc:t@0 ac:d@0 K:9@0 A:9@0", v.read())
				assert.Equal(t, 1, info(t, h).Viewers)
			})
		})
	}
}

// Viewers that come in the grace time wait for the publisher's return.
func TestWaitDuringGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.send(av)
		p.Close()
		assert.Equal(t, "grace", info(t, h).State)
		v, done := waiting(t, h, hub.WatchOptions{})
		time.Sleep(7 * time.Second)
		assert.Empty(t, done, "started with what is over")
		publish(t, h, client{}).send("meta:av vc:s ac:c K:7@0 A:7@0")
		require.NoError(t, <-done)
		assert.Equal(t, "meta:av@0 vc:s@0 ac:c@0 K:7@0 A:7@0", v.read())
	})
}

// ... and beyond it, as long as their patience lasts.
func TestWaitBeyondGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.send(av)
		p.Close()
		time.Sleep(5 * time.Second)
		v, done := waiting(t, h, hub.WatchOptions{})
		time.Sleep(4 * time.Second)
		assert.Equal(t, "waiting", info(t, h).State, "a new stream")
		publish(t, h, client{}).send(av)
		require.NoError(t, <-done)
		assert.Equal(t, "meta:av@0 vc:s@0 ac:c@0 K:1@0 A:1@0", v.read())
		assert.Equal(t, key, v.Stream().Key())
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		v := newSink(t, h, hub.WatchOptions{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		assert.ErrorIs(t, v.Wait(ctx), context.DeadlineExceeded)
	})
}

func TestCloseEndsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		v, done := waiting(t, h, hub.WatchOptions{})
		synctest.Wait()
		v.Close()
		assert.Equal(t, hub.ReasonClientLeft, reasonOf(t, <-done))
		assert.Empty(t, h.Streams())
		v.Close() // again: no effect
	})
}

// A viewer that is closed in the moment in which its stream ends is not taken to
// the next one.
func TestCloseAsTheStreamEnds(t *testing.T) {
	for range 200 {
		synctest.Test(t, func(t *testing.T) {
			h := newHub(t, hub.Config{PublisherGrace: -1})
			p := publish(t, h, client{})
			v, done := waiting(t, h, hub.WatchOptions{})
			synctest.Wait()
			go p.Close()
			go v.Close()
			<-done
			synctest.Wait()
			assert.Empty(t, h.Streams())
		})
	}
}

// A track that the stream does not have is refused to those who want no other.
func TestNoSuchTrack(t *testing.T) {
	for _, test := range []struct {
		name, sent string
		opts       hub.WatchOptions
		says       string
	}{
		{"only audio, of video", "meta:v vc:s K:1", hub.WatchOptions{NoVideo: true}, "not found: live/demo has no audio"},
		{"only video, of audio", "meta:a ac:c A:1", hub.WatchOptions{NoAudio: true}, "not found: live/demo has no video"},
		{"neither", av, hub.WatchOptions{NoAudio: true, NoVideo: true}, "not found"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, hub.Config{})
				publish(t, h, client{}).send(test.sent)
				err := newSink(t, h, test.opts).Wait(t.Context())
				assert.Equal(t, hub.ReasonNotFound, reasonOf(t, err))
				assert.ErrorContains(t, err, test.says)
			})
		})
	}
}
