package relay

import (
	"time"

	"sluice/flv"
)

// pushRetry is when a push tries again, and why it has to.
type pushRetry struct {
	at     time.Time // not before
	state  State     // BackingOff or Refused; Idle if nothing has failed
	detail string
	codecs *pushCodecs // it was refused for these: not before there are others, or at
	tries  backoff
	busy   int // how often in a row the target said that the stream is published
}

// busySoon is how often, and how long each time, a push of several nodes waits before it takes for granted that its target is
// busy: at first it may be that another node has pushed this stream until now, and is just leaving.
var busySoon = [...]time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second}

// pushCodecs are those of a stream's main tracks.
type pushCodecs struct{ video, audio flv.Codec }

// failed notes a failure. A connection that was healthy is tried again at once. several says that other nodes push the stream
// when they have it.
func (r *pushRetry) failed(f *Failure, healthy, several bool, now time.Time) {
	r.detail, r.codecs = f.Detail, nil
	if healthy {
		r.tries.reset()
	}
	switch {
	case f.Cause == CauseBusy && several && r.busy < len(busySoon):
		r.state, r.at = Refused, now.Add(busySoon[r.busy])
		r.busy++
		return
	case f.Cause.refuses(), f.Cause == CauseBusy:
		r.state, r.at = Refused, now.Add(afterRefusal())
		return
	}
	r.state, r.at = BackingOff, now
	if !healthy {
		r.at = now.Add(r.tries.next(maxDelay))
	}
}

// reset forgets failures: it works.
func (r *pushRetry) reset() { *r = pushRetry{} }
