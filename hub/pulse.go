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

// maxHeldBack bounds what waits of one publisher, in bytes of bodies.
const maxHeldBack = 8 << 20

// Beat says that the process runs and that its publishers' streams are still theirs (Config.Pulse).
func (h *Hub) Beat() { h.pulse.Store(int64(time.Since(h.began))) }

// stoodStill reports whether nobody has said for too long that the process runs.
func (h *Hub) stoodStill(now time.Time) bool {
	return h.cfg.Pulse > 0 && now.Sub(h.began)-time.Duration(h.pulse.Load()) > h.cfg.Pulse
}

// heldBack are the tags of a publisher that wait. They are Write's.
type heldBack struct {
	tags  []flv.Tag
	bytes int
}

// holdBack reports whether a tag waits, since the process stood still; else it writes what has waited before
// it.
func (p *Publisher) holdBack(t flv.Tag, now time.Time) (held bool, err error) {
	h := p.stream.hub
	if h.cfg.Pulse == 0 || p.opts.Yields {
		return false, nil
	}
	if !h.stoodStill(now) {
		waited := p.heldBack.tags
		p.heldBack = heldBack{}
		for _, w := range waited {
			if _, _, err := p.write(w, placement{}, now); err != nil {
				return true, err
			}
		}
		return false, nil
	}
	if err := p.err(); err != nil {
		return true, err
	}
	if p.heldBack.bytes += len(t.Data); p.heldBack.bytes > maxHeldBack {
		why := refuse(ReasonConnection, "the server stood still, and more came than it can hold")
		p.End(why)
		return true, why
	}
	t.Data = bytes.Clone(t.Data)
	p.heldBack.tags = append(p.heldBack.tags, t)
	return true, nil
}
