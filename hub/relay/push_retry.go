package relay

import (
	"math/rand/v2"
	"time"
)

// Waits of pushes between two tries.
const (
	pushRetryMin = 250 * time.Millisecond // the first wait is up to this; each further up to twice as much
	pushRetryMax = 30 * time.Second
	// pushRefusedWait is the wait after a refusal; up to a tenth more is added, so that targets do
	// not come all at once.
	pushRefusedWait = 30 * time.Second
)

// pushRetry is when a push tries again, and why it has to.
type pushRetry struct {
	at       time.Time // not before
	state    State     // BackingOff or Refused; Idle if nothing has failed
	detail   string
	codecs   *pushCodecs // it was refused for these: not before there are others, or at
	failures int         // in a row
}

// failed notes a failure. A connection that was healthy is tried again at once.
func (r *pushRetry) failed(f *Failure, healthy bool, now time.Time) {
	r.detail, r.codecs = f.Detail, nil
	if healthy {
		r.failures = 0
	}
	switch f.Cause {
	case CauseDenied, CauseBusy, CauseLoop, CauseMedia, CauseURL:
		r.state, r.at = Refused, now.Add(pushRefusedWait+rand.N(pushRefusedWait/10))
		return
	case CauseConnection, CauseNotFound:
	}
	r.state, r.at = BackingOff, now
	if !healthy {
		most := pushRetryMax
		if r.failures < 8 { // beyond that it is longer anyway
			most = min(most, pushRetryMin<<r.failures)
		}
		r.at = now.Add(rand.N(most))
		r.failures++
	}
}

// reset forgets failures: it works.
func (r *pushRetry) reset() { *r = pushRetry{} }
