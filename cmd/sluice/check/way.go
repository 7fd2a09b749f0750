package check

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice/hub"
)

// protocols are the ways in which a stream is watched, and recording.
var protocols = []string{"rtmp", "rtmps", "http", "https", "ws", "wss", "recording"}

// way is one way to a stream.
type way struct {
	protocol string // of protocols
	base     *url.URL
	shown    string // the URL of the base, with the scheme of the protocol; no secret is in it
	address  string // HOST:PORT
	publish  string // the whole URLs, with secrets
	watch    string
}

func (w *way) publishes() bool { return strings.HasPrefix(w.protocol, "rtmp") }
func (w *way) secure() bool    { return slices.Contains([]string{"rtmps", "https", "wss"}, w.protocol) }

// host returns the host's name as certificates know it.
func (w *way) host() string { return w.base.Hostname() }

// ways returns the ways that the bases make, each once. Those that are skipped are among them where
// they can publish, so that somebody can; see watched.
func (o *options) ways() (ways []way, err error) {
	for _, base := range o.bases {
		schemes := []string{base.Scheme}
		switch base.Scheme {
		case "http":
			schemes = append(schemes, "ws")
		case "https":
			schemes = append(schemes, "wss")
		}
		for _, scheme := range schemes {
			w := way{protocol: scheme, base: base, address: addressOf(base)}
			u := *base
			u.Scheme = scheme
			w.shown = u.String()
			if slices.ContainsFunc(ways, func(other way) bool { return other.shown == w.shown }) {
				continue
			}
			if err := o.address(&w, u); err != nil {
				return nil, err
			}
			ways = append(ways, w)
		}
	}
	return ways, nil
}

// address fills in the URLs of the stream.
func (o *options) address(w *way, u url.URL) (err error) {
	u.Path += "/" + o.app + "/" + o.name
	if w.publishes() {
		u.RawQuery = query("key", o.publishKey, "token", o.token)
		published := u
		if o.streamKey != "" {
			published.Path = "/" + o.app + "/" + o.streamKey
			published.RawQuery = ""
		}
		w.publish = published.String()
		if o.streamKey == "" {
			if w.publish, err = o.signed(hub.RolePublish, w.publish, o.publishKey+o.token); err != nil {
				return err
			}
		}
	} else {
		u.Path += ".flv"
	}
	u.RawQuery = query("key", o.watchKey, "token", o.watchToken)
	w.watch, err = o.signed(hub.RoleWatch, u.String(), o.watchKey+o.watchToken)
	return err
}

// signed returns a URL with a signature where there is a secret for it. shown is what it shows anyway,
// empty for nothing.
func (o *options) signed(role hub.Role, rawURL, shown string) (string, error) {
	if o.sign == nil {
		return rawURL, nil
	}
	signed, err := o.sign(role, rawURL)
	if errors.Is(err, ErrNoSecret) && shown != "" {
		return rawURL, nil
	}
	return signed, err
}

// query returns names and values, those without a value left out.
func query(pairs ...string) string {
	q := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q.Encode()
}

// trace is when each stage of a way was over; the zero Time for one that was not, or that there is
// not. It is of one goroutine.
type trace struct {
	began      time.Time
	connected  time.Time // TCP, the look at DNS included
	secured    time.Time // the TLS handshake
	handshaken time.Time // that of RTMP, or of a WebSocket
	commanded  time.Time // the server has agreed: RTMP's commands, HTTP's answer
	first      time.Time // the first byte of the stream
	picture    time.Time // the first key frame, whole
}

// line is a connection that notes what it sees.
type line struct {
	net.Conn
	trace *trace
	rtmp  bool

	mu       sync.Mutex
	received int64
	head     []byte // the first few bytes
}

const (
	headKept = 16
	// handshakeSize is what a server sends before RTMP's commands (RTMP 1.0 §5.2): S0, S1 and S2.
	handshakeSize = 1 + 2*1536
)

func (l *line) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if n == 0 {
		return n, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.received
	l.received += int64(n)
	if room := headKept - len(l.head); room > 0 {
		l.head = append(l.head, p[:min(n, room)]...)
	}
	if l.rtmp && before < handshakeSize && l.received >= handshakeSize {
		l.trace.handshaken = time.Now()
	}
	return n, err
}

// heard returns how many bytes came, and the first few.
func (l *line) heard() (int64, []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.received, slices.Clone(l.head)
}

// CloseWrite ends what is sent, where the connection can.
func (l *line) CloseWrite() error {
	if half, ok := l.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return net.ErrClosed
}

// tlsConfig returns how a way is encrypted.
func (t *tester) tlsConfig(w *way) *tls.Config {
	config := &tls.Config{ServerName: w.host(), RootCAs: t.authorities, InsecureSkipVerify: t.insecure}
	if !w.publishes() {
		config.NextProtos = []string{"http/1.1"}
	}
	return config
}

// dial opens a connection of a way, and encrypts it where the way is so. What it learns of the
// server's certificate goes into the row.
func (t *tester) dial(ctx context.Context, w *way, tr *trace, r *row) (*line, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", w.address)
	if err != nil {
		return nil, err
	}
	tr.connected = time.Now()
	if w.secure() {
		tc := tls.Client(nc, t.tlsConfig(w))
		if err := tc.HandshakeContext(ctx); err != nil {
			nc.Close()
			return nil, err
		}
		tr.secured = time.Now()
		r.certificate(tc.ConnectionState())
		nc = tc
	}
	return &line{Conn: nc, trace: tr, rtmp: w.publishes()}, nil
}
