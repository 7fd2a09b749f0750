//go:build unix

package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/cmd/sluice/certificate"
	"sluice/cmd/sluice/certificate/acmetest"
)

func portOf(t *testing.T, addr string) int {
	t.Helper()
	_, text, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	port, err := strconv.Atoi(text)
	require.NoError(t, err)
	return port
}

// namedClient returns a client that asks a port of loopback for a name, on connections of its own.
func namedClient(t *testing.T, name string, roots *x509.CertPool) *http.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: name}, DisableKeepAlives: true}
	return &http.Client{Transport: transport, Timeout: patience}
}

// From nothing to a picture over https: the program with an authority, whose own certificate it trusts by
// SSL_CERT_FILE, and which asks for a proof by each of the ways.
func TestFromNothingToAPicture(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // which accepts nobody
	require.NoError(t, err)
	defer silent.Close()
	nobody := portOf(t, silent.Addr().String())
	for _, way := range []string{"HTTP-01", "TLS-ALPN-01"} {
		t.Run(way, func(t *testing.T) {
			authority := acmetest.Listen(t)
			trusted := filepath.Join(t.TempDir(), "ca.pem")
			require.NoError(t, os.WriteFile(trusted, authority.CA, 0o600))
			cmd := command(t, "SLUICE_HTTPS_ADDR=127.0.0.1:0", "SLUICE_TLS_DOMAINS=stream.example", "SLUICE_ACME_URL="+authority.Directory,
				"SLUICE_STATE_DIR="+t.TempDir(), "SLUICE_DEMO=true", "SLUICE_ADMIN_ADDR=127.0.0.1:0", "SLUICE_ADMIN_TOKEN="+strings.Repeat("t", 16),
				"SSL_CERT_FILE="+trusted)
			out := newOutput()
			cmd.Stdout, cmd.Stderr = out, out
			require.NoError(t, cmd.Start())
			defer func() {
				cmd.Process.Signal(syscall.SIGTERM)
				assert.NoError(t, cmd.Wait(), "exit code 0")
			}()
			https := out.find(t, ` https://(127\.0\.0\.1:\d+)/`)[1]
			http := out.find(t, ` http://(127\.0\.0\.1:\d+)/`)[1]
			admin := out.find(t, `Operators http://(127\.0\.0\.1:\d+)/`)[1]
			plain, secure := portOf(t, http), nobody
			if way == "TLS-ALPN-01" {
				plain, secure = nobody, portOf(t, https)
			}
			_, text := fetch(t, "GET", admin, "/api/v1/info", strings.Repeat("t", 16))
			assert.Contains(t, text, `"names":["stream.example"],"not_after":null,"days_left":0`)
			authority.Ask(t, plain, secure)

			client := namedClient(t, "stream.example", authority.Roots)
			picture := make([]byte, 1000)
			require.Eventually(t, func() bool {
				res, err := client.Get("https://" + https + "/live/demo.flv")
				if err != nil {
					return false
				}
				defer res.Body.Close()
				_, err = io.ReadFull(res.Body, picture)
				return assert.NoError(t, err)
			}, patience, 20*time.Millisecond, "%s", out)
			assert.Equal(t, "FLV", string(picture[:3]))

			_, err := namedClient(t, "stranger.example", authority.Roots).Get("https://" + https + "/")
			assert.ErrorContains(t, err, "unrecognized name")
			_, text = fetch(t, "GET", admin, "/metrics", strings.Repeat("t", 16))
			assert.Contains(t, text, `sluice_certificate_left_seconds{name="stream.example"} 7.7`)
			assert.Contains(t, text, `sluice_certificate_good{name="stream.example"} 1`)
			var info struct {
				Parts struct {
					Certificates []struct {
						DaysLeft float64 `json:"days_left"`
					}
				}
			}
			_, text = fetch(t, "GET", admin, "/api/v1/info", strings.Repeat("t", 16))
			require.NoError(t, json.Unmarshal([]byte(text), &info))
			assert.InDelta(t, 90, info.Parts.Certificates[0].DaysLeft, 0.1)
		})
	}
}

