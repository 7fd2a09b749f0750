package sign

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"sluice/hub"
)

// ErrURL is wrapped by all that can be wrong with a URL that is to be signed. Such errors
// repeat nothing of it but its scheme.
var ErrURL = errors.New("not the URL of a stream")

func badURL(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrURL, fmt.Errorf(format, args...))
}

// maxURL bounds a URL that is to be signed, in bytes.
const maxURL = 8 << 10

// recordings is the first segment of the paths of recordings.
const recordings = "rec"

// KeyOf returns which stream a URL means: rtmp(s)://HOST/APP/NAME, or http(s) and ws(s) with
// /APP/NAME.flv; of a recording, at rec/APP/NAME/ID, the stream that was recorded; http(s) also with
// an address of the page, /?stream=APP/NAME, /?recording=APP/NAME/ID or /embed/APP/NAME. The path
// is percent-decoded once.
func KeyOf(rawURL string) (hub.Key, error) {
	u, err := parse(rawURL)
	if err != nil {
		return hub.Key{}, err
	}
	var app, name string
	switch shown, isPage := ofPage(u); {
	case isPage:
		app, name = cutLast(shown)
	case strings.HasPrefix(u.Scheme, "rtmp"):
		app, name, err = ofRTMP(u.Path)
	default:
		app, name, err = ofHTTP(u.Path)
	}
	if err != nil {
		return hub.Key{}, err
	}
	key, err := hub.NewKey(app, name)
	if refusal, ok := errors.AsType[*hub.Refusal](err); ok {
		return hub.Key{}, badURL("%s", refusal.Detail)
	}
	return key, err
}

// ofRTMP returns the stream of a URL's path, as the server reads what clients make of it.
func ofRTMP(path string) (app, name string, err error) {
	segments := slices.DeleteFunc(strings.Split(path, "/"), func(s string) bool { return s == "" || s == "_definst_" })
	last := len(segments) - 1
	if len(segments) >= 4 && segments[0] == recordings {
		return strings.Join(segments[1:last-1], "/"), segments[last-1], nil
	}
	if last < 0 {
		return "", "", nil // the key says what is missing
	}
	name = segments[last]
	for _, container := range []string{"flv:", "mp4:", "mp3:"} {
		if strings.HasPrefix(name, container) {
			return "", "", badURL("leave out the %q before the name: not all clients send it", container)
		}
	}
	if trimmed := strings.TrimSuffix(name, ".flv"); trimmed != "" {
		name = trimmed
	}
	return strings.Join(segments[:last], "/"), name, nil
}

// ofHTTP returns the stream of a URL's path.
func ofHTTP(path string) (app, name string, err error) {
	path = strings.TrimPrefix(path, "/")
	stream, isFLV := strings.CutSuffix(path, ".flv")
	if rest, ok := strings.CutPrefix(path, recordings+"/"); ok && strings.Count(rest, "/") >= 2 {
		if !isFLV && !strings.HasSuffix(path, ".mp4") {
			return "", "", badURL("over HTTP a recording is at /rec/APP/NAME/ID.flv, or .mp4")
		}
		stream, _ = cutLast(rest)
	} else if !isFLV {
		return "", "", badURL("over HTTP and WebSocket a stream is at /APP/NAME.flv, on the page at /?stream=APP/NAME")
	}
	app, name = cutLast(stream)
	return app, name, nil
}

// ofPage returns the stream that an address of the page shows, or whose recording; false if it is
// none of those.
func ofPage(u *url.URL) (stream string, isPage bool) {
	if !strings.HasPrefix(u.Scheme, "http") {
		return "", false
	}
	query := u.Query()
	switch streams, recordings := query["stream"], query["recording"]; {
	case u.Path != "/" && u.Path != "":
		stream, isPage = strings.CutPrefix(u.Path, "/embed/")
		return stream, isPage && !strings.HasSuffix(stream, ".flv") // which is a stream of an app "embed"
	case len(streams) == 1 && len(recordings) == 0:
		return strings.TrimSuffix(streams[0], ".flv"), true // as the page reads it
	case len(recordings) == 1 && len(streams) == 0:
		stream, _ = cutLast(recordings[0])
		return stream, true
	}
	return "", false
}

// cutLast cuts a path at its last slash.
func cutLast(path string) (before, after string) {
	i := strings.LastIndexByte(path, '/')
	return path[:max(i, 0)], path[i+1:]
}

// schemes are those of streams' URLs.
var schemes = []string{"rtmp", "rtmps", "http", "https", "ws", "wss"}

func parse(rawURL string) (*url.URL, error) {
	if len(rawURL) > maxURL {
		return nil, badURL("it is longer than %d bytes", maxURL)
	}
	u, err := url.Parse(rawURL)
	switch {
	case err != nil:
		return nil, badURL("it cannot be read; odd characters in it are percent-encoded")
	case !slices.Contains(schemes, u.Scheme):
		return nil, badURL("it begins with one of %s, and ://", strings.Join(schemes, ", "))
	case u.Host == "":
		return nil, badURL("it has no host")
	}
	return u, nil
}

// URL returns the URL of a stream, signed for a role until expires, in seconds since 1970, and,
// if address is valid, for the client there alone. Other parameters stay as they are; those of
// an earlier signature, and a fragment, are taken out.
func URL(rawURL string, role hub.Role, secret []byte, expires int64, address netip.Addr) (string, error) {
	key, err := KeyOf(rawURL)
	if err != nil {
		return "", err
	}
	if _, ok := decimal(strconv.FormatInt(expires, 10)); !ok {
		return "", fmt.Errorf("%d is no time for an address to end", expires)
	}
	u, err := parse(rawURL)
	if err != nil {
		return "", err
	}
	pairs := slices.DeleteFunc(strings.Split(u.RawQuery, "&"), ours)
	pairs = append(pairs, "expires="+strconv.FormatInt(expires, 10), "sign="+Sign(role, key, secret, expires, address))
	if address.IsValid() {
		pairs = append(pairs, "bind=1")
	}
	u.RawQuery, u.Fragment, u.RawFragment = strings.Join(pairs, "&"), "", ""
	return u.String(), nil
}

// ours reports whether a parameter, NAME=VALUE as it stands in a query, is one of a signature,
// or empty.
func ours(pair string) bool {
	name, _, _ := strings.Cut(pair, "=")
	if decoded, err := url.QueryUnescape(name); err == nil {
		name = decoded
	}
	return name == "" || name == "expires" || name == "sign" || name == "bind"
}
