// Package event tells others what happens: an endpoint that is posted to ([Webhook]), a
// program that is run ([Exec]), and those who ask for the last of it ([Ring]).
//
//	hub.Config.Observe ─▶ Observe ──┐
//	record.Config.Observe ─▶ Recorded ─▶ spool (file) ─┤
//	monitor.Config.Observe ─▶ Watched ─────────────────┤
//	relay.Config.Told ─▶ Relayed ──────────────────────┤
//	Started, Draining, every Update ┘                  ▼
//	                                              Notifier ─┬─▶ queue ─▶ Webhook
//	                                                        ├─▶ queue ─▶ Exec
//	                                                        └─▶ Ring
//
// Whatever becomes of the receivers, who calls in never waits and memory is bounded. An event
// is told at least once: who gets one twice knows it by its ID. Events of one stream come in
// their order, one after the other; those of different streams may overtake each other.
//
// No event holds the query of a client, or anything else in which a secret may stand.
package event

import (
	"time"
)

// Type says what happened, as it stands in JSON.
type Type string

// The types. A publish has exactly one unpublish, and a play one stop, unless a gap tells that
// events are missing.
const (
	TypeStarted  Type = "server.started"
	TypeDraining Type = "draining" // the server is told to end: soon nobody comes in any more

	TypePublish   Type = "publish"
	TypeUnpublish Type = "unpublish" // the stream may go on for its grace time
	TypePlay      Type = "play"      // a viewer gets its first frame
	TypeStop      Type = "stop"
	TypeTracks    Type = "tracks"   // viewers are told of other tracks, codecs or formats than before
	TypeSwitched  Type = "switched" // the stream goes on with the publisher that stood by
	TypeWanted    Type = "wanted"   // there are viewers for a stream that nobody publishes
	TypeUnwanted  Type = "unwanted" // nobody waits for it or watches it any more
	TypeDenied    Type = "denied"   // a session never began
	TypeKicked    Type = "kicked"   // an operator ended a session, whose unpublish or stop follows if it had begun

	TypeHealth Type = "health" // something is wrong with what a publisher sends, or no longer is

	TypeRelay Type = "relay" // a stream that is pulled or pushed goes live, or is no longer

	TypeRecordBegun    Type = "record.begun"
	TypeRecordFinished Type = "record.finished"

	TypeUpdate Type = "update" // a batch of the sessions that there are
	TypeGap    Type = "gap"    // events are missing
)

// Event is something that happened. Its JSON form is what receivers get; what does not apply is
// left out. It is never changed once it is told.
type Event struct {
	// ID is the same however often and to whomever the event is told, after a restart as well.
	ID string `json:"id"`
	// Seq numbers what one receiver is told, from 1 on at each start of the server, by one at a
	// time. A number that never comes is one that Lost of a gap counts.
	Seq    uint64    `json:"seq"`
	Type   Type      `json:"type"`
	Time   time.Time `json:"time"`
	Server string    `json:"server"` // Config.Server
	// Stream is APP/NAME. Of a publisher that was refused it may be something that stands for
	// a name which is not to be shown; App and Name are empty then.
	Stream string `json:"stream,omitempty"`
	App    string `json:"-"`
	Name   string `json:"-"`

	// Session is whose event it is: the publisher's with tracks, the one's that is shown now with
	// switched, the first viewer's with wanted.
	Session *Session `json:"session,omitempty"`
	// Standby says, with publish and unpublish, that viewers do not see this publisher: it stands by.
	Standby bool `json:"standby,omitempty"`
	// Reason and Detail say why a session ended or was refused, in a fixed set of words and in
	// a sentence.
	Reason string `json:"reason,omitempty"`
	Detail string `json:"detail,omitempty"`

	*Ended // nil unless a session ended; its fields stand among the others in JSON

	Tracks    []Track    `json:"tracks,omitempty"`    // with tracks: video before audio, by number
	Recording *Recording `json:"recording,omitempty"` // with record.begun and record.finished
	Health    *Health    `json:"health,omitempty"`    // with health
	Relay     *Relay     `json:"relay,omitempty"`     // with relay, whose Detail says why
	Sessions  []Running  `json:"sessions,omitempty"`  // with update: at most updateBatch

	// LeftOut is how many events of this kind and address were not told just before, with
	// denied. One without a session only tells of these.
	LeftOut uint64 `json:"left_out,omitempty"`
	// Address is that of the clients in LeftOut, or the network that counts as one address;
	// empty for several addresses together.
	Address string `json:"address,omitempty"`

	// Lost is how many events are missing, with gap, among the numbers from LostFrom to LostTo.
	Lost     uint64 `json:"lost,omitempty"`
	LostFrom uint64 `json:"lost_from,omitempty"`
	LostTo   uint64 `json:"lost_to,omitempty"`
}

