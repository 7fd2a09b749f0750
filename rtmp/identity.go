package rtmp

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds on what a client may say of the stream it wants, in bytes.
const (
	maxNameLength  = 255     // app, and name, canonical
	maxArgument    = 8 << 10 // app, name and tcUrl as sent: tokens may be long
	maxQueryValues = 64      // parameters of one query
	maxURL         = 2 << 10 // pageUrl and swfUrl; what is longer is cut
	maxShown       = 256     // of client-supplied text kept for logs
	maxPath        = 1 << 10 // sluicePath
)

// definst is the application instance that Flash servers add to an app's path.
const definst = "_definst_"

// What can be wrong with an app or a name.
var (
	errTooLong     = errors.New("application or stream name is too long")
	errNoApp       = errors.New("application is missing: rtmp://host/APP/NAME")
	errNoName      = errors.New("stream name is missing: rtmp://host/APP/NAME")
	errBadName     = errors.New("application or stream name is not plain text")
	errNoPath      = errors.New("stream name is a URL without a path: rtmp://host/APP/NAME")
	errNotRelative = errors.New(`"." and ".." are not allowed in application and stream name`)
)

// canonical returns the canonical app and name of a stream and its query, see
// Request. App, name and tcURL are as sent.
//
// Clients divide a URL's path in different ways (ffmpeg after the first or second
// segment, librtmp and OBS before the last), and put its query on app, name or
// both, so only the joined path counts.
//
// The name may say more than it should: OBS, ffmpeg (-rtmp_playpath) and librtmp
// (playpath=, rtmpdump -y) send what somebody typed, and people who are asked for an
// address and a stream key put the whole URL into both, or the app before the key. So
// scheme and host are dropped from a name that is a URL, and then the app, once, if it
// stands before the rest:
//
//	app      name                  stream
//	live     rtmp://host/live/x    live/x
//	live     live/x                live/x
//	live/a   live/a/x              live/a/x
//	live     live/live/x           live/live/x
//	live     live                  live/live: there is no rest
//	live/a   rtmp://host/live/a    live/a, as with an empty name: the URL is whole
//	live     rtmp://host/other/x   live/other/x: another app is part of the name
//
// The price: a stream live/live/x is not "live/x" in app "live", but "live/live/x"
// there, or "x" in app "live/live" as ffmpeg and rtmpdump divide its URL.
func canonical(app, name, tcURL string) (string, string, url.Values, error) {
	if len(app) > maxArgument || len(name) > maxArgument || len(tcURL) > maxArgument {
		return "", "", nil, errTooLong
	}
	appPath, appQuery, _ := strings.Cut(app, "?")
	namePath, nameQuery, _ := strings.Cut(name, "?")
	_, tcQuery, _ := strings.Cut(tcURL, "?")
	query := make(url.Values)
	for _, q := range []string{nameQuery, appQuery, tcQuery} {
		addQuery(query, q)
	}
	segments, err := appSegments(appPath)
	if err != nil {
		return "", "", nil, err
	}
	rest, err := nameSegments(namePath, segments)
	if err != nil {
		return "", "", nil, err
	}
	segments = append(segments, rest...)
	if len(segments) == 0 {
		return "", "", nil, errNoApp
	}
	last := len(segments) - 1
	switch trimmed := strings.TrimSuffix(segments[last], ".flv"); trimmed {
	case "": // a stream named ".flv"
	case ".", "..", definst:
		return "", "", nil, errNotRelative
	default:
		segments[last] = trimmed
	}
	if last == 0 {
		return "", "", nil, errNoName
	}
	app, name = strings.Join(segments[:last], "/"), segments[last]
	if len(app) > maxNameLength || len(name) > maxNameLength {
		return "", "", nil, errTooLong
	}
	return app, name, query, nil
}

