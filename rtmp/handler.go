package rtmp

import (
	"context"
	"net/url"
	"time"

	"sluice/flv"
)

// A Handler decides who may publish and play, takes what publishers send and
// feeds players. Its methods are called by the goroutine that reads the connection
// at the time: while one of them runs, that connection reads nothing, and other
// connections call at the same time.
type Handler interface {
	// Publish is asked when a client wants to publish on message stream s. With a
	// nil error the server answers NetStream.Publish.Start, and every audio, video
	// and data message on that message stream goes to the Publication until its
	// Close.
	//
	// An error refuses: it is answered by onStatus (a *StatusError in its chain
	// chooses the words, otherwise NetStream.Publish.Rejected), flushed, and the
	// connection is closed, unless another message stream of it still publishes
	// or plays.
	Publish(s *ServerStream, r *Request) (Publication, error)

	// Play is asked for play and play2. It should return soon: a player that has to
	// wait for its publisher waits in a Playback. The server sends nothing after a
	// nil error; the Handler begins, before or after Play returns and from any
	// goroutine, with ServerStream.AppendPlayStart when there is something to
	// play, or ends with ServerStream.Fail.
	//
	// An error refuses as with Publish; the words are NetStream.Play.Failed if no
	// *StatusError chooses others.
	Play(s *ServerStream, r *Request) (Playback, error)
}

// An Authorizer is a Handler that has to be asked before its Publish and Play. A
// Handler that wraps another must pass this method on.
type Authorizer interface {
	Handler

	// Authorize is asked when a client wants to publish, or to play if publish is
	// false, on message stream s. It returns at once. answer is to be called once,
	// from any goroutine, also before Authorize returns; further calls do nothing.
	// With nil, Publish or Play is called next with the same s and r; an error
	// refuses as one of theirs does.
	//
	// Until the answer the server sends the client nothing, and handles nothing of
	// what it sends behind the publish or play: up to 64 KiB are read and kept, in
	// order, for after the answer, also what is for other message streams of the
	// connection.
	//
	// ctx ends when the client leaves, when the server closes the session, with an
	// answer, and at its deadline (Server.AuthorizeTimeout), with the cause
	// ErrAuthorizeTimeout: the client is refused then. After ctx's end an answer is
	// ignored. ctx's cause is context.Canceled if Publish or Play is called next;
	// otherwise neither is, even if the answer was nil.
	Authorize(ctx context.Context, s *ServerStream, r *Request, publish bool, answer func(error))
}

// A Node is a Handler whose server has an id among those that relay streams to each other. A
// client that has a Request.Path is told it in the answer to connect, as sluiceNode. A Handler
// that wraps another must pass this method on.
type Node interface {
	Handler

	// Node returns the id, empty for none. It must not change.
	Node() string
}

// Properties of connect and of its answer that this server and its clients know and others do not.
const (
	PropertyPath = "sluicePath"
	PropertyNode = "sluiceNode"
)

// A Publication takes what one publisher sends on one message stream. Calls come one
// at a time, from the goroutine that reads the connection at the time.
type Publication interface {
	// WriteTag takes the next audio, video or data message. Data is valid only
	// during the call. Bodies are as sent, with these exceptions for data
	// messages, which arrive as flv.TypeScript in AMF0 and begin with their name:
	// the name @setDataFrame that publishers put before "onMetaData" is taken off;
	// @clearDataFrame arrives as the name that it clears with an empty ECMA array;
	// the AMF3 form is brought to AMF0. Aggregate messages are taken apart.
	//
	// An error ends the message stream as ServerStream.Fail does.
	WriteTag(t flv.Tag) error

	// Close ends the publication. It is called exactly once, and nothing else is
	// called after it. err is nil if the publisher said that it stops (FCUnpublish,
	// closeStream, deleteStream). Otherwise it is why the connection ended, such as
	// an error that wraps io.EOF for a peer that just went away, ErrPublishIdle for
	// one that fell silent, or what WriteTag, ServerStream.Fail or
	// ServerStream.CloseConn were given.
	Close(err error)
}

// A Playback is one player on one message stream. Calls come one at a time, from
// the goroutine that reads the connection at the time; they should return soon.
type Playback interface {
	// Pause stops and resumes the media of the stream. The notification that the
	// player expects is sent by the server, after Pause(true) returned and before
	// Pause(false) is called. at is where the player says that it is, on the clock of
	// the timestamps that it was sent; it means nothing to a live stream.
	Pause(on bool, at time.Duration)
	// ReceiveAudio says whether the player wants audio; it does until told
	// otherwise.
	ReceiveAudio(on bool)
	// ReceiveVideo says whether the player wants video; it does until told
	// otherwise.
	ReceiveVideo(on bool)
	// Close ends the playback. It is called exactly once, and nothing else is
	// called after it. When it has returned, the Handler must write no further
	// media of this message stream. err is nil if the player said that it stops or
	// plays something else, and otherwise as with Publication.
	Close(err error)
}

