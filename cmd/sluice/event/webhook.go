package event

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"sluice/hub"
)

// Bounds of a Webhook.
const (
	webhookWorkers = 8               // requests at a time
	webhookTimeout = 5 * time.Second // for one of them, its answer included
	maxAnswer      = 64 << 10        // bytes that are read of an answer
)

// WebhookFiles is how many files an endpoint has open at the most: connections, and those to
// servers of names.
const WebhookFiles = webhookWorkers + 2

// Webhook says to which endpoint events are posted: one in each request, those of a stream one
// after the other, up to eight at a time.
//
// An answer of 2xx takes an event. What brings none, 5xx, 408, 425 and 429 are tried again for
// five minutes with pauses that grow up to 30 s (or what Retry-After says, within that); any
// other answer, a redirect among them, three times in all.
//
// With a secret, requests are signed as Standard Webhooks has it: webhook-signature is "v1," and
// the base64 of HMAC-SHA256(secret, webhook-id "." webhook-timestamp "." body). The time is that
// of the attempt, in seconds; the id is the same in all of them.
type Webhook struct {
	// URL returns where, http or https; a user and password in it are sent. It is asked for each
	// request, from any goroutine.
	URL func() string
	// Secrets returns the secrets with which requests are signed, each with a signature of its
	// own, so that one can be changed without an interruption; nil, or none, for no signature.
	// It may be called at any time from any goroutine.
	Secrets func() [][]byte
	// Encode makes the bodies of the requests that tell an event, made one after the other: none
	// for what this receiver is not told. If one is not taken, the next attempt begins with the
	// first. nil for one with Event's JSON. It may be called from several goroutines.
	Encode func(e *Event) (contentType string, bodies [][]byte)
	// Skip says which events of the hub the endpoint is not told, since it knows; nil for none.
	// Nothing counts them as missing.
	Skip func(hub.Event) bool
	// Knows says of a session that was refused that the endpoint takes it for one that began,
	// since it was asked about it and said yes, and with which stream: it is told that it ended.
	// nil for none.
	Knows func(hub.Event) (hub.Key, bool)
	// Accounts says whether the endpoint keeps account of a session, since it was asked about it as
	// it is told: it is told of it even where nobody is, as of a self-test (hub.Key.IsCheck). nil
	// for never.
	Accounts func(*hub.Session) bool
	// Transport is what sends requests, for tests; nil for one of its own.
	Transport http.RoundTripper
}

// ParseSecret returns the secret in a text: the bytes that follow "whsec_" in base64, as Standard
// Webhooks writes secrets, or the bytes of the text itself.
func ParseSecret(text string) ([]byte, error) {
	encoded, standard := strings.CutPrefix(text, "whsec_")
	if !standard {
		return []byte(text), nil
	}
	secret, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(secret) == 0 {
		return nil, errors.New("what follows whsec_ is no base64")
	}
	return secret, nil
}

// errURL says nothing of the URL, in which there may be a password.
var errURL = errors.New("no URL of an http or https server")

// webhook is a Webhook at work.
type webhook struct {
	Webhook
	client *http.Client
}

func newWebhook(cfg Webhook) (*webhook, error) {
	u, err := url.Parse(cfg.URL())
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errURL
	}
	if cfg.Transport == nil {
		cfg.Transport = &http.Transport{
			DialContext:         (&net.Dialer{Timeout: webhookTimeout, KeepAlive: 30 * time.Second}).DialContext,
			TLSHandshakeTimeout: webhookTimeout, MaxConnsPerHost: webhookWorkers, MaxIdleConnsPerHost: webhookWorkers,
			IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: maxAnswer, DisableCompression: true,
		}
	}
	if cfg.Encode == nil {
		cfg.Encode = encodeJSON
	}
	return &webhook{Webhook: cfg, client: &http.Client{
		Transport:     cfg.Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func encodeJSON(e *Event) (contentType string, bodies [][]byte) {
	body, err := json.Marshal(e)
	if err != nil {
		return "", nil
	}
	return "application/json", [][]byte{body}
}

// shownURL returns what may be printed of a URL: its server. A path may be a secret as well.
func shownURL(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// deliver makes one attempt.
func (w *webhook) deliver(ctx context.Context, e *Event) error {
	contentType, bodies := w.Encode(e)
	for i, body := range bodies {
		id := e.ID
		if i > 0 {
			id += "." + strconv.Itoa(i)
		}
		if err := w.post(ctx, id, contentType, body); err != nil {
			return err
		}
	}
	return nil
}

// post makes one request.
func (w *webhook) post(ctx context.Context, id, contentType string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, webhookTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL(), bytes.NewReader(body))
	if err != nil {
		return errURL
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("User-Agent", "sluice")
	// A connection that the endpoint closes just when it is used again costs no attempt: since an
	// event may come twice, http.Transport may send it on another one. The header itself is not sent.
	req.Header["Idempotency-Key"] = nil
	w.sign(req.Header, id, body, time.Now())
	resp, err := w.client.Do(req)
	if err != nil {
		return fmt.Errorf("no answer: %w", plainError(err))
	}
	defer resp.Body.Close()
	// What is left of a longer answer ends with its connection.
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
	return judge(resp, err)
}

// plainError returns an error of net/http without what may be a secret in it: the URL, and what the
// endpoint has sent.
func plainError(err error) error {
	var op *net.OpError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	case errors.As(err, &op):
		return op
	case errors.As(err, &certificate):
		return certificate
	}
	return errors.New("the connection broke off, or what came is no HTTP")
}

// judge returns whether an answer takes the event; err is of its body.
func judge(resp *http.Response, err error) error {
	switch code := resp.StatusCode; {
	case code/100 == 2 && err != nil:
		return fmt.Errorf("no whole answer: %w", err)
	case code/100 == 2:
		return nil
	case code/100 == 5, code == http.StatusRequestTimeout, code == http.StatusTooEarly, code == http.StatusTooManyRequests:
		f := &failure{err: fmt.Errorf("answered with %d", code)}
		if n, err := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 16); err == nil {
			f.after = time.Duration(n) * time.Second
		}
		return f
	default:
		return &failure{err: fmt.Errorf("answered with %d", code), refused: true}
	}
}

// sign adds the headers of Standard Webhooks.
func (w *webhook) sign(h http.Header, id string, body []byte, now time.Time) {
	timestamp := strconv.FormatInt(now.Unix(), 10)
	h.Set("webhook-id", id)
	h.Set("webhook-timestamp", timestamp)
	if w.Secrets == nil {
		return
	}
	var signatures []string
	for _, secret := range w.Secrets() {
		mac := hmac.New(sha256.New, secret)
		fmt.Fprintf(mac, "%s.%s.", id, timestamp)
		mac.Write(body)
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	if len(signatures) > 0 {
		h.Set("webhook-signature", strings.Join(signatures, " "))
	}
}

// close lets go of connections that are kept for the next request.
func (w *webhook) close() { w.client.CloseIdleConnections() }
