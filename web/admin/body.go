package admin

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"sluice/hub"
)

// Bounds of what a request may say, and of what an answer repeats of a client.
const (
	maxBody   = 64 << 10
	maxPassed = 256 << 10 // of a longer body, what is read all the same
	maxReason = 200       // bytes; a WebSocket client is told 123 of them
	maxText   = 1024      // bytes of what a client showed
	// maxBan bounds how long a ban may last whose end is said.
	maxBan = 10 * 365 * 24 * time.Hour
)

// parseBody reads the body of a request into v, a pointer to a struct.
func parseBody(r *http.Request, v any) error {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return refuse(http.StatusUnsupportedMediaType, "unsupported media type", "the body is JSON, with Content-Type: application/json")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	switch {
	case err != nil:
		return badRequest("the body ends too early")
	case len(body) > maxBody:
		// Where the connection ends with the answer net/http reads no more of it, and what is unread then ends in a reset,
		// which may come before the answer.
		io.CopyN(io.Discard, r.Body, maxPassed)
		return refuse(http.StatusRequestEntityTooLarge, "too large", "the body is longer than 64 KiB")
	case !utf8.Valid(body):
		return badRequest("the body is not UTF-8")
	}
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return badRequest("the body: " + text(syntax(err)))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return badRequest("something follows the JSON of the body")
	}
	return nil
}

// syntax returns what is wrong with JSON.
func syntax(err error) string {
	if kind, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return kind.Field + " cannot be a " + kind.Value
	}
	if errors.Is(err, io.EOF) {
		return "it is empty"
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}

// text returns at most maxText bytes of a text, as valid UTF-8.
func text(s string) string { return cut(s, maxText) }

func cut(s string, most int) string {
	if len(s) > most {
		s = s[:most]
		for len(s) > 0 && !utf8.RuneStart(s[len(s)-1]) {
			s = s[:len(s)-1]
		}
		if r, n := utf8.DecodeLastRuneInString(s); r == utf8.RuneError && n == 1 {
			s = s[:len(s)-1]
		}
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// checkReason checks the words in which a client is told why it is ended.
func checkReason(s string) error {
	if len(s) > maxReason || strings.IndexFunc(s, unicode.IsControl) >= 0 {
		return badRequest("reason is a line of at most 200 bytes")
	}
	return nil
}

// parseDuration reads how long something is to last; 0 where it may not last at all.
func parseDuration(name, s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > maxBan {
		return 0, badRequest(name + ` is a time such as "90s" or "24h", of ten years at the most`)
	}
	return d, nil
}

// parseKey reads APP/NAME. The error is a *hub.Refusal.
func parseKey(stream string) (hub.Key, error) {
	app, name := cutLast(stream)
	return hub.NewKey(app, name)
}

// cutLast cuts a path at its last slash.
func cutLast(path string) (before, after string) {
	i := strings.LastIndexByte(path, '/')
	return path[:max(i, 0)], path[i+1:]
}
