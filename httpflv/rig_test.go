package httpflv

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/httpflv/answer"
	"sluice/hub"
	"sluice/hub/fanout"
	"sluice/hub/intake"
	"sluice/hub/tlsconn"
	"sluice/hub/tlsconn/tlstest"
)

// rig is a hub with everything that serves its streams over HTTP.
type rig struct {
	t   testing.TB
	hub *hub.Hub
	*Handler
	server *httptest.Server
	log    *lines
}

// configs are what a test may change before its rig begins to serve.
type configs struct {
	hub     hub.Config
	pool    fanout.Config
	deaf    bool // without an intake
	origins answer.Origins
	server  func(*httptest.Server) // starts it
	wrap    func(http.Handler) http.Handler
}

// newRig serves on loopback until the test ends; by then all viewers must have
// ended, or end with their streams.
func newRig(t testing.TB, change ...func(*configs)) *rig {
	t.Helper()
	cfg := configs{
		server: (*httptest.Server).Start,
		wrap:   func(h http.Handler) http.Handler { return h },
	}
	cfg.hub.PublisherGrace = -1
	if os.Getenv("SLUICE_TEST_TLS") != "" { // all over again, with what it changes
		pumpedTLS(&cfg)
	}
	for _, c := range change {
		c(&cfg)
	}
	h := &rig{t: t, log: newLines()}
	cfg.hub.Logger = h.log.logger()
	h.hub = hub.New(cfg.hub)
	h.Handler = &Handler{Hub: h.hub, Pool: fanout.New(cfg.pool), AllowOrigins: cfg.origins}
	var heard *intake.Pool
	if !cfg.deaf {
		heard = intake.New(intake.Config{})
		h.Intake = heard
	}
	h.server = httptest.NewUnstartedServer(cfg.wrap(h.Handler))
	h.server.Config.ErrorLog = h.log.printer()
	cfg.server(h.server)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		assert.NoError(t, h.hub.Shutdown(ctx), "viewers were left")
		h.server.CloseClientConnections()
		h.server.Close()
		h.Pool.Close()
		h.Wait()
		if heard != nil {
			heard.Close()
		}
		assert.NotContains(t, h.log.String(), "panic")
	})
	return h
}

// source publishes tags; their numbers are in them.
type source struct {
	*hub.Publisher
	t testing.TB
}

// publish begins live/demo.
func (h *rig) publish() *source { return h.publishAs("live", "demo") }

func (h *rig) publishAs(app, name string) *source {
	h.t.Helper()
	key, err := hub.NewKey(app, name)
	require.NoError(h.t, err)
	p, err := h.hub.Publish(h.hub.NewSession(hub.RolePublish, key, hub.Client{Protocol: "test"}), hub.PublishOptions{})
	require.NoError(h.t, err)
	h.t.Cleanup(p.Close)
	return &source{p, h.t}
}

// send publishes words.
func (s *source) send(words ...string) {
	s.t.Helper()
	for _, word := range strings.Fields(strings.Join(words, " ")) {
		require.NoError(s.t, s.Write(tag(word)))
	}
}

// bodies are the beginnings of tags' bodies: headers, key and inter frames of
// H.264, a header and frames of HEVC, AAC, and MP3.
var bodies = map[string]struct {
	typ  flv.Type
	body string
}{
	"vc": {flv.TypeVideo, "\x17\x00\x00\x00\x00"},
	"K":  {flv.TypeVideo, "\x17\x01\x00\x00\x00"},
	"P":  {flv.TypeVideo, "\x27\x01\x00\x00\x00"},
	"hc": {flv.TypeVideo, "\x1c\x00\x00\x00\x00"},
	"HK": {flv.TypeVideo, "\x1c\x01\x00\x00\x00"},
	"ac": {flv.TypeAudio, "\xaf\x00"},
	"A":  {flv.TypeAudio, "\xaf\x01"},
	"M":  {flv.TypeAudio, "\x2f"},
}

// scripts are the names of script data that stands in the flow.
var scripts = []string{"onTextData", "onCuePoint", "onFI", "whatever"}

// tag makes a tag of a word, KIND[:TEXT][@TIMESTAMP]; meta:av declares both tracks, and
// the name of script data is a kind.
func tag(word string) flv.Tag {
	var ts uint32
	word, at, timed := strings.Cut(word, "@")
	if timed {
		fmt.Sscan(at, &ts)
	}
	kind, text, _ := strings.Cut(word, ":")
	if kind == "meta" {
		object := amf.ECMAArray{{Name: "encoder", Value: "test"}}
		for _, codec := range []struct {
			track, name string
			id          float64
		}{{"v", "videocodecid", 7}, {"a", "audiocodecid", 10}} {
			if strings.Contains(text, codec.track) {
				object = append(object, amf.Property{Name: codec.name, Value: codec.id})
			}
		}
		return flv.Tag{Type: flv.TypeScript, Timestamp: ts, Data: amf.AppendAMF0(nil, "onMetaData", object)}
	}
	if slices.Contains(scripts, kind) {
		return flv.Tag{Type: flv.TypeScript, Timestamp: ts, Data: amf.AppendAMF0(nil, kind, amf.Object{{Name: "text", Value: text}})}
	}
	b, ok := bodies[kind]
	if !ok {
		panic("no such tag: " + word)
	}
	return flv.Tag{Type: b.typ, Timestamp: ts, Data: []byte(b.body + text)}
}

