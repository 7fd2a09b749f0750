package relay

import "time"

// until returns when to look again.
func (r *pushRun) until(now time.Time) time.Duration {
	wait := pushIdle
	for _, c := range []*pushConn{r.conn, r.next} {
		switch {
		case c == nil:
		case c.acks.live || c.written.Load() == 0:
			wait = min(wait, pushLook)
		default:
			wait = min(wait, pushEarly)
		}
	}
	switch {
	case !r.live:
		wait = min(wait, r.left.Add(r.cfg.Hold).Sub(now))
	case r.conn == nil && r.opening == nil:
		wait = min(wait, r.retry.at.Sub(now))
		if r.retry.codecs != nil {
			wait = min(wait, pushLook)
		}
	}
	return max(0, wait)
}

// show publishes how the push stands.
func (r *pushRun) show() {
	now := time.Now()
	i := ConnectionInfo{Key: r.cfg.Key, URL: r.cfg.URL, Detail: r.note, Error: r.last}
	i.State = r.state(&i, now)
	if c := r.conn; c != nil {
		i.URL, i.Remote = c.url, c.sink.Remote()
	}
	was := r.seen.Load()
	if i.Since = was.Since; i.State != was.State {
		i.Since = now
	}
	r.seen.Store(&i)
	if i.State != was.State && r.cfg.Told != nil {
		r.cfg.Told(r.info())
	}
}

// state returns the state, and notes what there is to say of it:
//
//	Idle         nothing is connected, and nobody publishes
//	Connecting   a connection is opened, or open and nothing sent on it has been acknowledged yet
//	Live         what is sent is acknowledged
//	Slow         it was live, and jumped to a key frame within the last seconds because the target
//	             takes too little, or nothing has been acknowledged for 5 s
//	BackingOff   it failed, and is tried again at Next
//	Refused      likewise, about 30 s later, or as soon as the stream has other codecs if it is for these; in a
//	             cluster soon for the first times if the target says that the stream is published
//	Held         it is connected, and the publisher has left, or is back and has sent nothing yet
func (r *pushRun) state(i *ConnectionInfo, now time.Time) State {
	c := r.conn
	if c == nil || !c.acks.ever {
		i.Detail = r.retry.detail
	}
	if c == nil {
		switch {
		case r.opening != nil:
			return Connecting
		case !r.live:
			return Idle
		case r.retry.state != Idle:
			i.Next = r.retry.at
			return r.retry.state
		}
		return Connecting
	}
	if silent := c.acks.stale(now); silent > 0 {
		i.Detail = "nothing was acknowledged for " + silent.Round(time.Second).String()
	} else if blocked := c.blocked(now); blocked >= pushStale {
		i.Detail = "nothing was taken for " + blocked.Round(time.Second).String()
	}
	switch {
	case !r.live || c.waiting:
		return Held
	case !c.acks.ever:
		return Connecting
	case !c.acks.live || c.slow.Load():
		return Slow
	}
	return Live
}
