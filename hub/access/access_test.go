package access_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"sluice/hub"
	"sluice/hub/access"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	cam  = hub.Key{App: "live", Name: "cam"}
	mark = access.NewMark([]byte("salt"))
)

// session makes the session of a client that shows a query, such as "key=x".
func session(role hub.Role, key hub.Key, query string, set ...func(*hub.Client)) *hub.Session {
	values, err := url.ParseQuery(query)
	if err != nil {
		panic(err)
	}
	c := hub.Client{Protocol: "test", Query: values, Address: netip.MustParseAddrPort("192.0.2.1:1")}
	for _, f := range set {
		f(&c)
	}
	return hub.New(hub.Config{}).NewSession(role, key, c)
}

func secrets(t testing.TB, text string) func() *access.Secrets {
	var s access.Secrets
	require.NoError(t, s.UnmarshalText([]byte(text)))
	return func() *access.Secrets { return &s }
}

func streamKeys(t testing.TB, text string) func() *access.StreamKeys {
	var k access.StreamKeys
	require.NoError(t, k.UnmarshalText([]byte(text)))
	return func() *access.StreamKeys { return &k }
}

// The secrets of a stream come in the order of their list, and what takes out counts there.
func TestSecrets(t *testing.T) {
	list := secrets(t, "live/* one; live/cam two\n**  thr%65e; !live/private; live/cam four; live/private five;!live/gone")()
	for stream, want := range map[string]string{
		"live/cam": "one two three four", "live/other": "one three", "a/b/c": "three", "live/private": "five", "live/gone": "",
	} {
		app, name, _ := strings.Cut(stream, "/")
		if i := strings.LastIndexByte(stream, '/'); i >= 0 {
			app, name = stream[:i], stream[i+1:]
		}
		var got []string
		for s := range list.For(hub.Key{App: app, Name: name}) {
			got = append(got, string(s))
		}
		assert.Equal(t, want, strings.Join(got, " "), stream)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		assert.Equal(t, "7 entries", fmt.Sprintf(format, *list))
	}
	assert.Equal(t, 7, list.Len())
	var none access.Secrets
	for range none.For(cam) {
		t.Error("a secret of no list")
	}
}

// A bad list is an error that quotes no secret.
func TestBadSecrets(t *testing.T) {
	for _, text := range []string{
		"live/cam", "SECRET", "!live/cam SECRET", "live/cam SECRET more", "live/cam SECRET%zz", "live//cam SECRET",
		"live/cam SECRET" + strings.Repeat("x", 1100), strings.Repeat("x", 2<<20),
	} {
		err := new(access.Secrets).UnmarshalText([]byte(text))
		if assert.Error(t, err, text[:min(len(text), 40)]) {
			assert.NotContains(t, err.Error(), "SECRET %")
			assert.NotContains(t, strings.ReplaceAll(err.Error(), "PATTERN SECRET", ""), "SECRET")
		}
	}
	for _, text := range []string{
		"SECRETS", "SECRETS live/cam more", "SEC%2FRETS live/cam", "SECRETS cam", "SECRETS%zz live/cam", "SECRETS live/cam; SECRETS live/x",
		strings.Repeat("SECRETS", 40) + " live/cam",
	} {
		err := new(access.StreamKeys).UnmarshalText([]byte(text))
		if assert.Error(t, err, text) {
			assert.NotContains(t, err.Error(), "SECRETS")
		}
	}
}

// A key is good for its streams, once, as it is written.
func TestKey(t *testing.T) {
	m := access.Key(secrets(t, "live/* s3cret; other/* geheim; live/cam zweites"), mark)
	for query, want := range map[string]error{
		"key=s3cret": nil, "key=s3cret&key2=x": nil, "a=b&key=zweites": nil,
		"": access.ErrMissing, "Key=s3cret": access.ErrMissing, "key=": access.ErrWrong, "key=S3cret": access.ErrWrong,
		"key=geheim": access.ErrWrong, "key=s3cret&key=s3cret": access.ErrWrong, "key=s3cret%00": access.ErrWrong,
		"key=s3cret+": access.ErrWrong, "key=live/*": access.ErrWrong, "key=" + strings.Repeat("x", 1<<20): access.ErrWrong,
	} {
		_, err := m.Decide(t.Context(), session(hub.RoleWatch, cam, query))
		if want == nil {
			assert.NoError(t, err, query)
		} else {
			assert.ErrorIs(t, err, want, query[:min(40, len(query))])
			assert.NotContains(t, err.Error(), "s3cret")
		}
	}
	one, _ := m.Decide(t.Context(), session(hub.RolePublish, cam, "key=s3cret&a=1"))
	two, _ := m.Decide(t.Context(), session(hub.RolePublish, cam, "b=2&key=s3cret"))
	other, _ := m.Decide(t.Context(), session(hub.RolePublish, cam, "key=zweites"))
	assert.Equal(t, one, two, "the same key is the same publisher")
	assert.NotEqual(t, one.Identity, other.Identity)
	assert.NotEqual(t, one.Subject, other.Subject)
	assert.NotContains(t, one.Subject, "s3cret")
}

