// Package replica is the inner protocol of a cluster: how one node gives a stream to another, with the
// owner's numbers and times, so that the copy can go on at any packet after a break, at that node or at
// another one that has a copy.
//
//	GET /replica?stream=APP/NAME[&from=INCARNATION/EPOCH/NUMBER]
//
// The answer is HTTP-FLV as it was sent. README.md has the format. Server and Handler give streams,
// Opener is what takes them; each end of a connection is one goroutine. Both ends prove that they know the
// secret of the cluster.
package replica

import (
	"errors"
	"time"
)

// resource is the path of every request.
const resource = "/replica"

// Header fields of an answer.
const (
	streamHeader = "Sluice-Stream" // INCARNATION/EPOCH/NUMBER of the first packet
	timeHeader   = "Sluice-Time"   // its time, in ms of the stream's clock
	joinedHeader = "Sluice-Joined" // true or false
	tracksHeader = "Sluice-Tracks" // "audio,video", "audio", "video" or "none"; left out where that is not known
	nodeHeader   = "Sluice-Node"   // the id of the process that answers
	proofHeader  = "Sluice-Proof"  // that it knows the secret, in hex
)

// Times of a copy.
const (
	// pingInterval is how long a server sends nothing.
	pingInterval = time.Second
	// defaultSilence is how long a client waits for a byte.
	defaultSilence = 3 * time.Second
	// maxTagTime is how many times as long a tag may take, so that one that trickles in is not waited
	// for.
	maxTagTime = 4
	// writeTimeout is how long a client has to take what is written to it.
	writeTimeout = 10 * time.Second
	// serveTimeout is how long it may take until it is known where a stream begins, and defaultAnswerTimeout
	// how long a client waits for an answer, connecting included.
	serveTimeout         = 8 * time.Second
	defaultAnswerTimeout = 10 * time.Second
)

// Errors of an Opener and its sources; test with errors.Is.
var (
	// ErrUnproven says that what answers does not show that it knows the secret, or does not accept what
	// it is shown. Nothing of what it says was taken.
	ErrUnproven = errors.New("replica: what answers there is not known to be a node of this cluster")
	// ErrOtherProcess says that a node of the cluster answers, but not the process that was asked for.
	ErrOtherProcess = errors.New("replica: another process answers there")
	// ErrProtocol says that a node sends what makes no sense.
	ErrProtocol = errors.New("replica: malformed")
)
