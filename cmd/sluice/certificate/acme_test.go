package certificate

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// ordering is an authority whose orders a test makes.
type ordering struct {
	*Source
	log    logged
	mu     sync.Mutex
	orders []time.Time // when each was made
	fail   error
	under  int // orders that are under way
	most   int // at a time
	takes  time.Duration
}

func newOrdering(t *testing.T, dir string, names ...string) *ordering {
	t.Helper()
	o := &ordering{}
	var err error
	o.Source, err = Open(Config{Domains: names, StateDir: dir, Logger: o.log.logger()})
	require.NoError(t, err)
	o.acme.obtain = func(ctx context.Context, d *domain) (*tls.Certificate, error) {
		o.mu.Lock()
		o.orders = append(o.orders, time.Now())
		o.under++
		o.most = max(o.most, o.under)
		fail, takes := o.fail, o.takes
		o.mu.Unlock()
		defer func() { o.mu.Lock(); o.under--; o.mu.Unlock() }()
		select {
		case <-time.After(takes):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if fail != nil {
			return nil, fail
		}
		m := template{names: []string{d.name}, notBefore: time.Now(), notAfter: time.Now().Add(90 * day)}.make(t)
		cert, err := content{cert: m.cert, key: m.key}.parse()
		require.NoError(t, err)
		return cert, nil
	}
	return o
}

// set says how further orders go.
func (o *ordering) set(fail error, takes time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fail, o.takes = fail, takes
}

// made returns when orders were made, and how many at a time at the most.
func (o *ordering) made() ([]time.Time, int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.orders), o.most
}

// Orders that fail are made anew later and later, and each is one line in the log. Who asks has them
// made at once.
func TestRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrdering(t, t.TempDir(), "a.example")
		o.set(errors.New("no such name"), 0)
		go o.Run(t.Context())
		time.Sleep(4 * time.Hour)
		synctest.Wait()
		orders, _ := o.made()
		require.GreaterOrEqual(t, len(orders), 5)
		for i, want := range []time.Duration{2 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour, time.Hour} {
			if i+1 < len(orders) {
				assert.InDelta(t, want*11/10, orders[i+1].Sub(orders[i]), float64(want)/10)
			}
		}
		lines := o.log.take()
		assert.Len(t, lines, len(orders))
		assert.Contains(t, lines[0], `level=WARN msg="no certificate could be obtained" domain=a.example reason="no such name" again_in=2m`)
		assert.Equal(t, "no such name", o.Certificates()[0].Problem)

		o.set(nil, 0)
		o.Reload()
		synctest.Wait()
		again, _ := o.made()
		assert.Len(t, again, len(orders)+1)
		assert.Empty(t, o.Certificates()[0].Problem)
		o.Reload()
		synctest.Wait()
		again, _ = o.made()
		assert.Len(t, again, len(orders)+1, "there is nothing to be made anew")
	})
}

// A certificate is renewed after two thirds of its time; where that fails the old one is served.
func TestRenewals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrdering(t, t.TempDir(), "a.example")
		go o.Run(t.Context())
		time.Sleep(59 * day)
		synctest.Wait()
		orders, _ := o.made()
		require.Len(t, orders, 1)
		first := o.acme.domains[0].cert.Load()
		o.set(errors.New("out of order"), 0)
		o.log.take()
		time.Sleep(4 * day)
		synctest.Wait()
		orders, _ = o.made()
		assert.InDelta(t, 60.75, orders[1].Sub(orders[0]).Hours()/24, 0.8)
		assert.Same(t, first, o.acme.domains[0].cert.Load())
		assert.Contains(t, o.log.take()[0], "could not be renewed")
		o.set(nil, 0)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		assert.NotSame(t, first, o.acme.domains[0].cert.Load())
		assert.Greater(t, o.Certificates()[0].Left(time.Now()), 89*day)
	})
}

func TestOrdersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var names []string
		for i := range 10 {
			names = append(names, fmt.Sprintf("n%d.example", i))
		}
		o := newOrdering(t, t.TempDir(), names...)
		o.set(nil, time.Minute)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { o.Run(ctx); close(ended) }()
		time.Sleep(150 * time.Second)
		synctest.Wait()
		orders, most := o.made()
		assert.Len(t, orders, 10)
		assert.Equal(t, maxOrders, most)
		o.log.take()
		cancel()
		<-ended
		assert.Empty(t, o.log.take(), "what the end broke off is no failure")
	})
}

