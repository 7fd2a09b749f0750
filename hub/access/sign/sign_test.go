package sign

import (
	"context"
	"fmt"
	"iter"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/hub/access"
)

var (
	cam      = hub.Key{App: "live", Name: "cam"}
	alice    = netip.MustParseAddr("192.0.2.7")
	nobody   = netip.Addr{}
	secret   = []byte("correct horse battery staple")
	twoYears = int64(1893456000) // 2030
)

// secrets yields the same secrets for all streams.
func secrets(all ...string) func(hub.Role, hub.Key) iter.Seq[[]byte] {
	return func(hub.Role, hub.Key) iter.Seq[[]byte] {
		return func(yield func([]byte) bool) {
			for _, s := range all {
				if !yield([]byte(s)) {
					return
				}
			}
		}
	}
}

// session is that of a client of a stream, with a query.
func session(t testing.TB, role hub.Role, key hub.Key, query string, c hub.Client) *hub.Session {
	t.Helper()
	values, err := url.ParseQuery(query)
	require.NoError(t, err)
	c.Query = values
	return new(hub.Hub).NewSession(role, key, c)
}

func from(address netip.Addr) hub.Client {
	return hub.Client{Protocol: "http-flv", Address: netip.AddrPortFrom(address, 4711)}
}

// Vectors that stand in documents: they never change. They were made by
// printf 'v1\nwatch\nlive/cam\n1893456000\n' | openssl dgst -sha256 -hmac 'correct horse battery staple'.
func TestVectors(t *testing.T) {
	for _, tt := range []struct {
		role    hub.Role
		key     hub.Key
		address netip.Addr
		want    string
	}{
		{hub.RoleWatch, cam, nobody, "9df7982b542178d9812a42318e76d46373a42cabfdd30a668b8ba10d84581d7a"},
		{hub.RoleWatch, cam, alice, "483dba71888214ec64fa5a6ccdb81a13c7944cd310efa52f271b0d4bc4a600eb"},
		{hub.RoleWatch, cam, netip.MustParseAddr("::ffff:192.0.2.7"), "483dba71888214ec64fa5a6ccdb81a13c7944cd310efa52f271b0d4bc4a600eb"},
		{hub.RoleWatch, cam, netip.MustParseAddr("2001:DB8:0::1%eth0"), "da3bdee51971e074baa159821bd432dad5779829400fb8901cab424c3aa81064"},
		{hub.RolePublish, hub.Key{App: "live/studio", Name: "ä b"}, nobody, "c1cf7f49e0d5e717d051b70f549041dd3ca4e20152c41923a26ab58dc1d35970"},
	} {
		assert.Equal(t, tt.want, Sign(tt.role, tt.key, secret, twoYears, tt.address))
	}
}