// word is the inverse of tag; the text of metadata are the tracks it tells of, and
// very long texts are their lengths.
func word(t flv.Tag) string {
	at := fmt.Sprintf("@%d", t.Timestamp)
	if t.Type == flv.TypeScript {
		values, err := amf.DecodeAll(t.Data, amf.Limits{})
		if err != nil || len(values) != 2 {
			return "unreadable" + at
		}
		tracks := ""
		properties, _ := amf.Properties(values[1])
		if name, _ := values[0].(string); slices.Contains(scripts, name) && len(properties) == 1 {
			return fmt.Sprint(name, ":", properties[0].Value, at)
		}
		for _, p := range properties {
			switch {
			case p.Name == "hasAudio" && p.Value == true:
				tracks += "a"
			case p.Name == "hasVideo" && p.Value == true:
				tracks += "v"
			}
		}
		return "meta:" + tracks + at
	}
	for kind, b := range bodies {
		if text, ok := strings.CutPrefix(string(t.Data), b.body); ok && b.typ == t.Type {
			if len(text) > 100 {
				text = fmt.Sprint(len(text))
			}
			if text != "" {
				kind += ":" + text
			}
			return kind + at
		}
	}
	return fmt.Sprintf("%v:%x%s", t.Type, t.Data, at)
}

// start is the beginning of a stream with both tracks, and started what a viewer
// who joins it gets.
const (
	start   = "meta:av vc:h264 ac:aac K:1@5000 A:2@5010 P:3@5040"
	started = "meta:av@0 vc:h264@0 ac:aac@0 K:1@0 A:2@10 P:3@40"
)

// tape reads tags as words.
type tape struct {
	t testing.TB
	*flv.Reader
}

func newTape(t testing.TB, r io.Reader) *tape { return &tape{t, flv.NewReader(r)} }

// read reads n words.
func (p *tape) read(n int) string {
	p.t.Helper()
	var words []string
	for range n {
		t, err := p.Next()
		require.NoError(p.t, err, "after %q", words)
		words = append(words, word(t))
	}
	return strings.Join(words, " ")
}

// expect reads these words.
func (p *tape) expect(words string) {
	p.t.Helper()
	require.Equal(p.t, words, p.read(len(strings.Fields(words))))
}

// expectEnd reads the end of the body.
func (p *tape) expectEnd(err error) {
	p.t.Helper()
	_, got := p.Next()
	assert.ErrorIs(p.t, got, err)
}

// get fetches a path with a client that keeps no connections.
func (h *rig) get(path string) *http.Response {
	h.t.Helper()
	return h.do(http.MethodGet, path, nil)
}

func (h *rig) do(method, path string, header http.Header) *http.Response {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), method, h.server.URL+path, nil)
	require.NoError(h.t, err)
	if header != nil {
		req.Header = header
	}
	res, err := h.server.Client().Do(req)
	require.NoError(h.t, err)
	h.t.Cleanup(func() { res.Body.Close() })
	return res
}

// refusal reads the JSON of a refused request.
func refusal(t testing.TB, res *http.Response) map[string]string {
	t.Helper()
	assert.Equal(t, "application/json", res.Header.Get("Content-Type"))
	var said map[string]string
	require.NoError(t, json.NewDecoder(res.Body).Decode(&said))
	assert.NotEmpty(t, said["error"])
	assert.NotEmpty(t, said["reason"])
	return said
}

// dial opens a connection and writes to it.
func (h *rig) dial(text string) net.Conn {
	h.t.Helper()
	c, err := net.Dial("tcp", h.server.Listener.Addr().String())
	require.NoError(h.t, err)
	h.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, encrypted := h.server.Listener.(*tlsconn.Listener); encrypted {
		c = tls.Client(tlstest.Strict(c), tlstest.Client())
	}
	_, err = io.WriteString(c, text)
	require.NoError(h.t, err)
	return c
}

// waitViewers waits until the hub has that many viewers.
func (h *rig) waitViewers(n int) {
	h.t.Helper()
	require.Eventually(h.t, func() bool {
		count := 0
		for _, s := range h.hub.Streams() {
			count += s.Viewers
		}
		return count == n
	}, 10*time.Second, time.Millisecond, "there are not %d viewers", n)
}
