package admin

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/hub"
	"sluice/web"
)

// Streams is the answer to GET /api/v1/streams:
//
//	?stream=APP/NAME   one, or those that fit a pattern (live/*)
//	&state=live        or grace, waiting
//	&protocol=rtmp     of the publisher
//	&address=…         of the publisher, or network=…
//	&search=TEXT       in whose name or publisher's address that stands, in any case
//	&sort=-viewers     by app and name (stream, the default), bitrate, health (how much is wrong,
//	                   and alike by viewers), since or viewers; a "-" for the other way round
//	&limit=, &cursor=  as for Sessions
type Streams struct {
	Streams []Stream `json:"streams"` // never null
	Next    string   `json:"next,omitempty"`
	Total   int      `json:"total"`
}

// Stream is one stream. Of those that are only waited for, the hub names a thousand.
type Stream struct {
	Stream string `json:"stream"` // App/Name
	App    string `json:"app"`
	Name   string `json:"name"`
	State  string `json:"state"` // "live", "grace" or "waiting"

	Protocol  string    `json:"protocol"`  // of the publisher; "" without one
	Publisher string    `json:"publisher"` // its address and port; "" without one
	Since     *web.Time `json:"since"`     // when it began; null without one
	Bitrate   int64     `json:"bitrate"`   // bits per second

	Standby *Standby `json:"standby,omitempty"` // who stands by for the publisher

	// Of the present publisher, where publishers are measured.
	FrameRate   number       `json:"frame_rate"`            // pictures per second of the last seconds; 0 without any
	KeyInterval *int64       `json:"key_frame_interval_ms"` // between the last two key frames; null while there were not two
	Health      []HealthWord `json:"health"`                // what is wrong with what it sends; never null

	Recorded bool `json:"recorded"` // while it is live: by the configuration, or by hand

	Video  *web.Video  `json:"video"` // null: no such track, or not known yet
	Audio  *web.Audio  `json:"audio"`
	Tracks []web.Track `json:"tracks,omitempty"` // beyond those

	Viewers  web.Viewers `json:"viewers"`
	BytesIn  uint64      `json:"bytes_in"`
	BytesOut uint64      `json:"bytes_out"`
	Dropped  uint64      `json:"dropped"`

	GOPCuts uint64            `json:"gop_cuts"`     // how often a GOP outgrew its bound
	Jumps   uint64            `json:"jumps"`        // how often the publisher's clock jumped
	Filled  uint64            `json:"filled"`       // frames of silence put in
	Skipped map[string]uint64 `json:"skipped_tags"` // tags that were not taken, by reason; never null

	Node string `json:"node,omitempty"` // of a cluster, at which this is so
}

// Standby is a publisher that viewers do not see: the stream goes on with it when the one that they
// see ends or is silent, or when an operator wants it to.
type Standby struct {
	Session   uint64   `json:"session"` // its id
	Protocol  string   `json:"protocol"`
	Publisher string   `json:"publisher"` // its address and port
	Since     web.Time `json:"since"`     // when it began
	Backup    bool     `json:"backup"`    // of the two it is the one with backup=1 in its address
	SilenceMS int64    `json:"silence_ms"`
	Bitrate   int64    `json:"bitrate"`   // bits per second
	Switching bool     `json:"switching"` // an operator wants it to be seen: at its next key frame it is
}

// streams answers GET /api/v1/streams.
func (a *api) streams(r *http.Request) (reply, error) {
	s, err := parseSelection(r.URL.RawQuery, "stream", "state", "protocol", "address", "network", "search", "sort")
	if err != nil {
		return reply{}, err
	}
	order, err := parseOrder(s.values.Get("sort"), "stream", a.streamOrders())
	if err != nil {
		return reply{}, err
	}
	fit := slices.DeleteFunc(a.Hub.Streams(), func(info hub.StreamInfo) bool { return !s.wantsStream(info) })
	said := Streams{Streams: []Stream{}, Total: len(fit)}
	var page []hub.StreamInfo
	if page, said.Next, err = s.pageOfStreams(fit, order); err != nil {
		return reply{}, err
	}
	for i, public := range web.FromHub(page, time.Now()) {
		one := streamOf(page[i], public)
		key := hub.Key{App: one.App, Name: one.Name}
		one.Recorded = a.Recorder != nil && a.Recorder.Records(key)
		a.addStatus(&one, key)
		one.Node, _ = a.self()
		said.Streams = append(said.Streams, one)
	}
	return reply{body: said}, nil
}

