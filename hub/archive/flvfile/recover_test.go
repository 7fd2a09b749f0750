package flvfile

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
)

// died returns a folder with the .part of a clip whose writer died after all packets were
// written, and the boundaries of its tags.
func died(t testing.TB, name string, gap int64) (m *memFS, boundaries []int64) {
	t.Helper()
	m = newMemFS()
	meta, packets := clip(t, name)
	w, err := Create(m, "a", Properties{App: "live", Name: "camera", Begin: begin, Metadata: meta})
	require.NoError(t, err)
	half := len(packets) / 2
	write(t, w, packets[:half])
	w.Gap(gap)
	write(t, w, packets[half:])
	require.NoError(t, w.Close())
	at := int64(dataStart)
	for _, p := range packets {
		boundaries = append(boundaries, at)
		at += int64(p.Size())
	}
	return m, append(boundaries, at)
}

// cutsEnv set to 1 has TestRecoverEveryCut leave out no cut within bodies:
//
//	CUTS=1 go test -run EveryCut ./hub/archive/flvfile
const cutsEnv = "CUTS"

// Every cut of the last 64 KiB, with and without zeros behind it, loses only the tag that is
// cut. Within bodies it is every 41st, and zeros follow a third of
// them, unless all are asked for.
func TestRecoverEveryCut(t *testing.T) {
	whole, boundaries := died(t, "h264-bframes-aac", 40)
	part := whole.files["a.flv.part"].b
	size := boundaries[len(boundaries)-1]
	require.EqualValues(t, len(part), size)
	from := max(dataStart, size-64<<10)
	infos := map[int64]Info{}
	for cut := from; cut <= size; cut++ {
		const near = flv.TagOverhead
		if inBody := lastBoundary(boundaries, cut+near) == lastBoundary(boundaries, cut-near); inBody && cut%41 != 0 && os.Getenv(cutsEnv) == "" {
			continue
		}
		for _, zeros := range []int{0, 1 + int(cut%9000)} {
			if zeros > 0 && cut%3 != 0 && os.Getenv(cutsEnv) == "" {
				continue
			}
			m := newMemFS()
			m.put("a.idx", bytes.Clone(whole.files["a.idx"].b))
			m.put("a.flv.part", slices.Concat(part[:cut], make([]byte, zeros)))
			want := lastBoundary(boundaries, cut)
			// A PreviousTagSize that ends in zeros is whole with zeros behind it.
			if zeros > 0 {
				if next := lastBoundary(boundaries, cut+3); next > cut && bytes.Equal(part[cut:next], make([]byte, next-cut)) {
					want = next
				}
			}
			info, err := Recover(m, "a")
			if want == dataStart {
				require.ErrorIs(t, err, fs.ErrNotExist)
				require.Empty(t, m.names())
				continue
			}
			require.NoError(t, err, "cut at %d", cut)
			require.Equal(t, want, info.Size, "cut at %d, %d zeros", cut, zeros)
			if known, ok := infos[want]; ok {
				require.Equal(t, known, info)
				continue
			}
			infos[want] = info
			checkRecovered(t, m, info)
		}
	}
	last := infos[size]
	assert.Equal(t, 1, last.Gaps)
	assert.Equal(t, 40*time.Millisecond, last.GapTime)
}

func lastBoundary(boundaries []int64, at int64) int64 {
	last := int64(0)
	for _, b := range boundaries {
		if b <= at {
			last = b
		}
	}
	return last
}

// checkRecovered looks at everything of a recovered file: tags, head, index.
func checkRecovered(t testing.TB, m *memFS, info Info) {
	t.Helper()
	require.ElementsMatch(t, []string{"a.flv", "a.idx"}, m.names())
	b := m.files["a.flv"].b
	require.EqualValues(t, len(b), info.Size)
	tags := readTags(t, b)
	read, err := ReadInfo(m, "a")
	require.NoError(t, err)
	require.Equal(t, info, read)
	f, err := Open(m, "a")
	require.NoError(t, err)
	defer f.Close()
	// The index is what one would be that was written without a break.
	x, _, err := f.shared.snapshot()
	require.NoError(t, err)
	require.NotNil(t, x.file)
	again, err := rebuildIndex(readOnly(m), "a", f.shared.file, f.shared.head)
	require.NoError(t, err)
	var got []record
	require.NoError(t, x.each(func(_ int, r record) bool {
		if r.kind != kindGap {
			r.extra = 0 // counts gaps
			got = append(got, r)
		}
		return true
	}))
	for i := range again.index.pending {
		again.index.pending[i].extra = 0
	}
	require.Equal(t, again.index.pending, got)
	require.Len(t, readAll(t, &Cursor{shared: f.shared, tags: f.Cursor().tags, begun: true}), len(tags)-1)
}

func readOnly(m *memFS) *memFS {
	c := m.clone()
	c.readOnly = true
	return c
}

