// Package pull opens streams of other servers over HTTP-FLV and WebSocket-FLV, in the clear and
// encrypted, for relays: it is where a relay.Source comes from whose URL is http, https, ws or wss.
//
// A source costs a connection, a goroutine of its reader's and about 6 KB in the clear; the request
// is written and its answer read by hand, since a client of net/http has two goroutines and further
// buffers for each connection.
package pull

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"sluice/flv"
	"sluice/httpflv"
	"sluice/httpflv/websocket"
	"sluice/hub"
	"sluice/hub/relay"
)

// Defaults of an Opener.
const (
	defaultHeadTimeout    = 10 * time.Second
	defaultAnswerTimeout  = time.Minute
	defaultFirstTimeout   = time.Minute
	defaultSilenceTimeout = 5 * time.Second
)

// Bounds of what a server may send.
const (
	maxRedirects = 3
	maxHead      = 32 << 10 // bytes of an answer's head, those of interim answers before it included
	maxInterim   = 5        // interim answers (1xx) before it
	readBuffer   = 4 << 10  // bytes
	// maxTagTime is how many times the SilenceTimeout a tag may take, so that one that trickles in is not
	// waited for.
	maxTagTime = 4
)

// Opener opens sources. Dial must be set; the rest may be zero. It may be used by any number of
// goroutines.
type Opener struct {
	// Dial connects to a HOST:PORT, in lower case. trusted says that it is that of the URL that is opened;
	// others are where a server has sent us.
	Dial func(ctx context.Context, network, address string, trusted bool) (net.Conn, error)
	// TLS configures encrypted connections; nil is as the zero Config.
	TLS *tls.Config
	// HeadTimeout bounds the handshake of TLS, and the time from the first byte of an answer's head to its
	// last; 0 for 10 s.
	HeadTimeout time.Duration
	// AnswerTimeout bounds the time until an answer has begun, redirects included, and FirstTimeout that
	// from there to the first frame; 0 for a minute. A server may wait for its publisher in both: whoever cannot wait as long
	// has a context, and Close.
	AnswerTimeout, FirstTimeout time.Duration
	// SilenceTimeout is how long a server may send nothing after that; 0 for 5 s.
	SilenceTimeout time.Duration
}

// Open asks for a stream, and returns when its server has begun to answer that it is there. ctx
// is of no meaning afterwards. The error is a *relay.Failure.
func (o *Opener) Open(ctx context.Context, opening relay.Opening) (relay.Source, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(o.AnswerTimeout, defaultAnswerTimeout))
	defer cancel()
	first, err := parseTarget(opening.URL.Secret())
	if err != nil {
		return nil, err
	}
	if opening.Back > 0 {
		first.RawQuery = relay.WithBack(first.RawQuery, opening.Back)
	}
	at := first
	for redirects := 0; ; redirects++ {
		s, err := o.ask(ctx, first, at, opening.Path)
		var moved *movedError
		switch {
		case err == nil:
			return s, nil
		case !errors.As(err, &moved):
			return nil, err
		case redirects == maxRedirects:
			return nil, relay.Failed(relay.CauseURL, "redirected more than %d times", maxRedirects)
		}
		if at, err = at.follow(moved.location); err != nil {
			return nil, err
		}
	}
}

// movedError is an answer that redirects.
type movedError struct{ location string }

func (*movedError) Error() string { return "redirected" }

// ask makes one request at a target, to which that for first has led.
func (o *Opener) ask(ctx context.Context, first, at target, path []string) (_ *source, err error) {
	nc, err := o.Dial(ctx, "tcp", at.hostport(), at.hostport() == first.hostport())
	if err != nil {
		return nil, relay.FailureOf(err)
	}
	s := &source{wire: newWire(nc), left: maxHead, remote: nc.RemoteAddr().String()}
	s.conn = s.wire
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	defer func() {
		if !stop() && err == nil {
			err = ctx.Err()
		}
		if err == nil {
			return
		}
		nc.Close()
		if moved := (*movedError)(nil); !errors.As(err, &moved) {
			err = failure(cmp.Or(ctx.Err(), err))
		}
	}()
	within := cmp.Or(o.HeadTimeout, defaultHeadTimeout)
	if at.encrypted() {
		s.wire.allow(within)
		if err = s.encrypt(ctx, o.TLS, at.Hostname()); err != nil {
			return nil, err
		}
	}
	s.in = bufio.NewReaderSize((*input)(s), readBuffer)
	var user *url.Userinfo
	if at.sameHost(first) {
		user = first.User
	}
	request := at.request(path, user)
	if err = request.Write(s.conn); err != nil {
		return nil, err
	}
	s.wire.allow(0)
	if _, err = s.in.Peek(1); err != nil { // it may be waiting for its publisher
		return nil, err
	}
	s.wire.allow(within)
	answer, err := s.readHead(request)
	if err != nil {
		return nil, err
	}
	if node := answer.Header.Get(httpflv.NodeHeader); hub.IsNodeID(node) {
		s.node = node
	}
	if err = s.accept(answer, request.Header.Get(keyHeader)); err != nil {
		return nil, err
	}
	s.left = unbounded
	s.wire.allow(cmp.Or(o.FirstTimeout, defaultFirstTimeout))
	s.silence = cmp.Or(o.SilenceTimeout, defaultSilenceTimeout)
	s.tags = flv.NewReader(s.body)
	s.tags.Reuse()
	return s, nil
}

// encrypt makes the handshake of TLS.
func (s *source) encrypt(ctx context.Context, cfg *tls.Config, host string) error {
	if cfg == nil {
		cfg = new(tls.Config)
	}
	cfg = cfg.Clone()
	cfg.NextProtos = []string{"http/1.1"}
	if cfg.ServerName == "" {
		cfg.ServerName = host
	}
	encrypted := tls.Client(s.wire, cfg)
	s.conn = encrypted
	return encrypted.HandshakeContext(ctx)
}

// readHead reads the head of the answer to a request.
func (s *source) readHead(request *http.Request) (*http.Response, error) {
	for range maxInterim {
		answer, err := http.ReadResponse(s.in, request)
		if err != nil {
			return nil, cmp.Or(s.lost, errHead) // lost is the connection's
		}
		if answer.StatusCode >= 200 || answer.StatusCode == http.StatusSwitchingProtocols {
			return answer, nil
		}
	}
	return nil, errHead
}

// accept looks at an answer, and makes the body of the source of one that has the stream. key is that of a
// request for a WebSocket, "" of another.
func (s *source) accept(answer *http.Response, key string) error {
	switch answer.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return &movedError{answer.Header.Get("Location")}
	}
	if key != "" {
		if answer.StatusCode >= 300 {
			return refused(s, answer)
		}
		if websocket.Accept(answer, key) != nil {
			return relay.Failed(relay.CauseMedia, "the server does not speak WebSocket there")
		}
		s.body = &websocket.Reader{In: s.in, Out: s.conn}
		return nil
	}
	switch {
	case answer.StatusCode != http.StatusOK:
		return refused(s, answer)
	case len(answer.TransferEncoding) > 0: // chunked: net/http knows no other
		s.chunks = &chunks{in: s.in}
		s.body = s.chunks
	case answer.ContentLength >= 0:
		s.body = &sized{in: s.in, left: answer.ContentLength}
	default:
		s.body = (*endless)(s)
	}
	return nil
}

// endless is the body of an answer that ends with its connection, so that its end can't be told from a
// break.
type endless source

func (e *endless) Read(p []byte) (int, error) {
	n, err := e.in.Read(p)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
