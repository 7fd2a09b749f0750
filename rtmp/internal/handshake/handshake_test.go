package handshake

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
)

// peer is a connection whose other end has said all that it will say. It notes
// what is written, and how much had been read by then.
type peer struct {
	io.Reader
	read    int
	writes  [][]byte
	readBy  []int
	failing error // what Write returns
}

func (p *peer) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	p.read += n
	return n, err
}

func (p *peer) Write(b []byte) (int, error) {
	if p.failing != nil {
		return 0, p.failing
	}
	p.writes = append(p.writes, bytes.Clone(b))
	p.readBy = append(p.readBy, p.read)
	return len(b), nil
}

// simpleClient is what OBS and rtmpdump send.
func simpleClient() []byte {
	c1 := append(make([]byte, 8), noise(1, blockSize-8)...)
	return append(append([]byte{3}, c1...), noise(2, blockSize)...)
}

func block(b []byte, i int) []byte { return b[1+i*blockSize : 1+(i+1)*blockSize] }

// checkServer fails the test unless writes are a proper answer to what the client
// of a captured session sent.
func checkServer(t *testing.T, c2s []byte, scheme Scheme, p *peer) {
	t.Helper()
	require.Len(t, p.writes, 1, "S0, S1 and S2 go out in one write")
	require.Equal(t, 1+blockSize, p.readBy[0], "S2 does not wait for C2")
	require.Equal(t, 1+2*blockSize, p.read, "nothing is read beyond C2")
	answer := p.writes[0]
	require.Len(t, answer, 1+2*blockSize)
	require.Equal(t, byte(3), answer[0])

	c1, s1, s2 := block(c2s, 0), block(answer, 0), block(answer, 1)
	if scheme == Simple {
		require.Equal(t, make([]byte, 8), s1[:8])
		require.Equal(t, c1, s2)
		return
	}
	require.GreaterOrEqual(t, s1[4], byte(3), "ffmpeg looks for digests from version 3 on")
	found, _ := findDigest(s1, serverKey[:serverKeyShort])
	require.Equal(t, scheme, found)
	_, digest := findDigest(c1, clientKey[:clientKeyShort])
	require.Equal(t, proof(s2[:proofSize], digest, serverKey), s2[proofSize:])
}

func TestServerWithCapturedClients(t *testing.T) {
	for name, scheme := range captures {
		c2s, _ := captured(t, name)
		for how, slice := range map[string]func(io.Reader) io.Reader{
			"whole":         func(r io.Reader) io.Reader { return r },
			"byte by byte":  iotest.OneByteReader,
			"halves":        iotest.HalfReader,
			"error at once": iotest.DataErrReader,
		} {
			t.Run(name+"/"+how, func(t *testing.T) {
				p := &peer{Reader: slice(bytes.NewReader(c2s))}
				info, err := Server(p)
				require.NoError(t, err)
				require.Equal(t, scheme, info.Scheme)
				if scheme == Simple {
					require.Zero(t, info.Version)
				} else {
					require.EqualValues(t, 0x09007C02, info.Version)
				}
				checkServer(t, c2s, scheme, p)
			})
		}
	}
}

func TestServerWithCapturedClientsCutAnywhere(t *testing.T) {
	for _, name := range []string{"obs30-h264-aac", "ffmpeg7-hevc-aac"} {
		c2s, _ := captured(t, name)
		for n := range 1 + 2*blockSize {
			p := &peer{Reader: bytes.NewReader(c2s[:n])}
			_, err := Server(p)
			if n == 0 {
				require.ErrorIs(t, err, io.EOF)
			} else {
				require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			}
			if n < 1+blockSize {
				require.Empty(t, p.writes)
			} else {
				require.Len(t, p.writes, 1)
			}
		}
	}
}

// Digest0 occurs in no capture.
func TestServerAnswersInTheSchemeOfTheClient(t *testing.T) {
	for _, s := range []Scheme{Digest0, Digest1} {
		c2s := append([]byte{3}, noise(3, 2*blockSize)...)
		sign(block(c2s, 0), s, clientKey[:clientKeyShort])
		p := &peer{Reader: bytes.NewReader(c2s)}
		info, err := Server(p)
		require.NoError(t, err)
		require.Equal(t, s, info.Scheme)
		checkServer(t, c2s, s, p)
	}
}

