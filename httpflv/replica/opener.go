package replica

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
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

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/cluster"
)

// Opener opens copies of streams at other nodes. Node must be set; the rest may be zero. It may be used by
// any number of goroutines, and is not changed once it is used.
type Opener struct {
	// Dial connects to a HOST:PORT; nil is as the zero net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// TLS encrypts connections; nil leaves them in the clear. The name in a certificate is the
	// address's host, unless ServerName is set.
	TLS *tls.Config
	// Secret is that of the cluster.
	Secret string
	// Node is the id of this process.
	Node string
	// AnswerTimeout bounds the time until the answer is there, connecting included; 0 for 10 s.
	AnswerTimeout time.Duration
	// SilenceTimeout is how long a node may send nothing after that; 0 for 3 s. A node says something
	// each second.
	SilenceTimeout time.Duration
	// Now is the time of day; nil for time.Now.
	Now func() time.Time
}

// Open asks a node for a stream, and returns when it is known where it begins. ctx is of no meaning
// afterwards. It implements cluster.Open; errors are ErrUnproven and ErrOtherProcess, too.
func (o *Opener) Open(ctx context.Context, opening cluster.Opening) (cluster.Source, error) {
	s, err := o.open(ctx, opening)
	if err != nil {
		return nil, err // no nil in an interface
	}
	return s, nil
}

func (o *Opener) open(ctx context.Context, opening cluster.Opening) (_ *source, err error) {
	host, _, err := net.SplitHostPort(opening.Address)
	if err != nil || strings.ContainsFunc(opening.Address, unprintable) {
		return nil, errors.New("replica: the node's address is not HOST:PORT")
	}
	if !hub.IsNodeID(opening.Boot) || !hub.IsNodeID(o.Node) {
		return nil, errors.New("replica: a process has no id")
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(o.AnswerTimeout, defaultAnswerTimeout))
	defer cancel()
	dial := o.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	nc, err := dial(ctx, "tcp", opening.Address)
	if err != nil {
		return nil, fmt.Errorf("replica: %w", cmp.Or(ctx.Err(), err))
	}
	// An end of ctx interrupts what is under way; closing is for one goroutine.
	stop := context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() && err == nil {
			err = fmt.Errorf("replica: %w", ctx.Err())
		}
		if err != nil {
			nc.Close()
		}
	}()
	s := &source{nc: nc, in: input{conn: nc}}
	if o.TLS != nil {
		encrypted := tls.Client(nc, clientTLS(o.TLS, host))
		if err := encrypted.HandshakeContext(ctx); err != nil {
			return nil, fmt.Errorf("replica: %w", cmp.Or(ctx.Err(), err))
		}
		s.in.conn = encrypted
	}
	if err := o.ask(s, opening); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("replica: %w", ctx.Err())
		}
		return nil, err
	}
	s.in.silence = cmp.Or(o.SilenceTimeout, defaultSilence)
	return s, nil
}

func unprintable(r rune) bool { return r <= ' ' || r >= 0x7f }

func clientTLS(cfg *tls.Config, host string) *tls.Config {
	cfg = cfg.Clone()
	cfg.NextProtos = []string{"http/1.1"}
	cfg.ServerName = cmp.Or(cfg.ServerName, host)
	return cfg
}

// ask makes the request and reads the head of its answer.
func (o *Opener) ask(s *source, opening cluster.Opening) error {
	uri := resource + "?stream=" + url.QueryEscape(opening.Key.String())
	if opening.From != nil {
		uri += "&from=" + url.QueryEscape(opening.From.String())
	}
	now := time.Now
	if o.Now != nil {
		now = o.Now
	}
	k := newKey(o.Secret)
	p := k.sign(http.MethodGet, uri, o.Node, opening.Boot, now(), newNonce())
	_, err := fmt.Fprintf(s.in.conn, "GET %s HTTP/1.1\r\nHost: %s\r\nAuthorization: %v\r\nConnection: close\r\n\r\n", uri, opening.Address, p)
	if err != nil {
		return fmt.Errorf("replica: %w", err)
	}
	a, err := s.in.answer()
	if err != nil {
		return err
	}
	node := a.Header.Get(nodeHeader)
	if a.StatusCode != http.StatusOK {
		return refused(k, a, p.nonce, node)
	}
	var said [len(saidHeaders)]string
	for i, name := range saidHeaders {
		said[i] = a.Header.Get(name)
	}
	if !same(a.Header.Get(proofHeader), k.answerMAC(p.nonce, node, a.StatusCode, said[:]...)) {
		return ErrUnproven
	}
	if node != opening.Boot {
		return ErrOtherProcess
	}
	if s.start, err = parseSaid(said); err != nil {
		return err
	}
	s.start.Boot = node
	s.place = begin(s.start)
	if err := s.checkStart(opening.From); err != nil {
		return err
	}
	return s.in.header()
}

