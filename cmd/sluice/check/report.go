package check

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// report is what a test found. Its JSON is documented in README.md; fields may be added, those that
// are there keep their meaning.
type report struct {
	OK          bool      `json:"ok"`
	Interrupted bool      `json:"interrupted,omitempty"`
	Began       time.Time `json:"began"`
	Seconds     float64   `json:"seconds"` // that the test took
	Stream      string    `json:"stream"`  // APP/NAME
	Publish     []*row    `json:"publish"` // the last is the one that was watched, if it is ok
	Outputs     []*row    `json:"outputs"`
	Notes       []string  `json:"notes,omitempty"`
}

// row is what was found of one way.
type row struct {
	Protocol string `json:"protocol"`
	URL      string `json:"url"` // the base
	OK       bool   `json:"ok"`
	NotTried bool   `json:"not_tried,omitempty"` // since nothing could be published
	Fault    *fault `json:"fault,omitempty"`
	// Stages are how long each took, in ms; those that were not reached or that there are not are
	// left out. Picture is from the beginning to the first key frame.
	Stages  map[string]float64 `json:"stages_ms,omitempty"`
	Picture float64            `json:"picture_ms,omitempty"`
	Delay   *delay             `json:"delay_ms,omitempty"`
	Frames  *frames            `json:"frames,omitempty"`
	// Expires is when the server's certificate does.
	Expires *time.Time `json:"certificate_expires,omitempty"`
	Notes   []string   `json:"notes,omitempty"`

	trace trace
}

// delay is how long frames were on their way, from the moment at which they were sent, in ms: those
// that were sent when the watcher was there already.
type delay struct {
	Median float64 `json:"median"`
	Max    float64 `json:"max"`
}

// frames are how many there were.
type frames struct {
	Video int `json:"video"`
	Audio int `json:"audio"`
}

func (r *row) fail(f fault) { r.OK, r.Fault = false, &f }

// Names of stages, as JSON has them.
const (
	stageConnect   = "connect"
	stageTLS       = "tls"
	stageHandshake = "handshake"
	stageCommands  = "commands"
	stageFirstByte = "first_byte"
	stageKeyFrame  = "key_frame"
)

// stage is one stage of a way, and how long it took.
type stage struct {
	name string
	took time.Duration
}

// stages returns the stages that were reached.
func (tr *trace) stages() (all []stage) {
	before := tr.began
	for _, s := range []struct {
		name string
		over time.Time
	}{
		{stageConnect, tr.connected}, {stageTLS, tr.secured}, {stageHandshake, tr.handshaken}, {stageCommands, tr.commanded},
		{stageFirstByte, tr.first}, {stageKeyFrame, tr.picture},
	} {
		if !s.over.IsZero() {
			all = append(all, stage{s.name, max(0, s.over.Sub(before))})
			before = s.over
		}
	}
	return all
}

// soon is how long before its end a certificate is noted, at the most: one that is made for a few days
// is renewed when a third of its time is left.
const soon = 14 * 24 * time.Hour

// certificate notes until when the server's certificate is good.
func (r *row) certificate(state tls.ConnectionState) {
	if len(state.PeerCertificates) == 0 {
		return
	}
	leaf := state.PeerCertificates[0]
	r.Expires = &leaf.NotAfter
	switch left := time.Until(leaf.NotAfter); {
	case left <= 0: // and -insecure
		r.Notes = append(r.Notes, fmt.Sprintf("the certificate has ended on %s, and others refuse it: renew it", day(leaf.NotAfter)))
	case left < min(soon, leaf.NotAfter.Sub(leaf.NotBefore)/3):
		r.Notes = append(r.Notes, fmt.Sprintf("the certificate ends on %s: renew it", day(leaf.NotAfter)))
	}
}

// noGOP is how much later than the first byte the first key frame may come where it is kept for those
// who come later.
const noGOP = 200 * time.Millisecond

// compared fills in what a comparison found.
func (r *row) compared(c *comparison) {
	c.finish()
	r.Frames = &frames{Video: c.tracks[trackVideo].count, Audio: c.tracks[trackAudio].count}
	if len(c.delays) > 0 {
		median, longest := c.delay()
		r.Delay = &delay{ms(median), ms(longest)}
	}
	if tr := c.trace; !tr.picture.IsZero() && (c.live || tr.picture.Sub(tr.first) > noGOP) {
		r.Notes = append(r.Notes, "the server keeps no GOP for those who come later: the picture came with the next key frame, of which this test sends one each second, and encoders fewer")
	}
}

