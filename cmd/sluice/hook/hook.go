// Package hook asks an operator's server whether a client may publish or watch ([Question]), and
// writes what it is told and asked in the forms of others ([Format]), so that a server that was
// written for SRS or for nginx-rtmp works unchanged.
//
//	access.Policy ─▶ Question.Decide ─▶ flight ─▶ Client ─▶ server
//	                     │    ▲                     │
//	                     ▼    │                     ▼
//	           known: answers that hold        breaker: it does not answer
//
// What a client shows, its query and more, stands in a question and nowhere else: no event, no
// error and no line of the log quotes it, or the address of the server.
package hook

import (
	"fmt"
	"strings"
)

// Format is the form of questions and events, and of answers.
type Format uint8

// The formats. The zero Format is Sluice's own.
const (
	FormatJSON  Format = iota // Sluice's own
	FormatSRS                 // http_hooks of SRS 5 and 6
	FormatNginx               // on_publish, on_play and the like of nginx-rtmp
	formats                   // how many there are
)

var formatNames = [formats]string{"json", "srs", "nginx"}

// Formats are the names of all formats.
var Formats = formatNames[:]

// String returns the name of the format.
func (f Format) String() string {
	if f >= formats {
		return "unknown"
	}
	return formatNames[f]
}

// Renames reports whether an answer may give a stream another name. Then the name that a
// publisher shows may be its key.
func (f Format) Renames() bool { return f != FormatSRS }

// UnmarshalText takes the name of a format.
func (f *Format) UnmarshalText(text []byte) error {
	for i, name := range formatNames {
		if name == string(text) {
			*f = Format(i)
			return nil
		}
	}
	return fmt.Errorf("%q is not one of %s", text, strings.Join(Formats, ", "))
}
