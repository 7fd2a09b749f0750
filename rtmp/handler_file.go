package rtmp

import (
	"context"
	"time"
)

// A FilePlayback is a Playback of a file: of what has positions. It has the word for
// everything that has to stand in order with its media, since only who sends media
// knows where it stands: the server tells the player nothing of a seek or a pause, nor of
// the end. The messages are made by ServerStream:
//
//	begin      AppendFileStart
//	Seek       AppendSeek, then codec headers and media; or AppendSeekInvalid
//	Pause      AppendPause, AppendUnpause
//	the end    AppendComplete, or AppendPlayStop where Request.Duration is over. Then the
//	           player may still seek: the playback lasts until its Close, or ServerStream.End
//	the end, where another play follows (Follow)
//	           AppendSwitch, then ServerStream.Next
//
// Its methods return at once, as all of Playback do: they are for the goroutine that
// sends media to take note of. What they ask for is done in order.
type FilePlayback interface {
	Playback

	// Seek asks for what comes from the key frame at or before a position, on the clock of
	// the file.
	Seek(to time.Duration)

	// SetBuffer says how far ahead of what it shows the player takes media, at least
	// 1 ms (user control event SetBufferLength, RTMP 1.0 §7.1.7). Request.Buffer has what
	// came before play.
	SetBuffer(ahead time.Duration)

	// Follow says that another play waits for the end of this one, once or more often. At the
	// end, or at once if that is over, ServerStream.Next is to be called.
	Follow()

	// Position returns up to where media was sent, on the clock of the file. play2 goes on
	// there.
	Position() time.Duration
}

// A Lengther is a Handler that knows how long files are. A Handler that wraps another
// must pass its methods on.
type Lengther interface {
	Handler

	// StreamLength is asked for the length of a stream (getStreamLength, which ffmpeg
	// sends before play). It returns at once. answer is to be called once, from any
	// goroutine, also before StreamLength returns; further calls do nothing. 0 is for what
	// has no length, is not there, or must not be seen.
	//
	// Meanwhile the session is in the same state as while an Authorizer is asked, with the same
	// bounds, and ctx ends in the same way; a deadline that passes is answered with 0.
	//
	// Who is asked for permission here need not be asked again: a Value that r has when
	// answer is called is that of the Request of a play of the same name that comes next,
	// which Authorize and Play are given. If another play comes, or another question for a
	// length, or the connection ends, Forget is called for r instead; not so if the answer
	// came too late, which ctx tells.
	StreamLength(ctx context.Context, s *ServerStream, r *Request, answer func(time.Duration))

	// Forget says that the Value which StreamLength has put into r is not used. err is why
	// the connection ended, nil if it goes on.
	Forget(r *Request, err error)
}
