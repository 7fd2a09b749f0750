package asset

import (
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLean(t *testing.T) {
	for _, c := range []struct{ name, given, want string }{
		{"a.js", "// why\nexport function f(long) {\n  return long + 1; // more\n}\n", "export function f(e){return e+1}"},
		{"a.css", "/* why */\na {\n  color: #ffffff;\n}\n", "a{color:#fff}"},
		// These stay as they are: no script, somebody else's, and neither script nor style.
		{"a.js", "  if (  // a", "  if (  // a"},
		{"npm/a.js", "  // a", "  // a"},
		{"a.svg", "  <!-- a -->", "  <!-- a -->"},
		{"a.txt", "  // a", "  // a"},
	} {
		assert.Equal(t, c.want, string(lean(c.name, []byte(c.given))), c.name)
	}
}

// parse has node parse modules without running them.
const parse = `for (const file of process.argv.slice(1)) new (require("vm").SourceTextModule)(require("fs").readFileSync(file, "utf8"), { identifier: file })`

// Every script and style of the pages is leaner, and still a script of its own for an engine that
// did not make it so. What they do, the tests in a browser tell.
func TestLeanFiles(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("nothing may be left out where CI=true: node is missing")
		}
		t.Skip("left out: node is missing")
	}
	dir := t.TempDir()
	var scripts []string
	for _, folder := range []string{"../static", "../console/static"} {
		require.NoError(t, fs.WalkDir(os.DirFS(folder), ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.HasPrefix(name, foreign) {
				return err
			}
			before, err := os.ReadFile(folder + "/" + name)
			require.NoError(t, err)
			after := lean(name, before)
			switch path.Ext(name) {
			case ".js", ".css":
				assert.Less(t, len(after), len(before), "nothing is left out of "+name)
			}
			if path.Ext(name) == ".js" {
				file := filepath.Join(dir, strings.ReplaceAll(folder+"/"+name, "/", "_")+".mjs")
				require.NoError(t, os.WriteFile(file, after, 0o600))
				scripts = append(scripts, file)
			}
			return nil
		}))
	}
	require.Greater(t, len(scripts), 40)
	out, err := exec.Command(node, append([]string{"--no-warnings", "--experimental-vm-modules", "-e", parse}, scripts...)...).CombinedOutput()
	assert.NoError(t, err, "%s", out)
	broken := filepath.Join(dir, "broken.mjs")
	require.NoError(t, os.WriteFile(broken, []byte("if ("), 0o600))
	assert.Error(t, exec.Command(node, "--no-warnings", "--experimental-vm-modules", "-e", parse, broken).Run(), "it would be seen")
}
