package bench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"sluice/flv"
	"sluice/httpflv/websocket"
	"sluice/rtmp"
)

// Bounds of opening a viewer.
const (
	openTimeout = 15 * time.Second // servers may wait for a stream for 10 s
	maxOpening  = 128              // connections being opened at a time
	maxHead     = 16 << 10         // bytes of an answer's head
)

// viewer is a connection that a stream comes from.
type viewer struct {
	conn     *timedConn // bytes on the wire
	plain    net.Conn   // what the protocol is spoken over: conn, or TLS over it
	protocol protocol
	took     stages
	words    *words       // for later, of an encrypted viewer that counts
	head     int64        // bytes that came before the stream
	rest     []byte       // came with the answer's head already
	chunked  bool         // of HTTP
	player   *rtmp.Player // of RTMP
	tags     tagReader    // made by reader
}

// stages are how long it took to open a viewer.
type stages struct {
	connect, handshake time.Duration // of TCP, and of TLS
	answer             time.Duration // from then until the server has agreed
}

// tagReader reads tags from a connection. The error at the stream's end is io.EOF
// if that is how the protocol ends one.
type tagReader interface{ ReadTag() (flv.Tag, error) }

// timedConn counts what is read and knows when the last read was.
type timedConn struct {
	net.Conn
	received atomic.Int64
	lastRead time.Time // of the goroutine that reads
	kept     *[]byte   // takes what is written, if set
}

func (c *timedConn) Write(p []byte) (int, error) {
	if c.kept != nil {
		*c.kept = append(*c.kept, p...)
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func (c *timedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.lastRead = time.Now()
	c.received.Add(int64(n))
	return n, err
}

// opener opens viewers.
type opener struct {
	tls    *clientTLS
	buffer int           // SO_RCVBUF in bytes, 0 for the system's default
	start  time.Duration // of a file, where to begin over RTMP and WebSocket
	from   int64         // of a file, the byte where to begin over HTTP
}

// connect opens a TCP connection.
func (o opener) connect(ctx context.Context, network, address string) (*timedConn, error) {
	var d net.Dialer
	if o.buffer > 0 {
		// Before the connection is made, since the window is agreed on then.
		d.Control = func(_, _ string, raw syscall.RawConn) error { return setReceiveBuffer(raw, o.buffer) }
	}
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &timedConn{Conn: conn}, nil
}

// open begins to watch a stream of a target. It returns when the server has agreed.
func (o opener) open(ctx context.Context, t target, stream int) (*viewer, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	began := time.Now()
	open := o.openHTTP
	if t.protocol == rtmpPlay {
		open = o.openRTMP
	}
	v := &viewer{protocol: t.protocol}
	if err := open(ctx, v, t.secure, t.at(stream)); err != nil {
		return nil, err
	}
	v.took.answer = time.Since(began) - v.took.connect - v.took.handshake
	return v, nil
}

// openHTTP watches a stream over HTTP or WebSocket.
func (o opener) openHTTP(ctx context.Context, v *viewer, secure bool, rawURL string) error {
	u, err := url.Parse(rawURL)
	if err != nil {
		return refusedError{"malformed URL"}
	}
	if v.protocol == wsFLV && o.start > 0 {
		query := u.Query()
		query.Set("start", strconv.FormatFloat(o.start.Seconds(), 'f', -1, 64))
		u.RawQuery = query.Encode()
	}
	if err := o.dial(ctx, v, secure, "tcp", address(u), httpOnly); err != nil {
		return err
	}
	deadline, _ := ctx.Deadline()
	v.conn.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { v.conn.Close() })
	opening := &timedConn{Conn: v.plain}
	if v.protocol == wsFLV {
		v.rest, err = upgrade(opening, u)
	} else {
		err = v.get(opening, u, o.from)
	}
	if !stop() {
		err = context.Cause(ctx) // the connection's own error is that it was closed
	}
	if err != nil {
		v.conn.Close()
		return err
	}
	v.head += opening.received.Load() - int64(len(v.rest))
	v.conn.SetDeadline(time.Time{})
	return nil
}

// rtmpHead is about what comes before a stream over RTMP: S0, S1 and S2 (RTMP 1.0
// §5.2), and half a KB of answers.
const rtmpHead = 1 + 2*1536 + 512

// openRTMP plays an RTMP stream.
func (o opener) openRTMP(ctx context.Context, v *viewer, secure bool, rawURL string) (err error) {
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		err := o.dial(ctx, v, secure, network, address)
		return v.plain, err
	}
	client := &rtmp.Client{ReadTimeout: -1, Capabilities: rtmp.AllCapabilities(), Dial: dial, DialTLS: dial}
	v.player, err = client.PlayFrom(ctx, rawURL, rtmp.PlayOptions{Start: o.start})
	v.head += rtmpHead
	return err
}

