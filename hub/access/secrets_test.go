package access_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/hub/access"
	"sluice/hub/pattern"
)

// FuzzSecrets: a list means what its entries mean one after the other, whatever it is kept by.
func FuzzSecrets(f *testing.F) {
	f.Add("live/* one; live/cam two; ** three; !live/x; live/x four", "live/x")
	f.Add("a/** 1;**/b 2;!a/*;*/b 3", "a/b")
	f.Add("a%20b/c%2A x%00y", "a b/c")
	f.Fuzz(func(t *testing.T, text, stream string) {
		var s access.Secrets
		if s.UnmarshalText([]byte(text)) != nil {
			return
		}
		key, err := hub.NewKey("", stream)
		if err != nil {
			return
		}
		entries, err := pattern.Entries(text)
		require.NoError(t, err)
		require.Equal(t, len(entries), s.Len())
		var want, got []string
		for _, fields := range entries {
			p, err := pattern.Parse(fields[0])
			require.NoError(t, err)
			switch {
			case !p.Matches(key.String()):
			case p.Out():
				want = nil
			default:
				secret, err := pattern.Decode(fields[1])
				require.NoError(t, err)
				want = append(want, secret)
			}
		}
		for secret := range s.For(key) {
			got = append(got, string(secret))
		}
		require.Equal(t, want, got)
	})
}

// A list stops where its reader does, and one that cannot be read leaves the last in force.
func TestSecretsStopAndStay(t *testing.T) {
	s := secrets(t, "** one; ** two")()
	for secret := range s.For(cam) {
		assert.Equal(t, "one", string(secret))
		break
	}
	require.ErrorContains(t, s.UnmarshalText([]byte("live/cam x; live/cam")), "entry 2:")
	require.ErrorContains(t, s.UnmarshalText([]byte("!live/cam; ** x")), "entry 1:")
	assert.Equal(t, 2, s.Len())
	require.NoError(t, s.UnmarshalText(nil))
	assert.Zero(t, s.Len())
}

// Nothing prints a secret, not even as a part of something that is printed as it is.
func TestSecretsAreNotPrinted(t *testing.T) {
	type inside struct {
		secrets access.Secrets
		keys    access.StreamKeys
		mark    access.Mark
	}
	s, k := secrets(t, "** SECRET")(), streamKeys(t, "SECRET live/cam")()
	all := inside{*s, *k, access.NewMark([]byte("SECRET"))}
	grant, err := access.Key(func() *access.Secrets { return s }, mark).Decide(t.Context(), session(hub.RoleWatch, cam, "key=SECRET"))
	require.NoError(t, err)
	streamGrant, err := access.StreamKey(func() *access.StreamKeys { return k }, mark).
		Decide(t.Context(), session(hub.RolePublish, hub.Key{App: "live", Name: "SECRET"}, ""))
	require.NoError(t, err)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secrets", *s, "pointer", s, "keys", *k, "all", all, "grant", grant)
	numbers := strings.Trim(fmt.Sprint([]byte("SECRET")), "[]")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, value := range []any{*s, s, *k, k, all, &all, []any{all}, all.mark, grant, streamGrant} {
			fmt.Fprintf(&log, verb+"\n", value)
		}
	}
	hexadecimal := fmt.Sprintf("%x", "SECRET")
	for _, secret := range []string{"SECRET", numbers, hexadecimal} {
		assert.NotContains(t, log.String(), secret)
	}
}

