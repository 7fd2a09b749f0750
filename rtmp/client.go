package rtmp

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"sluice/flv/amf"
	"sluice/rtmp/internal/chunk"
)

// A Client publishes to and plays from RTMP servers. The zero value works. Its
// methods may be called from several goroutines.
//
// URLs are rtmp://[user:password@]host[:port]/app[/app…]/name[?query], where port is
// 1935 by default, the last segment of the path is the name and everything before it the
// app; the query goes with the name. Percent escapes are sent as they are, as
// ffmpeg does. With rtmps:// the connection is encrypted by TLS, and port is 443. User
// and password are for servers that ask for them in connect (client_auth.go).
//
// No error repeats name, query, user or password, not even where it holds what a server
// said.
type Client struct {
	// Dial opens the connection; a net.Dialer does if nil.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// TLS is how a connection to an rtmps URL is encrypted. Its ServerName is the URL's
	// host if empty, and nil the zero configuration.
	TLS *tls.Config
	// DialTLS opens the connection to an rtmps URL and makes its handshake; if nil, Dial
	// does the one and TLS tells the other.
	DialTLS func(ctx context.Context, network, address string) (net.Conn, error)
	// FlashVer is the client's name for itself: "FMLE/3.0 (compatible; Sluice)" for
	// publishing and "LNX 9,0,124,2" for playing if empty, which every server
	// takes.
	FlashVer string
	// Capabilities are announced to the server: nothing of Enhanced RTMP if zero, as
	// players of the classic sort do, to which a server may send less than was
	// published. AllCapabilities asks for everything.
	Capabilities Capabilities
	// CanReconnect announces CapsReconnect as well: the owner of a Publisher or Player heeds
	// what its Reconnects says. A player that announces it is taken for one that knows
	// Enhanced RTMP v2, and may be sent what a classic one is not.
	CanReconnect bool
	// AtOnce has a player send all that it has to say without waiting for answers in between: the
	// first media come one round trip behind the handshake's first byte instead of four. It is for
	// servers that are known to take that, as this one does.
	AtOnce bool
	// Properties are sent in connect behind those that every client sends.
	Properties amf.Object
	// ChunkSize is the size of the chunks sent: 60000 if 0, 128 to 0xFFFFFF.
	ChunkSize int
	// OpenTimeout bounds the opening: dialing, handshake and commands, without the
	// time that a player waits for its stream to begin. 10 s if 0.
	OpenTimeout time.Duration
	// ReadTimeout is how long a player waits for the next byte: 60 s if 0, forever
	// if negative.
	ReadTimeout time.Duration
	// StartTimeout is ReadTimeout until the first tag has come; ReadTimeout if 0.
	StartTimeout time.Duration
	// TagTimeout is how long a player waits for the next tag, whatever else comes: forever
	// if 0. It is not asked for before the first.
	TagTimeout time.Duration
	// WriteTimeout bounds each write: 10 s if 0.
	WriteTimeout time.Duration
}

// Defaults of Client.
const (
	defaultOpenTimeout = 10 * time.Second
	defaultReadTimeout = 60 * time.Second
	defaultPort        = "1935"
	defaultTLSPort     = "443"
	// closeTimeout is how long a Publisher that closes waits for the server to take
	// its last words, and then to have taken everything and close as well; and how
	// long one whose server has closed waits for that server's last words.
	closeTimeout = 2 * time.Second
	// closeGrace is how long a Publisher that closes waits for a write under way.
	closeGrace = 500 * time.Millisecond

	publishFlashVer = "FMLE/3.0 (compatible; Sluice)"
	playFlashVer    = "LNX 9,0,124,2"
)

// clientConn is the connection of a Publisher or Player. Reading belongs to one
// goroutine.
type clientConn struct {
	*conn
	target
	caps     Capabilities
	server   []byte // see serverInfo
	size     int    // of outgoing chunks
	streamID uint32
	// reconnects has room for one request.
	reconnects chan Reconnect
	// limit is when the opening has to be over, zero afterwards. Of the reading goroutine.
	limit time.Time
	silence
	waits *unbuffered // polled, if there is one
}

// Transactions of an opening.
const (
	txnConnect       = 1
	txnReleaseStream = 2
	txnFCPublish     = 3
	txnCreateStream  = 4
	txnPublish       = 5
	txnUnpublish     = 6
)

