package directorytest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"sluice/hub/cluster"
)

// All nodes want the same 1,000 keys at the same time, and each key goes to exactly one.
func (s *suite) racingCreates(t *testing.T) {
	const keys, atOnce = 1000, 25
	// Of each key: who says that it was first, and who does not know.
	var mu sync.Mutex
	won, unknown := map[string][]string{}, map[string][]string{}
	for first := 0; first < keys; first += atOnce {
		begin := make(chan struct{})
		var running sync.WaitGroup
		for j := first; j < first+atOnce; j++ {
			key := s.key(t, fmt.Sprint(j))
			for i := range s.nodes {
				running.Go(func() {
					me := fmt.Sprint("node", i)
					<-begin
					_, err := s.node(i).Create(within(t), key, []byte(me))
					mu.Lock()
					defer mu.Unlock()
					switch {
					case err == nil:
						won[key] = append(won[key], me)
					case errors.Is(err, cluster.ErrMute):
						unknown[key] = append(unknown[key], me)
					case !errors.Is(err, cluster.ErrConflict):
						t.Errorf("Create: %v", err)
					}
				})
			}
		}
		close(begin)
		running.Wait()
	}
	all, err := s.node(1).List(within(t))
	must(t, err)
	owners := map[string]string{}
	for _, entry := range all {
		owners[entry.Key] = string(entry.Value)
	}
	for j := range keys {
		key := s.key(t, fmt.Sprint(j))
		owner := owners[key]
		switch len(won[key]) {
		case 0:
			if !slices.Contains(unknown[key], owner) {
				t.Errorf("key %d is %q's; nobody was first, not known of %v", j, owner, unknown[key])
			}
		case 1:
			if won[key][0] != owner {
				t.Errorf("key %d is %q's; %s was first", j, owner, won[key][0])
			}
		default:
			t.Errorf("key %d is %q's; first were %v", j, owner, won[key])
		}
	}
}

// Counting up by reading, and changing what was read, loses nothing.
func (s *suite) racingUpdates(t *testing.T) {
	key := s.key(t, "a")
	_, err := s.node(0).Create(within(t), key, []byte("0"))
	must(t, err)
	const each = 40
	var running sync.WaitGroup
	var mu sync.Mutex
	unknown := 0
	for i := range s.nodes {
		for range 2 {
			running.Go(func() {
				for done := 0; done < each && !t.Failed(); {
					entry, err := s.node(i).Get(within(t), key)
					if errors.Is(err, cluster.ErrMute) {
						continue
					}
					count, convErr := strconv.Atoi(string(entry.Value))
					if err != nil || convErr != nil {
						t.Errorf("Get: %q, %v", entry.Value, err)
						return
					}
					_, err = s.node(i).Update(within(t), key, []byte(strconv.Itoa(count+1)), entry.Revision)
					switch {
					case err == nil:
						done++
					case errors.Is(err, cluster.ErrMute):
						mu.Lock()
						unknown++
						mu.Unlock()
					case !errors.Is(err, cluster.ErrConflict):
						t.Errorf("Update: %v", err)
						return
					}
				}
			})
		}
	}
	running.Wait()
	entry, err := s.node(1).Get(within(t), key)
	must(t, err)
	count, _ := strconv.Atoi(string(entry.Value))
	if want := len(s.nodes) * 2 * each; count < want || count > want+unknown {
		t.Errorf("counted to %d instead of %d, and %d not known", count, want, unknown)
	}
}

// A record is taken away once, and what was made after it is not taken away with it.
func (s *suite) racingDeletes(t *testing.T) {
	for j := range 20 {
		key := s.key(t, fmt.Sprint(j))
		revision, err := s.node(j).Create(within(t), key, []byte("old"))
		must(t, err)
		var running sync.WaitGroup
		var mu sync.Mutex
		deleted, made := 0, 0
		for i := range s.nodes {
			for range 2 {
				running.Go(func() {
					if s.node(i).Delete(within(t), key, revision) != nil {
						return
					}
					_, err := s.node(i).Create(within(t), key, []byte("new"))
					mu.Lock()
					defer mu.Unlock()
					deleted++
					if err == nil {
						made++
					}
				})
			}
		}
		running.Wait()
		if deleted > 1 {
			t.Fatalf("deleted %d times", deleted)
		}
		if made == 1 {
			s.wantValue(t, j, key, "new")
		}
	}
}

func (s *suite) race(t *testing.T) {
	Race(t, s.nodes, Load{Seed: 1, Prefix: s.key(t, "a"), Keys: 4, Callers: 3, Calls: 50, Timeout: patience})
}

// Calls with a context that has ended, or ends, return soon, with ErrMute or what they are for.
func (s *suite) recordContexts(t *testing.T) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	short, cancel := context.WithTimeout(context.Background(), time.Microsecond)
	defer cancel()
	key := s.key(t, "a")
	revision, err := s.node(0).Create(within(t), key, []byte("1"))
	must(t, err)
	for name, ctx := range map[string]context.Context{"ended": ended, "short": short} {
		for i := range s.nodes {
			node := s.node(i)
			for call, f := range map[string]func() error{
				"Get":    func() error { _, err := node.Get(ctx, key); return err },
				"Create": func() error { _, err := node.Create(ctx, s.key(t, name), nil); return err },
				"Update": func() error { _, err := node.Update(ctx, s.key(t, "never"), nil, revision); return err },
				"Delete": func() error { return node.Delete(ctx, s.key(t, "never"), revision) },
				"List":   func() error { _, err := node.List(ctx); return err },
			} {
				err := soon(t, call, f)
				if err != nil && !errors.Is(err, cluster.ErrMute) && !errors.Is(err, cluster.ErrConflict) {
					t.Errorf("%s with a context that is %s: %v", call, name, err)
				}
			}
		}
	}
	s.wantValue(t, 1, key, "1")
}
