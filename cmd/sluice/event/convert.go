package event

import (
	"net/netip"
	"net/url"
	"strings"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/archive"
)

// Bounds of what clients say of themselves, in bytes.
const (
	maxAgent  = 256
	maxDetail = 512
	maxURL    = 1 << 10
	maxID     = 256 // of a recording
)

// typeOf returns what an event of the hub is here; empty for what nobody is told.
func typeOf(e *hub.Event) Type {
	switch e.Kind {
	case hub.EventPublished:
		return TypePublish
	case hub.EventUnpublished:
		return TypeUnpublish
	case hub.EventJoined:
		return TypePlay
	case hub.EventLeft:
		return TypeStop
	case hub.EventWanted:
		return TypeWanted
	case hub.EventUnwanted:
		return TypeUnwanted
	case hub.EventTracks:
		return TypeTracks
	case hub.EventSwitched:
		return TypeSwitched
	case hub.EventRefused:
		return refusalType(e.Reason)
	}
	return ""
}

// refusalType returns what the refusal of a session is. Who left before there was an answer, or
// waited for a stream in vain, was not denied anything: of the latter wanted and unwanted tell.
func refusalType(why hub.Reason) Type {
	switch why {
	case hub.ReasonKicked:
		return TypeKicked
	case hub.ReasonNotFound, hub.ReasonClientLeft, hub.ReasonConnection, hub.ReasonUnpublished, hub.ReasonCodecChanged:
		return ""
	}
	return TypeDenied
}

// fromHub fills in what an event of the hub says.
func fromHub(to *Event, e *hub.Event) {
	to.Time, to.Standby = e.Time, e.Standby
	hidden := ""
	switch s := e.Session; {
	case s == nil:
		to.setKey(e.Key)
	default:
		to.Session = sessionOf(s)
		to.Stream = s.Shown()
		if key := s.Key(); key.String() == to.Stream {
			to.App, to.Name = key.App, key.Name
		} else {
			hidden = key.Name
		}
	}
	if e.Reason != hub.ReasonNone {
		to.Reason = e.Reason.String()
		to.Detail = detail(e.Detail, hidden)
	}
	switch e.Kind {
	case hub.EventUnpublished, hub.EventLeft:
		to.Ended = &Ended{Duration: seconds(e.Duration), Bytes: e.Bytes, Dropped: e.Dropped}
	case hub.EventTracks:
		to.Tracks = tracksOf(e.Tracks)
	}
}

// setKey says which stream it is about.
func (e *Event) setKey(key hub.Key) {
	if key != (hub.Key{}) {
		e.Stream, e.App, e.Name = key.String(), key.App, key.Name
	}
}

// detail returns a sentence without what may be a secret in it: it may quote the client.
func detail(s, hidden string) string {
	if hidden != "" && strings.Contains(s, hidden) {
		return ""
	}
	return clip(beforeQuery(s), maxDetail)
}

// beforeQuery cuts off a query, one that was escaped as well.
func beforeQuery(s string) string {
	s, _, _ = strings.Cut(s, "?")
	if n := strings.Index(strings.ToLower(s), "%3f"); n >= 0 {
		s = s[:n]
	}
	return s
}

// clip shortens a text to so many bytes.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "")
}

// sessionOf returns what is told of a session.
func sessionOf(s *hub.Session) *Session {
	c := s.Client()
	to := &Session{
		ID: s.ID(), Role: s.Role().String(), Protocol: c.Protocol, Address: c.Remote(), Agent: clip(c.Agent, maxAgent),
		Subject: s.Subject(), Method: s.Method(), Recording: clip(beforeQuery(c.Recording), maxID),
	}
	key := s.Key()
	if s.Shown() == key.String() {
		// The app as the client wrote it may hold a secret that was no name in the end.
		if u := publicURL(c.TCURL); u != nil {
			to.TCURL = u.Scheme + "://" + u.Host + (&url.URL{Path: "/" + key.App}).EscapedPath()
		}
	}
	if u := publicURL(c.PageURL); u != nil {
		to.PageURL = u.String()
	}
	if u := publicURL(c.SWFURL); u != nil {
		to.SWFURL = u.String()
	}
	return to
}

// publicURL returns what may be told of a URL that a client shows: no user, no password, no
// query. It is nil for what is none.
func publicURL(s string) *url.URL {
	if s == "" || len(s) > maxURL {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.Host == "" {
		return nil
	}
	path, _, _ := strings.Cut(u.Path, "?")
	return &url.URL{Scheme: u.Scheme, Host: u.Host, Path: path}
}

// tracksOf returns the tracks of a stream.
func tracksOf(tracks []hub.Track) []Track {
	to := make([]Track, 0, len(tracks))
	for _, t := range tracks {
		switch {
		case t.Video != nil:
			v := t.Video
			to = append(to, Track{
				Number: t.Number, Kind: "video", Codec: v.Codec.String(), Profile: v.Profile,
				Width: v.Width, Height: v.Height, FPS: v.FrameRate,
			})
		case t.Audio != nil:
			a := t.Audio
			to = append(to, Track{
				Number: t.Number, Kind: "audio", Codec: a.Codec.String(), Profile: a.Profile,
				SampleRate: a.SampleRate, Channels: a.Channels,
			})
		}
	}
	return to
}

// recordingOf returns what is told of a recording, all of it if it is finished.
func recordingOf(r archive.Recording, finished bool) *Recording {
	to := &Recording{ID: r.ID, Path: r.Path(), Begin: r.Begin}
	if !finished {
		return to
	}
	to.Duration, to.Bytes = seconds(r.Duration), r.Size
	to.Video, to.Audio = codecName(r.Video), codecName(r.Audio)
	to.Width, to.Height = r.Width, r.Height
	to.Gaps, to.GapSeconds, to.State = r.Gaps, seconds(r.GapTime), string(r.State)
	return to
}

// codecName returns the name of a codec, empty for none.
func codecName(c flv.Codec) string {
	if c == 0 {
		return ""
	}
	return c.String()
}

// network returns what counts as one address: an IPv4 address, or a /64 of IPv6, of which
// anybody has 2^64.
func network(a netip.Addr) netip.Prefix {
	a = a.Unmap()
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, err := a.WithZone("").Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
