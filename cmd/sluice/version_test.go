package main

import (
	"bytes"
	"io"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/assert"
)

// A release build names itself in one line.
func TestVersionCanBeSet(t *testing.T) {
	defer func(v, c, d string) { version, commit, date = v, c, d }(version, commit, date)
	version, commit, date = "v1.2.3", "0123456789abcdef0123456789abcdef01234567", "2026-11-29T19:30:00Z"
	for _, word := range []string{"version", "-version", "--version", "-v"} {
		var out bytes.Buffer
		assert.Equal(t, exitOK, run(t.Context(), []string{word}, nil, &out, io.Discard), word)
		assert.Equal(t, "sluice v1.2.3, commit 0123456789ab, 2026-11-29T19:30:00Z, "+
			runtime.Version()+" "+runtime.GOOS+"/"+runtime.GOARCH+"\n", out.String(), word)
	}
	assert.Equal(t, "v1.2.3", versionText(), "what the page and metrics say")
}

// What is not set comes from what the Go tool has noted.
func TestOrigin(t *testing.T) {
	defer func(v, c, d string) { version, commit, date = v, c, d }(version, commit, date)
	const hash, when = "0123456789abcdef0123456789abcdef01234567", "2026-11-29T19:30:00Z"
	checkout := func(modified string) []debug.BuildSetting {
		return []debug.BuildSetting{{Key: "vcs.revision", Value: hash}, {Key: "vcs.time", Value: when}, {Key: "vcs.modified", Value: modified}}
	}
	for _, c := range []struct {
		what                  string
		version, commit, date string
		module                string
		settings              []debug.BuildSetting
		name, line            string // line without what Go and the system are called
	}{
		{"nothing is known", "", "", "", "", nil, "devel", "devel, commit unknown, date unknown"},
		{"not even by the Go tool", "", "", "", "(devel)", nil, "devel", "devel, commit unknown, date unknown"},
		{"a checkout", "", "", "", "(devel)", checkout("false"), "devel-0123456789ab", "devel-0123456789ab, commit 0123456789ab, " + when},
		{"a changed one", "", "", "", "(devel)", checkout("true"), "devel-0123456789ab-dirty", "devel-0123456789ab-dirty, commit 0123456789ab, " + when},
		{"a module", "", "", "", "v1.4.0", checkout("false"), "v1.4.0", "v1.4.0, commit 0123456789ab, " + when},
		{"a release", "v2.0.0", "", "", "v1.4.0", checkout("true"), "v2.0.0", "v2.0.0, commit 0123456789ab, " + when},
		{"a build without a checkout", "", "fedcba9876543210", "2026-01-02T03:04:05Z", "(devel)", nil,
			"devel-fedcba987654", "devel-fedcba987654, commit fedcba987654, 2026-01-02T03:04:05Z"},
		{"a build within another's checkout", "v2.0.0", "fedcba9876543210", "", "", checkout("true"), "v2.0.0", "v2.0.0, commit fedcba987654, date unknown"},
		{"its own date", "v2.0.0", "", "2026-01-02T03:04:05Z", "", checkout("false"), "v2.0.0", "v2.0.0, commit 0123456789ab, 2026-01-02T03:04:05Z"},
		{"a short commit", "v2.0.0", "abc", "", "", nil, "v2.0.0", "v2.0.0, commit abc, date unknown"},
	} {
		version, commit, date = c.version, c.commit, c.date
		o := originOf(&debug.BuildInfo{Main: debug.Module{Version: c.module}, Settings: c.settings})
		assert.Equal(t, c.name, o.name(), c.what)
		assert.Equal(t, c.line+", "+runtime.Version()+" "+runtime.GOOS+"/"+runtime.GOARCH, o.String(), c.what)
	}
}