// What was stored is found again, and what is damaged is told and obtained anew.
func TestDamagedStore(t *testing.T) {
	dir := t.TempDir()
	s, err := openStore(dir, "https://acme.example/directory")
	require.NoError(t, err)
	m := makeCert(t, "a.example")
	cert, err := content{cert: m.cert, key: m.key}.parse()
	require.NoError(t, err)
	require.NoError(t, s.save("a.example", cert))
	again, err := openStore(dir, "https://acme.example/directory")
	require.NoError(t, err)
	assert.Equal(t, s.account, again.account)
	loaded, err := again.load("a.example")
	require.NoError(t, err)
	assert.Equal(t, cert.Certificate, loaded.Certificate)
	other, err := openStore(dir, "https://acme.example/staging")
	require.NoError(t, err)
	assert.NotEqual(t, s.account, other.account)
	loaded, err = other.load("a.example")
	assert.NoError(t, err)
	assert.Nil(t, loaded, "that of another authority")

	require.NoError(t, s.save("b.example", cert))
	_, err = s.load("b.example")
	assert.ErrorContains(t, err, "not b.example")
	write(t, s.path("a.example"), m.cert)
	var log logged
	source, err := Open(Config{
		Domains: []string{"a.example"}, Directory: "https://acme.example/directory", StateDir: dir, Logger: log.logger(),
	})
	require.NoError(t, err)
	assert.Contains(t, log.take()[0], "cannot be used")
	assert.True(t, source.Certificates()[0].NotAfter.IsZero())

	write(t, filepath.Join(s.dir, "account.key"), []byte("x"))
	_, err = openStore(dir, "https://acme.example/directory")
	assert.ErrorContains(t, err, "account.key is damaged")
	require.NoError(t, os.Remove(filepath.Join(s.dir, "account.key")))
	require.NoError(t, os.Mkdir(filepath.Join(s.dir, "account.key"), 0o700))
	_, err = openStore(dir, "https://acme.example/directory")
	assert.ErrorContains(t, err, "is not a file")
}

// answering answers requests.
type answering func(*http.Request) (*http.Response, error)

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) { return a(r) }

func answerOf(status int, body string, header ...string) *http.Response {
	a := &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
	for i := 0; i < len(header); i += 2 {
		a.Header.Set(header[i], header[i+1])
	}
	return a
}

// What an authority answers is bounded in bytes, and in time, which ends when the order does.
func TestRequestsAreBounded(t *testing.T) {
	r, err := http.NewRequest("GET", "https://acme.example/", nil)
	require.NoError(t, err)
	q := &requests{ctx: t.Context(), to: answering(func(*http.Request) (*http.Response, error) {
		return &http.Response{Body: io.NopCloser(io.LimitReader(zeros{}, maxAnswer+1))}, nil
	})}
	_, err = q.RoundTrip(r)
	assert.ErrorContains(t, err, "more than 1048576 bytes")

	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		q := &requests{ctx: ctx, to: answering(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})}
		began := time.Now()
		_, err := q.RoundTrip(r)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, requestTimeout, time.Since(began))
		time.AfterFunc(time.Second, cancel)
		began = time.Now()
		_, err = q.RoundTrip(r)
		assert.ErrorIs(t, err, context.Canceled)
		assert.Equal(t, time.Second, time.Since(began))
	})
}

