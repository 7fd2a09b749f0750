package main

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTLSRelations(t *testing.T) {
	var many []string
	for i := range 101 {
		many = append(many, fmt.Sprintf("n%d.example.com", i))
	}
	for _, c := range []struct {
		set  []string
		want string // empty for none
	}{
		{[]string{"TLS_CERT=/a.pem; /b.pem", "TLS_KEY=/a.key\n/b.key"}, ""},
		{[]string{"TLS_CERT=/a.pem"}, "SLUICE_TLS_CERT needs SLUICE_TLS_KEY"},
		{[]string{"TLS_KEY=/a.pem"}, "SLUICE_TLS_KEY is set, but SLUICE_TLS_CERT is not"},
		{[]string{"TLS_CERT=/a.pem;/b.pem", "TLS_KEY=/a.key"}, "SLUICE_TLS_CERT names 2 files and SLUICE_TLS_KEY 1"},
		{[]string{"TLS_DOMAINS=media.example.com", "STATE_DIR=/s"}, ""},
		{[]string{"TLS_DOMAINS=media.example.com"}, "SLUICE_TLS_DOMAINS needs SLUICE_STATE_DIR"},
		{[]string{"TLS_DOMAINS=media.example.com", "STATE_DIR=/s", "TLS_CERT=/a", "TLS_KEY=/b"}, "are both set"},
		{[]string{"ACME_URL=https://acme.example.com/directory"}, "SLUICE_ACME_URL is set, but SLUICE_TLS_DOMAINS is not"},
		{[]string{"ACME_URL=https://acme.example.com/directory", "TLS_DOMAINS=media.example.com", "STATE_DIR=/s"}, ""},
		{[]string{"ACME_URL=https://user@acme.example.com/"}, "must be a URL like"},
		{[]string{"TLS_DOMAINS=" + strings.Join(many, " "), "STATE_DIR=/s"}, "are 101, and may be 100"},
		{[]string{"TLS_CERT=" + strings.Repeat("/a;", 101)}, "are 101, and may be 100"},
	} {
		environ := []string{"SLUICE_HTTPS_ADDR=:0"}
		for _, set := range c.set {
			environ = append(environ, envPrefix+set)
		}
		_, err := loadConfig(environ)
		if c.want == "" {
			assert.NoError(t, err, "%v", c.set)
		} else {
			assert.ErrorContains(t, err, c.want, "%v", c.set)
		}
	}
}

func TestTLSLists(t *testing.T) {
	cfg, err := loadConfig([]string{
		"SLUICE_HTTPS_ADDR=:0", "SLUICE_TLS_CERT=/etc/my%20cert.pem; relative.pem\n", "SLUICE_TLS_KEY=/a%3Bb;\n/c",
	})
	require.NoError(t, err)
	assert.Equal(t, paths{"/etc/my cert.pem", "relative.pem"}, cfg.TLSCert)
	assert.Equal(t, paths{"/a;b", "/c"}, cfg.TLSKey)
	assert.True(t, cfg.hasCertificates())
	cfg, err = loadConfig([]string{"SLUICE_HTTPS_ADDR=:0", "SLUICE_TLS_DOMAINS=Media.Example.com.; bücher.example\nmedia.example.com", "SLUICE_STATE_DIR=/s"})
	require.NoError(t, err)
	assert.Equal(t, domains{"media.example.com", "xn--bcher-kva.example"}, cfg.TLSDomains)
	assert.True(t, cfg.hasCertificates())
}

// What is wrong with a file is told at the start, with the name of its variable.
func TestCertificateFilesAreRead(t *testing.T) {
	var stderr strings.Builder
	code := run(t.Context(), nil, []string{"SLUICE_HTTPS_ADDR=127.0.0.1:0", "SLUICE_TLS_CERT=/none/cert.pem", "SLUICE_TLS_KEY=/none/key.pem"}, io.Discard, &stderr)
	assert.Equal(t, exitUsage, code)
	assert.Equal(t, "sluice: cannot start: SLUICE_TLS_CERT: /none/cert.pem: no such file or directory\n", stderr.String())
}
