package hook

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/cmd/sluice/event"
	"sluice/hub"
	"sluice/hub/access"
)

// srsServer is a callback server as one is written for SRS: it looks at action, stream and param,
// counts clients by client_id, and answers with a code.
type srsServer struct {
	mu      sync.Mutex
	clients map[string]string // client_id, and what it does
	calls   []string
}

func (s *srsServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var call struct {
		Action    string `json:"action"`
		ClientID  string `json:"client_id"`
		IP        string `json:"ip"`
		Vhost     string `json:"vhost"`
		App       string `json:"app"`
		TCURL     string `json:"tcUrl"`
		Stream    string `json:"stream"`
		Param     string `json:"param"`
		ServerID  string `json:"server_id"`
		StreamURL string `json:"stream_url"`
		StreamID  string `json:"stream_id"`
		CWD, File string
	}
	if err := json.NewDecoder(r.Body).Decode(&call); err != nil || call.Vhost != "__defaultVhost__" || call.ServerID == "" ||
		call.StreamURL != "/"+call.App+"/"+call.Stream || call.StreamID == "" {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, call.Action)
	code := 0
	switch call.Action {
	case "on_publish", "on_play":
		query, _ := url.ParseQuery(strings.TrimPrefix(call.Param, "?"))
		if query.Get("token") != "good" || call.IP == "" {
			code = 403
			break
		}
		s.clients[call.ClientID] = call.Action
	case "on_unpublish", "on_stop":
		delete(s.clients, call.ClientID)
	}
	fmt.Fprintf(w, `{"code": %d, "msg": "%s"}`, code, http.StatusText(code))
}

// nginxServer is one as is written for nginx-rtmp, in the manner of PHP: the last argument of a
// name counts. The name of a publisher is its key; it is sent to the name that viewers know.
type nginxServer struct {
	mu    sync.Mutex
	live  map[string]bool
	calls []string
}

func (s *nginxServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	form, err := url.ParseQuery(string(body))
	if err != nil || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	last := func(name string) string {
		value := ""
		for of, values := range form {
			if strings.EqualFold(strings.SplitN(of, "[", 2)[0], name) {
				value = values[len(values)-1]
			}
		}
		return value
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, last("call"))
	switch last("call") {
	case "publish":
		switch last("name") {
		case "k3y":
			w.Header().Set("Location", "show")
			w.WriteHeader(http.StatusFound)
		case "elsewhere":
			w.Header().Set("Location", "rtmp://other.example/live/show")
			w.WriteHeader(http.StatusFound)
		case "up":
			w.Header().Set("Location", "../secret/show")
			w.WriteHeader(http.StatusFound)
		default:
			w.WriteHeader(http.StatusForbidden)
		}
	case "play":
		if last("name") != "show" || last("addr") == "127.0.0.1" || last("token") != "good" {
			w.WriteHeader(http.StatusForbidden)
		}
	case "publish_done", "play_done":
		delete(s.live, last("name"))
	}
}

// house is a hub whose policy is a server, which is told events in the same form at the same URL.
type house struct {
	*hub.Hub
	q        *Question
	notifier *event.Notifier
}

func newHouse(t *testing.T, format Format, server http.Handler) *house {
	t.Helper()
	srv := httptest.NewServer(server)
	q, err := New(Config{URL: fixed(srv.URL), Format: format, Server: "here"})
	require.NoError(t, err)
	n, err := event.New(event.Config{Server: "here", Webhook: &event.Webhook{
		URL: fixed(srv.URL), Encode: Encoder{Format: format}.Encode, Skip: q.Skip, Knows: q.Knows,
	}})
	require.NoError(t, err)
	only := []access.Named{{Name: "url", Method: q}}
	policy := access.New(access.Config{Publish: access.Rules{Methods: only}, Watch: access.Rules{Methods: only}})
	h := &house{q: q, notifier: n}
	h.Hub = hub.New(hub.Config{Authorize: policy.Authorize, PublisherGrace: -1, Observe: func(e hub.Event) {
		n.Observe(e)
		q.Observe(e)
	}})
	t.Cleanup(srv.Close)
	return h
}

