package rtmp

import (
	"time"

	"sluice/flv/amf"
)

// AppendFileStart appends the messages that begin the play of a file (RTMP 1.0
// §7.2.2.1): StreamIsRecorded, StreamBegin, NetStream.Play.Reset if reset is set
// (not Request.NoReset), NetStream.Play.Start and |RtmpSampleAccess.
func (s *ServerStream) AppendFileStart(dst []byte, reset bool) []byte {
	size := s.s.srv.chunkSize()
	dst = appendUserControl(dst, eventStreamIsRecorded, s.id)
	dst = appendUserControl(dst, eventStreamBegin, s.id)
	if reset {
		dst = appendStatus(dst, size, s.id, LevelStatus, CodePlayReset, "Playing and resetting.")
	}
	dst = appendStatus(dst, size, s.id, LevelStatus, CodePlayStart, "Started playing.")
	return appendData(dst, size, s.id, rtmpSampleAccess, true, true)
}

// AppendSeek appends the messages that stand between the media of the old position and
// that of the new one: StreamEOF, NetStream.Seek.Notify, up to which ffmpeg throws
// everything away, and StreamBegin.
func (s *ServerStream) AppendSeek(dst []byte) []byte {
	dst = appendUserControl(dst, eventStreamEOF, s.id)
	dst = appendStatus(dst, s.s.srv.chunkSize(), s.id, LevelStatus, CodeSeekNotify, "Seeking.")
	return appendUserControl(dst, eventStreamBegin, s.id)
}

// AppendSeekInvalid appends NetStream.Seek.InvalidTime, for a position that the file does
// not have. It is no LevelError: ffmpeg ends at any.
func (s *ServerStream) AppendSeekInvalid(dst []byte) []byte {
	return s.AppendStatus(dst, LevelStatus, CodeSeekInvalidTime, "The position is behind the end.")
}

// AppendPause appends the message that says that no media comes any more.
func (s *ServerStream) AppendPause(dst []byte) []byte {
	return s.AppendStatus(dst, LevelStatus, CodePauseNotify, pausedText)
}

// AppendUnpause appends the message that says that media follows again.
func (s *ServerStream) AppendUnpause(dst []byte) []byte {
	return s.AppendStatus(dst, LevelStatus, CodeUnpauseNotify, resumedText)
}

// Descriptions of what files and live streams have in common.
const (
	pausedText  = "Paused."
	resumedText = "Resumed."
)

// AppendComplete appends the messages that end the play of a file at its end: StreamEOF,
// NetStream.Play.Complete in an onPlayStatus data message, with the length of what was
// played and its bytes, and NetStream.Play.Stop.
func (s *ServerStream) AppendComplete(dst []byte, played time.Duration, bytes int64) []byte {
	dst = s.appendPlayStatus(dst, CodePlayComplete, played, bytes)
	return s.AppendStatus(dst, LevelStatus, CodePlayStop, "Played to the end.")
}

// AppendSwitch appends the messages that end a play behind which another waits: StreamEOF
// and NetStream.Play.Switch in an onPlayStatus data message. ServerStream.Next is to be
// called then.
func (s *ServerStream) AppendSwitch(dst []byte, played time.Duration, bytes int64) []byte {
	return s.appendPlayStatus(dst, CodePlaySwitch, played, bytes)
}

// appendPlayStatus appends StreamEOF and an onPlayStatus data message.
func (s *ServerStream) appendPlayStatus(dst []byte, code string, played time.Duration, bytes int64) []byte {
	dst = appendUserControl(dst, eventStreamEOF, s.id)
	return appendData(dst, s.s.srv.chunkSize(), s.id, onPlayStatus, amf.Object{
		{Name: "level", Value: LevelStatus},
		{Name: "code", Value: code},
		{Name: "duration", Value: played.Seconds()},
		{Name: "bytes", Value: float64(bytes)},
	})
}

// Next ends the play of a file behind which another waits (FilePlayback.Follow), without
// a word to the client, and begins that. The Playback is closed with a nil error. Next does not
// wait.
func (s *ServerStream) Next() { s.s.post(func() error { return s.s.next(s) }) }
