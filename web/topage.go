package web

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"sluice/hub"
)

// maxPageQuery bounds the query that ToPage hands on, in bytes.
const maxPageQuery = 4 << 10

// pageParameters are what the page takes from its address beside the stream: what a viewer wants
// (hub.IsWatchOption), what permits to watch, over what it is played, and with which delay. The
// page hands on the first two to the server and nobody else, see addresses.js.
var pageParameters = []string{
	"onlyaudio", "onlyvideo", "start", "back", "track", "hevc",
	"key", "token", "expires", "sign", "bind", "txSecret", "txTime", "auth_key",
	"over", "mode",
}

// notStreams are first segments of paths that are no app's where the page stands: to a path below
// one of them nothing answers that a person would look for.
var notStreams = []string{"api", "assets", "rec", ".well-known"}

// ToPage answers a request for /APP/NAME that comes from somebody who looks at it in a browser, as
// its Accept says: it leads to the page of that stream, whether or not there is one, with what the
// page understands of the query. It reports false, and has written nothing, for other requests:
// programs are told what is wrong with the path.
func ToPage(w http.ResponseWriter, r *http.Request) bool {
	location, ok := pageFor(r)
	if !ok {
		return false
	}
	h := w.Header()
	h.Set("Location", location)
	h.Set("Cache-Control", "no-store")
	h.Add("Vary", "Accept")
	h.Set("Referrer-Policy", "strict-origin") // the query may hold a permission
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusSeeOther)
	return true
}

// pageFor returns the page of the stream that a request asks for: a path of this server, which
// always begins with "/?".
func pageFor(r *http.Request) (location string, ok bool) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead || !takesHTML(r.Header.Values("Accept")) ||
		len(r.URL.RawQuery) > maxPageQuery {
		return "", false
	}
	app, name := cutLast(strings.Trim(r.URL.Path, "/"))
	key, err := hub.NewKey(app, name)
	if err != nil {
		return "", false
	}
	if first, _, _ := strings.Cut(key.App, "/"); slices.Contains(notStreams, first) {
		return "", false
	}
	location = "/?stream=" + strings.ReplaceAll(url.QueryEscape(key.String()), "%2F", "/")
	said, kept := r.URL.Query(), url.Values{}
	for _, parameter := range pageParameters {
		if values := said[parameter]; len(values) > 0 {
			kept[parameter] = values
		}
	}
	if len(kept) > 0 {
		location += "&" + kept.Encode()
	}
	return location, true
}

// takesHTML reads an Accept (RFC 9110 §12.5.1) as far as it is needed here: HTML is named, and not
// with a weight of zero. Programs say */* or nothing.
func takesHTML(accept []string) bool {
	for item := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		kind, parameters, _ := strings.Cut(item, ";")
		if !strings.EqualFold(strings.TrimSpace(kind), "text/html") {
			continue
		}
		for parameter := range strings.SplitSeq(parameters, ";") {
			name, value, _ := strings.Cut(parameter, "=")
			if strings.EqualFold(strings.TrimSpace(name), "q") {
				weight, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
				return err == nil && weight > 0
			}
		}
		return true
	}
	return false
}
