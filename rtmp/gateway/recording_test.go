package gateway

import (
	"context"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv/amf"
	"sluice/hub"
	"sluice/hub/archive"
	"sluice/hub/fanout"
	"sluice/rtmp"
)

// A recording is played whole, however its address is divided, and can be sought when it is
// over.
func TestPlayRecording(t *testing.T) {
	h, id := newRecordings(t, 5000)
	for _, tt := range []struct{ app, name string }{
		{"rec/live/camera", id}, {"rec", "live/camera/" + id}, {"rec/live", "camera/" + id + ".flv"},
		{"rec/live/camera", archive.Latest}, {"rec/live/camera", id + "?token=secret"},
	} {
		p := h.dial(tt.app)
		stream := p.playRecording(tt.name, -2000.0)
		p.expect(saidBegin, "meta@0", headersAt(0), film(0, 5000), saidWhole)
		p.command(stream, "seek", 0.0, nil, 3999.0)
		p.expect(saidSeek, headersAt(2000), film(2000, 5000), saidWhole)
		p.Close()
	}
	h.log.wait(t, "session begins", "role=watch", "stream=live/camera", "recording="+id)
	h.log.wait(t, "session ends", "recording="+id, "reason=complete")
	assert.NotContains(t, h.log.String(), "secret")
}

// Metadata that changes in the middle of a recording has timestamp 0, like that at its
// beginning.
func TestMetadataWithinRecording(t *testing.T) {
	a := newArchive(t)
	id := record(t, a, recorded, headersAt(0), film(0, 2000), "meta@2000", film(2000, 4000))
	h := newRig(t, func(c *configs) { c.archive = a })
	p := h.dial("rec/live/camera")
	p.playRecording(id, -2000.0)
	p.expect(saidBegin, "meta@0", headersAt(0), film(0, 2000), "meta@0", film(2000, 4000), saidWhole)
}

// The end is told with what was played, and the client closes.
func TestRecordingForOurPlayer(t *testing.T) {
	h, id := newRecordings(t, 5000)
	h.url = strings.Replace(h.url, "/live/", "/rec/live/camera/", 1)
	player, err := h.client.PlayFrom(t.Context(), h.url+id, rtmp.PlayOptions{Buffer: time.Hour})
	require.NoError(t, err)
	defer player.Close()
	p := &player1{player, t}
	p.expect("meta@0", headersAt(0), film(0, 5000))
	_, err = player.ReadTag()
	assert.ErrorIs(t, err, io.EOF)
}

type player1 struct {
	*rtmp.Player
	t testing.TB
}

func (p *player1) expect(words ...string) {
	p.t.Helper()
	(&player{p.Player, p.t}).expect(strings.Join(strings.Fields(strings.Join(words, " ")), " "))
}

// Where a play begins and ends. Timestamps begin at 0 at the key frame at or before the start;
// the duration counts from the start that was asked for. All is milliseconds.
func TestRecordingStartAndDuration(t *testing.T) {
	h, id := newRecordings(t, 10_000)
	part := func(from, to int) string { return filmAt(from, to, from) }
	for _, tt := range []struct {
		args []any
		film string
		end  string
	}{
		{[]any{-2000.0}, part(0, 10_000), saidWhole},
		{[]any{-1000.0}, part(0, 10_000), saidWhole},
		{[]any{-2.0}, part(0, 10_000), saidWhole},
		{[]any{-1.0}, part(0, 10_000), saidWhole},
		{[]any{0.0, -1.0}, part(0, 10_000), saidWhole},
		{nil, part(0, 10_000), saidWhole},
		{[]any{5.0}, part(0, 10_000), saidWhole}, // 5 ms, and not 5 s
		{[]any{4000.0}, part(4000, 10_000), saidWhole},
		{[]any{5999.0}, part(4000, 10_000), saidWhole},
		{[]any{6000.0}, part(6000, 10_000), saidWhole},
		{[]any{10_000.0}, part(8000, 10_000), saidWhole},
		{[]any{0.0, 3000.0}, part(0, 3000), saidStop},
		{[]any{5000.0, 2000.0}, part(4000, 7000), saidStop},
		{[]any{5000.0, 1e9}, part(4000, 10_000), saidWhole},
	} {
		p := h.dial("rec/live/camera")
		p.playRecording(id, tt.args...)
		p.expect(saidBegin, "meta@0", headersAt(0), tt.film, tt.end)
		p.Close()
	}
	p := h.dial("rec/live/camera")
	stream := p.playRecording(id, 20_000.0) // behind the end
	p.expect(saidBegin, saidWhole)
	p.command(stream, "seek", 0.0, nil, 9000.0)
	p.expect(saidSeek, headersAt(8000), film(8000, 10_000), saidWhole)
}

