package ban_test

import (
	"fmt"
	"math/rand/v2"
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

	"sluice/hub"
	"sluice/hub/access/ban"
)

// address returns the nth of many addresses.
func address(n int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), 32)
}

// An IPv6 client is banned with all the addresses that it may have, and no other client is.
func TestClients(t *testing.T) {
	l := open(t, "")
	b, err := l.Add(ban.Ban{Network: netip.MustParsePrefix("2001:db8:0:1::77/128")})
	require.NoError(t, err)
	assert.Equal(t, netip.MustParsePrefix("2001:db8:0:1::77/128"), b.Network, "it is shown as it was given")
	for address, want := range map[string]bool{
		"2001:db8:0:1::77": true, "2001:db8:0:1:ffff::1": true, "2001:db8:0:2::77": false, "2001:db8::77": false, "10.0.0.1": false,
	} {
		_, ok := l.Match(session(t, hub.RoleWatch, address, ""))
		assert.Equal(t, want, ok, address)
	}
	_, err = l.Remove(b.ID)
	require.NoError(t, err)
	_, ok := l.Match(session(t, hub.RoleWatch, "2001:db8:0:1::77", ""))
	assert.False(t, ok)
}

// What is no ban is refused, with the file left as it is.
func TestInvalid(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	past := time.Now().Add(-time.Second)
	for _, bad := range []ban.Ban{
		{}, {Role: "watch", Reason: "x"}, {Subject: "x", Role: "Watch"}, {Subject: "x", Role: "viewer"}, {Subject: "x", Until: past},
		{Stream: "!**"}, {Stream: "live"}, {Stream: "live/a*"}, {Stream: "live/%zz"}, {Subject: strings.Repeat("x", 1025)},
		{Subject: "x", Reason: "\xff"}, {Network: netip.PrefixFrom(netip.MustParseAddr("10.0.0.1"), 33)},
		{Network: netip.PrefixFrom(netip.MustParseAddr("10.0.0.1"), 33), Subject: "x"}, {Stream: strings.Repeat("a/", 500) + "b"},
	} {
		_, err := l.Add(bad)
		assert.ErrorIs(t, err, ban.ErrInvalid, "%+v", bad)
		_, err = l.AddAll([]ban.Ban{{Subject: "anna"}, bad})
		assert.ErrorIs(t, err, ban.ErrInvalid)
	}
	assert.Empty(t, l.All())
	assert.NoFileExists(t, filepath.Join(dir, "bans.json"))
}

