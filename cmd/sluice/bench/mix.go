package bench

import (
	"errors"
	"strconv"
	"strings"
)

// mix is the URLs that the viewers are spread over. Neighbouring viewers watch
// different URLs, as in a crowd that comes from everywhere: not one block of viewers
// for each URL.
type mix struct {
	order []int // the URL of each of len(order) viewers in a row, which repeats
	nth   []int // how many before it in a row have its URL
	count []int // how many of each URL are in a row
}

// watched is a URL with its share of the viewers.
type watched struct {
	target
	percent int    // 0 if none was given
	via     string // through what the stream comes there, in words; empty: nothing
}

// errShare is the error of a share that is none.
var errShare = errors.New("share must be a whole number from 1 to 99 before %:, like 20%:rtmp://HOST/APP/NAME")

// parseWatched reads URL or N%:URL.
func parseWatched(s string) (w watched, err error) {
	if share, rest, ok := strings.Cut(s, "%:"); ok && !strings.Contains(share, ":") {
		if w.percent, err = strconv.Atoi(share); err != nil || w.percent < 1 || w.percent > 99 {
			return w, errShare
		}
		s = rest
	}
	w.target, err = parseTarget(s)
	return w, err
}

// newMix returns the mix of URLs with these shares in percent: all 0 for equal ones.
func newMix(percents []int) (mix, error) {
	if len(percents) == 0 {
		return mix{}, nil
	}
	total, shared := 0, 0
	for _, p := range percents {
		total += p
		if p > 0 {
			shared++
		}
	}
	shares := append([]int(nil), percents...)
	switch {
	case shared == 0:
		for i := range shares {
			shares[i] = 1
		}
		total = len(shares)
	case shared < len(shares):
		return mix{}, errors.New("-watch with a share (20%:URL) needs one for each of the URLs")
	case total != 100:
		return mix{}, errors.New("the shares of -watch add up to " + strconv.Itoa(total) + "%, not 100%")
	}
	divisor := total
	for _, s := range shares {
		divisor = gcd(divisor, s)
	}
	m := mix{count: make([]int, len(shares))}
	credit := make([]int, len(shares))
	for range total / divisor {
		// Each URL gains its share with every viewer, and the one with the most gives
		// a whole: so each comes as evenly as it can.
		next := 0
		for i, s := range shares {
			credit[i] += s
			if credit[i] > credit[next] {
				next = i
			}
		}
		credit[next] -= total
		m.order, m.nth = append(m.order, next), append(m.nth, m.count[next])
		m.count[next]++
	}
	return m, nil
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// place returns which URL and stream viewer i watches. The viewers of each URL go
// round the streams.
func (o *options) place(i int) (watch, stream int) {
	m := &o.mix
	row, at := i/len(m.order), i%len(m.order)
	watch = m.order[at]
	return watch, (row*m.count[watch] + m.nth[at]) % o.streams
}

// checkNumbers returns which viewers check. They are spread over the viewers, and
// over URLs and streams.
func (o *options) checkNumbers() map[int]bool {
	numbers, streams := map[int]bool{}, map[int]bool{}
	checks := min(o.check, o.viewers)
	for k := range checks {
		i := o.checkNumber(k%len(o.watch), k*(o.viewers/checks), numbers, streams)
		_, stream := o.place(i)
		numbers[i], streams[stream] = true, true
	}
	return numbers
}

// checkNumber returns a viewer that does not check yet: from first on, one that watches
// the URL, and a stream that nobody checks, if there is one.
func (o *options) checkNumber(watch, first int, numbers, streams map[int]bool) int {
	found := -1
	// In so many viewers each URL meets each stream.
	for n := range min(o.viewers, len(o.mix.order)*o.streams) {
		i := (first + n) % o.viewers
		if w, stream := o.place(i); w == watch && !numbers[i] {
			if !streams[stream] {
				return i
			}
			if found < 0 {
				found = i
			}
			if len(streams) == o.streams {
				break
			}
		}
	}
	for i := first; found < 0; i++ {
		if !numbers[i%o.viewers] {
			found = i % o.viewers
		}
	}
	return found
}
