package main

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sluice/hub"
	"sluice/rtmp"
	"sluice/web/admin"
)

// drain is what the end of a server by the book has come to.
//
//	serving ──BeginDrain──▶ unready ──SLUICE_DRAIN_DELAY──▶ HandOver: nobody new ──▶ Move ──▶ Shutdown
//	                                                         no client publishes    all who can move
//	                                                         here any more, and     have left, or
//	                                                         viewers see the new    moveTimeout is
//	                                                         ones, or               over
//	                                                         handOverTimeout is
//	                                                         over
//
// HandOver is for a node of a cluster with others that go on: its publishers leave first, and its viewers get
// their streams from other nodes. A server that is alone has nothing to hand over, and asks publishers and viewers at
// once. From HandOver on it takes drainTimeout at the most. Unready means that /readyz says no, so that a load
// balancer sends nobody more: all is served as ever until it has noticed.
type drain struct {
	DrainSettings
	once    sync.Once
	began   atomic.Bool
	refuses atomic.Bool // nobody new comes in

	nodes      otherNodes
	handedOver bool // publishers were sent to other nodes, before viewers

	// onBegin are called when it begins, one after the other, before anything else of it: they must
	// be set before the service starts, and return at once.
	onBegin []func()
}

// BeginDrain begins the drain; see server.
func (s *service) BeginDrain() time.Duration {
	s.drain.once.Do(func() {
		s.drain.began.Store(true)
		for _, f := range s.drain.onBegin {
			f()
		}
		if s.notifier != nil {
			s.notifier.Draining()
		}
	})
	return s.drain.DrainDelay
}

// HandOver has publishers go on at other nodes; see server.
func (s *service) HandOver(ctx context.Context) {
	s.BeginDrain()
	of := s.cluster.get()
	if of == nil {
		return
	}
	began := time.Now()
	s.drain.refuses.Store(true)
	s.drain.nodes.look(s.cluster)
	h, ok := of.HandOver(ctx)
	if s.drain.handedOver = ok; ok {
		s.log.Info("publishers go on at other nodes", "asked", h.Asked, "ended", h.Ended, "moved", h.Moved, "left", h.Left,
			"after", time.Since(began))
	}
}

// Move lets nobody in any more and waits for those who can move; see server.
func (s *service) Move(ctx context.Context) {
	s.BeginDrain()
	s.drain.refuses.Store(true)
	s.hub.RefuseNew()
	s.drain.nodes.look(s.cluster)
	moving := s.rtmp.RequestReconnect(s.reconnect)
	select {
	case <-moving.Left():
	case <-ctx.Done():
	}
	asked, there := moving.Figures()
	left := asked - min(asked, there)
	switch {
	case s.drain.handedOver:
		s.log.Info("viewers go on at other nodes", "asked", asked, "left", left, "ended", s.countViewers())
	case asked > 0:
		s.log.Info("clients were asked to reconnect", "asked", asked, "left", left)
	}
}

// countViewers returns how many watch, or wait for a stream.
func (s *service) countViewers() (n int) {
	for _, i := range s.hub.Sessions() {
		if i.Session.Role() == hub.RoleWatch {
			n++
		}
	}
	return n
}

// reconnect returns what is asked of a client of an app, as it sent that: where nothing is said of all, each goes to
// another node, one after the other.
func (s *service) reconnect(app string, secure bool) rtmp.Reconnect {
	address := s.drain.DrainURL
	if address == "" {
		address = s.drain.nodes.next(secure)
	}
	return reconnectTo(address, app, secure)
}

// otherNodes are the addresses of nodes to which clients are sent in turn.
type otherNodes struct {
	addresses atomic.Pointer[[]string]
	turn      atomic.Uint64
}

// next returns the address whose turn it is, of those with TLS where the client is to have that; empty for none.
func (o *otherNodes) next(secure bool) string {
	all := o.addresses.Load()
	if all == nil {
		return ""
	}
	fit := slices.DeleteFunc(slices.Clone(*all), func(a string) bool { return secure && !strings.HasPrefix(a, "rtmps:") })
	if len(fit) == 0 {
		return ""
	}
	return fit[o.turn.Add(1)%uint64(len(fit))]
}

// look finds out which nodes there are now.
func (o *otherNodes) look(c *clustered) {
	found := c.elsewhere()
	o.addresses.Store(&found)
}

// endDrain is for Shutdown, where it may not even have begun: nobody waits for events any more.
func (s *service) endDrain() {
	s.BeginDrain()
	if s.notifier != nil {
		s.notifier.Ring().End()
	}
}

// draining says how far the drain has come, nil if it has not begun.
func (s *service) draining() error {
	select {
	case <-s.hub.Closing():
		return admin.Draining("the server is shutting down")
	default:
	}
	switch {
	case s.drain.refuses.Load():
		return admin.Draining("the server is about to end: nobody new comes in, and who can reconnect elsewhere is asked to")
	case s.drain.began.Load():
		return admin.Draining("the server is about to end: everybody is still served")
	}
	return nil
}

// moveTimeout bounds how long those have who can move, and handOverTimeout how long publishers have before, where there are
// other nodes; movedTimeout bounds both together. They are parts of drainTimeout.
const (
	moveTimeout     = drainTimeout / 2
	handOverTimeout = drainTimeout * 2 / 5
	movedTimeout    = drainTimeout * 7 / 10
)

// leave drains svc, which has been told to end, or of which a part has failed already.
func leave(ctx context.Context, svc server, failed <-chan error, code int, log *slog.Logger) int {
	if delay := svc.BeginDrain(); delay > 0 && code == exitOK {
		log.Info("everything is served as ever until the delay is over", "delay", delay)
		wait := time.NewTimer(delay)
		defer wait.Stop()
		select {
		case <-wait.C:
		case err := <-failed:
			log.Error("cannot go on", "error", err)
			code = exitFailure
		}
	}
	began := time.Now()
	bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	handing, stop := context.WithTimeout(bound, handOverTimeout)
	svc.HandOver(handing)
	stop()
	moving, stop := context.WithTimeout(bound, min(moveTimeout, movedTimeout-time.Since(began)))
	svc.Move(moving)
	stop()
	if err := svc.Shutdown(bound); err != nil {
		log.Warn("stopped, not everybody ended in time", "error", err, "after", time.Since(began))
	} else {
		log.Info("stopped", "after", time.Since(began))
	}
	return code
}
