package cluster

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"sluice/hub"
)

// owner is the record of a stream: which node has it.
type owner struct {
	Stream      string `json:"stream"` // APP/NAME
	Node        string `json:"node"`   // its name
	Boot        string `json:"boot"`   // the id of its process
	Media       string `json:"media"`  // HOST:PORT of its inner protocol
	Incarnation string `json:"incarnation"`
	Epoch       uint64 `json:"epoch"`
	// Anchor is when the stream's clock was at 0, in ms since 1970: where nobody can be asked any more how
	// far the stream has come, it says about that.
	Anchor int64 `json:"anchor"`
}

// precedes reports whether a packet follows on this one: of the same stream's life, in a later place or a later
// epoch. That of another life follows as well.
func (p Position) precedes(other Position) bool {
	switch {
	case p.Incarnation != other.Incarnation, p.Epoch < other.Epoch:
		return true
	}
	return p.Epoch == other.Epoch && p.Number < other.Number
}

// before reports whether one record was made before another one of the same stream's life.
func (o *owner) before(other *owner) bool {
	return o.Incarnation == other.Incarnation && o.Epoch < other.Epoch
}

// reached returns about how far the stream's clock has come by a time.
func (o *owner) reached(now time.Time) int64 { return max(0, now.UnixMilli()-o.Anchor) }

// same reports whether two records say that one process has the stream, in one epoch.
func (o *owner) same(other *owner) bool {
	return o.Boot == other.Boot && o.Incarnation == other.Incarnation && o.Epoch == other.Epoch
}

// errNoOwner is the error of a record that says nothing that can be used.
var errNoOwner = errors.New("cluster: no record of a stream")

// readOwner reads the record of a stream. One of a later version may say more than is known here; one that does not say
// what is needed is nobody's.
func readOwner(key hub.Key, b []byte) (owner, error) {
	var o owner
	if err := json.Unmarshal(b, &o); err != nil {
		return owner{}, err
	}
	if o.Stream != key.String() || !o.isUsable() {
		return owner{}, errNoOwner
	}
	return o, nil
}

// streamName returns which stream a record is about, empty if it says none.
func streamName(b []byte) string {
	var o struct {
		Stream string `json:"stream"`
	}
	if json.Unmarshal(b, &o) != nil {
		return ""
	}
	return o.Stream
}

// isUsable reports whether what other nodes have said of an owner can be used.
func (o *owner) isUsable() bool {
	return hub.IsNodeID(o.Boot) && hub.IsNodeID(o.Incarnation) && len(o.Incarnation) <= maxIncarnation && o.Epoch > 0 && o.Epoch < maxEpoch
}

// encoding is that of keys: what a NATS subject may hold.
var encoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// recordPrefix is how the keys of streams' records begin.
const recordPrefix = "s."

// recordKey returns the key of a stream's record: names may hold what keys may not, and be longer.
func recordKey(key hub.Key) string {
	sum := sha256.Sum256([]byte(key.String()))
	return recordPrefix + strings.ToLower(encoding.EncodeToString(sum[:16]))
}

// newIncarnation returns an id for a stream's life.
func newIncarnation() string {
	var id [8]byte
	rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}