// streamOrders returns the words for orders of streams.
func (a *api) streamOrders() map[string]by[hub.StreamInfo] {
	return map[string]by[hub.StreamInfo]{
		"stream":  {text: func(i *hub.StreamInfo) string { return i.App + "\x00" + i.Name }},
		"bitrate": {number: func(i *hub.StreamInfo) int64 { return i.Bitrate }},
		"viewers": {number: func(i *hub.StreamInfo) int64 { return int64(i.Viewers) }},
		"health": {number: func(i *hub.StreamInfo) int64 {
			return int64(a.wrong(hub.Key{App: i.App, Name: i.Name}))<<32 + int64(i.Viewers)
		}},
		"since": {number: func(i *hub.StreamInfo) int64 {
			if i.Since.IsZero() {
				return 0
			}
			return i.Since.UnixNano()
		}},
	}
}

// pageOfStreams returns the page that is asked for of streams, which are sorted by app and name, and
// where the next one begins, "" where none does.
func (s *selection) pageOfStreams(fit []hub.StreamInfo, o order[hub.StreamInfo]) (page []hub.StreamInfo, next string, err error) {
	if !o.isOwn() {
		from, err := s.number()
		if err != nil {
			return nil, "", err
		}
		page, place := o.page(fit, from, s.limit)
		if place > 0 {
			next = strconv.FormatUint(place, 10)
		}
		return page, next, nil
	}
	if s.cursor != "" {
		place, err := decodeCursor(s.cursor)
		if err != nil {
			return nil, "", err
		}
		app, name := cutLast(place)
		fit = slices.DeleteFunc(fit, func(i hub.StreamInfo) bool {
			return cmp.Or(strings.Compare(i.App, app), strings.Compare(i.Name, name)) <= 0
		})
	}
	page = fit[:min(s.limit, len(fit))]
	if len(fit) > len(page) {
		last := page[len(page)-1]
		next = encodeCursor(last.App + "/" + last.Name)
	}
	return page, next, nil
}

func (s *selection) wantsStream(info hub.StreamInfo) bool {
	fits := func(name, value string) bool { return !s.values.Has(name) || s.values.Get(name) == value }
	return fits("state", info.State) && fits("protocol", info.Protocol) &&
		(s.stream == nil || s.stream(info.App+"/"+info.Name)) &&
		(strings.Contains(strings.ToLower(info.App+"/"+info.Name), s.search) || strings.Contains(info.Publisher, s.search)) &&
		(!s.where.IsValid() || s.where.Contains(addressOf(info.Publisher)))
}

// streamOf adds what only operators may know to what the public may.
func streamOf(info hub.StreamInfo, public web.Stream) Stream {
	said := Stream{
		Stream: public.Key, App: public.App, Name: public.Name, State: public.State,
		Protocol: public.Protocol, Publisher: info.Publisher, Bitrate: public.Bitrate,
		Video: web.Finite(public.Video), Audio: public.Audio, Tracks: public.Tracks, Viewers: public.Viewers,
		BytesIn: public.BytesIn, BytesOut: public.BytesOut, Dropped: public.Dropped,
		GOPCuts: info.GOPCuts, Jumps: info.Jumps, Filled: info.Filled, Skipped: info.Skipped,
	}
	for i := range said.Tracks {
		said.Tracks[i].Video = web.Finite(said.Tracks[i].Video)
	}
	if !info.Since.IsZero() {
		said.Since = new(web.Time(info.Since))
	}
	if s := info.Standby; s != nil {
		said.Standby = &Standby{
			Session: s.Session.ID(), Protocol: s.Protocol, Publisher: s.Address, Since: web.Time(s.Since), Backup: s.Backup,
			SilenceMS: s.Silence.Milliseconds(), Bitrate: s.Bitrate, Switching: s.Asked,
		}
	}
	if said.Skipped == nil {
		said.Skipped = map[string]uint64{}
	}
	if said.Viewers.ByProtocol == nil {
		said.Viewers.ByProtocol = map[string]int{}
	}
	return said
}
