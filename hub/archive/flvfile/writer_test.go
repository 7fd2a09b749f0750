package flvfile

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
)

func TestCreateOverwritesNothing(t *testing.T) {
	meta, packets := clip(t, "aac")
	m := newMemFS()
	writeFile(t, m, "a", meta, packets)
	before := m.clone()
	_, err := Create(m, "a", Properties{})
	require.ErrorIs(t, err, fs.ErrExist)
	m.put("b.flv.part", []byte("x"))
	_, err = Create(m, "b", Properties{})
	require.ErrorIs(t, err, fs.ErrExist)
	_, err = Create(m, "c", Properties{Name: strings.Repeat("n", maxNames+1)})
	require.Error(t, err)
	delete(m.files, "b.flv.part")
	assert.Equal(t, before.files, m.files)
}

// A file whose head cannot be written, or beside which an old index stays, does not begin, and
// leaves nothing.
func TestCreateThatFails(t *testing.T) {
	for _, fails := range []string{"write", "remove"} {
		m := newMemFS()
		m.put("a.idx", []byte("old"))
		m.fault = func(op, name string, n int) (int, error) {
			if op == fails && (op == "write" || name == "a.idx") {
				return n / 2, syscall.ENOSPC
			}
			return n, nil
		}
		_, err := Create(m, "a", Properties{})
		require.ErrorIs(t, err, syscall.ENOSPC, fails)
		assert.NotContains(t, m.files, "a.flv.part")
	}
}

// A file that appears while another one of its name is written stays.
func TestFinishOverwritesNothing(t *testing.T) {
	_, packets := clip(t, "aac")
	m := newMemFS()
	w, err := Create(m, "a", Properties{})
	require.NoError(t, err)
	write(t, w, packets)
	m.put("a.flv", []byte("by hand"))
	_, err = w.Finish()
	require.ErrorIs(t, err, fs.ErrExist)
	assert.Equal(t, "by hand", string(m.files["a.flv"].b))
	delete(m.files, "a.flv")
	info, err := w.Finish()
	require.NoError(t, err)
	checkRecovered(t, m, info)
	require.NoError(t, w.Close())
}

func TestFileWithoutPackets(t *testing.T) {
	for name, end := range map[string]func(m *memFS, w *Writer) error{
		"finished": func(_ *memFS, w *Writer) error { _, err := w.Finish(); return err },
		"left behind": func(m *memFS, w *Writer) error {
			if err := w.Close(); err != nil {
				return err
			}
			_, err := Recover(m, "a")
			return err
		},
	} {
		m := newMemFS()
		w, err := Create(m, "a", Properties{})
		require.NoError(t, err, name)
		require.ErrorIs(t, end(m, w), fs.ErrNotExist, name)
		assert.Empty(t, m.names(), name)
		_, err = w.Open()
		require.ErrorIs(t, err, fs.ErrClosed, name)
	}
}

// Every write fails somewhere, now and then cutting back fails too: each packet stands once.
func TestWriteFails(t *testing.T) {
	meta, packets := clip(t, "h264-bframes-aac")
	for _, cutFails := range []bool{false, true} {
		m := newMemFS()
		w, err := Create(m, "a", Properties{Metadata: meta})
		require.NoError(t, err)
		f, err := w.Open()
		require.NoError(t, err)
		defer f.Close()
		c, got := f.Cursor(), []Packet(nil)
		tries, cuts := 0, 0
		m.fault = func(op, name string, n int) (int, error) {
			switch {
			case op == "write" && name == "a.flv.part":
				if tries++; tries%2 == 1 {
					return tries * 137 % (n + 1), syscall.ENOSPC
				}
			case op == "truncate" && cutFails:
				if cuts++; cuts%2 == 1 {
					return 0, syscall.EIO
				}
			}
			return n, nil
		}
		var scratch []byte
		for rest := packets; len(rest) > 0; {
			var n int
			scratch, n, err = w.Write(scratch, rest[:min(9, len(rest))])
			if n < min(9, len(rest)) {
				require.Error(t, err)
				require.True(t, errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EIO), err)
			}
			rest = rest[n:]
			for {
				p, err := c.Next()
				if errors.Is(err, ErrNotYet) {
					break
				}
				require.NoError(t, err)
				got = append(got, p)
			}
		}
		m.fault = nil
		info, err := w.Finish()
		require.NoError(t, err)
		checkRecovered(t, m, info)
		tags := readTags(t, m.files["a.flv"].b)
		require.Len(t, tags, 1+len(packets))
		for i, p := range packets {
			require.Equal(t, p.Tag, tags[1+i])
		}
		assert.Len(t, got, len(packets)-2) // without the headers at the beginning
	}
}

// The index is worth nothing beside the file.
func TestIndexCannotBeWritten(t *testing.T) {
	meta, packets := clip(t, "h264-bframes-aac")
	m := newMemFS()
	m.fault = func(op, name string, n int) (int, error) {
		if strings.HasSuffix(name, IndexSuffix) && op != "remove" {
			return 0, syscall.ENOSPC
		}
		return n, nil
	}
	w, err := Create(m, "a", Properties{Metadata: meta})
	require.NoError(t, err)
	_, n, err := w.Write(nil, packets)
	require.NoError(t, err)
	require.Equal(t, len(packets), n)
	require.ErrorIs(t, w.WriteIndex(), syscall.ENOSPC)
	_, err = w.Finish()
	require.NoError(t, err)
	require.Equal(t, []string{"a.flv"}, m.names())
	f, err := Open(m, "a")
	require.NoError(t, err)
	defer f.Close()
	at, err := f.Cursor().SeekTo(3000)
	require.NoError(t, err)
	assert.EqualValues(t, 2000, at)
	require.Equal(t, []string{"a.flv"}, m.names())
	m.fault = nil
	again, err := Open(m, "a")
	require.NoError(t, err)
	defer again.Close()
	_, err = again.Cursor().SeekTo(3000)
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{"a.flv", "a.idx"}, m.names())
}

