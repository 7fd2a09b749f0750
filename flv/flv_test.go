package flv

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

// unhex reads hexadecimal digits; spaces are free.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	require.NoError(t, err)
	return b
}

const headerBoth = "464c56 01 05 00000009 00000000"

func TestHeaderGolden(t *testing.T) {
	for _, c := range []struct {
		header Header
		bytes  string
	}{
		{Header{Audio: true, Video: true}, headerBoth},
		{Header{Audio: true}, "464c56 01 04 00000009 00000000"},
		{Header{Video: true}, "464c56 01 01 00000009 00000000"},
		{Header{}, "464c56 01 00 00000009 00000000"},
	} {
		want := unhex(t, c.bytes)
		require.Equal(t, want, AppendHeader(nil, c.header.Audio, c.header.Video))
		require.Len(t, want, HeaderSize)
		r := NewReader(bytes.NewReader(want))
		got, err := r.Header()
		require.NoError(t, err)
		require.Equal(t, c.header, got)
		_, err = r.Next()
		require.Equal(t, io.EOF, err)
	}
}

func TestTagGolden(t *testing.T) {
	for _, c := range []struct {
		name  string
		tag   Tag
		bytes string
	}{
		{"audio", Tag{TypeAudio, 0, []byte{0xaf, 0}}, "08 000002 000000 00 000000 af00 0000000d"},
		{"video", Tag{TypeVideo, 0x123456, []byte{0x17}}, "09 000001 123456 00 000000 17 0000000c"},
		{"24 bits of time", Tag{TypeVideo, 1 << 24, []byte{0x17}}, "09 000001 000000 01 000000 17 0000000c"},
		{"31 bits of time", Tag{TypeVideo, 1 << 31, []byte{0x17}}, "09 000001 000000 80 000000 17 0000000c"},
		{"32 bits of time", Tag{TypeVideo, 1<<32 - 1, []byte{0x17}}, "09 000001 ffffff ff 000000 17 0000000c"},
		{"script", Tag{TypeScript, 0, []byte{5}}, "12 000001 000000 00 000000 05 0000000c"},
		{"AMF3 script", Tag{TypeScriptAMF3, 0, []byte{0, 5}}, "0f 000002 000000 00 000000 0005 0000000d"},
		{"empty", Tag{TypeAudio, 1, nil}, "08 000000 000001 00 000000 0000000b"},
		{"unknown type", Tag{5, 1, []byte{1}}, "05 000001 000001 00 000000 01 0000000c"},
		{"encrypted", Tag{0x29, 1, []byte{1}}, "29 000001 000001 00 000000 01 0000000c"},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := unhex(t, c.bytes)
			require.Equal(t, want, AppendTag(nil, c.tag))
			require.Equal(t, len(want), c.tag.Size())
			r := NewReader(io.MultiReader(bytes.NewReader(unhex(t, headerBoth)), bytes.NewReader(want)))
			got, err := r.Next()
			require.NoError(t, err)
			require.Equal(t, c.tag, got)
			_, err = r.Next()
			require.Equal(t, io.EOF, err)
		})
	}
}

func TestAppendTagTooLarge(t *testing.T) {
	large := Tag{Type: TypeVideo, Data: make([]byte, MaxTagSize+1)}
	require.Equal(t, []byte("x"), AppendTag([]byte("x"), large))

	var out bytes.Buffer
	w := NewWriter(&out, false, true)
	require.ErrorIs(t, w.WriteTag(large), ErrTooLarge)
	require.Zero(t, out.Len())
	large.Data = large.Data[:MaxTagSize]
	require.NoError(t, w.WriteTag(large))
	require.Equal(t, HeaderSize+large.Size(), out.Len())
	got, err := NewReader(&out).Next()
	require.NoError(t, err)
	require.Equal(t, MaxTagSize, len(got.Data))
}

