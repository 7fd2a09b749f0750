//go:build unix

package main

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sluice/hub/tlsconn/tlstest"
)

// secureServer is the program with listeners of all kinds, HOST:PORT of each.
type secureServer struct {
	process
	rtmps, https string
	out          *output     // of the program
	log          *syncBuffer // of a service
	stop         func() int
	file         string // its certificate and key
	roots        *x509.CertPool
}

// newSecureServer returns one that has a certificate and is still to be started.
func newSecureServer(t *testing.T) *secureServer {
	c := tlstest.Certificate(time.Hour, "sluice")
	return &secureServer{file: tlstest.WriteBoth(t, c), roots: tlstest.Pool(c)}
}

// startSecure runs the program with TLS beside the plain ports.
func startSecure(t *testing.T, environ ...string) *secureServer {
	t.Helper()
	s := newSecureServer(t)
	s.out, s.stop = start(t, append([]string{
		"SLUICE_RTMPS_ADDR=127.0.0.1:0", "SLUICE_HTTPS_ADDR=127.0.0.1:0", "SLUICE_TLS_CERT=" + s.file, "SLUICE_TLS_KEY=" + s.file,
	}, environ...)...)
	for scheme, addr := range map[string]*string{"rtmp": &s.rtmp, "rtmps": &s.rtmps, "http": &s.http, "https": &s.https} {
		*addr = s.out.find(t, ` `+scheme+`://(127\.0\.0\.1:\d+)/`)[1]
	}
	return s
}

// client returns a client of HTTP/2, or of HTTP/1.1.
func (s *secureServer) client(t *testing.T, http2 bool) *http.Client {
	t.Helper()
	var protocols http.Protocols
	protocols.SetHTTP1(!http2)
	protocols.SetHTTP2(http2)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.roots}, Protocols: &protocols}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// dialTLS opens a connection with TLS that offers protocols.
func (s *secureServer) dialTLS(t *testing.T, addr string, protocols ...string) *tls.Conn {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: s.roots, NextProtos: protocols})
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	return conn
}

// runs runs a program until it ends, or for a while, and returns what it writes.
func runs(t *testing.T, name, pkg string, args ...string) (stdout, stderr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), needServer(t, name, pkg), args...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	require.NoError(t, cmd.Start())
	rude := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer rude.Stop()
	cmd.Wait() // some are ended by what they were told, and say so
	return out.String(), errs.String()
}

// startSecureService runs a service with TLS beside the plain ports, in which a test can look.
func startSecureService(t *testing.T, configure func(*config), environ ...string) (*runningService, *secureServer) {
	t.Helper()
	s := newSecureServer(t)
	cfg, err := loadConfig(append([]string{
		"SLUICE_RTMP_ADDR=127.0.0.1:0", "SLUICE_HTTP_ADDR=127.0.0.1:0", "SLUICE_RTMPS_ADDR=127.0.0.1:0", "SLUICE_HTTPS_ADDR=127.0.0.1:0",
		"SLUICE_TLS_CERT=" + s.file, "SLUICE_TLS_KEY=" + s.file,
	}, environ...))
	require.NoError(t, err)
	log := new(syncBuffer)
	require.NoError(t, cfg.open(newLogger(log, "text", slog.LevelInfo)))
	if configure != nil {
		configure(&cfg)
	}
	svc, p := startConfigured(t, patience, log, cfg)
	s.process, s.rtmps, s.https = *p, svc.listeners.addr(kindRTMPS), svc.listeners.addr(kindHTTPS)
	s.log = log
	return svc, s
}
