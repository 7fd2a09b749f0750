package check

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"sluice/flv"
	"sluice/httpflv/websocket"
)

// watchAll watches over every way that is not skipped, at the same time, and returns a row for each.
func (t *tester) watchAll(ctx context.Context, ways []way, pub *publication) []*row {
	var rows []*row
	var watching sync.WaitGroup
	for i := range ways {
		w := &ways[i]
		if slices.Contains(t.skip, w.protocol) {
			continue
		}
		r := &row{Protocol: w.protocol, URL: w.shown}
		rows = append(rows, r)
		watching.Go(func() { t.watch(ctx, w, pub, r) })
	}
	watching.Wait()
	return rows
}

// stream is a stream that is being watched.
type stream struct {
	conn  *line
	next  func() (flv.Tag, error)
	close func()
}

// watch watches over a way and fills in its row.
func (t *tester) watch(ctx context.Context, w *way, pub *publication, r *row) {
	bound := 2*t.times.open + t.times.picture + t.times.watch + t.times.silence
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	r.trace.began = time.Now()
	var conn *line
	s, err := t.open(ctx, w, r, &conn)
	if err != nil {
		r.fail(t.openFault(ctx, w, r, conn, err, false))
		return
	}
	r.trace.commanded = time.Now()
	stop := context.AfterFunc(ctx, func() { s.conn.Close() })
	defer stop()
	defer s.close()
	c := &comparison{find: pub.find, header: t.clip.header, joined: r.trace.commanded, trace: &r.trace}
	err = t.compare(ctx, s, c)
	r.compared(c)
	if f := t.streamFault(ctx, w, r, c, pub, err); f.Word != "" {
		r.fail(f)
	} else {
		r.worked(c)
	}
}

// Why a stream is not watched any more.
var (
	errNoPicture = errors.New("no key frame came")
	errSilent    = errors.New("nothing came")
)

// compare reads tags until there is enough, and compares them.
func (t *tester) compare(ctx context.Context, s *stream, c *comparison) error {
	limit := time.Now().Add(t.times.picture)
	for {
		silence := t.times.silence
		if c.trace.first.IsZero() {
			silence = t.times.open
		}
		s.conn.SetReadDeadline(time.Now().Add(silence))
		tag, err := s.next()
		now := time.Now()
		switch {
		case ctx.Err() != nil && context.Cause(ctx) != context.DeadlineExceeded:
			return errInterrupted
		case isTimeout(err) || ctx.Err() != nil:
			return errSilent
		case err != nil:
			return err
		}
		c.take(tag, now)
		picture := c.trace.picture
		switch {
		case picture.IsZero() && now.After(limit):
			return errNoPicture
		case !picture.IsZero() && now.Sub(picture) >= t.times.watch:
			return nil
		}
	}
}

// open begins to watch. It returns when the server has agreed.
func (t *tester) open(ctx context.Context, w *way, r *row, conn **line) (*stream, error) {
	if w.publishes() {
		player, err := t.client(w, &r.trace, r, conn).Play(ctx, w.watch)
		if err != nil {
			return nil, err
		}
		return &stream{conn: *conn, next: player.ReadTag, close: func() { player.Close() }}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, t.times.open)
	defer cancel()
	body, err := t.request(ctx, w, w.watch, r, conn)
	if err != nil {
		return nil, err
	}
	first := &firstByte{r: body, trace: &r.trace}
	reader := flv.NewReader(bufio.NewReaderSize(first, bodyBuffer))
	l := *conn
	return &stream{conn: l, next: reader.Next, close: func() { l.Close() }}, nil
}

// Bounds of an answer, in bytes.
const (
	maxHead    = 64 << 10 // its head
	bodyBuffer = 16 << 10
	maxWords   = 4 << 10 // of an error's body that are read
)

// An answerError is an answer that is no stream.
type answerError struct {
	status   int
	closed   int    // the close code of a WebSocket that stands for it; 0 for an answer over HTTP
	kind     string // Content-Type
	location string // of a redirect, without its query
	words    string // the beginning of the body, of a refusal
}

func (e *answerError) Error() string { return fmt.Sprintf("HTTP status %d", e.status) }

// errNotHTTP is an answer that is no HTTP.
var errNotHTTP = errors.New("the answer is not HTTP")

// request asks for a stream over HTTP or WebSocket and returns its body. The connection, in *conn,
// has no deadline then.
func (t *tester) request(ctx context.Context, w *way, rawURL string, r *row, conn **line) (io.Reader, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, errors.New("the signed URL cannot be read")
	}
	l, err := t.dial(ctx, w, &r.trace, r)
	if err != nil {
		return nil, err
	}
	*conn = l
	stop := context.AfterFunc(ctx, func() { l.Close() })
	body, err := ask(l, w, u, &r.trace)
	if !stop() {
		err = context.Cause(ctx) // the connection's own error is that it was closed
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return body, nil
}

// ask sends a request and reads the head of its answer.
func ask(l *line, w *way, u *url.URL, tr *trace) (io.Reader, error) {
	socket := w.protocol == "ws" || w.protocol == "wss"
	key := websocket.NewKey()
	text := websocket.Request(u, agent, key)
	if !socket {
		text = "GET " + u.RequestURI() + " HTTP/1.1\r\nHost: " + u.Host + "\r\nUser-Agent: " + agent + "\r\nAccept: */*\r\n\r\n"
	}
	if _, err := io.WriteString(l, text); err != nil {
		return nil, err
	}
	bounded := &io.LimitedReader{R: l, N: maxHead}
	in := bufio.NewReaderSize(bounded, bodyBuffer)
	answer, err := http.ReadResponse(in, &http.Request{Method: http.MethodGet})
	switch received, _ := l.heard(); {
	case err != nil && (received == 0 || isTimeout(err)):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errNotHTTP, err)
	case socket && answer.StatusCode == http.StatusSwitchingProtocols:
		if err := websocket.Accept(answer, key); err != nil {
			return nil, err
		}
		tr.handshaken = time.Now()
		bounded.N = 1 << 62
		return &websocket.Reader{In: in, Out: l}, nil
	case !socket && answer.StatusCode == http.StatusOK && !isPage(answer):
		bounded.N = 1 << 62
		return answer.Body, nil
	}
	refusal := &answerError{status: answer.StatusCode, kind: answer.Header.Get("Content-Type")}
	if to, err := answer.Location(); err == nil {
		to.RawQuery, to.User, to.Fragment = "", nil, ""
		refusal.location = to.String()
	}
	if answer.StatusCode != http.StatusOK && answer.ContentLength > 0 {
		words, _ := io.ReadAll(io.LimitReader(answer.Body, min(answer.ContentLength, maxWords)))
		refusal.words = reasonIn(words)
	}
	return nil, refusal
}

// firstByte notes when the first byte of a stream comes.
type firstByte struct {
	r     io.Reader
	trace *trace
}

func (f *firstByte) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if n > 0 && f.trace.first.IsZero() {
		f.trace.first = time.Now()
	}
	return n, err
}
