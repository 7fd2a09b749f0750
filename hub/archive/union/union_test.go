package union

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/hub/archive"
	"sluice/hub/archive/flvfile"
	"sluice/hub/cluster"
)

// shelf is an archive: recordings, the newest first.
type shelf []archive.Recording

func (s shelf) Recordings(key hub.Key, after string, limit int) (page []archive.Recording, next string, err error) {
	begin, seq := int64(1<<62), uint64(0)
	if after != "" {
		if begin, seq, err = archive.ParsePlace(after); err != nil {
			return nil, "", err
		}
	}
	for _, r := range s {
		b, n, _ := archive.ParsePlace(r.Place)
		switch {
		case key != hub.Key{} && key != r.Key, b > begin, b == begin && n >= seq:
			continue
		case len(page) == limit:
			return page, page[limit-1].Place, nil
		}
		page = append(page, r)
	}
	return page, "", nil
}

func (s shelf) Recording(key hub.Key, id string) (archive.Recording, error) {
	for _, r := range s {
		if r.Key == key && (r.ID == id || id == archive.Latest) {
			return r, nil
		}
	}
	return archive.Recording{}, archive.ErrNotFound
}

func recording(stream string, begin int64, seq uint64) archive.Recording {
	app, name, _ := strings.Cut(stream, "/")
	return archive.Recording{
		Key: hub.Key{App: app, Name: name}, ID: fmt.Sprintf("%d-%d", begin, seq), State: archive.StateFinished,
		Info: flvfile.Info{Begin: time.UnixMilli(begin).UTC(), Size: 7}, Place: archive.PlaceOf(begin, seq),
	}
}

// net is some nodes, as one of them sees them.
type net struct {
	own    string
	all    []cluster.NodeInfo
	unions map[string]*Union // by name; nil does not answer
	asked  atomic.Int32
}

func (n *net) Nodes() []cluster.NodeInfo {
	all := slices.Clone(n.all)
	for i := range all {
		all[i].Self = all[i].Name == n.own
	}
	return all
}

func (n *net) Order(ctx context.Context, node string, order []byte) ([]byte, error) {
	n.asked.Add(1)
	u := n.unions[node]
	if u == nil {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	time.Sleep(10 * time.Millisecond)
	said, ok := u.Answer(order)
	if !ok {
		return nil, cluster.ErrMute
	}
	return said, nil
}

// newNet makes nodes n1, n2, … with these shelves, and returns what the first one sees.
func newNet(shelves ...shelf) (*Union, *net) {
	all := make([]cluster.NodeInfo, len(shelves))
	unions := make(map[string]*Union)
	for i := range shelves {
		all[i].Name = fmt.Sprintf("n%d", i+1)
		all[i].HTTP, all[i].RTMP = "http://"+all[i].Name, "rtmp://"+all[i].Name
	}
	var first *net
	for i, s := range shelves {
		n := &net{own: all[i].Name, all: all, unions: unions}
		if first == nil {
			first = n
		}
		if unions[n.own] = New(s, n); s == nil {
			unions[n.own] = New(archive.None{}, n)
		}
	}
	return unions["n1"], first
}

var live = hub.Key{App: "live", Name: "a"}

// However the recordings lie on the nodes, the pages of the list have each of them once, the newest first.
func TestPagesHaveAll(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			shelves := make([]shelf, 1+random.IntN(4))
			var want []string
			for seq := range uint64(40 + random.IntN(300)) {
				i := random.IntN(len(shelves))
				r := recording([]string{"live/a", "live/b", "other/a"}[random.IntN(3)], int64(1000+random.IntN(50)), seq+1)
				shelves[i] = append(shelves[i], r)
				if r.Key.App == "live" {
					want = append(want, r.ID)
				}
			}
			for _, s := range shelves {
				slices.SortFunc(s, func(a, b archive.Recording) int {
					return mark{a.Begin.UnixMilli(), "", seqOf(a)}.compare(mark{b.Begin.UnixMilli(), "", seqOf(b)})
				})
			}
			u, _ := newNet(shelves...)
			var got []string
			var last time.Time
			q := Query{Pattern: "live/*", Limit: 1 + random.IntN(50)}
			for {
				time.Sleep(time.Second)
				page, err := u.Recordings(t.Context(), q)
				require.NoError(t, err)
				require.LessOrEqual(t, len(page.Recordings), q.Limit)
				require.Empty(t, page.Unreached)
				for _, r := range page.Recordings {
					require.True(t, last.IsZero() || !r.Begin.After(last))
					last = r.Begin
					require.Equal(t, r.Node != "n1", r.Away)
					got = append(got, r.ID)
				}
				if q.After = page.Next; q.After == "" {
					break
				}
			}
			assert.ElementsMatch(t, want, got)
		})
	}
}