// A file that is still written is followed to its end.
func TestGrowingRecording(t *testing.T) {
	a := newArchive(t)
	w := begin(t, a, recorded, headersAt(0), film(0, 4000))
	h := newRig(t, func(c *configs) { c.archive = a })
	p := h.dial("rec/live/camera")
	stream := p.playRecording(archive.Latest)
	p.expect(saidBegin, "meta@0", headersAt(0), film(0, 4000))
	write(t, w, packets(film(4000, 5000)))
	p.expect(film(4000, 5000))
	p.command(stream, "seek", 0.0, nil, 9000.0) // not there yet: it stays
	p.expect("Seek.InvalidTime")
	write(t, w, packets(film(5000, 6000)))
	p.expect(film(5000, 6000))
	p.command(stream, "seek", 0.0, nil, 3000.0)
	p.expect(saidSeek, headersAt(2000), film(2000, 6000))

	other := h.dial("rec/live/camera")
	other.playRecording(archive.Latest, 60_000.0) // begins with the newest key frame
	other.expect(saidBegin, "meta@0", headersAt(0), filmAt(4000, 6000, 4000))
	gone := h.dial("rec/live/camera")
	gone.playRecording(archive.Latest)
	gone.expect(saidBegin)
	gone.Close()

	write(t, w, packets(film(6000, 6500)))
	_, err := w.Finish(archive.StateFinished)
	require.NoError(t, err)
	p.expect(film(6000, 6500), saidWhole)
	other.expect(filmAt(6000, 6500, 4000), saidWhole)
}

// Without a track the player gets the other; video begins again with a key frame.
func TestRecordingReceive(t *testing.T) {
	h, id := newRecordings(t, 10_000)
	only := func(kinds, words string) (only string) {
		for _, w := range strings.Fields(words) {
			if strings.ContainsAny(w[:1], kinds) {
				only += w + " "
			}
		}
		return only
	}
	p := h.dial("rec/live/camera")
	stream := p.playRecording(id + "?onlyaudio=1")
	p.expect(saidBegin, "meta@0", headersAt(0), only("A", film(0, 10_000)), saidWhole)
	p.command(stream, "receiveVideo", 0.0, nil, true)
	p.command(stream, "receiveAudio", 0.0, nil, false)
	p.command(stream, "seek", 0.0, nil, 8000.0)
	p.expect("Seek.Notify Play.Start", saidSeek, headersAt(8000), only("KP", film(8000, 10_000)), saidWhole)

	// In the middle.
	p.setBuffer(stream, 1000)
	p.command(stream, "receiveAudio", 0.0, nil, true)
	p.command(stream, "receiveVideo", 0.0, nil, false)
	p.command(stream, "seek", 0.0, nil, 1000.0)
	p.expect("Seek.Notify Play.Start", saidSeek, headersAt(0), only("A", film(0, 1800)))
	p.command(stream, "receiveVideo", 0.0, nil, true)
	p.setBuffer(stream, downloads)
	var frames []string
	for w := ""; w != "Play.Stop"; w = p.word() {
		if w != "" && strings.Contains("KP", w[:1]) && w[1] == ':' {
			frames = append(frames, w)
		}
	}
	require.NotEmpty(t, frames)
	assert.Equal(t, "K", frames[0][:1])
}

