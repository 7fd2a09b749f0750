package admin

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/hub/cluster"
	"sluice/hub/relay"
)

// loadDocument returns the document, which is checked by itself.
func loadDocument(t *testing.T) (*openapi3.T, routers.Router) {
	doc, err := openapi3.NewLoader().LoadFromData(openapi)
	require.NoError(t, err)
	require.NoError(t, doc.Validate(t.Context()))
	router, err := gorillamux.NewRouter(doc)
	require.NoError(t, err)
	return doc, router
}

// checker holds answers against the document, and notes which statuses it has seen.
type checker struct {
	*rig
	t      *testing.T
	router routers.Router
	seen   map[string]bool // "GET /api/v1/streams 200"
}

// check makes a request and holds the answer against the document; wrong says that the
// request itself is not as the document wants it.
func (c *checker) check(q *http.Request, status int, wrong bool) {
	c.t.Helper()
	what := q.Method + " " + q.URL.String()
	var body []byte
	if q.Body != nil {
		var err error
		body, err = io.ReadAll(q.Body)
		require.NoError(c.t, err)
		q.Body = io.NopCloser(bytes.NewReader(body))
	}
	route, params, err := c.router.FindRoute(q)
	require.NoError(c.t, err, what)
	in := &openapi3filter.RequestValidationInput{
		Request: q, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: func(_ context.Context, in *openapi3filter.AuthenticationInput) error { return nil }},
	}
	if err := openapi3filter.ValidateRequest(c.t.Context(), in); wrong {
		assert.Error(c.t, err, "%s is what the document allows", what)
	} else {
		assert.NoError(c.t, err, what)
	}
	q.Body = io.NopCloser(bytes.NewReader(body))
	w := c.do(q)
	require.Equal(c.t, status, w.Code, "%s: %s", what, w.Body)
	c.seen[q.Method+" "+route.Path+" "+http.StatusText(status)] = true
	assert.NoError(c.t, openapi3filter.ValidateResponse(c.t.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: w.Code, Header: w.Result().Header, Body: io.NopCloser(w.Body),
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	}), "%s: %d", what, status)
}

// Each path, with each status that the document has for it, is answered as the document says.
func TestDocumentHolds(t *testing.T) {
	doc, router := loadDocument(t)
	r := newRig(t, hub.Config{ViewerWait: -1})
	r.disk.pinned = map[string]bool{"live/demo/1": false, "live/studio/x/2": false}
	c := &checker{rig: r, t: t, router: router, seen: map[string]bool{}}
	c.ordinary()
	c.mistakes()
	c.without()
	c.failures()
	c.cluster()
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			for status := range operation.Responses.Map() {
				assert.True(t, slices.ContainsFunc(slices.Collect(maps.Keys(c.seen)), func(seen string) bool {
					return strings.HasPrefix(seen, method+" "+path+" ") && strings.HasSuffix(seen, " "+statusText(status))
				}), "%s %s is never seen to answer %s", method, path, status)
			}
		}
	}
}

func statusText(status string) string {
	n := 0
	for _, digit := range status {
		n = n*10 + int(digit-'0')
	}
	return http.StatusText(n)
}

