package hub_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

func TestNewKey(t *testing.T) {
	long := strings.Repeat("n", 250)
	for _, test := range []struct {
		app, name string
		want      string // "" is refused
		says      string
	}{
		{"live", "demo", "live/demo", ""},
		{"live/studio", "demo", "live/studio/demo", ""},
		{"live", "studio/demo", "live/studio/demo", ""},
		{"", "live/demo", "live/demo", ""},
		{"live/demo", "", "live/demo", ""},
		{"/live/", "/demo/", "live/demo", ""},
		{"live//studio", "//demo", "live/studio/demo", ""},
		{"live", "Straße_1-2.3~4", "live/Straße_1-2.3~4", ""},
		{"直播", "演示", "直播/演示", ""},
		{"live", "नमस्ते", "live/नमस्ते", ""},
		{"live", "a+b=c@d:e,f!(g)&h i", "live/a+b=c@d:e,f!(g)&h i", ""},
		{"live", "Ⅷ", "live/Ⅷ", ""},
		{"live", "...", "live/...", ""},
		{"live", long, "live/" + long, ""},

		{"", "", "", "needs an app and a name"},
		{"live", "", "", "needs an app and a name"},
		{"", "demo", "", "needs an app and a name"},
		{"/", "///", "", "needs an app and a name"},
		{"live", "..", "", `segment ".."`},
		{"..", "demo", "", `segment ".."`},
		{"live", "a/../b", "", `segment ".."`},
		{"live", "./demo", "", `segment "."`},
		{"live", "a\x00b", "", `not allowed: '\x00'`},
		{"live", "a\nb", "", `not allowed: '\n'`},
		{"live", "a\u0301\u0301\u0301\u0301b", "live/a\u0301\u0301\u0301\u0301b", ""},
		{"live", "a" + strings.Repeat("\u0301", 5), "", "combining marks"},
		{"live", "a\u202eb", "", `not allowed: '\u202e'`},
		{"live", `a\b`, "", "not allowed"},
		{"live", "a?b", "", "not allowed: '?'"},
		{"live", "a#b", "", "not allowed"},
		{"live", "a%2fb", "", "not allowed"},
		{"live", "a*", "", "not allowed: '*'"},
		{"live", "$a", "", "not allowed"},
		{"live", "a'b", "", "not allowed"},
		{"live", "<script>", "", "not allowed: '<'"},
		{"live", `"a"`, "", "not allowed"},
		{"live", "a\xffb", "", "not valid UTF-8"},
		{"live", long + "n", "", "longer than 255 bytes"},
		{"live", strings.Repeat("n/", 1<<20), "", "longer than 255 bytes"},
	} {
		t.Run(test.app+" "+test.name[:min(20, len(test.name))], func(t *testing.T) {
			k, err := hub.NewKey(test.app, test.name)
			if test.want == "" {
				assert.Equal(t, hub.ReasonBadRequest, reasonOf(t, err))
				assert.ErrorContains(t, err, test.says)
				assert.Zero(t, k)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, test.want, k.String())
			assert.NotContains(t, k.Name, "/")

			again, err := hub.NewKey(k.App, k.Name)
			require.NoError(t, err)
			assert.Equal(t, k, again)
		})
	}
}

// Wherever a client cuts its URL, it is the same stream.
func TestKeyCuts(t *testing.T) {
	want := hub.Key{App: "a/b", Name: "c"}
	for _, cut := range [][2]string{{"a", "b/c"}, {"a/b", "c"}, {"a/b/c", ""}, {"", "a/b/c"}} {
		k, err := hub.NewKey(cut[0], cut[1])
		require.NoError(t, err)
		assert.Equal(t, want, k)
	}
}

func FuzzNewKey(f *testing.F) {
	f.Add("live", "demo")
	f.Add("a//b", "/../c")
	f.Add("é", "\xff")
	f.Fuzz(func(t *testing.T, app, name string) {
		k, err := hub.NewKey(app, name)
		if err != nil {
			return
		}
		if len(k.String()) > hub.MaxKeyLength || k.App == "" || k.Name == "" || strings.Contains(k.Name, "/") {
			t.Errorf("%q", k)
		}
		if again, err := hub.NewKey(k.App, k.Name); err != nil || again != k {
			t.Errorf("%q becomes %q, %v", k, again, err)
		}
	})
}
