//go:build unix

package packaging

import (
	"io/fs"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// variableName matches the names of variables.
var variableName = regexp.MustCompile(`\bSLUICE_[A-Z_]*[A-Z]\b`)

// known returns the variables that the program lists, those that say in which file a secret stands
// included.
func known(t *testing.T) (names []string) {
	t.Helper()
	out, err := exec.Command(sluice(t), "help").Output()
	require.NoError(t, err)
	names = variableName.FindAllString(string(out), -1)
	require.Greater(t, len(names), 50)
	return names
}

// Each variable that these files name is one that the program knows.
func TestVariablesAreKnown(t *testing.T) {
	names, seen := known(t), 0
	require.NoError(t, filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".go") {
			return err
		}
		for _, name := range variableName.FindAllString(read(t, path), -1) {
			seen++
			assert.True(t, slices.Contains(names, name), "%s names %s", path, name)
		}
		return nil
	}))
	assert.Greater(t, seen, 15)
}
