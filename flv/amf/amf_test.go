package amf

import (
	"bytes"
	"encoding/hex"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// unhex reads hexadecimal digits; spaces are free.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	require.NoError(t, err)
	return b
}

// golden is a value and its bytes. decodeOnly marks bytes that are not the ones
// that the encoder chooses.
type golden struct {
	name       string
	bytes      string
	value      any
	decodeOnly bool
}

func long(n int) string { return strings.Repeat("x", n) }

var amf0Cases = []golden{
	{"number", "00 3ff0000000000000", 1.0, false},
	{"negative zero", "00 8000000000000000", math.Copysign(0, -1), false},
	{"infinity", "00 7ff0000000000000", math.Inf(1), false},
	{"true", "01 01", true, false},
	{"false", "01 00", false, false},
	{"true by another byte", "01 ff", true, true},
	{"string", "02 0007 636f6e6e656374", "connect", false},
	{"empty string", "02 0000", "", false},
	{"UTF-8", "02 0002 c3a9", "é", false},
	{"object", "03 0003 617070 02 0004 6c697665 000009", Object{{"app", "live"}}, false},
	{"empty object", "03 000009", Object{}, false},
	{"duplicate names in order", "03 0001 61 0101 0001 62 05 0001 61 0100 000009", Object{{"a", true}, {"b", nil}, {"a", false}}, false},
	{"empty name", "03 0000 05 000009", Object{{"", nil}}, false},
	{"nested objects", "03 0001 61 03 0001 62 05 000009 000009", Object{{"a", Object{{"b", nil}}}}, false},
	{"object that ends with the data", "03 0001 61 05", Object{{"a", nil}}, true},
	{"null", "05", nil, false},
	{"undefined", "06", Undefined{}, false},
	{"ECMA array", "08 00000001 0008 6475726174696f6e 00 0000000000000000 000009", ECMAArray{{"duration", 0.0}}, false},
	{"ECMA array with a wrong count", "08 00000003 0001 61 05 000009", ECMAArray{{"a", nil}}, true},
	{"ECMA array with an absurd count", "08 ffffffff 000009", ECMAArray{}, true},
	{"ECMA array that ends with the data", "08 00000001 0001 61 05", ECMAArray{{"a", nil}}, true},
	{"strict array", "0a 00000002 02 0004 61766331 05", StrictArray{"avc1", nil}, false},
	{"empty strict array", "0a 00000000", StrictArray{}, false},
	{"date", "0b 4270000000000000 ffc4", Date{1 << 40, -60}, false},
	{"long string", "0c 00010000 " + strings.Repeat("78", 65536), long(65536), false},
	{"longest short string", "02 ffff " + strings.Repeat("78", 65535), long(65535), false},
	{"long string that need not be one", "0c 00000001 78", "x", true},
	{"unsupported", "0d", Unsupported{}, false},
	{"XML", "0f 00000004 3c612f3e", XML("<a/>"), false},
	{"typed object", "10 0001 43 0001 61 05 000009", TypedObject{"C", Object{{"a", nil}}}, false},
	{"byte array through AMF3", "11 0c 07 010203", []byte{1, 2, 3}, false},
	{"AMF3 inside an object", "03 0001 61 11 04 05 000009", Object{{"a", 5.0}}, true},
	{"reference", "0a 00000002 03 000009 07 0001", StrictArray{Object{}, Object{}}, true},
	{"reference to an outer sibling", "03 0001 61 0a 00000001 05 0001 62 07 0001 000009", Object{{"a", StrictArray{nil}}, {"b", StrictArray{nil}}}, true},
}

