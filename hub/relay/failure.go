package relay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
)

// Cause says what kind of failure one is, and so what follows from it.
type Cause uint8

// The causes.
const (
	CauseConnection Cause = iota // it could not be reached, broke off, or was silent: tried again
	CauseNotFound                // the server does not have the stream
	CauseDenied                  // the server says no: tried again much later
	CauseBusy                    // it is published, or has no room: tried again
	CauseLoop                    // the stream would come back to where it was
	CauseMedia                   // what comes is no stream, or the target cannot take it
	CauseURL                     // it leads nowhere, or where it may not: a redirect to a private address
)

// refuses reports whether the other side, or where it leads, says no: another try soon is for nothing.
func (c Cause) refuses() bool {
	switch c {
	case CauseDenied, CauseLoop, CauseURL, CauseMedia:
		return true
	}
	return false
}

// Failure is why a connection was not opened, or has ended. Its words hold nothing secret: no user,
// no query and no name.
type Failure struct {
	Cause  Cause
	Detail string
	Err    error // may be nil
}

func (f *Failure) Error() string { return f.Detail }

// Unwrap returns the error behind it.
func (f *Failure) Unwrap() error { return f.Err }

// Failed makes a Failure.
func Failed(cause Cause, format string, args ...any) *Failure {
	return &Failure{Cause: cause, Detail: fmt.Sprintf(format, args...)}
}

// FailureOf returns the *Failure in an error's chain, or one of CauseConnection that says what is wrong
// with a connection. The errors of net and crypto/tls are not quoted: they hold names and addresses, and are
// for people who know the house.
func FailureOf(err error) *Failure {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f
	}
	return &Failure{CauseConnection, words(err), err}
}

func words(err error) string {
	var (
		dns        *net.DNSError
		unknown    x509.UnknownAuthorityError
		unverified *tls.CertificateVerificationError
		record     tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return "the host has no address"
	case errors.As(err, &dns):
		return "the host's address could not be found out"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection is refused"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "there is no way to the host"
	case errors.As(err, &unknown):
		return "the certificate is of an unknown authority"
	case errors.As(err, &unverified):
		return "the certificate is not valid for the host"
	case errors.As(err, &record):
		return "the server does not speak TLS"
	case errors.Is(err, context.Canceled):
		return "given up"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return "nothing came in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
		return "the connection broke off"
	case errors.Is(err, net.ErrClosed):
		return "the connection was closed"
	}
	return "the connection failed"
}
