package admin

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"sluice/hub"
	"sluice/hub/monitor"
)

func TestSeriesForm(t *testing.T) {
	r := newRig(t, hub.Config{})
	w := r.do(request("GET", "/api/v1/series", ""))
	assert.JSONEq(t, `{"step_ms":5000,"end":"2027-01-15T08:00:00.000Z","points":{"cpu":[null,1.235],"memory":[]}}`, w.Body.String())
	w = r.do(request("GET", "/api/v1/series?stream=live/demo", ""))
	assert.JSONEq(t, `{"step_ms":2000,"end":"2027-01-15T08:00:00.000Z","points":{"bitrate":[null,2000000]}}`, w.Body.String())
	for query, status := range map[string]int{
		"?stream=live/none": 404, "?stream=": 404, "?stream=a/b&stream=live/demo": 400, "?x=1": 400, "?stream=live/demo&x": 400, "?%zz": 400,
	} {
		assert.Equal(t, status, r.do(request("GET", "/api/v1/series"+query, "")).Code, query)
	}
	r.serve(Config{Hub: r.hub})
	assert.Equal(t, 404, r.do(request("GET", "/api/v1/series", "")).Code, "where nothing is measured")
}

func TestHealthForm(t *testing.T) {
	r := newRig(t, hub.Config{})
	r.publish("live/demo", from("192.0.2.7:1000"))
	r.publish("live/other", from("192.0.2.7:1000"))
	r.monitor.health = []monitor.Health{
		{Word: "key_frame_interval", Sentence: "A key frame comes every 8.3 s.", Hint: "Do something.", Since: time.Unix(1_800_000_000, 0), Value: 8.3333, Limit: 4, Unit: "s"},
		{Word: "browser_codec", Sentence: "Browsers do not play it.", Since: time.Unix(1_800_000_000, 0), Value: math.NaN(), Limit: math.NaN()},
	}
	r.monitor.ago = 8333 * time.Millisecond
	body := r.do(request("GET", "/api/v1/streams?stream=live/demo", "")).Body.String()
	assert.Contains(t, body, `"frame_rate":24.988,"key_frame_interval_ms":8333,"health":[`+
		`{"word":"key_frame_interval","sentence":"A key frame comes every 8.3 s.","hint":"Do something.","since":"2027-01-15T08:00:00.000Z","value":8.333,"limit":4,"unit":"s"},`+
		`{"word":"browser_codec","sentence":"Browsers do not play it.","hint":"","since":"2027-01-15T08:00:00.000Z","value":null,"limit":null,"unit":""}]`)
	const nothing = `"frame_rate":0,"key_frame_interval_ms":null,"health":[]`
	assert.Contains(t, r.do(request("GET", "/api/v1/streams?stream=live/other", "")).Body.String(), nothing, "one of which nothing is known")
	r.serve(Config{Hub: r.hub})
	assert.Contains(t, r.do(request("GET", "/api/v1/streams?stream=live/demo", "")).Body.String(), nothing, "where nothing is measured")
}

// The document names every word that there is.
func TestDocumentHasEveryWord(t *testing.T) {
	doc, _ := loadDocument(t)
	said := doc.Components.Schemas["HealthWord"].Value.Properties["word"].Value.Description
	_, list, _ := strings.Cut(strings.TrimSuffix(said, "."), ": ")
	assert.Equal(t, monitor.Words(), strings.Split(list, ", "))
}