// What fails while a file is finished can be tried again.
func TestFinishFails(t *testing.T) {
	meta, packets := clip(t, "h264-bframes-aac")
	for _, fails := range []string{"write", "open", "rename"} {
		m := newMemFS()
		w, err := Create(m, "a", Properties{Metadata: meta})
		require.NoError(t, err)
		write(t, w, packets[:50])
		require.NoError(t, w.WriteIndex())
		m.fault = func(op, _ string, n int) (int, error) {
			if op == fails {
				return 0, syscall.EIO
			}
			return n, nil
		}
		_, err = w.Finish()
		require.ErrorIs(t, err, syscall.EIO, fails)
		m.fault = nil
		write(t, w, packets[50:])
		info, err := w.Finish()
		require.NoError(t, err, fails)
		checkRecoveredEnds(t, m, info)
	}
}

// checkRecoveredEnds is checkRecovered for a file whose index may have several ends.
func checkRecoveredEnds(t *testing.T, m *memFS, info Info) {
	t.Helper()
	f, err := Open(m, "a")
	require.NoError(t, err)
	defer f.Close()
	before := string(m.files["a.idx"].b)
	at, err := f.Cursor().SeekTo(4500)
	require.NoError(t, err)
	assert.InDelta(t, 4000, at, 100)
	assert.Equal(t, before, string(m.files["a.idx"].b), "the index was made anew")
	assert.EqualValues(t, len(m.files["a.flv"].b), info.Size)
}

// Metadata before all else is that of the file, later one stands where it came.
func TestMetadataOfThePublisher(t *testing.T) {
	_, packets := clip(t, "h264-bframes-aac")
	m := newMemFS()
	w, err := Create(m, "a", Properties{Begin: begin})
	require.NoError(t, err)
	body := func(encoder string) []byte {
		return amf.AppendAMF0(nil, "onMetaData", amf.ECMAArray{
			{Name: "Duration", Value: 99.0}, {Name: "encoder", Value: encoder}, {Name: "hasAudio", Value: false}, {Name: "nothing", Value: nil},
		})
	}
	meta := func(encoder string, at int64) Packet {
		return Packet{Tag: flv.Tag{Type: flv.TypeScript, Data: body(encoder)}, Time: at, Header: true}
	}
	write(t, w, []Packet{meta("first", 0)})
	write(t, w, append([]Packet{meta("second", 0)}, packets[:40]...))
	write(t, w, append([]Packet{meta("third", packets[40].Time)}, packets[40:]...))
	_, err = w.Finish()
	require.NoError(t, err)
	tags := readTags(t, m.files["a.flv"].b)
	require.Len(t, tags, 1+len(packets)+1)
	props, _ := metadataProperties(tags[0].Data)
	encoder, _ := props.Get("encoder")
	assert.Equal(t, "second", encoder)
	assert.NotContains(t, props, amf.Property{Name: "Duration", Value: 99.0})
	assert.Equal(t, body("third"), tags[1+40].Data)
	assert.Zero(t, tags[1+40].Timestamp, "or ffmpeg takes it for subtitles")
	f, err := Open(m, "a")
	require.NoError(t, err)
	defer f.Close()
	c := f.Cursor()
	got := readAll(t, c)
	want := slices.Insert(slices.Clone(packets), 40, meta("third", packets[39].Time))
	want[40].Timestamp = uint32(want[40].Time)
	assert.Equal(t, want[2:], got)
	index := string(m.files["a.idx"].b)
	at, err := c.SeekTo(4500)
	require.NoError(t, err)
	assert.EqualValues(t, 4000, at)
	assert.Equal(t, index, string(m.files["a.idx"].b))
}

func TestGapsAreKept(t *testing.T) {
	_, packets := clip(t, "h264-bframes-aac")
	m := newMemFS()
	w, err := Create(m, "a", Properties{})
	require.NoError(t, err)
	write(t, w, packets[:40])
	w.Gap(1500)
	w.Gap(500)
	write(t, w, packets[40:60])
	w.Gap(1 << 30)
	write(t, w, packets[60:])
	info, err := w.Finish()
	require.NoError(t, err)
	assert.Equal(t, 2, info.Gaps)
	assert.Equal(t, 2*time.Second+maxLength*time.Millisecond, info.GapTime)
	w, err = Append(m, "a")
	require.NoError(t, err)
	w.Gap(1000)
	later := packets[len(packets)-1]
	later.Time = w.End() + 1000
	write(t, w, []Packet{later})
	again, err := w.Finish()
	require.NoError(t, err)
	assert.Equal(t, 3, again.Gaps)
	assert.Equal(t, info.GapTime+time.Second, again.GapTime)
	read, err := ReadInfo(m, "a")
	require.NoError(t, err)
	assert.Equal(t, again, read)
}

// What cannot be begun leaves nothing behind.
func TestCreateFails(t *testing.T) {
	for _, op := range []string{"open", "write", "remove"} {
		m := newMemFS()
		m.put("a.idx", []byte("of a file that is gone"))
		failed := false
		m.fault = func(got, _ string, n int) (int, error) {
			if got == op && !failed {
				failed = true
				return n / 2, syscall.ENOSPC
			}
			return n, nil
		}
		_, err := Create(m, "a", Properties{})
		require.ErrorIs(t, err, syscall.ENOSPC, op)
		delete(m.files, "a.idx")
		require.Empty(t, m.names(), op)
	}
}
