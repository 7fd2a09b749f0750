package relay

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
)

func elsewhere(t *testing.T) Move {
	url, err := ParseURL(Push, "rtmp://other.example/app/"+pushSecret)
	require.NoError(t, err)
	return Move{URL: url, Detail: "maintenance"}
}

// A target that asks to go on elsewhere is left when the push is live there: no frame is missing
// between the two.
func TestPushMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newPushRig(t, 0)
		p := g.publish()
		g.run()
		p.play(5300 * time.Millisecond)
		first := g.target.last()
		first.moves <- elsewhere(t)
		p.play(4 * time.Second)
		require.Len(t, g.target.sinks(), 2)
		second := g.target.last()
		assert.True(t, first.isClosed(), "without a proper end")
		assert.False(t, second.isOver())
		i := g.push.info()
		assert.Equal(t, Live, i.State)
		assert.Equal(t, "rtmp://other.example/app/***", i.URL.String())
		assert.Equal(t, second.Remote(), i.Remote)
		assert.Equal(t, "connecting, live", g.story(), "nothing of it is to be seen")
		checkPushClock(t, second.got())
		frames := func(s *pushSink) (numbers []byte) {
			for _, tag := range s.got() {
				if packet, _ := tag.Packet(); tag.Type == flv.TypeAudio && packet.Kind == flv.KindFrame {
					numbers = append(numbers, tag.Data[2])
				}
			}
			return numbers
		}
		old, next := frames(first), frames(second)
		assert.LessOrEqual(t, next[0], old[len(old)-1]+1, "frames are missing")

		second.end(nil)
		p.play(2 * time.Second)
		require.Len(t, g.target.sinks(), 3)
		assert.Equal(t, "rtmp://target.example/app/***", g.push.info().URL.String(), "it returns")
		g.end()
		p.Close()
	})
}

// A push stays where it is if it cannot go on where it was asked to.
func TestPushStays(t *testing.T) {
	good := pushScript{}
	tests := []struct {
		name string
		next pushScript
		move func(*testing.T) Move
		says string
	}{
		{"refused", pushScript{refuse: Failed(CauseDenied, "not here")}, elsewhere, "which failed: not here"},
		{"ends at once", pushScript{keys: 1, ends: Failed(CauseBusy, "full"), mute: true}, elsewhere, "which failed: full"},
		{"takes no such codec", pushScript{lacks: flv.CodecH264}, elsewhere, "which failed: codec: H.264"},
		{"takes nothing", pushScript{blocks: true}, elsewhere, "which failed: the target took nothing for 10s"},
		{"hangs", pushScript{hang: true}, elsewhere, "which failed: nothing came in time"},
		{"elsewhere is no such place", good, func(*testing.T) Move { return Move{Detail: "to another host"} }, "is not followed: to another host"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newPushRig(t, 0, good, tt.next, good)
				p := g.publish()
				g.run()
				p.play(5 * time.Second)
				first := g.target.last()
				first.moves <- tt.move(t)
				p.play(30 * time.Second)
				i := g.push.info()
				assert.Equal(t, Live, i.State)
				assert.Contains(t, i.Detail, tt.says)
				assert.Equal(t, first.Remote(), i.Remote)
				assert.False(t, first.isOver())
				assert.Equal(t, "connecting, live", g.story())
				assert.LessOrEqual(t, len(g.target.triedAt()), 2)
				first.end(nil)
				p.play(3 * time.Second)
				assert.Equal(t, Live, g.state())
				g.end()
				p.Close()
			})
		})
	}
}

// The old connection ends before the new one is live: the new one is waited for, or given up.
func TestPushMovesInHaste(t *testing.T) {
	for _, next := range []pushScript{{}, {hang: true}, {refuse: Failed(CauseDenied, "no")}, {blocks: true}} {
		synctest.Test(t, func(t *testing.T) {
			g := newPushRig(t, 0, pushScript{}, next, pushScript{})
			p := g.publish()
			g.run()
			p.play(10 * time.Second)
			first := g.target.last()
			first.moves <- elsewhere(t)
			synctest.Wait()
			first.end(Failed(CauseConnection, "maintenance"))
			p.play(40 * time.Second)
			assert.Equal(t, Live, g.state())
			g.end()
			p.Close()
		})
	}
}

// Targets that send a push from one to the other and back do not keep it busy.
func TestPushMovesInCircles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newPushRig(t, 0)
		p := g.publish()
		g.run()
		for range 60 {
			p.play(time.Second)
			select {
			case g.target.last().moves <- elsewhere(t):
			default:
			}
		}
		assert.Less(t, len(g.target.triedAt()), 9)
		g.end()
		p.Close()
	})
}

// While nobody publishes, nothing can be live elsewhere: the move waits.
func TestPushMovesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newPushRig(t, time.Minute)
		p := g.publish()
		g.run()
		p.play(5 * time.Second)
		p.Close()
		first := g.target.last()
		first.moves <- elsewhere(t)
		time.Sleep(5 * time.Second)
		assert.Len(t, g.target.triedAt(), 1)
		p = g.publish()
		p.play(3 * time.Second)
		assert.True(t, first.isClosed())
		assert.Equal(t, "rtmp://other.example/app/***", g.push.info().URL.String())
		g.end()
		p.Close()
	})
}
