package bench

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"

	"sluice/httpflv/websocket"
	"sluice/rtmp"
)

// refusedError is a refusal over HTTP or WebSocket.
type refusedError struct{ text string }

func (e refusedError) Error() string { return e.text }

// reason returns an error in few words without addresses, so that the same reasons
// can be counted together.
func reason(err error) string {
	var status *rtmp.StatusError
	var refused refusedError
	var notUpgraded *websocket.StatusError
	var closed *websocket.CloseError
	var broken *websocket.ProtocolError
	var errno syscall.Errno
	var untrusted *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var plain tls.RecordHeaderError
	switch {
	case errors.As(err, &refused):
		return refused.text
	case errors.As(err, &notUpgraded):
		return notUpgraded.Error()
	case errors.As(err, &closed):
		return closed.Error()
	case errors.As(err, &broken):
		return broken.Error()
	case errors.As(err, &status):
		return "refused: " + status.Code
	case errors.As(err, &unknown): // whose text tells of certificates like it
		return "certificate not trusted: signed by an unknown authority"
	case errors.As(err, &untrusted):
		return "certificate not trusted: " + untrusted.Err.Error()
	case errors.As(err, &plain):
		return "no TLS: " + plain.Msg
	case errors.Is(err, context.Canceled):
		return "interrupted"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return "timeout"
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "connection ended midway"
	case errors.Is(err, io.EOF):
		return "ended by the server"
	}
	return err.Error()
}

// isTimeout reports whether an error is one of waiting for too long.
func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// tally counts by reason.
type tally map[string]int

// total returns how many were counted.
func (t tally) total() (n int) {
	for _, c := range t {
		n += c
	}
	return n
}

// String lists the reasons, the most frequent ones first.
func (t tally) String() string {
	reasons := make([]string, 0, len(t))
	for r := range t {
		reasons = append(reasons, r)
	}
	slices.SortFunc(reasons, func(a, b string) int {
		if t[a] != t[b] {
			return t[b] - t[a]
		}
		return strings.Compare(a, b)
	})
	for i, r := range reasons {
		reasons[i] = fmt.Sprintf("%d × %s", t[r], r)
	}
	return strings.Join(reasons, ", ")
}
