package certificate

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// openFiles opens a source of pairs of files.
func openFiles(t testing.TB, log *logged, files ...Files) *Source {
	t.Helper()
	s, err := Open(Config{Files: files, Logger: log.logger()})
	require.NoError(t, err)
	log.take()
	return s
}

// What is wrong with files, by what stands in them beside a good pair.
var brokenFiles = []struct {
	name      string
	cert, key func(good, other made) []byte // nil: the file is missing
	want      string
}{
	{"the certificate is missing", nil, keyOf, "no such file"},
	{"the key is missing", certOf, nil, "no such file"},
	{"the certificate is empty", text(" \n"), keyOf, "is empty"},
	{"the key is empty", certOf, text(""), "is empty"},
	{"the key is that of another", certOf, func(_, other made) []byte { return other.key }, "the key is that of another certificate"},
	{"the key is still the old one", func(_, other made) []byte { return other.cert }, keyOf, "the key is that of another certificate"},
	{"the certificate is half written", func(good, _ made) []byte { return good.cert[:len(good.cert)/2] }, keyOf, errTruncated.Error()},
	{"an issuer is half written", func(good, other made) []byte {
		return append(bytes.Clone(good.cert), other.cert[:100]...)
	}, keyOf, errTruncated.Error()},
	{"an issuer between others is damaged", func(good, other made) []byte {
		return bytes.Join([][]byte{good.cert, other.cert[:100], other.cert}, nil)
	}, keyOf, errTruncated.Error()},
	{"the key is half written", certOf, func(good, _ made) []byte { return good.key[:len(good.key)-10] }, errTruncated.Error()},
	{"the key is encrypted", certOf, func(good, _ made) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")})
	}, errEncrypted.Error()},
	{"the two are swapped", keyOf, certOf, "failed to find certificate PEM data"},
	{"no PEM", text("geheim"), keyOf, "failed to find any PEM data"},
	{"no PEM in the key", certOf, text("geheim"), "failed to find any PEM data in key input"},
	{"no certificate", func(good, _ made) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("geheim")})
	}, keyOf, "x509: "},
	{"the certificate is too large", func(good, _ made) []byte {
		return append(bytes.Clone(good.cert), bytes.Repeat([]byte("\n"), maxFile)...)
	}, keyOf, "is larger than 262144 bytes"},
}

func certOf(good, _ made) []byte           { return good.cert }
func keyOf(good, _ made) []byte            { return good.key }
func text(s string) func(_, _ made) []byte { return func(_, _ made) []byte { return []byte(s) } }
func place(t testing.TB, path string, b []byte) { // or removes it, for nil
	t.Helper()
	if b == nil {
		require.NoError(t, os.Remove(path))
		return
	}
	write(t, path, b)
}

// Files that are of no use are an error at the start, and change nothing later: the old certificate
// is still served, and the log says why, once.
func TestBrokenFiles(t *testing.T) {
	good, other := makeCert(t, "a.example"), makeCert(t, "a.example")
	for _, c := range brokenFiles {
		t.Run(c.name, func(t *testing.T) {
			var log logged
			files := good.filesIn(t, t.TempDir())
			s := openFiles(t, &log, files)
			var cert, key []byte
			if c.cert != nil {
				cert = c.cert(good, other)
			}
			if c.key != nil {
				key = c.key(good, other)
			}
			place(t, files.Cert, cert)
			place(t, files.Key, key)

			_, err := Open(Config{Files: []Files{files}})
			require.ErrorContains(t, err, c.want)
			assert.ErrorContains(t, err, filepath.Dir(files.Cert), "which files")
			assert.NotContains(t, err.Error(), "geheim")

			for range 3 {
				s.look(time.Now(), false)
			}
			assert.True(t, good.isServed(t, s, "a.example"))
			lines := log.take()
			require.Len(t, lines, 1)
			assert.Contains(t, lines[0], "level=WARN")
			assert.Contains(t, lines[0], "the old one is still served")
			assert.Contains(t, lines[0], c.want)
			assert.Contains(t, s.Certificates()[0].Problem, c.want)

			// Who asks for it is told again.
			s.look(time.Now(), true)
			assert.Len(t, log.take(), 2)

			good.filesIn(t, filepath.Dir(files.Cert))
			s.look(time.Now(), false)
			s.look(time.Now(), false)
			lines = log.take()
			require.Len(t, lines, 1)
			assert.Contains(t, lines[0], "as they were before")
			assert.Empty(t, s.Certificates()[0].Problem)
		})
	}
}

func TestFilesThatAreNone(t *testing.T) {
	good := makeCert(t, "a.example")
	dir := t.TempDir()
	files := good.filesIn(t, dir)
	_, err := Open(Config{Files: []Files{{files.Cert, dir}}})
	assert.ErrorContains(t, err, dir+": is not a file")
	_, err = Open(Config{Files: []Files{{os.DevNull, files.Key}}})
	assert.ErrorContains(t, err, os.DevNull+": is not a file")
}

