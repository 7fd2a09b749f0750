package gateway

import (
	"context"
	"fmt"
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

// Nothing of the old position follows a seek's notification, and nothing is left out
// or sent twice, in any order of seeks and pauses.
func TestStormOfSeeksAndPauses(t *testing.T) {
	const length = 60_000
	h, id := newRecordings(t, length, func(c *configs) { c.server.MaxCommands = 10_000 })
	random := randomly(t)
	p := h.dial("rec/live/camera")
	stream := p.stream()
	p.setBuffer(stream, 2000)
	p.command(stream, "play", 0.0, nil, id)
	p.expect(saidBegin, "meta@0", headersAt(0))
	storm := storm{p: p, paused: false, next: 0}
	for range 200 {
		switch random.IntN(4) {
		case 0:
			p.command(stream, "pause", 0.0, nil, true, float64(storm.last()))
			storm.asked = append(storm.asked, "Pause.Notify")
		case 1:
			p.command(stream, "pause", 0.0, nil, false, float64(storm.last()))
			storm.asked = append(storm.asked, "Unpause.Notify")
		default:
			to := random.IntN(length - 10_000)
			p.command(stream, "seek", 0.0, nil, float64(to))
			storm.asked = append(storm.asked, fmt.Sprint(to))
		}
		for range random.IntN(40) {
			if !storm.read(false) {
				break
			}
		}
	}
	for len(storm.asked) > 0 {
		storm.read(true)
	}
	p.command(stream, "pause", 0.0, nil, false, 0.0)
	p.setBuffer(stream, downloads)
	storm.asked = append(storm.asked, "Unpause.Notify")
	for storm.next < length {
		storm.read(true)
	}
	p.expect(saidWhole)
}

// storm checks what a player is sent that seeks and pauses at random.
type storm struct {
	p       *peer
	asked   []string // and not answered yet
	paused  bool
	picture bool // one is due although paused
	headers bool // are due
	next    int  // time of the next packet
}

// last is the time of the packet that was read last.
func (s *storm) last() int { return max(s.next-frameTime/2, 0) }

// read reads and checks one message; it returns false if none may come before something is
// asked, and wait is not set.
func (s *storm) read(wait bool) bool {
	if !wait && len(s.asked) == 0 && (s.paused && !s.picture || s.next > s.next/gop*gop+gop/2) {
		return false
	}
	p := s.p
	word := p.word()
	switch word {
	case "Pause.Notify", "Unpause.Notify":
		require.Equal(p.t, s.asked[0], word)
		pause := word == "Pause.Notify"
		s.picture = s.picture && s.paused && pause
		s.asked, s.paused = s.asked[1:], pause
		return true
	case "1:1":
		p.expect("Seek.Notify 0:1")
		to := 0
		fmt.Sscan(s.asked[0], &to)
		s.asked = s.asked[1:]
		s.next, s.headers, s.picture = to/gop*gop, true, s.paused
		return true
	}
	require.False(p.t, s.paused && !s.picture, "%s while paused", word)
	if s.headers {
		require.Equal(p.t, strings.Fields(headersAt(s.next))[0], word)
		p.expect(strings.Fields(headersAt(s.next))[1])
		s.headers = false
		return true
	}
	want := fmt.Sprintf("P:%d@%[1]d", s.next)
	switch {
	case s.next%gop == 0:
		want = fmt.Sprintf("K:%d@%[1]d", s.next)
	case s.next%frameTime != 0:
		want = fmt.Sprintf("A:%d@%[1]d", s.next)
	}
	require.Equal(p.t, want, word)
	s.next += frameTime / 2
	s.picture = false
	return true
}

// Media comes as far ahead as the player buffers, and a second more, and then in real time.
func TestRecordingIsPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newArchive(t)
		id := record(t, a, recorded, headersAt(0), film(0, 100_000))
		h := newPipeRig(t, func(c *configs) { c.archive = a })
		p := h.dialPipe("rec/live/camera")
		stream := p.stream()
		words := make(chan string, 10_000)
		go func() {
			defer close(words)
			for {
				m, err := p.read()
				if err != nil {
					return
				}
				if w := p.wordOfAny(m); w != "" {
					words <- w
				}
			}
		}()
		// sent returns the time of the newest packet that has come, and looks at the rest.
		newest := -1
		sent := func() int {
			synctest.Wait()
			for len(words) > 0 {
				at := 0
				if w := <-words; strings.ContainsAny(w[:1], "KPA") && strings.Contains(w, ":") {
					_, text, _ := strings.Cut(w, ":")
					fmt.Sscan(text, &at)
					newest = at
				}
			}
			return newest
		}
		within := func(at int) {
			t.Helper()
			got := sent()
			assert.LessOrEqual(t, got, at)
			assert.Greater(t, got, at-frameTime/2-int(merge.Milliseconds()))
		}
		p.command(stream, "play", 0.0, nil, id)
		within(4000) // 3 s, of which nothing was said
		time.Sleep(2 * time.Second)
		within(6000)
		p.setBuffer(stream, 10_000)
		within(13_000)
		time.Sleep(time.Second)
		within(14_000)
		p.setBuffer(stream, 1000) // nothing until that is shown
		within(14_000)
		time.Sleep(5 * time.Second)
		within(14_000)
		time.Sleep(5 * time.Second)
		within(15_000)
		p.command(stream, "pause", 0.0, nil, true, 10_000.0)
		time.Sleep(time.Hour)
		within(15_000)
		p.command(stream, "seek", 0.0, nil, 51_000.0)
		assert.Equal(t, 50_000, sent())
		time.Sleep(time.Hour)
		assert.Equal(t, 50_000, sent())
		p.command(stream, "pause", 0.0, nil, false, 50_000.0)
		within(52_000)
		time.Sleep(3 * time.Second)
		within(55_000)
		p.setBuffer(stream, downloads)
		assert.Equal(t, 99_900, sent())
		// It may still seek for a while.
		time.Sleep(seekableFor + maxSeekable - time.Second)
		p.command(stream, "seek", 0.0, nil, 99_000.0)
		assert.Equal(t, 99_900, sent())
		time.Sleep(seekableFor + maxSeekable + time.Second)
		synctest.Wait()
		_, open := <-words
		for open {
			_, open = <-words
		}
		p.Close()
	})
}

