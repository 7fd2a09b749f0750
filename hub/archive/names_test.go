package archive

import (
	"path"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

func TestSegments(t *testing.T) {
	for _, c := range []struct{ segment, encoded string }{
		{"studio", "studio"},
		{"", "%_"},
		{"a b~c+d=e,f!(g)&h@i_j-k", "a b~c+d=e,f!(g)&h@i_j-k"},
		{"Жизнь 直播 בית ไทย 🎥 e\u0301", "Жизнь 直播 בית ไทย 🎥 e\u0301"},
		{strings.Repeat("直", 84), strings.Repeat("直", 84)},
		{".", "%2E"},
		{"..", "%2E%2E"},
		{"...", "%2E.%2E"},
		{".hidden", "%2Ehidden"},
		{"end.", "end%2E"},
		{"end ", "end%20"},
		{" begin", " begin"},
		{"a.b", "a.b"},
		{`a/b\c:d*e?f"g<h>i|j%k`, "a%2Fb%5Cc%3Ad%2Ae%3Ff%22g%3Ch%3Ei%7Cj%25k"},
		{"\x00\n\x7f\u0085", "%00%0A%7F%C2%85"},
		{"\xff\xfe\ufffd", "%FF%FE\ufffd"},
		{"%41", "%2541"},
		{"CON", "%43ON"},
		{"nul.txt", "%6Eul.txt"},
		{"Com1", "%43om1"},
		{"com1 .x.y", "%63om1 .x.y"},
		{"lpt9", "%6Cpt9"},
		{"LPT²", "%4CPT²"},
		{"COM10", "COM10"},
		{"CONSOLE", "CONSOLE"},
		{"xcon", "xcon"},
		{"x.flv", "x%2Eflv"},
		{"x.FLV", "x%2EFLV"},
		{"x.flv.part", "x.flv%2Epart"},
		{"x.idx", "x%2Eidx"},
		{"x.pin", "x%2Epin"},
		{"x.flvx", "x.flvx"},
	} {
		assert.Equal(t, c.encoded, encodeSegment(c.segment), "%q", c.segment)
		decoded, ok := decodeSegment(c.encoded)
		assert.True(t, ok, "%q", c.encoded)
		assert.Equal(t, c.segment, decoded)
	}
}

func TestSegmentsThatAreCut(t *testing.T) {
	for _, c := range []struct {
		segment string
		kept    int // bytes before the mark
	}{
		{strings.Repeat("a", 256), 237},
		{strings.Repeat("直", 86), 237},
		{"a" + strings.Repeat("直", 86), 235},
		{strings.Repeat("?", 86), 237},
		{"a" + strings.Repeat("?", 86), 235},
		{"ab" + strings.Repeat("?", 86), 236},
		{strings.Repeat("🎥", 100), 236},
		{"con." + strings.Repeat("x", 10_000), 237},
		{strings.Repeat("\xff", 10_000), 237},
	} {
		encoded := encodeSegment(c.segment)
		assert.Equal(t, c.kept, strings.Index(encoded, cutMark), "%.20q", c.segment)
		assert.Len(t, encoded, c.kept+len(cutMark)+hashDigits)
		assert.NotEqual(t, encoded, encodeSegment(c.segment+"x"), "the hash tells them apart")
		_, ok := decodeSegment(encoded)
		assert.False(t, ok)
	}
	assert.Len(t, encodeSegment(strings.Repeat("a", 255)), 255)
}

func TestNamesThatNobodyMade(t *testing.T) {
	for _, encoded := range []string{"%", "%4", "%zz", "%41", "%2f", "%2e", "a%", "50%", "CON", ".x", "x.flv", "%~0123456789abcdef", "%_x", ""} {
		_, ok := decodeSegment(encoded)
		assert.False(t, ok, encoded)
	}
}

func TestFoldersOfKeys(t *testing.T) {
	for _, c := range []struct {
		key    hub.Key
		folder string
		fails  bool
	}{
		{hub.Key{App: "live", Name: "me"}, "live/me", false},
		{hub.Key{App: "live/studio", Name: "me"}, "live/studio/me", false},
		{hub.Key{App: "..", Name: "../x"}, "%2E%2E/%2E.%2Fx", false},
		{hub.Key{App: "/etc", Name: "x"}, "%_/etc/x", false},
		{hub.Key{App: "a//b", Name: "x"}, "a/%_/b/x", false},
		{hub.Key{App: `C:\x`, Name: "x"}, "C%3A%5Cx/x", false},
		{hub.Key{App: "live"}, "", true},
		{hub.Key{Name: "x"}, "", true},
		{hub.Key{App: strings.Repeat("a/", 127), Name: "x"}, "", true},
		{hub.Key{App: strings.Repeat("a", 5000), Name: "x"}, "", true},
	} {
		folder, err := folderOf(c.key)
		if c.fails {
			assert.ErrorIs(t, err, errKey)
			continue
		}
		require.NoError(t, err)
		assert.Equal(t, c.folder, folder)
		key, known, ok := keyOf(folder)
		assert.True(t, known && ok)
		assert.Equal(t, c.key, key)
	}
	for folder, want := range map[string]hub.Key{
		"live/50%":   {App: "live", Name: "50%"},
		"a%2Fb/x":    {App: "a%2Fb", Name: "x"},
		"LPT1/a%20b": {App: "LPT1", Name: "a%20b"},
	} {
		key, known, ok := keyOf(folder)
		assert.True(t, ok)
		assert.False(t, known, "made by hand")
		assert.Equal(t, want, key)
	}
	for _, folder := range []string{".", "live", strings.Repeat("a/", 128) + "a"} {
		_, _, ok := keyOf(folder)
		assert.False(t, ok, folder)
	}
}

func TestIDs(t *testing.T) {
	begin := time.Date(2026, 11, 28, 18, 5, 0, 123_999_999, time.FixedZone("", 3600))
	assert.Equal(t, "20261128T170500.123Z", newID(begin, 1))
	assert.Equal(t, "20261128T170500.123Z-2", newID(begin, 2))
	for _, id := range []string{"20261128T170500.123Z", "20261128T170500.123Z-2", "20261128T170500.123Z-1000"} {
		got, n, ok := parseID(id)
		assert.True(t, ok)
		assert.Equal(t, id, newID(got, n))
	}
	for _, id := range []string{"", "film", "20261128T170500.123Z-1", "20261128T170500.123Z-", "20261128T170500.123Z-02", "20261128T170500.123Z-0", "20261328T170500.123Z", "20261128T170500Z", "20261128T170500.123Z "} {
		_, _, ok := parseID(id)
		assert.False(t, ok, id)
	}
}

// Whatever a segment is, its folder is one name that any file system can bear, it decodes
// to the segment again, and no other name does.
func FuzzSegment(f *testing.F) {
	for _, s := range []string{"", "..", "con.flv", "a/b", strings.Repeat("直?", 80), "\xff%_", "x.part "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		encoded := encodeSegment(s)
		require.NotEmpty(t, encoded)
		require.LessOrEqual(t, len(encoded), maxSegment)
		require.NotContains(t, ".", encoded[:1])
		require.NotContains(t, ". ", encoded[len(encoded)-1:])
		require.False(t, reserved(encoded))
		require.Equal(t, -1, suffixDot(encoded))
		require.Equal(t, strings.ToValidUTF8(encoded, "?"), encoded)
		require.False(t, strings.ContainsAny(encoded, "/\\:*?\"<>|\x00\n\x7f"))
		require.Equal(t, encoded, path.Clean(encoded))
		decoded, ok := decodeSegment(encoded)
		if require.Equal(t, !strings.Contains(encoded, cutMark), ok); ok {
			require.Equal(t, s, decoded)
		}
	})
}

// What decodes, encodes to the same.
func FuzzDecodeSegment(f *testing.F) {
	for _, s := range []string{"", "%_", "%2E", "%2e", "a%25", "%FF", "%~0123456789abcdef"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, encoded string) {
		if s, ok := decodeSegment(encoded); ok {
			require.Equal(t, encoded, encodeSegment(s))
		}
	})
}
