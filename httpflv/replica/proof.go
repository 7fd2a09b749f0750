package replica

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"sluice/hub"
)

// scheme is that of the Authorization of a request:
//
//	Sluice-Cluster node=ID, to=ID, time=MS, nonce=32HEX, mac=64HEX
const scheme = "Sluice-Cluster "

// maxSkew is how far the clocks of two nodes may be apart.
const maxSkew = 30 * time.Second

// key is what both ends prove that they have.
type key []byte

// newKey derives it from the secret of the cluster.
func newKey(secret string) key {
	k, err := hkdf.Key(sha256.New, []byte(secret), nil, "sluice replica 1", sha256.Size)
	if err != nil { // it wants more than 255 hashes
		panic(err)
	}
	return k
}

// mac returns the HMAC-SHA256 of texts, each with its length before it, in hex. what keeps those of requests
// and answers apart.
func (k key) mac(what string, texts ...string) string {
	h := hmac.New(sha256.New, k)
	var size [8]byte
	for _, text := range append([]string{what}, texts...) {
		binary.BigEndian.PutUint64(size[:], uint64(len(text)))
		h.Write(size[:])
		h.Write([]byte(text))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// same compares two MACs, in a time that does not tell where they differ.
func same(a, b string) bool { return hmac.Equal([]byte(a), []byte(b)) }

// nonce is what makes a request different from all others.
type nonce [16]byte

func newNonce() (n nonce) {
	rand.Read(n[:])
	return n
}

// proof is what the Authorization of a request says.
type proof struct {
	node, to string // ids of the process that asks, and of the one that is asked
	time     int64  // when it was asked, in ms since 1970
	nonce    string // hex
	mac      string // hex
}

// sign returns the proof for a request.
func (k key) sign(method, uri, node, to string, now time.Time, n nonce) proof {
	p := proof{node: node, to: to, time: now.UnixMilli(), nonce: hex.EncodeToString(n[:])}
	p.mac = k.requestMAC(method, uri, p)
	return p
}

func (k key) requestMAC(method, uri string, p proof) string {
	return k.mac("request", method, uri, p.node, p.to, strconv.FormatInt(p.time, 10), p.nonce)
}

// answerMAC is that of an answer to a request with that nonce: of what its status and header fields say, or
// its body.
func (k key) answerMAC(nonce, node string, status int, said ...string) string {
	return k.mac("answer", append([]string{nonce, node, strconv.Itoa(status)}, said...)...)
}

// String returns what parseProof reads.
func (p proof) String() string {
	return fmt.Sprintf("%snode=%s, to=%s, time=%d, nonce=%s, mac=%s", scheme, p.node, p.to, p.time, p.nonce, p.mac)
}

// parseProof reads an Authorization, strictly: all of its parts, in their order.
func parseProof(text string) (p proof, n nonce, ok bool) {
	rest, ok := strings.CutPrefix(text, scheme)
	parts := strings.Split(rest, ", ")
	names := [...]string{"node=", "to=", "time=", "nonce=", "mac="}
	if !ok || len(parts) != len(names) {
		return proof{}, n, false
	}
	for i, name := range names {
		if parts[i], ok = strings.CutPrefix(parts[i], name); !ok {
			return proof{}, n, false
		}
	}
	ms, err := strconv.ParseInt(parts[2], 10, 64)
	p = proof{node: parts[0], to: parts[1], time: ms, nonce: parts[3], mac: parts[4]}
	if err != nil || ms < 0 || ms > maxTime || !hub.IsNodeID(p.node) || !hub.IsNodeID(p.to) ||
		len(p.nonce) != hex.EncodedLen(len(n)) || len(p.mac) != hex.EncodedLen(sha256.Size) {
		return proof{}, n, false
	}
	_, err = hex.Decode(n[:], []byte(p.nonce))
	return p, n, err == nil
}

// skewed says by how much the asker's clock is off, empty if that is within bounds.
func (p proof) skewed(now time.Time) string {
	d := time.UnixMilli(p.time).Sub(now)
	word := "ahead of"
	if d < 0 {
		word = "behind"
	}
	if d.Abs() <= maxSkew {
		return ""
	}
	return fmt.Sprintf("the clock of the node that asks is %v %s this node's, and may differ by %v: set the clocks",
		d.Abs().Round(100*time.Millisecond), word, maxSkew)
}
