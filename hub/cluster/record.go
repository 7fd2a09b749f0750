package cluster

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
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
	// Since is when the publisher's session began, in ms since 1970 by its node's clock.
	Since int64 `json:"since"`
}

// position returns where the stream's owner is, apart from the number.
func (o *owner) position(number uint64) Position {
	return Position{Incarnation: o.Incarnation, Epoch: o.Epoch, Number: number}
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

func (o *owner) encode() []byte {
	b, err := json.Marshal(o)
	if err != nil {
		panic(err) // of texts and numbers
	}
	return b
}

// readOwner reads a record, which may be of a later version, or nobody's.
func readOwner(b []byte) (owner, error) {
	var o owner
	err := json.Unmarshal(b, &o)
	return o, err
}

// encoding is that of keys: what a NATS subject may hold.
var encoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// recordKey returns the key of a stream's record: names may hold what keys may not, and be longer.
func recordKey(key hub.Key) string {
	sum := sha256.Sum256([]byte(key.String()))
	return "s." + strings.ToLower(encoding.EncodeToString(sum[:16]))
}

// newIncarnation returns an id for a stream's life.
func newIncarnation() string {
	var id [8]byte
	rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}