func TestMethod(t *testing.T) {
	good := Sign(hub.RoleWatch, cam, secret, twoYears, nobody)
	bound := Sign(hub.RoleWatch, cam, secret, twoYears, alice)
	q := func(expires, sign string) string { return "expires=" + expires + "&sign=" + sign }
	const until = "1893456000"
	method := New(Config{Secrets: secrets("old", string(secret)), Skew: 30 * time.Second})
	for _, tt := range []struct {
		name   string
		role   hub.Role
		key    hub.Key
		query  string
		client hub.Client
		want   error
	}{
		{"right", hub.RoleWatch, cam, q(until, good), from(alice), nil},
		{"among other parameters", hub.RoleWatch, cam, "start=live&" + q(until, good) + "&x=1&x=2", from(alice), nil},
		{"over RTMP", hub.RoleWatch, cam, q(until, good), hub.Client{Protocol: "rtmp"}, nil},
		{"an older secret", hub.RoleWatch, cam, q(until, Sign(hub.RoleWatch, cam, []byte("old"), twoYears, nobody)), from(alice), nil},
		{"for the client", hub.RoleWatch, cam, q(until, bound) + "&bind=1", from(alice), nil},
		{"for the client, by a listener of both", hub.RoleWatch, cam, q(until, bound) + "&bind=1", from(netip.MustParseAddr("::ffff:192.0.2.7")), nil},

		{"nothing", hub.RoleWatch, cam, "", from(alice), access.ErrMissing},
		{"no signature", hub.RoleWatch, cam, "expires=" + until + "&bind=1", from(alice), access.ErrMissing},
		{"no stream", hub.RoleWatch, hub.Key{}, q(until, good), from(alice), access.ErrMissing},

		{"another role", hub.RolePublish, cam, q(until, good), from(alice), access.ErrWrong},
		{"another app", hub.RoleWatch, hub.Key{App: "live2", Name: "cam"}, q(until, good), from(alice), access.ErrWrong},
		{"another name", hub.RoleWatch, hub.Key{App: "live", Name: "Cam"}, q(until, good), from(alice), access.ErrWrong},
		{"another time", hub.RoleWatch, cam, q("1893456001", good), from(alice), access.ErrWrong},
		{"another secret", hub.RoleWatch, cam, q(until, Sign(hub.RoleWatch, cam, []byte("x"), twoYears, nobody)), from(alice), access.ErrWrong},
		{"a wrong one that has expired", hub.RoleWatch, cam, q("1", good), from(alice), access.ErrWrong},

		{"another client", hub.RoleWatch, cam, q(until, bound) + "&bind=1", from(netip.MustParseAddr("192.0.2.8")), access.ErrWrong},
		{"bind taken away", hub.RoleWatch, cam, q(until, bound), from(alice), access.ErrWrong},
		{"bind added", hub.RoleWatch, cam, q(until, good) + "&bind=1", from(alice), access.ErrWrong},
		{"bind added, a client without an address", hub.RoleWatch, cam, q(until, good) + "&bind=1", hub.Client{}, access.ErrWrong},
		{"bind=0", hub.RoleWatch, cam, q(until, good) + "&bind=0", from(alice), access.ErrWrong},
		{"bind empty", hub.RoleWatch, cam, q(until, good) + "&bind=", from(alice), access.ErrWrong},
		{"bind=true", hub.RoleWatch, cam, q(until, bound) + "&bind=true", from(alice), access.ErrWrong},
		{"bind=2", hub.RoleWatch, cam, q(until, bound) + "&bind=2", from(alice), access.ErrWrong},
		{"bind twice", hub.RoleWatch, cam, q(until, bound) + "&bind=1&bind=1", from(alice), access.ErrWrong},

		{"upper case", hub.RoleWatch, cam, q(until, strings.ToUpper(good)), from(alice), access.ErrWrong},
		{"short", hub.RoleWatch, cam, q(until, good[1:]), from(alice), access.ErrWrong},
		{"long", hub.RoleWatch, cam, q(until, good+"0"), from(alice), access.ErrWrong},
		{"empty", hub.RoleWatch, cam, q(until, ""), from(alice), access.ErrWrong},
		{"no time", hub.RoleWatch, cam, "sign=" + good, from(alice), access.ErrWrong},
		{"sign twice", hub.RoleWatch, cam, q(until, good) + "&sign=" + good, from(alice), access.ErrWrong},
		{"expires twice", hub.RoleWatch, cam, q(until, good) + "&expires=" + until, from(alice), access.ErrWrong},
		{"Sign", hub.RoleWatch, cam, "expires=" + until + "&Sign=" + good, from(alice), access.ErrMissing},
		{"forms of others, which are off", hub.RoleWatch, cam, "txSecret=x&auth_key=x", from(alice), access.ErrMissing},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g, err := method.Decide(t.Context(), session(t, tt.role, tt.key, tt.query, tt.client))
			require.ErrorIs(t, err, tt.want)
			if tt.want == nil {
				assert.Equal(t, time.Unix(twoYears, 0).Add(30*time.Second), g.Until)
			} else {
				assert.Zero(t, g)
				assert.NotContains(t, err.Error(), good[:8])
			}
		})
	}
	for _, expires := range []string{"", "0", "01893456000", "+1893456000", " 1893456000", "1893456000 ", "-1", "1893456000.0",
		"1.893456e9", "0x70dbd880", "１８９３４５６０００", "1893456000\x00", "1000000000000", strings.Repeat("9", 5000)} {
		_, err := method.Decide(t.Context(), session(t, hub.RoleWatch, cam, url.Values{
			"expires": {expires}, "sign": {signature(hub.RoleWatch, cam, secret, expires, nobody)}}.Encode(), from(alice)))
		require.ErrorIs(t, err, access.ErrWrong, "expires=%q, even if it was signed so", expires)
	}
	_, err := New(Config{}).Decide(t.Context(), session(t, hub.RoleWatch, cam, q(until, good), from(alice)))
	require.ErrorIs(t, err, access.ErrWrong, "no secrets")
}

