package directorytest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"sluice/hub/cluster"
)

func (s *suite) create(t *testing.T) {
	key := s.key(t, "a")
	for i := range s.nodes {
		_, err := s.node(i).Get(within(t), key)
		mustBe(t, err, cluster.ErrNone)
	}
	revision, err := s.node(0).Create(within(t), key, []byte("first"))
	must(t, err)
	for i := range s.nodes {
		_, err := s.node(i).Create(within(t), key, []byte("second"))
		mustBe(t, err, cluster.ErrConflict)
		if entry := s.wantValue(t, i, key, "first"); entry.Revision != revision {
			t.Errorf("node %d has revision %d, Create returned %d", i, entry.Revision, revision)
		}
	}
}

func (s *suite) createAgain(t *testing.T) {
	key := s.key(t, "a")
	var last uint64
	for i := range 6 {
		value := fmt.Sprint(i)
		revision, err := s.node(i).Create(within(t), key, []byte(value))
		must(t, err)
		if revision <= last {
			t.Fatalf("the revision is %d after %d", revision, last)
		}
		last = revision
		s.wantValue(t, i+1, key, value)
		must(t, s.node(i+1).Delete(within(t), key, revision))
		_, err = s.node(i+2).Get(within(t), key)
		mustBe(t, err, cluster.ErrNone)
	}
}

func (s *suite) update(t *testing.T) {
	key := s.key(t, "a")
	first, err := s.node(0).Create(within(t), key, []byte("1"))
	must(t, err)
	second, err := s.node(1).Update(within(t), key, []byte("2"), first)
	must(t, err)
	for i := range s.nodes {
		for _, revision := range []uint64{first, second + 1, second + 1000} {
			_, err = s.node(i).Update(within(t), key, []byte("3"), revision)
			mustBe(t, err, cluster.ErrConflict)
		}
		s.wantValue(t, i, key, "2")
	}
	third, err := s.node(2).Update(within(t), key, []byte("3"), second)
	must(t, err)
	if entry := s.wantValue(t, 0, key, "3"); entry.Revision != third {
		t.Errorf("revision %d, Update returned %d", entry.Revision, third)
	}
}

func (s *suite) updateGone(t *testing.T) {
	key := s.key(t, "a")
	revision, err := s.node(0).Create(within(t), key, []byte("1"))
	must(t, err)
	must(t, s.node(1).Delete(within(t), key, revision))
	for i := range s.nodes {
		_, err = s.node(i).Update(within(t), key, []byte("2"), revision)
		mustBe(t, err, cluster.ErrConflict)
		_, err = s.node(i).Update(within(t), s.key(t, "never"), []byte("2"), revision)
		mustBe(t, err, cluster.ErrConflict)
		_, err = s.node(i).Get(within(t), key)
		mustBe(t, err, cluster.ErrNone)
	}
	again, err := s.node(0).Create(within(t), key, []byte("3"))
	must(t, err)
	_, err = s.node(1).Update(within(t), key, []byte("4"), revision)
	mustBe(t, err, cluster.ErrConflict) // it has the same key, and is another record
	_, err = s.node(1).Update(within(t), key, []byte("5"), again)
	must(t, err)
}

func (s *suite) delete(t *testing.T) {
	key := s.key(t, "a")
	first, err := s.node(0).Create(within(t), key, []byte("1"))
	must(t, err)
	second, err := s.node(1).Update(within(t), key, []byte("2"), first)
	must(t, err)
	for i := range s.nodes {
		mustBe(t, s.node(i).Delete(within(t), key, first), cluster.ErrConflict)
		mustBe(t, s.node(i).Delete(within(t), key, second+1), cluster.ErrConflict)
		s.wantValue(t, i, key, "2")
	}
	must(t, s.node(2).Delete(within(t), key, second))
	for i := range s.nodes {
		_, err = s.node(i).Get(within(t), key)
		mustBe(t, err, cluster.ErrNone)
		mustBe(t, s.node(i).Delete(within(t), key, second), cluster.ErrConflict)
		mustBe(t, s.node(i).Delete(within(t), s.key(t, "never"), second), cluster.ErrConflict)
	}
}