// parseSaid reads what saidOf returns.
func parseSaid(said [len(saidHeaders)]string) (start cluster.Start, err error) {
	at, errAt := cluster.ParsePosition(said[0])
	ms, errTime := strconv.ParseInt(said[1], 10, 64)
	joined, errJoined := strconv.ParseBool(said[2])
	if errAt != nil || errTime != nil || errJoined != nil || ms > maxTime || ms < -maxTime {
		return start, fmt.Errorf("%w: the answer does not say where it begins", ErrProtocol)
	}
	start = cluster.Start{At: at, Time: ms, Joined: joined}
	switch said[3] {
	case "audio,video":
		start.Tracks, start.Audio, start.Video = true, true, true
	case "audio":
		start.Tracks, start.Audio = true, true
	case "video":
		start.Tracks, start.Video = true, true
	case "none":
		start.Tracks = true
	}
	return start, nil
}

// checkStart reports whether an answer may be one to what was asked for.
func (s *source) checkStart(from *cluster.Position) error {
	at := s.start.At
	follows := from != nil && at.Incarnation == from.Incarnation && at.Epoch >= from.Epoch && at.Number >= from.Number
	switch {
	case s.start.Joined && !follows:
		return fmt.Errorf("%w: it is said to be joined, and is not", ErrProtocol)
	case from != nil && at.Incarnation == from.Incarnation && at.Epoch < from.Epoch:
		return cluster.ErrStale
	}
	return nil
}

// answer reads the head of an answer: what follows stays where it is. Of a refusal it reads the body.
func (in *input) answer() (*http.Response, error) {
	var head []byte
	for n := 1; ; n = len(in.buffered()) + 1 {
		if n > maxHead {
			return nil, fmt.Errorf("%w: the head of the answer is too long", ErrUnproven)
		}
		if _, err := in.need(n); err != nil {
			return nil, fmt.Errorf("replica: no answer: %w", err)
		}
		b := in.buffered()
		if end := bytes.Index(b, []byte("\r\n\r\n")); end >= 0 {
			head = b[:end+4]
			break
		}
	}
	in.r += len(head)
	a, err := http.ReadResponse(bufio.NewReaderSize(bytes.NewReader(head), 16), &http.Request{Method: http.MethodHead})
	if err != nil || a.StatusCode < http.StatusOK {
		return nil, fmt.Errorf("%w: the answer is not HTTP", ErrUnproven)
	}
	a.Body = http.NoBody
	size := a.ContentLength
	if a.StatusCode == http.StatusOK || size <= 0 || size > maxHead {
		return a, nil
	}
	body, err := in.need(int(size))
	if err != nil {
		return nil, fmt.Errorf("replica: no answer: %w", err)
	}
	a.Body = io.NopCloser(bytes.NewReader(body))
	return a, nil
}

// header reads the header of the FLV file, which comes with the head.
func (in *input) header() error {
	b, err := in.need(flv.HeaderSize)
	if err != nil {
		return fmt.Errorf("replica: no answer: %w", err)
	}
	if plain := flv.AppendHeader(nil, false, false); !bytes.Equal(b[:4], plain[:4]) || !bytes.Equal(b[5:], plain[5:]) {
		return fmt.Errorf("%w: it is not FLV", ErrProtocol)
	}
	in.r += flv.HeaderSize
	return nil
}

// refused returns the error that an answer stands for.
func refused(k key, a *http.Response, nonce, node string) error {
	body, _ := io.ReadAll(a.Body) // of input.answer
	if !same(a.Header.Get(proofHeader), k.answerMAC(nonce, node, a.StatusCode, string(body))) {
		if a.StatusCode == http.StatusUnauthorized {
			return &deniedError{hub.Refusal{Reason: hub.ReasonDenied, Detail: "the secrets of the two nodes differ, or one is no node"}}
		}
		return fmt.Errorf("%w: HTTP status %d", ErrUnproven, a.StatusCode)
	}
	var said refusedBody
	if json.Unmarshal(body, &said) != nil {
		return fmt.Errorf("%w: a refusal without words", ErrProtocol)
	}
	switch said.Error {
	case wordsOther:
		return ErrOtherProcess
	case wordsStale:
		return cluster.ErrStale
	case wordsUnproven:
		return &hub.Refusal{Reason: hub.ReasonDenied, Detail: said.Reason}
	}
	reason, ok := hub.ReasonOf(said.Error)
	for r := hub.ReasonBadRequest; !ok && r.String() != hub.ReasonExpired.String(); r++ { // of a later version
		if r.HTTPStatus() == a.StatusCode {
			reason, ok = r, true
		}
	}
	if !ok {
		reason = hub.ReasonConnection
	}
	return &hub.Refusal{Reason: reason, Detail: said.Reason}
}

// deniedError is a refusal by somebody who is not known to be a node.
type deniedError struct{ refusal hub.Refusal }

func (e *deniedError) Error() string   { return e.refusal.Error() }
func (e *deniedError) Unwrap() []error { return []error{&e.refusal, ErrUnproven} }