// A certificate is replaced under viewers, of whom none notices; who joins afterwards gets the new one.
// Before that files come and go that are of no use. With SLUICE_TEST_LONG=1 it is under 1,000 viewers.
func TestReplacedUnderViewers(t *testing.T) {
	viewers := 40
	if os.Getenv("SLUICE_TEST_LONG") != "" {
		viewers = 1000
	}
	old, next := certificateFile(t), certificateFile(t)
	text := make(map[string][]byte)
	for _, path := range []string{old, next} {
		var err error
		text[path], err = os.ReadFile(path)
		require.NoError(t, err)
	}
	path := filepath.Join(t.TempDir(), "live.pem")
	put := func(text []byte) {
		require.NoError(t, os.WriteFile(path+".new", text, 0o600))
		require.NoError(t, os.Rename(path+".new", path))
	}
	put(text[old])
	cmd := command(t, "SLUICE_HTTPS_ADDR=127.0.0.1:0", "SLUICE_TLS_CERT="+path, "SLUICE_TLS_KEY="+path, "SLUICE_DEMO=true")
	out := newOutput()
	cmd.Stdout, cmd.Stderr = out, out
	require.NoError(t, cmd.Start())
	defer func() {
		cmd.Process.Signal(syscall.SIGTERM)
		assert.NoError(t, cmd.Wait(), "exit code 0")
	}()
	addr := out.find(t, ` https://(127\.0\.0\.1:\d+)/`)[1]
	watch := func() *tls.Conn { // by HTTP/1.1, so that it is on the pumps
		conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, ServerName: "x.example"})
		require.NoError(t, err)
		conn.SetDeadline(time.Now().Add(2 * patience))
		_, err = fmt.Fprintf(conn, "GET /live/demo.flv HTTP/1.1\r\nHost: x\r\n\r\n")
		require.NoError(t, err)
		return conn
	}
	serves := func(conn *tls.Conn) string {
		block, _ := pem.Decode(text[old])
		if bytes.Equal(conn.ConnectionState().PeerCertificates[0].Raw, block.Bytes) {
			return "old"
		}
		return "new"
	}
	var conns []*tls.Conn
	for range viewers {
		conns = append(conns, watch())
	}
	told := 0
	for _, step := range []struct {
		text []byte
		log  string
		want string
	}{
		{text[next][:len(text[next])-40], "its end is missing", "old"},
		{[]byte("nonsense"), "no PEM data|find any PEM data", "old"},
		{text[next], "certificate replaced", "new"},
	} {
		put(step.text)
		require.NoError(t, cmd.Process.Signal(syscall.SIGHUP))
		out.find(t, step.log)
		told++
		out.find(t, fmt.Sprintf(`(?s)(certificates were read again.*){%d}`, told))
		conn := watch()
		assert.Equal(t, step.want, serves(conn))
		conns = append(conns, conn)
	}
	var watching sync.WaitGroup
	for _, conn := range conns {
		watching.Go(func() {
			defer conn.Close()
			// More than was under way when it was replaced.
			n, err := io.CopyN(io.Discard, conn, 128<<10)
			assert.NoError(t, err, "after %d bytes", n)
		})
	}
	watching.Wait()
}

func TestShownCertificates(t *testing.T) {
	now := time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)
	text, err := json.Marshal(shownCertificates([]certificate.Info{
		{Names: []string{"a.example", "\xff"}, NotAfter: now.Add(36 * time.Hour), Problem: "x\xff"}, {NotAfter: now.Add(-12 * time.Hour)},
		{Names: []string{"new.example"}},
	}, now))
	require.NoError(t, err)
	assert.JSONEq(t, `[
		{"names":["a.example","?"],"not_after":"2026-11-30T12:00:00Z","days_left":1.5,"problem":"x?"},
		{"names":[],"not_after":"2026-11-28T12:00:00Z","days_left":-0.5,"problem":""},
		{"names":["new.example"],"not_after":null,"days_left":0,"problem":""}
	]`, string(text))
}
