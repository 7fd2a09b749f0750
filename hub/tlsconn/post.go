package tlsconn

import (
	"bytes"
	"crypto/tls"
	"errors"
	"unsafe"
)

// Bounds of what a client may send of TLS itself after the handshake. There is the key update (RFC 8446
// §4.6.3), which clients make when a key has encrypted some 2^24 records.
const (
	// maxPost bounds one message, in bytes: a key update has 5. crypto/tls would keep 64 KB of one that
	// does not end, for as long as the connection lasts.
	maxPost = 64
	// maxUpdates bounds how often there are new keys, as far as they are looked at: several between two
	// looks, of which there are 16 at the most (crypto/tls), count as one. New keys cost as much as some
	// 20 records of data, and are made outside the bound on handshakes.
	maxUpdates = 16
	// updateBytes is how much a client sends for which it is permitted one more: GnuTLS makes one itself
	// every 2^24 records, which with librtmp is every 2 GB, and that publisher may stay for weeks.
	updateBytes = 16 << 20
)

// Errors of clients that exceed them.
var (
	errPost    = errors.New("tlsconn: a message of the handshake that is longer than any after it")
	errUpdates = errors.New("tlsconn: too many key updates")
)

// post is what a client sends of TLS itself after the handshake. crypto/tls says nothing of that, so this
// looks into tls.Conn (see internals.go). The zero value is for the handshake, and bounds nothing.
type post struct {
	message *bytes.Buffer // what came of a message
	secret  *[]byte       // that the present keys are made of
	last    *byte         // of which the last ones were
	updates uint8
	bytes   uint32 // that came since the last one was forgiven
}

// postOf returns that of a connection whose handshake is done.
func postOf(c *tls.Conn) (p post) {
	if handshakeMessage > 0 {
		p.message = (*bytes.Buffer)(unsafe.Add(unsafe.Pointer(c), handshakeMessage))
	}
	if trafficSecret > 0 {
		p.secret = (*[]byte)(unsafe.Add(unsafe.Pointer(c), trafficSecret))
		p.last = unsafe.SliceData(*p.secret)
	}
	return p
}

// check returns an error when a client has exceeded a bound. It is for the goroutine that reads, between
// two records.
func (p *post) check() error {
	if p.message != nil && p.message.Len() > maxPost {
		return errPost
	}
	if p.secret != nil {
		if now := unsafe.SliceData(*p.secret); now != p.last && p.updates <= maxUpdates { // the last one is held: none can be in its place
			p.last = now
			p.updates++
		}
	}
	if p.updates > maxUpdates {
		return errUpdates
	}
	return nil
}

// came counts encrypted bytes.
func (p *post) came(n int) {
	if p.bytes += uint32(max(n, 0)); p.bytes < updateBytes {
		return
	}
	p.bytes = 0
	if p.updates > 0 && p.updates <= maxUpdates {
		p.updates--
	}
}
