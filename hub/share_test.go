package hub_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
)

// stamped frames tags as FLV and lets viewers share what was framed.
type stamped struct {
	form  uint64
	stamp *int // how often that was done
}

func (s stamped) AppendTags(dst []byte, tags []flv.Tag) []byte {
	dst = binary.BigEndian.AppendUint64(dst, s.form)
	for _, t := range tags {
		dst = flv.AppendTag(dst, t)
	}
	return dst
}

func (s stamped) Form() uint64 { return s.form }

func (s stamped) Stamp(framed []byte, timestamps []uint32) bool {
	*s.stamp++
	framed = framed[8:]
	for _, ts := range timestamps {
		framed = flv.StampTag(framed, ts)
	}
	return true
}

// unshared is the same without sharing.
type unshared struct{ s stamped }

func (p unshared) AppendTags(dst []byte, tags []flv.Tag) []byte { return p.s.AppendTags(dst, tags) }

// Viewers that share a batch get what each would get from a batch of its own, wherever
// they began and whatever they want.
func TestShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.send("meta:av vc:s ac:s K:0@0 A:0@1")
		type pair struct {
			shared, alone *hub.Viewer
			form          uint64
		}
		var pairs []*pair
		join := func() {
			opts := hub.WatchOptions{NoAudio: rng.IntN(16) == 0, ScriptData: rng.IntN(16) == 0, FixedCodecs: rng.IntN(16) == 0}
			opts.NoVideo = !opts.NoAudio && rng.IntN(16) == 0
			x := &pair{form: uint64(rng.IntN(4))}
			x.shared, x.alone = watch(t, h, opts).Viewer, watch(t, h, opts).Viewer
			pairs = append(pairs, x)
		}
		var batch hub.Batch
		stamps, filled := 0, 0
		for i := 1; i < 1500; i++ {
			if i < 300 && rng.IntN(5) == 0 {
				join()
			}
			at := i * 40
			switch rng.IntN(12) {
			case 0:
				p.send(fmt.Sprintf("K:%d@%d", i, at))
			case 1:
				p.send(fmt.Sprintf("vc:%d K:%d@%d", i, i, at))
			case 2:
				p.send(fmt.Sprintf("meta:av P:%d@%d", i, at))
			case 3, 4, 5:
				p.send(fmt.Sprintf("A:%d@%d", i, at))
			default:
				p.send(fmt.Sprintf("P:%d@%d", i, at))
			}
			if len(pairs) > 0 && rng.IntN(10) == 0 {
				x, on := pairs[rng.IntN(len(pairs))], rng.IntN(2) == 0
				x.shared.ReceiveVideo(on)
				x.alone.ReceiveVideo(on)
			}
			time.Sleep(40 * time.Millisecond)
			if rng.IntN(3) > 0 {
				continue
			}
			for _, x := range pairs {
				if rng.IntN(10) == 0 {
					continue // it is behind next time
				}
				limit := 1 << 20
				if rng.IntN(10) == 0 {
					limit = 1
				}
				batch.Bytes = batch.Bytes[:0]
				if rng.IntN(20) == 0 { // one that is paused is sent something else
					x.shared.Pause(true)
					x.shared.Fill(&batch, stamped{x.form, &stamps}, 1)
					batch.Bytes = append(batch.Bytes, "something else"...)[:0]
					x.shared.Pause(false)
					x.alone.Pause(true)
					x.alone.Fill(new(hub.Batch), stamped{x.form, &stamps}, 1)
					x.alone.Pause(false)
				}
				f := stamped{x.form, &stamps}
				more, end := x.shared.Fill(&batch, f, limit)
				var own hub.Batch
				ownMore, ownEnd := x.alone.Fill(&own, unshared{f}, limit)
				require.True(t, bytes.Equal(own.Bytes, batch.Bytes))
				require.Equal(t, ownMore, more)
				require.Equal(t, ownEnd, end)
				filled++
			}
		}
		require.Greater(t, stamps, filled/30, "of %d fills", filled)
	})
}

// counting is stamped, and counts what is framed.
type counting struct {
	stamped
	framed *int
}

func (c counting) AppendTags(dst []byte, tags []flv.Tag) []byte {
	*c.framed++
	return c.stamped.AppendTags(dst, tags)
}

// Viewers of several forms, and of parts of a stream, share each with their like, in
// whatever order they come.
func TestShareOfAMix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const crowd, packets = 60, 100
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.send("meta:av vc:s ac:s K:0@0 A:0@1")
		var viewers []*hub.Viewer
		for i := range crowd {
			viewers = append(viewers, watch(t, h, hub.WatchOptions{NoVideo: i/3%2 == 0}).Viewer)
		}
		var batch hub.Batch
		stamps, framed := 0, 0
		pass := func() {
			for i, v := range viewers {
				batch.Bytes = batch.Bytes[:0]
				v.Fill(&batch, counting{stamped{uint64(1 + i%3), &stamps}, &framed}, 1<<20)
			}
		}
		p.send("A:1@20") // from which those without video start
		pass()
		framed = 0
		for i := 2; i < packets; i++ {
			p.send(fmt.Sprintf("P:%d@%d A:%d@%d", i, i*40, i, i*40+1))
			pass()
		}
		require.LessOrEqual(t, framed, 6*(packets-2), "three forms, with and without video, for each packet")
	})
}

// What one viewer does not get, since it comes from before its beginning, another does.
func TestShareAroundABeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p := publish(t, h, client{})
		p.send("meta:av vc:s ac:s K:0@0 A:0@1")
		stamps, framed := 0, 0
		f := counting{stamped{1, &stamps}, &framed}
		var batch hub.Batch
		fill := func(v *hub.Viewer) string {
			batch.Bytes = batch.Bytes[:0]
			v.Fill(&batch, f, 1<<20)
			return string(batch.Bytes)
		}
		old := watch(t, h, hub.WatchOptions{}).Viewer
		fill(old)
		p.send("K:1@1000")
		late := watch(t, h, hub.WatchOptions{}).Viewer
		fill(old)
		fill(late)
		p.send("A:1@990 P:2@1040")
		without, with := fill(late), fill(old)
		require.Greater(t, len(with), len(without))
	})
}
