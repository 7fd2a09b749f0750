package e2e

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"go/format"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// example is the worked example of the document for those who write a server that is asked and
// told: its program and its commands, run in a folder of their own.
type example struct {
	t      *testing.T
	folder string
	blocks map[string]string // what stands behind a line that names it
	ports  *strings.Replacer // what the document says, and what the test has in place of it
}

// exampleBlock is a line with a name, and the block of code behind it.
var exampleBlock = regexp.MustCompile("(?s)<!-- example: ([a-z]+) -->\n```[a-z]*\n(.*?)```")

func newExample(t *testing.T) *example {
	document, err := os.ReadFile("../hook/README.md")
	require.NoError(t, err)
	e := &example{t: t, folder: t.TempDir(), blocks: make(map[string]string), ports: strings.NewReplacer()}
	for _, found := range exampleBlock.FindAllStringSubmatch(string(document), -1) {
		e.blocks[found[1]] = found[2]
	}
	return e
}

// block returns what stands in the document under a name.
func (e *example) block(name string) string {
	e.t.Helper()
	require.Contains(e.t, e.blocks, name)
	return e.ports.Replace(e.blocks[name])
}

// command is a block with commands. The program that it ends with, if that is named, takes the
// place of the shell, so that signals reach it.
func (e *example) command(name, last string) *exec.Cmd {
	e.t.Helper()
	script := e.block(name)
	if last != "" {
		require.Equal(e.t, 1, strings.Count(script, last), "%s in %s", last, script)
		script = strings.Replace(script, last, "exec "+last, 1)
	}
	cmd := exec.Command(need(e.t, "sh"), "-euc", script)
	cmd.Dir = e.folder
	cmd.Env = environment()
	return cmd
}

// path returns where a file of the example stands.
func (e *example) path(name string) string { return filepath.Join(e.folder, name) }

// lines returns what a program has said, without the numbers in it.
func lines(said string) (all []string) {
	for line := range strings.Lines(regexp.MustCompile(`\d+`).ReplaceAllString(said, "0")) {
		all = append(all, strings.TrimSpace(line))
	}
	return all
}

// receives starts the example's program, and returns it with its address.
func (e *example) receives() (p *process, address string) {
	e.t.Helper()
	p = begin(e.t, e.command("receiver", "./receiver"))
	listening := regexp.MustCompile(`listening on (\S+)`)
	until(e.t, "it listens", func() bool { return !p.running() || listening.MatchString(p.said.String()) })
	found := listening.FindStringSubmatch(p.said.String())
	require.NotNil(e.t, found, "the program does not start: %s", p.said.String())
	return p, found[1]
}

// The worked example of cmd/sluice/hook/README.md does what is said there: its program permits,
// is told, and fetches the recording.
func TestExampleOfTheDocument(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"ffmpeg", "ffprobe", "curl", "openssl"} {
		need(t, name)
	}
	e := newExample(t)
	source, err := format.Source([]byte(e.block("program")))
	require.NoError(t, err)
	assert.Equal(t, string(source), e.block("program"), "as gofmt writes it")
	require.NoError(t, os.WriteFile(e.path("receiver.go"), source, 0o600))
	begin(t, e.command("secrets", "")).done()

	asked, watched := newRelay(t), newRelay(t)
	e.ports = strings.NewReplacer("127.0.0.1:9000", "127.0.0.1:0", "http://127.0.0.1:8080", watched.URL)
	receiver, address := e.receives()
	asked.to <- address

	path, err := program()
	require.NoError(t, err)
	require.NoError(t, os.Symlink(path, e.path("sluice")))
	e.ports = strings.NewReplacer("http://127.0.0.1:9000", asked.URL)
	s := serveCommand(t, e.command("sluice", "./sluice"), "SLUICE_RECORD_MIN_FREE=0")
	watched.to <- s.http
	e.ports = strings.NewReplacer("127.0.0.1:8080", s.http, "rtmp://127.0.0.1", s.rtmp)
	says := func(p *process, line string) {
		t.Helper()
		until(t, "the program says "+line, func() bool { return strings.Contains(p.said.String(), line) })
	}

	publisher := begin(t, e.command("publish", "ffmpeg"))
	says(receiver, "publish live/cam1 url:studio")
	viewer := begin(t, e.command("watch", "curl"))
	stranger := begin(t, e.command("refused", "curl"))
	assert.Equal(t, 22, stranger.wait(), "curl's code for an answer of 400 and more")
	assert.Contains(t, stranger.said.String(), `{"error":"denied","reason":"without a good key or ticket"}`)
	assert.Contains(t, stranger.said.String(), "403")
	publisher.done()
	viewer.done()
	says(receiver, "fetched ")
	says(receiver, "stop live/cam1 url:receiver")
	assert.Subset(t, lines(receiver.said.String()), lines(e.block("said")))

	r := e.fetched()
	e.refusesForgeries(receiver, address)

	// What was not done is done after a restart.
	receiver.kill()
	<-asked.to
	require.NoError(t, os.Remove(r))
	e.ports = strings.NewReplacer("127.0.0.1:9000", "127.0.0.1:0", "http://127.0.0.1:8080", watched.URL)
	receiver, address = e.receives()
	asked.to <- address
	says(receiver, "fetched ")
	assert.Equal(t, r, e.fetched())
	says(receiver, "stop live/cam1 url:receiver")
	assert.NotContains(t, receiver.said.String(), "ann", "what was known before")
	s.stop() // which is told, too
	s.wait()
}

