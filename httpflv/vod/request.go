package vod

import (
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"sluice/flv"
	"sluice/httpflv"
	"sluice/hub"
	"sluice/hub/archive"
	"sluice/hub/archive/flvfile"
)

// Bounds on what a request names.
const (
	// maxID bounds an id, in bytes: no file has a longer name.
	maxID = 255
	// maxStart bounds where to begin.
	maxStart = 10 * 365 * 24 * time.Hour
	// maxRanges is how many ranges a request may ask for; with more it gets the whole
	// file, as RFC 9110 §14.2 suggests.
	maxRanges = 16
)

// mp4Suffix ends the path of a recording as MP4.
const mp4Suffix = ".mp4"

// request is what a client asks for.
type request struct {
	key      hub.Key
	id       string // of the recording, "latest" only if there is none
	latest   bool   // the newest was asked for
	mp4      bool
	follow   bool          // go on while the file grows
	download bool          // it is to be saved
	sent     bool          // another node has sent the client here: there is nobody else to ask
	start    time.Duration // where to begin; over WebSocket only
	watch    hub.WatchOptions
}

// parse reads what a request asks for. The error is a *hub.Refusal; with it comes what is
// known of the request nevertheless.
func (h *Handler) parse(r *http.Request) (request, error) {
	q := request{watch: hub.WatchOptions{Shape: flv.Shape{Form: flv.FormBrowser}}}
	if err := q.parsePath(r.URL.EscapedPath()); err != nil {
		return q, err
	}
	if q.latest = q.id == archive.Latest; q.latest {
		if newest, err := h.cfg.Archive.Recording(q.key, archive.Latest); err == nil {
			q.id = newest.ID
		}
	}
	query, err := httpflv.Query(r)
	if err != nil {
		return q, err
	}
	return q, q.parseQuery(query)
}

// parsePath reads /rec/APP/NAME/ID.flv. Each segment is percent-decoded once.
func (q *request) parsePath(escaped string) error {
	const where = "recordings are at " + Prefix + "APP/NAME/ID" + httpflv.Suffix + " and " + mp4Suffix
	path, err := url.PathUnescape(escaped)
	i := strings.LastIndexByte(escaped, '/')
	last, lastErr := url.PathUnescape(escaped[i+1:])
	if err != nil || lastErr != nil {
		return refusal(hub.ReasonBadRequest, "the path is not percent-encoded as it should be")
	}
	id, isFLV := strings.CutSuffix(last, flvfile.Suffix)
	if !isFLV {
		if id, q.mp4 = strings.CutSuffix(last, mp4Suffix); !q.mp4 {
			return refusal(hub.ReasonNotFound, where)
		}
	}
	stream := strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(path, Prefix), last), "/")
	i = strings.LastIndexByte(stream, '/')
	switch {
	case i <= 0, id == "":
		return refusal(hub.ReasonNotFound, where)
	case len(id) > maxID, !utf8.ValidString(id), strings.ContainsAny(id, "/\x00"), id == hub.AnyRecording:
		return refusal(hub.ReasonNotFound, "no recording has such an id")
	}
	if q.key, err = hub.NewKey(stream[:i], stream[i+1:]); err != nil {
		return err
	}
	q.id = id
	return nil
}

func (q *request) parseQuery(query url.Values) error {
	q.sent = query.Has(sentParameter)
	q.follow, q.download = query.Get("follow") == "1", query.Get("download") == "1"
	if q.follow && q.mp4 {
		return refusal(hub.ReasonBadRequest, "only "+flvfile.Suffix+" can be followed")
	}
	if text := query.Get("start"); text != "" {
		seconds, err := strconv.ParseFloat(text, 64)
		if err != nil || !(seconds >= 0 && seconds <= maxStart.Seconds()) {
			return refusal(hub.ReasonBadRequest, "start is a number of seconds from the beginning")
		}
		q.start = time.Duration(seconds * float64(time.Second))
	}
	live := url.Values{} // what means the same as for a stream
	for _, name := range []string{"onlyaudio", "onlyvideo", "track", "hevc"} {
		if query.Has(name) {
			live[name] = query[name]
		}
	}
	err := q.watch.ReadQuery(live)
	q.watch.ScriptData = q.watch.Shape.Form == flv.FormAsSent
	return err
}

// Path returns the path of a recording as FLV, percent-encoded.
func Path(key hub.Key, id string) string {
	var b strings.Builder
	b.WriteString(strings.TrimSuffix(Prefix, "/"))
	for segment := range strings.SplitSeq(key.String(), "/") {
		b.WriteString("/" + url.PathEscape(segment))
	}
	return b.String() + "/" + url.PathEscape(id) + flvfile.Suffix
}

// redirect leads from "latest" to the recording: by a reference that is relative, since
// only a proxy may know the path under which the client knows this one.
func redirect(w http.ResponseWriter, r *http.Request, id string, suffix string) {
	// The dot keeps a colon in an id from making a scheme of what is before it.
	location := "./" + url.PathEscape(id) + suffix
	if r.URL.RawQuery != "" {
		location += "?" + r.URL.RawQuery
	}
	w.Header().Set("Location", location)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusTemporaryRedirect)
}

// disposition returns what a browser is to do with a file, and its name when it is saved.
func disposition(q request, id, suffix string) string {
	how := "inline"
	if q.download {
		how = "attachment"
	}
	name := q.key.Name + "-" + id + suffix
	return mime.FormatMediaType(how, map[string]string{"filename": name})
}
