package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// Tables of the documents that are made from the code, where each stands between two
// lines that name it. `go generate ./cmd/sluice` writes them anew.
//
//go:generate env UPDATE_TABLES=1 go test -count=1 -run Table .
func checkTable(t *testing.T, path, name, source, table string) {
	t.Helper()
	begin := fmt.Sprintf("<!-- %s: begin, from %s -->\n", name, source)
	end := fmt.Sprintf("<!-- %s: end -->", name)
	document, err := os.ReadFile(path)
	require.NoError(t, err)
	before, rest, found := strings.Cut(string(document), begin)
	require.True(t, found, "%s lacks the line %q", path, begin)
	present, after, found := strings.Cut(rest, end)
	require.True(t, found, "%s lacks the line %q", path, end)
	if os.Getenv("UPDATE_TABLES") != "" {
		require.NoError(t, os.WriteFile(path, []byte(before+begin+table+end+after), 0o644))
		return
	}
	assert.Equal(t, table, present, "go generate ./cmd/sluice writes the table anew")
}

func TestVariablesTable(t *testing.T) {
	checkTable(t, "../../README.md", "variables", "cmd/sluice/config.go", markdownTable())
}

func TestRefusalsTable(t *testing.T) {
	const (
		publisher = 1 << iota
		viewer
	)
	var b strings.Builder
	b.WriteString("| reason | RTMP publisher | RTMP player | HTTP | WebSocket |\n|---|---|---|---|---|\n")
	for _, row := range []struct {
		reason hub.Reason
		whom   int // who can be refused so
	}{
		{hub.ReasonBadRequest, publisher | viewer},
		{hub.ReasonDenied, publisher | viewer},
		{hub.ReasonNotFound, viewer},
		{hub.ReasonBusy, publisher},
		{hub.ReasonTooMany, publisher | viewer},
		{hub.ReasonLoop, publisher | viewer},
		{hub.ReasonShuttingDown, publisher | viewer},
	} {
		r := row.reason
		publish, play, status, code := "", "", "", ""
		if row.whom&publisher != 0 {
			publish = "`" + r.PublishStatus() + "`"
		}
		if row.whom&viewer != 0 {
			play, status, code = "`"+r.PlayStatus()+"`", fmt.Sprint(r.HTTPStatus()), fmt.Sprint(r.CloseCode())
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", r, publish, play, status, code)
	}
	checkTable(t, "../../README.md", "refusals", "hub/reason.go", b.String())
}
