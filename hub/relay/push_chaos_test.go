package relay

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"sluice/flv"
	"sluice/hub"
)

// Publishers of three streams come and go, and twenty targets of all kinds refuse, hang, block, are
// slow, ask to be left and break. Whatever happens: what a connection gets is one timeline that
// begins with metadata, headers and a key frame, those that behave are live, and nothing is left.
func TestPushChaos(t *testing.T) {
	seeds := 2
	if os.Getenv("SLUICE_TEST_LONG") != "" {
		seeds = 200
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { pushChaos(t, uint64(seed)) })
		})
	}
}

func pushChaos(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 0))
	ctx, cancel := context.WithCancel(t.Context())
	var pushes []*push
	h := hub.New(hub.Config{
		Node: "here", PublisherGrace: []time.Duration{-1, 0, time.Second}[rng.IntN(3)],
		Observe: func(e hub.Event) {
			for _, p := range pushes {
				if p.cfg.Key == e.Key && (e.Kind == hub.EventPublished || e.Kind == hub.EventUnpublished) {
					p.tell()
				}
			}
		},
	})
	keys := [3]hub.Key{{App: "live", Name: "a"}, {App: "live", Name: "b"}, {App: "live", Name: "c"}}
	var targets []*pushTarget
	for n := range 20 {
		random := rand.New(rand.NewPCG(seed, uint64(100+n)))
		target := &pushTarget{t: t, began: time.Now()}
		if n >= 4 { // the first ones behave
			target.random = func() pushScript { return chaoticScript(random) }
		}
		url, _ := ParseURL(Push, fmt.Sprintf("rtmp://t%d.example/app/name", n))
		hold := []time.Duration{0, time.Second, 5 * time.Second, time.Minute}[rng.IntN(4)]
		pushes = append(pushes, newPush(pushConfig{Hub: h, Send: target.send, Hold: hold, Node: "here", Key: keys[n%3], URL: url}))
		targets = append(targets, target)
	}
	var pushing, all sync.WaitGroup
	for n, p := range pushes {
		pushing.Go(func() {
			for ctx.Err() == nil {
				p.run(ctx)
				time.Sleep(50 * time.Millisecond)
			}
		})
		if n >= 4 {
			all.Go(func() { vexSinks(ctx, rand.New(rand.NewPCG(seed, uint64(200+n))), t, targets[n]) })
		}
	}
	for n, key := range keys {
		all.Go(func() { chaoticPushSource(ctx, rand.New(rand.NewPCG(seed, uint64(300+n))), t, h, key) })
	}
	time.Sleep(40 * time.Second)
	cancel()
	ended := time.Now()
	pushing.Wait()
	assert.LessOrEqual(t, time.Since(ended), 3*pushClose)
	all.Wait()
	assert.NoError(t, h.Shutdown(t.Context()))
	time.Sleep(10 * time.Second)
	assert.Empty(t, h.Streams())
	for n, target := range targets {
		assert.NotEmpty(t, target.triedAt())
		for _, s := range target.sinks() {
			assert.True(t, s.isOver(), "a connection of target %d was left open", n)
			checkPushClock(t, s.got())
			checkPushBegins(t, s.got())
		}
		if n < 4 {
			for _, s := range target.sinks() {
				assert.True(t, s.isClosed(), "without a proper end")
				assert.NotEmpty(t, s.got())
			}
		}
	}
}

// checkPushBegins fails the test unless frames come after their codec header, and pictures after a key
// frame.
func checkPushBegins(t *testing.T, tags []flv.Tag) {
	t.Helper()
	if len(tags) == 0 {
		return
	}
	assert.Equal(t, flv.TypeScript, tags[0].Type)
	var has, started [2]bool
	for _, tag := range tags {
		p, err := tag.Packet()
		if err != nil {
			continue
		}
		track := tag.Type & 1
		has[track] = has[track] || p.Kind == flv.KindConfig
		if p.Kind == flv.KindFrame {
			started[track] = started[track] || p.Key || tag.Type == flv.TypeAudio
			if !assert.True(t, has[track] && started[track], "%v begins too early", tag.Type) {
				return
			}
		}
	}
}

// chaoticScript is how one connection of a target goes.
func chaoticScript(rng *rand.Rand) (how pushScript) {
	switch rng.IntN(12) {
	case 0:
		how.refuse = Failed(Cause(rng.IntN(7)), "no")
	case 1:
		how.hang = true
	case 2:
		how.lacks = flv.CodecHEVC
	case 3:
		how.blocks = true
	case 4:
		how.rate = 1000 + rng.IntN(30_000)
	case 5:
		how.mute = true
	case 6:
		how.keys, how.ends = 1+rng.IntN(4), Failed(Cause(rng.IntN(7)), "enough")
	case 7:
		how.slowEnd = true
	case 8:
		how.unknown = true
	}
	if rng.IntN(3) == 0 {
		how.shape = flv.Shape{Form: flv.FormClassic}
	}
	return how
}

// vexSinks changes how a target's connections go on.
func vexSinks(ctx context.Context, rng *rand.Rand, t *testing.T, target *pushTarget) {
	for ctx.Err() == nil {
		time.Sleep(time.Duration(rng.IntN(8000)) * time.Millisecond)
		target.mu.Lock()
		var s *pushSink
		if n := len(target.all); n > 0 {
			s = target.all[n-1]
		}
		target.mu.Unlock()
		if s == nil {
			continue
		}
		switch rng.IntN(5) {
		case 0:
			s.end(Failed(Cause(rng.IntN(7)), "vexed"))
		case 1:
			select {
			case s.moves <- elsewhere(t):
			default:
			}
		default:
			s.set(func(how *pushScript) {
				next := chaoticScript(rng)
				how.blocks, how.rate, how.mute, how.slowEnd = next.blocks, next.rate, next.mute, next.slowEnd
			})
		}
	}
}

// chaoticPushSource publishes a stream, again and again.
func chaoticPushSource(ctx context.Context, rng *rand.Rand, t *testing.T, h *hub.Hub, key hub.Key) {
	for ctx.Err() == nil {
		time.Sleep(time.Duration(rng.IntN(4000)) * time.Millisecond)
		p, err := h.Publish(h.NewSession(hub.RolePublish, key, hub.Client{}), hub.PublishOptions{Yields: rng.IntN(3) == 0})
		if !assert.NoError(t, err) {
			return
		}
		s := &pushSource{Publisher: p, t: t, clock: rng.Uint32(), size: 500}
		s.header([]byte{7, 7, 7, 12}[rng.IntN(4)], []string{"one", "two"}[rng.IntN(2)])
		s.write(flv.TypeAudio, s.clock, []byte{0xaf, 0, 0x12, 0x10})
		for end := time.Now().Add(time.Duration(rng.IntN(15_000)) * time.Millisecond); time.Now().Before(end) && ctx.Err() == nil; {
			s.frame()
			time.Sleep(40 * time.Millisecond)
			if rng.IntN(300) == 0 {
				s.n = 0
				s.header([]byte{7, 12}[rng.IntN(2)], []string{"one", "two"}[rng.IntN(2)])
			}
		}
		p.Close()
	}
}
