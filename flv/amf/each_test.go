package amf

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// each returns what EachProperty tells: the properties whose values could be had, and
// how many could not.
func each(b []byte, l Limits) (props []Property, odd int, rest []byte, err error) {
	rest, err = EachProperty(b, l, func(name []byte, value any, err error) {
		if err != nil {
			odd++
			return
		}
		props = append(props, Property{string(name), value})
	})
	return props, odd, rest, err
}

func TestEachProperty(t *testing.T) {
	props := []Property{{"a", 1.0}, {"", true}, {"o", Object{{"x", nil}}}, {"a", "again"}}
	for _, v := range []any{Object(props), ECMAArray(props), TypedObject{"Class", props}} {
		got, odd, rest, err := each(AppendAMF0(nil, v, "what follows"), Limits{})
		require.NoError(t, err)
		require.Zero(t, odd)
		require.Equal(t, props, got)
		require.Equal(t, AppendAMF0(nil, "what follows"), rest)
	}
}

// What is too large, too deep or refers to nothing is passed over.
func TestEachPropertyPassesOver(t *testing.T) {
	index := make(StrictArray, 6000)
	for i := range index {
		index[i] = float64(i)
	}
	deep := any(1.0)
	for range 10 {
		deep = Object{{"d", deep}}
	}
	b := AppendAMF0(nil, ECMAArray{
		{"width", 640.0},
		{"keyframes", Object{{"times", index}, {"filepositions", index}}},
		{"height", 360.0},
		{"deep", deep},
		{"long", strings.Repeat("x", 1<<17)},
		{"reference", nil}, // becomes one
		{"encoder", "e"},
	})
	b = bytes.Replace(b, []byte("reference\x05"), []byte("reference\x07\x00\x09"), 1)
	got, odd, rest, err := each(b, Limits{Depth: 8, Elements: 100, Bytes: 1000})
	require.NoError(t, err)
	require.Empty(t, rest)
	require.Equal(t, 4, odd)
	require.Equal(t, []Property{{"width", 640.0}, {"height", 360.0}, {"encoder", "e"}}, got)
}

// What came before the end, or before what can't be told, is told.
func TestEachPropertyCutShort(t *testing.T) {
	b := AppendAMF0(nil, Object{{"a", 1.0}, {"b", 2.0}})
	got, _, rest, err := each(b[:len(b)-3], Limits{}) // without its end marker
	require.NoError(t, err)
	require.Empty(t, rest)
	require.Len(t, got, 2)
	got, _, _, err = each(b[:len(b)-5], Limits{})
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Len(t, got, 1)
	for _, b := range [][]byte{nil, {amf0Number}, AppendAMF0(nil, "text"), AppendAMF0(nil, nil)} {
		got, _, _, err = each(b, Limits{})
		require.Error(t, err)
		require.Empty(t, got)
	}
	nested := append(bytes.Repeat([]byte{amf0StrictArray, 0, 0, 0, 1}, 100_000), amf0Null)
	_, err = SkipAMF0(nested)
	require.ErrorIs(t, err, ErrLimit)
}

// FuzzEachProperty: an object taken property by property is the object taken whole,
// where that can be had, and passing over a value comes to where decoding it does.
func FuzzEachProperty(f *testing.F) {
	f.Add(AppendAMF0(nil, ECMAArray{{"a", 1.0}, {"b", Object{{"c", "d"}}}, {"e", StrictArray{nil, true}}}, "rest"))
	f.Add(AppendAMF0(nil, TypedObject{"C", Object{{"x", Date{1, 0}}, {"y", XML("z")}, {"b", []byte{1}}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, odd, rest, err := each(b, Limits{})
		if err == nil && !bytes.HasSuffix(b, rest) {
			t.Fatal("the rest is not the end of the data")
		}
		whole, after, werr := DecodeAMF0(b, Limits{})
		if werr != nil {
			return
		}
		if skipped, err := SkipAMF0(b); err != nil || !bytes.Equal(skipped, after) {
			t.Fatalf("passed over up to % x, decoded up to % x: %v", skipped, after, err)
		}
		want, ok := Properties(whole)
		if !ok {
			return
		}
		if err != nil || !bytes.Equal(rest, after) {
			t.Fatalf("%v, up to % x instead of % x", err, rest, after)
		}
		if len(got)+odd != len(want) { // what refers to an outer value is odd
			t.Fatalf("%d properties instead of %d", len(got)+odd, len(want))
		}
		for i := 0; odd == 0 && i < len(got); i++ {
			switch want[i].Value.(type) {
			case bool, float64, string: // in the others, references may be to other values
				if !bytes.Equal(AppendAMF0(nil, want[i:i+1]), AppendAMF0(nil, got[i:i+1])) {
					t.Fatalf("%v instead of %v", got[i], want[i])
				}
			}
		}
	})
}
