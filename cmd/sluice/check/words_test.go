package check

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/rtmp"
)

// The document has each word of a fault, and no other.
func TestWordsAreDocumented(t *testing.T) {
	document, err := os.ReadFile("README.md")
	require.NoError(t, err)
	_, table, found := strings.Cut(string(document), "The words of faults:\n")
	require.True(t, found)
	table, _, _ = strings.Cut(table, "\n## ")
	documented := make(map[string]bool)
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 {
			continue
		}
		for _, word := range regexp.MustCompile("`([a-z-]+)`").FindAllStringSubmatch(cells[1], -1) {
			documented[word[1]] = true
		}
	}
	used := map[string]bool{"not-rtmp": true, "not-http": true, "not-tls": true} // put together from w.family()
	for _, word := range findingWords {
		used[word] = true
	}
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, word := range regexp.MustCompile(`(?:faultf\(|fault\{|word := "publish", )"([a-z-]+[a-z])"`).FindAllStringSubmatch(string(text), -1) {
			used[word[1]] = true
		}
	}
	used["denied-publish"], used["denied-watch"] = true, true // chosen by the role
	assert.Equal(t, used, documented)
}

// What a server says is no order for a terminal, in whatever it says it, and repeats no secret.
func TestServersCannotDriveATerminal(t *testing.T) {
	tester := &tester{options: options{publishKey: "secret key"}}
	for _, code := range []string{rtmp.CodeConnectRejected, rtmp.CodePublishBadName, "x"} {
		said := tester.statusFault(&way{}, &rtmp.StatusError{
			Code: code, Description: "\x1b]0;owned\a sign=0af, secret%20key, sign=1be",
		}, true).Sentence
		assert.NotRegexp(t, `[[:cntrl:]]|0af|1be|secret.*key`, said)
		assert.Contains(t, said, code)
	}
	said := tester.statusFault(&way{}, &rtmp.StatusError{Code: "\x1b[31mred secret key"}, true).Sentence
	assert.Contains(t, said, "([31mred …)")
}
