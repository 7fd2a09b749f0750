// Package access decides who may publish and who may watch. It is the hub's policy: a
// [Policy] is asked by hub.Config.Authorize, and looks once more by hub.Config.Recheck. It
// knows no protocol and no HTTP: what asks other servers is given to it as a [Method].
package access

import (
	"context"
	"errors"

	"sluice/hub"
)

// Method is one way in which a client can be granted what it asks for. Its methods may be
// called from any goroutine.
type Method interface {
	// Decide decides by what the client of a session shows. The error is ErrMissing where the
	// client shows nothing that this method reads, and else wraps ErrExpired, ErrWrong or, for
	// what is neither the client's fault nor its secret's, anything; its words are told to the
	// client and the log, and hold nothing that the client showed and no secret. The Method of
	// the grant is filled in by the Policy; its Identity begins with the method's name and a
	// colon, so that no method can make one of another's.
	Decide(ctx context.Context, s *hub.Session) (hub.Grant, error)
}

// Errors of methods; test with errors.Is.
var (
	// ErrMissing is for a client that shows nothing.
	ErrMissing = errors.New("permission is needed")
	// ErrExpired is for what was right once. It does not count as a failure.
	ErrExpired = errors.New("the permission has ended")
	// ErrWrong is for what was never right: it counts as a failure of the client's address.
	ErrWrong = errors.New("the permission that was shown is wrong")
)
