package admin

import (
	"errors"
	"net/http"

	"sluice/hub/archive"
	"sluice/web"
)

// Recordings is the answer to GET /api/v1/recordings, the newest first:
//
//	?stream=APP/NAME   of a stream, or of those that fit a pattern (live/*)
//	&state=finished    or recording, disk full
//	&limit=, &cursor=  as for Sessions
//
// An answer may have fewer than limit, or none, though more follow: the last one has no "next".
// How many there are is not said, since there may be very many. Files are not to be had here.
type Recordings struct {
	Recordings []RecordingInfo `json:"recordings"` // never null
	Next       string          `json:"next,omitempty"`
	Unreached
}

// RecordingInfo is a recording as the public list has it, and what only operators may know.
type RecordingInfo struct {
	ID     string `json:"id"`
	Stream string `json:"stream"` // App/Name
	App    string `json:"app"`
	Name   string `json:"name"`

	Begin    *web.Time          `json:"begin"`    // null if the file does not say
	Duration float64            `json:"duration"` // seconds
	Bytes    int64              `json:"bytes"`
	Video    *web.RecordedVideo `json:"video"` // null: no such track
	Audio    *web.RecordedAudio `json:"audio"`

	Gaps       int     `json:"gaps"`        // where something is missing that a slow disk cost
	GapSeconds float64 `json:"gap_seconds"` // of all of them together

	State   string   `json:"state"`   // "recording", "finished", or "disk full": finished because it was
	Pinned  bool     `json:"pinned"`  // it is not deleted to make room
	Foreign bool     `json:"foreign"` // the file was put there by hand
	Changed web.Time `json:"changed"` // when it was written last
	// Node is who has it, where those of all are listed (?node=all).
	Node string `json:"node,omitempty"`
}

// maxPages bounds how many pages of the archive are looked through for one answer.
const maxPages = 100

// recordings answers GET /api/v1/recordings.
func (a *api) recordings(r *http.Request) (reply, error) {
	s, err := parseSelection(r.URL.RawQuery, "stream", "state")
	if err != nil {
		return reply{}, err
	}
	if a.Archive == nil {
		return reply{}, errNoRecordings
	}
	key, _ := parseKey(s.values.Get("stream")) // the zero Key for a pattern, and for no stream
	said := Recordings{Recordings: []RecordingInfo{}, Next: s.cursor}
	for range maxPages {
		var page []archive.Recording
		page, said.Next, err = a.Archive.Recordings(key, said.Next, s.limit-len(said.Recordings))
		switch {
		case errors.Is(err, archive.ErrPlace):
			return reply{}, errCursor
		case err != nil:
			return reply{}, err
		}
		for _, recording := range page {
			if s.wantsRecording(recording) {
				said.Recordings = append(said.Recordings, recordingInfo(recording))
			}
		}
		if said.Next == "" || len(said.Recordings) == s.limit {
			break
		}
	}
	return reply{body: said}, nil
}

func (s *selection) wantsRecording(r archive.Recording) bool {
	return (s.stream == nil || s.stream(r.Key.String())) &&
		(!s.values.Has("state") || s.values.Get("state") == string(r.State))
}

func recordingInfo(r archive.Recording) RecordingInfo {
	public := web.FromArchive(r)
	return RecordingInfo{
		ID: public.ID, Stream: public.Stream, App: public.App, Name: public.Name,
		Begin: public.Begin, Duration: public.Duration, Bytes: public.Bytes, Video: public.Video, Audio: public.Audio,
		Gaps: public.Gaps, GapSeconds: public.GapSeconds,
		State: public.State, Pinned: r.Pinned, Foreign: r.Foreign, Changed: web.Time(r.Changed),
	}
}