// Whatever became of the index, nothing that is whole is lost, and a new one is made.
func TestRecoverWithAnyIndex(t *testing.T) {
	whole, boundaries := died(t, "h264-bframes-aac", 0)
	idx, part := whole.files["a.idx"].b, whole.files["a.flv.part"].b
	size := boundaries[len(boundaries)-1]
	rng := rand.New(rand.NewPCG(1, 2))
	garbage := make([]byte, 500)
	for i := range garbage {
		garbage[i] = byte(rng.Uint32())
	}
	other := newMemFS()
	meta, packets := clip(t, "aac")
	writeFile(t, other, "a", meta, packets)
	lie := record{pos: size - 500, kind: kindKey, time: 4990}.append(nil)
	beyond := record{pos: size + 500, kind: kindKey, time: 4990}.append(nil)
	tests := map[string][]byte{
		"empty": {}, "zeros": make([]byte, 800), "garbage": garbage, "of another file": other.files["a.idx"].b,
		"followed by zeros":        append(bytes.Clone(idx), make([]byte, 1000)...),
		"followed by garbage":      append(bytes.Clone(idx), garbage...),
		"followed by half a one":   append(bytes.Clone(idx), lie[:7]...),
		"followed by a lie":        append(bytes.Clone(idx), lie...),
		"followed by many lies":    append(bytes.Clone(idx), bytes.Repeat(lie, 400)...),
		"longer than the file":     append(bytes.Clone(idx), beyond...),
		"twice":                    append(bytes.Clone(idx), idx...),
		"without its first record": idx[recordSize:],
		"missing":                  nil,
	}
	for n := range len(idx) {
		tests[fmt.Sprintf("cut at %d", n)] = idx[:n]
		flipped := bytes.Clone(idx)
		flipped[n] ^= 1 << (n % 8)
		tests[fmt.Sprintf("flipped at %d", n)] = flipped
	}
	for name, b := range tests {
		m := newMemFS()
		m.put("a.flv.part", bytes.Clone(part))
		if b != nil {
			m.put("a.idx", bytes.Clone(b))
		}
		info, err := Recover(m, "a")
		require.NoError(t, err, name)
		require.Equal(t, size, info.Size, name)
		require.Equal(t, flv.CodecH264, info.Video, name)
		require.Equal(t, flv.CodecAAC, info.Audio, name)
		require.Equal(t, 320, info.Width, name)
		checkRecovered(t, m, info)
	}
}

// A hole in the middle is where the file ends, whatever the index knows of what follows.
func TestRecoverWithAHole(t *testing.T) {
	whole, boundaries := died(t, "h264-bframes-aac", 0)
	hole := boundaries[len(boundaries)*2/3]
	b := whole.files["a.flv.part"].b
	clear(b[hole+5 : min(int64(len(b)), hole+40000)])
	info, err := Recover(whole, "a")
	require.NoError(t, err)
	assert.Equal(t, hole, info.Size)
	checkRecovered(t, whole, info)
}

func TestRecoverWithoutHead(t *testing.T) {
	whole, boundaries := died(t, "h264-bframes-aac", 0)
	clear(whole.files["a.flv.part"].b[:dataStart])
	info, err := Recover(whole, "a")
	require.NoError(t, err)
	assert.Equal(t, boundaries[len(boundaries)-1], info.Size)
	assert.Equal(t, flv.CodecAAC, info.Audio)
	checkRecovered(t, whole, info)
}

func TestRecoverLeavesAloneWhatIsNotOurs(t *testing.T) {
	_, packets := clip(t, "aac")
	foreign := flv.AppendHeader(nil, true, false)
	for _, p := range packets {
		foreign = flv.AppendTag(foreign, p.Tag)
	}
	for name, b := range map[string][]byte{"a download": foreign, "text": bytes.Repeat([]byte("text"), 50000), "short text": []byte("text")} {
		m := newMemFS()
		m.put("a.flv.part", b)
		_, err := Recover(m, "a")
		require.ErrorIs(t, err, ErrForeign, name)
		require.Equal(t, []string{"a.flv.part"}, m.names())
	}
}

// What dies while a file gets its name leaves an empty one of the new name.
func TestRecoverAfterDeathInRename(t *testing.T) {
	t.Run("finishing", func(t *testing.T) {
		m, _ := died(t, "aac", 0)
		m.put("a.flv", nil)
		info, err := Recover(m, "a")
		require.NoError(t, err)
		checkRecovered(t, m, info)
	})
	t.Run("appending", func(t *testing.T) {
		m := newMemFS()
		meta, packets := clip(t, "aac")
		info := writeFile(t, m, "a", meta, packets)
		m.put("a.flv.part", nil)
		index := string(m.files["a.idx"].b)
		_, err := Recover(m, "a")
		require.ErrorIs(t, err, fs.ErrNotExist)
		assert.Equal(t, index, string(m.files["a.idx"].b))
		checkRecovered(t, m, info)
	})
	t.Run("both are there", func(t *testing.T) {
		m, _ := died(t, "aac", 0)
		m.put("a.flv", []byte("somebody's"))
		before := m.clone()
		_, err := Recover(m, "a")
		require.ErrorIs(t, err, fs.ErrExist)
		for name, f := range before.files {
			assert.Equal(t, f.b, m.files[name].b, name)
		}
	})
}
