package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"sluice/flv"
	"sluice/flv/amf"
)

// filePlayers are players of recordings beside the live viewers of a round. Over RTMP and
// WebSocket the server sends at the file's pace; over HTTP a player asks for the file from
// some byte on, and reads no faster than it would play.
type filePlayers struct {
	o       *options
	counter counter // those that the server paces
	rate    float64 // bytes a second of the file, over HTTP
	size    int64   // of the file, over HTTP
	reading sync.WaitGroup
	leaving atomic.Bool

	mu     sync.Mutex
	paced  []*pacedPlayer
	failed tally
	ended  tally
	joined int
}

// pacedPlayer is a player over HTTP.
type pacedPlayer struct {
	v              *viewer
	before, window int64 // received when the window began, and within it
}

// Bounds of players.
const (
	// startSpread is over how much of a file players begin: player i does so at second i of
	// it, and from its beginning on again.
	startSpread = 600
	// pacedBuffer is the receive buffer of a player over HTTP, in bytes. A larger one takes a
	// minute of the file at once, and the server would have nothing to do meanwhile.
	pacedBuffer = 32 << 10
	pacedRead   = 250 * time.Millisecond // from one read to the next
	// maxMetadata is how much of a file is read for its duration.
	maxMetadata = 1 << 20
)

// joinPlayers has all players join.
func joinPlayers(ctx context.Context, o *options) (*filePlayers, error) {
	ps := &filePlayers{o: o, counter: newCounter(), failed: tally{}, ended: tally{}}
	if o.play.protocol == httpFLV {
		var err error
		if ps.size, ps.rate, err = askFile(ctx, &o.tls, o.play.at(0)); err != nil {
			ps.counter.close()
			return nil, fmt.Errorf("-play: %w", err)
		}
	}
	paced(ctx, o.players, o.joinRate, func(i int) {
		err := ps.join(ctx, i)
		ps.mu.Lock()
		defer ps.mu.Unlock()
		if err == nil {
			ps.joined++
		} else if ctx.Err() == nil {
			ps.failed[reason(err)]++
		}
	})
	return ps, nil
}

// join has one player join.
func (ps *filePlayers) join(ctx context.Context, i int) error {
	t, start := ps.o.play, time.Duration(i%startSpread)*time.Second
	if t.protocol != httpFLV {
		v, err := opener{tls: &ps.o.tls, start: start}.open(ctx, t, i)
		if err != nil {
			return err
		}
		v.prepare(ps.o.wordsFor())
		return ps.counter.add(v, 0, i)
	}
	from := int64(start.Seconds() * ps.rate)
	v, err := opener{tls: &ps.o.tls, buffer: pacedBuffer, from: from % ps.size}.open(ctx, t, i)
	if err != nil {
		return err
	}
	x := &pacedPlayer{v: v}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.paced = append(ps.paced, x)
	ps.reading.Go(func() { ps.read(x) })
	return nil
}

// read reads at the rate of the file until the player leaves.
func (ps *filePlayers) read(x *pacedPlayer) {
	buf := make([]byte, max(1, int(ps.rate*pacedRead.Seconds())))
	tick := time.NewTicker(pacedRead)
	defer tick.Stop()
	for range tick.C {
		x.v.conn.SetReadDeadline(time.Now().Add(openTimeout))
		if _, err := io.ReadFull(x.v.plain, buf); err != nil {
			if !ps.leaving.Load() {
				ps.mu.Lock()
				ps.ended[reason(err)]++
				ps.mu.Unlock()
			}
			return
		}
	}
}

// begin starts the window.
func (ps *filePlayers) begin(d time.Duration) {
	ps.counter.begin(d)
	for _, x := range ps.paced {
		x.before = x.v.conn.received.Load()
	}
}

// finish ends the window; cut tells that it is before its time.
func (ps *filePlayers) finish(cut bool) {
	for _, x := range ps.paced {
		x.window = x.v.conn.received.Load() - x.before
	}
	ps.counter.finish(cut)
}