// A pair may stand in one file.
func TestOneFileHoldsBoth(t *testing.T) {
	good := makeCert(t, "a.example")
	path := filepath.Join(t.TempDir(), "both.pem")
	write(t, path, bytes.Join([][]byte{[]byte("notes\n"), good.key, good.cert}, nil))
	var log logged
	assert.True(t, good.isServed(t, openFiles(t, &log, Files{path, path}), ""))
}

// The ways in which programs replace a pair.
func TestReplacedFiles(t *testing.T) {
	for name, replace := range map[string]func(t *testing.T, dir string, files Files, next made){
		"written in place": func(t *testing.T, dir string, files Files, next made) { next.filesIn(t, dir) },
		"renamed": func(t *testing.T, dir string, files Files, next made) {
			from := next.filesIn(t, t.TempDir())
			require.NoError(t, os.Rename(from.Cert, files.Cert))
			require.NoError(t, os.Rename(from.Key, files.Key))
		},
		"in place, with the time of before": func(t *testing.T, dir string, files Files, next made) {
			info, err := os.Stat(files.Cert)
			require.NoError(t, err)
			next.filesIn(t, dir)
			for _, path := range []string{files.Cert, files.Key} {
				require.NoError(t, os.Chtimes(path, info.ModTime(), info.ModTime()))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var log logged
			dir := t.TempDir()
			old, next := makeCert(t, "a.example"), makeCert(t, "a.example", "b.example")
			files := old.filesIn(t, dir)
			s := openFiles(t, &log, files)
			replace(t, dir, files, next)
			s.look(time.Now(), false)
			assert.True(t, next.isServed(t, s, "a.example"))
			lines := log.take()
			require.Len(t, lines, 1)
			assert.Contains(t, lines[0], `msg="certificate replaced"`)
			assert.Contains(t, lines[0], `names="a.example b.example"`)
			assert.Equal(t, []string{"a.example", "b.example"}, s.Certificates()[0].Names)
		})
	}
}

// Kubernetes and certbot put links in front of files that are never changed themselves.
func TestSwappedLink(t *testing.T) {
	var log logged
	root := t.TempDir()
	old, next, other := makeCert(t, "a.example"), makeCert(t, "a.example"), makeCert(t, "a.example")
	for name, pair := range map[string]made{"1": old, "2": next, "3": {cert: old.cert, key: other.key}} {
		dir := filepath.Join(root, name)
		require.NoError(t, os.Mkdir(dir, 0o700))
		pair.filesIn(t, dir)
	}
	swap := func(to string) {
		require.NoError(t, os.Symlink(to, filepath.Join(root, "new")))
		require.NoError(t, os.Rename(filepath.Join(root, "new"), filepath.Join(root, "data")))
	}
	swap("1")
	s := openFiles(t, &log, Files{filepath.Join(root, "data", "cert.pem"), filepath.Join(root, "data", "key.pem")})
	for _, step := range []struct {
		to   string
		want made
	}{{"3", old}, {"gone", old}, {"2", next}, {"3", next}, {"1", old}} {
		swap(step.to)
		s.look(time.Now(), false)
		assert.True(t, step.want.isServed(t, s, ""), step.to)
	}
}

// A certificate that is not good now does not replace one that is; where none is, the newest counts.
func TestExpiredFiles(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		name       string
		old, next  template
		is         bool
		told       string
		laterIsToo time.Duration // when it replaces the old one after all; 0 for never
	}{
		{"expired for a good one", template{}, template{notBefore: now.Add(-2 * day), notAfter: now.Add(-day)}, false, "and the old one has not", 0},
		{"early for a good one", template{}, template{notBefore: now.Add(day)}, false, "and the old one is", 2 * day},
		{"good for an expired one", template{notBefore: now.Add(-2 * day), notAfter: now.Add(-day)}, template{}, true, "replaced", 0},
		{"expired for an expired one", template{notBefore: now.Add(-3 * day), notAfter: now.Add(-2 * day)}, template{notBefore: now.Add(-2 * day), notAfter: now.Add(-day)}, true, "replaced", 0},
		{"shorter for a longer one", template{}, template{notAfter: now.Add(day)}, true, "replaced", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log logged
			dir := t.TempDir()
			c.old.names, c.next.names = []string{"a.example"}, []string{"a.example"}
			old, next := c.old.make(t), c.next.make(t)
			s := openFiles(t, &log, old.filesIn(t, dir))
			next.filesIn(t, dir)
			s.look(now, false)
			s.look(now, false)
			assert.Equal(t, c.is, next.isServed(t, s, ""))
			lines := log.take()
			require.Len(t, lines, 1)
			assert.Contains(t, lines[0], c.told)
			if c.laterIsToo > 0 {
				s.look(now.Add(c.laterIsToo), false)
				assert.True(t, next.isServed(t, s, ""))
			}
		})
	}
}