// A stream key arrives as it is typed, or is refused when it is configured.
func TestBadStreamKeys(t *testing.T) {
	for text, want := range map[string]string{
		"geheim":                            "must be SECRET APP/NAME",
		"geheim live/cam 3":                 "must be SECRET APP/NAME",
		"geh/eim live/cam":                  "letters, digits",
		"geh%2Feim live/cam":                "letters, digits",
		"geheim%3F live/cam":                "letters, digits",
		"geheim%25 live/cam":                "letters, digits",
		"geheim%00 live/cam":                "letters, digits",
		"geh%0Aeim live/cam":                "letters, digits",
		".. live/cam":                       "letters, digits",
		"geheim#1 live/cam":                 "letters, digits",
		"geheim%ff live/cam":                "letters, digits",
		strings.Repeat("g", 300) + " a/b":   "at most 250",
		strings.Repeat("g", 2000) + " a/b":  "1 to 1024 bytes",
		"geheim.flv live/cam":               ".flv behind it",
		"mp4:geheim live/cam":               "before a name",
		"flv:geheim live/cam":               "before a name",
		"%20geheim live/cam":                "spaces around it",
		"geheim%20 live/cam":                "spaces around it",
		"_definst_ live/cam":                "cannot be a stream key",
		"a live/geheim%zz":                  "APP/NAME",
		"a geheim":                          "APP/NAME",
		"a live/*":                          "APP/NAME",
		"a live/geheim#":                    "APP/NAME",
		"live/cam geheim":                   "letters, digits",
		"geheim live/a; geheim live/b":      "entry 2: the secret is in an entry before",
		"geheim live/a; geh%65im live/a":    "entry 2: the secret is in an entry before",
		"a live/x; geheim live/geheim":      "entry 2: the secret is the name of a stream",
		"geheim live/x; other live2/geheim": "entry 1: the secret is the name of a stream",
	} {
		k := streamKeys(t, "alt live/neu")()
		err := k.UnmarshalText([]byte(text))
		if assert.ErrorContains(t, err, want, text) {
			assert.NotContains(t, err.Error(), "geh")
			assert.NotContains(t, err.Error(), "eim")
		}
		assert.Equal(t, []hub.Key{{App: "live", Name: "neu"}}, k.Streams(), "it is left alone")
	}
}

// FuzzStreamKeys: each secret of a list that is read names its stream, and no name does.
func FuzzStreamKeys(f *testing.F) {
	f.Add("s3cret live/cam; abc%20d live/studio/two")
	f.Add("a b/a")
	f.Fuzz(func(t *testing.T, text string) {
		var k access.StreamKeys
		if k.UnmarshalText([]byte(text)) != nil {
			return
		}
		entries, err := pattern.Entries(text)
		require.NoError(t, err)
		for _, fields := range entries {
			secret, err := pattern.Decode(fields[0])
			require.NoError(t, err)
			key, ok := k.Stream(secret)
			require.True(t, ok)
			require.Contains(t, k.Streams(), key)
			_, ok = k.Stream(key.Name)
			require.False(t, ok)
		}
	})
}

// What a client shows in place of a key, or beside it, is no key.
func TestKeyAttacks(t *testing.T) {
	m := access.Key(secrets(t, "live/* s3cret; a/b other%26; live/cam/x deep"), mark)
	for _, shown := range [][]string{
		nil, {""}, {"", "s3cret"}, {"s3cret", ""}, {"s3cret", "s3cret"}, {"S3CRET"}, {"s3cret "}, {" s3cret"}, {"s3cret\x00"},
		{"s3cret\n"}, {"s3creT"}, {"s3cre"}, {"s3crets"}, {"%733cret"}, {"other&"}, {"deep"}, {"*"}, {"live/*"}, {"ｓ3cret"},
		{strings.Repeat("s3cret", 1<<18)}, slices.Repeat([]string{"s3cret"}, 1000),
	} {
		s := session(hub.RolePublish, cam, "", func(c *hub.Client) { c.Query = map[string][]string{"key": shown} })
		_, err := m.Decide(t.Context(), s)
		assert.ErrorIs(t, err, access.ErrWrong, "%.40q", shown)
	}
	for _, query := range []string{"KEY=s3cret", "Key=s3cret", "key%00=s3cret", "key[]=s3cret", "xkey=s3cret", "name=key=s3cret"} {
		_, err := m.Decide(t.Context(), session(hub.RolePublish, cam, query))
		assert.ErrorIs(t, err, access.ErrMissing, query)
	}
	// The pattern fits names as they are: case, and other streams, are others'.
	for _, key := range []hub.Key{{App: "Live", Name: "cam"}, {App: "live/x", Name: "cam"}, {App: "x", Name: "live"}} {
		_, err := m.Decide(t.Context(), session(hub.RolePublish, key, "key=s3cret"))
		assert.ErrorIs(t, err, access.ErrWrong, key)
	}
	_, err := m.Decide(t.Context(), session(hub.RolePublish, hub.Key{App: "live", Name: "cam%2F.flv"}, "key=s3cret&key2=x"))
	assert.NoError(t, err, "the control")
}

