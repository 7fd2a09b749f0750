package ban_test

import (
	"context"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"sluice/hub"
	"sluice/hub/access/ban"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// session makes the session of a client that is granted as a subject.
func session(t testing.TB, role hub.Role, address, subject string) *hub.Session {
	h := hub.New(hub.Config{Authorize: func(context.Context, *hub.Session) (hub.Grant, error) { return hub.Grant{Subject: subject}, nil }})
	s := h.NewSession(role, hub.Key{App: "live", Name: "cam"}, hub.Client{Address: netip.AddrPortFrom(netip.MustParseAddr(address), 1)})
	require.NoError(t, s.AskAndWait(context.Background()))
	return s
}

func open(t testing.TB, dir string) *ban.List {
	l, err := ban.Open(dir)
	require.NoError(t, err)
	return l
}

// A ban is for those to whom all of it fits.
func TestMatch(t *testing.T) {
	for _, test := range []struct {
		ban  ban.Ban
		want string // of the sessions below
	}{
		{ban.Ban{Network: netip.MustParsePrefix("192.0.2.1/32")}, "publish watch"},
		{ban.Ban{Network: netip.MustParsePrefix("192.0.2.77/24")}, "publish watch other"},
		{ban.Ban{Network: netip.MustParsePrefix("::ffff:192.0.2.1/128")}, "publish watch"},
		{ban.Ban{Network: netip.MustParsePrefix("2001:db8::/32")}, ""},
		{ban.Ban{Network: netip.MustParsePrefix("192.0.2.1/32"), Role: "watch"}, "watch"},
		{ban.Ban{Subject: "anna"}, "watch"},
		{ban.Ban{Stream: "live/*"}, "publish watch other"},
		{ban.Ban{Stream: "live/other"}, ""},
		{ban.Ban{Stream: "**", Subject: "anna", Network: netip.MustParsePrefix("192.0.2.2/32")}, ""},
	} {
		l := open(t, "")
		_, err := l.Add(test.ban)
		require.NoError(t, err)
		got := ""
		for _, s := range []struct {
			name    string
			session *hub.Session
		}{
			{"publish", session(t, hub.RolePublish, "192.0.2.1", "")},
			{"watch", session(t, hub.RoleWatch, "::ffff:192.0.2.1", "anna")},
			{"other", session(t, hub.RoleWatch, "192.0.2.2", "bert")},
		} {
			if _, ok := l.Match(s.session); ok {
				got += " " + s.name
			}
		}
		assert.Equal(t, test.want, got[min(1, len(got)):], "%+v", test.ban)
	}
}

// A list outlasts a restart, ends with its times, and is bounded.
func TestList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, dir)
		for _, bad := range []ban.Ban{{}, {Role: "watch"}, {Stream: "!live/x"}, {Stream: "a"}} {
			_, err := l.Add(bad)
			assert.Error(t, err)
		}
		first, err := l.Add(ban.Ban{Subject: "anna", Reason: "spam"})
		require.NoError(t, err)
		second, err := l.Add(ban.Ban{Subject: "bert", Until: time.Now().Add(time.Minute)})
		require.NoError(t, err)
		assert.NotEqual(t, first.ID, second.ID)
		l = open(t, dir)
		assert.Len(t, l.All(), 2)
		b, ok := l.Match(session(t, hub.RoleWatch, "192.0.2.1", "anna"))
		assert.True(t, ok)
		assert.Equal(t, "spam", b.Reason)
		time.Sleep(time.Minute)
		assert.Len(t, l.All(), 1)
		_, ok = l.Match(session(t, hub.RoleWatch, "192.0.2.1", "bert"))
		assert.False(t, ok)
		found, err := l.Remove(first.ID)
		assert.True(t, found)
		require.NoError(t, err)
		found, _ = l.Remove(first.ID)
		assert.False(t, found)
		assert.Empty(t, open(t, dir).All())
		third, err := l.Add(ban.Ban{Subject: "carl"})
		require.NoError(t, err)
		assert.Greater(t, third.ID, second.ID)
	})
}

// A list that cannot be read is an error that names its file; one that cannot be written counts.
func TestBadFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "bans.json")
	for _, text := range []string{
		"", "{", "[]", `{"last":1,"bans":[{"id":1}]}`, `{"last":1,"bans":[{"id":1,"stream":"x"}]}`, `{"last":1,"bans":[{"id":1,"network":"x"}]}`,
		`{"last":1,"bans":[{"id":2,"subject":"x"}]}`, `{"last":1,"bans":[{"id":0,"subject":"x"}]}`, `{"last":1,"bans":[{"id":-1,"subject":"x"}]}`,
		`{"last":1,"bans":[{"id":1,"subject":"x"},{"id":1,"subject":"y"}]}`, `{"last":1,"bans":[{"id":1,"subject":"x","agent":"y"}]}`,
		`{"last":1,"bans":[{"id":1,"subject":"x","role":"watcher"}]}`, `{"last":1,"bans":[]}}`, `{"last":1,"bans":[]}{}`,
		`{"last":20000,"bans":[` + strings.Repeat(`{"id":1,"subject":"x"},`, ban.MaxBans) + `{"id":1,"subject":"x"}]}`,
	} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, err := ban.Open(dir)
		assert.ErrorContains(t, err, path, "%.80s", text)
	}
	l := open(t, filepath.Join(dir, "missing"))
	_, err := l.Add(ban.Ban{Subject: "anna"})
	assert.ErrorIs(t, err, ban.ErrUnsaved)
	assert.ErrorIs(t, err, fs.ErrNotExist)
	_, ok := l.Match(session(t, hub.RoleWatch, "192.0.2.1", "anna"))
	assert.True(t, ok)
}

func TestRaces(t *testing.T) {
	l := open(t, t.TempDir())
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for range 20 {
				b, err := l.Add(ban.Ban{Subject: fmt.Sprint(i)})
				assert.NoError(t, err)
				_, ok := l.Match(session(t, hub.RoleWatch, "192.0.2.1", fmt.Sprint(i)))
				assert.True(t, ok)
				l.All()
				_, err = l.Remove(b.ID)
				assert.NoError(t, err)
			}
		})
	}
	all.Wait()
	assert.Empty(t, l.All())
}