// A Request is what a client asked for with publish, play or play2.
type Request struct {
	// App and Name identify the stream. They are canonical: percent escapes
	// decoded once, queries, "/_definst_", "mp4:" and "flv:" prefixes, a ".flv"
	// suffix and superfluous slashes removed, and the whole path divided at its
	// last slash, so that app "live/a" with name "b/c" (ffmpeg) and app
	// "live/a/b" with name "c" (rtmpdump) are the same stream. A name that is a
	// whole URL or begins with the app once more is taken without scheme, host and
	// that app: "rtmp://host/live/x" and "live/x" in app "live" are "x", as OBS
	// sends them where somebody typed all of it as the stream key; "live" in app
	// "live" is a name like others. App may contain
	// slashes, Name never does; both are valid UTF-8 without control characters and
	// without "?", "%", and "." and ".." segments, at most 255 bytes each. Any other
	// character may be in them, those that file systems reserve included: the Handler
	// refuses what it does not want.
	App, Name string

	// Query holds the parameters that came with name, app and tcUrl; where several
	// of them have a key, the first of this order counts. A "+" stays a "+". It
	// holds secrets: it must never be logged.
	Query url.Values

	// Type is "live", "record" or "append" for publish ("live" if the client said
	// nothing), and empty for play.
	Type string

	// Start is play's start argument as sent: RTMP 1.0 §7.2.2.1 says seconds with
	// -2 for "live, else recorded" and -1 for "live only", players send
	// milliseconds (-2000, -1000, 0; ffmpeg, librtmp and Flash Player alike). It means
	// nothing to a live stream. StartTime reads it.
	Start float64

	// Position is where the play was that this one takes over from by play2, on the
	// clock of its file; 0 where there was none, or none of a file.
	Position time.Duration

	// NoReset says that the player does not take the stream for a new one: it follows
	// another in the player's queue (play with reset false), or takes over from another
	// (play2). It is not told NetStream.Play.Reset then.
	NoReset bool

	// Buffer is how far ahead of what it shows the player takes media, as it said by
	// SetBufferLength; 0 if it has said nothing yet.
	Buffer time.Duration

	// Duration is for how long a player wants to play: 0 for none, which is to the
	// end, otherwise from 1 ms to a year. It comes from play's duration argument, or
	// play2's len, both in milliseconds, as librtmp ("rtmpdump --live --stop") and
	// Flash Player send them although RTMP 1.0 §7.2.2.1 says seconds. The Handler keeps
	// it, and ends the play with ServerStream.AppendPlayStop and End.
	Duration time.Duration

	// Host is the host of the URL of the connect command, with its port if it has
	// one. TcURL is that URL without its query, user and password; FlashVer is the
	// client's name for itself. They are at most 256 bytes each, and what the client
	// wrote: they may be shown, quoted.
	Host, TcURL, FlashVer string

	// FullTcURL is the URL of the connect command, PageURL that of the page and SWFURL
	// that of the program in which a player in a browser runs, as the client wrote
	// them: at most 8 KiB for FullTcURL, and 2 KiB for the others, which are cut there.
	// They may hold secrets: they must never be logged.
	FullTcURL, PageURL, SWFURL string

	// Path is what connect says in its property sluicePath, of a client that is a server of
	// this kind: by way of which servers the stream comes, or for which it is wanted. "?" stands
	// for one of more than 1 KiB.
	Path string

	// Secure says that the connection is encrypted (TLS).
	Secure bool

	// Capabilities are what the client said of Enhanced RTMP.
	Capabilities Capabilities

	// Value is the Handler's own: what an Authorizer puts there is there in Publish and
	// Play, and what a Lengther puts there in the play that follows.
	Value any
}

// StartTime returns from where a file is to be played, as Start says in milliseconds: 0
// for its beginning, which is what everything negative means, live or recorded alike. A
// value in seconds, as RTMP 1.0 has it, is of no client that is known, and nothing tells
// it from one in milliseconds.
func (r *Request) StartTime() time.Duration { return milliseconds(r.Start) }

// Key returns App + "/" + Name.
func (r *Request) Key() string { return r.App + "/" + r.Name }
