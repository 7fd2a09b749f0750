package metrics

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// board is what is looked at of grafana.json.
type board struct {
	Panels []struct {
		ID      int
		Type    string
		Title   string
		GridPos struct{ H, W, X, Y int }
		Targets []struct{ Expr string }
	}
}

// readBoard returns the board for Grafana.
func readBoard(t *testing.T) (b board, text string) {
	t.Helper()
	raw, err := os.ReadFile("grafana.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &b))
	return b, string(raw)
}

// metricName matches the names of metrics.
var metricName = regexp.MustCompile(`\b(?:sluice|process|go)_[a-z_]+\b`)

// Each metric of the board and the rules is there, and the board has all of our own.
func TestFilesNameMetricsThatAreThere(t *testing.T) {
	m, s := everything(t)
	s.watched = append(s.watched, hub.Watched{Stream: "live/demo", Viewers: 1})
	there := gather(t, m)
	exists := func(name string) bool {
		if there[name] != nil {
			return true
		}
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base, ok := strings.CutSuffix(name, suffix); ok && there[base].GetType().String() == "HISTOGRAM" {
				return true
			}
		}
		return false
	}
	rules, err := os.ReadFile("alerts.yml")
	require.NoError(t, err)
	b, text := readBoard(t)
	var exprs strings.Builder
	for _, p := range b.Panels {
		for _, target := range p.Targets {
			exprs.WriteString(target.Expr + "\n")
		}
	}
	for what, text := range map[string]string{"alerts.yml": string(rules), "grafana.json": exprs.String()} {
		names := metricName.FindAllString(text, -1)
		assert.Greater(t, len(names), 20, what)
		for _, name := range names {
			assert.True(t, exists(name), "%s has a metric that is not there: %s", what, name)
		}
	}
	for name := range there {
		if strings.HasPrefix(name, "sluice_") {
			assert.Contains(t, text, name, "the board does not show it")
		}
	}
}

// The board's panels have their own places.
func TestBoardIsWhole(t *testing.T) {
	b, _ := readBoard(t)
	ids, taken := map[int]bool{}, map[[2]int]string{}
	for _, p := range b.Panels {
		assert.False(t, ids[p.ID], p.Title)
		ids[p.ID] = true
		assert.NotEmpty(t, p.Title)
		assert.Equal(t, p.Type == "row", len(p.Targets) == 0, p.Title)
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				assert.Less(t, at[0], 24, p.Title)
				assert.Empty(t, taken[at], p.Title)
				taken[at] = p.Title
			}
		}
	}
}

// Each rule is among those that the tests of rules expect.
func TestRulesAreTested(t *testing.T) {
	rules, err := os.ReadFile("alerts.yml")
	require.NoError(t, err)
	tests, err := os.ReadFile("alerts_test.yml")
	require.NoError(t, err)
	names := regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(string(rules), -1)
	assert.Greater(t, len(names), 15)
	for _, name := range names {
		assert.Contains(t, string(tests), `alertname="`+name[1]+`"`)
	}
}

// What promtool says of names, help and types, of the rules, and of what they fire for.
func TestPromtool(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("nothing may be left out where CI=true: promtool is missing; apt-get install prometheus")
		}
		t.Skip("left out: promtool is missing (apt-get install prometheus)")
	}
	m, s := everything(t)
	s.watched = append(s.watched, hub.Watched{Stream: "live/demo", Viewers: 1})
	said := scrape(t, m)
	for _, c := range []struct {
		args  []string
		input string
	}{
		{[]string{"check", "metrics"}, said},
		{[]string{"check", "rules", "alerts.yml"}, ""},
		{[]string{"test", "rules", "alerts_test.yml"}, ""},
	} {
		cmd := exec.CommandContext(t.Context(), promtool, c.args...)
		cmd.Stdin = strings.NewReader(c.input)
		out, err := cmd.CombinedOutput()
		assert.NoError(t, err, "%v: %s", c.args, out)
		if c.input != "" {
			assert.Empty(t, string(out), "it has nothing to say")
		}
	}
}
