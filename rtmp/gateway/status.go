package gateway

import (
	"cmp"
	"errors"

	"sluice/flv/amf"
	"sluice/hub"
	"sluice/rtmp"
)

// appendWhy tells a player why it gets no more: that its stream is over, or what else it is.
func appendWhy(dst []byte, s *rtmp.ServerStream, why *hub.Refusal) []byte {
	if why.Reason.Proper() {
		return s.AppendPlayEnd(dst, reason(why)...)
	}
	return s.AppendStatus(dst, rtmp.LevelError, why.Reason.PlayStatus(), words(why), reason(why)...)
}

// publishStatus and playStatus put a refusal of the hub in RTMP's words.

func publishStatus(err error) error { return status(err, hub.Reason.PublishStatus) }

func playStatus(err error) error { return status(err, hub.Reason.PlayStatus) }

func status(err error, code func(hub.Reason) string) error {
	refusal, ok := errors.AsType[*hub.Refusal](err)
	if !ok {
		return err
	}
	level := rtmp.LevelError
	if refusal.Reason.Proper() {
		level = rtmp.LevelStatus
	}
	return &rtmp.StatusError{
		Level:       level,
		Code:        code(refusal.Reason),
		Description: words(refusal),
		Properties:  reason(refusal),
	}
}

// words returns what people are told.
func words(r *hub.Refusal) string {
	text := cmp.Or(r.Detail, r.Reason.String())
	if r.Reason == hub.ReasonLoop { // as HTTP has it: other kinds of servers look for numbers there
		text += " (code=508)"
	}
	return text
}

// reason returns what relays are told.
func reason(r *hub.Refusal) amf.Object {
	return amf.Object{{Name: hub.ReasonProperty, Value: r.Reason.String()}}
}
