package hub

import (
	"bytes"
	"time"

	"sluice/flv"
)

// A process may stand still for seconds: it is stopped, or its machine is. Where others may have taken its
// streams over meanwhile, what its publishers have sent must not reach anybody before it is known whose
// the stream is by now. So whoever keeps that in view says again and again that the process runs
// (Hub.Beat), after having looked; and tags that come when it has not said so for Config.Pulse wait.

// maxHeldBack bounds what waits of one publisher, in bytes: of each tag its body, and entryCost.
const maxHeldBack = 8 << 20

// Beat says that the process ran at a time, and that its publishers' streams were still theirs then
// (Config.Pulse): it is when that was looked at, and not later, since the process may have stood still between the look
// and this call.
func (h *Hub) Beat(looked time.Time) { h.pulse.Store(int64(looked.Sub(h.began))) }

// stoodStill reports whether nobody has said for too long that the process runs.
func (h *Hub) stoodStill(now time.Time) bool {
	return h.cfg.Pulse > 0 && now.Sub(h.began)-time.Duration(h.pulse.Load()) > h.cfg.Pulse
}

// heldBack are the tags of a publisher that wait. They are Write's. What still waits when the publisher
// ends is gone with it.
type heldBack struct {
	tags     []flv.Tag
	restarts []int // before which of them Restart was called, or behind all; in order
	bytes    int
}

// holdBack reports whether a tag waits, since the process stood still; else it writes what has waited before
// it.
func (p *Publisher) holdBack(t flv.Tag, now time.Time) (held bool, err error) {
	h := p.stream.hub
	if h.cfg.Pulse == 0 || p.opts.Copies {
		return false, nil
	}
	if !h.stoodStill(now) {
		if p.heldBack.tags == nil {
			return false, nil
		}
		err := p.letGo(now)
		return err != nil, err
	}
	if err := p.err(); err != nil {
		return true, err
	}
	if p.heldBack.bytes += len(t.Data) + entryCost; p.heldBack.bytes > maxHeldBack {
		p.heldBack = heldBack{}
		why := refuse(ReasonConnection, "the server stood still, and more came than it can hold")
		p.End(why)
		return true, why
	}
	t.Data = bytes.Clone(t.Data)
	p.heldBack.tags = append(p.heldBack.tags, t)
	return true, nil
}

// letGo writes what has waited.
func (p *Publisher) letGo(now time.Time) error {
	waited := p.heldBack
	p.heldBack = heldBack{}
	for i, t := range waited.tags {
		for len(waited.restarts) > 0 && waited.restarts[0] == i {
			waited.restarts = waited.restarts[1:]
			p.restart()
		}
		if _, _, err := p.write(t, placement{}, now); err != nil {
			return err
		}
	}
	if len(waited.restarts) > 0 {
		p.restart()
	}
	return nil
}