func TestReaderTolerates(t *testing.T) {
	tag := "09 000001 000000 00 000000 17"
	for name, file := range map[string]string{
		"PreviousTagSize0 not 0":       "464c56 01 05 00000009 11111111" + tag + "0000000c",
		"a longer header":              "464c56 01 05 0000000b ffff 00000000" + tag + "0000000c",
		"reserved flags":               "464c56 01 ff 00000009 00000000" + tag + "0000000c",
		"PreviousTagSize left 0":       headerBoth + tag + "00000000",
		"a stream id that is not 0":    headerBoth + "09 000001 000000 00 000007 17 0000000c",
		"PreviousTagSize of the body":  headerBoth + tag + "00000001",
		"reserved flags, no tag types": "464c56 01 00 00000009 00000000" + tag + "0000000c",
	} {
		t.Run(name, func(t *testing.T) {
			r := NewReader(bytes.NewReader(unhex(t, file)))
			got, err := r.Next()
			require.NoError(t, err)
			require.Equal(t, Tag{TypeVideo, 0, []byte{0x17}}, got)
			_, err = r.Next()
			require.Equal(t, io.EOF, err)
		})
	}
}

func TestReaderRefuses(t *testing.T) {
	for _, c := range []struct {
		name, file string
		want       error
	}{
		{"nothing", "", io.EOF},
		{"an MP4", "00000020 66747970 69736f6d 00000200", ErrFormat},
		{"three bytes of text", "474554", ErrFormat},
		{"a byte of text", "47", ErrFormat},
		{"version 2", "464c56 02 05 00000009 00000000", ErrFormat},
		{"a header too short", "464c56 01 05 00000008 00000000", ErrFormat},
		{"a header too long", "464c56 01 05 00001001 00000000", ErrFormat},
		{"an unknown type with a wrong size after it", headerBoth + "05 000001 000000 00 000000 17 0000000d", ErrFormat},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := NewReader(bytes.NewReader(unhex(t, c.file)))
			_, err := r.Next()
			require.ErrorIs(t, err, c.want)
			_, again := r.Next()
			require.Equal(t, err, again, "errors stay")
		})
	}
}

// captured returns the files of testdata by name.
func captured(t testing.TB) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob("testdata/*.flv")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	files := make(map[string][]byte)
	for _, name := range names {
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		files[filepath.Base(name)] = b
	}
	return files
}

// readAll reads tags up to an error.
func readAll(r *Reader) ([]Tag, error) {
	var tags []Tag
	for {
		t, err := r.Next()
		if err != nil {
			return tags, err
		}
		tags = append(tags, t)
	}
}

func TestCapturedFilesRoundTrip(t *testing.T) {
	for name, file := range captured(t) {
		t.Run(name, func(t *testing.T) {
			tags, err := readAll(NewReader(bytes.NewReader(file)))
			require.Equal(t, io.EOF, err)
			bytewise, err := readAll(NewReader(iotest.OneByteReader(bytes.NewReader(file))))
			require.Equal(t, io.EOF, err)
			require.Equal(t, tags, bytewise)

			header, err := NewReader(bytes.NewReader(file)).Header()
			require.NoError(t, err)
			var out bytes.Buffer
			w := NewWriter(&out, header.Audio, header.Video)
			for _, tag := range tags {
				require.NoError(t, w.WriteTag(tag))
			}
			require.Equal(t, file, out.Bytes())
		})
	}
}

func TestCapturedFileCutAtEveryOffset(t *testing.T) {
	file := captured(t)["ffmpeg7-audio-mp3.flv"]
	tags, err := readAll(NewReader(bytes.NewReader(file)))
	require.Equal(t, io.EOF, err)
	whole, end := 0, HeaderSize // tags before the cut, and where the last of them ends
	for cut := range len(file) {
		if whole < len(tags) && cut >= end+tags[whole].Size() {
			end += tags[whole].Size()
			whole++
		}
		want := io.ErrUnexpectedEOF
		if cut == 0 || cut == end {
			want = io.EOF
		}
		got, err := readAll(NewReader(bytes.NewReader(file[:cut])))
		if err != want || len(got) != whole {
			t.Fatalf("cut at %d: %d tags and %v, want %d and %v", cut, len(got), err, whole, want)
		}
	}
}