var amf3Cases = []golden{
	{"undefined", "00", Undefined{}, false},
	{"null", "01", nil, false},
	{"false", "02", false, false},
	{"true", "03", true, false},
	{"integer", "04 05", 5.0, true},
	{"integer of two bytes", "04 8100", 128.0, true},
	{"integer of three bytes", "04 818000", 16384.0, true},
	{"integer of four bytes", "04 80c08000", 2097152.0, true},
	{"greatest integer", "04 bfffffff", float64(maxInt29), true},
	{"least integer", "04 c0808000", float64(minInt29), true},
	{"minus one", "04 ffffffff", -1.0, true},
	{"double", "05 3ff8000000000000", 1.5, false},
	{"string", "06 0b 68656c6c6f", "hello", false},
	{"empty string", "06 01", "", false},
	{"XML document", "07 09 3c612f3e", XML("<a/>"), true},
	{"date", "08 01 4270000000000000", Date{Milliseconds: 1 << 40}, false},
	{"dense array", "09 05 01 06 03 61 03", StrictArray{"a", true}, false},
	{"empty array", "09 01 01", StrictArray{}, false},
	{"associative array", "09 01 03 61 03 01", ECMAArray{{"a", true}}, false},
	{"mixed array", "09 05 03 61 03 01 02 01", ECMAArray{{"a", true}, {"0", false}, {"1", nil}}, true},
	{"dynamic object", "0a 0b 01 03 61 03 01", Object{{"a", true}}, false},
	{"empty object", "0a 0b 01 01", Object{}, false},
	{"sealed object", "0a 13 01 03 61 03", Object{{"a", true}}, true},
	{"typed object", "0a 0b 03 43 03 61 03 01", TypedObject{"C", Object{{"a", true}}}, false},
	{"sealed and dynamic object", "0a 1b 03 43 03 61 03 03 62 02 01", TypedObject{"C", Object{{"a", true}, {"b", false}}}, true},
	{"XML", "0b 09 3c612f3e", XML("<a/>"), false},
	{"byte array", "0c 07 010203", []byte{1, 2, 3}, false},
	{"string reference", "09 07 01 06 03 61 06 01 06 00", StrictArray{"a", "", "a"}, true},
	{"name reference", "09 05 01 0a 0b 01 03 61 03 01 0a 01 00 02 01", StrictArray{Object{{"a", true}}, Object{{"a", false}}}, true},
	{"traits reference", "09 05 01 0a 13 03 43 03 61 03 0a 01 02", StrictArray{TypedObject{"C", Object{{"a", true}}}, TypedObject{"C", Object{{"a", false}}}}, true},
	{"object reference", "09 05 01 0a 0b 01 01 0a 02", StrictArray{Object{}, Object{}}, true},
	{"byte array reference", "09 05 01 0c 03 aa 0c 02", StrictArray{[]byte{0xaa}, []byte{0xaa}}, true},
	{"date reference", "09 05 01 08 01 0000000000000000 08 02", StrictArray{Date{}, Date{}}, true},
}

func TestAMF0Golden(t *testing.T) {
	testGolden(t, amf0Cases, DecodeAMF0, func(dst []byte, v any) []byte { return AppendAMF0(dst, v) })
}

func TestAMF3Golden(t *testing.T) { testGolden(t, amf3Cases, DecodeAMF3, AppendAMF3) }

func testGolden(t *testing.T, cases []golden, decode func([]byte, Limits) (any, []byte, error), appendTo func([]byte, any) []byte) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := unhex(t, c.bytes)
			rest := []byte{}
			if !strings.Contains(c.name, "ends with the data") {
				rest = []byte{0xaa, 0xbb}
			}
			got, after, err := decode(append(bytes.Clone(b), rest...), Limits{})
			require.NoError(t, err)
			require.Equal(t, c.value, got)
			require.Equal(t, rest, after)
			if !c.decodeOnly {
				require.Equal(t, append([]byte("before"), b...), appendTo([]byte("before"), c.value))
			}
		})
	}
}

// Whatever is cut off, a decoder says so, unless an object or ECMA array of AMF0
// ends where its property does.
func TestCutAtEveryOffset(t *testing.T) {
	for _, c := range amf0Cases {
		if len(c.bytes) > 1000 || c.decodeOnly {
			continue
		}
		b := unhex(t, c.bytes)
		for cut := range len(b) {
			if _, _, err := DecodeAMF0(b[:cut], Limits{}); err != nil {
				require.ErrorIs(t, err, io.ErrUnexpectedEOF, "%s cut at %d", c.name, cut)
			} else {
				_, lenient := Properties(c.value)
				require.True(t, lenient, "%s cut at %d", c.name, cut)
			}
		}
	}
	for _, c := range amf3Cases {
		b := unhex(t, c.bytes)
		for cut := range len(b) {
			v, rest, err := DecodeAMF3(b[:cut], Limits{})
			require.ErrorIs(t, err, io.ErrUnexpectedEOF, "%s cut at %d", c.name, cut)
			require.Nil(t, v)
			require.Nil(t, rest)
		}
	}
}

