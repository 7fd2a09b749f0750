package httpflv

import (
	"bytes"
	"crypto/tls"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"sluice/hub/tlsconn/tlstest"
)

// A viewer who talks without an end, a byte in each record, has its turn like others, is not read for
// ever, and sees the stream all the same.
func TestEncryptedViewerTalks(t *testing.T) {
	h := newRig(t, pumpedTLS)
	s := h.publish()
	s.send(start)
	c, err := tls.Dial("tcp", h.server.Listener.Addr().String(), tlstest.Client())
	require.NoError(t, err)
	defer c.Close()
	_, err = io.WriteString(c, "GET /live/demo.flv HTTP/1.1\r\nHost: localhost\r\n\r\n")
	require.NoError(t, err)
	h.waitViewers(1)
	for _, records := range []int{turnReads / 2, turnReads * 3, 2 * maxIgnored / minIgnored} {
		for range records {
			_, err = c.Write([]byte("x"))
			require.NoError(t, err)
		}
		mark := []byte("after.")
		s.send("P:" + string(mark) + "@5080")
		var got []byte
		for p := make([]byte, 1000); !bytes.Contains(got, mark); {
			n, err := c.Read(p)
			require.NoError(t, err)
			got = append(got, p[:n]...)
		}
	}
}
