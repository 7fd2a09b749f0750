package hook

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"sluice/hub"
)

// Bounds of a Client.
const (
	maxConnections = 64              // at a time; further requests wait
	defaultTimeout = 3 * time.Second // for an attempt's connection, request and whole answer
	maxAnswer      = 64 << 10        // bytes of an answer's body, and of its header
	retryPause     = 100 * time.Millisecond
)

// Files is how many files a Client has open at the most: its connections, and those to servers
// of names.
const Files = maxConnections + 2

// ClientConfig sets up a Client.
type ClientConfig struct {
	// URL returns the server's address, http or https; a user and password in it are sent as basic
	// authentication. It is asked for each request, from any goroutine.
	URL     func() string
	Timeout time.Duration // for one request and its answer, a retry included: 3 s if 0
	TLS     *tls.Config   // nil for the system's certificates
	// Dial connects, for tests; nil for the network.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Client posts to one server, as a question must be asked: up to 64 at a time, without following
// redirects, with bounds on the time and the size of answers. Where the server fails five times
// in a row it is left alone for five seconds, and requests fail at once. Its methods may be
// called from any goroutine.
//
// Each request has a connection of its own, as with SRS and nginx-rtmp: so none is ever sent
// twice, and what a server sends behind an answer is nobody's answer. A request is tried once
// more only if no connection could be made. It speaks HTTP/1.1, and asks no proxy: HTTP_PROXY
// and the like are not looked at, since what it sends are secrets of clients.
//
// None of its errors has anything of the URL or an answer in it, but the server's address.
type Client struct {
	url     func() string
	timeout time.Duration
	http    *http.Transport // which follows no redirect, and does not even look at where to
	slots   slots           // one is taken for each request
	breaker breaker
}

// Answer is what a server says.
type Answer struct {
	Status   int
	Location string // the header, as it was sent
	Type     string // media type, without parameters
	Body     []byte // at most 64 KiB
}

// Errors of a Client; test with errors.Is.
var (
	// ErrUnanswered is for a server that gave no answer that can be read.
	ErrUnanswered = errors.New("no answer")
	// ErrLeftAlone is for a server that has failed, and is not asked for a while.
	ErrLeftAlone = fmt.Errorf("%w for some time, it is not asked just now", ErrUnanswered)
	errURL       = errors.New("must be a URL of an http or https server")
)

// NewClient returns a client. The error quotes nothing of the URL.
func NewClient(cfg ClientConfig) (*Client, error) {
	if !isServer(cfg.URL()) {
		return nil, errURL
	}
	c := &Client{url: cfg.URL, timeout: cfg.Timeout, slots: slots{free: maxConnections}}
	if c.timeout <= 0 {
		c.timeout = defaultTimeout
	}
	dial := cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: c.timeout}).DialContext
	}
	config := new(tls.Config)
	if cfg.TLS != nil {
		config = cfg.TLS.Clone()
	}
	if config.ClientSessionCache == nil {
		config.ClientSessionCache = tls.NewLRUClientSessionCache(maxConnections)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	c.http = &http.Transport{
		DialContext: dialFor(dial), TLSClientConfig: config, TLSHandshakeTimeout: c.timeout, Protocols: protocols,
		DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxAnswer,
		MaxConnsPerHost: maxConnections, // those included that are made for who has left
	}
	return c, nil
}

// isServer reports whether a text is the URL of an http or https server.
func isServer(address string) bool {
	u, err := url.Parse(address)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != ""
}

// attemptKey is under what a context has itself, for dialFor.
type attemptKey struct{}

// dialFor ends a dial with the attempt that it is for: http.Transport goes on with it, for others
// that may come.
func dialFor(dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		attempt, ok := ctx.Value(attemptKey{}).(context.Context)
		if !ok {
			return dial(ctx, network, address)
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(attempt, cancel)()
		return dial(ctx, network, address)
	}
}

// Ask posts a body and has read take the answer. The error of read, which says that the answer
// makes no sense, counts as a failure of the server, as does a 5xx, of which read is not told.
// The wait for a connection is bounded by ctx alone; body is called when it is over. Publishers and
// viewers, as role says, wait for themselves.
func (c *Client) Ask(
	ctx context.Context, role hub.Role, contentType string, body func() []byte, read func(Answer) error,
) error {
	if err := c.breaker.check(time.Now()); err != nil {
		return err
	}
	if err := c.slots.take(ctx, role); err != nil {
		return err
	}
	defer c.slots.give()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	probe, err := c.breaker.enter(time.Now()) // others may have failed meanwhile
	if err != nil {
		return err
	}
	result := undecided
	defer func() { c.breaker.leave(time.Now(), probe, result) }()
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	answer, err := c.post(limited, contentType, body())
	if err == nil {
		err = read(answer)
	}
	switch {
	case err == nil:
		result = answered
	case ctx.Err() != nil: // who asked has left
		return context.Cause(ctx)
	default:
		result = failed
	}
	return err
}

// post makes a request, and once more if no connection was made.
func (c *Client) post(ctx context.Context, contentType string, body []byte) (Answer, error) {
	answer, connected, err := c.attempt(ctx, contentType, body)
	if err == nil || connected {
		return answer, err
	}
	pause := time.NewTimer(retryPause)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
		return answer, err
	}
	answer, _, err = c.attempt(ctx, contentType, body)
	return answer, err
}

// attempt makes a request.
func (c *Client) attempt(ctx context.Context, contentType string, body []byte) (answer Answer, connected bool, err error) {
	var got atomic.Bool
	ctx = context.WithValue(ctx, attemptKey{}, ctx)
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { got.Store(true) }})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url(), bytes.NewReader(body))
	if err != nil {
		return answer, true, errURL
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("User-Agent", "sluice")
	if user := req.URL.User; user != nil {
		password, _ := user.Password()
		req.SetBasicAuth(user.Username(), password)
	}
	resp, err := c.http.RoundTrip(req)
	if err != nil {
		return answer, got.Load(), plainError(err, got.Load())
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 == 5 {
		return answer, true, fmt.Errorf("%w but %d", ErrUnanswered, resp.StatusCode)
	}
	answer = Answer{Status: resp.StatusCode, Location: resp.Header.Get("Location")}
	answer.Type, _, _ = mime.ParseMediaType(resp.Header.Get("Content-Type"))
	answer.Body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return answer, true, plainError(err, true)
	case len(answer.Body) > maxAnswer:
		return answer, true, fmt.Errorf("%w of %d bytes or less", ErrUnanswered, maxAnswer)
	}
	return answer, true, nil
}

// plainError returns an error without what may be a secret in it: net/http's have the whole URL,
// and some quote the server.
func plainError(err error, connected bool) error {
	var op *net.OpError
	var certificate *tls.CertificateVerificationError
	var netErr net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &netErr) && netErr.Timeout():
		return fmt.Errorf("%w in time", ErrUnanswered)
	case errors.As(err, &certificate):
		return fmt.Errorf("%w: %w", ErrUnanswered, certificate)
	case !connected && errors.As(err, &op) && op.Op == "dial":
		return fmt.Errorf("%w: %w", ErrUnanswered, op)
	case !connected:
		return fmt.Errorf("%w: no connection can be made", ErrUnanswered)
	}
	return fmt.Errorf("%w: the connection broke off, or what came is no HTTP", ErrUnanswered)
}

// Close lets go of what is kept for the next request.
func (c *Client) Close() { c.http.CloseIdleConnections() }
