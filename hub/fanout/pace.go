package fanout

import "time"

// Bounds of a worker that sets its own pace. Its time is taken by the clock on the
// wall, so that it makes way where others need the machine too.
const (
	// autoShare is the share of one core that a worker may use.
	autoShare = 0.25
	// autoSlack is how much time a worker may have used beyond its share before it
	// pauses at all, so that a single pass that was held up, or a burst, costs
	// nobody a delay.
	autoSlack = 20 * time.Millisecond
	// autoRepay is the part of what was used beyond that which the next pause makes
	// up for. The rest is left for those that follow: one slow pass does not show as
	// one long pause.
	autoRepay = 0.25
	// maxPeriod bounds the time between the beginnings of two passes, and so the
	// latency that merging adds.
	maxPeriod = 195 * time.Millisecond
	// autoRest is the least pause, in parts of a pass, of a worker whose passes
	// alone take longer than that: publishers have to be read too.
	autoRest = 0.25
)

// pace says when a worker's next pass may begin.
//
// A fixed time is that between the beginnings of two passes, on a steady beat: a
// pass that began late, since there was nothing to send on the beat, does not put
// off those after it, unless it was very late; then the beat starts anew.
//
// A worker that sets its own pace has an account. What its passes take is drawn
// from it, and time pays in, at autoShare. Below its limit, autoSlack, there is no
// pause at all: few viewers get every packet at once. Above, pauses bring it back
// to the limit bit by bit, which comes to passes that are 1/autoShare of their own
// length apart; the more expensive they are, the more packets each of them merges.
type pace struct {
	coalesce time.Duration
	next     time.Time     // not before that
	used     time.Duration // beyond the share, at the end of the last pass
	ended    time.Time     // of the last pass
}

// passed notes a pass.
func (p *pace) passed(begun, ended time.Time) {
	if p.coalesce != Auto {
		p.next = p.next.Add(p.coalesce)
		if late := begun.Add(p.coalesce * 3 / 4); p.next.Before(late) {
			p.next = begun.Add(p.coalesce)
		}
		return
	}
	took := ended.Sub(begun)
	p.used = max(0, p.used-scale(ended.Sub(p.ended), autoShare)) + took
	// More than this would call for longer pauses than there are.
	p.used = min(p.used, autoSlack+scale(maxPeriod, autoShare/autoRepay))
	p.ended = ended
	pause := scale(max(0, p.used-autoSlack), autoRepay/autoShare)
	p.next = ended.Add(max(min(pause, maxPeriod-took), min(pause, scale(took, autoRest))))
}

func scale(d time.Duration, by float64) time.Duration { return time.Duration(float64(d) * by) }