// A version without a digest, or with a wrong one, is the simple form.
func TestServerAnswersUnsignedVersionsSimply(t *testing.T) {
	c2s := append([]byte{3}, noise(4, 2*blockSize)...)
	p := &peer{Reader: bytes.NewReader(c2s)}
	info, err := Server(p)
	require.NoError(t, err)
	require.Equal(t, Simple, info.Scheme)
	require.NotZero(t, info.Version)
	checkServer(t, c2s, Simple, p)
}

func TestClientWithCapturedServer(t *testing.T) {
	for name, scheme := range captures {
		_, s2c := captured(t, name)
		for how, slice := range map[string]func(io.Reader) io.Reader{
			"whole":        func(r io.Reader) io.Reader { return r },
			"byte by byte": iotest.OneByteReader,
		} {
			t.Run(name+"/"+how, func(t *testing.T) {
				p := &peer{Reader: slice(bytes.NewReader(s2c))}
				require.NoError(t, Client(p))
				require.Equal(t, 1+2*blockSize, p.read, "nothing is read beyond S2")
				require.Len(t, p.writes, 2)
				require.Equal(t, []int{0, 1 + 2*blockSize}, p.readBy)

				c01, c2, s1 := p.writes[0], p.writes[1], block(s2c, 0)
				require.Len(t, c01, 1+blockSize)
				require.Equal(t, byte(3), c01[0])
				require.Equal(t, make([]byte, 4), c01[1:5])
				found, _ := findDigest(c01[1:], clientKey[:clientKeyShort])
				require.Equal(t, Digest1, found)
				if scheme == Simple {
					require.Equal(t, s1, c2)
					return
				}
				_, digest := findDigest(s1, serverKey[:serverKeyShort])
				require.Len(t, c2, blockSize)
				require.Equal(t, proof(c2[:proofSize], digest, clientKey), c2[proofSize:])
			})
		}
	}
}

func TestClientWithServerCutAnywhere(t *testing.T) {
	_, s2c := captured(t, "play-ffmpeg5")
	for n := range 1 + 2*blockSize {
		err := Client(&peer{Reader: bytes.NewReader(s2c[:n])})
		if n == 0 {
			require.ErrorIs(t, err, io.EOF)
		} else {
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		}
	}
}

// Both ends of ours, over a pipe that takes a write only when it is read.
func TestClientWithServer(t *testing.T) {
	c, s := net.Pipe()
	defer c.Close()
	defer s.Close()
	deadline := time.Now().Add(10 * time.Second)
	require.NoError(t, c.SetDeadline(deadline))
	require.NoError(t, s.SetDeadline(deadline))
	done := make(chan error, 1)
	go func() { done <- Client(c) }()
	info, err := Server(s)
	require.NoError(t, err)
	require.Equal(t, Info{Scheme: Digest1, Version: clientVersion}, info)
	require.NoError(t, <-done)
}

// RTMP 1.0 §5.2.1: the server must have C0 before it sends S0 and S1, and C1
// before it sends S2.
func TestServerWaitsForC1(t *testing.T) {
	c2s := simpleClient()
	for _, n := range []int{0, 1, 2, blockSize} {
		p := &peer{Reader: bytes.NewReader(c2s[:n])}
		_, err := Server(p)
		require.Error(t, err)
		require.Empty(t, p.writes)
	}
}

// RTMP 1.0 §5.2.2: the version is 3; those from 32 on are other protocols.
func TestOtherVersionsAreRefusedAtTheFirstByte(t *testing.T) {
	for v := range 256 {
		want := ErrNotRTMP
		switch v {
		case 3:
			continue
		case 6, 8, 9:
			want = ErrEncrypted
		}
		// The peer says one byte and waits: a second read would be an error.
		said := io.MultiReader(bytes.NewReader([]byte{byte(v)}), iotest.ErrReader(errors.New("waited for more")))
		p := &peer{Reader: said}
		_, err := Server(p)
		require.ErrorIs(t, err, want)
		require.Empty(t, p.writes, "no answer")

		said = io.MultiReader(bytes.NewReader([]byte{byte(v)}), iotest.ErrReader(errors.New("waited for more")))
		require.ErrorIs(t, Client(&peer{Reader: said}), want)
	}
	_, err := Server(&peer{Reader: bytes.NewReader([]byte("GET / HTTP/1.1\r\n\r\n"))})
	require.ErrorIs(t, err, ErrNotRTMP)
}

