package cluster

import (
	"context"
	"errors"
	"time"
)

// Directory is what the nodes of a cluster have in common: a few records, of which one node at a time has
// its way, and messages. Package nats has one that needs no other server, package memory one for
// tests.
//
// Records arbitrate and do nothing else: they have no end by themselves, and nobody is told of
// their changes. News and signs of life are messages, which may be lost.
//
// Each call returns soon after its context has ended, whatever has become of the other nodes, and may be
// made by any goroutine. ErrMute is the error where the engine gives no answer: the call may have had
// its effect all the same.
type Directory interface {
	// Get returns a record, or ErrNone. What it returns is what the last change has left.
	Get(ctx context.Context, key string) (Entry, error)
	// Create makes a record, or returns ErrConflict where there is one.
	Create(ctx context.Context, key string, value []byte) (revision uint64, err error)
	// Update changes the record with that revision, or returns ErrConflict where it has another one,
	// or is gone.
	Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error)
	// Delete takes the record with that revision away; ErrConflict as with Update.
	Delete(ctx context.Context, key string, revision uint64) error
	// List returns all records.
	List(ctx context.Context) ([]Entry, error)

	// Send sends a message to all nodes that listen for the subject, this one included. It does not
	// wait: a message that cannot be sent is lost.
	Send(subject string, data []byte) error
	// Listen has f called for each message with the subject, one after the other, until stop is called,
	// which waits for no call. f must return soon.
	Listen(subject string, f func(data []byte)) (stop func(), err error)
	// Ask sends a message to the node that answers for the subject and returns its answer; ErrNobody, at once,
	// where none does, as far as the engine knows.
	Ask(ctx context.Context, subject string, data []byte) ([]byte, error)
	// Answer has f called for each message with the subject that somebody asks, in a goroutine of its
	// own, a bounded number of them at a time.
	Answer(subject string, f func(data []byte) []byte) (stop func(), err error)

	// Health returns how the engine is, without asking it anything.
	Health() Health
	// Close leaves the cluster, properly where that takes no longer than ctx.
	Close(ctx context.Context) error
}

// Entry is a record as the directory has it.
type Entry struct {
	Key      string
	Value    []byte
	Revision uint64
}

// Errors of a Directory.
var (
	ErrNone     = errors.New("cluster: there is no such record")
	ErrConflict = errors.New("cluster: another node was first")
	ErrMute     = errors.New("cluster: the directory does not answer")
	ErrNobody   = errors.New("cluster: nobody answers for that")
)

// Bounds of what a Directory takes.
const (
	// MaxKey bounds a key and each part of a subject, in bytes: letters, digits, - and _, with dots
	// between the parts.
	MaxKey = 128
	// MaxMessage bounds a record, a message and an answer, in bytes.
	MaxMessage = 1 << 20
)

// Health is how the engine of a Directory is.
type Health struct {
	Connected bool          // to the engine: messages come and go
	Writable  bool          // records could be written when that was last tried
	Current   bool          // this node has all records, as one that votes: it could decide, if others went. True of one that does not vote
	Leader    string        // the node that decides on records, by its name in the engine; empty if there is none or it is not known
	Voters    int           // the nodes that vote on records; 0 if not known
	Reachable int           // of them, those that are connected
	Since     time.Time     // when Connected last changed
	Roundtrip time.Duration // of the last record that was read or written
	Detail    string        // for people: what is wrong, empty for nothing
}
