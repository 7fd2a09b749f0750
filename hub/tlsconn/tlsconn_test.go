package tlsconn_test

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub/tlsconn"
	"sluice/hub/tlsconn/tlstest"
)

// listen returns a listener on loopback, closed at the end of the test.
func listen(t *testing.T, cfg tlsconn.Config) *tlsconn.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	if cfg.TLS == nil {
		cfg.TLS = tlstest.Server()
	}
	listener := tlsconn.Listen(l, cfg)
	t.Cleanup(func() { listener.Close() })
	return listener
}

// connect returns the two ends of a connection whose handshake is done.
func connect(t *testing.T, l *tlsconn.Listener, cfg *tls.Config) (*tlsconn.Conn, *tls.Conn) {
	below, err := tlstest.Dial(t.Context(), "tcp", l.Addr().String())
	require.NoError(t, err)
	client := tls.Client(below, cfg)
	t.Cleanup(func() { client.Close() })
	require.NoError(t, client.HandshakeContext(t.Context()))
	nc, err := l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { nc.Close() })
	require.IsType(t, &tlsconn.Conn{}, nc)
	return nc.(*tlsconn.Conn), client
}

func TestConnLikeAnyOther(t *testing.T) {
	for name, version := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			cfg := tlstest.Client()
			cfg.MaxVersion = version
			l := listen(t, tlsconn.Config{})
			server, client := connect(t, l, cfg)
			assert.Equal(t, version, server.ConnectionState().Version)
			go func() {
				io.Copy(server, server)
				server.Close()
			}()
			sent := bytes.Repeat([]byte("there and back "), 10_000)
			go func() {
				client.Write(sent)
				client.CloseWrite()
			}()
			got, err := io.ReadAll(client)
			require.NoError(t, err)
			assert.Equal(t, sent, got)
			assert.EqualValues(t, 1, l.Figures().Done)
		})
	}
}

// Whatever is appended by whom, what is written in that order can be read.
func TestDirect(t *testing.T) {
	server, client := connect(t, listen(t, tlsconn.Config{}), tlstest.Client())
	server.Direct(func() { t.Error("nothing is pending that nobody wrote") })
	var want []byte
	var out []byte
	var err error
	for n := range 50 {
		p := bytes.Repeat([]byte{byte(n)}, n*n*20) // 0 to 48 KB
		want = append(want, p...)
		before := len(out)
		out, err = server.AppendRecords(out, p)
		require.NoError(t, err)
		if n == 0 {
			assert.Len(t, out, before, "nothing makes no record")
		}
	}
	out = server.AppendClose(out)
	assert.Empty(t, server.AppendClose(nil), "once")
	go server.NetConn().Write(out)
	got, err := io.ReadAll(client)
	require.NoError(t, err, "close_notify came")
	assert.Equal(t, want, got)
	_, err = server.AppendRecords(nil, []byte("more"))
	assert.Error(t, err)
}

// errNone is what there is when there is nothing.
var errNone error = &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}

func TestTryRead(t *testing.T) {
	server, client := connect(t, listen(t, tlsconn.Config{}), tlstest.Client())
	var encrypted []byte
	read := func(p []byte) (int, error) {
		if len(encrypted) == 0 {
			return 0, errNone
		}
		n := copy(p, encrypted[:1]) // a byte at a time
		encrypted = encrypted[n:]
		return n, nil
	}
	var buf [100]byte
	_, err := server.TryRead(buf[:], read)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)

	client.Write([]byte("a word"))
	raw := make([]byte, 1000)
	n, err := server.NetConn().Read(raw)
	require.NoError(t, err)
	record := raw[:n]
	for cut := range record {
		encrypted = append(encrypted, record[cut])
		n, err = server.TryRead(buf[:], read)
		if cut < len(record)-1 {
			require.ErrorIs(t, err, os.ErrDeadlineExceeded, "%d bytes of the record", cut+1)
		}
	}
	require.NoError(t, err)
	assert.Equal(t, "a word", string(buf[:n]))

	client.Close()
	_, err = server.Read(buf[:])
	assert.ErrorIs(t, err, io.EOF)
}

