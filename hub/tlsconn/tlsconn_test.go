package tlsconn

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// certificate returns a certificate for localhost, and a pool with it.
var certificate = sync.OnceValues(func() (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
})

func serverConfig(protocols ...string) *tls.Config {
	cert, _ := certificate()
	return &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: protocols}
}

func clientConfig(protocols ...string) *tls.Config {
	_, pool := certificate()
	return &tls.Config{RootCAs: pool, ServerName: "localhost", NextProtos: protocols}
}

// listen returns a listener on loopback, closed at the end of the test.
func listen(t *testing.T, cfg Config) *Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	if cfg.TLS == nil {
		cfg.TLS = serverConfig()
	}
	listener := Listen(l, cfg)
	t.Cleanup(func() { listener.Close() })
	return listener
}

// connect returns the two ends of a connection whose handshake is done.
func connect(t *testing.T, l *Listener, cfg *tls.Config) (*Conn, *tls.Conn) {
	client, err := tls.Dial("tcp", l.Addr().String(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { client.Close() })
	nc, err := l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { nc.Close() })
	require.IsType(t, &Conn{}, nc)
	return nc.(*Conn), client
}

func TestConnLikeAnyOther(t *testing.T) {
	for name, version := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			cfg := clientConfig()
			cfg.MaxVersion = version
			l := listen(t, Config{})
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
	server, client := connect(t, listen(t, Config{}), clientConfig())
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
var errNone = &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}

func TestTryRead(t *testing.T) {
	server, client := connect(t, listen(t, Config{}), clientConfig())
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
	server, client := connect(t, listen(t, Config{}), clientConfig())
	began := make(chan struct{})
	server.wire.tryRead = func(p []byte) (int, error) { // stands for a read that blocks
		close(began)
		return server.NetConn().Read(p)
	}
	over := make(chan error)
	go func() {
		_, err := server.Read(make([]byte, 10))
		over <- err
	}()
	<-began
	var ne net.Error
	_, err := server.TryRead(make([]byte, 10), nil)
	require.ErrorAs(t, err, &ne)
	assert.True(t, ne.Timeout())
	client.Close()
	assert.ErrorIs(t, <-over, io.EOF)
}

func TestHTTP2IsForNetHTTP(t *testing.T) {
	l := listen(t, Config{TLS: serverConfig("h2", "http/1.1")})
	client, err := tls.Dial("tcp", l.Addr().String(), clientConfig("h2"))
	require.NoError(t, err)
	defer client.Close()
	nc, err := l.Accept()
	require.NoError(t, err)
	defer nc.Close()
	require.IsType(t, &tls.Conn{}, nc)
	connect(t, l, clientConfig("http/1.1"))
}

func TestFailedHandshakes(t *testing.T) {
	told := make(chan string, 1)
	l := listen(t, Config{NotTLS: func(_ net.Conn, first []byte) []byte {
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

	old := clientConfig()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	assert.Error(t, tls.Client(dial(), old).Handshake())
	dial().Close()
	want := Figures{NotTLS: 1, Rejected: 1, Left: 1}
	require.Eventually(t, func() bool { return l.Figures() == want }, 10*time.Second, 5*time.Millisecond)

	hasty := listen(t, Config{Timeout: 10 * time.Millisecond})
	silent, err := net.Dial("tcp", hasty.Addr().String())
	require.NoError(t, err)
	defer silent.Close()
	_, err = silent.Read(make([]byte, 1))
	assert.ErrorIs(t, err, io.EOF)
	require.Eventually(t, func() bool { return hasty.Figures() == Figures{TimedOut: 1} }, 10*time.Second, 5*time.Millisecond)
}

// As many handshakes as one likes may be begun and not go on: one that goes on is made at once.
func TestHalfOpenHandshakesHoldNothing(t *testing.T) {
	l := listen(t, Config{Handshakes: 1, Timeout: time.Minute})
	for n := range 20 {
		nc, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		defer nc.Close()
		if n%2 == 0 {
			nc.Write([]byte{22, 3, 1, 2, 0}) // a record that is to come
		}
	}
	require.Eventually(t, func() bool { return l.Figures().Pending == 20 }, 10*time.Second, time.Millisecond)
	connect(t, l, clientConfig())
}

// Whoever is asked for a certificate may take a while, without others waiting.
func TestSlowCertificate(t *testing.T) {
	cert, _ := certificate()
	asked, answer := make(chan struct{}), make(chan struct{})
	first := true
	var mu sync.Mutex
	l := listen(t, Config{Handshakes: 1, TLS: &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
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
		nc, err := tls.Dial("tcp", l.Addr().String(), clientConfig())
		if err == nil {
			defer nc.Close()
		}
		slow <- err
	}()
	<-asked
	connect(t, l, clientConfig())
	close(answer)
	assert.NoError(t, <-slow)
}

func TestClose(t *testing.T) {
	l := listen(t, Config{})
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

// A ticket saves most of the next handshake.
func TestResumption(t *testing.T) {
	l := listen(t, Config{})
	cfg := clientConfig()
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
