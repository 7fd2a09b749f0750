package proxied

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
)

// FuzzHeader reads headers in pieces of all sizes: what comes of it does not depend on them,
// nothing beyond the header is read, and not more than a header may have is kept.
func FuzzHeader(f *testing.F) {
	for _, seed := range []string{
		v1TCP4("192.0.2.9"), v1TCP4("example.com"), "PROXY UNKNOWN\r\n", "PROXY TCP6 ::1 ::1 1 1\r\n", "PROXY \r\n",
		v2TCP4(0), v2TCP4(40), v2(0x20, 0), v2(0x20, 0x11, 1), v2(0x21, 0x31, make([]byte, 216)...), v2(0x21, 0),
		string(signatureV2) + "\x21\x11\xff\xff", "\x03", "GET / HTTP/1.1\r\n\r\n", "",
	} {
		f.Add([]byte(seed + "beyond"))
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		whole := bytes.NewReader(sent)
		var h, bytewise header
		ok, err := h.read(whole.Read)
		bytewiseOK, bytewiseErr := bytewise.read(iotest.OneByteReader(bytes.NewReader(sent)).Read)
		assert.Equal(t, ok, bytewiseOK)
		assert.Equal(t, err == nil, bytewiseErr == nil)
		assert.LessOrEqual(t, len(h), maxV2)
		assert.True(t, bytes.HasPrefix(sent, h))
		if !ok {
			assert.Error(t, err)
			return
		}
		assert.Equal(t, h, bytewise)
		rest, _ := io.ReadAll(whole)
		assert.Equal(t, len(sent), len(h)+len(rest))
		client, err := h.client()
		if err == nil && client != nil {
			assert.False(t, client.IP.IsUnspecified())
			assert.Empty(t, client.Zone)
			assert.True(t, client.AddrPort().IsValid())
		}
	})
}

func BenchmarkHeader(b *testing.B) {
	for name, text := range map[string]string{"v1": v1TCP4("192.0.2.9"), "v2": v2TCP4(0)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			r := bytes.NewReader([]byte(text))
			for b.Loop() {
				r.Seek(0, io.SeekStart)
				h := make(header, 0, maxV1)
				if _, err := h.read(r.Read); err != nil {
					b.Fatal(err)
				}
				if _, err := h.client(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