// Plays wait for the end of the one before them; play2 goes on where the other file was.
func TestRecordingQueue(t *testing.T) {
	a := newArchive(t)
	one := record(t, a, recorded, headersAt(0), film(0, 3000))
	two := record(t, a, recorded.Add(time.Hour), headersAt(0), film(0, 5000))
	h := newRig(t, func(c *configs) { c.archive = a })
	p := h.dial("rec/live/camera")
	stream := p.playRecording(one)
	p.command(stream, "play", 0.0, nil, two, 2000.0, 2000.0, false)
	p.expect(saidBegin, "meta@0", headersAt(0), film(0, 3000))
	next := "4:1 0:1 Play.Start |RtmpSampleAccess"
	if w := p.word(); w == "1:1" { // the second came in time, or else a moment too late
		if p.word() == "Play.Complete" {
			p.expect("Play.Stop")
		}
	}
	p.expect(next, "meta@0", headersAt(0), filmAt(2000, 4000, 2000), saidStop)
	p.command(stream, "play", 0.0, nil, one, 0.0, -1.0, false) // at once: the other is over
	p.expect(next, "meta@0", headersAt(0), film(0, 3000), saidWhole)

	p.command(stream, "seek", 0.0, nil, 0.0)
	p.expect(saidSeek, headersAt(0), film(0, 3000), saidWhole)
	p.command(stream, "play2", 0.0, nil, amf.Object{{Name: "streamName", Value: two}, {Name: "transition", Value: "switch"}})
	p.expect(next, "meta@0", headersAt(2000), film(2000, 5000), saidWhole)
	p.command(stream, "play2", 0.0, nil, amf.Object{{Name: "streamName", Value: one}, {Name: "transition", Value: "reset"}})
	p.expect(saidBegin, "meta@0", headersAt(0), film(0, 3000), saidWhole)
}

// A player that takes nothing is ended, whatever it asks for.
func TestRecordingPlayerThatStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newArchive(t)
		id := record(t, a, recorded, headersAt(0), film(0, 600_000))
		events := make(chan hub.Event, 10)
		h := newPipeRig(t, func(c *configs) {
			c.archive = a
			c.pool = fanout.Config{WriteTimeout: 10 * time.Second}
			c.hub.Observe = func(e hub.Event) { events <- e }
		})
		p := h.dialPipe("rec/live/camera")
		stream := p.playRecording(id)
		p.expect(saidBegin)
		began := time.Now()
		p.command(stream, "seek", 0.0, nil, 0.0)
		assert.Equal(t, hub.EventJoined, (<-events).Kind)
		e := <-events
		assert.Equal(t, []any{hub.EventLeft, hub.ReasonStalled}, []any{e.Kind, e.Reason})
		assert.Equal(t, 10*time.Second, time.Since(began))
	})
}

// A stop of the server ends players of files, at their place or waiting.
func TestShutdownEndsRecordings(t *testing.T) {
	a := newArchive(t)
	w := begin(t, a, recorded, headersAt(0), film(0, 2000))
	defer func() { _, err := w.Finish(archive.StateFinished); require.NoError(t, err) }()
	id := record(t, a, recorded.Add(time.Hour), headersAt(0), film(0, 100_000))
	h := newRig(t, func(c *configs) { c.archive = a })
	growing, paced, paused := h.dial("rec/live/camera"), h.dial("rec/live/camera"), h.dial("rec/live/camera")
	growing.playRecording(w.Recording().ID)
	growing.expect(saidBegin, "meta@0", headersAt(0), film(0, 2000))
	paced.command(paced.stream(), "play", 0.0, nil, id)
	paced.expect(saidBegin, "meta@0")
	stream := paused.stream()
	paused.command(stream, "play", 0.0, nil, id)
	paused.command(stream, "pause", 0.0, nil, true, 0.0)
	for paused.word() != "Pause.Notify" {
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	require.NoError(t, h.hub.Shutdown(ctx))
	for _, p := range []*peer{growing, paced, paused} {
		for p.word() != "Play.UnpublishNotify" {
		}
		p.expectEOF()
	}
	p := h.dial("rec/live/camera")
	p.command(p.stream(), "play", 0.0, nil, id)
	p.expectStatus("NetStream.Play.UnpublishNotify")
}

// A file that is broken ends its players, and says so.
func TestBrokenRecording(t *testing.T) {
	dir := t.TempDir()
	a, err := archive.Open(archive.Config{Dir: dir})
	require.NoError(t, err)
	defer a.Close()
	id := record(t, a, recorded, headersAt(0), film(0, 60_000))
	file := dir + "/live/camera/" + id + ".flv"
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	for i := len(b) - 1000; i < len(b)-900; i++ {
		b[i] = 0xFF
	}
	require.NoError(t, os.WriteFile(file, b, 0o600))
	h := newRig(t, func(c *configs) { c.archive = a })
	p := h.dial("rec/live/camera")
	p.playRecording(id)
	p.expect(saidBegin, "meta@0", headersAt(0), film(0, 10_000))
	p.expectStatus("NetStream.Failed")
	p.expectEOF()
	h.log.wait(t, "a recording cannot be read", "recording="+id)
}