// RTMP 1.0 §5.2.3: in the simple form the bytes after the time are zero.
func TestS1IsZeroAfterTheTime(t *testing.T) {
	answer, info := appendAnswer(nil, block(simpleClient(), 0), noise(9, 2*blockSize))
	require.Equal(t, Info{}, info)
	require.Equal(t, make([]byte, 8), block(answer, 0)[:8])
	require.Equal(t, noise(9, blockSize)[8:], block(answer, 0)[8:])
}

// RTMP 1.0 §5.2.4: S2 returns the random bytes of C1, and C2 those of S1.
func TestS2AndC2EchoTheRandomBytesOfThePeer(t *testing.T) {
	hello := simpleClient()
	answer, _ := appendAnswer(nil, block(hello, 0), noise(9, 2*blockSize))
	require.Equal(t, block(hello, 0), block(answer, 1))
	require.Equal(t, block(answer, 0), appendConfirmation(nil, block(answer, 0), noise(10, blockSize)))
}

// RTMP 1.0 §5.2.3: the random data distinguishes one handshake from another.
func TestRandomBytesDiffer(t *testing.T) {
	c2s := simpleClient()
	var s1 [2][]byte
	var c1 [2][]byte
	for i := range 2 {
		p := &peer{Reader: bytes.NewReader(c2s)}
		_, err := Server(p)
		require.NoError(t, err)
		s1[i] = block(p.writes[0], 0)
		p = &peer{Reader: bytes.NewReader(p.writes[0])}
		require.NoError(t, Client(p))
		c1[i] = block(p.writes[0], 0)
	}
	require.NotEqual(t, s1[0], s1[1])
	require.NotEqual(t, c1[0], c1[1])
}

func TestErrorsOfTheConnectionAreWrapped(t *testing.T) {
	broken := errors.New("broken")
	c2s := simpleClient()
	for _, n := range []int{0, 1, 1000, 1 + blockSize, 2 * blockSize} {
		_, err := Server(&peer{Reader: io.MultiReader(bytes.NewReader(c2s[:n]), iotest.ErrReader(broken))})
		require.ErrorIs(t, err, broken)
		err = Client(&peer{Reader: io.MultiReader(bytes.NewReader(c2s[:n]), iotest.ErrReader(broken))})
		require.ErrorIs(t, err, broken)
	}
	_, err := Server(&peer{Reader: bytes.NewReader(c2s), failing: broken})
	require.ErrorIs(t, err, broken)
	require.ErrorIs(t, Client(&peer{Reader: bytes.NewReader(c2s), failing: broken}), broken)
}

func TestSchemeString(t *testing.T) {
	require.Equal(t, "simple digest0 digest1 Scheme(9)",
		Simple.String()+" "+Digest0.String()+" "+Digest1.String()+" "+Scheme(9).String())
}

func BenchmarkServer(b *testing.B) {
	c2s := append([]byte{3}, noise(3, 2*blockSize)...)
	sign(block(c2s, 0), Digest1, clientKey[:clientKeyShort])
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Server(&peer{Reader: bytes.NewReader(c2s)}); err != nil {
			b.Fatal(err)
		}
	}
}

// All at once is a handshake to the server, with what follows it untouched.
func TestClientAtOnce(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	sent := make(chan error, 1)
	go func() { sent <- ClientAtOnce(buffered{near}, []byte("follows")) }()
	_, err := Server(far)
	require.NoError(t, err)
	rest := make([]byte, 7)
	_, err = io.ReadFull(far, rest)
	require.NoError(t, err)
	require.Equal(t, "follows", string(rest))
	require.NoError(t, <-sent)
}

// buffered is a connection whose writes do not wait, as those of the system.
type buffered struct{ net.Conn }

func (b buffered) Write(p []byte) (int, error) {
	go b.Conn.Write(p)
	return len(p), nil
}
