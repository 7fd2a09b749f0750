package hook

import (
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/hub/access"
)

func TestIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(server)
		q, _ := ask(t, s, Config{})
		grant := func(answer, stream, query string, change ...func(*hub.Client)) hub.Grant {
			s.answer = says(200, answer)
			g, err := q.Decide(t.Context(), someone(stream, query, change...))
			require.NoError(t, err)
			return g
		}
		named := grant(`{"allow":true,"identity":"ann","subject":"Ann"}`, "+live/a", "k=1")
		assert.Equal(t, hub.Grant{Identity: "url:id:ann", Subject: "url:Ann"}, named)
		assert.Equal(t, named, grant(`{"allow":true,"identity":"ann","subject":"Ann"}`, "live/b", "k=2"))

		plain := grant(yes, "+live/a", "k=1")
		assert.True(t, strings.HasPrefix(plain.Identity, "url:query:"))
		assert.Equal(t, plain.Identity, grant(yes, "+live/a", "k=1", from("198.51.100.1", 1)).Identity, "from anywhere")
		for _, query := range []string{"k=2", "k=1&l=1", "k=1&k=1"} {
			assert.NotEqual(t, plain.Identity, grant(yes, "+live/a", query).Identity)
		}
		assert.NotEqual(t, plain.Identity, grant(yes, "+live/b", "k=1").Identity)
		assert.Empty(t, grant(yes, "+live/a", "").Identity, "no query proves nothing")
		assert.Equal(t, plain.Identity, grant(yes, "+live/a", "k=1&backup=1").Identity, "a backup is who the main one is")
		assert.Empty(t, grant(yes, "+live/a", "backup=1").Identity, "anybody may say so")
		assert.Empty(t, grant(yes, "live/a", "k=1").Identity, "a viewer")

		// A name that the server takes for another is a secret.
		secret := grant(`{"allow":true,"name":"show"}`, "+live/s3cret", "")
		assert.Equal(t, hub.Key{App: "live", Name: "show"}, secret.Key)
		assert.NotEmpty(t, secret.Identity)
		assert.Equal(t, secret, grant(`{"allow":true,"name":"show"}`, "+live/s3cret", ""))
		assert.NotEqual(t, secret.Identity, grant(`{"allow":true,"name":"show"}`, "+live/other", "").Identity)
	})
}

// A no says what was wrong with what was shown, and never quotes it.
func TestRefusals(t *testing.T) {
	bearer := func(c *hub.Client) { c.Authorization = "Bearer s3cret" }
	for _, test := range []struct {
		status      int
		text, query string
		change      func(*hub.Client)
		kind        error
		words       string
	}{
		{403, "", "k=s3cret", nil, access.ErrWrong, "permission is denied"},
		{401, "", "", bearer, access.ErrWrong, "permission is denied"},
		{403, "", "", nil, access.ErrMissing, "permission is needed"},
		{403, "", "back=20&track=1", nil, access.ErrMissing, "permission is needed"}, // what it wants, not who it is
		{403, "", "back=20&k=s3cret", nil, access.ErrWrong, "permission is denied"},
		{404, "", "k=s3cret", nil, nil, "permission is denied"},
		{200, `{"allow":true,"until":1}`, "k=s3cret", nil, access.ErrExpired, "the permission has ended"},
		{200, `{"allow":false,"reason":"you are not on the list"}`, "k=s3cret", nil, access.ErrWrong, "you are not on the list"},
		{403, `{"reason":"s3cret is not on the list"}`, "k=s3cret", nil, access.ErrWrong, "permission is denied"},
		{403, `{"reason":"s3cret is not on the list"}`, "", bearer, access.ErrWrong, "permission is denied"},
		{403, `{"reason":"` + strings.Repeat("no ", 1000) + `"}`, "", nil, access.ErrMissing, strings.TrimSpace(strings.Repeat("no ", 1000)[:maxReason])},
	} {
		synctest.Test(t, func(t *testing.T) {
			q, _ := ask(t, &server{answer: says(test.status, test.text)}, Config{})
			change := test.change
			if change == nil {
				change = func(*hub.Client) {}
			}
			_, err := q.Decide(t.Context(), someone("live/a", test.query, change))
			require.EqualError(t, err, test.words)
			for _, kind := range []error{access.ErrWrong, access.ErrMissing, access.ErrExpired} {
				assert.Equal(t, kind == test.kind, errors.Is(err, kind), "%v", test)
			}
		})
	}
}