// A list has room for so many; those that have ended make some.
func TestFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, dir)
		soon := time.Now().Add(time.Minute)
		var many []ban.Ban
		for n := range ban.MaxBans - 1 {
			b := ban.Ban{Network: address(n), Reason: strings.Repeat(`<"\`, 300)}
			if n%2 == 0 {
				b.Until = soon
			}
			many = append(many, b)
		}
		added, err := l.AddAll(many)
		require.NoError(t, err)
		assert.Len(t, added, ban.MaxBans-1)
		added, err = l.AddAll([]ban.Ban{{Subject: "last"}, {Subject: "too many"}})
		assert.ErrorIs(t, err, ban.ErrFull)
		require.Len(t, added, 1)
		assert.EqualValues(t, ban.MaxBans, added[0].ID)
		_, err = l.Add(ban.Ban{Subject: "x"})
		assert.ErrorIs(t, err, ban.ErrFull)
		assert.Len(t, open(t, dir).All(), ban.MaxBans)
		time.Sleep(time.Minute)
		_, err = l.Add(ban.Ban{Subject: "x"})
		require.NoError(t, err)
		assert.Len(t, l.All(), ban.MaxBans/2+1)
		for _, s := range []struct {
			n    int
			want bool
		}{{0, false}, {1, true}, {9998, false}, {9997, true}} {
			_, ok := l.Match(session(t, hub.RoleWatch, address(s.n).Addr().String(), ""))
			assert.Equal(t, s.want, ok, s.n)
		}
	})
}

// No number is given twice, not even after a restart.
func TestNumbers(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	b, err := l.Add(ban.Ban{Subject: "anna"})
	require.NoError(t, err)
	found, err := l.Remove(b.ID)
	require.NoError(t, err)
	require.True(t, found)
	next, err := open(t, dir).Add(ban.Ban{Subject: "bert"})
	require.NoError(t, err)
	assert.Equal(t, b.ID+1, next.ID)
}

// The file is nobody else's to read, whoever left one there.
func TestFileMode(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bans.json.new"), []byte(strings.Repeat("x", 9999)), 0o666))
	l := open(t, dir)
	_, err := l.Add(ban.Ban{Subject: "anna"})
	require.NoError(t, err)
	info, err := os.Stat(filepath.Join(dir, "bans.json"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode())
	assert.Len(t, open(t, dir).All(), 1)
	assert.NoFileExists(t, filepath.Join(dir, "bans.json.new"))
}

// A change that was not written is written with the next.
func TestUnsaved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	l := open(t, dir)
	first, err := l.Add(ban.Ban{Subject: "anna"})
	assert.ErrorIs(t, err, ban.ErrUnsaved)
	assert.NotZero(t, first.ID)
	require.NoError(t, os.Mkdir(dir, 0o700))
	_, err = l.Add(ban.Ban{Subject: "bert"})
	require.NoError(t, err)
	assert.Len(t, open(t, dir).All(), 2)
	require.NoError(t, os.RemoveAll(dir))
	found, err := l.Remove(first.ID)
	assert.True(t, found)
	assert.ErrorIs(t, err, ban.ErrUnsaved)
	_, ok := l.Match(session(t, hub.RoleWatch, "192.0.2.1", "anna"))
	assert.False(t, ok)
}

// Whatever a list is kept by, a session is banned if one of the bans in force fits.
func TestIndex(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	l := open(t, "")
	var all []ban.Ban
	for range 2000 {
		switch {
		case len(all) > 0 && random.IntN(3) == 0:
			i := random.IntN(len(all))
			found, err := l.Remove(all[i].ID)
			require.NoError(t, err)
			require.True(t, found)
			all = append(all[:i], all[i+1:]...)
		case len(all) < 6:
			b := ban.Ban{Role: pick("", "publish", "watch"), Subject: pick("", "", "anna", "bert"), Stream: pick("", "live/cam", "live/x", "*/cam", "a/**")}
			if network := pick("", "", "10.0.0.1/32", "10.0.0.0/8", "2001:db8::1/128", "2001:db8::/32"); network != "" {
				b.Network = netip.MustParsePrefix(network)
			}
			if added, err := l.Add(b); err == nil {
				all = append(all, added)
			}
		}
		role, subject := hub.Role(random.IntN(2)), pick("", "anna", "bert")
		address := netip.MustParseAddr(pick("10.0.0.1", "10.2.3.4", "192.0.2.1", "2001:db8::2", "2001:db8:1::1"))
		s := session(t, role, address.String(), subject)
		want := false
		for _, b := range all {
			n := b.Network
			if n == netip.MustParsePrefix("2001:db8::1/128") {
				n = netip.MustParsePrefix("2001:db8::/64")
			}
			want = want || (b.Role == "" || b.Role == role.String()) && (b.Subject == "" || b.Subject == subject) &&
				(b.Stream == "" || b.Stream == "live/cam" || b.Stream == "*/cam") && (n == netip.Prefix{} || n.Contains(address))
		}
		_, got := l.Match(s)
		require.Equal(t, want, got, "%v %v %v: %+v", role, subject, address, all)
	}
}

// Bans at a time are all on the disk when they are said to be.
func TestAddsAtATime(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			b, err := l.Add(ban.Ban{Subject: fmt.Sprint(i)})
			assert.NoError(t, err)
			saved, err := ban.Open(dir)
			if assert.NoError(t, err) {
				_, ok := saved.Match(session(t, hub.RoleWatch, "192.0.2.1", fmt.Sprint(i)))
				assert.True(t, ok)
			}
			if i%2 == 0 {
				found, err := l.Remove(b.ID)
				assert.NoError(t, err)
				assert.True(t, found)
			}
		})
	}
	all.Wait()
	assert.Len(t, open(t, dir).All(), 8)
}

// FuzzOpen: a file is read, or refused; what was read is written so that it is read again.
func FuzzOpen(f *testing.F) {
	f.Add([]byte(`{"last":2,"bans":[{"id":1,"network":"10.0.0.0/8","since":"2026-01-01T00:00:00Z"},{"id":2,"stream":"live/*","role":"watch"}]}`))
	f.Add([]byte(`{"last":18446744073709551615,"bans":[{"id":1,"subject":"x","until":"2020-01-01T00:00:00Z"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "bans.json"), text, 0o600))
		l, err := ban.Open(dir)
		if err != nil {
			return
		}
		l.Match(session(t, hub.RoleWatch, "10.0.0.1", "x"))
		if b, err := l.Add(ban.Ban{Subject: "one more"}); err == nil {
			found, err := l.Remove(b.ID)
			require.NoError(t, err)
			require.True(t, found)
		}
		require.Equal(t, l.All(), open(t, dir).All())
	})
}

func BenchmarkMatch(b *testing.B) {
	for name, make := range map[string]func(n int) ban.Ban{
		"addresses": func(n int) ban.Ban { return ban.Ban{Network: address(n)} },
		"IPv6": func(n int) ban.Ban {
			return ban.Ban{Network: netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(n >> 8), byte(n)}), 128)}
		},
		"subjects": func(n int) ban.Ban { return ban.Ban{Subject: fmt.Sprint("key:", n), Stream: "live/cam"} },
		"streams":  func(n int) ban.Ban { return ban.Ban{Stream: fmt.Sprint("live/", n)} },
	} {
		b.Run(name, func(b *testing.B) {
			l := open(b, "")
			for n := range ban.MaxBans {
				_, err := l.Add(make(n))
				require.NoError(b, err)
			}
			for _, address := range []string{"192.0.2.1", "2001:db8:ffff::1"} {
				s := session(b, hub.RoleWatch, address, "anna")
				b.Run(address, func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						l.Match(s)
					}
				})
			}
		})
	}
}

// BenchmarkAdd is the last of 10,000 bans, on the disk.
func BenchmarkAdd(b *testing.B) {
	l := open(b, b.TempDir())
	var many []ban.Ban
	for n := range ban.MaxBans - 1 {
		many = append(many, ban.Ban{Network: address(n), Stream: "live/cam", Role: "watch"})
	}
	_, err := l.AddAll(many)
	require.NoError(b, err)
	for b.Loop() {
		added, err := l.Add(ban.Ban{Subject: "x"})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := l.Remove(added.ID); err != nil {
			b.Fatal(err)
		}
	}
}
