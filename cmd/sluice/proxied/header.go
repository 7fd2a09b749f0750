package proxied

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/pires/go-proxyproto"
)

// Sizes of PROXY headers, in bytes (the specification of the PROXY protocol, §2.1 and §2.2).
const (
	// minV1 is the shortest line, "PROXY UNKNOWN\r\n", and less than any header of version 2:
	// that much can be read before the version is known.
	minV1 = 15
	// maxV1 is the longest line.
	maxV1 = 107
	// fixedV2 is what each header of version 2 begins with; its last two bytes are the
	// length of the rest.
	fixedV2 = 16
	// maxV2 bounds a whole header of version 2, with the values that may follow the
	// addresses. The longest in use hold a certificate.
	maxV2 = 2 << 10
)

// What the two versions begin with.
var (
	signatureV1 = []byte("PROXY ")
	signatureV2 = []byte("\r\n\r\n\x00\r\nQUIT\n")
)

// Errors of headers.
var (
	errNoHeader  = errors.New("the connection does not begin with a PROXY header")
	errTooLong   = errors.New("the PROXY header is too long")
	errMalformed = errors.New("the PROXY header is malformed")
	errNoStream  = errors.New("the PROXY header is for a protocol without connections")
)

// header is the bytes of a PROXY header of either version, as far as they have come.
type header []byte

// next returns how many bytes are to be read next, so that none beyond the header is: 0
// if it is whole. Bytes that no header begins with are an error as soon as they are there.
func (h header) next() (int, error) {
	switch {
	case begins(h, signatureV2):
		return h.nextV2()
	case begins(h, signatureV1):
		return h.nextV1()
	}
	return 0, errNoHeader
}

func (h header) nextV1() (int, error) {
	switch end := bytes.IndexByte(h, '\n'); {
	case end >= 0 && (end < len(h)-1 || len(h) < minV1):
		return 0, errMalformed
	case end >= 0:
		return 0, nil
	case len(h) >= maxV1:
		return 0, errTooLong
	}
	return max(1, minV1-len(h)), nil
}

func (h header) nextV2() (int, error) {
	switch {
	case len(h) < minV1: // it may be of version 1 yet
		return minV1 - len(h), nil
	case len(h) < fixedV2:
		return fixedV2 - len(h), nil
	}
	size := fixedV2 + int(binary.BigEndian.Uint16(h[fixedV2-2:]))
	if size > maxV2 {
		return 0, errTooLong
	}
	return size - len(h), nil
}

// begins reports whether b begins like a signature, as far as there is any of it.
func begins(b, signature []byte) bool {
	n := min(len(b), len(signature))
	return bytes.Equal(b[:n], signature[:n])
}

// read reads on until the header is whole, or until read returns nothing.
func (h *header) read(read func(p []byte) (int, error)) (whole bool, err error) {
	for {
		n, err := h.next()
		if err != nil || n == 0 {
			return err == nil, err
		}
		have := len(*h)
		*h = slices.Grow(*h, n)
		got, err := read((*h)[have : have+n])
		*h = (*h)[:have+got]
		if got == 0 {
			return false, err
		}
	}
}

// client returns the address of the client that a whole header tells; nil if it tells none
// that this server knows: then the connection is the proxy's own (LOCAL, for its checks of
// health), or its client is not on the internet (UNKNOWN, or a UNIX socket of the proxy's
// machine). Version 2 has UNSPEC for the latter, which may be refused and is.
func (h header) client() (*net.TCPAddr, error) {
	r := bufio.NewReaderSize(bytes.NewReader(h), len(h))
	parsed, err := proxyproto.Read(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	if r.Buffered() > 0 {
		return nil, errMalformed
	}
	if parsed.Command.IsLocal() || parsed.TransportProtocol == proxyproto.UnixStream {
		return nil, nil
	}
	source, _, ok := parsed.TCPAddrs()
	if !ok {
		return nil, errNoStream
	}
	from := source.AddrPort()
	if !from.Addr().IsValid() || from.Addr().Unmap().IsUnspecified() {
		return nil, fmt.Errorf("%w: it tells no address", errMalformed)
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(from.Addr().Unmap(), from.Port())), nil
}
