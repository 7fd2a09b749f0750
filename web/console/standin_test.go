package console

import (
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"time"
)

// standIn is the API, and puts into its answers what takes minutes to measure: figures of the
// last of them, and publishers that are not well.
type standIn struct{ api http.Handler }

type object = map[string]any

func (s standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	if r.Method != http.MethodGet || path == "/api/v1/events" {
		s.api.ServeHTTP(w, r)
		return
	}
	answer := httptest.NewRecorder()
	s.api.ServeHTTP(answer, r)
	switch {
	case path == "/api/v1/series" && answer.Code == 404:
		reply(w, series(r.URL.Query().Get("stream")))
	case path == "/api/v1/streams" && answer.Code == 200:
		list := decode(answer)
		for _, stream := range list["streams"].([]any) {
			addHealth(stream.(object))
		}
		reply(w, list)
	default:
		pass(w, answer)
	}
}

func pass(w http.ResponseWriter, from *httptest.ResponseRecorder) {
	for name, values := range from.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(from.Code)
	w.Write(from.Body.Bytes())
}

func decode(from *httptest.ResponseRecorder) (said object) {
	if err := json.Unmarshal(from.Body.Bytes(), &said); err != nil {
		panic(err)
	}
	return said
}

func reply(w http.ResponseWriter, said any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(said)
}

// addHealth makes the publishers of channels 1 and 2 sick ones.
func addHealth(stream object) {
	stream["frame_rate"], stream["key_frame_interval_ms"] = 29.97, 2000
	since := time.Now().Add(-3 * time.Minute).Format(time.RFC3339)
	switch stream["name"] {
	case "channel-001":
		stream["health"] = []object{
			{"word": "key_frame_interval", "sentence": "A key frame comes every 8.3 s.", "hint": "Set the keyframe interval of the encoder to 2 s.", "since": since, "value": 8.3, "limit": 4, "unit": "s"},
			{"word": "uneven_arrival", "sentence": "Its packets come unevenly: up to 1.9 s late.", "hint": "Its uplink is too slow or shared; lower the bitrate of the encoder.", "since": since, "value": 1.9, "limit": 1, "unit": "s"},
		}
	case "channel-002":
		stream["health"] = []object{{"word": "browser_codec", "sentence": "Its video is HEVC, which many browsers do not play.", "hint": "Set the encoder to H.264.", "since": since, "value": nil, "limit": nil, "unit": ""}}
	}
}

// series is a quiet quarter of an hour, with a gap; or the last minutes of a stream.
func series(stream string) object {
	wave := func(n int, base, swing, period float64) []any {
		points := make([]any, n)
		for i := range points {
			points[i] = math.Round(base + swing*math.Sin(float64(i)/period) + swing/4*math.Sin(float64(i)*1.7))
			if i > 40 && i < 48 {
				points[i] = nil
			}
		}
		return points
	}
	if stream != "" {
		return object{"step_ms": 2000, "end": time.Now(), "points": object{
			"bitrate": wave(150, 4.2e6, 4e5, 9), "frame_rate": wave(150, 30, 1, 5), "key_frame_interval_ms": wave(150, 2000, 60, 30),
			"av_distance_ms": wave(150, 40, 30, 11), "jitter_ms": wave(150, 14, 12, 3),
		}}
	}
	cpu := wave(180, 80, 20, 12)
	for i, v := range cpu {
		if v, ok := v.(float64); ok {
			cpu[i] = v / 100
		}
	}
	return object{"step_ms": 5000, "end": time.Now(), "points": object{
		"streams": wave(180, 290, 8, 30), "viewers": wave(180, 18000, 2000, 25), "bits_in": wave(180, 9e8, 5e7, 20), "bits_out": wave(180, 1.2e10, 3e9, 25),
		"refused": wave(180, 2, 2, 4), "cpu": cpu, "memory": wave(180, 6e8, 5e7, 40),
	}}
}