func TestDecodeAll(t *testing.T) {
	b := unhex(t, "02 0007 5f726573756c74 00 3ff0000000000000 05 06")
	got, err := DecodeAll(b, Limits{})
	require.NoError(t, err)
	require.Equal(t, []any{"_result", 1.0, nil, Undefined{}}, got)
	require.Equal(t, b, AppendAMF0(nil, got...))

	got, err = DecodeAll(nil, Limits{})
	require.NoError(t, err)
	require.Empty(t, got)

	t.Run("what came before an error is kept", func(t *testing.T) {
		got, err := DecodeAll(append(b, 0x7f), Limits{})
		require.ErrorIs(t, err, ErrFormat)
		require.Len(t, got, 4)
	})
	t.Run("references go across values", func(t *testing.T) {
		got, err := DecodeAll(unhex(t, "03 0001 61 05 000009 07 0000"), Limits{})
		require.NoError(t, err)
		require.Equal(t, []any{Object{{"a", nil}}, Object{{"a", nil}}}, got)
	})
	t.Run("limits are those of the message", func(t *testing.T) {
		_, err := DecodeAll(unhex(t, "05 05 05"), Limits{Elements: 2})
		require.ErrorIs(t, err, ErrLimit)
		_, err = DecodeAll(unhex(t, "02 0001 61 02 0001 62"), Limits{Bytes: 1})
		require.ErrorIs(t, err, ErrLimit)
	})
}

func TestDecodeRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		bytes string
		want  error
	}{
		"movie clip":                   {"04", ErrFormat},
		"object end alone":             {"09", ErrFormat},
		"record set":                   {"0e", ErrFormat},
		"unknown marker":               {"12", ErrFormat},
		"object end after a name":      {"03 0001 61 09", ErrFormat},
		"reference to nothing":         {"07 0000", ErrFormat},
		"reference to itself":          {"03 0001 61 07 0000 000009", ErrUnsupported},
		"array in itself":              {"0a 00000001 07 0000", ErrUnsupported},
		"array of more than there is":  {"0a ffffffff 05", io.ErrUnexpectedEOF},
		"string of more than there is": {"0c ffffffff 05", io.ErrUnexpectedEOF},
	} {
		v, _, err := DecodeAMF0(unhex(t, c.bytes), Limits{})
		require.ErrorIs(t, err, c.want, name)
		require.Nil(t, v, name)
	}
	for name, c := range map[string]struct {
		bytes string
		want  error
	}{
		"vector":                       {"0d 03 00 00000001", ErrUnsupported},
		"dictionary":                   {"11 01 00", ErrUnsupported},
		"externalizable":               {"0a 07 03 43", ErrUnsupported},
		"array in itself":              {"09 03 01 09 00", ErrUnsupported},
		"object in itself":             {"0a 0b 01 03 61 0a 00 01", ErrUnsupported},
		"reference to no string":       {"06 00", ErrFormat},
		"reference to no object":       {"0a 00", ErrFormat},
		"reference to no traits":       {"0a 01", ErrFormat},
		"member without a name":        {"0a 13 01 01 01", ErrFormat},
		"traits of more than may be":   {"0a fffffff3 01", ErrLimit},
		"array of more than there is":  {"09 ffffffff 01 01", io.ErrUnexpectedEOF},
		"string of more than there is": {"06 ffffffff 01", io.ErrUnexpectedEOF},
	} {
		v, _, err := DecodeAMF3(unhex(t, c.bytes), Limits{})
		require.ErrorIs(t, err, c.want, name)
		require.Nil(t, v, name)
	}
}

