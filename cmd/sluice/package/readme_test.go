//go:build unix

package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What the README points at is there, and what it installs.
func TestReadmePointsAtFiles(t *testing.T) {
	text := read(t, "README.md")
	links := regexp.MustCompile(`\]\(([^)#]+)`).FindAllStringSubmatch(text, -1)
	require.NotEmpty(t, links)
	for _, l := range links {
		_, err := os.Stat(l[1])
		assert.NoError(t, err, l[1])
	}
	paths := regexp.MustCompile(`\bcmd/sluice/package/[\w./-]*\{[^}]*\}[\w.]*|\bcmd/sluice/package/[\w./-]+`).FindAllString(text, -1)
	assert.Greater(t, len(paths), 4)
	for _, p := range paths {
		for _, p := range braces(p) {
			_, err := os.Stat(filepath.Join(repository, p))
			assert.NoError(t, err, p)
		}
	}
}

// braces returns what a shell makes of a word with {a,b}.
func braces(word string) (words []string) {
	before, rest, found := strings.Cut(word, "{")
	if !found {
		return []string{word}
	}
	list, after, _ := strings.Cut(rest, "}")
	for one := range strings.SplitSeq(list, ",") {
		words = append(words, before+one+after)
	}
	return words
}

// The commands that make the secrets of the compose file make all of them, for nobody but containers and
// who owns the folder; the README and the file itself have the same commands.
func TestReadmeMakesSecrets(t *testing.T) {
	commands := regexp.MustCompile(`(?s)install -d -m 700 secrets\n.*?chmod 644 secrets/\*\n`).FindString(read(t, "README.md"))
	require.NotEmpty(t, commands)
	head := regexp.MustCompile(`(?m)^#   (.*?)(?:  # .*)?$`).ReplaceAllString(read(t, "compose/compose.yaml"), "$1")
	assert.Contains(t, head, commands)
	cmd := exec.Command("sh", "-ec", commands)
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	info, err := os.Stat(filepath.Join(cmd.Dir, "secrets"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	made, err := os.ReadDir(filepath.Join(cmd.Dir, "secrets"))
	require.NoError(t, err)
	var names, wanted []string
	for _, f := range made {
		names = append(names, f.Name())
		assert.Len(t, strings.TrimSpace(read(t, filepath.Join(cmd.Dir, "secrets", f.Name()))), 48, f.Name())
	}
	for name := range readComposition(t).Secrets {
		wanted = append(wanted, name)
	}
	assert.ElementsMatch(t, wanted, names)
}