// A Read that waits does not hold up who must not wait.
func TestTryReadWhileBeingRead(t *testing.T) {
	server, client := connect(t, listen(t, tlsconn.Config{}), tlstest.Client())
	over := make(chan error)
	go func() {
		_, err := server.Read(make([]byte, 10))
		over <- err
	}()
	var err error
	require.Eventually(t, func() bool {
		_, err = server.TryRead(make([]byte, 10), func([]byte) (int, error) { return 0, errNone })
		return err != errNone
	}, 10*time.Second, time.Millisecond)
	var ne net.Error
	require.ErrorAs(t, err, &ne)
	assert.True(t, ne.Timeout())
	client.Close()
	assert.ErrorIs(t, <-over, io.EOF)
}

func TestHTTP2IsForNetHTTP(t *testing.T) {
	l := listen(t, tlsconn.Config{TLS: tlstest.Server("h2", "http/1.1")})
	client, err := tls.Dial("tcp", l.Addr().String(), tlstest.Client("h2"))
	require.NoError(t, err)
	defer client.Close()
	nc, err := l.Accept()
	require.NoError(t, err)
	defer nc.Close()
	require.IsType(t, &tls.Conn{}, nc)
	below := nc.(*tls.Conn).NetConn().(interface{ NetConn() net.Conn })
	assert.IsType(t, &net.TCPConn{}, below.NetConn(), "what was accepted can be found")
	connect(t, l, tlstest.Client("http/1.1"))
}

func TestFailedHandshakes(t *testing.T) {
	told := make(chan string, 1)
	l := listen(t, tlsconn.Config{NotTLS: func(_ net.Conn, first []byte) []byte {
		told <- string(first)
		return []byte("speak TLS\n")
	}})
	dial := func() net.Conn {
		nc, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { nc.Close() })
		return nc
	}
	plain := dial()
	plain.Write([]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"))
	answer, err := io.ReadAll(plain)
	require.NoError(t, err)
	assert.Equal(t, "speak TLS\n", string(answer))
	assert.Equal(t, "GET /", <-told)

	old := tlstest.Client()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	assert.Error(t, tls.Client(dial(), old).Handshake())
	dial().Close()
	want := tlsconn.Figures{NotTLS: 1, Rejected: 1, Left: 1}
	require.Eventually(t, func() bool { return l.Figures() == want }, 10*time.Second, 5*time.Millisecond)

	hasty := listen(t, tlsconn.Config{Timeout: 10 * time.Millisecond})
	silent, err := net.Dial("tcp", hasty.Addr().String())
	require.NoError(t, err)
	defer silent.Close()
	_, err = silent.Read(make([]byte, 1))
	assert.ErrorIs(t, err, io.EOF)
	require.Eventually(t, func() bool { return hasty.Figures() == tlsconn.Figures{TimedOut: 1} }, 10*time.Second, 5*time.Millisecond)
}

// As many handshakes as one likes may be begun and not go on: one that goes on is made at once.
func TestHalfOpenHandshakesHoldNothing(t *testing.T) {
	l := listen(t, tlsconn.Config{Handshakes: 1, Timeout: time.Minute})
	for n := range 20 {
		nc, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		defer nc.Close()
		if n%2 == 0 {
			nc.Write([]byte{22, 3, 1, 2, 0}) // a record that is to come
		}
	}
	require.Eventually(t, func() bool { return l.Figures().Pending == 20 }, 10*time.Second, time.Millisecond)
	connect(t, l, tlstest.Client())
}

// Whoever is asked for a certificate may take a while, without others waiting.
func TestSlowCertificate(t *testing.T) {
	cert := tlstest.Server().Certificates[0]
	asked, answer := make(chan struct{}), make(chan struct{})
	first := true
	var mu sync.Mutex
	l := listen(t, tlsconn.Config{Handshakes: 1, TLS: &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		mu.Lock()
		slow := first
		first = false
		mu.Unlock()
		if slow {
			close(asked)
			<-answer
		}
		return &cert, nil
	}}})
	slow := make(chan error)
	go func() {
		nc, err := tls.Dial("tcp", l.Addr().String(), tlstest.Client())
		if err == nil {
			defer nc.Close()
		}
		slow <- err
	}()
	<-asked
	connect(t, l, tlstest.Client())
	close(answer)
	assert.NoError(t, <-slow)
}

// slowKey is a key whose signature takes as long as it is told to.
type slowKey struct {
	crypto.Signer
	began, goOn chan struct{}
}