// An authority has its requests as far apart as it wants, within bounds, and nobody waits for that when
// the order is over.
func TestRequestsPause(t *testing.T) {
	r, err := http.NewRequest("GET", "https://acme.example/", nil)
	require.NoError(t, err)
	for asked, want := range map[string]time.Duration{
		"5": 5 * time.Second, "86400": maxPause, "-1": 0, "x": 0, "": 0, "99999999999999999999": 0,
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			q := &requests{ctx: ctx, to: answering(func(*http.Request) (*http.Response, error) {
				return answerOf(200, "{}", "Retry-After", asked), nil
			})}
			_, err := q.RoundTrip(r)
			require.NoError(t, err)
			began := time.Now()
			answer, err := q.RoundTrip(r)
			require.NoError(t, err)
			assert.Equal(t, want, time.Since(began), asked)
			if want > 0 {
				assert.Equal(t, "1", answer.Header.Get("Retry-After"))
				time.AfterFunc(time.Second, cancel)
				_, err = q.RoundTrip(r)
				assert.ErrorIs(t, err, context.Canceled)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// What an authority says is wrong is told in its words.
func TestReasons(t *testing.T) {
	long := strings.Repeat("ü", maxReason)
	for _, c := range []struct {
		name   string
		bodies []string
		want   string
	}{
		{"nothing", []string{`{}`, "", "[]", "x", `"x"`, `{"status":"valid","challenges":[{"type":"http-01"}]}`}, "own error"},
		{"a problem", []string{`{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many","status":429}`}, "too many"},
		{"a nonce", []string{`{"type":"urn:ietf:params:acme:error:badNonce","detail":"bad nonce"}`}, "own error"},
		{"subproblems", []string{`{"type":"x","detail":"several","subproblems":[{"detail":"a"},{"detail":"b"}]}`}, "several; a; b"},
		{"challenges", []string{
			`{"status":"invalid","challenges":[{"type":"http-01","error":{"detail":"refused"}},{"type":"dns-01"}]}`,
			`{"status":"invalid","challenges":[{"type":"tls-alpn-01","error":{"detail":"refused"}}]}`,
			`{"status":"invalid","challenges":[{"type":"tls-alpn-01","error":{"detail":"refused"}}]}`,
		}, "http-01: refused; tls-alpn-01: refused"},
		{"an order and its challenge", []string{
			`{"status":"invalid","error":{"detail":"refused"}}`, `{"challenges":[{"type":"http-01","error":{"detail":"refused"}}]}`,
			`{"status":"invalid","error":{"detail":"refused"}}`,
		}, "http-01: refused"},
		{"an order", []string{`{"status":"invalid","error":{"detail":"bad CSR"}}`}, "bad CSR"},
		{"many", []string{`{"detail":"1"}`, `{"detail":"2"}`, `{"detail":"3"}`, `{"detail":"4"}`, `{"detail":"5"}`}, "1; 2; 3; 4"},
		{"a long one", []string{`{"detail":"x` + long + `"}`}, "x" + long[:maxReason-2]},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := &requests{ctx: t.Context()}
			for _, body := range c.bodies {
				q.note([]byte(body))
			}
			assert.EqualError(t, q.explain(errors.New("own error")), c.want)
		})
	}
}

// FuzzReasons reads what an authority may answer.
// An authority of one's own that the system does not trust: the reason says what it can be trusted by.
func TestAuthorityIsNotTrusted(t *testing.T) {
	directory := httptest.NewUnstartedServer(http.NotFoundHandler())
	directory.Config.ErrorLog = quietLog
	directory.StartTLS()
	defer directory.Close()
	var log logged
	s, err := Open(Config{Domains: []string{"a.example.com"}, Directory: directory.URL, StateDir: t.TempDir(), Logger: log.logger()})
	require.NoError(t, err)
	defer s.acme.client.CloseIdleConnections()
	_, err = s.acme.order(t.Context(), s.acme.domains[0])
	require.ErrorContains(t, err, "certificate signed by unknown authority")
	assert.ErrorContains(t, err, "SSL_CERT_FILE")
}

func FuzzReasons(f *testing.F) {
	f.Add([]byte(`{"detail":"x","challenges":[{"type":"http-01","error":{"detail":"refused","subproblems":[{"detail":"a"}]}}]}`))
	f.Add([]byte(`{"error":null,"challenges":[null]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		q := &requests{ctx: context.Background()}
		for range 3 {
			q.note(body)
		}
		assert.LessOrEqual(t, len(q.explain(errors.New("")).Error()), maxReasons*(maxReason+2))
	})
}

// FuzzParse reads what may stand in files.
func FuzzParse(f *testing.F) {
	m := makeCert(f, "a.example")
	f.Add(m.cert, m.key)
	f.Add(m.cert[:len(m.cert)/2], m.key)
	f.Add(append(bytes.Clone(m.key), m.cert...), m.key)
	f.Fuzz(func(t *testing.T, cert, key []byte) {
		parsed, err := content{cert: cert, key: key}.parse()
		if err == nil {
			serve([]*pair{{cert: parsed}}).get(&tls.ClientHelloInfo{ServerName: "a.example"})
		}
	})
}

func TestDomain(t *testing.T) {
	for text, want := range map[string]string{
		"a.example": "a.example", "A.Example.": "a.example", "bücher.example": "xn--bcher-kva.example",
		"xn--bcher-kva.example": "xn--bcher-kva.example", "a-b.c1.example": "a-b.c1.example",
		"localhost": "", "": "", ".": "", "..": "", "a..b": "", "https://a.example": "", "a.example/x": "", "a.example:443": "",
		"*.a.example": "", "192.0.2.1": "", "[2001:db8::1]": "", "2001:db8::1": "", "a_b.example": "", "a.example\x00": "",
		"../../x.y": "", "a b.example": "", "@a.example": "", strings.Repeat("a.", 127) + "example": "", "-a.example": "",
	} {
		name, err := Domain(text)
		assert.Equal(t, want, name, text)
		assert.Equal(t, want == "", err != nil, text)
	}
}