// end returns when everything was told.
func (h *house) end(t *testing.T) {
	ctx := t.Context()
	require.NoError(t, h.Shutdown(ctx))
	h.notifier.Close(ctx)
	h.q.Close()
}

// publish asks, and publishes for a moment.
func (h *house) publish(t *testing.T, name, query string) error {
	values, _ := url.ParseQuery(query)
	s := h.NewSession(hub.RolePublish, hub.Key{App: "live", Name: name}, hub.Client{
		Protocol: "rtmp", Query: values, Address: netip.MustParseAddrPort("192.0.2.1:1"), TCURL: "rtmp://host/live?token=good",
	})
	if err := s.AskAndWait(t.Context()); err != nil {
		return err
	}
	p, err := h.Publish(s, hub.PublishOptions{End: func(*hub.Refusal) {}})
	require.NoError(t, err)
	p.Close()
	return nil
}

func (h *house) asks(ctx context.Context, name, query string) error {
	values, _ := url.ParseQuery(query)
	s := h.NewSession(hub.RoleWatch, hub.Key{App: "live", Name: name}, hub.Client{
		Protocol: "http-flv", Query: values, Address: netip.MustParseAddrPort("192.0.2.1:1"), Host: "host",
	})
	err := s.AskAndWait(ctx)
	if err == nil {
		s.Refuse(context.Canceled)
	}
	return err
}

// A server that was written for SRS works unchanged: a granted publish is not sent twice, and ends
// with the id with which it began.
func TestServerForSRS(t *testing.T) {
	server := &srsServer{clients: make(map[string]string)}
	h := newHouse(t, FormatSRS, server)
	require.NoError(t, h.publish(t, "a", "token=good"))
	var refusal *hub.Refusal
	require.ErrorAs(t, h.publish(t, "a", "token=bad"), &refusal)
	assert.Equal(t, hub.ReasonDenied, refusal.Reason)
	require.Error(t, h.publish(t, "a", ""))
	require.NoError(t, h.asks(t.Context(), "a", "token=good"))
	require.Error(t, h.asks(t.Context(), "a", "token=bad"))
	h.end(t)
	assert.ElementsMatch(t, []string{
		"on_publish", "on_unpublish", "on_publish", "on_publish", "on_play", "on_stop", "on_play",
	}, server.calls)
	assert.Empty(t, server.clients, "also of the viewer that was permitted, and left before there was a stream")
}

// So does one for nginx-rtmp, with another name by Location, and nothing of a client's query gets
// over it.
func TestServerForNginx(t *testing.T) {
	server := &nginxServer{live: map[string]bool{"show": true}}
	h := newHouse(t, FormatNginx, server)
	require.NoError(t, h.publish(t, "k3y", ""))
	for name, why := range map[string]string{
		"show": "", "other": "", "elsewhere": "not supported", "up": "a stream that cannot be",
	} {
		err := h.publish(t, name, "name=k3y&NAME=k3y&name[]=k3y")
		var refusal *hub.Refusal
		require.ErrorAs(t, err, &refusal, name)
		assert.Equal(t, hub.ReasonDenied, refusal.Reason)
		assert.Contains(t, refusal.Detail, why)
	}
	require.NoError(t, h.asks(t.Context(), "show", "token=good&addr=127.0.0.1"))
	require.Error(t, h.asks(t.Context(), "other", "token=good&name=show"))
	h.end(t)
	assert.Empty(t, server.live, "the name under which it was published has ended")
	assert.Equal(t, 5, strings.Count(strings.Join(server.calls, " ")+" ", "publish "))
	assert.Equal(t, 1, strings.Count(strings.Join(server.calls, " "), "publish_done"))
}

// Who was granted another name, and is refused all the same before the hub knows of that, has ended
// under the other name.
func TestEndUnderTheGrantedName(t *testing.T) {
	server := &nginxServer{live: map[string]bool{"show": true}}
	h := newHouse(t, FormatNginx, server)
	session := h.NewSession(hub.RolePublish, hub.Key{App: "live", Name: "k3y"}, hub.Client{Protocol: "rtmp"})
	_, err := h.q.Decide(t.Context(), session)
	require.NoError(t, err)
	session.Refuse(&hub.Refusal{Reason: hub.ReasonTooMany})
	h.end(t)
	assert.Empty(t, server.live)
}
