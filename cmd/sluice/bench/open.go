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

	"sluice/cmd/sluice/websocket"
	"sluice/flv"
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
	conn     *timedConn
	protocol protocol
	head     int64        // bytes that came before the stream
	rest     []byte       // came with the answer's head already
	chunked  bool         // of HTTP
	player   *rtmp.Player // of RTMP
	tags     tagReader    // made by reader
}

// tagReader reads tags from a connection. The error at the stream's end is io.EOF
// if that is how the protocol ends one.
type tagReader interface{ ReadTag() (flv.Tag, error) }

// timedConn counts what is read and knows when the last read was.
type timedConn struct {
	net.Conn
	received atomic.Int64
	lastRead time.Time // of the goroutine that reads
}

func (c *timedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.lastRead = time.Now()
	c.received.Add(int64(n))
	return n, err
}

// opener opens viewers.
type opener struct {
	buffer int           // SO_RCVBUF in bytes, 0 for the system's default
	start  time.Duration // of a file, where to begin over RTMP and WebSocket
	from   int64         // of a file, the byte where to begin over HTTP
}

// dial opens a connection.
func (o opener) dial(ctx context.Context, network, address string) (*timedConn, error) {
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

// open begins to watch a stream. It returns when the server has agreed.
func (o opener) open(ctx context.Context, p protocol, rawURL string) (*viewer, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if p == rtmpPlay {
		return o.openRTMP(ctx, rawURL)
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, refusedError{"malformed URL"}
	}
	if p == wsFLV && o.start > 0 {
		query := u.Query()
		query.Set("start", strconv.FormatFloat(o.start.Seconds(), 'f', -1, 64))
		u.RawQuery = query.Encode()
	}
	conn, err := o.dial(ctx, "tcp", address(u))
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	v := &viewer{conn: conn, protocol: p}
	if p == wsFLV {
		v.rest, err = upgrade(conn, u)
	} else {
		err = v.get(u, o.from)
	}
	if !stop() {
		err = context.Cause(ctx) // the connection's own error is that it was closed
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	v.head = conn.received.Load() - int64(len(v.rest))
	conn.SetDeadline(time.Time{})
	return v, nil
}

// rtmpHead is about what comes before a stream over RTMP: S0, S1 and S2 (RTMP 1.0
// §5.2), and half a KB of answers.
const rtmpHead = 1 + 2*1536 + 512

// openRTMP plays an RTMP stream.
func (o opener) openRTMP(ctx context.Context, rawURL string) (*viewer, error) {
	v := &viewer{protocol: rtmpPlay, head: rtmpHead}
	client := &rtmp.Client{ReadTimeout: -1, Capabilities: rtmp.AllCapabilities(), Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := o.dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		v.conn = conn
		return conn, nil
	}}
	var err error
	if v.player, err = client.PlayFrom(ctx, rawURL, rtmp.PlayOptions{Start: o.start}); err != nil {
		return nil, err
	}
	return v, nil
}

// get sends a request for an HTTP-FLV stream, or for a file from some byte on, and reads the
// head of the answer.
func (v *viewer) get(u *url.URL, from int64) error {
	request := "GET " + u.RequestURI() + " HTTP/1.1\r\nHost: " + u.Host + "\r\nUser-Agent: sluice-bench\r\nAccept: */*\r\n"
	want := http.StatusOK
	if from > 0 {
		request += "Range: bytes=" + strconv.FormatInt(from, 10) + "-\r\n"
		want = http.StatusPartialContent
	}
	answer, rest, err := ask(v.conn, request+"\r\n")
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
	var body io.Reader = bufio.NewReaderSize(io.MultiReader(bytes.NewReader(v.rest), v.conn), readBuffer)
	switch {
	case v.protocol == wsFLV:
		body = &websocket.Reader{In: body, Out: v.conn}
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
func (v *viewer) close() { v.conn.Close() }
