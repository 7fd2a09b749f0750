package hook

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// overs are the sessions that a Question said were over, with their streams.
type overs struct {
	mu  sync.Mutex
	all []string
}

func (o *overs) left(s *hub.Session, key hub.Key) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, s.Role().String()+" "+key.String())
}

func (o *overs) told() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.all
}

// A server that keeps account learns of each session that it granted and that never begins: the
// client has left before the answer, or only asked whether it may.
func TestAccount(t *testing.T) {
	inquiry := func(c *hub.Client) { c.Inquiry = true }
	list := func(c *hub.Client) { c.Recording = hub.AnyRecording }
	for name, tt := range map[string]struct {
		account bool
		status  int
		change  []func(*hub.Client)
		leaves  int // of the two who ask alike, the one who asked first before the other
		want    []string
	}{
		"nobody leaves":          {true, 204, nil, 0, nil},
		"the first leaves":       {true, 204, nil, 1, []string{"watch live/a"}},
		"all leave":              {true, 204, nil, 2, []string{"watch live/a"}},
		"all leave, refused":     {true, 403, nil, 2, nil},
		"all leave, no account":  {false, 204, nil, 2, nil},
		"inquiries":              {true, 204, []func(*hub.Client){inquiry}, 0, []string{"watch live/a"}},
		"inquiries, refused":     {true, 403, []func(*hub.Client){inquiry}, 0, nil},
		"inquiries, no account":  {false, 204, []func(*hub.Client){inquiry}, 0, nil},
		"looks at a list":        {true, 204, []func(*hub.Client){list}, 0, []string{"watch live/a"}},
		"inquiries that go away": {true, 204, []func(*hub.Client){inquiry}, 2, []string{"watch live/a"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, over := new(server), new(overs)
				s.answer = func(*http.Request, string) (int, http.Header, string) {
					time.Sleep(time.Second)
					return tt.status, nil, ""
				}
				q, _ := ask(t, s, Config{Account: func() bool { return tt.account }, Left: over.left})
				var cancels []context.CancelFunc
				var sessions []*hub.Session
				var all sync.WaitGroup
				for range 2 {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					session := someone("live/a", "", tt.change...)
					cancels, sessions = append(cancels, cancel), append(sessions, session)
					all.Go(func() { q.Decide(ctx, session) })
					synctest.Wait()
				}
				for i := range tt.leaves {
					cancels[i]()
					synctest.Wait()
				}
				all.Wait()
				time.Sleep(time.Minute)
				synctest.Wait()
				assert.Equal(t, tt.want, over.told())
				begun := tt.status == 204 && tt.leaves == 0 && tt.change == nil
				_, first := q.Knows(hub.Event{Kind: hub.EventRefused, Session: sessions[0]})
				_, second := q.Knows(hub.Event{Kind: hub.EventRefused, Session: sessions[1]})
				assert.Equal(t, begun, first, "it is told of an end once")
				assert.False(t, second, "of whom it was not asked")
				assert.Empty(t, q.flights)
			})
		})
	}
}

// The end of a publisher that was granted another name, and left, is that of the other one.
func TestAccountOfAnotherName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, over := new(server), new(overs)
		s.answer = func(*http.Request, string) (int, http.Header, string) {
			time.Sleep(time.Second)
			return http.StatusFound, http.Header{"Location": {"b"}}, ""
		}
		q, _ := ask(t, s, Config{Format: FormatNginx, Account: func() bool { return true }, Left: over.left})
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		session := hub.New(hub.Config{}).NewSession(hub.RolePublish, hub.Key{App: "live", Name: "typed"}, hub.Client{})
		_, err := q.Decide(ctx, session)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		time.Sleep(time.Minute)
		assert.Equal(t, []string{"publish live/b"}, over.told())
	})
}

// A server that gives no answer keeps nobody's question for longer than its time.
func TestAccountWithoutAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, over := new(server), new(overs)
		s.answer = func(*http.Request, string) (int, http.Header, string) {
			time.Sleep(time.Hour)
			return http.StatusNoContent, nil, ""
		}
		q, _ := ask(t, s, Config{Account: func() bool { return true }, Left: over.left})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := q.Decide(ctx, someone("live/a", ""))
		require.ErrorIs(t, err, context.Canceled)
		time.Sleep(4 * time.Second)
		synctest.Wait()
		q.mu.Lock()
		assert.Empty(t, q.flights)
		q.mu.Unlock()
		assert.Empty(t, over.told())
	})
}

// Who has left before the server could be asked leaves nothing behind: clients that come and go
// would fill the memory, and those who stay would wait behind them.
func TestAccountOfWhoLeavesBeforeItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, over := new(server), new(overs)
		s.answer = func(*http.Request, string) (int, http.Header, string) {
			time.Sleep(time.Second)
			return http.StatusNoContent, nil, ""
		}
		q, _ := ask(t, s, Config{Account: func() bool { return true }, Left: over.left})
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for i := range 10 * maxConnections {
			all.Go(func() { q.Decide(ctx, someone("live/a", "n="+strconv.Itoa(i))) })
		}
		synctest.Wait()
		cancel()
		all.Wait()
		q.mu.Lock()
		assert.Len(t, q.flights, maxConnections)
		q.mu.Unlock()
		_, err := q.Decide(t.Context(), someone("live/b", ""))
		require.NoError(t, err)
		n, _ := s.asked()
		assert.Equal(t, maxConnections+1, n)
		assert.Len(t, over.told(), maxConnections, "of those whom it has granted")
	})
}