// Engines take 0 for "there is none", or for "whatever there is".
func (s *suite) revisionZero(t *testing.T) {
	key, never := s.key(t, "a"), s.key(t, "never")
	_, err := s.node(0).Create(within(t), key, []byte("1"))
	must(t, err)
	for i := range s.nodes {
		_, err = s.node(i).Update(within(t), key, []byte("2"), 0)
		mustBe(t, err, cluster.ErrConflict)
		_, err = s.node(i).Update(within(t), never, []byte("2"), 0)
		mustBe(t, err, cluster.ErrConflict)
		mustBe(t, s.node(i).Delete(within(t), key, 0), cluster.ErrConflict)
		mustBe(t, s.node(i).Delete(within(t), never, 0), cluster.ErrConflict)
		s.wantValue(t, i, key, "1")
		_, err = s.node(i).Get(within(t), never)
		mustBe(t, err, cluster.ErrNone)
	}
}

func (s *suite) revisionsGrow(t *testing.T) {
	key := s.key(t, "a")
	revision, err := s.node(0).Create(within(t), key, nil)
	must(t, err)
	if revision == 0 {
		t.Error("a record has revision 0")
	}
	for i := range 10 {
		next, err := s.node(i).Update(within(t), key, nil, revision)
		must(t, err)
		if next <= revision {
			t.Fatalf("revision %d after %d", next, revision)
		}
		revision = next
	}
}

// What a call at one node has left, a call at another that begins afterwards finds.
func (s *suite) lastChange(t *testing.T) {
	key := s.key(t, "a")
	revision, err := s.node(0).Create(within(t), key, []byte("0"))
	must(t, err)
	for i := range 200 {
		value := fmt.Sprint(i + 1)
		revision, err = s.node(i).Update(within(t), key, []byte(value), revision)
		must(t, err)
		for j := range s.nodes {
			s.wantValue(t, i+j, key, value)
		}
	}
}

func (s *suite) copies(t *testing.T) {
	key := s.key(t, "a")
	value := []byte("given")
	revision, err := s.node(0).Create(within(t), key, value)
	must(t, err)
	copy(value, "XXXXX")
	for i := range s.nodes {
		copy(s.wantValue(t, i, key, "given").Value, "XXXXX")
		s.wantValue(t, i, key, "given")
	}
	copy(value, "later")
	_, err = s.node(0).Update(within(t), key, value, revision)
	must(t, err)
	copy(value, "XXXXX")
	all, err := s.node(1).List(within(t))
	must(t, err)
	for _, entry := range all {
		if entry.Key == key {
			copy(entry.Value, "XXXXX")
		}
	}
	for i := range s.nodes {
		s.wantValue(t, i, key, "later")
	}
}

func (s *suite) values(t *testing.T) {
	large := bytes.Repeat([]byte{0, 1, 2, 0xff}, 64<<10)
	for name, value := range map[string][]byte{
		"nil": nil, "empty": {}, "zero": {0}, "json": []byte(`{"a":[1,"ü\n"]}`), "lines": []byte("\r\n\r\nPUB x 5\r\n"), "large": large,
	} {
		revision, err := s.node(0).Create(within(t), s.key(t, name), value)
		must(t, err)
		for i := range s.nodes {
			s.wantValue(t, i, s.key(t, name), string(value))
		}
		must(t, s.node(1).Delete(within(t), s.key(t, name), revision))
	}
	_, err := s.node(0).Create(within(t), s.key(t, "larger"), make([]byte, cluster.MaxMessage+1))
	if err == nil || errors.Is(err, cluster.ErrConflict) || errors.Is(err, cluster.ErrMute) {
		t.Errorf("a value that is too large: %v", err)
	}
	_, err = s.node(1).Get(within(t), s.key(t, "larger"))
	mustBe(t, err, cluster.ErrNone)
}