// A stream key is a name that nobody sees, and only for publishers.
func TestStreamKey(t *testing.T) {
	m := access.StreamKey(streamKeys(t, "s3cret live/cam; abc%20d live/studio/two"), mark)
	grant, err := m.Decide(t.Context(), session(hub.RolePublish, hub.Key{App: "anything", Name: "s3cret"}, ""))
	require.NoError(t, err)
	assert.Equal(t, cam, grant.Key)
	assert.NotContains(t, grant.Subject, "s3cret")
	grant, err = m.Decide(t.Context(), session(hub.RolePublish, hub.Key{App: "live", Name: "abc d"}, ""))
	require.NoError(t, err)
	assert.Equal(t, hub.Key{App: "live/studio", Name: "two"}, grant.Key)
	_, err = m.Decide(t.Context(), session(hub.RolePublish, cam, ""))
	assert.ErrorIs(t, err, access.ErrWrong, "the name is no key")
	_, err = m.Decide(t.Context(), session(hub.RoleWatch, hub.Key{App: "live", Name: "s3cret"}, ""))
	assert.ErrorIs(t, err, access.ErrMissing)
	assert.NotContains(t, mark.Disguise(hub.Key{App: "live", Name: "s3cret"}), "s3cret")
	assert.NotContains(t, mark.Disguise(hub.Key{App: "live/s3cret", Name: "cam"}), "s3cret", "it stood in the field of the server")
	assert.Equal(t, mark.Disguise(cam), access.NewMark([]byte("salt")).Disguise(cam))
	assert.NotEqual(t, mark.Disguise(cam), access.NewMark([]byte("other")).Disguise(cam))
}

// method is a Method with one answer.
type method struct {
	grant hub.Grant
	err   error
}

func (m method) Decide(context.Context, *hub.Session) (hub.Grant, error) { return m.grant, m.err }

// The first grant decides; of several refusals the client is told the most telling.
func TestPolicyOrder(t *testing.T) {
	no := func(err error) access.Named { return access.Named{Name: "no", Method: method{err: err}} }
	yes := access.Named{Name: "yes", Method: method{grant: hub.Grant{Subject: "x"}}}
	for _, test := range []struct {
		methods []access.Named
		want    error
	}{
		{[]access.Named{yes, no(access.ErrWrong)}, nil},
		{[]access.Named{no(access.ErrWrong), yes}, nil},
		{[]access.Named{no(access.ErrMissing), no(access.ErrExpired)}, access.ErrExpired},
		{[]access.Named{no(access.ErrWrong), no(access.ErrExpired)}, access.ErrWrong},
		{[]access.Named{no(errors.ErrUnsupported), no(access.ErrMissing)}, errors.ErrUnsupported},
		{[]access.Named{no(access.ErrMissing), no(access.ErrMissing)}, access.ErrMissing},
		{nil, access.ErrMissing},
	} {
		var told string
		p := access.New(access.Config{
			Watch: access.Rules{Methods: test.methods},
			Decided: func(role hub.Role, method, result string, _ time.Duration) {
				told = role.String() + " " + method + " " + result
			},
		})
		grant, err := p.Authorize(t.Context(), session(hub.RoleWatch, cam, ""))
		if test.want == nil {
			require.NoError(t, err)
			assert.Equal(t, "yes", grant.Method)
			assert.Equal(t, "watch yes granted", told)
			continue
		}
		assert.ErrorIs(t, err, test.want)
		assert.NotContains(t, told, "granted")
	}
}

// Networks are looked at before anything is asked.
func TestPolicyNetworks(t *testing.T) {
	prefixes := func(texts ...string) (all []netip.Prefix) {
		for _, text := range texts {
			all = append(all, netip.MustParsePrefix(text))
		}
		return all
	}
	p := access.New(access.Config{
		Publish: access.Rules{Methods: []access.Named{{"open", access.Open()}}, Allow: prefixes("10.0.0.0/8"), Deny: prefixes("10.1.0.0/16")},
		Watch:   access.Rules{Methods: []access.Named{{"open", access.Open()}}, Deny: prefixes("192.0.2.0/24", "2001:db8::/32")},
	})
	for _, test := range []struct {
		address        string
		publish, watch bool
	}{
		{"10.0.0.1:1", true, true}, {"10.1.0.1:1", false, true}, {"192.0.2.7:1", false, false},
		{"[::ffff:10.0.0.1]:1", true, true}, {"[::ffff:192.0.2.7]:1", false, false}, {"[2001:db8::1%eth0]:1", false, false}, {"[2001:db9::1]:1", false, true},
	} {
		from := func(c *hub.Client) { c.Address = netip.MustParseAddrPort(test.address) }
		_, err := p.Authorize(t.Context(), session(hub.RolePublish, cam, "", from))
		assert.Equal(t, test.publish, err == nil, "publish from %s", test.address)
		_, err = p.Authorize(t.Context(), session(hub.RoleWatch, cam, "", from))
		assert.Equal(t, test.watch, err == nil, "watch from %s", test.address)
	}
	assert.False(t, p.Open(hub.RolePublish))
	assert.True(t, access.New(access.Config{Watch: access.Rules{Methods: []access.Named{{"open", access.Open()}}}}).Open(hub.RoleWatch))
}

