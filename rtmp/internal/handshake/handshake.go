// Package handshake is the RTMP handshake at both ends: the simple form of
// RTMP 1.0 §5.2, and the digest form that Flash Player brought and that the
// specification never mentions.
//
// Each side sends three parts. C0 and S0 are one byte, the version:
//
//	client                         server
//	  | C0 C1 -------------------->  |
//	  | <-------------- S0 S1 S2     |   one write, without waiting for C2
//	  | C2 ----------------------->  |   read and not looked at
//
// C1, S1, C2 and S2 are blocks of 1536 bytes. Those of the simple form (§5.2.3,
// §5.2.4):
//
//	C1, S1   time u32 | zero u32       | 1528 random bytes
//	C2, S2   time u32 | time2 u32      | the 1528 random bytes of the peer
//
// Those of the digest form, see digest.go:
//
//	C1, S1   time u32 | version, not 0 | 1528 random bytes, 32 of them replaced by a digest
//	C2, S2   1504 random bytes | 32 bytes of digest
//
// All times are sent as 0, which §5.2.3 allows.
package handshake

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	// version is what C0 and S0 say (RTMP 1.0 §5.2.2).
	version = 3
	// blockSize is the length of C1, S1, C2 and S2 in bytes (§5.2.3, §5.2.4).
	blockSize = 1536
)

// The versions of the software that signed blocks claim, in bytes 4 to 7 of C1
// and S1. ffmpeg as a player looks for a digest in S1 only if the first of these
// bytes is 3 or more.
const (
	clientVersion = 0x09007C02 // Flash Player 9.0.124.2, as ffmpeg says
	serverVersion = 0x04050001 // Flash Media Server 4.5.0.1
)

var (
	// ErrEncrypted says that the peer wants RTMPE (version 6, 8 or 9), which
	// Sluice does not speak.
	ErrEncrypted = errors.New("handshake: the peer wants RTMPE")
	// ErrNotRTMP says that what the peer sent first is no RTMP version that is in
	// use. §5.2.2 suggests to answer an unknown version with 3; what comes in
	// practice is another protocol that went to the wrong port, so nothing is
	// answered.
	ErrNotRTMP = errors.New("handshake: the peer does not speak RTMP")
)

// Scheme is the form of a handshake.
type Scheme uint8

const (
	Simple  Scheme = iota // RTMP 1.0 §5.2; OBS, rtmpdump
	Digest0               // signed, key part first
	Digest1               // signed, digest part first; ffmpeg, VLC
)

// String returns "simple", "digest0" or "digest1".
func (s Scheme) String() string {
	switch s {
	case Simple:
		return "simple"
	case Digest0:
		return "digest0"
	case Digest1:
		return "digest1"
	}
	return fmt.Sprintf("Scheme(%d)", uint8(s))
}

// Info is what a handshake says about the client.
type Info struct {
	Scheme  Scheme
	Version uint32 // bytes 4 to 7 of C1: 0, or the client's version, a byte for each of its four numbers
}

// Server does the server's part. It answers in the client's form, with one
// Write, as soon as C1 is there: ffmpeg sends C2 only after S2. It reads nothing
// beyond C2. Deadlines are the caller's, who should also send small writes
// without delay (TCP_NODELAY).
//
// A first byte other than 3 is ErrEncrypted or ErrNotRTMP, at once and without
// an answer. A connection that ends before its first byte is io.EOF, later
// io.ErrUnexpectedEOF; errors of rw are wrapped.
func Server(rw io.ReadWriter) (Info, error) {
	var c01 [1 + blockSize]byte
	if err := readHello(rw, c01[:]); err != nil {
		return Info{}, fmt.Errorf("handshake: read C0 and C1: %w", err)
	}
	c1 := c01[1:]

	var random [2 * blockSize]byte
	rand.Read(random[:]) // never fails
	answer, info := appendAnswer(make([]byte, 0, 1+2*blockSize), c1, random[:])
	if _, err := rw.Write(answer); err != nil {
		return info, fmt.Errorf("handshake: write S0, S1 and S2: %w", err)
	}

	// C2 is not looked at: no server does, and in the digest form that of ffmpeg
	// need not be right.
	if _, err := io.ReadFull(rw, c1); err != nil {
		return info, fmt.Errorf("handshake: read C2: %w", unexpected(err))
	}
	return info, nil
}

// Client does the client's part, in the digest form of scheme 1, which servers
// that know only the simple form take for random bytes; they are answered in the
// simple form. It reads nothing beyond S2, and does not hold the server to what
// it says in S2. Deadlines are the caller's. Errors are those of Server.
func Client(rw io.ReadWriter) error { return ClientThen(rw, nil) }