// worked notes what is odd of a stream that works.
func (r *row) worked(c *comparison) {
	if r.OK = true; c.gap > lumps {
		r.Notes = append(r.Notes, fmt.Sprintf("frames come in lumps, up to %s apart: the server gathers them (Sluice: SLUICE_COALESCE), or a proxy does (nginx: proxy_buffering off)", seconds(c.gap)))
	}
}

func ms(d time.Duration) float64 { return float64(d.Round(10*time.Microsecond).Microseconds()) / 1000 }

// finish sums the report up.
func (r *report) finish() {
	r.Seconds = float64(time.Since(r.Began).Milliseconds()) / 1000
	published := false
	for _, row := range r.Publish {
		row.sum()
		published = row.OK
	}
	r.OK = published && !r.Interrupted
	for _, row := range r.Publish {
		r.OK = r.OK && row.OK
	}
	for _, row := range r.Outputs {
		row.sum()
		r.OK = r.OK && row.OK
	}
}

func (r *row) sum() {
	for _, s := range r.trace.stages() {
		if r.Stages == nil {
			r.Stages = make(map[string]float64)
		}
		r.Stages[s.name] = ms(s.took)
	}
	if !r.trace.picture.IsZero() {
		r.Picture = ms(r.trace.picture.Sub(r.trace.began))
	}
}

func (r *report) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// columns are those of the stages.
var columns = []string{stageConnect, stageTLS, stageHandshake, stageCommands, stageFirstByte, stageKeyFrame}

// writeTable writes the report for people.
func (r *report) writeTable(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, a key frame each second; times in ms\n\n", r.Stream)
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\t\tworks\tconnect\tTLS\thandshake\tcommands\tfirst byte\tkey frame\tpicture\tdelay\tmax\tframes\n")
	for _, row := range r.Publish {
		row.writeTo(t, "publish")
	}
	for _, row := range r.Outputs {
		row.writeTo(t, "watch")
	}
	t.Flush()
	failed, tried := 0, 0
	for _, row := range append(append([]*row{}, r.Publish...), r.Outputs...) {
		if !row.NotTried {
			tried++
		}
		if row.Fault != nil {
			failed++
			fmt.Fprintf(&b, "\n%s %s: %s.\n", row.Protocol, row.URL, row.Fault.Sentence)
		}
	}
	told := make(map[string]bool) // who publishes and who watches may note the same
	for _, row := range append(append([]*row{}, r.Publish...), r.Outputs...) {
		for _, note := range row.Notes {
			text := fmt.Sprintf("\nnote, %s %s: %s.\n", row.Protocol, row.URL, note)
			if !told[text] {
				b.WriteString(text)
			}
			told[text] = true
		}
	}
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "\nnote: %s.\n", note)
	}
	switch {
	case r.Interrupted:
		fmt.Fprintf(&b, "\ninterrupted after %.1f s\n", r.Seconds)
	case r.OK:
		fmt.Fprintf(&b, "\nall of it works, tested in %.1f s\n", r.Seconds)
	case tried == len(r.Publish):
		fmt.Fprintf(&b, "\nnothing could be published, so that no output was tried, tested in %.1f s\n", r.Seconds)
	default:
		fmt.Fprintf(&b, "\n%d of %d do not work, tested in %.1f s\n", failed, tried, r.Seconds)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeTo writes the row's line of the table.
func (r *row) writeTo(w io.Writer, role string) {
	works := "yes"
	switch {
	case r.NotTried:
		works = "not tried"
	case !r.OK:
		works = "NO"
	}
	fmt.Fprintf(w, "%s\t%s\t%s", role, r.Protocol, works)
	for _, name := range columns {
		took, there := r.Stages[name]
		fmt.Fprint(w, "\t", number(took, there))
	}
	fmt.Fprint(w, "\t", number(r.Picture, r.Picture > 0))
	if r.Delay == nil {
		fmt.Fprint(w, "\t-\t-")
	} else {
		fmt.Fprintf(w, "\t%.1f\t%.1f", r.Delay.Median, r.Delay.Max)
	}
	if r.Frames == nil {
		fmt.Fprint(w, "\t-\n")
	} else {
		fmt.Fprintf(w, "\t%d\n", r.Frames.Video+r.Frames.Audio)
	}
}

func number(v float64, there bool) string {
	if !there {
		return "-"
	}
	return fmt.Sprintf("%.1f", v)
}
