package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"sluice/hub/pattern"
)

// healthTimeout bounds the question of -health: who restarts what hangs asks every few seconds.
const healthTimeout = 3 * time.Second

// runHealth asks /healthz, prints a line and returns the exit code.
func runHealth(ctx context.Context, o options, environ []string, stdout, stderr io.Writer) int {
	local := len(o.bases) == 0
	if local {
		base, err := ownBase(environ)
		if err != nil {
			fmt.Fprintf(stderr, "sluice check: %v\n", err)
			return exitUsage
		}
		o.bases = append(o.bases, base)
	}
	base := *o.bases[0]
	base.Path += "/healthz"
	// A certificate is for the name of the server, not for this machine's own address.
	o.insecure = o.insecure || local
	t := &tester{options: o}
	client := t.httpClient(&way{protocol: base.Scheme, base: &base})
	if local && isProxied(environ, &base) {
		client.Transport.(*http.Transport).DialContext = dialAsProxy
	}
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	answer, err := get(ctx, client, base.String(), "")
	if err != nil {
		var asked *url.Error
		if errors.As(err, &asked) {
			err = asked.Err
		}
		fmt.Fprintf(stdout, "%s: %v\n", base.String(), printable(err.Error()))
		return exitFailure
	}
	defer answer.Body.Close()
	fmt.Fprintf(stdout, "%s: HTTP status %d\n", base.String(), answer.StatusCode)
	if answer.StatusCode != http.StatusOK {
		return exitFailure
	}
	return exitOK
}

// ownBase returns where the server on this machine has /healthz, by the variables with which it runs.
func ownBase(environ []string) (*url.URL, error) {
	set := map[string]string{"SLUICE_HTTP_ADDR": ":8080"}
	for _, pair := range environ {
		if name, value, _ := strings.Cut(pair, "="); name == "SLUICE_HTTP_ADDR" || name == "SLUICE_HTTPS_ADDR" {
			set[name] = cmp.Or(value, set[name])
		}
	}
	for _, of := range []struct{ scheme, name string }{{"http", "SLUICE_HTTP_ADDR"}, {"https", "SLUICE_HTTPS_ADDR"}} {
		for text := range pattern.Split(set[of.name]) {
			host, port, err := net.SplitHostPort(text)
			if err != nil || port == "" || port == "0" {
				continue
			}
			if address, err := netip.ParseAddr(host); host == "" || err == nil && address.IsUnspecified() {
				host = "127.0.0.1"
			}
			return &url.URL{Scheme: of.scheme, Host: net.JoinHostPort(host, port)}, nil
		}
	}
	return nil, errors.New("neither SLUICE_HTTP_ADDR nor SLUICE_HTTPS_ADDR says where the server listens: give its URL")
}

// isProxied reports whether the server takes this machine for a proxy, which has to begin with a PROXY
// header, by the variables with which it runs.
func isProxied(environ []string, base *url.URL) bool {
	set := make(map[string][]string)
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		set[name] = strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune(" \t\r\n,;", r) })
	}
	own, err := netip.ParseAddr(base.Hostname())
	if err != nil || !slices.Contains(set["SLUICE_PROXY_PROTOCOL"], base.Scheme) {
		return false
	}
	return slices.ContainsFunc(set["SLUICE_TRUSTED_PROXIES"], func(text string) bool {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			address, err := netip.ParseAddr(text)
			return err == nil && address == own
		}
		return network.Contains(own)
	})
}

// dialAsProxy opens a connection that begins as one of a proxy which asks for itself (PROXY protocol,
// version 1, UNKNOWN).
func dialAsProxy(ctx context.Context, network, address string) (net.Conn, error) {
	nc, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	nc.SetWriteDeadline(time.Now().Add(healthTimeout))
	if _, err := io.WriteString(nc, "PROXY UNKNOWN\r\n"); err != nil {
		nc.Close()
		return nil, err
	}
	nc.SetWriteDeadline(time.Time{})
	return nc, nil
}