// ordinary asks for everything as it is meant.
func (c *checker) ordinary() {
	shown := from("192.0.2.7:1000")
	shown.Query = url.Values{"key": {"x"}}
	c.publish("live/demo", shown)
	shown.Query = url.Values{"key": {"x"}, "backup": {"1"}}
	c.publish("live/demo", shown)
	c.watch("live/demo", from("192.0.2.8:1000"))
	c.watch("live/later", hub.Client{Protocol: "demo"})
	for range 3 {
		c.bans.Add(Ban{Stream: "live/*", Role: "watch"})
	}
	c.relays.fill(c.t)
	for _, q := range []string{
		"/healthz", "/readyz", "/api/v1/openapi.json", "/api/v1/info",
		"/api/v1/streams", "/api/v1/streams?limit=1", "/api/v1/streams?stream=live/*&state=live&protocol=rtmp&address=192.0.2.7",
		"/api/v1/sessions", "/api/v1/sessions?limit=1&role=watch&state=waiting&network=192.0.2.0/24&subject=x&protocol=rtmp",
		"/api/v1/sessions?sort=-lag&search=fmle&limit=1&cursor=1", c.first(),
		"/api/v1/bans", "/api/v1/bans?limit=2&role=watch", "/api/v1/events", "/api/v1/events?after=1&limit=1&wait=1ms",
		"/api/v1/series", "/api/v1/series?stream=live/demo",
		"/api/v1/relays", "/api/v1/relays?limit=1&kind=push&stream=live/*&state=backing%20off&search=h", "/api/v1/relays?limit=2",
		"/api/v1/recordings", "/api/v1/recordings?limit=1", "/api/v1/recordings?stream=live/*&state=finished&limit=1&cursor=1",
	} {
		c.check(request("GET", q, ""), 200, false)
	}
	for _, act := range []struct {
		method, target, body string
		status               int
	}{
		{"POST", "/api/v1/bans", `{"address":"192.0.2.8","role":"watch","reason":"spam","for":"1h"}`, 201},
		{"POST", "/api/v1/bans", `{"network":"192.0.2.0/24","until":"2030-01-01T00:00:00Z","end":false}`, 201},
		{"POST", "/api/v1/bans", `{"stream":"live/*","subject":"alice"}`, 201},
		{"DELETE", "/api/v1/bans/1", "", 204},
		{"POST", "/api/v1/relays", `{"kind":"pull","stream":"live/a b","urls":["rtmp://h/a/b","https://h/b.flv"]}`, 201},
		{"POST", "/api/v1/relays", `{"kind":"push","pattern":"live/**","url":"rtmp://h/a/b"}`, 201},
		{"DELETE", "/api/v1/relays/pull-1", "", 204},
		{"POST", "/api/v1/streams/switch", `{"stream":"live/demo"}`, 204},
		{"POST", "/api/v1/streams/record", `{"stream":"live/demo","action":"start"}`, 200},
		{"POST", "/api/v1/recordings/live/demo/1/pin", "", 204},
		{"POST", "/api/v1/recordings/live/demo/1/unpin", "", 204},
		{"DELETE", "/api/v1/recordings/live%2Fstudio/x/2", "", 204},
		{"DELETE", "/api/v1/recordings/live/demo/1", "", 204},
		{"POST", "/api/v1/streams/kick", `{"stream":"live/demo","who":"viewers","reason":"over","ban":"0"}`, 200},
		{"DELETE", c.first(), "", 200},
	} {
		c.check(request(act.method, act.target, act.body), act.status, false)
	}
}

// first returns where the first session is.
func (c *checker) first() string {
	return "/api/v1/sessions/" + formatID(get[Sessions](c.rig, "/api/v1/sessions").Sessions[0].ID)
}

// mistakes makes those that a client can make.
func (c *checker) mistakes() {
	for _, path := range []string{"/api/v1/streams", "/api/v1/sessions", "/api/v1/bans", "/api/v1/events", "/api/v1/recordings", "/api/v1/relays"} {
		c.check(request("GET", path+"?limit=0", ""), 400, true)
	}
	c.check(request("GET", "/api/v1/info?x=1", ""), 400, false)
	c.check(request("GET", "/api/v1/series?x=1", ""), 400, false)
	c.check(request("GET", "/api/v1/series?stream=none/x", ""), 404, false)
	const endpoints = "/api/v1/streams/kick /api/v1/streams/record /api/v1/streams/switch /api/v1/bans /api/v1/relays"
	for path := range strings.FieldsSeq(endpoints) {
		c.check(request("POST", path, `{"strem":"x"}`), 400, true)
		c.check(request("POST", path, `{}`, "Content-Type", "text/plain"), 415, true)
		c.check(request("POST", path, `{"stream":"`+strings.Repeat("x", maxBody)+`"}`), 413, path == "/api/v1/streams/record" || path == "/api/v1/relays")
	}
	c.check(request("DELETE", "/api/v1/sessions/x", ""), 400, true)
	c.check(request("GET", "/api/v1/sessions/x", ""), 400, true)
	c.check(request("GET", "/api/v1/sessions/99999", ""), 404, false)
	c.check(request("GET", "/api/v1/sessions?sort=name", ""), 400, true)
	c.check(request("DELETE", "/api/v1/sessions/99999", ""), 404, false)
	c.check(request("DELETE", "/api/v1/sessions/99999", "{}", "Content-Type", "text/plain"), 415, true)
	c.check(request("DELETE", "/api/v1/sessions/99999", strings.Repeat(" ", maxBody+1)+"{}"), 413, false)
	c.check(request("DELETE", "/api/v1/bans/none", ""), 404, false)
	c.check(request("POST", "/api/v1/streams/switch", `{"stream":"live/alone"}`), 404, false)
	c.check(request("DELETE", "/api/v1/relays/none", ""), 404, false)
	c.check(request("DELETE", "/api/v1/relays/push-1", ""), 409, false)
	c.check(request("POST", "/api/v1/relays", `{"kind":"push","stream":"live/a","url":"http://h/a/b"}`), 400, false)
	c.check(request("POST", "/api/v1/relays", `{"kind":"pull","stream":"live/there","url":"rtmp://h/a/b"}`), 409, false)
	for _, method := range []string{"DELETE", "POST /pin", "POST /unpin"} {
		method, behind, _ := strings.Cut(method, " ")
		c.check(request(method, "/api/v1/recordings/live/demo/none"+behind, ""), 404, false)
		c.check(request(method, "/api/v1/recordings/live/de%00mo/none"+behind, ""), 400, false)
	}
}

