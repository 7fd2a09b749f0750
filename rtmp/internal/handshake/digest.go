package handshake

import (
	"crypto/hmac"
	"crypto/sha256"
)

// The digest form is not part of RTMP 1.0. Flash Player asks for it before it
// plays H.264 and AAC, and ffmpeg as a player checks it wherever a server's
// version claims it.
//
// After time and version, a signed C1 or S1 has two parts of 764 bytes, in one
// order or the other: one with a Diffie-Hellman key, which only RTMPE uses and
// which is random bytes here, and one with the digest.
//
//	          0    4       8              772             1536
//	Digest0   time version  key part       digest part
//	Digest1   time version  digest part    key part
//
//	digest part   4 bytes | n filler bytes | digest, 32 bytes | 728-n filler bytes
//	              n = the sum of the first four bytes, mod 728
//
// The digest is the HMAC-SHA256 of the 1504 bytes around it.
const (
	partSize    = (blockSize - 8) / 2
	digestSize  = sha256.Size
	digestRoom  = partSize - 4 - digestSize // n is below this: 728
	proofSize   = blockSize - digestSize    // random bytes of a signed C2 or S2
	digestPart0 = 8 + partSize
	digestPart1 = 8
)

// The keys that both sides know. The first clientKeyShort and serverKeyShort
// bytes, the readable ones, sign C1 and S1; the whole keys go into C2 and S2.
var (
	clientKey = []byte("Genuine Adobe Flash Player 001" + keyTail)
	serverKey = []byte("Genuine Adobe Flash Media Server 001" + keyTail)
)

const (
	clientKeyShort = 30
	serverKeyShort = 36

	keyTail = "\xF0\xEE\xC2\x4A\x80\x68\xBE\xE8\x2E\x00\xD0\xD1\x02\x9E\x7E\x57" +
		"\x6E\xEC\x5D\x2D\x29\x80\x6F\xAB\x93\xB8\xE6\x36\xCF\xEB\x31\xAE"
)

// digestAt returns where in a block the digest stands.
func digestAt(block []byte, s Scheme) int {
	part := digestPart1
	if s == Digest0 {
		part = digestPart0
	}
	b := block[part:]
	return part + 4 + (int(b[0])+int(b[1])+int(b[2])+int(b[3]))%digestRoom
}

// blockDigest returns the digest of a block for a digest that stands at at.
func blockDigest(block []byte, at int, key []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(block[:at])
	h.Write(block[at+digestSize:])
	return h.Sum(make([]byte, 0, digestSize))
}

// sign puts the digest in its place.
func sign(block []byte, s Scheme, key []byte) {
	at := digestAt(block, s)
	copy(block[at:], blockDigest(block, at, key))
}

// findDigest returns the scheme by which a block is signed with key, and a copy
// of the digest, or Simple and nil.
func findDigest(block, key []byte) (Scheme, []byte) {
	for _, s := range [...]Scheme{Digest0, Digest1} {
		at := digestAt(block, s)
		if d := blockDigest(block, at, key); hmac.Equal(d, block[at:at+digestSize]) {
			return s, d
		}
	}
	return Simple, nil
}

// appendProof appends C2 or S2: random bytes and their digest, by a key that is
// made from the peer's digest with our whole key.
func appendProof(dst, peerDigest, key, random []byte) []byte {
	random = random[:proofSize]
	return append(append(dst, random...), proof(random, peerDigest, key)...)
}

// proof returns the digest that ends C2 or S2.
func proof(random, peerDigest, key []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(peerDigest)
	k := h.Sum(nil)
	h = hmac.New(sha256.New, k)
	h.Write(random)
	return h.Sum(make([]byte, 0, digestSize))
}
