package admin

import (
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"sluice/hub"
	"sluice/hub/monitor"
	"sluice/web"
)

// Monitor is what the API needs of a *monitor.Monitor.
type Monitor interface {
	Status(hub.Key) (monitor.Status, bool)
	Stream(hub.Key) (monitor.Series, bool)
	Whole() monitor.Series
}

// HealthWord is something that is wrong with what is published.
type HealthWord struct {
	Word     string   `json:"word"`     // of a fixed set
	Sentence string   `json:"sentence"` // with what was measured
	Hint     string   `json:"hint"`     // what to change in the encoder
	Since    web.Time `json:"since"`
	Value    number   `json:"value"` // measured; null where there is no figure
	Limit    number   `json:"limit"` // what is still good
	Unit     string   `json:"unit"`  // of both; "" for a plain number
}

// number is a number that is null in JSON if it is not finite.
type number float64

// MarshalJSON writes at most three digits behind the point: more is noise.
func (n number) MarshalJSON() ([]byte, error) {
	v := float64(n)
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return []byte("null"), nil
	}
	return strconv.AppendFloat(nil, math.Round(v*1000)/1000, 'f', -1, 64), nil
}

// addStatus adds what the monitor says of a stream.
func (a *api) addStatus(s *Stream, key hub.Key) {
	s.Health = []HealthWord{}
	if a.Monitor == nil {
		return
	}
	status, ok := a.Monitor.Status(key)
	if !ok {
		return
	}
	s.FrameRate = number(status.FrameRate)
	if status.KeyInterval > 0 {
		s.KeyInterval = new(status.KeyInterval.Milliseconds())
	}
	for _, h := range status.Health {
		s.Health = append(s.Health, HealthWord{
			Word: h.Word, Sentence: h.Sentence, Hint: h.Hint, Since: web.Time(h.Since),
			Value: number(h.Value), Limit: number(h.Limit), Unit: h.Unit,
		})
	}
}

// wrong returns how many words there are for what is wrong with a publisher.
func (a *api) wrong(key hub.Key) int {
	if a.Monitor == nil {
		return 0
	}
	if status, ok := a.Monitor.Status(key); ok {
		return len(status.Health)
	}
	return 0
}

// Series is the answer to GET /api/v1/series: figures of the last 15 minutes of the server, or with
// ?stream=APP/NAME of the last 5 minutes of a stream.
type Series struct {
	Step   int64               `json:"step_ms"` // between two points
	End    web.Time            `json:"end"`     // of the newest point
	Points map[string][]number `json:"points"`  // by name, the oldest first; null where nothing was measured
}

// series answers GET /api/v1/series.
func (a *api) series(r *http.Request) (reply, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || len(values) > 1 || len(values) == 1 && len(values["stream"]) != 1 {
		return reply{}, badRequest("this takes stream=APP/NAME and nothing else")
	}
	if a.Monitor == nil {
		return reply{}, refuse(http.StatusNotFound, "not found", "nothing is measured here")
	}
	series := monitor.Series{}
	if name := values.Get("stream"); values.Has("stream") {
		known := false
		app, name := cutLast(name)
		if series, known = a.Monitor.Stream(hub.Key{App: app, Name: name}); !known {
			return reply{}, refuse(http.StatusNotFound, "not found", "there is no such stream, or nothing has been measured of it yet")
		}
	} else {
		series = a.Monitor.Whole()
	}
	said := Series{Step: int64(series.Step / time.Millisecond), End: web.Time(series.End), Points: make(map[string][]number, len(series.Points))}
	for name, values := range series.Points {
		points := make([]number, len(values))
		for i, v := range values {
			points[i] = number(v)
		}
		said.Points[name] = points
	}
	return reply{body: said}, nil
}