func (s *suite) list(t *testing.T) {
	prefix := s.key(t, "")
	ours := func(i int) map[string]cluster.Entry {
		all, err := s.node(i).List(within(t))
		must(t, err)
		found := map[string]cluster.Entry{}
		for _, entry := range all {
			if !strings.HasPrefix(entry.Key, prefix) {
				continue
			}
			if _, twice := found[entry.Key]; twice {
				t.Errorf("%s stands in the list twice", entry.Key)
			}
			found[entry.Key] = entry
		}
		return found
	}
	if len(ours(0)) != 0 {
		t.Fatal("there are records before any was made")
	}
	const records = 30
	want := map[string]cluster.Entry{}
	for j := range records {
		key := s.key(t, fmt.Sprint(j))
		revision, err := s.node(j).Create(within(t), key, []byte("old"))
		must(t, err)
		value := fmt.Sprint("value ", j)
		switch j % 3 {
		case 0:
			must(t, s.node(j+1).Delete(within(t), key, revision))
			continue
		case 1:
			value = "old"
		case 2:
			revision, err = s.node(j+1).Update(within(t), key, []byte(value), revision)
			must(t, err)
		}
		want[key] = cluster.Entry{Key: key, Value: []byte(value), Revision: revision}
	}
	for i := range s.nodes {
		found := ours(i)
		for key, entry := range want {
			if got, ok := found[key]; !ok || string(got.Value) != string(entry.Value) || got.Revision != entry.Revision {
				t.Errorf("node %d lists %+v instead of %+v", i, got, entry)
			}
		}
		if len(found) != len(want) {
			t.Errorf("node %d lists %d records instead of %d", i, len(found), len(want))
		}
	}
}

// listIsNeverOld has each change stand in the list of each node at once, whether it was the last one of all or others came behind it
// of which nothing is left.
func (s *suite) listIsNeverOld(t *testing.T) {
	key, gone := s.key(t, "a"), s.key(t, "gone")
	revision, err := s.node(0).Create(within(t), key, nil)
	must(t, err)
	for round := range 100 {
		value := fmt.Sprint(round)
		revision, err = s.node(round).Update(within(t), key, []byte(value), revision)
		must(t, err)
		if round%3 == 0 {
			created, err := s.node(round).Create(within(t), gone, nil)
			must(t, err)
			must(t, s.node(round+1).Delete(within(t), gone, created))
		}
		for i := range s.nodes {
			all, err := s.node(i).List(within(t))
			must(t, err)
			at := slices.IndexFunc(all, func(e cluster.Entry) bool { return e.Key == key })
			if at < 0 || string(all[at].Value) != value || all[at].Revision != revision {
				t.Fatalf("round %d: node %d lists %+v, without revision %d", round, i, all, revision)
			}
		}
	}
}

func (s *suite) badNames(t *testing.T) {
	longest := strings.Repeat("k", cluster.MaxKey-len(s.name)-1)
	_, err := s.node(0).Create(within(t), s.name+"."+longest, nil)
	must(t, err)
	s.wantValue(t, 1, s.name+"."+longest, "")
	for _, name := range []string{
		"", ".", "a.", ".a", "a..b", "a b", "a*", "*", ">", "a.>", "a/b", "a\n", "ü", s.name + "." + longest + "k",
	} {
		_, err := s.node(0).Create(within(t), name, nil)
		bad(t, "Create", name, err)
		_, err = s.node(0).Get(within(t), name)
		bad(t, "Get", name, err)
		_, err = s.node(0).Update(within(t), name, nil, 1)
		bad(t, "Update", name, err)
		bad(t, "Delete", name, s.node(0).Delete(within(t), name, 1))
		if len(name) > cluster.MaxKey {
			name = strings.Repeat("k", cluster.MaxKey+1) // of a subject each part may have as much
		}
		bad(t, "Send", name, s.node(0).Send(name, nil))
		_, err = s.node(0).Listen(name, func([]byte) {})
		bad(t, "Listen", name, err)
		_, err = s.node(0).Answer(name, func([]byte) []byte { return nil })
		bad(t, "Answer", name, err)
		_, err = s.node(0).Ask(within(t), name, nil)
		bad(t, "Ask", name, err)
	}
}

// bad fails the test unless err is one that says what is wrong with a name, and not what the engine made
// of it.
func bad(t *testing.T, call, name string, err error) {
	t.Helper()
	for _, of := range []error{cluster.ErrNone, cluster.ErrConflict, cluster.ErrMute, cluster.ErrNobody} {
		if err == nil || errors.Is(err, of) {
			t.Errorf("%s(%q): %v", call, name, err)
			return
		}
	}
}
