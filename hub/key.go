package hub

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxKeyLength bounds a stream's key, APP/NAME, in bytes.
const MaxKeyLength = 255

// Key is the identity of a stream: its app, which may have several segments
// ("live" or "live/studio"), and its name, which has one. Queries never belong
// to it. Make one with NewKey; the zero Key names no stream.
type Key struct {
	App, Name string
}

// NewKey makes the key of APP/NAME as a client wrote them, already percent
// decoded and without queries. Clients cut the same URL at different slashes
// (rtmp://host/a/b/c is app "a" and name "b/c" for some, app "a/b" and name "c"
// for others), so both parts are joined, cleaned of empty segments and cut again
// at the last slash.
//
// What may stand in a key is an allow-list: letters, numbers and marks of any
// script, and the characters in keyPunctuation. The error is a *Refusal with
// ReasonBadRequest.
func NewKey(app, name string) (Key, error) {
	joined := app + "/" + name
	if len(joined) > 2*MaxKeyLength {
		return Key{}, badKey("is longer than %d bytes", MaxKeyLength)
	}
	if !utf8.ValidString(joined) {
		return Key{}, badKey("is not valid UTF-8")
	}
	var segments []string
	for segment := range strings.SplitSeq(joined, "/") {
		switch segment {
		case "":
			continue
		case ".", "..":
			return Key{}, badKey("has a segment %q", segment)
		}
		combining := 0
		for _, r := range segment {
			if !keyRune(r) {
				return Key{}, badKey("has a character that is not allowed: %q", r)
			}
			if combining++; !unicode.Is(unicode.M, r) {
				combining = 0
			}
			if combining > maxCombining {
				return Key{}, badKey("has more than %d combining marks in a row", maxCombining)
			}
		}
		segments = append(segments, segment)
	}
	if len(segments) < 2 {
		return Key{}, badKey("needs an app and a name, APP/NAME")
	}
	last := len(segments) - 1
	key := Key{App: strings.Join(segments[:last], "/"), Name: segments[last]}
	if n := len(key.String()); n > MaxKeyLength {
		return Key{}, badKey("is longer than %d bytes", MaxKeyLength)
	}
	return key, nil
}

// String returns APP/NAME.
func (k Key) String() string { return k.App + "/" + k.Name }

// maxCombining bounds marks on one letter: no script has more, and a hundred of them
// paint over everything around the name.
const maxCombining = 4

// keyPunctuation is what may stand in a name beside letters and numbers.
const keyPunctuation = " -_.~+=@,:!()&"

func keyRune(r rune) bool {
	return unicode.In(r, unicode.L, unicode.N, unicode.M) ||
		strings.ContainsRune(keyPunctuation, r)
}

func badKey(format string, args ...any) error {
	return &Refusal{Reason: ReasonBadRequest, Detail: "stream name " + fmt.Sprintf(format, args...)}
}