// What is newer than the player says follows a pause, and nothing twice.
func TestRecordingPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newArchive(t)
		id := record(t, a, recorded, headersAt(0), film(0, 60_000))
		h := newPipeRig(t, func(c *configs) { c.archive = a })
		p := h.dialPipe("rec/live/camera")
		stream := p.stream()
		p.setBuffer(stream, 1000) // which makes 2 s
		pause := func(on bool, at float64) { p.command(stream, "pause", 0.0, nil, on, at) }
		p.command(stream, "play", 0.0, nil, id)
		p.expect(saidBegin, "meta@0", headersAt(0), film(0, 1400))
		pause(true, 1000)
		at := 1400
		for w := p.word(); w != "Pause.Notify"; w = p.word() {
			fmt.Sscan(w[strings.IndexByte(w, ':')+1:], &at) // what was under way
			at += frameTime / 2
		}
		pause(true, 1000) // once more
		p.expect("Pause.Notify")
		pause(false, 1000)
		p.expect("Unpause.Notify", filmFrom(at, at+1000))
		pause(false, 0) // as it is
		for w := p.word(); w != "Unpause.Notify"; w = p.word() {
		}

		// A seek while it pauses shows a picture; where it was before means nothing then.
		pause(true, 0)
		for w := p.word(); w != "Pause.Notify"; w = p.word() {
		}
		p.command(stream, "seek", 0.0, nil, 7000.0)
		p.command(stream, "seek", 0.0, nil, 5000.0)
		p.command(stream, "seek", 0.0, nil, 1e9) // there is no such place
		var words []string
		for len(words) == 0 || words[len(words)-1] != "Play.Stop" {
			words = append(words, p.word())
		}
		all := strings.Join(words, " ")
		assert.Contains(t, all, "Seek.InvalidTime "+strings.TrimSpace(saidWhole))
		p.command(stream, "seek", 0.0, nil, 5000.0)
		p.expect(saidSeek, headersAt(4000), "K:4000@4000")
		pause(false, 50_800) // where it was before
		p.expect("Unpause.Notify", filmFrom(4100, 5000))
		p.Close()
	})
}

