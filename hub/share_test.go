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
			x := &pair{form: uint64(min(1, rng.IntN(16)))}
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