// relay is a server that passes requests on to another one, whose port is not known from the
// start. Until it is, they wait.
type relay struct {
	*httptest.Server
	to chan string // HOST:PORT, put back by who has taken it
}

func newRelay(t *testing.T) relay {
	to := make(chan string, 1)
	proxy := &httputil.ReverseProxy{Transport: client.Transport, Rewrite: func(r *httputil.ProxyRequest) {
		select {
		case host := <-to:
			to <- host
			r.SetURL(&url.URL{Scheme: "http", Host: host})
		case <-r.In.Context().Done():
		}
	}}
	r := relay{httptest.NewServer(proxy), to}
	t.Cleanup(r.Close)
	return r
}

// fetched returns the only recording that was fetched, which is whole.
func (e *example) fetched() (path string) {
	t := e.t
	t.Helper()
	found, err := filepath.Glob(e.path("fetched/live/cam1/*"))
	require.NoError(t, err)
	require.Len(t, found, 1)
	got, err := os.ReadFile(found[0])
	require.NoError(t, err)
	want, err := os.ReadFile(e.path(filepath.Join("recordings/live/cam1", filepath.Base(found[0]))))
	require.NoError(t, err)
	assert.Equal(t, sha256.Sum256(want), sha256.Sum256(got), "the file, and what was fetched of it")
	for _, file := range []string{found[0], e.path("clip.flv")} {
		run(t, "ffmpeg", "-nostdin", "-v", "error", "-i", file, "-f", "null", "-")
	}
	length := run(t, "ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", found[0])
	seconds, err := strconv.ParseFloat(strings.TrimSpace(string(length)), 64)
	require.NoError(t, err)
	assert.InDelta(t, 10, seconds, 0.2, "seconds, as were published")
	return found[0]
}

// refusesForgeries sends the program events of our own: those that are signed well count once,
// others not at all.
func (e *example) refusesForgeries(receiver *process, address string) {
	t := e.t
	t.Helper()
	secret, err := os.ReadFile(e.path("event-secret"))
	require.NoError(t, err)
	send := func(id, sent, body, secret string) int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+"/events", strings.NewReader(body))
		require.NoError(t, err)
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(id + "." + sent + "." + body))
		r.Header.Set("webhook-id", id)
		r.Header.Set("webhook-timestamp", sent)
		r.Header.Set("webhook-signature", "v1,YQ== v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
		answer, err := client.Do(r)
		require.NoError(t, err)
		answer.Body.Close()
		return answer.StatusCode
	}
	good := strings.TrimSpace(string(secret))
	now, old := strconv.FormatInt(time.Now().Unix(), 10), strconv.FormatInt(time.Now().Add(-time.Hour).Unix(), 10)
	for range 2 {
		assert.Equal(t, http.StatusNoContent, send("x-1", now, `{"id":"x-1","type":"twice"}`, good))
	}
	assert.Equal(t, http.StatusUnauthorized, send("x-2", now, `{"id":"x-2","type":"forged"}`, "another"))
	assert.Equal(t, http.StatusUnauthorized, send("x-3", old, `{"id":"x-3","type":"replayed"}`, good))
	said := receiver.said.String()
	assert.Equal(t, 1, strings.Count(said, "twice"))
	assert.NotContains(t, said, "forged")
	assert.NotContains(t, said, "replayed")
}
