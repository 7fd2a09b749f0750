package splice

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sluice/flv"
)

// FuzzRun takes anything that servers may send, and connections that end anywhere. What goes on is
// what came or a header of it, and memory is bounded.
//
// A byte is something that happens: its upper three bits say what, the lower ones are its argument.
func FuzzRun(f *testing.F) {
	f.Add([]byte{0x00, 0x20, 0x40, 0x61, 0x41, 0x62, 0x42, 0xe0, 0x00, 0x20, 0x40, 0x61, 0x41, 0x62, 0x42, 0x63, 0x43})
	f.Add([]byte{0x41, 0x61, 0x62, 0x63, 0xe1, 0x41, 0x61, 0x62, 0xc9, 0x63, 0x64, 0x41, 0xe3, 0x61, 0x61})
	f.Add([]byte{0x80, 0x81, 0x82, 0x83, 0x84, 0xe1, 0x80, 0x80, 0x80, 0xa1, 0xa2, 0xe2, 0x82, 0x83, 0x84, 0x85, 0x86})
	f.Add(bytes.Repeat([]byte{0x41, 0x60, 0x60, 0x80, 0xe1}, 60))
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 5_000 {
			return
		}
		const most, mostHeld = 100, 10_000
		r := New(Config{MaxMarks: most, MaxHeld: mostHeld})
		out := &checked{t: t, came: map[string]bool{}}
		now, ts, base := time.Unix(1000, 0), uint32(0), uint32(0)
		for _, b := range script {
			arg := uint32(b & 31)
			var tag flv.Tag
			switch b >> 5 {
			case 0: // headers, the same or others
				tag = flv.Tag{Type: flv.TypeVideo, Data: []byte{0x17 + byte(arg>>3), 0, 0, 0, 0, byte(arg & 7)}}
			case 1:
				tag = flv.Tag{Type: flv.TypeScript, Data: append(bytes.Clone(metadata.Data[:13-byte(arg>>4)]), byte(arg))}
			case 2: // key frames, of several tracks too
				tag = flv.Tag{Type: flv.TypeVideo, Timestamp: base + ts, Data: append([]byte{0x17, 1, 0, 0, byte(arg)}, make([]byte, 60*arg)...)}
				if arg&8 != 0 {
					tag.Data = append([]byte{0x96, 0x01, 'a', 'v', 'c', '1', byte(arg)}, make([]byte, 100)...)
				}
			case 3:
				tag = flv.Tag{Type: flv.TypeVideo, Timestamp: base + ts, Data: append([]byte{0x27, 1, 0, 0, byte(arg)}, make([]byte, 20*arg)...)}
				ts += 40
			case 4:
				tag = flv.Tag{Type: flv.TypeAudio, Timestamp: base + ts, Data: []byte{0xaf, 1, byte(arg)}}
				ts += 20
			case 5: // what can't be read
				tag = flv.Tag{Type: flv.Type(arg), Timestamp: base + ts, Data: make([]byte, arg>>3)}
			case 6: // time passes, on one clock or the other
				if arg&1 != 0 {
					now = now.Add(time.Duration(arg*arg) * time.Millisecond)
				} else {
					ts += arg*arg - 50
				}
				continue
			case 7:
				r.Begin()
				base = arg << 27
				if arg&1 != 0 {
					ts -= 40 * arg
				}
				continue
			}
			out.came[string(tag.Data)] = true
			require.NoError(t, r.Take(tag, now, arg&2 != 0, out))
			require.LessOrEqual(t, r.marks.n, most)
			require.LessOrEqual(t, len(r.marks.buf), most)
			require.LessOrEqual(t, r.bytes, mostHeld+2_000)
			require.LessOrEqual(t, len(r.held), maxHeldTags+maxHeaders)
			require.LessOrEqual(t, len(r.guesses), maxGuesses)
			require.LessOrEqual(t, len(r.own), maxHeaders)
			require.LessOrEqual(t, len(r.headers), maxHeaders)
			if r.outcome != Joining {
				require.Empty(t, r.held)
			}
		}
		require.EqualValues(t, out.cuts, r.Counts().Cuts)
	})
}

// checked is an Out that takes only what came.
type checked struct {
	t    *testing.T
	came map[string]bool
	cuts int
}

func (c *checked) Tag(t flv.Tag) error {
	require.True(c.t, c.came[string(t.Data)])
	return nil
}

func (c *checked) Cut() { c.cuts++ }
