package check

import (
	"bytes"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/cmd/sluice/proxied"
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

// A server that takes its own machine for a proxy is asked as one asks.
func TestHealthBehindPROXY(t *testing.T) {
	for _, c := range []struct {
		protocol, trusted string
		want              bool
	}{
		{"http", "127.0.0.1", true}, {"rtmp http", "10.0.0.0/8 127.0.0.0/8", true}, {"http", "10.0.0.0/8", false},
		{"rtmp", "127.0.0.1", false}, {"off", "", false}, {"http", "::1", false},
	} {
		environ := []string{"SLUICE_PROXY_PROTOCOL=" + c.protocol, "SLUICE_TRUSTED_PROXIES=" + c.trusted}
		assert.Equal(t, c.want, isProxied(environ, &url.URL{Scheme: "http", Host: "127.0.0.1:8080"}), "%v", environ)
	}
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := proxied.Listen(inner, proxied.Config{Trusted: func(netip.Addr) bool { return true }})
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	defer func() {
		server.Close()
		<-served
	}()
	var out bytes.Buffer
	environ := []string{"SLUICE_HTTP_ADDR=" + inner.Addr().String(), "SLUICE_PROXY_PROTOCOL=http", "SLUICE_TRUSTED_PROXIES=127.0.0.1"}
	assert.Equal(t, 0, Run(t.Context(), []string{"-health"}, environ, nil, &out, &out), out.String())
	assert.Equal(t, 1, Run(t.Context(), []string{"-health"}, environ[:1], nil, &out, &out), "without the header")
}
