// Package why answers the question why a viewer's picture is black: with a code of a fixed
// set, a sentence for operators, and the times that go with it. It is a function of what is
// known of the viewer, and asks nobody.
//
// The answer is the first that fits of a list (reasons), in which what explains most comes
// first: a viewer that has not started waits for something; one that has is shown nothing as
// it asked for that, or since its player cannot show it; then come faults of the publisher,
// and then those of its own connection. Nothing in an answer was said by a client.
package why

import (
	"time"

	"sluice/flv"
	"sluice/hub"
)

// Code is the answer in one word, of a fixed set.
type Code string

// The codes, in the order in which they are tried.
const (
	WaitsPermission   Code = "waits_permission"     // the policy is asked
	Recording         Code = "recording"            // it plays a recording
	WaitsPublisher    Code = "waits_publisher"      // nobody publishes the stream
	WaitsTrack        Code = "waits_track"          // a track of the publisher has not come yet
	WaitsCodecHeader  Code = "waits_codec_header"   // no track has the header without which it can't be shown
	WaitsKeyFrame     Code = "waits_key_frame"      // there is no key frame to start at
	Rewinding         Code = "rewinding"            // it is given what was recorded before it goes on live
	Paused            Code = "paused"               // by its player
	OnlyAudio         Code = "only_audio"           // it asked for the stream without video
	VideoOff          Code = "video_off"            // its player has turned video off
	NoVideo           Code = "no_video"             // the stream has none
	UnplayableCodec   Code = "unplayable_codec"     // its player probably cannot play what it gets
	Ended             Code = "ended"                // the stream has, and the viewer gets what is left
	PublisherLeft     Code = "publisher_left"       // and the stream is held for it
	PublisherSilent   Code = "publisher_silent"     // it is connected, and sends nothing
	Congested         Code = "congested"            // its connection does not take what is due
	Unacknowledged    Code = "unacknowledged"       // its peer does not take what was sent
	SkippedToKeyFrame Code = "skipped_to_key_frame" // video is left out up to the next key frame
	Behind            Code = "behind"               // it is late, and none of the above
	Starting          Code = "starting"             // it has had no frame yet, for no other reason
	OK                Code = "ok"                   // nothing is known to be wrong
)

// Codes returns all codes, in the order in which they are tried.
func Codes() []Code {
	all := make([]Code, 0, len(reasons)+1)
	for _, r := range reasons {
		all = append(all, r.code)
	}
	return append(all, OK)
}

// Thresholds.
const (
	// silentAfter is how long a publisher may send nothing before that is an answer. Also a slow
	// one, of a still picture with sound, sends several packets a second.
	silentAfter = 2 * time.Second
	// congestedAfter is the same for a connection that does not take what is due: most are full
	// for a moment at each key frame.
	congestedAfter = time.Second
	// unansweredAfter is the same for a peer from which nothing is heard while bytes are
	// under way to it.
	unansweredAfter = 2 * time.Second
	// resentOften is how often bytes have to be sent again before that is an answer.
	resentOften = 2
	// closedOften is how often a peer that has no room may be asked for it before that is an
	// answer: 3 s. A player that begins with more than it likes to keep leaves the rest where it
	// arrived, and has room again each time it has played some of it.
	closedOften = 4
	// behindAfter is how late a viewer is, for no known reason, before that is an answer.
	// Packets may be merged for less than 200 ms.
	behindAfter = time.Second
)

// Known is what is known of a viewer.
type Known struct {
	Now      time.Time
	Protocol string // hub.Client.Protocol
	Agent    string // hub.Client.Agent: only looked at
	Plays    bool   // a recording
	State    hub.SessionState
	Since    time.Time      // since when it is in that state
	Dropped  uint64         // packets that it was too slow for
	Viewer   hub.ViewerInfo // of a session that is in a stream
}

// Answer is why a viewer's picture is black, if it is.
type Answer struct {
	Code     Code
	Sentence string
	// Since is when it began, and Expected when it should be over; the zero Time where that is
	// not known.
	Since, Expected time.Time
	Codec           flv.Codec // which is not played; 0 if that is not the answer
}

// reason is one possible answer; explain reports false where it does not hold.
type reason struct {
	code    Code
	explain func(*Known) (Answer, bool)
}

// reasons are tried one after the other.
var reasons = []reason{
	{WaitsPermission, waitsPermission},
	{Recording, recording},
	{WaitsPublisher, waitsPublisher},
	{WaitsTrack, waitsTrack},
	{WaitsCodecHeader, waitsCodecHeader},
	{WaitsKeyFrame, waitsKeyFrame},
	{Rewinding, rewinding},
	{Paused, paused},
	{OnlyAudio, onlyAudio},
	{VideoOff, videoOff},
	{NoVideo, noVideo},
	{UnplayableCodec, unplayableCodec},
	{Ended, ended},
	{PublisherLeft, publisherLeft},
	{PublisherSilent, publisherSilent},
	{Congested, congested},
	{Unacknowledged, unacknowledged},
	{SkippedToKeyFrame, skippedToKeyFrame},
	{Behind, behind},
	{Starting, starting},
}

// Of returns the answer for a viewer.
func Of(k Known) Answer {
	for _, r := range reasons {
		if a, holds := r.explain(&k); holds {
			a.Code = r.code
			return a
		}
	}
	return Answer{Code: OK, Sentence: fine(&k)}
}
