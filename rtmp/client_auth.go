package rtmp

import (
	"crypto/md5"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/url"
	"strings"
)

// Some servers (Adobe's, Wowza, Limelight's, MediaMTX) want user and password in connect, in one
// of two ways that have no specification, but the same form in FFmpeg, librtmp and OBS:
//
//	client                                        server
//	  connect app, tcUrl                 ──────▶
//	                                     ◀──────   _error "… code=403 need auth; authmod=adobe"
//	  connect app?authmod=adobe&user=U   ──────▶
//	                                     ◀──────   _error "… authmod=adobe … ?reason=needauth&user=U&salt=S&challenge=C"
//	  connect app?authmod=adobe&user=U&challenge=D&response=R
//
// Each connect is on a connection of its own. With authmod=llnw the server's second answer has
// a nonce, and the response is that of HTTP's digest.

// maxAuthSteps is how many connections an opening may take.
const maxAuthSteps = 3

// credentials are the user and password of a URL.
type credentials struct{ user, password string }

// answer returns what the next connect has behind app and tcUrl, "" if there is nothing to try:
// err is not the refusal of a server that asks for credentials, or there are none.
func (c *credentials) answer(err error, app string) string {
	refused, ok := errors.AsType[*StatusError](err)
	if !ok || c.user == "" || refused.asks == "" {
		return ""
	}
	_, text, _ := strings.Cut(refused.asks, "authmod=")
	mode := text
	if i := strings.IndexAny(text, " ;]&:"); i >= 0 {
		mode = text[:i]
	}
	if mode != "adobe" && mode != "llnw" {
		return ""
	}
	begin := "?authmod=" + mode + "&user=" + url.QueryEscape(c.user)
	_, asked, ok := strings.Cut(text, "?reason=needauth")
	if !ok {
		if !strings.Contains(refused.asks, "code=403 need auth") {
			return "" // authfailed, nosuchuser
		}
		return begin
	}
	if i := strings.IndexByte(asked, ' '); i >= 0 {
		asked = asked[:i]
	}
	fields := map[string]string{} // Base64 has a "+", which is no space
	for pair := range strings.SplitSeq(asked, "&") {
		name, value, _ := strings.Cut(pair, "=")
		fields[name] = value
	}
	if mode == "llnw" {
		return begin + c.llnw(fields["nonce"], app, cnonce())
	}
	return begin + c.adobe(fields["salt"], fields["opaque"], fields["challenge"], cnonce())
}

// adobe returns the response of authmod=adobe to a salt and a challenge; opaque takes the
// place of the challenge if there is one.
func (c *credentials) adobe(salt, opaque, challenge, own string) string {
	hash := func(parts ...string) string {
		sum := md5.Sum([]byte(strings.Join(parts, "")))
		return base64.StdEncoding.EncodeToString(sum[:])
	}
	asked, echo := challenge, ""
	if opaque != "" {
		asked, echo = opaque, "&opaque="+opaque
	}
	response := hash(hash(c.user, salt, c.password), asked, own)
	return "&challenge=" + own + "&response=" + response + echo
}

// llnw returns the response of authmod=llnw to a nonce: RFC 2617 §3.2.2 with the realm "live",
// and with the method "publish" for players too, as in FFmpeg.
func (c *credentials) llnw(nonce, app, own string) string {
	const count, quality, method = "00000001", "auth", "publish"
	hash := func(parts ...string) string {
		sum := md5.Sum([]byte(strings.Join(parts, ":")))
		return hex.EncodeToString(sum[:])
	}
	path := "/" + app
	if !strings.Contains(app, "/") {
		path += "/" + definst
	}
	response := hash(hash(c.user, "live", c.password), nonce, count, own, quality, hash(method, path))
	return "&nonce=" + nonce + "&cnonce=" + own + "&nc=" + count + "&response=" + response
}

// cnonce returns a client's own random part: 8 hexadecimal digits, as FFmpeg sends.
func cnonce() string {
	var b [4]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