// open connects and creates a message stream. While it and its caller open, ctx's end closes the
// connection; stop has to be called afterwards and returns false if it did.
func (c *Client) open(ctx context.Context, rawURL, flashVer string, w wording) (cc *clientConn, stop func() bool, err error) {
	t, err := parseURL(rawURL)
	if err != nil {
		return nil, nil, err
	}
	limit := time.Now().Add(orDefault(c.OpenTimeout, defaultOpenTimeout))
	for range maxAuthSteps {
		cc, stop, err = c.openOnce(ctx, t, limit, flashVer, w)
		answer := t.credentials.answer(err, t.app)
		if answer == "" {
			break
		}
		t.auth = answer
	}
	return cc, stop, err
}

// openOnce is open with one connection, which has to be there by limit.
func (c *Client) openOnce(
	ctx context.Context, t target, limit time.Time, flashVer string, w wording,
) (cc *clientConn, stop func() bool, err error) {
	dialCtx, cancel := context.WithDeadline(ctx, limit)
	defer cancel()
	nc, err := c.dial(dialCtx, t)
	if err != nil {
		return nil, nil, err
	}
	cc = &clientConn{
		conn:   newConn(nc, orDefault(c.WriteTimeout, defaultWriteTimeout)),
		target: t,
		caps:   c.Capabilities,
		size:   chunkSizeOf(c.ChunkSize),
		limit:  limit,

		reconnects: make(chan Reconnect, 1),
	}
	if c.CanReconnect {
		cc.caps.CapsEx |= CapsReconnect
	}
	cc.conn.pace = cc.pace
	stop = context.AfterFunc(ctx, func() { nc.Close() })
	if err := cc.begin(cmp.Or(c.FlashVer, flashVer), c.Properties, w); err != nil {
		return nil, nil, cc.abandon(ctx, stop, err)
	}
	return cc, stop, nil
}

// dial opens a connection, and makes its TLS handshake where it has one.
func (c *Client) dial(ctx context.Context, t target) (net.Conn, error) {
	dial := c.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	handshake := t.secure && c.DialTLS == nil
	if t.secure && c.DialTLS != nil {
		dial = c.DialTLS
	}
	nc, err := dial(ctx, "tcp", t.address)
	if err != nil {
		return nil, fmt.Errorf("rtmp: dialing: %w", err)
	}
	if !handshake {
		return nc, nil
	}
	config := c.TLS.Clone()
	if config == nil {
		config = new(tls.Config)
	}
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(t.address)
	}
	tc := tls.Client(&gate{Conn: nc}, config)
	if err := tc.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, fmt.Errorf("rtmp: TLS handshake: %w", err)
	}
	return tc, nil
}

// abandon closes a connection whose opening failed and returns why.
func (cc *clientConn) abandon(ctx context.Context, stop func() bool, err error) error {
	if !stop() && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	cc.nc.Close()
	return err
}

// errNoAnswer is the error of a server that sends nothing.
var errNoAnswer error = timeoutError("rtmp: server sent nothing in time")

// result reads until the result of a transaction.
func (cc *clientConn) result(txn float64) (command, error) {
	for {
		m, err := cc.next()
		if err != nil {
			return command{}, err
		}
		if m.Type != typeCommand && m.Type != typeCommandAMF3 {
			continue
		}
		c, err := parseCommand(m)
		if err != nil {
			continue
		}
		switch {
		case c.name == "_result" && c.txn == txn:
			return c, nil
		case c.name == "_error" && c.txn == txn,
			c.name == "onStatus" && c.status().Level == LevelError:
			return command{}, cc.refusal(c.status())
		}
	}
}

// next reads a message. A server that just goes is io.ErrUnexpectedEOF.
func (cc *clientConn) next() (chunk.Message, error) {
	m, err := cc.readMessage()
	for err == errParked {
		if err = cc.awaitMore(); err == nil {
			m, err = cc.readMessage()
		}
	}
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("rtmp: reading: %w", io.ErrUnexpectedEOF)
	}
	if err == nil {
		cc.heedReconnect(m)
	}
	return m, err
}

// sendAll writes messages that begin with what was pending; for the goroutine that
// reads.
func (cc *clientConn) sendAll(messages []byte) error {
	cc.pending = messages
	return cc.flush()
}
