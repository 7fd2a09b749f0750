package cluster

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"sluice/flv"
	"sluice/hub"
)

// notGiven is the error of a node that refuses: its publisher has not begun, or is over, or it takes this node for a stranger. It
// is no refusal of this hub's.
type notGiven struct{ why string }

func (e *notGiven) Error() string { return "the node refuses: " + e.why }

// copyFrom copies from an owner until the connection ends. The error is *Ended where the stream is over, a *hub.Refusal where
// this hub takes no more, and something else where it is to be tried again.
func (e *edge) copyFrom(o *owner) error {
	opening := Opening{Address: o.Media, Boot: o.Boot, Key: e.name.key}
	if e.last.Incarnation != "" {
		from := e.last
		from.Number++
		opening.From = &from
	}
	ctx, cancel := context.WithTimeout(e.ctx, startWithin)
	e.from.Store(&connection{owner: o, stop: cancel})
	defer e.from.Store(nil)
	src, err := e.cfg.Open(ctx, opening)
	cancel()
	if err != nil {
		if refusal, refused := errors.AsType[*hub.Refusal](err); refused {
			return &notGiven{refusal.Error()}
		}
		return err
	}
	conn := &connection{owner: o, stop: func() { src.Close() }, since: time.Now()}
	e.from.Store(conn)
	defer src.Close()
	if e.isBefore(o) { // heard between the two
		return ErrStale
	}
	defer context.AfterFunc(e.ctx, func() { src.Close() })()
	start := src.Start()
	joined := start.Joined
	if e.pub == nil {
		e.held, e.heldSize = nil, 0 // of a connection before
	} else {
		e.note(func(s *EdgeState) {
			s.Breaks++
			if joined {
				s.Joined++
			}
		})
	}
	for begun := false; ; {
		it, err := src.Next()
		if err != nil {
			e.broken = time.Now()
			if e.ctx.Err() != nil {
				return context.Cause(e.ctx)
			}
			return err
		}
		if err := e.take(&it, &start, &begun); err != nil {
			return err
		}
		now := time.Now()
		if it.Tag.Type != 0 {
			conn.came.Store(int64(now.Sub(conn.since)))
		}
		if now.Sub(e.looked) >= lookEvery {
			if e.looked = now; e.isUnwatched() {
				return errUnwatched
			}
		}
	}
}

// take takes what comes next. begun says whether something of this connection has been taken already.
func (e *edge) take(it *Item, start *Start, begun *bool) error {
	if it.Lost > 0 {
		e.note(func(s *EdgeState) { s.Lost += it.Lost })
	}
	if it.Tag.Type == 0 { // a sign of life
		return nil
	}
	if !e.last.precedes(it.At) {
		return nil // where it began further back than it had to
	}
	if e.pub == nil {
		return e.publish(it, start)
	}
	if !*begun {
		*begun = true
		if e.tries = 0; e.apart || !start.Joined && !e.continues(it) {
			e.pub.Restart()
		}
		e.tellTracks(start)
		e.note(func(s *EdgeState) { s.Copying, s.Detail = true, "" })
	}
	if it.First {
		e.pub.Restart()
		e.tellTracks(start)
	}
	return e.put(it)
}

// continues reports whether a packet is the one behind the last.
func (e *edge) continues(it *Item) bool {
	return it.At.Incarnation == e.last.Incarnation && it.At.Number == e.last.Number+1
}

// publish begins to publish with the first frame; what comes before it is held.
func (e *edge) publish(it *Item, start *Start) error {
	if it.Header {
		t := it.Tag
		t.Data = append([]byte(nil), t.Data...)
		if e.heldSize += len(t.Data); len(e.held) < maxHeldTags && e.heldSize <= maxHeldBytes {
			e.held = append(e.held, t)
		}
		return nil
	}
	if e.ownedBy(e.name) != nil { // since the connection was opened
		return ErrStale
	}
	if e.resume(); !e.last.precedes(it.At) {
		return nil
	}
	client := hub.Client{Protocol: Protocol, Agent: "node " + e.state.Load().Node}
	client.Address, _ = netip.ParseAddrPort(e.address())
	who := e.cfg.Hub.NewSession(hub.RolePublish, e.name.key, client)
	pub, err := e.cfg.Hub.Publish(who, hub.PublishOptions{Yields: true, Copies: true, End: func(why *hub.Refusal) { e.end(why) }})
	if err != nil {
		return err
	}
	e.pub, e.tries = pub, 0
	e.tellTracks(start)
	e.note(func(s *EdgeState) { s.Copying, s.Detail, s.Session = true, "", who.ID() })
	held := e.held
	e.held = nil
	for _, t := range held {
		if _, _, err := pub.Put(t, it.Time); err != nil {
			return err
		}
	}
	return e.put(it)
}

// address returns where the owner is, as far as it is known.
func (e *edge) address() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.name.news == nil {
		return ""
	}
	return e.name.news.Media
}

// tellTracks tells the hub which tracks the owner has, so that nobody waits for one that never comes.
func (e *edge) tellTracks(start *Start) {
	if !start.Tracks {
		return
	}
	if !start.Audio {
		e.pub.Lacks(flv.TypeAudio)
	}
	if !start.Video {
		e.pub.Lacks(flv.TypeVideo)
	}
}

// put hands a packet to the hub, and notes its number.
func (e *edge) put(it *Item) error {
	if it.Header {
		_, _, err := e.pub.Put(it.Tag, it.Time)
		return err
	}
	err := e.name.numbers.copy(e.pub.Life(), it.At, func() (uint64, bool, error) {
		return e.pub.Put(it.Tag, it.Time)
	})
	if err == nil {
		e.last, e.apart = it.At, false
	}
	return err
}
