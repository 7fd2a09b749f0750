package handshake

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"
)

// Whatever comes in, in whatever slices: the answer is none or whole, nothing is
// read beyond the handshake, and the result is the same.
func FuzzServer(f *testing.F) {
	c2s, _ := captured(f, "ffmpeg5-h264-aac")
	f.Add(c2s[:3200])
	obs, _ := captured(f, "obs30-h264-aac")
	f.Add(obs[:1+2*blockSize])
	f.Add(obs[:2000])
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte{6})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, in []byte) {
		whole := &peer{Reader: bytes.NewReader(in)}
		info, err := Server(whole)
		sliced := &peer{Reader: iotest.OneByteReader(bytes.NewReader(in))}
		info2, err2 := Server(sliced)
		if info != info2 || (err == nil) != (err2 == nil) || err != nil && err.Error() != err2.Error() {
			t.Fatalf("whole: %v, %v; byte by byte: %v, %v", info, err, info2, err2)
		}
		if len(whole.writes) != len(sliced.writes) {
			t.Fatalf("%d and %d writes", len(whole.writes), len(sliced.writes))
		}
		for _, w := range whole.writes {
			if len(w) != 1+2*blockSize {
				t.Fatalf("answer of %d bytes", len(w))
			}
			// A client of ours is content with what the server says.
			if err := Client(&peer{Reader: bytes.NewReader(w)}); err != nil {
				t.Fatal(err)
			}
		}
		if limit := 1 + 2*blockSize; whole.read > limit || sliced.read > limit {
			t.Fatalf("read %d and %d bytes", whole.read, sliced.read)
		}
		if err == nil && (len(in) < 1+2*blockSize || in[0] != 3 || len(whole.writes) != 1) {
			t.Fatal("no handshake, and no error")
		}
	})
}

func FuzzClient(f *testing.F) {
	_, s2c := captured(f, "ffmpeg5-h264-aac")
	f.Add(s2c[:3200])
	_, s2c = captured(f, "obs30-h264-aac")
	f.Add(s2c[:1+2*blockSize])
	f.Add([]byte{3, 1, 2})
	f.Add([]byte{8})
	f.Fuzz(func(t *testing.T, in []byte) {
		p := &peer{Reader: bytes.NewReader(in)}
		err := Client(p)
		if p.read > 1+2*blockSize {
			t.Fatalf("read %d bytes", p.read)
		}
		if err != nil {
			return
		}
		// Every handshake that we complete as a client, a server of ours completes.
		var c2s []byte
		for _, w := range p.writes {
			c2s = append(c2s, w...)
		}
		rest := bytes.NewReader(append(c2s, "more"...))
		if info, err := Server(&peer{Reader: rest}); err != nil || info.Scheme != Digest1 {
			t.Fatal(info, err)
		}
		if left, _ := io.ReadAll(rest); string(left) != "more" {
			t.Fatalf("%d bytes left", len(left))
		}
	})
}
