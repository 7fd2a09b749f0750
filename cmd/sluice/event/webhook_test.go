package event

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// What an answer does: how often an event is tried, and whether it is told in the end.
func TestAnswers(t *testing.T) {
	const all = -1 // five minutes long
	for name, c := range map[string]struct {
		answer   func(*http.Request, Event) (*http.Response, error)
		attempts int
		taken    bool
	}{
		"200":                 {code(200), 1, true},
		"204":                 {code(204), 1, true},
		"302 is not followed": {code(302), maxRefusals, false},
		"400":                 {code(400), maxRefusals, false},
		"401":                 {code(401), maxRefusals, false},
		"404":                 {code(404), maxRefusals, false},
		"410":                 {code(410), maxRefusals, false},
		"408":                 {code(408), all, false},
		"425":                 {code(425), all, false},
		"429":                 {code(429), all, false},
		"500":                 {code(500), all, false},
		"503":                 {code(503), all, false},
		"no answer":           {down, all, false},
		"breaks off in the body": {func(*http.Request, Event) (*http.Response, error) {
			r := respond(200)
			r.Body = io.NopCloser(io.MultiReader(strings.NewReader("o"), brokenReader{}))
			return r, nil
		}, all, true}, // the rig counts the status
		"endless": {func(*http.Request, Event) (*http.Response, error) {
			r := respond(200)
			r.Body = &endless{t: t}
			return r, nil
		}, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := new(endpoint)
				attempts := 0
				p.set(func(req *http.Request, e Event) (*http.Response, error) {
					if e.Type == TypeGap {
						return respond(500), nil
					}
					attempts++
					return c.answer(req, e)
				})
				n, lines := begin(t, p, nil)
				n.Observe(tracks(hub.Key{App: "live", Name: "a"}))
				time.Sleep(10 * time.Minute)
				end(n, time.Second)
				if c.attempts == all {
					assert.Greater(t, attempts, 10)
				} else {
					assert.Equal(t, c.attempts, attempts)
				}
				assert.Equal(t, c.taken, len(p.took()) > 0)
				assert.NotContains(t, lines.String(), "secret")
				assert.NotContains(t, lines.String(), "pass@")
				assert.NotContains(t, lines.String(), "/hook")
			})
		})
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// endless is a body without an end, of which only so much is read.
type endless struct {
	t    *testing.T
	read int
}

func (b *endless) Read(to []byte) (int, error) {
	b.read += len(to)
	return len(to), nil
}

func (b *endless) Close() error {
	assert.LessOrEqual(b.t, b.read, maxAnswer+32<<10)
	return nil
}

// An endpoint that says for how long it wants no more is given that time, up to 30 s.
func TestRetryAfter(t *testing.T) {
	for after, want := range map[string][2]time.Duration{
		"20": {20 * time.Second, 20 * time.Second}, "9999": {maxPause, maxPause},
		"-1": {firstPause / 2, firstPause}, "Wed, 21 Oct 2015 07:28:00 GMT": {firstPause / 2, firstPause},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := new(endpoint)
			var at []time.Time
			p.set(func(*http.Request, Event) (*http.Response, error) {
				if at = append(at, time.Now()); len(at) > 1 {
					return respond(200), nil
				}
				r := respond(429)
				r.Header.Set("Retry-After", after)
				return r, nil
			})
			n, _ := begin(t, p, nil)
			n.Draining()
			end(n, time.Hour)
			require.Len(t, at, 2)
			pause := at[1].Sub(at[0])
			assert.True(t, want[0] <= pause && pause <= want[1], "%s: %s", after, pause)
		})
	}
}

// The vectors were made with openssl dgst -sha256 -mac HMAC.
func TestSignatures(t *testing.T) {
	w := &webhook{Webhook: Webhook{Secrets: func() [][]byte { return [][]byte{[]byte("first"), []byte("second")} }}}
	h := http.Header{}
	w.sign(h, "msg_1", []byte(`{"test":1}`), time.Unix(1614265330, 999))
	assert.Equal(t, "msg_1", h.Get("webhook-id"))
	assert.Equal(t, "1614265330", h.Get("webhook-timestamp"))
	assert.Equal(t, "v1,rk3vwm9Yf97JHx8a+TfHCp/3pYayvzF2C/1cjS0F+vM= v1,9zzQ70EtoqV3ZV6h1cF7+CNapgiW+5BNO7alBfN2NQU=",
		h.Get("webhook-signature"))
	for _, none := range []func() [][]byte{nil, func() [][]byte { return nil }} {
		w.Secrets = none
		h = http.Header{}
		w.sign(h, "msg_1", nil, time.Unix(0, 0))
		assert.NotContains(t, h, "Webhook-Signature")
	}
}

