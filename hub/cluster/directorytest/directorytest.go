// Package directorytest has what every cluster.Directory must do, as tests. It needs no faults; what becomes of
// a directory under these is shown where they can be made.
package directorytest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/hub/cluster"
)

// Times. They are long since an engine with real connections on a busy machine is meant; nothing waits for
// them where all is well.
const (
	patience = 20 * time.Second // for what must come
	quiet    = 50 * time.Millisecond
)

// Run runs the tests: with three nodes, and with one. open returns the directories of the nodes of a cluster that
// is ready for use; Run closes them. All subtests of a cluster share it, with keys and subjects of their own, so
// that it may have other records and take long to open.
func Run(t *testing.T, open func(t *testing.T, nodes int) []cluster.Directory) {
	for _, nodes := range []int{3, 1} {
		t.Run(fmt.Sprintf("nodes=%d", nodes), func(t *testing.T) {
			s := &suite{nodes: open(t, nodes), name: "t" + strings.ToLower(rand.Text()[:12])}
			if len(s.nodes) != nodes {
				t.Fatalf("%d directories instead of %d", len(s.nodes), nodes)
			}
			defer s.close(t) // also where a test before it was left out, or has ended everything
			for _, test := range []struct {
				name string
				f    func(*suite, *testing.T)
			}{
				{"Create", (*suite).create},
				{"CreateAgainAfterDelete", (*suite).createAgain},
				{"Update", (*suite).update},
				{"UpdateOfWhatIsGone", (*suite).updateGone},
				{"Delete", (*suite).delete},
				{"RevisionZeroIsNone", (*suite).revisionZero},
				{"RevisionsGrow", (*suite).revisionsGrow},
				{"GetReturnsTheLastChange", (*suite).lastChange},
				{"ValuesAreCopies", (*suite).copies},
				{"Values", (*suite).values},
				{"List", (*suite).list},
				{"ListIsNeverOld", (*suite).listIsNeverOld},
				{"BadKeysAndSubjects", (*suite).badNames},
				{"RacingCreates", (*suite).racingCreates},
				{"RacingUpdates", (*suite).racingUpdates},
				{"RacingDeletes", (*suite).racingDeletes},
				{"Race", (*suite).race},
				{"ContextOfRecords", (*suite).recordContexts},
				{"Messages", (*suite).messages},
				{"MessagesOneAfterTheOther", (*suite).oneAfterTheOther},
				{"LargeMessages", (*suite).largeMessages},
				{"SubjectsAreApart", (*suite).subjects},
				{"SlowListenerHoldsUpNothing", (*suite).slowListener},
				{"StopListening", (*suite).stopListening},
				{"Ask", (*suite).ask},
				{"AskNobody", (*suite).askNobody},
				{"AsksSideBySide", (*suite).askSideBySide},
				{"ContextOfAsk", (*suite).askContext},
				{"LargeAnswers", (*suite).largeAnswers},
				{"Health", (*suite).health},
				{"Close", (*suite).close},
			} {
				t.Run(test.name, func(t *testing.T) { test.f(s, t) })
			}
		})
	}
}

// suite is a cluster under test.
type suite struct {
	nodes  []cluster.Directory
	name   string // new with each cluster
	closed bool
}

// key returns a key, or a subject, that is this subtest's.
func (s *suite) key(t *testing.T, name string) string {
	_, test, _ := strings.Cut(t.Name(), "/nodes=")
	return s.name + "." + strings.NewReplacer("/", "-", "#", "-").Replace(test) + "." + name
}

// within returns a context that ends long after what is well.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// node returns the directory of node i, counted around.
func (s *suite) node(i int) cluster.Directory { return s.nodes[i%len(s.nodes)] }

// must fails the test unless err is nil.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
}

// mustBe fails the test unless err is want.
func mustBe(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("the error is %v instead of %v", err, want)
	}
}

// wantValue fails the test unless node i has that record.
func (s *suite) wantValue(t *testing.T, i int, key, value string) cluster.Entry {
	t.Helper()
	entry, err := s.node(i).Get(within(t), key)
	must(t, err)
	if entry.Key != key || string(entry.Value) != value {
		t.Fatalf("node %d has %q = %q instead of %q = %q", i, entry.Key, entry.Value, key, value)
	}
	return entry
}

// eventually waits until f returns true.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("did not happen: %s", what)
		}
	}
}

// soon calls f, which must return long before patience is over.
func soon(t *testing.T, what string, f func() error) error {
	t.Helper()
	returned := make(chan error, 1)
	go func() { returned <- f() }()
	select {
	case err := <-returned:
		return err
	case <-time.After(patience):
		t.Fatalf("%s does not return", what)
		return nil
	}
}

func (s *suite) health(t *testing.T) {
	for i, node := range s.nodes {
		_, err := node.Create(within(t), s.key(t, fmt.Sprint(i)), nil)
		must(t, err)
		if h := node.Health(); !h.Connected || !h.Writable || h.Roundtrip < 0 || h.Reachable > h.Voters {
			t.Errorf("node %d: %+v", i, h)
		}
	}
}

// close closes all nodes, one after the other: those that are left have messages for as long as there are some.
// That nothing is left running is for the package's TestMain to see.
func (s *suite) close(t *testing.T) {
	if s.closed {
		return
	}
	s.closed = true
	for i, node := range s.nodes {
		_, err := node.Listen(s.name+".close", func([]byte) {})
		must(t, err)
		_, err = node.Answer(fmt.Sprintf("%s.close%d", s.name, i), func([]byte) []byte { return nil })
		must(t, err)
	}
	for i, node := range s.nodes {
		ctx, cancel := context.WithTimeout(context.Background(), patience/2)
		err := soon(t, "Close", func() error { return node.Close(ctx) })
		cancel()
		if err != nil {
			t.Logf("node %d: Close: %v", i, err) // the last ones may find nobody to leave properly
		}
		if err := soon(t, "Get", func() error { _, err := node.Get(within(t), s.key(t, "x")); return err }); err == nil || errors.Is(err, cluster.ErrNone) {
			t.Errorf("node %d: a Get of a closed directory: %v", i, err)
		}
		if err := soon(t, "Ask", func() error { _, err := node.Ask(within(t), s.name+".close", nil); return err }); err == nil {
			t.Errorf("node %d: a closed directory asks", i)
		}
		if _, err := node.Listen(s.name+".closed", func([]byte) {}); err == nil {
			t.Errorf("node %d: a closed directory listens", i)
		}
		if _, err := node.Answer(s.name+".closed", func([]byte) []byte { return nil }); err == nil {
			t.Errorf("node %d: a closed directory answers", i)
		}
		_ = node.Send(s.name+".close", nil) // it is lost, and that is all
		if h := node.Health(); h.Connected || h.Writable {
			t.Errorf("node %d is closed: %+v", i, h)
		}
	}
}

// inbox keeps what a listener has been given.
type inbox struct {
	mu  sync.Mutex
	got []string
}

func (b *inbox) take(data []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.got = append(b.got, string(data))
}

// from returns the messages that begin with prefix, in the order in which they came.
func (b *inbox) from(prefix string) (found []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, text := range b.got {
		if rest, ok := strings.CutPrefix(text, prefix); ok {
			found = append(found, rest)
		}
	}
	return found
}
