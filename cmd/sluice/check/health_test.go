package check

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOwnBase(t *testing.T) {
	for _, c := range []struct {
		environ []string
		want    string
	}{
		{nil, "http://127.0.0.1:8080"},
		{[]string{"SLUICE_HTTP_ADDR=:80"}, "http://127.0.0.1:80"},
		{[]string{"SLUICE_HTTP_ADDR="}, "http://127.0.0.1:8080"},
		{[]string{"SLUICE_HTTP_ADDR=0.0.0.0:80"}, "http://127.0.0.1:80"},
		{[]string{"SLUICE_HTTP_ADDR=[::]:80"}, "http://127.0.0.1:80"},
		{[]string{"SLUICE_HTTP_ADDR=[::1]:80;192.0.2.1:81"}, "http://[::1]:80"},
		{[]string{"SLUICE_HTTP_ADDR=:0; 192.0.2.1:81"}, "http://192.0.2.1:81"},
		{[]string{"SLUICE_HTTP_ADDR=off", "SLUICE_HTTPS_ADDR=:443"}, "https://127.0.0.1:443"},
		{[]string{"SLUICE_HTTPS_ADDR=:443"}, "http://127.0.0.1:8080"},
		{[]string{"SLUICE_HTTP_ADDR=off"}, ""},
	} {
		base, err := ownBase(c.environ)
		if c.want == "" {
			require.Error(t, err)
			continue
		}
		require.NoError(t, err)
		assert.Equal(t, c.want, base.String())
	}
}

func TestHealth(t *testing.T) {
	status := http.StatusOK
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			w.WriteHeader(status)
			return
		}
		w.WriteHeader(http.StatusNotFound)
	})
	plain, secure := httptest.NewServer(h), httptest.NewTLSServer(h)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	check := func(environ []string, args ...string) (int, string) {
		var out, errout bytes.Buffer
		code := Run(t.Context(), append([]string{"-health"}, args...), environ, nil, &out, &errout)
		assert.Equal(t, 1, strings.Count(out.String()+errout.String(), "\n"), "one line")
		return code, out.String() + errout.String()
	}
	code, line := check(nil, plain.URL)
	assert.Equal(t, exitOK, code, line)
	assert.Contains(t, line, "/healthz: HTTP status 200")
	code, line = check(nil, secure.URL)
	assert.Equal(t, exitFailure, code)
	assert.Contains(t, line, "certificate")
	code, _ = check(nil, "-insecure", secure.URL)
	assert.Equal(t, exitOK, code)
	code, _ = check([]string{"SLUICE_HTTP_ADDR=" + strings.TrimPrefix(plain.URL, "http://")})
	assert.Equal(t, exitOK, code)
	code, _ = check([]string{"SLUICE_HTTP_ADDR=off", "SLUICE_HTTPS_ADDR=" + strings.TrimPrefix(secure.URL, "https://")})
	assert.Equal(t, exitOK, code, "the certificate is for another name than this machine's own address")
	code, _ = check([]string{"SLUICE_HTTP_ADDR=off"})
	assert.Equal(t, exitUsage, code)
	status = http.StatusServiceUnavailable
	code, line = check(nil, plain.URL)
	assert.Equal(t, exitFailure, code)
	assert.Contains(t, line, "503")
}
