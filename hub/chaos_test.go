package hub_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"sluice/flv"
	"sluice/hub"
)

// Publishers and viewers come and go at random, streams end and come back, and the
// hub shuts down in the middle of it all. Whatever happens: every viewer sees a
// sane stream or a refusal with a reason, and nothing is left.
func TestChaos(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { chaos(t, seed) })
		})
	}
}

func chaos(t *testing.T, seed uint64) {
	random := func(n int) *rand.Rand { return rand.New(rand.NewPCG(seed, uint64(n))) }
	rng := random(0)
	w := newWitness(t)
	h := newHub(t, hub.Config{
		Observe:        w.observe,
		PublisherGrace: time.Duration(rng.IntN(4)-1) * time.Second,
		ViewerWait:     time.Duration(rng.IntN(4)-1) * time.Second,
		MaxLag:         time.Duration(rng.IntN(3)) * time.Second,
		GOPMaxBytes:    int64(rng.IntN(2)) * 16 << 10,
		MaxStreams:     2 + rng.IntN(2),
		MaxBytes:       int64(rng.IntN(2)) * 100 << 10,
		LogDuration:    time.Duration(rng.IntN(3)) * 4 * time.Second,
	})
	over, cancel := context.WithCancel(t.Context())
	defer w.check(h)
	defer cancel()
	var all sync.WaitGroup
	for n := range 6 {
		all.Go(func() { chaoticPublisher(t, h, random(100+n), over) })
	}
	for n := range 20 {
		all.Go(func() { chaoticViewer(t, h, random(200+n), over) })
	}
	budget := hub.NewBudget(int64(rng.IntN(3)) * 20 << 10)
	defer func() { assert.Zero(t, budget.Used()) }()
	for n := range 5 {
		all.Go(func() { chaoticReader(t, h, random(300+n), over, budget) })
	}
	all.Go(func() {
		for over.Err() == nil {
			for _, s := range h.Streams() {
				assert.Contains(t, []string{"waiting", "live", "grace"}, s.State)
			}
			assert.NoError(t, h.Check())
			time.Sleep(77 * time.Millisecond)
		}
	})
	if rng.IntN(2) == 0 {
		time.Sleep(30 * time.Second)
		cancel()
		all.Wait()
		time.Sleep(time.Minute) // grace times
		assert.Empty(t, h.Streams(), "streams that nobody publishes or waits for")
		return
	}
	time.Sleep(15 * time.Second)
	begun := time.Now()
	assert.NoError(t, h.Shutdown(t.Context()))
	assert.Less(t, time.Since(begun), 5*time.Second)
	assert.Empty(t, h.Streams())
	cancel()
	all.Wait()
}

func chaoticKey(rng *rand.Rand) hub.Key {
	return hub.Key{App: "live", Name: itoa(rng.IntN(3))}
}

func chaoticPublisher(t *testing.T, h *hub.Hub, rng *rand.Rand, over context.Context) {
	for over.Err() == nil {
		ended := make(chan *hub.Refusal, 2)
		p, err := h.Publish(client{
			Protocol: "rtmp",
			Identity: []string{"", "a", "b"}[rng.IntN(3)],
		}.session(h, hub.RolePublish, chaoticKey(rng)), hub.PublishOptions{
			End: func(r *hub.Refusal) { ended <- r },
		})
		if err != nil {
			reason := refusedWith(t, err)
			assert.Contains(t, []hub.Reason{hub.ReasonBusy, hub.ReasonTooMany, hub.ReasonShuttingDown}, reason)
			time.Sleep(time.Duration(rng.IntN(500)) * time.Millisecond)
			continue
		}
		ts := rng.Uint32()
		video, audio := "vc:s hc:h"[5*rng.IntN(2):][:4], "ac:c"
		frames := []string{"K", "P", "A"}
		if video == "hc:h" {
			frames = []string{"HK", "HP", "A"}
		}
		if rng.IntN(3) == 0 {
			frames[2] = "M"
		}
		for _, w := range []string{"meta:" + []string{"", "a", "v", "av"}[rng.IntN(4)], video, audio} {
			if err = p.Write(tag(w)); err != nil {
				break
			}
		}
		for range rng.IntN(300) {
			if err != nil || over.Err() != nil {
				break
			}
			name := frames[1+rng.IntN(2)]
			if rng.IntN(20) == 0 {
				name = frames[0]
			}
			err = p.Write(tag(name + ":0123456789abcdef@" + fmt.Sprint(ts)))
			ts += uint32(rng.IntN(40))
			if rng.IntN(100) == 0 {
				ts = rng.Uint32()
				time.Sleep(1600 * time.Millisecond) // long enough for a take-over
			}
			time.Sleep(time.Duration(rng.IntN(40)) * time.Millisecond)
		}
		if err != nil {
			reason := refusedWith(t, err)
			assert.Contains(t, []hub.Reason{hub.ReasonReplaced, hub.ReasonShuttingDown}, reason)
			assert.Equal(t, reason, (<-ended).Reason)
			assert.Empty(t, ended)
		}
		p.Close()
		p.Close()
		assert.LessOrEqual(t, len(ended), 1, "ended twice")
		time.Sleep(time.Duration(rng.IntN(3000)) * time.Millisecond)
	}
}

