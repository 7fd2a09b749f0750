package access_test

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/hub/access"
)

func list(c *hub.Client)  { c.Recording = hub.AnyRecording }
func still(c *hub.Client) { c.Still = true }

// watched is a policy of viewers by key, which tells what it decided.
func watched(t testing.TB, most int) (p *access.Policy, results map[string]int) {
	results = make(map[string]int)
	return access.New(access.Config{
		Watch:    access.Rules{Methods: []access.Named{{"key", access.Key(secrets(t, "live/a good; live/b other"), mark)}}},
		Publish:  access.Rules{Methods: []access.Named{{"none", access.None()}, {"open", access.Open()}}},
		Failures: access.Rate{Most: most, Within: time.Minute},
		Decided:  func(_ hub.Role, _, result string, _ time.Duration) { results[result]++ },
	}), results
}

// Somebody who lists recordings, or has stills shown, with a key for some of the streams is not
// taken for one who guesses, however often and from however many streams; somebody who guesses with
// lists is.
func TestListsCountOnce(t *testing.T) {
	for name, asks := range map[string]func(*hub.Client){"recordings": list, "stills": still} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { listsCountOnce(t, asks) }) })
	}
}

func listsCountOnce(t *testing.T, asks func(*hub.Client)) {
	p, results := watched(t, 3)
	ask := func(name, query string) error {
		_, err := p.Authorize(t.Context(), session(hub.RoleWatch, hub.Key{App: "live", Name: name}, query, asks))
		return err
	}
	for range 10 {
		assert.NoError(t, ask("a", "key=good&page=1"))
		for _, name := range []string{"b", "c", "d", "e"} {
			assert.ErrorIs(t, ask(name, "key=good&page=1"), access.ErrWrong)
		}
		time.Sleep(20 * time.Second)
	}
	assert.Equal(t, map[string]int{"granted": 10, "wrong": 40}, results)
	var refusal *hub.Refusal
	for i := range 3 {
		assert.NotErrorIs(t, ask("a", fmt.Sprint("key=guess", i)), nil)
	}
	require.ErrorAs(t, ask("a", "key=good"), &refusal)
	assert.Equal(t, hub.ReasonTooMany, refusal.Reason)
}

// Beyond the lists that are known each question counts.
func TestListsAreBounded(t *testing.T) {
	p, results := watched(t, 100)
	for i := range 1000 {
		p.Authorize(t.Context(), session(hub.RoleWatch, cam, fmt.Sprint("key=", i), list))
	}
	assert.Equal(t, map[string]int{"wrong": 100, "denied": 900}, results)
}

// Where there is no secret to guess, nobody is refused for those that were guessed elsewhere.
func TestOpenIsNotRefusedForFailures(t *testing.T) {
	p, _ := watched(t, 1)
	_, err := p.Authorize(t.Context(), session(hub.RoleWatch, cam, "key=bad"))
	assert.ErrorIs(t, err, access.ErrWrong)
	_, err = p.Authorize(t.Context(), session(hub.RoleWatch, cam, "key=good"))
	assert.Error(t, err)
	_, err = p.Authorize(t.Context(), session(hub.RolePublish, cam, "key=bad"))
	assert.NoError(t, err)
}

// slow is a method that answers after a second, of which only one secret is right.
type slow struct{}

func (slow) Decide(ctx context.Context, s *hub.Session) (hub.Grant, error) {
	time.Sleep(time.Second)
	if s.Client().Query.Get("key") != "7" {
		return hub.Grant{}, access.ErrWrong
	}
	return hub.Grant{}, nil
}

// A thousand guesses at a time tell no more than as many as are allowed, one after the other.
func TestGuessesAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := access.New(access.Config{
			Watch:    access.Rules{Methods: []access.Named{{"slow", slow{}}}},
			Failures: access.Rate{Most: 20, Within: time.Minute},
		})
		var mu sync.Mutex
		said := map[string]int{}
		var all sync.WaitGroup
		for i := range 1000 {
			all.Go(func() {
				if i == 7 { // the right one is the last
					time.Sleep(time.Millisecond)
				}
				_, err := p.Authorize(t.Context(), session(hub.RoleWatch, cam, fmt.Sprint("key=", i)))
				mu.Lock()
				defer mu.Unlock()
				said[fmt.Sprint(err)]++
			})
		}
		all.Wait()
		assert.Equal(t, 20, said[access.ErrWrong.Error()])
		assert.Len(t, said, 2)
		assert.Zero(t, said["<nil>"])
	})
}

// Nothing that is known of failures outlives its time: the count, and the refusal.
func TestFailuresInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, results := watched(t, 3)
		bad := func() { p.Authorize(t.Context(), session(hub.RoleWatch, cam, "key=bad")) }
		for range 10 { // two in each minute
			bad()
			time.Sleep(30 * time.Second)
		}
		assert.Equal(t, map[string]int{"wrong": 10}, results)
		time.Sleep(time.Minute)
		for range 5 {
			bad()
		}
		assert.Equal(t, map[string]int{"wrong": 13, "denied": 2}, results)
		time.Sleep(time.Minute - time.Nanosecond)
		bad()
		time.Sleep(time.Nanosecond)
		bad()
		assert.Equal(t, map[string]int{"wrong": 14, "denied": 3}, results, "asking meanwhile does not prolong it")
	})
}

// A client without an address is in no network.
func TestNoAddress(t *testing.T) {
	p := access.New(access.Config{
		Publish: access.Rules{Methods: []access.Named{{"open", access.Open()}}, Allow: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}},
		Watch:   access.Rules{Methods: []access.Named{{"open", access.Open()}}, Deny: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}},
	})
	nowhere := func(c *hub.Client) { c.Address = netip.AddrPort{} }
	_, err := p.Authorize(t.Context(), session(hub.RolePublish, cam, "", nowhere))
	assert.Error(t, err)
	_, err = p.Authorize(t.Context(), session(hub.RoleWatch, cam, "", nowhere))
	assert.NoError(t, err)
	_, err = p.Authorize(t.Context(), session(hub.RolePublish, cam, ""))
	assert.NoError(t, err)
}

// Who publishes openly is who its query says; a viewer is nobody in particular.
func TestOpenIdentity(t *testing.T) {
	m := access.Open()
	identity := func(role hub.Role, query string) string {
		grant, err := m.Decide(t.Context(), session(role, cam, query))
		require.NoError(t, err)
		assert.Empty(t, grant.Subject)
		return grant.Identity
	}
	assert.Empty(t, identity(hub.RolePublish, ""))
	assert.Empty(t, identity(hub.RoleWatch, "token=x"))
	assert.Equal(t, identity(hub.RolePublish, "a=1&token=x"), identity(hub.RolePublish, "token=x&a=1"))
	assert.NotEqual(t, identity(hub.RolePublish, "token=x"), identity(hub.RolePublish, "token=y"))
	assert.Equal(t, identity(hub.RolePublish, "token=x"), identity(hub.RolePublish, "token=x&backup=1"), "a backup is who the main one is")
	assert.Empty(t, identity(hub.RolePublish, "backup=1"), "anybody may say so")
}

// Permission costs the same with long lists of networks.
func BenchmarkNetworks(b *testing.B) {
	var deny []netip.Prefix
	for i := range 10_000 {
		deny = append(deny, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 20+i%12))
	}
	p := access.New(access.Config{Watch: access.Rules{Methods: []access.Named{{"open", access.Open()}}, Deny: deny}})
	s := session(hub.RoleWatch, cam, "")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Authorize(b.Context(), s); err != nil {
			b.Fatal(err)
		}
	}
}
