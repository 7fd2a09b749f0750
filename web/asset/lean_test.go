package asset

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLeanScript(t *testing.T) {
	for given, want := range map[string]string{
		"":                               "",
		"a;":                             "a;",
		"// one\n\n  // two\r\na;\r\n":   "a;\n",
		"  if (a) {\n\tb; // why\n  }\n": "if (a) {\nb;\n}\n",
		"a; // it's so\nb; // c/d\n":     "a; // it's so\nb; // c/d\n",
		"a = '//'; b = /[//]/; c = `//`": "a = '//'; b = /[//]/; c = `//`",
		"a = 'http://b'; // c":           "a = 'http://b';",
		"a; // see http://b\n":           "a; // see http://b\n",
		"a = /b c\\//;":                  "a = /b c\\//;",
		"a; // b // c":                   "a;",
		"return // a\nb":                 "return\nb",
		"return\n// nothing\na":          "return\na",
		"x = 'a // b'\n  + \"// c\";":    "x = 'a // b'\n+ \"// c\";",
		"/* a\n   // b\n   c */ d\n":     "/* a\nc */ d\n",
		"/*\n  // b */ d\n":              "/*\n// b */ d\n", // the end of the comment
		"  a = `${b} // ${`c`}`;\n  //d": "a = `${b} // ${`c`}`;\n",
		"// it's a ` that is alone\n  a": "a",

		// These stay as they are.
		"  // a\u2028b;":            "  // a\u2028b;",
		"  // a\rb;":                "  // a\rb;",
		"  a = `b\n    // c\n  `;":  "  a = `b\n    // c\n  `;",
		"  a = 'b\\\n   // c';":     "  a = 'b\\\n   // c';",
		"  a = '`'; // and\n  // b": "  a = '`'; // and\n  // b",
	} {
		assert.Equal(t, want, string(leanScript([]byte(given))), given)
	}
}

func TestLeanStyle(t *testing.T) {
	for given, want := range map[string]string{
		"":           "",
		"a { b: c }": "a { b: c }",
		"/* one\n   two */\n\n  a {\n\tb: c;  \n}": "a {\nb: c;\n}",
		"a { b: 1px/**/2px; /* why */\n}":          "a { b: 1px 2px;\n}",
		"a::before { content: '/* \\' */'; }":      "a::before { content: '/* \\' */'; }",
		"a { b: \"\\\"/*\" } /* c */":              "a { b: \"\\\"/*\" }  ",
		"a { b: 'c\\\n   d' }":                     "a { b: 'c\\\n   d' }",
		".a\\/* { b: c }\n\n.d\\ \n{}":             ".a\\/* { b: c }\n.d\\ \n{}",

		// These stay as they are.
		"  a { b: c } /* d":           "  a { b: c } /* d",
		"  a { b: 'c }":               "  a { b: 'c }",
		"  a { b: 'c\n' }":            "  a { b: 'c\n' }",
		"  a { b: URL(data:,/*c*/) }": "  a { b: URL(data:,/*c*/) }",
	} {
		assert.Equal(t, want, string(leanStyle([]byte(given))), given)
	}
}

// What others have written is theirs, and what is neither script nor style has no comments that are
// known here.
func TestLeanLeavesAlone(t *testing.T) {
	for _, name := range []string{"npm/a.js", "npm/a.css", "a.svg", "a.txt"} {
		assert.Equal(t, "  // a", string(lean(name, []byte("  // a"))), name)
	}
}

// Leaving out twice is leaving out once, nothing is added, and no
// input is too odd.
func FuzzLean(f *testing.F) {
	for _, text := range []string{"  // a\n b`c`", "/* a */ b { c: 'd' } ", "a\\\n '", "/*/", "a /**/\n/**/ b"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, name := range []string{"a.js", "a.css"} {
			once := lean(name, data)
			require.LessOrEqual(t, len(once), len(data))
			require.Equal(t, string(once), string(lean(name, once)), name)
		}
	})
}

// parseJS tells of which scripts the syntax tree is not the same before and after. Node parses with
// a copy of acorn that it keeps for itself.
const parseJS = `
const { parse } = require('internal/deps/acorn/acorn/dist/acorn');
const tree = (text) => JSON.stringify(parse(text, { ecmaVersion: 'latest', sourceType: 'module' }),
	(key, value) => (['start', 'end'].includes(key) ? undefined : typeof value === 'bigint' ? String(value) : value));
const scripts = JSON.parse(require('fs').readFileSync(0, 'utf8'));
console.log(JSON.stringify(scripts.filter(([, before, after]) => tree(before) !== tree(after)).map(([name]) => name)));
`

// Of every script of the pages the meaning is the same, to the letter of its strings, and so it is
// of every style; all of them are leaner.
func TestLeanFiles(t *testing.T) {
	var scripts [][3]string
	for _, folder := range []string{"../static", "../console/static"} {
		require.NoError(t, fs.WalkDir(os.DirFS(folder), ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.HasPrefix(name, foreign) {
				return err
			}
			before, err := os.ReadFile(folder + "/" + name)
			require.NoError(t, err)
			after := lean(name, before)
			switch path.Ext(name) {
			case ".js":
				scripts = append(scripts, [3]string{name, string(before), string(after)})
			case ".css":
				assert.Equal(t, squeeze(string(before)), squeeze(string(after)), name)
			default:
				return nil
			}
			assert.Less(t, len(after), len(before), "nothing is left out of "+name)
			assert.NotRegexp(t, `(?m)^(\s|//|/\*|$\n)`, string(after), name)
			return nil
		}))
	}
	require.Greater(t, len(scripts), 40)
	node, err := exec.LookPath("node")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("nothing may be left out where CI=true: node is missing")
		}
		t.Skip("left out: node is missing")
	}
	given, err := json.Marshal(scripts)
	require.NoError(t, err)
	different := func(given string) string {
		t.Helper()
		cmd := exec.Command(node, "--expose-internals", "-e", parseJS)
		cmd.Stdin = strings.NewReader(given)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		return strings.TrimSpace(string(out))
	}
	assert.Equal(t, "[]", different(string(given)))
	assert.Equal(t, `["b"]`, different("[[\"a\", \" a;\\n\", \"a;\"], [\"b\", \"`\\n a`\", \"`\\na`\"]]"), "it would be seen")
}

// squeeze returns a style without comments and blanks, of one whose strings have neither.
func squeeze(style string) string {
	style = regexp.MustCompile(`(?s)/\*.*?\*/`).ReplaceAllString(style, " ")
	return strings.Join(strings.Fields(style), " ")
}
