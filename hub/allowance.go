package hub

import "time"

// allowanceWindow is how long a publisher may send at twice the bitrate that it is
// allowed, or for how long it may have sent nothing and then all at once: key frames
// come in bursts, and so does what a broken connection held back.
const allowanceWindow = 5 * time.Second

// allowance is how much more than its bitrate a publisher has sent of late. The zero
// value is for a publisher that begins.
type allowance struct {
	spent float64 // bytes
	at    time.Time
}

// take spends n bytes of a rate in bits per second, and reports whether they are in
// the allowance.
func (a *allowance) take(now time.Time, n int, rate int64) bool {
	perSecond := float64(rate) / 8
	a.spent = max(0, a.spent-perSecond*now.Sub(a.at).Seconds()) + float64(n)
	a.at = now
	return a.spent <= perSecond*allowanceWindow.Seconds()
}
