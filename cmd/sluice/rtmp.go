package main

import (
	"context"
	"log/slog"
	"net"
	"time"

	"sluice/cmd/sluice/admission"
	"sluice/hub"
	"sluice/hub/fanout"
	"sluice/rtmp"
	"sluice/rtmp/gateway"
)

// newRTMP returns the server of RTMP.
func (s *service) newRTMP(cfg *config, log *slog.Logger) *rtmp.Server {
	var disguise func(app, name string) string // of the hub, in the protocol's terms
	if p := cfg.permission; p != nil && p.disguises {
		disguise = func(app, name string) string { return p.mark.Disguise(hub.Key{App: app, Name: name}) }
	}
	handler := &gateway.Handler{
		Hub: s.hub, Pool: s.pool,
		Rewind:  func(v *hub.Viewer) fanout.Lead { return s.rewind(v, false) },
		Archive: s.own, Reconnect: s.reconnect,
	}
	if s.union != nil {
		handler.Elsewhere = s.union.Find
	}
	return &rtmp.Server{
		Handler: markingActive{handler}, Logger: log, Poll: s.poll,
		Disguise: disguise,
		// The hub has given up before.
		AuthorizeTimeout: cfg.authorizeTimeout + 5*time.Second,
		// A viewer that takes nothing is for the pool to judge.
		DeadPeerTimeout: max(time.Minute, cfg.StallTimeout+10*time.Second),
	}
}

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