// leave ends all players.
func (ps *filePlayers) leave() {
	ps.leaving.Store(true)
	ps.counter.close()
	for _, x := range ps.paced {
		x.v.close()
	}
	ps.reading.Wait()
}

// playersReport is about players of files.
type playersReport struct {
	URL    string `json:"url"`
	Asked  int    `json:"asked"`
	Joined int    `json:"joined"`
	Failed tally  `json:"failed"`
	Ended  tally  `json:"ended"`
	// Rates of what they got, in bits a second.
	Mean float64 `json:"mean_bps"`
	Min  float64 `json:"min_bps"`
}

// report returns what the players have seen in a window, when they have left.
func (ps *filePlayers) report(length time.Duration) *playersReport {
	p := &playersReport{URL: ps.o.play.String(), Asked: ps.o.players, Joined: ps.joined, Failed: ps.failed, Ended: ps.ended}
	n := 0
	add := func(bytes int64, window time.Duration) {
		rate := float64(bytes) * 8 / max(window, 1).Seconds()
		if n++; n == 1 || rate < p.Min {
			p.Min = rate
		}
		p.Mean += (rate - p.Mean) / float64(n)
	}
	ps.counter.each(func(x counted) {
		if x.ended != "" {
			p.Ended[x.ended]++
		}
		add(x.bytes, x.window)
	})
	for _, x := range ps.paced {
		add(x.window, length)
	}
	return p
}

// plus adds those of another round.
func (p *playersReport) plus(q *playersReport) *playersReport {
	if p == nil {
		return q
	}
	for why, n := range q.Failed {
		p.Failed[why] += n
	}
	for why, n := range q.Ended {
		p.Ended[why] += n
	}
	if p.Asked+q.Asked > 0 {
		p.Mean = (p.Mean*float64(p.Asked) + q.Mean*float64(q.Asked)) / float64(p.Asked+q.Asked)
	}
	p.Asked, p.Joined, p.Min = p.Asked+q.Asked, p.Joined+q.Joined, min(p.Min, q.Min)
	return p
}

func (p *playersReport) write(t *table) {
	t.section("players of %s: %d, %d joined, in all rounds", p.URL, p.Asked, p.Joined)
	t.row("each", "%.0f kbps on average, %.0f at least", p.Mean/1000, p.Min/1000)
	t.counts("failed", p.Failed)
	t.counts("ended", p.Ended)
}

// errNoLength is the error of a file that does not say how long it is.
var errNoLength = errors.New("the file's metadata has no duration")

// askFile asks over HTTP for the size of a file, and how many bytes of it are a second.
func askFile(ctx context.Context, encryption *clientTLS, rawURL string) (size int64, rate float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, rawURL, nil)
	if err != nil {
		return 0, 0, refusedError{"malformed URL"}
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: encryption.config(request.URL.Hostname())}}
	answer, err := client.Do(request)
	if err != nil {
		var at *url.Error // which repeats the URL
		if errors.As(err, &at) {
			err = at.Err
		}
		return 0, 0, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return 0, 0, refusedError{fmt.Sprintf("refused: HTTP status %d", answer.StatusCode)}
	}
	tag, err := flv.NewReader(io.LimitReader(answer.Body, maxMetadata)).Next()
	if err != nil {
		return 0, 0, err
	}
	length := durationOf(tag)
	if length <= 0 || answer.ContentLength <= 0 {
		return 0, 0, errNoLength
	}
	return answer.ContentLength, float64(answer.ContentLength) / length.Seconds(), nil
}

// durationOf returns the duration that metadata tells, 0 if the tag is none or tells none.
func durationOf(tag flv.Tag) time.Duration {
	if tag.Type != flv.TypeScript {
		return 0
	}
	values, err := amf.DecodeAll(tag.Data, amf.Limits{Elements: maxMetadata})
	if err != nil {
		return 0
	}
	for _, v := range values {
		properties, _ := amf.Properties(v)
		for _, p := range properties {
			if seconds, ok := p.Value.(float64); ok && p.Name == "duration" {
				return time.Duration(seconds * float64(time.Second))
			}
		}
	}
	return 0
}