// Where there is no Origin the Referer says which page it is.
func TestPolicyReferer(t *testing.T) {
	p := access.New(access.Config{
		Watch:   access.Rules{Methods: []access.Named{{"open", access.Open()}}},
		Referer: func(origin string) bool { return origin == "https://good.example" },
	})
	for referer, want := range map[string]bool{
		"": true, "https://good.example/page?x=y": true, "http://good.example/": false, "https://good.example.evil/": false,
		"http://self:8080/": true, "nonsense": false, "://": false,
	} {
		_, err := p.Authorize(t.Context(), session(hub.RoleWatch, cam, "", func(c *hub.Client) { c.Referer, c.Host = referer, "self:8080" }))
		assert.Equal(t, want, err == nil, referer)
	}
	_, err := p.Authorize(t.Context(), session(hub.RoleWatch, cam, "", func(c *hub.Client) { c.Referer, c.Origin = "http://x/", "https://good.example" }))
	assert.NoError(t, err)
}

// Wrong secrets of one address are counted, others' are not, and a minute later all is forgotten.
func TestPolicyFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := access.New(access.Config{
			Watch:    access.Rules{Methods: []access.Named{{"key", access.Key(secrets(t, "** good"), mark)}}},
			Failures: access.Rate{Most: 3, Within: time.Minute},
		})
		ask := func(address, query string, set ...func(*hub.Client)) error {
			set = append(set, func(c *hub.Client) { c.Address = netip.MustParseAddrPort(address) })
			_, err := p.Authorize(t.Context(), session(hub.RoleWatch, cam, query, set...))
			return err
		}
		const one, same, other = "[2001:db8:0:1::1]:1", "[2001:db8:0:1::2]:9", "[2001:db8:0:2::1]:1"
		for range 10 {
			assert.ErrorIs(t, ask(one, ""), access.ErrMissing)
			assert.ErrorIs(t, ask(one, "key=bad", func(c *hub.Client) { c.Recording = hub.AnyRecording }), access.ErrWrong)
		}
		assert.ErrorIs(t, ask(one, "key=bad"), access.ErrWrong, "the second: the list is the first")
		assert.NoError(t, ask(one, "key=good"))
		time.Sleep(time.Minute) // the time in which is counted is over
		for range 3 {
			assert.ErrorIs(t, ask(one, "key=bad"), access.ErrWrong)
		}
		var refusal *hub.Refusal
		for _, address := range []string{one, same} {
			require.ErrorAs(t, ask(address, "key=good"), &refusal)
			assert.Equal(t, hub.ReasonTooMany, refusal.Reason)
		}
		assert.NoError(t, ask(other, "key=good"))
		time.Sleep(time.Minute)
		assert.NoError(t, ask(one, "key=good"))
	})
}

// What is known of addresses is bounded.
func TestFailuresAreBounded(t *testing.T) {
	p := access.New(access.Config{
		Watch:    access.Rules{Methods: []access.Named{{"key", access.Key(secrets(t, "** good"), mark)}}},
		Failures: access.Rate{Most: 1, Within: time.Hour},
	})
	ask := func(n int, query string) error {
		addr := netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
		_, err := p.Authorize(t.Context(), session(hub.RoleWatch, cam, query, func(c *hub.Client) { c.Address = netip.AddrPortFrom(addr, 1) }))
		return err
	}
	for n := range 65536 + 10 {
		assert.Error(t, ask(n, "key=bad"))
	}
	assert.NoError(t, ask(0, "key=good"), "the oldest was let go")
	assert.Error(t, ask(65536, "key=good"))
}

// A ban is looked at before anything is asked, and again later.
func TestPolicyBans(t *testing.T) {
	p := access.New(access.Config{
		Watch:  access.Rules{Methods: []access.Named{{"open", access.Open()}}},
		Banned: func(*hub.Session) error { return &hub.Refusal{Reason: hub.ReasonKicked, Detail: "spam"} },
	})
	_, err := p.Authorize(t.Context(), session(hub.RoleWatch, cam, ""))
	assert.EqualError(t, err, "denied: spam")
	assert.EqualError(t, p.Recheck(session(hub.RoleWatch, cam, "")), "kicked: spam")
}

func BenchmarkKey(b *testing.B) {
	var text strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&text, "live/s%d secret%d\n", i, i)
	}
	p := access.New(access.Config{
		Watch:    access.Rules{Methods: []access.Named{{"key", access.Key(secrets(b, text.String()), mark)}}},
		Failures: access.Rate{Most: 20, Within: time.Minute},
	})
	s := session(hub.RoleWatch, hub.Key{App: "live", Name: "s9999"}, "key=secret9999")
	for b.Loop() {
		if _, err := p.Authorize(context.Background(), s); err != nil {
			b.Fatal(err)
		}
	}
}