// checkApp tells whether an app as sent can be part of a stream's name.
func checkApp(app string) error {
	if len(app) > maxArgument {
		return errTooLong
	}
	path, _, _ := strings.Cut(app, "?")
	segments, err := appSegments(path)
	if err == nil && len(segments) == 0 {
		err = errNoApp
	}
	return err
}

// appSegments returns the segments of an app's path.
func appSegments(path string) ([]string, error) {
	path, err := url.PathUnescape(path)
	if err != nil {
		return nil, errBadName
	}
	return appendSegments(nil, path)
}

// nameSegments returns the segments of a name's path, without those that it repeats of
// the URL that the app comes from, see canonical.
func nameSegments(path string, app []string) ([]string, error) {
	path, err := url.PathUnescape(path)
	if err != nil {
		return nil, errBadName
	}
	path, isURL := trimHost(trimPrefix(path))
	segments, err := appendSegments(nil, path)
	if err != nil {
		return nil, err
	}
	if isURL && len(segments) == 0 {
		return nil, errNoPath
	}
	n := len(app)
	repeats := (len(segments) > n || isURL && len(segments) == n) && slices.Equal(segments[:n], app)
	if repeats {
		segments = segments[n:]
	}
	if !isURL && !repeats || len(segments) == 0 {
		return segments, nil
	}
	// What is left is a plain name: the prefix of a container begins it.
	first, err := appendSegments(nil, trimPrefix(segments[0]))
	if err != nil {
		return nil, err
	}
	return append(first, segments[1:]...), nil
}

// trimHost takes scheme and host off a URL, and reports whether it was one.
func trimHost(s string) (path string, isURL bool) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || !isScheme(scheme) {
		return s, false
	}
	_, path, _ = strings.Cut(rest, "/")
	return path, true
}

// isScheme tells whether s may be the scheme of a URL (RFC 3986 §3.1).
func isScheme(s string) bool {
	for i, c := range []byte(s) {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789+-.", rune(c))) {
			return false
		}
	}
	return s != ""
}

// trimPrefix takes off the container that Flash clients put before a name:
// librtmp and ffmpeg add "mp4:" by themselves.
func trimPrefix(name string) string {
	for _, p := range []string{"flv:", "mp4:", "mp3:"} {
		if rest, ok := strings.CutPrefix(name, p); ok {
			return rest
		}
	}
	return name
}

// appendSegments appends the segments of a path whose percent escapes are decoded.
func appendSegments(dst []string, path string) ([]string, error) {
	for s := range strings.SplitSeq(path, "/") {
		switch s {
		case "", definst:
			continue
		case ".", "..":
			return nil, errNotRelative
		}
		if !isText(s) {
			return nil, errBadName
		}
		dst = append(dst, s)
	}
	return dst, nil
}

// isText tells whether s is text of one line, decoded: a "?" or "%" that is left would
// begin another query, which may hold a secret, or another escape. Which other characters
// a name may have is for the Handler to say.
func isText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsAny(s, "?%") && !strings.ContainsFunc(s, unicode.IsControl)
}

// addQuery adds the parameters of a query string for the keys that values does
// not hold yet. Unlike in HTML forms a "+" is no space: tokens in Base64 are
// typed as they are, and OBS decodes percent escapes before it sends.
func addQuery(values url.Values, query string) {
	own := make(url.Values)
	for pair := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(pair, "=")
		key, value = unescape(key), unescape(value)
		if key == "" || values.Has(key) || len(values)+len(own) >= maxQueryValues {
			continue
		}
		own[key] = append(own[key], value)
	}
	for key, v := range own {
		values[key] = v
	}
}

// unescape decodes percent escapes, or returns s if it has malformed ones.
func unescape(s string) string {
	if u, err := url.PathUnescape(s); err == nil {
		return u
	}
	return s
}

// appOfURL returns the path and query of a tcUrl, for clients that send no app.
func appOfURL(tcURL string) string {
	_, rest, ok := strings.Cut(tcURL, "://")
	if !ok {
		return ""
	}
	_, path, _ := strings.Cut(rest, "/")
	return path
}