func seqOf(r archive.Recording) uint64 {
	_, seq, _ := archive.ParsePlace(r.Place)
	return seq
}

// A node that does not answer is named, and waited for no longer than a second; one that gives no signs of life, not at all.
func TestUnreached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, n := newNet(shelf{recording("live/a", 1, 1)}, shelf{recording("live/a", 2, 1)}, nil, nil)
		n.all[3].Silent = true
		delete(n.unions, "n3")
		begun := time.Now()
		page, err := u.Recordings(t.Context(), Query{Key: live})
		require.NoError(t, err)
		assert.Len(t, page.Recordings, 2)
		assert.Equal(t, []string{"n3", "n4"}, page.Unreached)
		assert.Equal(t, askWithin, time.Since(begun))
		n.all[2].Silent = true
		_, err = u.Find(t.Context(), live, "2-1")
		require.NoError(t, err)
		assert.Less(t, time.Since(begun), askWithin+100*time.Millisecond)
		_, err = u.Recordings(t.Context(), Query{After: "x.y"})
		assert.ErrorIs(t, err, archive.ErrPlace)
		_, err = u.Recordings(t.Context(), Query{After: "x.y!.n1"})
		assert.ErrorIs(t, err, archive.ErrPlace)
	})
}

// The node is found that has a recording, and the newest of all.
func TestFind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, _ := newNet(shelf{recording("live/a", 5, 1), recording("live/b", 1, 2)}, shelf{recording("live/a", 4, 1), recording("live/b", 2, 2)},
			shelf{recording("live/b", 3, 1)}, nil)
		r, err := u.Find(t.Context(), live, "4-1")
		require.NoError(t, err)
		assert.Equal(t, []string{"n2", "http://n2", "rtmp://n2", "4-1"}, []string{r.Node, r.HTTP, r.RTMP, r.ID})
		assert.Equal(t, int64(7), r.Size)
		_, err = u.Find(t.Context(), live, archive.Latest)
		assert.ErrorIs(t, err, archive.ErrNotFound, "this node has the newest")
		r, err = u.Find(t.Context(), hub.Key{App: "live", Name: "b"}, archive.Latest)
		require.NoError(t, err)
		assert.Equal(t, "3-1", r.ID)
		_, err = u.Find(t.Context(), live, "none")
		assert.ErrorIs(t, err, archive.ErrNotFound)
		assert.Equal(t, []string{"http://n2", "http://n3", "http://n4"}, u.Origins())
		_, ok := u.Answer([]byte(`{"method":"GET","path":"/"}`))
		assert.False(t, ok, "another order")
	})
}

// However many ask for names that do not exist, other nodes have few questions; what was found not long ago is found all the
// same, and an answer serves all who ask for it within seconds.
func TestQuestionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, n := newNet(nil, shelf{recording("live/a", 1, 1)})
		for range 100 {
			_, err := u.Find(t.Context(), live, "1-1")
			require.NoError(t, err)
			_, err = u.Find(t.Context(), live, "none")
			require.ErrorIs(t, err, archive.ErrNotFound)
		}
		assert.Equal(t, int32(2), n.asked.Load())
		time.Sleep(answerFor)

		n.asked.Store(0)
		begun := time.Now()
		var busy int
		for i := range 10_000 {
			if _, err := u.Find(t.Context(), live, fmt.Sprint(i)); err == error(errTooMany) {
				busy++
				time.Sleep(time.Millisecond)
			}
		}
		took := time.Since(begun)
		assert.LessOrEqual(t, int(n.asked.Load()), askBurst+1+int(took/askEvery))
		assert.Greater(t, busy, 5000)
		assert.LessOrEqual(t, len(u.answers), maxAnswers)
		for u.mayAsk() {
		}
		r, err := u.Find(t.Context(), live, "1-1")
		require.NoError(t, err, "it was found not long ago")
		assert.Equal(t, "n2", r.Node)
		page, err := u.Recordings(t.Context(), Query{})
		require.NoError(t, err)
		assert.Equal(t, []string{"n2"}, page.Unreached)
		time.Sleep(foundFor)
		_, err = u.Find(t.Context(), live, "1-1")
		require.NoError(t, err, "there is room again")
	})
}