// ClientThen is Client with what follows C2 in the same Write.
func ClientThen(rw io.ReadWriter, follows []byte) error {
	var random [2 * blockSize]byte
	rand.Read(random[:]) // never fails
	c01 := appendHello(make([]byte, 0, 1+blockSize), random[:blockSize])
	if _, err := rw.Write(c01); err != nil {
		return fmt.Errorf("handshake: write C0 and C1: %w", err)
	}

	// C2 could go out before S2 has come, but a server that writes all three
	// parts at once may be held up until they are read.
	var s012 [1 + 2*blockSize]byte
	if err := readHello(rw, s012[:]); err != nil {
		return fmt.Errorf("handshake: read S0, S1 and S2: %w", err)
	}
	c2 := appendConfirmation(c01[:0], s012[1:1+blockSize], random[blockSize:])
	if _, err := rw.Write(append(c2, follows...)); err != nil {
		return fmt.Errorf("handshake: write C2: %w", err)
	}
	return nil
}

// ClientAtOnce is Client for a server that is known to read C2 without looking at it: C0, C1, C2
// and what follows them go out in one Write, before anything has come.
func ClientAtOnce(rw io.ReadWriter, follows []byte) error {
	var random [2 * blockSize]byte
	rand.Read(random[:]) // never fails
	all := appendHello(make([]byte, 0, 1+2*blockSize+len(follows)), random[:blockSize])
	all = append(append(all, random[blockSize:]...), follows...)
	if _, err := rw.Write(all); err != nil {
		return fmt.Errorf("handshake: write C0, C1 and C2: %w", err)
	}
	var s012 [1 + 2*blockSize]byte
	if err := readHello(rw, s012[:]); err != nil {
		return fmt.Errorf("handshake: read S0, S1 and S2: %w", err)
	}
	return nil
}

// readHello fills b, whose first byte is the version: it is looked at as soon as
// it is there, since clients of another protocol may wait for an answer to
// less than len(b) bytes.
func readHello(r io.Reader, b []byte) error {
	n, err := io.ReadAtLeast(r, b, 1)
	if err != nil {
		return err
	}
	switch v := b[0]; v {
	case version:
	case 6, 8, 9:
		return fmt.Errorf("version %d: %w", v, ErrEncrypted)
	default:
		return fmt.Errorf("version %d%s: %w", v, guess(v), ErrNotRTMP)
	}
	_, err = io.ReadFull(r, b[n:])
	return unexpected(err)
}

// guess says, for the log, what is likely to begin with v instead of
// RTMP.
func guess(v byte) string {
	switch v {
	case 'C', 'D', 'G', 'H', 'O', 'P', 'T': // CONNECT, DELETE, GET, HEAD, OPTIONS, POST, TRACE
		return ", an HTTP request it seems"
	case 0x16: // a handshake record, RFC 8446 §5.1
		return ", TLS it seems"
	}
	return ""
}

// unexpected returns err for a place where the input must not end.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// appendAnswer appends S0, S1 and S2 for a client's C1, with the random bytes of
// S1 and S2. It is pure.
func appendAnswer(dst, c1, random []byte) ([]byte, Info) {
	info := Info{Version: binary.BigEndian.Uint32(c1[4:])}
	var digest []byte
	if info.Version != 0 {
		info.Scheme, digest = findDigest(c1, clientKey[:clientKeyShort])
	}
	dst = append(dst, version)
	if info.Scheme == Simple {
		dst = appendBlock(dst, 0, random[:blockSize])
		// The echo is exact: librtmp compares all of it. Where §5.2.4 has time2,
		// when C1 was read by our clock, this repeats C1's zero.
		return append(dst, c1...), info
	}
	dst = appendBlock(dst, serverVersion, random[:blockSize])
	sign(dst[len(dst)-blockSize:], info.Scheme, serverKey[:serverKeyShort])
	return appendProof(dst, digest, serverKey, random[blockSize:]), info
}

// appendHello appends C0 and C1, with the random bytes of C1. It is pure.
func appendHello(dst, random []byte) []byte {
	dst = append(dst, version)
	dst = appendBlock(dst, clientVersion, random)
	sign(dst[len(dst)-blockSize:], Digest1, clientKey[:clientKeyShort])
	return dst
}

// appendConfirmation appends C2 for a server's S1, with random bytes for the
// case that S1 is signed. It is pure.
func appendConfirmation(dst, s1, random []byte) []byte {
	if scheme, digest := findDigest(s1, serverKey[:serverKeyShort]); scheme != Simple {
		return appendProof(dst, digest, clientKey, random)
	}
	return append(dst, s1...)
}

// appendBlock appends C1 or S1 unsigned: time 0, the version, and random bytes
// from the 9th on.
func appendBlock(dst []byte, version uint32, random []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, 0)
	dst = binary.BigEndian.AppendUint32(dst, version)
	return append(dst, random[8:blockSize]...)
}
