// Package sign is permission by addresses that were signed beforehand, by whoever knows a
// secret of the stream: Sluice's own form, and those of two providers, so that what makes
// addresses for them works unchanged.
//
// Sluice's own form is three parameters behind the address of a stream:
//
//	?expires=UNIX&sign=HEX[&bind=1]
//
//	HEX = HMAC-SHA256(secret, "v1\nROLE\nAPP/NAME\nEXPIRES\nADDRESS"), 64 lower-case digits
//
// ROLE is "publish" or "watch". APP/NAME is the stream as the server knows it, decoded and
// without .flv, so that one signature holds over every protocol, and for the stream's
// recordings. EXPIRES is as in the address: seconds since 1970 in decimal digits, without a
// sign or leading zeros. ADDRESS is empty, or with bind=1 the address of the one client for
// whom it is: an IPv4 address in four numbers, an IPv6 address as RFC 5952 writes it. So a
// signature for one client means nothing once bind is taken away, and one for everybody nothing
// with it. Each parameter stands there once.
package sign

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"strconv"

	"sluice/hub"
)

// version begins what is signed: another form would have another one.
const version = "v1"

// hexSize is the length of a signature of Sluice's own form.
const hexSize = 2 * sha256.Size

// Sign returns the signature for a role in a stream until expires, in seconds since 1970. With
// a valid address it is for a client there alone, and goes with bind=1.
func Sign(role hub.Role, key hub.Key, secret []byte, expires int64, address netip.Addr) string {
	return signature(role, key, secret, strconv.FormatInt(expires, 10), address)
}

func signature(role hub.Role, key hub.Key, secret []byte, expires string, address netip.Addr) string {
	h := hmac.New(sha256.New, secret)
	h.Write(appendSigned(make([]byte, 0, 384), role, key, expires, address))
	var sum [sha256.Size]byte
	return hex.EncodeToString(h.Sum(sum[:0]))
}

// appendSigned appends what is signed. No part can hold a line end, so that no two of them
// read the same.
func appendSigned(dst []byte, role hub.Role, key hub.Key, expires string, address netip.Addr) []byte {
	dst = append(dst, version...)
	dst = append(append(dst, '\n'), role.String()...)
	dst = append(append(dst, '\n'), key.App...)
	dst = append(append(dst, '/'), key.Name...)
	dst = append(append(dst, '\n'), expires...)
	dst = append(dst, '\n')
	if address.IsValid() {
		dst = plain(address).AppendTo(dst)
	}
	return dst
}

// plain returns an address as it is signed: IPv4 as such, and without a zone, since that is
// the server's name for one of its links.
func plain(address netip.Addr) netip.Addr { return address.Unmap().WithZone("") }