func TestLimits(t *testing.T) {
	nested0 := func(n int) []byte {
		return append(bytes.Repeat([]byte{amf0StrictArray, 0, 0, 0, 1}, n), amf0Null)
	}
	nested3 := func(n int) []byte {
		return append(bytes.Repeat([]byte{amf3Array, 3, 1}, n), amf3Null)
	}
	t.Run("depth", func(t *testing.T) {
		for name, decode := range map[string]func(n int, l Limits) error{
			"AMF0": func(n int, l Limits) error { _, _, err := DecodeAMF0(nested0(n), l); return err },
			"AMF3": func(n int, l Limits) error { _, _, err := DecodeAMF3(nested3(n), l); return err },
			"AMF3 in AMF0": func(n int, l Limits) error {
				b := append(nested0(n / 2)[:n/2*5], amf0SwitchAMF3)
				_, _, err := DecodeAMF0(append(b, nested3(n-n/2)...), l)
				return err
			},
		} {
			require.NoError(t, decode(defaultDepth, Limits{}), name)
			require.ErrorIs(t, decode(defaultDepth+1, Limits{}), ErrLimit, name)
			require.NoError(t, decode(3, Limits{Depth: 3}), name)
			require.ErrorIs(t, decode(4, Limits{Depth: 3}), ErrLimit, name)
			require.ErrorIs(t, decode(1<<20, Limits{}), ErrLimit, name)
		}
	})
	t.Run("elements", func(t *testing.T) {
		array := func(n int) []byte {
			return append([]byte{amf0StrictArray, 0, 0, byte(n >> 8), byte(n)}, bytes.Repeat([]byte{amf0Null}, n)...)
		}
		_, _, err := DecodeAMF0(array(defaultElements-1), Limits{})
		require.NoError(t, err)
		_, _, err = DecodeAMF0(array(defaultElements), Limits{})
		require.ErrorIs(t, err, ErrLimit)
	})
	t.Run("bytes", func(t *testing.T) {
		_, _, err := DecodeAMF0(AppendAMF0(nil, long(defaultBytes)), Limits{})
		require.NoError(t, err)
		_, _, err = DecodeAMF0(AppendAMF0(nil, Object{{"x", long(defaultBytes)}}), Limits{})
		require.ErrorIs(t, err, ErrLimit)
		_, _, err = DecodeAMF3(AppendAMF3(nil, make([]byte, 11)), Limits{Bytes: 10})
		require.ErrorIs(t, err, ErrLimit)
		_, _, err = DecodeAMF3(AppendAMF3(nil, Object{{long(maxName + 1), nil}}), Limits{})
		require.ErrorIs(t, err, ErrLimit)
	})
	t.Run("references count what they refer to", func(t *testing.T) {
		// Each array holds the one before it twice: 2^n values out of 8n bytes.
		laughs := append(bytes.Repeat([]byte{amf0StrictArray, 0, 0, 0, 2}, 15), amf0StrictArray, 0, 0, 0, 0)
		for i := 15; i >= 1; i-- {
			laughs = append(laughs, amf0Reference, 0, byte(i))
		}
		_, _, err := DecodeAMF0(laughs, Limits{})
		require.ErrorIs(t, err, ErrLimit)
		_, _, err = DecodeAMF0(laughs, Limits{Elements: 1 << 20})
		require.NoError(t, err)

		// A chain of siblings, each holding the one before: depth without nesting.
		chain := []byte{amf0StrictArray, 0, 0, 0, 30, amf0StrictArray, 0, 0, 0, 0}
		for i := range 29 {
			chain = append(chain, amf0StrictArray, 0, 0, 0, 1, amf0Reference, 0, byte(i+1))
		}
		_, _, err = DecodeAMF0(chain, Limits{})
		require.ErrorIs(t, err, ErrLimit)
		_, _, err = DecodeAMF0(chain, Limits{Depth: 31})
		require.NoError(t, err)

		// One long string, referred to over and over.
		s := long(1 << 19)
		strings := append([]byte{amf3Array, 7, 1}, AppendAMF3(nil, s)...)
		strings = append(strings, amf3String, 0, amf3String, 0)
		_, _, err = DecodeAMF3(strings, Limits{})
		require.ErrorIs(t, err, ErrLimit)
	})
}