// Each change is told, and nothing that stays.
func TestEachChangeIsTold(t *testing.T) {
	var log logged
	good := makeCert(t, "a.example")
	files := good.filesIn(t, t.TempDir())
	s := openFiles(t, &log, files)
	for _, broken := range []string{"1", "2", "2", "1", "1"} {
		write(t, files.Cert, []byte(broken))
		s.look(time.Now(), false)
	}
	assert.Len(t, log.take(), 3)
}

// A certificate that clients will refuse is taken, for it may be meant, and told.
func TestNamesThatAreMissing(t *testing.T) {
	var log logged
	good, fewer, none := makeCert(t, "a.example", "b.example", "c.example"), makeCert(t, "*.example"), makeCert(t)
	files := good.filesIn(t, t.TempDir())
	s := openFiles(t, &log, files)
	for _, step := range []struct {
		next made
		want []string // of the lines behind "certificate replaced"
	}{
		{fewer, nil},
		{makeCert(t, "b.example"), []string{`for all names`, `missing=*.example`}},
		{none, []string{"is for no name", `common_name=test`, `for all names`, "missing=b.example"}},
	} {
		step.next.filesIn(t, filepath.Dir(files.Cert))
		s.look(time.Now(), false)
		assert.True(t, step.next.isServed(t, s, "b.example"))
		lines := log.take()
		assert.Contains(t, lines[0], "certificate replaced")
		assert.Len(t, lines, 1+len(step.want)/2)
		for _, want := range step.want {
			assert.Contains(t, strings.Join(lines[1:], "\n"), want)
		}
	}
	_, err := Open(Config{Files: []Files{files}, Logger: log.logger()})
	require.NoError(t, err)
	assert.Contains(t, strings.Join(log.take(), "\n"), "is for no name")
}

func TestServedByName(t *testing.T) {
	var log logged
	var files []Files
	of := map[string]made{}
	for _, m := range []struct {
		id string
		template
	}{
		{"first", template{names: []string{"first.example", "both.example"}, rsa: true}},
		{"second", template{names: []string{"Second.Example", "both.example"}}},
		{"wild", template{names: []string{"*.wild.example"}}},
		{"below", template{names: []string{"x.wild.example"}}},
	} {
		of[m.id] = m.make(t)
		files = append(files, of[m.id].filesIn(t, t.TempDir()))
	}
	s := openFiles(t, &log, files...)
	for _, c := range []struct{ name, want string }{
		{"", "first"}, {"first.example", "first"}, {"second.example", "second"}, {"SECOND.EXAMPLE", "second"},
		{"a.wild.example", "wild"}, {"x.wild.example", "below"}, {"a.b.wild.example", "first"}, {"wild.example", "first"},
		{"stranger.example", "first"}, {"*.wild.example", "wild"}, {".", "first"}, {"192.0.2.1", "first"},
	} {
		assert.True(t, of[c.want].isServed(t, s, c.name), c.name)
	}
	// Of two for a name, the client's algorithms decide.
	hello := &tls.ClientHelloInfo{
		ServerName: "both.example", SupportedVersions: []uint16{tls.VersionTLS13},
		SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256},
	}
	cert, err := s.get(hello)
	require.NoError(t, err)
	assert.Equal(t, of["second"].leaf.Raw, cert.Leaf.Raw)
	hello.SignatureSchemes = []tls.SignatureScheme{tls.PSSWithSHA256}
	cert, err = s.get(hello)
	require.NoError(t, err)
	assert.Equal(t, of["first"].leaf.Raw, cert.Leaf.Raw)
}

// Run looks every 10 s, and at once where somebody asks for it.
func TestRunLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logged
		dir := t.TempDir()
		old, next := makeCert(t, "a.example"), makeCert(t, "a.example")
		s := openFiles(t, &log, old.filesIn(t, dir))
		go s.Run(t.Context())
		next.filesIn(t, dir)
		time.Sleep(lookInterval - time.Millisecond)
		synctest.Wait()
		assert.True(t, old.isServed(t, s, ""))
		time.Sleep(time.Millisecond)
		synctest.Wait()
		assert.True(t, next.isServed(t, s, ""))

		old.filesIn(t, dir)
		s.Reload()
		s.Reload()
		synctest.Wait()
		assert.True(t, old.isServed(t, s, ""))
		assert.Len(t, log.take(), 4, "replaced, replaced, and twice that it was read again")
	})
}