// Session is what is told of a publisher or viewer.
type Session struct {
	ID       uint64 `json:"id"`
	Role     string `json:"role"`     // "publish" or "watch"
	Protocol string `json:"protocol"` // "rtmp", "http-flv", "ws-flv"
	Address  string `json:"address"`  // HOST:PORT of the client; empty for a part of this process
	Agent    string `json:"agent,omitempty"`
	Subject  string `json:"subject,omitempty"` // who it is, where a method of permission knows that
	Method   string `json:"method,omitempty"`  // the method that granted it
	// Recording is the id of the recording that a viewer plays; empty for the stream itself.
	Recording string `json:"recording,omitempty"`

	// For formats of others, without user names, passwords and queries.
	TCURL, PageURL, SWFURL string `json:"-"`
}

// Ended are the figures of a session that ended.
type Ended struct {
	Duration Seconds `json:"duration"`
	Bytes    uint64  `json:"bytes"`   // of tags taken from a publisher, or sent to a viewer in its protocol's form
	Dropped  uint64  `json:"dropped"` // packets that a viewer was not sent because it was too slow
}

// Running is a session that there is, with update.
type Running struct {
	Session
	Stream  string    `json:"stream"`
	State   string    `json:"state"` // "asking", "waiting", "running"
	Since   time.Time `json:"since"`
	Bytes   uint64    `json:"bytes"`
	Dropped uint64    `json:"dropped"`
	// Standby says that it is a publisher that stands by for another one.
	Standby bool `json:"standby,omitempty"`
}

// Track is one track of a stream.
type Track struct {
	Number     uint8   `json:"track"`
	Kind       string  `json:"kind"`  // "video" or "audio"
	Codec      string  `json:"codec"` // "H.264", "AAC", …
	Profile    string  `json:"profile,omitempty"`
	Width      int     `json:"width,omitempty"` // pixels
	Height     int     `json:"height,omitempty"`
	FPS        float64 `json:"fps,omitempty"`
	SampleRate int     `json:"sample_rate,omitempty"` // Hz
	Channels   int     `json:"channels,omitempty"`
}

// Recording is one file.
type Recording struct {
	ID    string    `json:"id"`
	Path  string    `json:"path"` // in the folder of recordings, with slashes
	Begin time.Time `json:"begin"`
	// Recovered says that the process that wrote the file had died before it was finished, or
	// before it could tell.
	Recovered bool `json:"recovered,omitempty"`

	// With record.finished. Video and Audio are codecs, empty without such a track.
	Duration   Seconds `json:"duration,omitempty"`
	Bytes      int64   `json:"bytes,omitempty"`
	Video      string  `json:"video,omitempty"`
	Audio      string  `json:"audio,omitempty"`
	Width      int     `json:"width,omitempty"` // pixels
	Height     int     `json:"height,omitempty"`
	Gaps       int     `json:"gaps,omitempty"` // where something is missing that a slow disk cost
	GapSeconds Seconds `json:"gap_seconds,omitempty"`
	State      string  `json:"state,omitempty"` // "finished" or "disk full"
}

// Seconds are seconds in JSON, to the millisecond.
type Seconds float64

// seconds returns a duration in them.
func seconds(d time.Duration) Seconds { return Seconds(float64(d.Milliseconds()) / 1e3) }