// get sends a request for an HTTP-FLV stream, or for a file from some byte on, and reads the
// head of the answer.
func (v *viewer) get(conn net.Conn, u *url.URL, from int64) error {
	request := "GET " + u.RequestURI() + " HTTP/1.1\r\nHost: " + u.Host + "\r\nUser-Agent: sluice-bench\r\nAccept: */*\r\n"
	want := http.StatusOK
	if from > 0 {
		request += "Range: bytes=" + strconv.FormatInt(from, 10) + "-\r\n"
		want = http.StatusPartialContent
	}
	answer, rest, err := ask(conn, request+"\r\n")
	if err != nil {
		return err
	}
	if answer.StatusCode != want {
		return refusedError{fmt.Sprintf("refused: HTTP status %d", answer.StatusCode)}
	}
	v.rest = rest
	v.chunked = slices.Contains(answer.TransferEncoding, "chunked")
	return nil
}

// upgrade makes the opening handshake of a WebSocket. What came after it is in rest.
func upgrade(conn net.Conn, u *url.URL) (rest []byte, err error) {
	key := websocket.NewKey()
	answer, rest, err := ask(conn, websocket.Request(u, "sluice-bench", key))
	if err != nil {
		return nil, err
	}
	return rest, websocket.Accept(answer, key)
}

// ask writes a request and reads the head of the answer, and rest, what came of
// its body at the same time.
func ask(conn net.Conn, request string) (answer *http.Response, rest []byte, err error) {
	if _, err := io.WriteString(conn, request); err != nil {
		return nil, nil, err
	}
	head := make([]byte, 0, 1024)
	for {
		if len(head) == cap(head) {
			if len(head) >= maxHead {
				return nil, nil, refusedError{"HTTP answer with a head too long"}
			}
			head = slices.Grow(head, len(head))
		}
		n, err := conn.Read(head[len(head):cap(head)])
		head = head[:len(head)+n]
		if end := bytes.Index(head, []byte("\r\n\r\n")); end >= 0 {
			head, rest = head[:end+4], head[end+4:]
			break
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, nil, err
		}
	}
	answer, err = http.ReadResponse(bufio.NewReader(bytes.NewReader(head)), nil)
	if err != nil {
		return nil, nil, refusedError{"malformed HTTP answer"}
	}
	return answer, rest, nil
}

// readBuffer is the buffer of a viewer that parses.
const readBuffer = 16 << 10

// reader returns what reads the tags of the stream.
func (v *viewer) reader() tagReader {
	if v.tags != nil {
		return v.tags
	}
	if v.protocol == rtmpPlay {
		v.tags = v.player
		return v.tags
	}
	var body io.Reader = bufio.NewReaderSize(io.MultiReader(bytes.NewReader(v.rest), v.plain), readBuffer)
	switch {
	case v.protocol == wsFLV:
		body = &websocket.Reader{In: body, Out: v.plain}
	case v.chunked:
		body = httputil.NewChunkedReader(body)
	}
	v.tags = flvTags{flv.NewReader(body)}
	return v.tags
}

// flvTags is a tagReader of FLV.
type flvTags struct{ *flv.Reader }

func (r flvTags) ReadTag() (flv.Tag, error) { return r.Next() }

// close leaves the stream. ReadTag may be under way and returns an error.
func (v *viewer) close() { v.plain.Close() }
