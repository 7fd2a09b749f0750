package replica

import (
	"bytes"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/hub"
	"sluice/hub/cluster"
)

// everything has each thing that can be said of an item, alone and together with others.
func everything() []cluster.Item {
	later := func(epoch, number uint64) cluster.Position {
		return cluster.Position{Incarnation: incarnation, Epoch: epoch, Number: number}
	}
	script := func(p cluster.Position, ms int64, data []byte) cluster.Item {
		return cluster.Item{Tag: flv.Tag{Type: flv.TypeScript, Timestamp: uint32(ms), Data: data}, At: p, Time: ms}
	}
	marked := func(it cluster.Item, mark func(*cluster.Item)) cluster.Item {
		mark(&it)
		return it
	}
	evil := func(c control) []byte { return c.append(nil) }
	const far = 1 << 40
	return []cluster.Item{
		marked(script(at(7), -20, amf.AppendAMF0(nil, "onMetaData", amf.Object{})), func(it *cluster.Item) {
			it.Header, it.Reset, it.First = true, true, true
		}),
		marked(packet(at(7), -20, "config"), func(it *cluster.Item) { it.Header = true }),
		packet(at(7), -20, "key frame"),
		{Tag: flv.Tag{Type: flv.TypeAudio, Data: nil}, At: at(8), Time: 0},
		packet(at(9+maxStep), 40, "as far as a number goes by itself"),
		packet(at(20+2*maxStep), 30, "further"),
		{Tag: flv.Tag{Type: flv.TypeScriptAMF3, Timestamp: 41, Data: []byte("\x00")}, At: at(far), Time: 41},
		// What a publisher names as control tags are named is not taken for one.
		script(at(far+1), 50, evil(control{end: hub.ReasonUnpublished})),
		script(at(far+2), 50, evil(control{ping: true})),
		script(at(far+3), 50, evil(control{first: true, lost: 3})),
		marked(script(at(far+4), 50, evil(control{alone: true})), func(it *cluster.Item) { it.Header = true }),
		script(at(far+4), 50, named),
		script(at(far+5), 50, bytes.Repeat(named, 1000)),
		{At: at(far + 6), Time: 60, Lost: math.MaxUint64},
		{At: at(far + 6), Time: 60, First: true, Reset: true},
		packet(later(2, far+4096), 70, "of another owner"),
		marked(packet(later(math.MaxUint64, math.MaxUint64-1), 80, "config"), func(it *cluster.Item) { it.Header, it.Lost = true, 1 }),
		packet(later(math.MaxUint64, math.MaxUint64-1), maxAhead, "a week later"),
		packet(later(math.MaxUint64, math.MaxUint64), maxAhead-maxBack, "large"+string(make([]byte, 1<<20))),
	}
}

func TestEverythingComesOutAsItWentIn(t *testing.T) {
	items := everything()
	l := newLog(items...)
	l.start = func(s *cluster.Start) { s.Audio = true }
	s := open(t, serveLog(t, l), nil)
	assert.Equal(t, cluster.Start{At: at(7), Time: -20, Tracks: true, Audio: true, Video: true, Boot: boot}, s.Start())
	for i, it := range read(t, s, len(items)) {
		if len(it.Tag.Data) == 0 {
			it.Tag.Data = nil
		}
		require.Equal(t, items[i], it, "%d", i)
	}
	l.finish(hub.ReasonUnpublished)
	var ended *cluster.Ended
	for range 2 {
		_, err := s.Next()
		require.ErrorAs(t, err, &ended)
		assert.Equal(t, hub.ReasonUnpublished, ended.Reason)
	}
	eventually(t, func() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.open == 0 })
}
