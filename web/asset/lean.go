package asset

import (
	"bytes"
	"path"
	"strings"
)

// foreign is the folder of what others have written. It is served as it came, with the words of its
// licences.
const foreign = "npm/"

// lean returns a file without what only those need who work on it: comments and indentation
// of scripts and styles. It is about two thirds as large then, and still to be
// read. Nothing else changes, and every line of a script that is left is still a line; what cannot
// be told for sure stays as it is.
func lean(name string, data []byte) []byte {
	switch {
	case strings.HasPrefix(name, foreign):
		return data
	case path.Ext(name) == ".js":
		return leanScript(data)
	case path.Ext(name) == ".css":
		return leanStyle(data)
	}
	return data
}

// leanScript leaves out blank lines, comments of the form //, and indentation.
//
// A line may only look like a comment, and its indentation may mean something, where a template
// literal or a string goes on from the line before. So a script stays as it is if a line has an odd
// number of backquotes, or ends with a backslash, or with something else than a line feed.
func leanScript(data []byte) []byte {
	out := make([]byte, 0, len(data))
	for whole := range bytes.Lines(data) {
		line := bytes.TrimSpace(whole)
		if bytes.ContainsAny(line, "\r\u2028\u2029") { // which end lines, too
			return data
		}
		if bytes.HasPrefix(line, []byte("//")) && !bytes.Contains(line, []byte("*/")) || len(line) == 0 {
			continue
		}
		if bytes.Count(line, []byte("`"))%2 != 0 || bytes.HasSuffix(line, []byte(`\`)) {
			return data
		}
		if out = append(out, withoutComment(line)...); bytes.HasSuffix(whole, []byte("\n")) {
			out = append(out, '\n')
		}
	}
	return out
}

// withoutComment leaves out the comment at the end of a line. Two slashes behind a blank begin one
// unless they stand in a string, a template literal or a regular expression, and the end of that
// would follow.
func withoutComment(line []byte) []byte {
	for {
		i := bytes.LastIndex(line, []byte(" //"))
		if i < 0 || bytes.ContainsAny(line[i+3:], "'\"`/") {
			return line
		}
		line = bytes.TrimRight(line[:i], " \t")
	}
}

// leanStyle leaves out comments, blank lines and indentation (CSS Syntax Level 3 §4.3.2, §4.3.5). A
// comment between others on its line leaves a space. A style stays as it is if a string or a comment
// does not end, or if it has an address without quotes, in which there are no comments.
func leanStyle(data []byte) []byte {
	if bytes.Contains(bytes.ToLower(data), []byte("url(")) {
		return data
	}
	out := make([]byte, 0, len(data))
	for rest := data; len(rest) > 0; {
		n := 1 // bytes to be kept as they are
		switch c := rest[0]; {
		case bytes.HasPrefix(rest, []byte("/*")):
			_, after, ended := bytes.Cut(rest[2:], []byte("*/"))
			if !ended {
				return data
			}
			if rest = after; len(out) > 0 && out[len(out)-1] != '\n' {
				out = append(out, ' ')
			}
			continue
		case c == '\\':
			n = min(2, len(rest))
		case c == '"', c == '\'':
			if n = stringSize(rest); n == 0 {
				return data
			}
		case c == '\n', c == '\r', c == '\f':
			out, rest = endLine(out), rest[1:]
			continue
		case (c == ' ' || c == '\t') && (len(out) == 0 || out[len(out)-1] == '\n'):
			rest = rest[1:]
			continue
		}
		out, rest = append(out, rest[:n]...), rest[n:]
	}
	return out
}

// endLine ends a line, unless it is a blank one, without the blanks at its end.
func endLine(b []byte) []byte {
	trimmed := bytes.TrimRight(b, " \t")
	switch n := len(trimmed); {
	case n == 0, trimmed[n-1] == '\n':
		return trimmed
	case trimmed[n-1] == '\\': // a blank was escaped
		return append(b, '\n')
	}
	return append(trimmed, '\n')
}

// stringSize returns the size of the string that b begins with, quotes included; 0 if it does not
// end on its line, unless that goes on behind a backslash.
func stringSize(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case b[0]:
			return i + 1
		case '\\':
			i++
		case '\n', '\r', '\f':
			return 0
		}
	}
	return 0
}