func (k slowKey) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	close(k.began)
	<-k.goOn
	return k.Signer.Sign(random, digest, opts)
}

// Listeners may share the bound on what computes.
func TestSharedBound(t *testing.T) {
	bound := tlsconn.NewBound(1)
	cfg := tlstest.Server()
	key := slowKey{cfg.Certificates[0].PrivateKey.(crypto.Signer), make(chan struct{}), make(chan struct{})}
	cfg.Certificates[0].PrivateKey = key
	slow := listen(t, tlsconn.Config{TLS: cfg, Bound: bound})
	other := listen(t, tlsconn.Config{Bound: bound})
	var dialling sync.WaitGroup
	defer dialling.Wait()
	dial := func(l *tlsconn.Listener, then func()) {
		dialling.Go(func() {
			nc, err := tls.Dial("tcp", l.Addr().String(), tlstest.Client())
			if assert.NoError(t, err) {
				then()
				nc.Close()
			}
		})
	}
	dial(slow, func() {})
	<-key.began
	var free atomic.Bool
	dial(other, func() { assert.True(t, free.Load(), "two compute at a time") })
	time.AfterFunc(50*time.Millisecond, func() {
		free.Store(true)
		close(key.goOn)
	})
	for _, l := range []*tlsconn.Listener{slow, other} {
		nc, err := l.Accept()
		require.NoError(t, err)
		nc.Close()
	}
}

func TestClose(t *testing.T) {
	l := listen(t, tlsconn.Config{})
	nc, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer nc.Close()
	require.Eventually(t, func() bool { return l.Figures().Pending == 1 }, 10*time.Second, time.Millisecond)
	require.NoError(t, l.Close())
	_, err = l.Accept()
	assert.ErrorIs(t, err, net.ErrClosed)
	_, err = nc.Read(make([]byte, 1))
	assert.Error(t, err)
}

// halfCloser is an end of a pipe that can say that nothing follows.
type halfCloser struct{ net.Conn }

func (halfCloser) CloseWrite() error { return nil }

// A client that speaks something else and does not leave when it is told so keeps no Close waiting.
func TestCloseWhileRefusing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		l := tlsconn.Listen(tlstest.Single(halfCloser{near}), tlsconn.Config{
			TLS: &tls.Config{}, NotTLS: func(net.Conn, []byte) []byte { return []byte("speak TLS") },
		})
		go far.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
		_, err := io.ReadFull(far, make([]byte, len("speak TLS")))
		require.NoError(t, err)
		synctest.Wait()
		began := time.Now()
		l.Close()
		assert.Zero(t, time.Since(began))
	})
}

// deadlines counts those that are set for writing to the connections of a listener.
type deadlines struct {
	net.Listener
	set atomic.Int32
}

func (d *deadlines) Accept() (net.Conn, error) {
	nc, err := d.Listener.Accept()
	return deadlined{nc, d}, err
}

type deadlined struct {
	net.Conn
	of *deadlines
}

func (d deadlined) SetWriteDeadline(t time.Time) error {
	d.of.set.Add(1)
	return d.Conn.SetWriteDeadline(t)
}

// How long a client may take for what is written over HTTP/2 is for the server of HTTP/2 to say.
func TestHTTP2HasItsOwnDeadlines(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	counted := &deadlines{Listener: inner}
	l := tlsconn.Listen(counted, tlsconn.Config{TLS: tlstest.Server("h2")})
	defer l.Close()
	client, err := tls.Dial("tcp", l.Addr().String(), tlstest.Client("h2"))
	require.NoError(t, err)
	defer client.Close()
	nc, err := l.Accept()
	require.NoError(t, err)
	defer nc.Close()
	before := counted.set.Load()
	_, err = nc.Write([]byte("a frame"))
	require.NoError(t, err)
	assert.Equal(t, before, counted.set.Load())
}

// A ticket saves most of the next handshake.
func TestResumption(t *testing.T) {
	l := listen(t, tlsconn.Config{})
	cfg := tlstest.Client()
	cfg.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	for n := range 2 {
		server, client := connect(t, l, cfg)
		server.Write([]byte("x"))
		_, err := io.ReadFull(client, make([]byte, 1)) // with the ticket before it
		require.NoError(t, err)
		assert.Equal(t, n > 0, server.ConnectionState().DidResume)
	}
	assert.EqualValues(t, 1, l.Figures().Resumed)
}