func TestReaderTakesMemoryAsBytesArrive(t *testing.T) {
	file := append(unhex(t, headerBoth), unhex(t, "09 ffffff 000000 00 000000 00")...)
	result := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			_, _ = readAll(NewReader(bytes.NewReader(file)))
		}
	})
	require.Less(t, result.AllocedBytesPerOp(), int64(2*readStep))
}

func TestReaderLargeBody(t *testing.T) {
	body := bytes.Repeat([]byte("0123456"), 3*readStep/7+1)
	file := AppendTag(AppendHeader(nil, false, true), Tag{Type: TypeVideo, Data: body})
	got, err := NewReader(iotest.HalfReader(bytes.NewReader(file))).Next()
	require.NoError(t, err)
	require.Equal(t, body, got.Data)
}

func TestWriter(t *testing.T) {
	t.Run("one write a tag, the header with the first", func(t *testing.T) {
		var writes [][]byte
		w := NewWriter(writerFunc(func(b []byte) (int, error) {
			writes = append(writes, bytes.Clone(b))
			return len(b), nil
		}), true, false)
		tag := Tag{Type: TypeAudio, Data: []byte{0xaf, 0}}
		require.NoError(t, w.WriteTag(tag))
		require.NoError(t, w.WriteTag(tag))
		require.NoError(t, w.WriteHeader())
		require.Equal(t, [][]byte{AppendTag(AppendHeader(nil, true, false), tag), AppendTag(nil, tag)}, writes)
	})
	t.Run("header alone", func(t *testing.T) {
		var out bytes.Buffer
		require.NoError(t, NewWriter(&out, true, true).WriteHeader())
		require.Equal(t, unhex(t, headerBoth), out.Bytes())
	})
	t.Run("errors stay", func(t *testing.T) {
		broken := errors.New("broken")
		calls := 0
		w := NewWriter(writerFunc(func([]byte) (int, error) { calls++; return 0, broken }), true, true)
		require.ErrorIs(t, w.WriteTag(Tag{Type: TypeAudio}), broken)
		require.ErrorIs(t, w.WriteTag(Tag{Type: TypeAudio}), broken)
		require.Equal(t, 1, calls)
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestTypeString(t *testing.T) {
	require.Equal(t, "audio", TypeAudio.String())
	require.Equal(t, "video", TypeVideo.String())
	require.Equal(t, "script", TypeScript.String())
	require.Equal(t, "script (AMF3)", TypeScriptAMF3.String())
	require.Equal(t, "tag type 5", Type(5).String())
}

// Reuse gives the same tags, each until the next, whatever the sizes and however they come.
func TestReaderReuse(t *testing.T) {
	file := AppendHeader(nil, true, true)
	var want []Tag
	for i, size := range []int{100, 0, 70_000, 5, maxReused, maxReused + 1, 3000, 69_999, 1} {
		tag := Tag{Type: TypeVideo, Timestamp: uint32(i), Data: bytes.Repeat([]byte{byte(i)}, size)}
		file, want = AppendTag(file, tag), append(want, tag)
	}
	for _, in := range []io.Reader{bytes.NewReader(file), iotest.HalfReader(bytes.NewReader(file))} {
		r := NewReader(in)
		r.Reuse()
		for _, w := range want {
			got, err := r.Next()
			require.NoError(t, err)
			require.Equal(t, w.Timestamp, got.Timestamp)
			require.True(t, bytes.Equal(w.Data, got.Data))
		}
		for range 2 {
			_, err := r.Next()
			require.ErrorIs(t, err, io.EOF)
		}
	}
}