func TestParseSecret(t *testing.T) {
	for text, want := range map[string]string{
		"plain text": "plain text", "whsec_Zmlyc3Q=": "first", "whsec_": "", "whsec_!": "", "Zmlyc3Q=": "Zmlyc3Q=",
	} {
		secret, err := ParseSecret(text)
		assert.Equal(t, want, string(secret))
		assert.Equal(t, want == "", err != nil)
	}
}

// A format may leave events out; the secret may change between attempts.
func TestFormatsAndSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(endpoint)
		secret := "old"
		n, _ := begin(t, p, func(c *Config) {
			c.Webhook.Secrets = func() [][]byte { return [][]byte{[]byte(secret)} }
			c.Webhook.Encode = func(e *Event) (string, [][]byte) {
				if e.Type == TypeDraining {
					return "application/x-test", nil
				}
				b, _ := json.Marshal(e)
				return "application/x-test", [][]byte{b}
			}
		})
		n.Started()
		synctest.Wait()
		secret = "new"
		n.Draining()
		n.Observe(tracks(hub.Key{App: "live", Name: "a"}))
		end(n, time.Second)
		assert.Equal(t, []string{"server.started", "tracks live/a"}, types(p.took()))
		assert.Equal(t, "application/x-test", p.heads[0].Get("Content-Type"))
		sign := func(i int, secret string) string {
			w := &webhook{Webhook: Webhook{Secrets: func() [][]byte { return [][]byte{[]byte(secret)} }}}
			h := http.Header{}
			w.sign(h, p.tried[i].ID, []byte(p.bodies[i]), time.Now())
			return h.Get("webhook-signature")
		}
		assert.Equal(t, sign(0, "old"), p.heads[0].Get("webhook-signature"))
		assert.Equal(t, sign(1, "new"), p.heads[1].Get("webhook-signature"))
	})
}

// A format may need several requests for an event: each has an id of its own, and all are made
// again if one is not taken.
func TestSeveralRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(endpoint)
		failed := false
		p.set(func(req *http.Request, e Event) (*http.Response, error) {
			if strings.HasSuffix(req.Header.Get("webhook-id"), ".1") && !failed {
				failed = true
				return respond(503), nil
			}
			return respond(200), nil
		})
		n, _ := begin(t, p, func(c *Config) {
			c.Webhook.Encode = func(e *Event) (string, [][]byte) {
				b, _ := json.Marshal(e)
				return "application/json", [][]byte{b, b}
			}
		})
		n.Started()
		end(n, time.Minute)
		var ids []string
		for i, h := range p.heads {
			ids = append(ids, strings.TrimPrefix(h.Get("webhook-id"), p.tried[i].ID))
		}
		assert.Equal(t, []string{"", ".1", "", ".1"}, ids)
	})
}

// An endpoint that was asked about a session takes it for one that began: it is told its end, and
// nobody else is.
func TestKnownSessionThatNeverBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(endpoint)
		var known uint64
		n, _ := begin(t, p, func(c *Config) {
			c.Webhook.Knows = func(e hub.Event) (hub.Key, bool) {
				return hub.Key{App: "live", Name: "b"}, e.Session.ID() == known
			}
		})
		h := hub.New(hub.Config{Observe: n.Observe, Disguise: func(hub.Key) string { return "live/#mark" }})
		for _, role := range []hub.Role{hub.RolePublish, hub.RoleWatch} {
			for _, reason := range []hub.Reason{hub.ReasonBusy, hub.ReasonClientLeft} {
				for range 2 {
					s := h.NewSession(role, hub.Key{App: "live", Name: "a"}, hub.Client{})
					s.Refuse(&hub.Refusal{Reason: reason})
					synctest.Wait()
					known = s.ID() + 1
				}
				known = 0
				time.Sleep(time.Minute) // each denial is told
			}
		}
		end(n, time.Second)
		var ends []string
		for _, typ := range types(p.took()) {
			if !strings.HasPrefix(typ, "denied") {
				ends = append(ends, typ)
			}
		}
		assert.Equal(t, []string{"unpublish live/b", "unpublish live/b", "stop live/b", "stop live/b"}, ends)
		assert.NoError(t, h.Shutdown(t.Context()))
	})
}