// What a publisher writes that is almost a stream key is none.
func TestStreamKeyAttacks(t *testing.T) {
	m := access.StreamKey(streamKeys(t, "s3cret live/cam; studio live/two"), mark)
	for _, name := range []string{"", "cam", "two", "S3CRET", "s3cret ", "s3cret.flv", "s3cret?key=x", "s3cre", strings.Repeat("s", 1<<20)} {
		for _, app := range []string{"", "live", "s3cret", "a/b"} {
			_, err := m.Decide(t.Context(), session(hub.RolePublish, hub.Key{App: app, Name: name}, "key=s3cret"))
			assert.ErrorIs(t, err, access.ErrWrong, "%.20q", name)
		}
	}
	one, err := m.Decide(t.Context(), session(hub.RolePublish, hub.Key{App: "a", Name: "s3cret"}, "x=1"))
	require.NoError(t, err)
	two, err := m.Decide(t.Context(), session(hub.RolePublish, hub.Key{App: "b/c", Name: "s3cret"}, "y=2&key=x"))
	require.NoError(t, err)
	assert.Equal(t, one, two, "the same key is the same publisher")
}

// Lists change while they are asked: each answer is that of the old list or of the new one.
func TestSecretsChangeWhileAsked(t *testing.T) {
	lists := [2]*access.Secrets{secrets(t, "** old; ** both")(), secrets(t, "** both; ** new")()}
	keys := [2]*access.StreamKeys{streamKeys(t, "old live/a; both live/b")(), streamKeys(t, "new live/a; both live/b")()}
	var list atomic.Pointer[access.Secrets]
	var streams atomic.Pointer[access.StreamKeys]
	list.Store(lists[0])
	streams.Store(keys[0])
	p := access.New(access.Config{
		Watch:   access.Rules{Methods: []access.Named{{"key", access.Key(list.Load, mark)}}},
		Publish: access.Rules{Methods: []access.Named{{"streamkey", access.StreamKey(streams.Load, mark)}}},
	})
	var asking, changing sync.WaitGroup
	over := make(chan struct{})
	changing.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-over:
				return
			default:
				list.Store(lists[i%2])
				streams.Store(keys[i%2])
			}
		}
	})
	for range 4 {
		asking.Go(func() {
			for range 200 {
				_, err := p.Authorize(t.Context(), session(hub.RoleWatch, cam, "key=both"))
				assert.NoError(t, err)
				_, err = p.Authorize(t.Context(), session(hub.RoleWatch, cam, "key=none"))
				assert.ErrorIs(t, err, access.ErrWrong)
				grant, err := p.Authorize(t.Context(), session(hub.RolePublish, hub.Key{App: "x", Name: "both"}, ""))
				assert.NoError(t, err)
				assert.Equal(t, hub.Key{App: "live", Name: "b"}, grant.Key)
			}
		})
	}
	asking.Wait()
	close(over)
	changing.Wait()
}

// A look costs as much with 10,000 tenants as with a few.
func BenchmarkKeyOfTenants(b *testing.B) {
	for _, form := range []string{"tenant%d/* ", "tenant%d/** ", "tenant%d/cam "} {
		for _, n := range []int{10, 10_000} {
			b.Run(fmt.Sprintf(form, n), func(b *testing.B) {
				var text strings.Builder
				for i := range n {
					fmt.Fprintf(&text, form+"secret%d\n", i, i)
				}
				m := access.Key(secrets(b, text.String()), mark)
				which := rand.IntN(n)
				s := session(hub.RoleWatch, hub.Key{App: fmt.Sprint("tenant", which), Name: "cam"}, "key=secret"+strconv.Itoa(which))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := m.Decide(b.Context(), s); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
