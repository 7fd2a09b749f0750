package pull

import (
	"context"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub/relay"
)

// again repeats a text after another, for ever.
type again struct {
	first, text string
	at          int
}

func (a *again) Read(p []byte) (int, error) {
	if a.first != "" {
		n := copy(p, a.first)
		a.first = a.first[n:]
		return n, nil
	}
	n := copy(p, a.text[a.at:])
	a.at = (a.at + n) % len(a.text)
	return n, nil
}

// BenchmarkReadTag reads frames of 5 KB and sound of 200 bytes, in a chunk each time.
func BenchmarkReadTag(b *testing.B) {
	u, err := relay.ParseURL(relay.Pull, "http://h/live/demo.flv")
	require.NoError(b, err)
	body := chunk(string(flv.AppendTag(nil, flv.Tag{Type: flv.TypeVideo, Data: make([]byte, 5000)}))) +
		chunk(string(flv.AppendTag(nil, flv.Tag{Type: flv.TypeAudio, Data: make([]byte, 200)})))
	in := &again{first: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(file(nil)), text: body}
	o := &Opener{Dial: func(context.Context, string, string, bool) (net.Conn, error) { return replay{io.Reader(in)}, nil }}
	s, err := o.Open(b.Context(), relay.Opening{URL: u})
	require.NoError(b, err)
	defer s.Close()
	b.ReportAllocs()
	b.SetBytes(2600)
	for b.Loop() {
		if _, err := s.ReadTag(); err != nil {
			b.Fatal(err)
		}
	}
}
