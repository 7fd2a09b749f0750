package main

import (
	"context"
	"net"

	"sluice/cmd/sluice/admission"
	"sluice/rtmp"
	"sluice/rtmp/gateway"
)

// poll lets the intake wait for an RTMP connection.
func (s *service) poll(c net.Conn, run func()) (rtmp.Polled, error) {
	source, err := s.intake.Add(c, run)
	if err != nil {
		return nil, err // not source, which as an interface would not be nil
	}
	admission.OnGivenUp(c, source.Wake)
	return source, nil
}

// markingActive is the gateway's Handler that also tells the admission who asks, publishes
// and plays.
type markingActive struct{ *gateway.Handler }

// Authorize asks the Handler.
func (h markingActive) Authorize(
	ctx context.Context, s *rtmp.ServerStream, r *rtmp.Request, publish bool, answer func(error),
) {
	admission.MarkAsking(s.NetConn())
	h.Handler.Authorize(ctx, s, r, publish, func(err error) {
		if err != nil {
			admission.MarkPending(s.NetConn())
		}
		answer(err)
	})
}

// Publish asks the Handler.
func (h markingActive) Publish(s *rtmp.ServerStream, r *rtmp.Request) (rtmp.Publication, error) {
	p, err := h.Handler.Publish(s, r)
	if err == nil {
		admission.MarkActive(s.NetConn())
	}
	return p, err
}

// Play asks the Handler.
func (h markingActive) Play(s *rtmp.ServerStream, r *rtmp.Request) (rtmp.Playback, error) {
	p, err := h.Handler.Play(s, r)
	if err == nil {
		admission.MarkActive(s.NetConn())
	}
	return p, err
}