// Nor does it quote the name that a publisher was asked about, which may be a key.
func TestRefusalQuotesNoKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, _ := ask(t, &server{answer: says(403, `{"reason":"nobody knows s3cretkey"}`)}, Config{})
		_, err := q.Decide(t.Context(), someone("+live/s3cretkey", ""))
		require.EqualError(t, err, "permission is denied")
		require.ErrorIs(t, err, access.ErrWrong, "it may be a guess")
		_, err = q.Decide(t.Context(), someone("live/s3cretkey", ""))
		require.EqualError(t, err, "nobody knows s3cretkey")
	})
	synctest.Test(t, func(t *testing.T) { // with SRS a name is no key
		q, _ := ask(t, &server{answer: says(403, "")}, Config{Format: FormatSRS})
		_, err := q.Decide(t.Context(), someone("+live/stream", ""))
		require.ErrorIs(t, err, access.ErrMissing)
	})
	synctest.Test(t, func(t *testing.T) { // our own words stay
		q, _ := ask(t, &server{answer: says(200, `{"allow":true,"name":"/"}`)}, Config{})
		_, err := q.Decide(t.Context(), someone("+live/stream", "k=server"))
		require.EqualError(t, err, reasonRename)
	})
}

// The beginning of a session about which the server was asked itself is not told again; that of
// one that shared an answer, or was granted without one, is.
func TestSkip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{answer: slow(time.Second, 200, yes)}
		q, _ := ask(t, s, Config{Cache: time.Minute, FailOpen: true})
		begins := func(s *hub.Session) bool { return q.Skip(hub.Event{Kind: hub.EventJoined, Session: s}) }
		decide := func(s *hub.Session) *hub.Session {
			_, err := q.Decide(t.Context(), s)
			assert.NoError(t, err)
			return s
		}
		first, second := someone("live/a", ""), someone("live/a", "")
		var all sync.WaitGroup
		all.Go(func() { decide(first) })
		synctest.Wait()
		all.Go(func() { decide(second) })
		all.Wait()
		assert.False(t, q.Skip(hub.Event{Kind: hub.EventLeft, Session: first}))
		assert.False(t, q.Skip(hub.Event{Kind: hub.EventUnwanted}))
		assert.True(t, begins(first))
		assert.False(t, begins(first), "once")
		assert.False(t, begins(second))
		assert.False(t, begins(decide(someone("live/a", ""))), "of the cache")
		list := decide(someone("live/c", "", func(c *hub.Client) { c.Recording = hub.AnyRecording }))
		assert.False(t, begins(list))
		gone := decide(someone("live/d", ""))
		q.Observe(hub.Event{Kind: hub.EventRefused, Session: gone})
		assert.False(t, begins(gone))
		busy := hub.Event{Kind: hub.EventRefused, Session: decide(someone("+live/e", ""))}
		knows := func(e hub.Event) bool {
			_, known := q.Knows(e)
			return known
		}
		assert.True(t, knows(busy))
		assert.False(t, knows(busy), "once")
		assert.False(t, knows(hub.Event{Kind: hub.EventRefused, Session: gone}))
		s.down(true)
		assert.False(t, begins(decide(someone("live/b", ""))), "granted without an answer")
		assert.Empty(t, q.known.asked.entries)

		var body map[string]any
		require.NoError(t, json.Unmarshal([]byte(s.bodies[0]), &body))
		assert.EqualValues(t, first.ID(), body["session"].(map[string]any)["id"], "the id of the one that asks")
	})
}

// nginx: what a client writes over its arguments changes nothing, and two that differ in nothing
// else share a question, but no identity.
func TestNginxQueryCannotOverride(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(server)
		q, _ := ask(t, s, Config{Format: FormatNginx, Cache: time.Minute})
		one, err := q.Decide(t.Context(), someone("+live/a", "name=admin&addr=127.0.0.1&k=1"))
		require.NoError(t, err)
		two, err := q.Decide(t.Context(), someone("+live/a", "NAME[]=admin&k=1"))
		require.NoError(t, err)
		require.Len(t, s.bodies, 1)
		assert.NotEqual(t, one.Identity, two.Identity)
		form, err := url.ParseQuery(s.bodies[0])
		require.NoError(t, err)
		assert.Equal(t, []string{"a"}, form["name"])
		assert.Equal(t, []string{"192.0.2.1"}, form["addr"])
		assert.Equal(t, []string{"1"}, form["k"])
	})
}