func (u *Union) mayAsk() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.mayAskLocked(time.Now())
}

// Nor are there many questions at a time, where nodes are slow; who asks the same waits for one answer, or leaves.
func TestQuestionsAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, n := newNet(nil, nil)
		delete(n.unions, "n2")
		errs := make(chan error)
		for i := range 2 * maxAsking {
			go func() {
				_, err := u.Find(context.Background(), live, fmt.Sprint(i))
				errs <- err
			}()
			synctest.Wait()
		}
		go func() {
			_, err := u.Find(context.Background(), live, "0")
			errs <- err
		}()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := u.Find(ctx, live, "0")
		assert.ErrorIs(t, err, context.Canceled)
		var none, busy int
		for range 2*maxAsking + 1 {
			if err := <-errs; err == error(errTooMany) {
				busy++
			} else {
				assert.ErrorIs(t, err, archive.ErrNotFound)
				none++
			}
		}
		assert.Equal(t, []int{maxAsking + 1, maxAsking}, []int{none, busy})
		assert.Equal(t, int32(maxAsking), n.asked.Load())
	})
}

// What another node says is dropped where it cannot be, or was not asked for.
func TestOddAnswers(t *testing.T) {
	good := recording("live/a", 1, 1)
	for name, change := range map[string]func(*archive.Recording){
		"no stream":      func(r *archive.Recording) { r.Key = hub.Key{} },
		"another stream": func(r *archive.Recording) { r.Key.Name = "b" },
		"a bad name":     func(r *archive.Recording) { r.Key.Name = "a/../b" },
		"a bad letter":   func(r *archive.Recording) { r.Key.Name = "a\n" },
		"no id":          func(r *archive.Recording) { r.ID = "" },
		"a path":         func(r *archive.Recording) { r.ID = "../x" },
		"a long id":      func(r *archive.Recording) { r.ID = strings.Repeat("x", 256) },
		"another state":  func(r *archive.Recording) { r.State = "<b>" },
		"no place":       func(r *archive.Recording) { r.Place = "?" },
		"negative":       func(r *archive.Recording) { r.Duration = -1 },
	} {
		odd := good
		change(&odd)
		data, err := json.Marshal(answer{Items: []item{{good}, {odd}}})
		require.NoError(t, err)
		a, ok := parseAnswer(data, question{Stream: "live/a"})
		assert.True(t, ok)
		assert.Equal(t, []item{{good}}, a.Items, name)
	}
	for _, bad := range []string{"", "null", "x", `{"next":"x"}`, `{"items":[` + strings.Repeat("{},", maxItems) + `{}]}`} {
		_, ok := parseAnswer([]byte(bad), question{})
		assert.False(t, ok, bad)
	}
	data, err := json.Marshal(answer{Items: []item{{good}}})
	require.NoError(t, err)
	a, ok := parseAnswer(data, question{Stream: "live/a", ID: "other"})
	assert.True(t, ok)
	assert.Empty(t, a.Items)
	u, _ := newNet(shelf{good})
	for _, order := range []string{`{"recordings":{"stream":"a/../b"}}`, `{"recordings":{"after":"x"}}`} {
		said, ok := u.Answer([]byte(order))
		assert.True(t, ok)
		_, usable := parseAnswer(said, question{})
		assert.False(t, usable, order)
	}
}
