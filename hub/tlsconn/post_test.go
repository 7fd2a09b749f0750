package tlsconn_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub/tlsconn"
	"sluice/hub/tlsconn/tlstest"
)

// A client that begins a message of the handshake, after it, that is longer than any there is, is not
// listened to until it is whole: 64 KB would be kept of it for as long as the viewer stays.
func TestLongMessageAfterHandshake(t *testing.T) {
	for name, c := range map[string]struct {
		message []byte
		want    string // the error; empty for none
	}{
		"endless":         {append([]byte{24, 0, 0xff, 0xf0}, make([]byte, 200)...), "longer than any"},
		"begun":           {[]byte{24, 0, 0}, ""},
		"of unknown type": {append([]byte{200, 0, 0, 8}, make([]byte, 8)...), "unexpected message"},
	} {
		t.Run(name, func(t *testing.T) {
			var keys strings.Builder
			config := tlstest.Client()
			config.KeyLogWriter = &keys
			server, client := connect(t, listen(t, tlsconn.Config{}), config)
			if client.ConnectionState().CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
				t.Skip("another cipher")
			}
			r := recordsOf(t, keys.String())
			_, err := readAll(server, r.seal(22, c.message))
			if c.want == "" {
				assert.Equal(t, errNone, err)
				return
			}
			assert.ErrorContains(t, err, c.want)
		})
	}
}

// New keys cost more than the bytes that ask for them: a client that sends nothing else, or hides it
// behind a little data, is not answered for ever.
func TestManyKeyUpdates(t *testing.T) {
	for name, direct := range map[string]bool{"viewer": true, "publisher": false} {
		t.Run(name, func(t *testing.T) {
			var keys strings.Builder
			config := tlstest.Client()
			config.KeyLogWriter = &keys
			server, client := connect(t, listen(t, tlsconn.Config{}), config)
			if client.ConnectionState().CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
				t.Skip("another cipher")
			}
			if direct {
				server.Direct(func() {})
			}
			r := recordsOf(t, keys.String())
			updates := func(n int) (records []byte) {
				for range n {
					records = append(append(records, r.update()...), r.seal(23, []byte("x"))...)
				}
				return records
			}
			n, err := readAll(server, updates(16))
			assert.Equal(t, errNone, err)
			assert.Equal(t, 16, n)
			for range 1024 {
				_, err = readAll(server, r.seal(23, make([]byte, 16<<10)))
				require.Equal(t, errNone, err)
			}
			_, err = readAll(server, updates(1)) // since so much was sent
			assert.Equal(t, errNone, err)
			_, err = readAll(server, updates(1))
			assert.ErrorContains(t, err, "too many key updates")
			_, err = readAll(server, r.seal(23, []byte("x")))
			assert.ErrorContains(t, err, "too many key updates")
		})
	}
}

// readAll reads what encrypted bytes hold, without blocking, and returns how much it is and the error
// at the end.
func readAll(server *tlsconn.Conn, encrypted []byte) (total int, err error) {
	p := make([]byte, 16<<10)
	for err == nil {
		var n int
		n, err = server.TryRead(p, func(p []byte) (int, error) {
			n := copy(p, encrypted)
			if encrypted = encrypted[n:]; n == 0 {
				return 0, errNone
			}
			return n, nil
		})
		total += n
	}
	return total, err
}

// records makes those of a client, after the handshake (RFC 8446 §5.2).
type records struct {
	t      *testing.T
	secret []byte
	seq    uint16
}

// recordsOf returns those of a client by what it wrote into its log of keys.
func recordsOf(t *testing.T, log string) *records {
	_, line, _ := strings.Cut(log, "CLIENT_TRAFFIC_SECRET_0 ")
	_, text, _ := strings.Cut(strings.SplitN(line, "\n", 2)[0], " ")
	secret, err := hex.DecodeString(text)
	require.NoError(t, err)
	return &records{t: t, secret: secret}
}

func (r *records) expand(label string, n int) []byte {
	label = "tls13 " + label
	out, err := hkdf.Expand(sha256.New, r.secret, string([]byte{0, byte(n), byte(len(label))})+label+"\x00", n)
	require.NoError(r.t, err)
	return out
}

// seal returns the next record of a type.
func (r *records) seal(kind byte, content []byte) []byte {
	block, err := aes.NewCipher(r.expand("key", 16))
	require.NoError(r.t, err)
	gcm, err := cipher.NewGCM(block)
	require.NoError(r.t, err)
	nonce := r.expand("iv", 12)
	nonce[10] ^= byte(r.seq >> 8)
	nonce[11] ^= byte(r.seq)
	r.seq++
	header := binary.BigEndian.AppendUint16([]byte{23, 3, 3}, uint16(len(content)+1+gcm.Overhead()))
	return gcm.Seal(header, nonce, append(content, kind), header)
}

// update returns a key update that asks for none (RFC 8446 §4.6.3).
func (r *records) update() []byte {
	record := r.seal(22, []byte{24, 0, 0, 1, 0})
	r.secret, r.seq = r.expand("traffic upd", 32), 0
	return record
}
