package console

import (
	"math"
	"time"

	"sluice/hub"
	"sluice/hub/monitor"
)

// measured is a monitor that has measured for minutes: what is known of streams, two of whose
// publishers are not well.
type measured struct{}

func (measured) Status(k hub.Key) (monitor.Status, bool) {
	is := monitor.Status{FrameRate: 29.97, KeyInterval: 2 * time.Second}
	since := time.Now().Add(-3 * time.Minute)
	switch k.Name {
	case "channel-001":
		is.Health = []monitor.Health{
			{
				Word: "key_frame_interval", Sentence: "A key frame comes every 8.3 s.", Hint: "Set the keyframe interval of the encoder to 2 s.",
				Since: since, Value: 8.3, Limit: 4, Unit: "s",
			},
			{
				Word: "uneven_arrival", Sentence: "What it sends arrives up to 1.9 s late.", Hint: "Its uplink is too slow or shared; lower the bitrate of the encoder.",
				Since: since, Value: 1900, Limit: 700, Unit: "ms",
			},
		}
	case "channel-002":
		is.Health = []monitor.Health{{
			Word: "browser_codec", Sentence: "Its video is HEVC, which many browsers do not play.", Hint: "Set the encoder to H.264.",
			Since: since, Value: math.NaN(), Limit: math.NaN(),
		}}
	}
	return is, true
}

// Stream returns the last minutes of a stream.
func (measured) Stream(hub.Key) (monitor.Series, bool) {
	return monitor.Series{Step: 2 * time.Second, End: time.Now(), Points: map[string][]float64{
		"bitrate": wave(150, 4.2e6, 4e5, 9), "frame_rate": wave(150, 30, 1, 5), "key_frame_interval_ms": wave(150, 2000, 60, 30),
		"av_distance_ms": wave(150, 40, 30, 11), "jitter_ms": wave(150, 14, 12, 3),
	}}, true
}

// Whole returns a quiet quarter of an hour.
func (measured) Whole() monitor.Series {
	cpu := wave(180, 80, 20, 12)
	for i := range cpu {
		cpu[i] /= 100
	}
	return monitor.Series{Step: 5 * time.Second, End: time.Now(), Points: map[string][]float64{
		"streams": wave(180, 290, 8, 30), "viewers": wave(180, 18000, 2000, 25), "bits_in": wave(180, 9e8, 5e7, 20), "bits_out": wave(180, 1.2e10, 3e9, 25),
		"refused": wave(180, 2, 2, 4), "cpu": cpu, "memory": wave(180, 6e8, 5e7, 40),
	}}
}

// wave returns n points that swing about a base, with a gap.
func wave(n int, base, swing, period float64) []float64 {
	points := make([]float64, n)
	for i := range points {
		points[i] = math.Round(base + swing*math.Sin(float64(i)/period) + swing/4*math.Sin(float64(i)*1.7))
		if i > 40 && i < 48 {
			points[i] = math.NaN()
		}
	}
	return points
}
