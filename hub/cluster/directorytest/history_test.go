package directorytest

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub/cluster"
	"sluice/hub/cluster/memory"
)

// Histories that no directory can have, each for one thing, and what is right beside them.
func TestHistoryProblems(t *testing.T) {
	create := func(begin, end int64, value string, revision uint64) *op {
		return &op{kind: "create", value: value, revision: revision, begin: begin, end: end}
	}
	update := func(begin, end int64, value string, given, revision uint64) *op {
		return &op{kind: "update", value: value, given: given, revision: revision, begin: begin, end: end}
	}
	get := func(begin, end int64, value string, revision uint64) *op {
		return &op{kind: "get", value: value, revision: revision, begin: begin, end: end}
	}
	remove := func(begin, end int64, given uint64) *op {
		return &op{kind: "delete", given: given, begin: begin, end: end}
	}
	as := func(o *op, outcome outcome) *op {
		o.outcome = outcome
		return o
	}
	for name, test := range map[string]struct {
		ops  []*op
		want string // what a problem says; none if empty
	}{
		"a change, seen afterwards": {[]*op{create(1, 2, "a", 1), get(3, 4, "a", 1), update(5, 6, "b", 1, 2), get(7, 8, "b", 2)}, ""},
		"two at once, either seen":  {[]*op{create(1, 2, "a", 1), update(3, 8, "b", 1, 2), get(4, 5, "a", 1), get(6, 7, "b", 2)}, ""},
		"old":                       {[]*op{create(1, 2, "a", 1), update(3, 4, "b", 1, 2), get(5, 6, "a", 1)}, "old"},
		"new, and old again":        {[]*op{create(1, 2, "a", 1), update(3, 9, "b", 1, 2), get(4, 5, "b", 2), get(6, 7, "a", 1)}, "old"},
		"two follow on one":         {[]*op{create(1, 2, "a", 1), update(3, 5, "b", 1, 2), update(4, 6, "c", 1, 3)}, "two changes"},
		"an update of what is gone": {[]*op{create(1, 2, "a", 1), remove(3, 4, 1), update(5, 6, "c", 1, 3)}, "two changes"},
		"deleted, and there":        {[]*op{create(1, 2, "a", 1), remove(3, 4, 1), get(5, 6, "a", 1)}, "old"},
		"gone by itself":            {[]*op{create(1, 2, "a", 1), as(get(3, 4, "", 0), none)}, "gone without"},
		"gone since somebody may have deleted it": {
			[]*op{create(1, 2, "a", 1), as(remove(3, 4, 1), mute), get(5, 6, "a", 1), as(get(7, 8, "", 0), none)}, ""},
		"gone after another was made": {
			[]*op{create(1, 2, "a", 1), remove(3, 4, 1), create(5, 6, "b", 3), as(get(7, 8, "", 0), none)}, "gone without"},
		"refused, and made":       {[]*op{create(1, 2, "a", 1), as(update(3, 4, "b", 1, 0), conflict), get(5, 6, "b", 2)}, "refused and made"},
		"refused for nothing":     {[]*op{create(1, 2, "a", 1), as(update(3, 4, "b", 1, 0), conflict)}, "refused without"},
		"refused for what may be": {[]*op{create(1, 2, "a", 1), as(update(3, 4, "b", 1, 0), mute), as(update(5, 6, "c", 1, 0), conflict)}, ""},
		"made twice": {
			[]*op{as(create(1, 2, "a", 0), mute), get(3, 4, "a", 1), remove(5, 6, 1), get(7, 8, "a", 3)}, "twice"},
		"two values":      {[]*op{create(1, 2, "a", 1), as(create(3, 4, "b", 0), mute), get(5, 6, "b", 1)}, "two values"},
		"from nowhere":    {[]*op{get(1, 2, "x", 1)}, "nobody has written"},
		"seen beforehand": {[]*op{get(1, 2, "a", 1), create(3, 4, "a", 1)}, "seen before"},
		"goes down":       {[]*op{create(1, 2, "a", 5), update(3, 4, "b", 5, 4)}, "does not grow"},
	} {
		t.Run(name, func(t *testing.T) {
			problems := (&history{ops: test.ops}).problems()
			if test.want == "" {
				assert.Empty(t, problems)
				return
			}
			require.NotEmpty(t, problems)
			assert.Contains(t, problems[0], test.want)
		})
	}
}

// broken is a directory that breaks the contract now and then.
type broken struct {
	cluster.Directory
	get    func(entry cluster.Entry) cluster.Entry
	update func(key string, revision uint64) uint64
}

func (b *broken) Get(ctx context.Context, key string) (cluster.Entry, error) {
	entry, err := b.Directory.Get(ctx, key)
	if err == nil && b.get != nil {
		entry = b.get(entry)
	}
	return entry, err
}

func (b *broken) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if b.update != nil {
		revision = b.update(key, revision)
	}
	return b.Directory.Update(ctx, key, value, revision)
}

// Directories that are wrong only now and then are found out.
func TestRaceFindsOut(t *testing.T) {
	for name, spoil := range map[string]func(e *memory.Engine, b *broken){
		"reads what is old": func(_ *memory.Engine, b *broken) {
			var mu sync.Mutex
			kept := map[string]cluster.Entry{}
			b.get = func(entry cluster.Entry) cluster.Entry {
				mu.Lock()
				defer mu.Unlock()
				if old, ok := kept[entry.Key]; ok && rand.IntN(4) == 0 {
					return old
				}
				kept[entry.Key] = entry
				return entry
			}
		},
		"changes whatever there is": func(e *memory.Engine, b *broken) {
			b.update = func(key string, revision uint64) uint64 {
				if now := e.Records()[key].Revision; now > 0 && rand.IntN(4) == 0 {
					return now
				}
				return revision
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // whose time passes only where all callers pause
				e := memory.New(memory.Config{})
				e.Delay(memory.Delays{Records: memory.Delay{Max: time.Millisecond}})
				var nodes []cluster.Directory
				for _, name := range []string{"a", "b", "c"} {
					b := &broken{Directory: e.Join(name)}
					spoil(e, b)
					nodes = append(nodes, b)
				}
				h := run(nodes, Load{
					Prefix: "race", Keys: 2, Callers: 2, Calls: 300, Timeout: patience, Pause: 2 * time.Millisecond,
				})
				assert.NotEmpty(t, h.problems())
			})
		})
	}
}