// Who has a right address hears that it is over, at the end of the skew and not before.
func TestExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		method := New(Config{Secrets: secrets(string(secret)), Skew: 30 * time.Second})
		expires := time.Now().Add(time.Minute).Unix()
		s := session(t, hub.RolePublish, cam, fmt.Sprintf("expires=%d&sign=%s", expires, Sign(hub.RolePublish, cam, secret, expires, nobody)), hub.Client{})
		time.Sleep(90*time.Second - 1)
		_, err := method.Decide(t.Context(), s)
		require.NoError(t, err)
		time.Sleep(time.Nanosecond)
		_, err = method.Decide(t.Context(), s)
		require.ErrorIs(t, err, access.ErrExpired)
	})
}

func TestIdentity(t *testing.T) {
	method := New(Config{Secrets: secrets(string(secret), "second")})
	decide := func(role hub.Role, secret string, expires int64) hub.Grant {
		g, err := method.Decide(t.Context(), session(t, role, cam, fmt.Sprintf("expires=%d&sign=%s", expires, Sign(role, cam, []byte(secret), expires, nobody)), hub.Client{}))
		require.NoError(t, err)
		return g
	}
	one, other := decide(hub.RolePublish, string(secret), twoYears), decide(hub.RolePublish, "second", twoYears+1)
	assert.Equal(t, "sign:live/cam", one.Identity)
	assert.Equal(t, one.Identity, other.Identity, "the same signed stream is the same publisher")
	assert.NotEqual(t, one.Subject, other.Subject)
	viewer, again, another := decide(hub.RoleWatch, string(secret), twoYears), decide(hub.RoleWatch, string(secret), twoYears), decide(hub.RoleWatch, string(secret), twoYears+1)
	assert.Equal(t, viewer, again)
	assert.NotEqual(t, viewer.Identity, another.Identity)
	assert.Regexp(t, "^sign:[0-9a-f]{10}$", viewer.Subject)
	assert.NotContains(t, Sign(hub.RoleWatch, cam, secret, twoYears, nobody), strings.TrimPrefix(viewer.Subject, "sign:"))
}

func FuzzDecide(f *testing.F) {
	good := "expires=1893456000&sign=" + Sign(hub.RoleWatch, cam, secret, twoYears, nobody)
	bound := "expires=1893456000&bind=1&sign=" + Sign(hub.RoleWatch, cam, secret, twoYears, alice)
	for _, seed := range []string{good, bound, good + "&bind=1", good + "&sign=", "txSecret=" + md5Hex("x") + "&txTime=5C271099", "auth_key=1444435200-0-0-" + md5Hex("x"), "expires=01&sign=%zz"} {
		f.Add(seed)
	}
	method := New(Config{Secrets: secrets(string(secret)), Formats: Formats{Sluice, Tencent, Aliyun}})
	f.Fuzz(func(t *testing.T, query string) {
		values, _ := url.ParseQuery(query)
		c := from(alice)
		c.Query = values
		g, err := method.Decide(context.Background(), new(hub.Hub).NewSession(hub.RoleWatch, cam, c))
		if err != nil {
			require.Zero(t, g)
			return
		}
		// Nobody guesses a signature: it is one of the two seeds, with other parameters beside it.
		require.Equal(t, []string{"1893456000"}, values["expires"])
		want := Sign(hub.RoleWatch, cam, secret, twoYears, nobody)
		if values.Has("bind") {
			require.Equal(t, []string{"1"}, values["bind"])
			want = Sign(hub.RoleWatch, cam, secret, twoYears, alice)
		}
		require.True(t, slices.Equal([]string{want}, values["sign"]))
	})
}

func BenchmarkDecide(b *testing.B) {
	method := New(Config{Secrets: secrets("old", string(secret)), Formats: Formats{Sluice, Tencent, Aliyun}})
	s := session(b, hub.RoleWatch, cam, "expires=1893456000&bind=1&sign="+Sign(hub.RoleWatch, cam, secret, twoYears, alice), from(alice))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := method.Decide(b.Context(), s); err != nil {
			b.Fatal(err)
		}
	}
}
