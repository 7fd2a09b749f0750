package monitor

import (
	"math"
	"math/bits"
	"time"
)

// series is what is kept of a stream, a point for each look: as little as a graph needs, since there may be
// thousands of streams.
type series struct {
	next    uint8 // place of the next point, and of the oldest
	bitrate [points]float16
	rate    [points]uint16 // pictures per second, in tenths
	key     [points]uint16 // interval of key frames, in 10 ms
	apart   [points]int16  // ms
	uneven  [points]uint16 // ms
}

// What stands for nothing, and bounds what stands for something.
const (
	none      = math.MaxUint16
	noneApart = math.MinInt16
)

// point is one point of a series. NaN stands for nothing.
type point struct {
	bitrate float64 // bits per second
	rate    float64
	key     float64 // ms, as are those that follow
	apart   float64
	uneven  float64
}

var noPoint = point{math.NaN(), math.NaN(), math.NaN(), math.NaN(), math.NaN()}

// add adds a point, in place of the oldest.
func (s *series) add(p point) {
	i := s.next
	s.bitrate[i], s.rate[i], s.key[i] = packBitrate(p.bitrate), pack(p.rate*10), pack(p.key/10)
	s.uneven[i] = pack(p.uneven)
	s.apart[i] = noneApart
	if !math.IsNaN(p.apart) {
		s.apart[i] = int16(min(max(math.Round(p.apart), -math.MaxInt16), math.MaxInt16))
	}
	s.next = (i + 1) % points
}

// skip adds so many points without anything.
func (s *series) skip(n int) {
	for range n {
		s.add(noPoint)
	}
}

// at returns the point that was added so many points ago, 0 for the newest.
func (s *series) at(ago int) point {
	i := (int(s.next) - 1 - ago + 2*points) % points
	p := point{s.bitrate[i].value(), unpack(s.rate[i]) / 10, unpack(s.key[i]) * 10, math.NaN(), unpack(s.uneven[i])}
	if s.apart[i] != noneApart {
		p.apart = float64(s.apart[i])
	}
	return p
}

// points returns all points by name, the oldest first.
func (s *series) points() map[string][]float64 {
	of := make(map[string][]float64)
	for name, value := range map[string]func(point) float64{
		"bitrate":               func(p point) float64 { return p.bitrate },
		"frame_rate":            func(p point) float64 { return p.rate },
		"key_frame_interval_ms": func(p point) float64 { return p.key },
		"av_distance_ms":        func(p point) float64 { return p.apart },
		"jitter_ms":             func(p point) float64 { return p.uneven },
	} {
		for ago := points - 1; ago >= 0; ago-- {
			of[name] = append(of[name], value(s.at(ago)))
		}
	}
	return of
}

func pack(v float64) uint16 {
	if math.IsNaN(v) {
		return none
	}
	return uint16(min(max(math.Round(v), 0), none-1))
}

func unpack(v uint16) float64 {
	if v == none {
		return math.NaN()
	}
	return float64(v)
}

// float16 is a bitrate of 0 to 13 Gbit/s, to within a two thousandth:
//
//	 15    12 11              0
//	┌────────┬─────────────────┐
//	│   e    │        m        │  m × 2^e × 100 bit/s
//	└────────┴─────────────────┘
type float16 uint16

// bitrateUnit is that of a float16, in bits per second.
const bitrateUnit = 100

func packBitrate(v float64) float16 {
	if math.IsNaN(v) {
		return none
	}
	units := uint64(min(max(math.Round(v/bitrateUnit), 0), 0xffe<<15))
	e := max(0, bits.Len64(units)-12)
	return float16(e<<12) | float16(units>>e)
}

func (f float16) value() float64 {
	if f == none {
		return math.NaN()
	}
	return float64(uint64(f&0xfff)<<(f>>12)) * bitrateUnit
}

// milliseconds returns a time in them.
func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
