// Package pattern is the one grammar in which lists stand in the configuration, and the
// patterns of streams in them.
//
// Entries are separated by line ends or ";", the fields of an entry by spaces. What has a
// meaning here is percent-encoded where it belongs to a field: a space is %20, a ";" %3B, a
// "%" %25, a "*" %2A, a "!" at the beginning %21.
//
// A pattern is APP/NAME, in which the segment "*" stands for any one segment and "**" for any
// number of them, none included. In a list of patterns the last one that fits a stream counts;
// one with a leading "!" takes the stream out again.
package pattern

import (
	"errors"
	"fmt"
	"iter"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of a list: its size in bytes, and the segments of a pattern.
const (
	MaxText     = 1 << 20
	maxSegments = 64
)

// Errors of lists; test with errors.Is.
var (
	ErrTooLong = fmt.Errorf("pattern: the list is longer than %d bytes", MaxText)
	ErrSyntax  = errors.New("pattern: not a pattern")
)

// Entries returns the entries of a list, each with its fields as they are written. Empty
// entries are left out.
func Entries(text string) ([][]string, error) {
	if len(text) > MaxText {
		return nil, ErrTooLong
	}
	var entries [][]string
	for entry := range Split(text) {
		entries = append(entries, strings.Fields(entry))
	}
	return entries, nil
}

// Split returns the entries of a list as they are written, without the spaces around them. Empty
// entries are left out.
func Split(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for entry := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ';' || r == '\n' || r == '\r' }) {
			if entry = strings.TrimSpace(entry); entry != "" && !yield(entry) {
				return
			}
		}
	}
}

// Decode returns what a field that is no pattern stands for.
func Decode(field string) (string, error) {
	s, err := url.PathUnescape(field)
	if err != nil {
		return "", fmt.Errorf("%q: a %% is followed by two hexadecimal digits", field)
	}
	return s, nil
}

// Pattern says which streams are meant.
type Pattern struct {
	out      bool // it begins with "!"
	segments []segment
}

// segment is one part of a pattern.
type segment struct {
	kind kind
	text string
}

type kind uint8

const (
	literal kind = iota
	one          // *
	many         // **
)

// Parse reads a pattern.
func Parse(field string) (Pattern, error) {
	text, out := strings.CutPrefix(field, "!")
	p := Pattern{out: out}
	for part := range strings.SplitSeq(text, "/") {
		s := segment{kind: literal}
		switch {
		case part == "":
			return Pattern{}, fmt.Errorf("%w: %q: it is APP/NAME, with nothing empty between slashes", ErrSyntax, field)
		case part == "*":
			s.kind = one
		case part == "**":
			s.kind = many
			if n := len(p.segments); n > 0 && p.segments[n-1].kind == many {
				continue // the same
			}
		case strings.Contains(part, "*"):
			return Pattern{}, fmt.Errorf("%w: %q: a * stands for a whole segment", ErrSyntax, field)
		default:
			var err error
			if s.text, err = Decode(part); err != nil {
				return Pattern{}, fmt.Errorf("%w: %w", ErrSyntax, err)
			}
			if !utf8.ValidString(s.text) || strings.ContainsAny(s.text, "/\x00") {
				return Pattern{}, fmt.Errorf("%w: %q: no segment of a stream can be so", ErrSyntax, field)
			}
		}
		if p.segments = append(p.segments, s); len(p.segments) > maxSegments {
			return Pattern{}, fmt.Errorf("%w: it has more than %d segments", ErrSyntax, maxSegments)
		}
	}
	if len(p.segments) == 1 && p.segments[0].kind != many {
		return Pattern{}, fmt.Errorf("%w: %q: it is APP/NAME, or ** for all", ErrSyntax, field)
	}
	return p, nil
}

// Literal returns the pattern that stands for one stream, APP/NAME.
func Literal(stream string) Pattern {
	var p Pattern
	for part := range strings.SplitSeq(stream, "/") {
		p.segments = append(p.segments, segment{literal, part})
	}
	return p
}

// escape writes a segment as a part of a field.
func escape(text string) string {
	var b strings.Builder
	for _, r := range text {
		if unicode.IsSpace(r) || strings.ContainsRune("%*;", r) {
			for _, c := range []byte(string(r)) {
				fmt.Fprintf(&b, "%%%02X", c)
			}
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// String returns the pattern as Parse reads it. Two patterns that are written alike here mean the
// same.
func (p Pattern) String() string {
	parts := make([]string, len(p.segments))
	for i, s := range p.segments {
		switch s.kind {
		case one:
			parts[i] = "*"
		case many:
			parts[i] = "**"
		default:
			parts[i] = escape(s.text)
		}
	}
	text := strings.Join(parts, "/")
	if rest, found := strings.CutPrefix(text, "!"); found {
		text = "%21" + rest
	}
	if p.out {
		return "!" + text
	}
	return text
}

// Out reports whether the pattern takes streams out: it has a leading "!".
func (p Pattern) Out() bool { return p.out }

// Exact returns the stream that the pattern stands for, if it is a single one.
func (p Pattern) Exact() (stream string, ok bool) {
	if len(p.segments) == 0 {
		return "", false
	}
	texts := make([]string, len(p.segments))
	for i, s := range p.segments {
		if s.kind != literal {
			return "", false
		}
		texts[i] = s.text
	}
	return strings.Join(texts, "/"), true
}

// First returns the first segment of each stream that the pattern fits, if that is one and the
// same, so that long lists can be kept by it.
func (p Pattern) First() (segment string, ok bool) {
	if len(p.segments) == 0 || p.segments[0].kind != literal {
		return "", false
	}
	return p.segments[0].text, true
}

// Matches reports whether a pattern fits a stream, APP/NAME, whether it takes it out or not.
func (p Pattern) Matches(stream string) bool {
	rest := strings.Split(stream, "/")
	segments, back, from := p.segments, []segment(nil), []string(nil)
	for {
		switch {
		case len(segments) > 0 && segments[0].kind == many:
			segments = segments[1:]
			back, from = segments, rest // and if that fails, with one segment more
		case len(segments) > 0 && len(rest) > 0 && segments[0].fits(rest[0]):
			segments, rest = segments[1:], rest[1:]
		case len(segments) == 0 && len(rest) == 0:
			return true
		case len(from) > 0:
			from = from[1:]
			segments, rest = back, from
		default:
			return false
		}
	}
}

func (s segment) fits(text string) bool { return s.kind == one || s.text == text }

// List is a list of patterns. The zero List matches nothing.
type List []Pattern

// UnmarshalText reads a list of patterns, one in an entry. A list that can match nothing is
// an error; an empty one is not.
func (l *List) UnmarshalText(text []byte) error {
	entries, err := Entries(string(text))
	if err != nil {
		return err
	}
	list := List{}
	for _, fields := range entries {
		if len(fields) > 1 {
			return fmt.Errorf("%w: %q: entries are separated by ; or line ends, and a space is written %%20", ErrSyntax, strings.Join(fields, " "))
		}
		p, err := Parse(fields[0])
		if err != nil {
			return err
		}
		list = append(list, p)
	}
	if len(list) > 0 && list[0].out {
		return fmt.Errorf("%w: the list begins with a !, which takes out of what stands before it; begin with **", ErrSyntax)
	}
	*l = list
	return nil
}

// Matches reports whether the list means a stream, APP/NAME.
func (l List) Matches(stream string) bool {
	for _, p := range slices.Backward(l) {
		if p.Matches(stream) {
			return !p.out
		}
	}
	return false
}