func TestAppendGoTypes(t *testing.T) {
	one := unhex(t, "00 3ff0000000000000")
	for _, v := range []any{1, int8(1), int16(1), int32(1), int64(1), uint(1), uint8(1), uint16(1), uint32(1), uint64(1), float32(1), 1.0} {
		require.Equal(t, one, AppendAMF0(nil, v))
	}
	for _, v := range []any{1, int8(1), int16(1), int32(1), int64(1), uint(1), uint8(1), uint16(1), uint32(1), uint64(1)} {
		require.Equal(t, []byte{amf3Integer, 1}, AppendAMF3(nil, v))
	}
	for v, want := range map[int]string{
		-1: "04 ffffffff", 127: "04 7f", 128: "04 8100", 16383: "04 ff7f", 16384: "04 818000", 2097151: "04 ffff7f", 2097152: "04 80c08000",
		maxInt29: "04 bfffffff", minInt29: "04 c0808000", maxInt29 + 1: "05 41b0000000000000", minInt29 - 1: "05 c1b0000001000000",
	} {
		require.Equal(t, unhex(t, want), AppendAMF3(nil, v), v)
	}
	require.Equal(t, unhex(t, "03 0001 61 05 000009"), AppendAMF0(nil, []Property{{"a", nil}}))
	require.Equal(t, unhex(t, "0a 0b 01 03 61 01 01"), AppendAMF3(nil, []Property{{"a", nil}}))
	for _, v := range []any{struct{}{}, map[string]any{}, &struct{}{}, []int{1}} {
		require.Equal(t, []byte{amf0Unsupported}, AppendAMF0(nil, v))
		require.Equal(t, []byte{amf3Undefined}, AppendAMF3(nil, v))
	}
	require.Equal(t, []byte{amf3Undefined}, AppendAMF3(nil, Unsupported{}))
}

func TestAppendWhatDoesNotFit(t *testing.T) {
	name := long(maxName + 1)
	require.Equal(t, unhex(t, "03 0001 61 05 000009"), AppendAMF0(nil, Object{{name, true}, {"a", nil}}))
	require.Equal(t, unhex(t, "03 000009"), AppendAMF0(nil, TypedObject{name, Object{}}))
	require.Equal(t, unhex(t, "0a 0b 01 03 61 01 01"), AppendAMF3(nil, Object{{"", true}, {"a", nil}}))
}

func TestGet(t *testing.T) {
	props := []Property{{"a", 1.0}, {"b", 2.0}, {"a", 3.0}}
	for _, get := range []func(string) (any, bool){Object(props).Get, ECMAArray(props).Get} {
		v, ok := get("a")
		require.True(t, ok)
		require.Equal(t, 3.0, v, "the last one counts")
		_, ok = get("c")
		require.False(t, ok)
	}
	for _, v := range []any{Object(props), ECMAArray(props), TypedObject{"C", props}} {
		got, ok := Properties(v)
		require.True(t, ok)
		require.Equal(t, props, got)
	}
	_, ok := Properties(StrictArray{})
	require.False(t, ok)
}

// A connect command as ffmpeg sends it.
func TestConnectOfFFmpeg(t *testing.T) {
	b := AppendAMF0(nil, "connect", 1, Object{
		{"app", "live"}, {"type", "nonprivate"}, {"flashVer", "FMLE/3.0 (compatible; Lavf59.27.100)"},
		{"tcUrl", "rtmp://127.0.0.1:1935/live"},
	})
	got, err := DecodeAll(b, Limits{})
	require.NoError(t, err)
	require.Len(t, got, 3)
	command, ok := Properties(got[2])
	require.True(t, ok)
	require.Equal(t, Property{"app", "live"}, command[0])
}

func BenchmarkDecodeMetadata(b *testing.B) {
	var meta ECMAArray
	for _, name := range []string{"duration", "fileSize", "width", "height", "videocodecid", "videodatarate", "framerate", "audiocodecid", "audiodatarate"} {
		meta = append(meta, Property{name, 640.0})
	}
	data := AppendAMF0(nil, "onMetaData", append(meta, Property{"encoder", "obs-output module"}))
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeAll(data, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}