// chaoticReader reads at its own pace: numbers go up, and what is missing is told.
func chaoticReader(t *testing.T, h *hub.Hub, rng *rand.Rand, over context.Context, budget *hub.Budget) {
	for over.Err() == nil {
		opts := hub.ReadOptions{FromSession: rng.IntN(2) == 0, Lag: hub.LagPolicy(rng.IntN(3)), Budget: budget}
		r, err := h.Read(chaoticKey(rng), opts)
		if err != nil {
			assert.Contains(t, []hub.Reason{hub.ReasonNotFound, hub.ReasonShuttingDown}, refusedWith(t, err))
			time.Sleep(time.Duration(100+rng.IntN(500)) * time.Millisecond)
			continue
		}
		var b hub.ReadBatch
		last, begun := uint64(0), false
		for range rng.IntN(200) {
			end := r.Read(&b, rng.IntN(1000))
			assert.True(t, b.Lost == 0 || opts.Lag != hub.LagEnd)
			for _, p := range b.Packets {
				assert.False(t, begun && p.Seq < last, "back from %d to %d", last, p.Seq)
				assert.Equal(t, uint32(p.Time), p.Timestamp)
				last, begun = p.Seq, true
			}
			if end != hub.ReasonNone {
				assert.Contains(t, []hub.Reason{hub.ReasonUnpublished, hub.ReasonShuttingDown, hub.ReasonStalled}, end)
				break
			}
			time.Sleep(time.Duration(rng.IntN(1<<rng.IntN(13))) * time.Millisecond)
			if over.Err() != nil {
				break
			}
		}
		r.Close()
	}
}

func chaoticViewer(t *testing.T, h *hub.Hub, rng *rand.Rand, over context.Context) {
	for over.Err() == nil {
		v, err := h.Watch(client{Protocol: "http-flv"}.session(h, hub.RoleWatch, chaoticKey(rng)), hub.WatchOptions{
			FixedCodecs: rng.IntN(2) == 0,
			ScriptData:  rng.IntN(2) == 0,
			NoAudio:     rng.IntN(5) == 0,
			NoVideo:     rng.IntN(5) == 0,
			Shape:       flv.Shape{Form: flv.Form(rng.IntN(4))},
			Start:       hub.Start(rng.IntN(2)),
			Back:        time.Duration(rng.IntN(2)*rng.IntN(6)) * time.Second,
		})
		if err != nil {
			reason := refusedWith(t, err)
			assert.Contains(t, []hub.Reason{hub.ReasonTooMany, hub.ReasonShuttingDown}, reason)
			time.Sleep(300 * time.Millisecond)
			continue
		}
		if rng.IntN(4) == 0 { // somebody else closes it, at any time
			go func(d time.Duration) {
				time.Sleep(d)
				v.Close()
			}(time.Duration(rng.IntN(5000)) * time.Millisecond)
		}
		drive(t, v, rng, over)
		v.Close()
		time.Sleep(time.Duration(1+rng.IntN(100)) * time.Millisecond)
	}
	time.Sleep(5 * time.Second) // for those who close it
}

func drive(t *testing.T, v *hub.Viewer, rng *rand.Rand, over context.Context) {
	ctx, cancel := context.WithTimeout(over, time.Duration(1+rng.IntN(20_000))*time.Millisecond)
	defer cancel()
	if err := v.Wait(ctx); err != nil {
		if !errors.Is(err, ctx.Err()) || ctx.Err() == nil {
			assert.Contains(t, []hub.Reason{
				hub.ReasonNotFound, hub.ReasonShuttingDown, hub.ReasonClientLeft, hub.ReasonTooMany,
			}, refusedWith(t, err))
		}
		return
	}
	s := &sink{Viewer: v, t: t}
	defer func() { sane(t, s.tags) }()
	for range rng.IntN(400) {
		s.limit = 1 + rng.IntN(4000)
		more := s.pass()
		if s.end != hub.ReasonNone {
			assert.False(t, more)
			assert.Contains(t, []hub.Reason{
				hub.ReasonUnpublished, hub.ReasonCodecChanged, hub.ReasonShuttingDown, hub.ReasonClientLeft,
			}, s.end)
			return
		}
		switch rng.IntN(60) {
		case 0:
			v.Pause(true)
		case 1, 2:
			v.Pause(false)
		case 3:
			v.ReceiveVideo(rng.IntN(2) == 0)
		case 4:
			v.ReceiveAudio(rng.IntN(2) == 0)
		case 5:
			time.Sleep(time.Duration(rng.IntN(4000)) * time.Millisecond)
		}
		time.Sleep(time.Duration(rng.IntN(30)) * time.Millisecond)
	}
}

// sane checks what no player may ever see otherwise.
func sane(t *testing.T, tags []flv.Tag) {
	var last [2]uint32
	codec := [2]flv.Codec{}
	keyed := flv.Codec(0)
	for i, tag := range tags {
		if tag.Type == flv.TypeScript {
			assert.Zero(t, tag.Timestamp)
			continue
		}
		assert.NotZero(t, i, "metadata comes first")
		packet, err := tag.Packet()
		assert.NoError(t, err)
		track := tag.Type - flv.TypeAudio
		if tag.Timestamp < last[track] {
			t.Errorf("%s after %d", word(tag), last[track])
		}
		last[track] = tag.Timestamp
		if packet.Kind == flv.KindConfig {
			codec[track] = packet.Codec
			continue
		}
		if packet.Codec != flv.CodecMP3 && codec[track] != packet.Codec {
			t.Errorf("%s behind the header of %v", word(tag), codec[track])
		}
		if tag.Type == flv.TypeVideo {
			if packet.Key {
				keyed = packet.Codec
			}
			if keyed != packet.Codec {
				t.Errorf("%s without its key frame: %s", word(tag), words(tags))
				return
			}
		}
	}
}

func refusedWith(t *testing.T, err error) hub.Reason {
	var refusal *hub.Refusal
	if !assert.ErrorAs(t, err, &refusal) {
		return hub.ReasonNone
	}
	assert.ErrorIs(t, err, net.ErrClosed)
	assert.NotEqual(t, "", refusal.Error())
	return refusal.Reason
}
