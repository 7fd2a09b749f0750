package hook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"sluice/hub"
)

// Bounds of what a server says, in bytes.
const (
	maxIdentity = 256 // of identity and subject
	maxReason   = 256
)

// verdict is what an answer means.
type verdict struct {
	allow   bool
	counts  bool   // of a no: what was shown is wrong, which counts as a failure of the client's address
	expired bool   // of a no: it was right once
	reason  string // of a no, for the client; empty for none
	theirs  bool   // the reason is in words of the server

	// Of a yes.
	identity, subject string
	until             time.Time // zero for never
	key               hub.Key   // another stream, zero for the one that was asked for
}

// errGarbled is for what is no answer to a question.
var errGarbled = fmt.Errorf("%w that makes sense", ErrUnanswered)

// no is the verdict of a plain refusal.
var no = verdict{counts: true}

// read returns what an answer to a question about key means. The error is that of a server that
// does not understand the question; a plain no is none.
func (f Format) read(a Answer, key hub.Key, now time.Time) (verdict, error) {
	switch f {
	case FormatSRS:
		return readSRS(a)
	case FormatNginx:
		return readNginx(a, key)
	}
	return readJSON(a, key, now)
}

// jsonAnswer is an answer in Sluice's own form. 2xx with allow is a yes, and so is 2xx without a
// body; everything else is a no.
type jsonAnswer struct {
	Allow bool `json:"allow"`
	// Identity says who it is: a publisher with the identity of the present one takes its stream
	// over at once, and viewers are counted by it. It is shown to nobody.
	Identity string `json:"identity"`
	// Subject says who it is to people who run the server: it stands in lists, events and the
	// log, and bans may name it.
	Subject string `json:"subject"`
	// Until is when the permission ends, a Unix time in seconds or a text as of RFC 3339.
	Until json.RawMessage `json:"until"`
	// Name is another stream to publish or watch, APP/NAME, or NAME in the same app.
	Name string `json:"name"`
	// Reason says why not, to the client.
	Reason string `json:"reason"`
}

func readJSON(a Answer, key hub.Key, now time.Time) (v verdict, err error) {
	body := bytes.TrimSpace(a.Body)
	var said jsonAnswer
	parsed := len(body) > 0 && json.Unmarshal(body, &said) == nil
	reason := ""
	if parsed {
		reason = printable(said.Reason, maxReason)
	}
	switch {
	case a.Status/100 != 2:
		return refusal(a.Status, reason), nil
	case len(body) == 0:
		return verdict{allow: true}, nil
	case !parsed || body[0] != '{':
		return v, errGarbled
	case !said.Allow:
		return refusal(http.StatusForbidden, reason), nil
	}
	v = verdict{
		allow: true, identity: said.Identity, subject: printable(said.Subject, maxIdentity),
	}
	if len(said.Identity) > maxIdentity {
		return v, errGarbled
	}
	if v.until, err = readUntil(said.Until); err != nil {
		return v, err
	}
	if !v.until.IsZero() && !now.Before(v.until) {
		return verdict{expired: true}, nil
	}
	return v.renamed(said.Name, key), nil
}

// refusal is a no with a status. Who is told 401 or 403 has shown something wrong; the others,
// such as that there is no such stream (404), say nothing of the client.
func refusal(status int, reason string) verdict {
	counts := status == http.StatusUnauthorized || status == http.StatusForbidden
	return verdict{reason: reason, theirs: reason != "", counts: counts}
}

// maxUntil bounds until: the end of the year 9999, in seconds.
const maxUntil = 253402300799

func readUntil(raw json.RawMessage) (time.Time, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return time.Time{}, nil
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		if text == "" {
			return time.Time{}, nil
		}
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return at, errGarbled
		}
		return at, nil
	}
	var seconds float64
	if err := json.Unmarshal(raw, &seconds); err != nil || !(seconds >= 0 && seconds <= maxUntil) {
		return time.Time{}, errGarbled
	}
	if seconds == 0 {
		return time.Time{}, nil
	}
	whole, part := math.Modf(seconds)
	return time.Unix(int64(whole), int64(part*1e9)), nil
}

// readSRS: 200 with 0, or an object whose code is 0, is a yes. What is no JSON is no answer.
func readSRS(a Answer) (v verdict, err error) {
	body := bytes.TrimSpace(a.Body)
	switch {
	case a.Status != http.StatusOK:
		return refusal(a.Status, ""), nil
	case len(body) == 0:
		return no, nil
	case !json.Valid(body):
		return v, errGarbled
	}
	var object struct {
		Code json.RawMessage `json:"code"`
	}
	code := body
	if body[0] == '{' {
		if json.Unmarshal(body, &object) != nil {
			return v, errGarbled
		}
		code = object.Code
	}
	if string(code) == "0" {
		return verdict{allow: true}, nil
	}
	return no, nil
}

// readNginx: 2xx is a yes, and so is 3xx, with a Location for another name.
func readNginx(a Answer, key hub.Key) (verdict, error) {
	switch a.Status / 100 {
	case 2:
		return verdict{allow: true}, nil
	case 3:
		name, err := url.PathUnescape(a.Location)
		if err != nil {
			return verdict{reason: reasonRename}, nil
		}
		return verdict{allow: true}.renamed(name, key), nil
	}
	return refusal(a.Status, ""), nil
}

const (
	reasonRename    = "the server of this site names a stream that cannot be"
	reasonElsewhere = "the server of this site wants the stream taken elsewhere, which is not supported"
)

// renamed returns a yes for another stream: NAME or APP/NAME, decoded, empty for the one that was
// asked for. It is a no if there can be no such stream, or if it is a URL.
func (v verdict) renamed(name string, key hub.Key) verdict {
	switch {
	case name == "":
		return v
	case strings.Contains(name, "://") || strings.HasPrefix(name, "//"):
		return verdict{reason: reasonElsewhere}
	}
	app, name := key.App, strings.TrimPrefix(name, "/")
	if cut := strings.LastIndexByte(name, '/'); cut >= 0 {
		app, name = name[:cut], name[cut+1:]
	}
	to, err := hub.NewKey(app, name)
	if err != nil {
		return verdict{reason: reasonRename}
	}
	if to != key {
		v.key = to
	}
	return v
}

// printable returns a text of which nothing can do harm in a log, cut to so many bytes.
func printable(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s[:min(len(s), most)], ""))
	return strings.TrimSpace(s)
}

// errNo tells a client why not. Its words are the server's own, if it says any.
type errNo struct {
	words string
	kind  error // of package access; nil for another
}

func (e *errNo) Error() string { return e.words }
func (e *errNo) Unwrap() error { return e.kind }

// errRefused is for a plain no.
var errRefused = errors.New("permission is denied")
