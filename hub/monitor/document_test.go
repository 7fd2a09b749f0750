package monitor

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The table of words stands in the document as it is in the code.
//
//go:generate env UPDATE_TABLES=1 go test -count=1 -run Table .
func TestWordsTable(t *testing.T) {
	const begin, end = "<!-- words: begin, from rules.go -->\n", "<!-- words: end -->"
	var b strings.Builder
	b.WriteString("| word | wrong when | for | good for | young | hint |\n|---|---|---|---|---|---|\n")
	for i := range rules {
		r := &rules[i]
		fmt.Fprintf(&b, "| `%s` | %s | %v | %v | %v | %s |\n", r.word, r.when, r.begins, r.ends, r.from, r.hint)
	}
	document, err := os.ReadFile("README.md")
	require.NoError(t, err)
	before, rest, found := strings.Cut(string(document), begin)
	require.True(t, found)
	present, after, found := strings.Cut(rest, end)
	require.True(t, found)
	if os.Getenv("UPDATE_TABLES") != "" {
		require.NoError(t, os.WriteFile("README.md", []byte(before+begin+b.String()+end+after), 0o644))
		return
	}
	assert.Equal(t, b.String(), present, "go generate ./hub/monitor writes the table anew")
}

// Each word is one, has a hint, and stands in the document of the operators' API.
func TestRulesAreWhole(t *testing.T) {
	api, err := os.ReadFile("../../web/admin/openapi.json")
	require.NoError(t, err)
	seen := map[string]bool{}
	for _, word := range Words() {
		assert.False(t, seen[word], word)
		seen[word] = true
		assert.Contains(t, string(api), word)
	}
	for i := range rules {
		r := &rules[i]
		for _, text := range []string{r.word, r.when, r.hint, r.sentence(finding{value: 1, what: "x."})} {
			assert.NotEmpty(t, text, r.word)
		}
		assert.True(t, strings.HasSuffix(r.hint, "."), r.word)
		assert.True(t, strings.HasSuffix(r.sentence(finding{value: 1, what: "x."}), "."), r.word)
	}
}
