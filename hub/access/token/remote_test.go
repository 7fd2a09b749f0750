package token

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/hub/access"
)

// server is one of keys, which answers after a while.
type server struct {
	mu    sync.Mutex
	keys  []Key
	err   error
	after time.Duration

	fetches, running atomic.Int32
}

func (s *server) set(keys []Key, err error, after time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys, s.err, s.after = keys, err, after
}

func (s *server) fetch(ctx context.Context) ([]Key, error) {
	s.fetches.Add(1)
	if s.running.Add(1) > 1 {
		panic("two fetches at a time")
	}
	defer s.running.Add(-1)
	s.mu.Lock()
	keys, err, after := s.keys, s.err, s.after
	s.mu.Unlock()
	select {
	case <-time.After(after):
		return keys, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// remote runs a Remote in a bubble until the test ends.
func remote(t *testing.T, s *server) (*Remote, *Method) {
	t.Helper()
	r := NewRemote(RemoteConfig{Fetch: s.fetch})
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	t.Cleanup(func() {
		stop()
		running.Wait()
	})
	m, err := New(Config{Remote: r})
	require.NoError(t, err)
	return r, m
}

func TestRemoteKeysAreFetchedInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{keys: []Key{keyOf(t, "a", "ES256"), keyOf(t, "s", "HS256")}}
		r, m := remote(t, s)
		synctest.Wait()
		state := r.State()
		assert.Equal(t, RemoteState{Keys: 1, Began: time.Now(), Loaded: time.Now(), Fetches: 1}, state, "a secret that a server shows is none")
		text := token(t, "ES256", with(claims{"exp": 4e9}), "kid", "a")
		_, err := decide(t.Context(), m, hub.RoleWatch, query(text))
		require.NoError(t, err)
		_, err = decide(t.Context(), m, hub.RoleWatch, query(token(t, "HS256", with(nil), "kid", "s")))
		require.ErrorIs(t, err, access.ErrWrong)

		// Every 10 minutes; after a failure every minute, with the keys of before.
		broken := errors.New("broken")
		for _, bad := range []struct {
			keys []Key
			err  error
		}{{nil, broken}, {nil, nil}, {make([]Key, MaxKeys+1), nil}, {[]Key{keyOf(t, "s", "HS256")}, nil}} {
			s.set(bad.keys, bad.err, 0)
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			require.Error(t, r.State().Err)
			_, err = decide(t.Context(), m, hub.RoleWatch, query(text))
			require.NoError(t, err)
		}
		was := s.fetches.Load()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		assert.Equal(t, was+5, s.fetches.Load())
		s.set([]Key{keyOf(t, "b", "ES256")}, nil, 0)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.NoError(t, r.State().Err)
		_, err = decide(t.Context(), m, hub.RoleWatch, query(text))
		require.ErrorIs(t, err, access.ErrWrong, "a key that was taken back")
	})
}

func TestAnUnknownKeyIsFetched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{keys: []Key{keyOf(t, "a", "ES256")}}
		_, m := remote(t, s)
		time.Sleep(11 * time.Second)
		s.set([]Key{keyOf(t, "b", "ES256")}, nil, time.Second)
		began := time.Now()
		var asking sync.WaitGroup
		for range maxWaiting {
			asking.Go(func() {
				_, err := decide(t.Context(), m, hub.RoleWatch, query(token(t, "ES256", with(nil), "kid", "b")))
				assert.NoError(t, err)
			})
		}
		asking.Wait()
		assert.Equal(t, time.Second, time.Since(began))
		assert.EqualValues(t, 2, s.fetches.Load(), "at the beginning, and once for all")
	})
}

// A flood of made-up ids, for an hour.
func TestUnknownKeysAreNotFetchedAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{keys: []Key{keyOf(t, "a", "ES256")}}
		_, m := remote(t, s)
		synctest.Wait()
		text := token(t, "ES256", with(claims{"exp": 4e9}), "kid", "x")
		began := time.Now()
		for range 36000 {
			_, err := decide(t.Context(), m, hub.RoleWatch, query(text))
			require.ErrorIs(t, err, access.ErrWrong)
			time.Sleep(100 * time.Millisecond)
		}
		assert.LessOrEqual(t, int(s.fetches.Load()), 1+int(time.Since(began)/minInterval))
		assert.Greater(t, int(s.fetches.Load()), 300)
	})
}

// A server that hangs holds few questions, not for long, and nobody whose key is known.
func TestASlowServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{keys: []Key{keyOf(t, "a", "ES256")}}
		r, m := remote(t, s)
		time.Sleep(minInterval)
		s.set(nil, nil, time.Hour)
		unknown := token(t, "ES256", with(nil), "kid", "x")
		var asking sync.WaitGroup
		for range maxWaiting {
			asking.Go(func() {
				_, err := decide(t.Context(), m, hub.RoleWatch, query(unknown))
				assert.ErrorIs(t, err, access.ErrWrong)
			})
		}
		synctest.Wait()
		began := time.Now()
		_, err := decide(t.Context(), m, hub.RoleWatch, query(unknown))
		require.ErrorIs(t, err, access.ErrWrong, "one too many to wait")
		_, err = decide(t.Context(), m, hub.RoleWatch, query(token(t, "ES256", with(nil), "kid", "a")))
		require.NoError(t, err)
		assert.Equal(t, began, time.Now())
		asking.Wait()
		assert.Equal(t, maxWait, time.Since(began))

		leaves, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began = time.Now()
		_, err = decide(leaves, m, hub.RoleWatch, query(unknown))
		require.Error(t, err)
		assert.Equal(t, time.Second, time.Since(began), "the client leaves")

		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.ErrorIs(t, r.State().Err, context.DeadlineExceeded)
		assert.Equal(t, 1, r.State().Keys)
	})
}

func TestBeforeTheFirstKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{keys: []Key{keyOf(t, "a", "ES256")}, after: 2 * time.Second}
		_, m := remote(t, s)
		_, err := decide(t.Context(), m, hub.RoleWatch, query(token(t, "ES256", with(nil))))
		require.NoError(t, err, "it waits for them")

		s = &server{err: errors.New("down")}
		_, m = remote(t, s)
		synctest.Wait()
		_, err = decide(t.Context(), m, hub.RoleWatch, query(token(t, "ES256", with(nil), "kid", "a")))
		require.ErrorIs(t, err, errNoKeys)
		require.NotErrorIs(t, err, access.ErrWrong, "it is not the client's fault")
	})
}

// Keys of the configuration come first, and need no server.
func TestKeysOfBoth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{err: errors.New("down")}
		r, _ := remote(t, s)
		m := method(t, Config{Remote: r}, keyOf(t, "own", "HS256"))
		_, err := decide(t.Context(), m, hub.RoleWatch, query(token(t, "HS256", with(nil), "kid", "own")))
		require.NoError(t, err)
		_, err = decide(t.Context(), m, hub.RoleWatch, query(token(t, "HS256", with(nil), "kid", "x")))
		require.ErrorIs(t, err, access.ErrWrong)
	})
}

func TestQuestionsWhenNobodyFetches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRemote(RemoteConfig{Fetch: func(context.Context) ([]Key, error) { panic("nobody has called Run") }})
		began := time.Now()
		for i := range 3 {
			_, loaded := r.Refresh(t.Context())
			assert.False(t, loaded, fmt.Sprint(i))
		}
		assert.Equal(t, 3*maxWait, time.Since(began))
	})
}
