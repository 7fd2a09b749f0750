package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"sluice/flv"
	"sluice/rtmp"
)

// seekReport is about seeks in a file over RTMP.
type seekReport struct {
	URL    string  `json:"url"`
	Length float64 `json:"file_seconds"`
	Seeks  int     `json:"seeks"`
	// First is from before a seek is sent until the first key frame that comes after the
	// server's answer to it.
	First percentiles `json:"first_key_frame"`
	// Wrong is how many of them began behind the place that was sought.
	Wrong int `json:"wrong"`
	// Others is what programs that have nothing to do with it used meanwhile, as of floorRound.
	Others float64 `json:"others_cpu_cores"`

	first histogram
}

// Bounds of seeking.
const (
	// seekWarmup is how many seeks go ahead of each that is counted, in percent: they are
	// not counted.
	seekWarmup = 10
	// afterSeek is how much media a player takes before it seeks again, so that next to nothing
	// of the old position is still on its way.
	afterSeek = 2000 // ms
	// seekEvery is how far apart seeks are at least: servers take a client that asks for more than
	// some 50 things a second for an attack.
	seekEvery  = 40 * time.Millisecond
	seekSilent = 30 * time.Second
)

// errNoMedia is the error of a file that ends before there is a key frame.
var errNoMedia = errors.New("the file ended before a key frame came")

// seek seeks in a file, to places by chance, and reports how long that took.
func seek(ctx context.Context, o *options, p *progress) (*report, error) {
	r := &report{o: o, Rounds: 1, Cores: newReport(o).Cores, Problems: []string{}, Seek: &seekReport{URL: o.seek.String()}}
	s := r.Seek
	opening, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	client := &rtmp.Client{ReadTimeout: seekSilent, Capabilities: rtmp.AllCapabilities(), TLS: o.tls.config(o.seek.host())}
	player, err := client.Play(opening, o.seek.at(0))
	if err != nil {
		return nil, fmt.Errorf("-seek: %s", reason(err))
	}
	defer player.Close()
	stop := context.AfterFunc(ctx, func() { player.Close() })
	defer stop()
	length, err := fileLength(player)
	if err != nil {
		return nil, fmt.Errorf("-seek: %w", err)
	}
	s.Length = length.Seconds()
	procs := processes{pids: o.pids}
	from, toolFrom, err := procs.look()
	if err != nil {
		return nil, err
	}
	p.set("seeking", nil)
	chance := rand.New(rand.NewPCG(1, 2)) // the same places each time
	began := time.Now()
	for i := range o.seeks + o.seeks*seekWarmup/100 {
		counted := i >= o.seeks*seekWarmup/100
		to := time.Duration(chance.Int64N(int64(length))).Truncate(time.Millisecond)
		next := time.Now().Add(seekEvery)
		took, right, err := seekOnce(player, to)
		sleepUntil(ctx, next)
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("seeking to %v: %w", to, err)
		}
		if counted {
			s.first.add(took)
			s.Seeks++
		}
		if !right {
			s.Wrong++
		}
	}
	r.Window = time.Since(began).Seconds()
	to, toolTo, err := procs.look()
	if err != nil {
		return nil, fmt.Errorf("the server is gone: %w", err)
	}
	s.First, s.Others = percentilesOf(&s.first), othersCores([2]usage{from, to}, [2]usage{toolFrom, toolTo})
	if s.Wrong > 0 {
		r.problem("%s led behind the place that was sought", numbered(s.Wrong, "seek"))
	}
	r.close(ctx.Err() != nil)
	return r, nil
}

// fileLength reads a file up to the duration that its metadata tells.
func fileLength(player *rtmp.Player) (time.Duration, error) {
	for {
		tag, err := player.ReadTag()
		if err != nil {
			return 0, err
		}
		if length := durationOf(tag); length > 0 {
			return length, nil
		}
		if tag.Type != flv.TypeScript {
			return 0, errNoLength
		}
	}
}

// seekOnce seeks, and returns how long it took until the first key frame came, and whether
// that stands at or before the place. It reads on for a while.
func seekOnce(player *rtmp.Player, to time.Duration) (took time.Duration, right bool, err error) {
	began := time.Now()
	if err := player.Seek(to); err != nil {
		return 0, false, err
	}
	var at int64
	for took == 0 {
		tag, err := player.ReadTag()
		if err != nil {
			return 0, false, errors.Join(errNoMedia, err)
		}
		if packet, err := tag.Packet(); err == nil && packet.Kind == flv.KindFrame && tag.Type == flv.TypeVideo {
			if !packet.Key {
				return 0, false, errors.New("it began with a frame that is no key frame")
			}
			took, at = max(1, time.Since(began)), int64(tag.Timestamp)
		}
	}
	for {
		tag, err := player.ReadTag()
		if err != nil {
			return 0, false, err
		}
		if int64(tag.Timestamp) >= at+afterSeek {
			return took, at <= to.Milliseconds(), nil
		}
	}
}

func (s *seekReport) write(t *table) {
	t.section("seeking in %s, a file of %v", s.URL, time.Duration(s.Length*float64(time.Second)).Round(time.Second))
	t.row("first key frame", "%v (%d seeks); others %.2f cores", s.First, s.Seeks, s.Others)
	t.row("found", "%d wrong places", s.Wrong)
}
