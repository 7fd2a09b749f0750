package hook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Bounds on fetching keys of tokens.
const (
	keysTimeout = 5 * time.Second
	maxKeys     = 1 << 20 // bytes of the document
)

// JWKSFetch returns what fetches a document with keys (RFC 7517) from a URL, which is asked for
// each time and may have a user and password. It follows no redirect and asks no proxy; it takes a document of 1 MiB at
// most, within 5 s. Errors have nothing of the URL in them but the server's address. What it
// returns may be called from any goroutine, and keeps nothing open.
func JWKSFetch(address func() string) (func(context.Context) ([]byte, error), error) {
	if !isServer(address()) {
		return nil, errURL
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	client := &http.Client{
		Transport: &http.Transport{
			DialContext: (&net.Dialer{Timeout: keysTimeout}).DialContext, TLSHandshakeTimeout: keysTimeout, Protocols: protocols,
			DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxAnswer,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context) ([]byte, error) {
		ctx, cancel := context.WithTimeout(ctx, keysTimeout)
		defer cancel()
		return fetch(ctx, client, address())
	}, nil
}

func fetch(ctx context.Context, client *http.Client, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, errURL
	}
	req.Header.Set("User-Agent", "sluice")
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := client.Do(req)
	if err != nil {
		_, dial := errors.AsType[*net.OpError](err)
		return nil, plainError(err, !dial)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%w but %d", ErrUnanswered, resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxKeys+1))
	switch {
	case err != nil:
		return nil, plainError(err, true)
	case len(body) > maxKeys:
		return nil, fmt.Errorf("%w of %d bytes or less", ErrUnanswered, maxKeys)
	}
	return body, nil
}
