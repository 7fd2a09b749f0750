package tlsconn

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What trim knows of crypto/tls is true of the version that this is built with.
func TestTrim(t *testing.T) {
	c := new(tls.Conn)
	require.Len(t, buffers, 2)
	for _, offset := range buffers {
		assert.NotZero(t, offset)
		b := (*bytes.Buffer)(unsafe.Add(unsafe.Pointer(c), offset))
		b.WriteString("of the handshake")
		trim(c)
		assert.Equal(t, "of the handshake", b.String(), "what is in there stays")
		b.Next(b.Len())
		assert.NotZero(t, b.Cap())
		trim(c)
		assert.Zero(t, b.Cap())
	}
}

// So is what post knows of it.
func TestPostIsFound(t *testing.T) {
	assert.NotZero(t, handshakeMessage)
	assert.NotZero(t, trafficSecret)
	assert.Zero(t, offsetOf[string]("in", "trafficSecret"), "of another type")
}

func TestOutgoing(t *testing.T) {
	for name, suite := range map[string]uint16{"1.3": 0, "1.2": tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256} {
		t.Run(name, func(t *testing.T) {
			near, far := net.Pipe()
			defer near.Close()
			defer far.Close()
			cfg := &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}}
			client := &tls.Config{InsecureSkipVerify: true}
			if suite != 0 {
				client.MaxVersion, client.CipherSuites = tls.VersionTLS12, []uint16{suite}
			}
			shaken := make(chan error, 1)
			go func() { shaken <- tls.Client(far, client).Handshake() }()
			server := tls.Server(near, cfg)
			require.NoError(t, server.Handshake())
			require.NoError(t, <-shaken)
			cipher, keys := outgoing(server)
			assert.NotNil(t, cipher.start)
			assert.LessOrEqual(t, cipher.size, uintptr(cacheLine))
			assert.NotNil(t, keys.start)
			assert.GreaterOrEqual(t, keys.size, uintptr(11*16), "the round keys of AES-128 fit in")
			assert.Less(t, keys.size, uintptr(4<<10))
		})
	}
	cipher, keys := outgoing(new(tls.Conn)) // without keys
	assert.Zero(t, cipher)
	assert.Zero(t, keys)
	assert.NotZero(t, sendOffset)
	assert.NotZero(t, callOffset)
	assert.LessOrEqual(t, sendOffset+sendSize, unsafe.Sizeof(tls.Conn{}))
}

func selfSigned(t *testing.T) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