// without asks where there is no token, or a wrong one, and where parts are missing.
func (c *checker) without() {
	for path, item := range c.document() {
		for method := range item.Operations() {
			if strings.HasSuffix(path, "z") {
				continue
			}
			c.check(request(method, concrete(path), body(method, path), "Authorization", ""), 401, false)
		}
	}
	whole, old := c.handler, c.api
	c.serve(Config{Hub: c.hub})
	c.check(request("GET", "/api/v1/bans", ""), 404, false)
	c.check(request("GET", "/api/v1/nodes", ""), 404, false)
	c.check(request("GET", "/api/v1/events", ""), 404, false)
	c.check(request("GET", "/api/v1/recordings", ""), 404, false)
	c.check(request("POST", "/api/v1/bans", `{"subject":"x"}`), 404, false)
	c.check(request("GET", "/api/v1/relays", ""), 404, false)
	c.check(request("POST", "/api/v1/relays", body("POST", "/api/v1/relays")), 404, false)
	c.check(request("POST", "/api/v1/streams/record", `{"stream":"live/x","action":"stop"}`), 404, false)
	for n := range maxFailures {
		c.do(request("GET", "/api/v1/info", "", "Authorization", fmt.Sprint("Bearer wrong", n)))
	}
	for path, item := range c.document() {
		for method := range item.Operations() {
			if !strings.HasSuffix(path, "z") {
				c.check(request(method, concrete(path), body(method, path)), 429, false)
			}
		}
	}
	c.handler, c.api = whole, old
}

// failures are those of the server.
func (c *checker) failures() {
	c.ready = errDisk
	c.check(request("GET", "/readyz", ""), 503, false)
	c.bans.err = ErrFull
	c.check(request("POST", "/api/v1/bans", `{"subject":"x"}`), 409, false)
	c.bans.err = fmt.Errorf("%w: %w", ErrUnsaved, errDisk)
	c.check(request("POST", "/api/v1/bans", `{"subject":"x"}`), 201, false)
	c.check(request("DELETE", "/api/v1/bans/3", ""), 200, false)
	c.check(request("POST", "/api/v1/streams/kick", `{"stream":"live/later"}`), 200, false)
	c.bans.err = errDisk
	c.check(request("POST", "/api/v1/bans", `{"subject":"x"}`), 500, false)
	c.check(request("DELETE", "/api/v1/bans/2", ""), 500, false)
	c.relays.err = fmt.Errorf("%w: %w", relay.ErrUnsaved, errDisk)
	c.check(request("POST", "/api/v1/relays", body("POST", "/api/v1/relays")), 201, false)
	c.check(request("DELETE", "/api/v1/relays/pull-2", ""), 200, false)
	c.relays.err = errDisk
	c.check(request("POST", "/api/v1/relays", body("POST", "/api/v1/relays")), 500, false)
	c.check(request("DELETE", "/api/v1/relays/pull-3", ""), 500, false)
	assert.Contains(c.t, c.log(), errDisk.Error())
	c.disk.err = errDisk
	c.check(request("GET", "/api/v1/recordings", ""), 500, false)
	for want, err := range map[int]error{409: errInUse, 500: errDisk} {
		c.disk.err = err
		for _, method := range []string{"POST /pin", "POST /unpin", "DELETE"} {
			c.disk.pinned["live/demo/9"] = false
			method, behind, _ := strings.Cut(method, " ")
			c.check(request(method, "/api/v1/recordings/live/demo/9"+behind, ""), want, false)
		}
	}
	for n := range maxKickBans + 1 {
		c.watch("live/full", from("10.1."+itoa(n/256)+"."+itoa(n%256)+":1"))
	}
	c.check(request("POST", "/api/v1/streams/kick", `{"stream":"live/full"}`), 409, false)
	for path, item := range c.document() { // what has no failure of its own
		for method := range item.Operations() {
			c.seen[method+" "+path+" "+http.StatusText(500)] = true
		}
	}
}

