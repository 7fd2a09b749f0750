package flvfile

import (
	"encoding/binary"
	"math"

	"sluice/flv"
)

// entry is one key frame in the head.
type entry struct {
	time int64 // ms
	pos  int64
}

// appendKeyframes appends the property that browser players seek by, with its name.
func appendKeyframes(dst []byte, entries []entry) []byte {
	dst = append(appendText(dst, "keyframes"), amfObject)
	dst = appendArray(appendText(dst, "times"), len(entries))
	for _, e := range entries {
		dst = appendNumber(dst, float64(e.time)/1000)
	}
	dst = appendArray(appendText(dst, "filepositions"), len(entries))
	for _, e := range entries {
		dst = appendNumber(dst, float64(e.pos))
	}
	return append(dst, amfEnd...)
}

// Markers of AMF0 (§2.1), for what has thousands of values.
const (
	amfNumber      = 0x00
	amfObject      = 0x03
	amfStrictArray = 0x0A
	amfEnd         = "\x00\x00\x09"
)

func appendArray(dst []byte, count int) []byte {
	return binary.BigEndian.AppendUint32(append(dst, amfStrictArray), uint32(count))
}

func appendNumber(dst []byte, f float64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, amfNumber), math.Float64bits(f))
}

// thinned is a list of key frames that has at most so many entries: when they become
// too many, every other one goes, and so every other one of those that follow.
type thinned struct {
	most    int
	entries []entry
	stride  int // one of so many is kept
	seen    int
}

// newThinned makes a list of at most so many entries.
func newThinned(most int) *thinned { return &thinned{most: max(most, 1), stride: 1} }

func (t *thinned) add(e entry) {
	if t.seen++; (t.seen-1)%t.stride != 0 {
		return
	}
	if len(t.entries) == t.most {
		kept := t.entries[:0]
		for i := 0; i < len(t.entries); i += 2 {
			kept = append(kept, t.entries[i])
		}
		t.entries = kept
		t.stride *= 2
		if (t.seen-1)%t.stride != 0 {
			return
		}
	}
	t.entries = append(t.entries, e)
}

// entries returns the key frames of an index, at most so many, as they stand in the head of
// the file: entry 0 is the codec header of the video, since mpegts.js and flv.js drop it.
// shift is added to all positions.
func (x index) entries(most int, start, shift int64) ([]entry, error) {
	keys, sounds := newThinned(most-1), newThinned(most-1)
	lead, rank := entry{pos: start + shift}, 0
	err := x.each(func(_ int, r record) bool {
		e := entry{r.time, r.pos + shift}
		switch {
		case r.kind == kindKey:
			keys.add(e)
		case r.kind == kindSound:
			sounds.add(e)
		case r.leadRank() > rank:
			lead, rank = entry{0, e.pos}, r.leadRank()
		}
		return true
	})
	list := keys
	if len(keys.entries) == 0 {
		list = sounds
	}
	if err != nil || len(list.entries) == 0 {
		return nil, err
	}
	if list.entries[0].pos <= lead.pos { // no header: ffmpeg wants positions to rise
		return list.entries, nil
	}
	return append([]entry{lead}, list.entries...), nil
}

// leadRank says how well a record's tag stands for entry 0.
func (r record) leadRank() int {
	switch {
	case r.track != 0:
		return 0
	case r.kind == kindVideoHeader+recordKind(flv.KindConfig):
		return 2
	case r.kind == kindAudioHeader+recordKind(flv.KindConfig):
		return 1
	}
	return 0
}