// A real server: its user and password are sent, redirects are not followed, one that drips is
// left after five seconds.
func TestRealEndpoint(t *testing.T) {
	type request struct {
		path, user, body string
		err              error
	}
	got := make(chan request, 10)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		user, password, _ := r.BasicAuth()
		got <- request{r.URL.Path, user + ":" + password, string(b), err}
		if r.URL.Path == "/redirect" {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.Serve(l)
	}()
	t.Cleanup(func() {
		server.Close()
		<-done
	})
	for path, taken := range map[string]bool{"/hook": true, "/redirect": false} {
		w, err := newWebhook(Webhook{URL: fixed("http://user:pass@" + l.Addr().String() + path)})
		require.NoError(t, err)
		err = w.deliver(t.Context(), &Event{ID: "1", Type: TypeStarted})
		assert.Equal(t, taken, err == nil, "%v", err)
		r := <-got
		require.NoError(t, r.err)
		assert.Equal(t, path, r.path)
		assert.Equal(t, "user:pass", r.user)
		assert.Contains(t, r.body, `"type":"server.started"`)
		w.close()
	}
	assert.Empty(t, got)
}

// Errors say nothing of the URL but its server.
func TestErrorsHoldNoSecret(t *testing.T) {
	for _, bad := range []string{"", "secret", "ftp://secret@host", "http://", "http://host:secret/", "://secret", "rtmp://host/secret"} {
		_, err := New(Config{Webhook: &Webhook{URL: fixed(bad)}})
		require.ErrorIs(t, err, errURL)
		assert.NotContains(t, err.Error(), "secret")
	}
	w, err := newWebhook(Webhook{URL: fixed("http://user:secret@127.0.0.1:1/secret?secret")})
	require.NoError(t, err)
	err = w.deliver(t.Context(), &Event{})
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "secret")
	var refused *failure
	assert.False(t, errors.As(err, &refused))
}

// Nor do they quote the endpoint.
func TestErrorsQuoteNoEndpoint(t *testing.T) {
	for _, said := range []string{"secret\r\n\r\n", "HTTP/1.1 302 Found\r\nLocation: http://[secret\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 secret\r\n\r\n"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		var serving sync.WaitGroup
		serving.Go(func() {
			if c, err := l.Accept(); err == nil {
				defer c.Close()
				if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
					io.Copy(io.Discard, r.Body)
					io.WriteString(c, said)
				}
			}
		})
		w, err := newWebhook(Webhook{URL: fixed("http://" + l.Addr().String())})
		require.NoError(t, err)
		err = w.deliver(t.Context(), &Event{})
		require.Error(t, err)
		assert.NotContains(t, err.Error(), "secret")
		w.close()
		l.Close()
		serving.Wait()
	}
}

// An endpoint closes a connection just when it is used again: that costs no attempt.
func TestConnectionIsClosed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var serving sync.WaitGroup
	taken, keys := make(chan struct{}, 10), make(chan []string, 10)
	// serve answers one request of a connection, and closes it with the next one unread.
	serve := func(c net.Conn) {
		defer c.Close()
		in := bufio.NewReader(c)
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		io.Copy(io.Discard, r.Body)
		io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
		keys <- r.Header["Idempotency-Key"]
		taken <- struct{}{}
		if next, err := http.ReadRequest(in); err == nil {
			io.Copy(io.Discard, next.Body)
		}
	}
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { serve(c) })
		}
	})
	n, err := New(Config{Webhook: &Webhook{URL: fixed("http://" + l.Addr().String())}, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	for range 5 {
		n.Started()
		<-taken
		assert.Empty(t, <-keys)
		sent := func() bool { return n.Totals().Webhook.Waiting == 0 }
		require.Eventually(t, sent, time.Minute, time.Millisecond)
	}
	assert.Zero(t, n.Totals().Webhook.Failed)
	end(n, time.Minute)
	l.Close()
	serving.Wait()
}