// cluster asks a node of several.
func (c *checker) cluster() {
	one, two := newNodes(c.t)
	whole := c.rig
	c.rig = one
	defer func() { c.rig = whole }()
	two.watch("live/a", from("192.0.2.2:1"))
	one.nodes.placed = []cluster.StreamInfo{{Key: key("live/a"), Owned: true}, {Key: key("live/b"), Copy: &cluster.EdgeState{}}}
	for _, q := range []string{
		"nodes", "nodes?limit=1&stream=live/*&search=a", "sessions", "sessions?node=all", "streams?node=all", "streams?node=n2:6222", "info?node=n2:6222",
		"sessions/0000000000000002-" + formatID(get[Sessions](two, "/api/v1/sessions").Sessions[0].ID),
	} {
		c.check(request("GET", "/api/v1/"+q, ""), 200, false)
	}
	for _, path := range []string{"streams", "sessions", "info", "series", "recordings", "relays"} {
		c.check(request("GET", "/api/v1/"+path+"?node=n9", ""), 404, false)
		c.check(request("GET", "/api/v1/"+path+"?node=n3:6222", ""), 504, false)
	}
	for _, q := range [][2]string{{"DELETE", ""}, {"POST", "/pin"}, {"POST", "/unpin"}} {
		c.check(request(q[0], "/api/v1/recordings/live/a/1"+q[1]+"?node=n3:6222", ""), 504, false)
	}
	c.check(request("GET", "/api/v1/recordings?node=all", ""), 200, false)
	c.check(request("GET", "/api/v1/nodes?limit=0", ""), 400, true)
	c.check(request("GET", "/api/v1/sessions/n3:6222-1", ""), 504, false)
	c.check(request("DELETE", "/api/v1/sessions/n3:6222-1", ""), 504, false)
	c.check(request("POST", "/api/v1/streams/kick", `{"stream":"live/a","ban":"0"}`), 200, false)
	c.check(request("POST", "/api/v1/bans", `{"stream":"live/a"}`), 201, false)
}

func (c *checker) document() map[string]*openapi3.PathItem {
	doc, err := openapi3.NewLoader().LoadFromData(openapi)
	require.NoError(c.t, err)
	return doc.Paths.Map()
}

// concrete returns a path for a template.
func concrete(path string) string {
	return strings.NewReplacer("{app}", "live", "{name}", "demo", "{id}", "1").Replace(path)
}

// body returns one that is as the document wants it, "" where there is none.
func body(method, path string) string {
	if method != "POST" {
		return ""
	}
	return map[string]string{
		"/api/v1/streams/kick": `{"stream":"a/b"}`, "/api/v1/streams/record": `{"stream":"a/b","action":"start"}`, "/api/v1/streams/switch": `{"stream":"a/b"}`, "/api/v1/bans": `{"stream":"a/b"}`,
		"/api/v1/relays": `{"kind":"pull","stream":"a/b","url":"rtmp://h/a/b"}`,
	}[path]
}

// What is routed is in the document.
func TestDocumentHasEveryRoute(t *testing.T) {
	doc, _ := loadDocument(t)
	r := newRig(t, hub.Config{})
	require.NoError(t, chi.Walk(r.api.routes(), func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		paths := []string{route}
		if route == recordingsPath+"*" {
			paths = map[string][]string{
				"DELETE": {recordingsPath + "{app}/{name}/{id}"},
				"POST":   {recordingsPath + "{app}/{name}/{id}/pin", recordingsPath + "{app}/{name}/{id}/unpin"},
			}[method]
		}
		for _, path := range paths {
			item := doc.Paths.Value(path)
			if assert.NotNil(t, item, path) && method != "HEAD" {
				assert.NotNil(t, item.GetOperation(method), "%s %s", method, path)
			}
		}
		return nil
	}))
}
