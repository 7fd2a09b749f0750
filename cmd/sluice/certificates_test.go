//go:build unix

package main

import (
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
	"regexp"
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
	abrupt, err := net.Listen("tcp", "127.0.0.1:0") // which hangs up on everybody
	require.NoError(t, err)
	var hangingUp sync.WaitGroup
	defer hangingUp.Wait()
	defer abrupt.Close()
	hangingUp.Go(func() {
		for c, err := abrupt.Accept(); err == nil; c, err = abrupt.Accept() {
			c.Close()
		}
	})
	nobody := portOf(t, abrupt.Addr().String())
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
			picture := make([]byte, 30_000)
			require.Eventually(t, func() bool {
				res, err := client.Get("https://" + https + "/live/demo.flv")
				if err != nil {
					return false
				}
				defer res.Body.Close()
				_, err = io.ReadFull(res.Body, picture)
				return assert.NoError(t, err)
			}, patience, 20*time.Millisecond, "%s", out)
			file := filepath.Join(t.TempDir(), "picture.flv")
			require.NoError(t, os.WriteFile(file, picture, 0o600))
			shown, complaints := runs(t, "ffmpeg", "ffmpeg", "-v", "fatal", "-i", file, "-frames:v", "1", "-f", "image2pipe", "-c:v", "png", "-")
			assert.Contains(t, shown, "PNG", complaints)

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

// A certificate is replaced under viewers, of whom none misses a frame; who joins afterwards gets the new
// one. Before that files come and go that are of no use, as certbot and Kubernetes would put them there,
// by a link, and it is told once each why. With SLUICE_TEST_LONG=1 it is under 1,000 viewers.
func TestReplacedUnderViewers(t *testing.T) {
	t.Parallel()
	viewers, duration := 40, 3*time.Second
	if os.Getenv("SLUICE_TEST_LONG") != "" {
		viewers, duration = 1000, 40*time.Second
	}
	s := &secureServer{roots: x509.NewCertPool()}
	leaf, text := make(map[string][]byte), make(map[string][]byte) // of a certificate, and of its file
	for _, name := range []string{"old", "next"} {
		var err error
		text[name], err = os.ReadFile(certificateFile(t))
		require.NoError(t, err)
		block, _ := pem.Decode(text[name])
		leaf[name] = block.Bytes
		s.roots.AppendCertsFromPEM(text[name])
	}
	root := t.TempDir()
	for folder, of := range map[string][2][]byte{
		"old": {text["old"], text["old"]}, "next": {text["next"], text["next"]},
		"half": {text["next"][:300], text["next"]}, "mismatched": {text["next"], text["old"]},
	} {
		require.NoError(t, os.Mkdir(filepath.Join(root, folder), 0o700))
		for i, name := range []string{"cert.pem", "key.pem"} {
			require.NoError(t, os.WriteFile(filepath.Join(root, folder, name), of[i], 0o600))
		}
	}
	swap := func(to string) {
		require.NoError(t, os.Symlink(to, filepath.Join(root, "new")))
		require.NoError(t, os.Rename(filepath.Join(root, "new"), filepath.Join(root, "live")))
	}
	swap("old")
	cmd := command(t, "SLUICE_HTTPS_ADDR=127.0.0.1:0", "SLUICE_RTMPS_ADDR=127.0.0.1:0", "SLUICE_MAX_LAG=1m", "SLUICE_PUBLISHER_GRACE=0",
		"SLUICE_TLS_CERT="+filepath.Join(root, "live", "cert.pem"), "SLUICE_TLS_KEY="+filepath.Join(root, "live", "key.pem"))
	out := newOutput()
	cmd.Stdout, cmd.Stderr = out, out
	require.NoError(t, cmd.Start())
	defer func() {
		cmd.Process.Signal(syscall.SIGTERM)
		assert.NoError(t, cmd.Wait(), "exit code 0")
	}()
	for scheme, addr := range map[string]*string{"rtmp": &s.rtmp, "rtmps": &s.rtmps, "http": &s.http, "https": &s.https} {
		*addr = out.find(t, ` `+scheme+`://(127\.0\.0\.1:\d+)/`)[1]
	}

	l := newLoad(duration)
	publisher, err := from(net.IPv4(127, 0, 0, 1)).Publish(t.Context(), "rtmp://"+s.rtmp+"/live/load")
	require.NoError(t, err)
	defer publisher.Close()
	require.NoError(t, publisher.WriteTags(append(madeHeader(), l.frames[0])))
	done := make(chan struct{}) // the last step
	published := make(chan error, 1)
	go func() {
		began := time.Now()
		for i, frame := range l.frames[1:] {
			if i == len(l.frames)/2 {
				<-done
			}
			time.Sleep(time.Until(began.Add(time.Duration(frame.Timestamp) * time.Millisecond))) // as an encoder does
			if err := publisher.WriteTag(frame); err != nil {
				published <- err
				return
			}
		}
		published <- publisher.Close()
	}()

	joins, watching := s.joins(t), new(sync.WaitGroup)
	watch := func(protocol string) {
		v, err := joins[protocol](t.Context())
		require.NoError(t, err, protocol)
		watching.Go(func() {
			defer v.close()
			assert.NoError(t, l.check(v.next, 0), protocol)
		})
	}
	protocols := []string{"https", "wss", "rtmps", "HTTP/2"}
	for i := range viewers {
		watch(protocols[i%len(protocols)])
	}
	began, changes := time.Now(), regexp.MustCompile(`"the certificate is not replaced|"certificate replaced"`)
	for i, step := range []struct{ to, log, want string }{
		{"half", "its end is missing", "old"},
		{"mismatched", "the key is that of another certificate", "old"},
		{"nowhere", "no such file", "old"},
		{"next", "certificate replaced", "next"},
	} {
		swap(step.to)
		require.NoError(t, cmd.Process.Signal(syscall.SIGHUP))
		out.find(t, fmt.Sprintf(`(?s)(certificates were read again.*){%d}`, i+1))
		assert.Len(t, changes.FindAllString(out.String(), -1), i+1, "once: %s", out)
		out.find(t, step.log)
		for _, addr := range []string{s.https, s.rtmps} {
			assert.Equal(t, leaf[step.want], s.dialTLS(t, addr).ConnectionState().PeerCertificates[0].Raw, step.to)
		}
		for _, protocol := range protocols {
			watch(protocol)
		}
	}
	t.Logf("replaced within %v", time.Since(began))
	close(done)
	require.NoError(t, <-published)
	watching.Wait()
	t.Logf("%d frames in order", l.tags.Load())
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
