package relay

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A state file that makes no sense is an error that says what is wrong where, and nothing of what
// stands there, nor is it overwritten.
func TestDamagedState(t *testing.T) {
	t.Parallel()
	entry := func(id, kind, what, url string) string {
		text, err := json.Marshal(keptRule{id, kind, what, []string{url}})
		require.NoError(t, err)
		return string(text)
	}
	var many []string
	for i := range MaxRules + 1 {
		many = append(many, entry(fmt.Sprint("push-", i+1), "push", fmt.Sprint("live/", i), "rtmp://h/a/secret"))
	}
	one := entry("pull-1", "pull", "live/a", "rtmp://h/a/secret")
	for name, c := range map[string]struct{ text, want string }{
		"empty":            {"", "is damaged"},
		"garbage":          {"secret\x00\xff", "is damaged"},
		"cut off":          {"[" + one, "is damaged"},
		"no list":          {one, "is damaged"},
		"no id":            {"[" + entry("", "pull", "live/a", "rtmp://h/a/secret") + "]", "entry 1"},
		"the id of a push": {"[" + entry("push-1", "pull", "live/a", "rtmp://h/a/secret") + "]", "entry 1"},
		"a number too big": {"[" + entry("pull-9223372036854775807", "pull", "live/a", "rtmp://h/a/secret") + "]", "entry 1"},
		"an id twice":      {"[" + one + "," + entry("pull-1", "pull", "live/b", "rtmp://h/a/secret") + "]", "entry 2 is there twice"},
		"a stream twice":   {"[" + one + "," + entry("pull-2", "pull", "live/a", "rtmp://h/b/secret") + "]", "entry 2 is there twice"},
		"a target twice":   {"[" + entry("push-1", "push", "**", "rtmp://h/a/secret") + "," + entry("push-2", "push", "**", "rtmp://h/a/secret") + "]", "entry 2"},
		"too many":         {"[" + strings.Join(many, ",") + "]", "more than 1000"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "relays.json")
			require.NoError(t, os.WriteFile(file, []byte(c.text), 0o600))
			err := CheckState(file)
			require.ErrorContains(t, err, c.want)
			assert.ErrorContains(t, err, file)
			assert.NotContains(t, err.Error(), "secret")
			left, err := os.ReadFile(file)
			require.NoError(t, err)
			assert.Equal(t, c.text, string(left))
		})
	}
	assert.ErrorContains(t, CheckState(t.TempDir()), "is a directory")
}

// Operators who add and remove all they can end up with what was agreed on, in memory and on disk; a disk
// that takes nothing is told, and the rules count.
func TestRulesFlood(t *testing.T) {
	t.Parallel()
	o := newOrigin(t, "upstream")
	o.says(Failed(CauseNotFound, "no such stream"))
	file := filepath.Join(t.TempDir(), "state", "relays.json")
	require.NoError(t, os.Mkdir(filepath.Dir(file), 0o700))
	e := newEdge(t, Config{Open: o.open, StateFile: file}, "push: live/* rtmp://two/live/{name}")
	make1 := func(i int) (RuleInfo, error) {
		rule, err := NewRule(Origin, fmt.Sprintf("app%d/*", i), []string{"rtmp://one/{app}/{name}"})
		require.NoError(t, err)
		return e.relay.Add(rule)
	}
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := range 25 {
				info, err := make1(100*worker + i)
				assert.NoError(t, err)
				if i%2 == 1 {
					assert.NoError(t, e.relay.Remove(info.ID))
					assert.ErrorIs(t, e.relay.Remove(info.ID), ErrNoRule)
				}
				e.relay.Load(nil)
			}
		})
	}
	all.Wait()
	assert.Len(t, e.relay.Relays(), 52)
	kept, err := readState(file)
	require.NoError(t, err)
	assert.Len(t, kept, 52)

	require.NoError(t, os.RemoveAll(filepath.Dir(file)))
	_, err = make1(1000)
	assert.ErrorIs(t, err, ErrUnsaved)
	for i := 1001; err != ErrFull; i++ {
		_, err = make1(i)
	}
	assert.Len(t, e.relay.Relays(), MaxRules)
	assert.ErrorIs(t, e.relay.Remove(e.relay.Relays()[0].ID), ErrUnsaved)
	assert.Len(t, e.relay.Relays(), MaxRules-1)
}