// filmFrom is film from any packet on.
func filmFrom(from, to int) string {
	words := strings.Fields(film(from/gop*gop, to))
	return strings.Join(words[(from-from/gop*gop)/(frameTime/2):], " ")
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

// The app rec belongs to the recordings where there are some.
func TestAppOfRecordingsIsReserved(t *testing.T) {
	h, id := newRecordings(t, 1000)
	for _, tt := range []struct{ app, name, code string }{
		{"rec", "x", rtmp.CodePlayFailed},
		{"rec/live", id, rtmp.CodePlayFailed},
		{"rec/live/camera", "20261128T170500.001Z", rtmp.CodePlayStreamNotFound},
		{"rec/live/other", archive.Latest, rtmp.CodePlayStreamNotFound},
		{"rec/live/camera", "*", rtmp.CodePlayStreamNotFound},
		{"rec/live/camera", id + "?track=x", rtmp.CodePlayFailed},
	} {
		p := h.dial(tt.app)
		p.command(p.stream(), "play", 0.0, nil, tt.name)
		p.expectStatus(tt.code)
		p.expectEOF()
	}
	for _, app := range []string{"rec", "rec/live", "rec/live/camera"} {
		p := h.dial(app)
		p.command(p.stream(), "publish", 0.0, nil, "x", "live")
		p.expectStatus(rtmp.CodePublishBadName)
		p.expectEOF()
	}
	h.log.wait(t, "session refused", "role=publish", "the app rec is for recordings")
	h.log.wait(t, "session refused", "stream=live/camera", "recording=20261128T170500.001Z", `reason="not found"`)

	// An app that only looks like it is none, nor is rec without recordings.
	for _, h := range []*rig{h, newRig(t)} {
		url := strings.Replace(h.url, "/live/", "/recent/live/camera/", 1)
		if h.server.Handler.(*Handler).Archive == nil {
			url = strings.Replace(h.url, "/live/", "/rec/live/camera/", 1)
		}
		pub, err := h.client.Publish(t.Context(), url+id)
		require.NoError(t, err)
		(&publisher{pub, t}).send(start)
		player, err := h.client.PlayFrom(t.Context(), url+id, rtmp.PlayOptions{Start: time.Hour})
		require.NoError(t, err)
		(&player1{player, t}).expect("meta@0 vc:h264@0 ac:aac@0 K:1@0 A:2@10 P:3@40")
		player.Close()
		pub.Close()
	}
}

// The policy is asked about a recording, once for its length and its play.
func TestPolicyOfRecordings(t *testing.T) {
	type question struct{ recording, token string }
	asked := make(chan question, 100)
	events := make(chan hub.Event, 100)
	h, id := newRecordings(t, 3000, func(c *configs) {
		c.hub.Authorize = func(_ context.Context, s *hub.Session) (hub.Grant, error) {
			token := s.Client().Query.Get("token")
			asked <- question{s.Client().Recording, token}
			if token != "yes" {
				return hub.Grant{}, &hub.Refusal{Reason: hub.ReasonDenied, Detail: "no"}
			}
			return hub.Grant{}, nil
		}
		c.hub.Observe = func(e hub.Event) { events <- e }
	})
	length := func(p *peer, name string) any {
		p.command(0, "getStreamLength", 3.0, nil, name)
		return p.result(3)[3]
	}
	p := h.dial("rec/live/camera")
	assert.InDelta(t, 3, length(p, "latest?token=yes"), 0.2)
	assert.Equal(t, question{id, "yes"}, <-asked)
	p.playRecording("latest?token=yes")
	p.expect(saidBegin, "meta@0", headersAt(0), film(0, 3000), saidWhole)
	assert.Equal(t, hub.EventJoined, (<-events).Kind)
	p.Close()
	left := <-events
	assert.Equal(t, []any{hub.EventLeft, hub.ReasonComplete}, []any{left.Kind, left.Reason})
	assert.NotZero(t, left.Bytes)
	assert.Empty(t, asked, "asked twice")

	// A play that does not come, and one of something else.
	p = h.dial("rec/live/camera")
	assert.InDelta(t, 3, length(p, id+"?token=yes"), 0.2)
	<-asked
	assert.Equal(t, 0.0, length(p, "none?token=yes")) // not there
	<-asked
	assert.Equal(t, hub.EventRefused, (<-events).Kind)
	p.playRecording(id + "?token=yes")
	p.expect(saidBegin)
	<-asked
	assert.Equal(t, hub.EventRefused, (<-events).Kind)
	assert.Equal(t, hub.EventJoined, (<-events).Kind)
	assert.InDelta(t, 3, lengthAmongMedia(p, id+"?token=yes"), 0.2)
	<-asked
	p.Close()
	kinds := []hub.EventKind{(<-events).Kind, (<-events).Kind}
	assert.ElementsMatch(t, []hub.EventKind{hub.EventRefused, hub.EventLeft}, kinds)

	// Who may not watch it learns nothing of it, not even whether it is there.
	for _, name := range []string{id, "none"} {
		p = h.dial("rec/live/camera")
		assert.Equal(t, 0.0, length(p, name+"?token=no"))
		p.command(p.stream(), "play", 0.0, nil, name+"?token=no")
		p.expectStatus(rtmp.CodePlayFailed)
		p.expectEOF()
		assert.Equal(t, question{name, "no"}, <-asked)
		assert.Equal(t, hub.ReasonDenied, (<-events).Reason)
	}
	assert.Empty(t, asked)
	assert.Empty(t, events)
	p = h.dial("live")
	assert.Equal(t, 0.0, length(p, "camera")) // live
}

// lengthAmongMedia asks for a length while media comes.
func lengthAmongMedia(p *peer, name string) any {
	p.command(0, "getStreamLength", 3.0, nil, name)
	return p.result(3)[3]
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
