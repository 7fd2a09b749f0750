//go:build unix

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/rtmp"
)

// health is what the API says of what is wrong with a stream.
type health struct {
	Word, Sentence, Hint string
}

// health asks the API what is wrong with a stream.
func (s *server) health(key string) []health {
	s.t.Helper()
	var list struct{ Streams []struct{ Health []health } }
	s.ask("/api/v1/streams?stream="+key, &list)
	if len(list.Streams) == 0 {
		return nil
	}
	return list.Streams[0].Health
}

// ask asks the operators' API.
func (s *server) ask(path string, into any) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+s.operators+path, nil)
	require.NoError(s.t, err)
	r.Header.Set("Authorization", "Bearer "+operatorToken)
	answer, err := client.Do(r)
	require.NoError(s.t, err)
	defer answer.Body.Close()
	require.Equal(s.t, http.StatusOK, answer.StatusCode)
	require.NoError(s.t, json.NewDecoder(answer.Body).Decode(into))
}

// untilSaid waits until the API says a word of a stream, and returns all that it says. That takes some words
// more than a minute.
func (s *server) untilSaid(key, word string) (all []health) {
	s.t.Helper()
	for deadline := time.Now().Add(2 * patience); ; time.Sleep(200 * time.Millisecond) {
		all = s.health(key)
		if slices.ContainsFunc(all, func(h health) bool { return h.Word == word }) {
			return all
		}
		require.False(s.t, time.Now().After(deadline), "nobody says %s of %s, but %v", word, key, all)
	}
}

// unwell is an ffmpeg of which there is something to say.
type unwell struct {
	word     string
	pace     string   // of its inputs; -re without saying
	video    string   // a filter
	gop      int      // if not the usual one
	sound    string   // how long there is sound, as lavfi writes it
	codecs   []string // further options
	disturbs func(p *process)
}

// arguments returns those of ffmpeg, but for where it sends to.
func (u *unwell) arguments() []string {
	pace := strings.Fields(u.pace)
	if len(pace) == 0 {
		pace = []string{"-re"}
	}
	args := append([]string{"-hide_banner", "-nostdin", "-loglevel", "error"}, pace...)
	args = append(args, "-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=320x180:rate=%d", rate))
	args = append(args, pace...)
	args = append(args, "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100"+u.sound)
	if u.video != "" {
		args = append(args, "-vf", u.video, "-vsync", "vfr")
	}
	keys := u.gop
	if keys == 0 {
		keys = gop
	}
	args = append(args, "-pix_fmt", "yuv420p", "-g", fmt.Sprint(keys), "-c:v", "libx264", "-preset", "ultrafast",
		"-x264-params", "scenecut=0", "-threads:v", "1", "-c:a", "aac", "-b:a", "64k")
	return append(append(args, u.codecs...), "-f", "flv")
}

// holds stops a process for a time, again and again, until it has ended.
func holds(hold, every time.Duration) func(*process) {
	return func(p *process) {
		wait := func(d time.Duration) bool {
			select {
			case <-time.After(d):
				return true
			case <-p.ended:
				return false
			}
		}
		for wait(every - hold) {
			p.cmd.Process.Signal(syscall.SIGSTOP)
			again := wait(hold)
			p.cmd.Process.Signal(syscall.SIGCONT)
			if !again {
				return
			}
		}
	}
}

// starved are the words that are true of any encoder that is given too little of the machine by whatever else
// runs on it.
var starved = []string{"uneven_arrival", "too_slow"}

// What is wrong with a publisher is said of it, in the API and as events, and nothing else; and nothing of one
// with which nothing is wrong. The publishers are ffmpeg.
func TestHealth(t *testing.T) {
	t.Parallel()
	s := serve(t)
	p := start(t, "ffmpeg", append((&unwell{}).arguments(), s.rtmpURL("live/good"))...)
	words := map[string]string{} // of streams; all are published before any of them is waited for
	for name, u := range map[string]unwell{
		"keys":     {word: "key_frame_interval", gop: 300},
		"rate":     {word: "frame_rate", video: "select='not(mod(n,3))'", gop: 16},
		"uneven":   {word: "uneven_arrival", disturbs: holds(1500*time.Millisecond, 6*time.Second)},
		"silent":   {word: "silent", disturbs: holds(25*time.Second, 30*time.Second)},
		"codec":    {word: "browser_codec", codecs: []string{"-c:a", "adpcm_swf"}},
		"slow":     {word: "too_slow", pace: "-readrate 0.8"},
		"fast":     {word: "too_fast", pace: "-readrate 1.3"},
		"nosound":  {word: "no_sound", sound: ":duration=12"},
		"bitrates": {word: "bitrate_swings", video: "noise=alls=80:allf=t:enable='lt(mod(t,16),8)'"},
	} {
		words[name] = u.word
		var disturbs sync.WaitGroup
		t.Cleanup(disturbs.Wait) // when the process has ended
		p := start(t, "ffmpeg", append(u.arguments(), s.rtmpURL("live/"+name))...)
		if u.disturbs != nil {
			disturbs.Go(func() { u.disturbs(p) })
		}
	}
	for name, r := range map[string]remade{
		"apart": {word: "audio_video_apart", change: func(tag *flv.Tag) {
			if tag.Type == flv.TypeAudio {
				tag.Timestamp += 1500
			}
		}},
		"jumps": {word: "clock_jumps", change: func(tag *flv.Tag) {
			tag.Timestamp += tag.Timestamp / 15_000 * 100_000 // again and again: one is remembered for a minute
		}},
		"early": {word: "no_reorder_room", change: func(tag *flv.Tag) {
			if tag.Type == flv.TypeVideo && tag.Data[1] == 1 {
				copy(tag.Data[2:5], []byte{0xff, 0xff, 0xd8}) // -40 ms
			}
		}},
	} {
		words[name] = r.word
		s.remake(s.rtmpURL("live/"+name), r.change)
	}
	for name, word := range words {
		for _, h := range s.untilSaid("live/"+name, word) {
			if !slices.Contains(starved, h.Word) {
				assert.Equal(t, word, h.Word, name)
			}
			assert.NotEmpty(t, h.Hint)
			t.Log(name, h.Sentence)
		}
	}
	assert.True(t, p.running())
	for name := range words {
		s.end("live/" + name)
	}
	s.checkHealthEvents(len(words))
}

// remade is what a publisher sends, changed on its way.
type remade struct {
	word   string
	change func(*flv.Tag)
}

// remake publishes what ffmpeg makes, with every tag changed, until the test ends: ffmpeg itself would put such
// timestamps right.
func (s *server) remake(url string, change func(*flv.Tag)) {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), need(s.t, "ffmpeg"), append((&unwell{}).arguments(), "-flvflags", "no_duration_filesize", "-")...)
	out, err := cmd.StdoutPipe()
	require.NoError(s.t, err)
	require.NoError(s.t, cmd.Start())
	c := rtmp.Client{OpenTimeout: patience}
	p, err := c.Publish(s.t.Context(), url)
	require.NoError(s.t, err)
	sent := make(chan error, 1)
	go func() {
		r := flv.NewReader(out)
		for {
			tag, err := r.Next()
			if err == nil {
				change(&tag)
				err = p.WriteTag(tag)
			}
			if err != nil {
				sent <- err
				return
			}
		}
	}()
	s.t.Cleanup(func() {
		<-sent // the server has ended it
		p.Close()
		cmd.Process.Kill()
		cmd.Wait()
	})
}

// end has an operator end a publisher.
func (s *server) end(key string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, "http://"+s.operators+"/api/v1/streams/kick",
		strings.NewReader(`{"stream":"`+key+`","who":"publisher"}`))
	require.NoError(s.t, err)
	r.Header.Set("Authorization", "Bearer "+operatorToken)
	r.Header.Set("Content-Type", "application/json")
	answer, err := client.Do(r)
	require.NoError(s.t, err)
	answer.Body.Close()
	require.Equal(s.t, http.StatusOK, answer.StatusCode)
}

// checkHealthEvents holds the events: so many words have begun, each begins and ends by turns.
func (s *server) checkHealthEvents(words int) {
	s.t.Helper()
	type event struct {
		Type, Stream string
		Session      struct{ ID uint64 }
		Health       struct {
			Word   string
			Begins bool
		}
	}
	ends := func() (on map[string]bool, words []string) {
		on = map[string]bool{}
		var said struct{ Events []event }
		s.ask("/api/v1/events?limit=1000", &said)
		for _, e := range said.Events {
			if e.Type == "health" {
				key := fmt.Sprint(e.Session.ID, e.Health.Word)
				require.NotEqual(s.t, on[key], e.Health.Begins, "%v", e)
				on[key] = e.Health.Begins
				words = append(words, e.Health.Word)
				if !slices.Contains(starved, e.Health.Word) {
					assert.NotEqual(s.t, "live/good", e.Stream, "%v", e)
				}
			}
		}
		return on, words
	}
	until(s.t, "every word has ended", func() bool {
		on, _ := ends()
		for _, still := range on {
			if still {
				return false
			}
		}
		return true
	})
	_, all := ends()
	slices.Sort(all)
	assert.Len(s.t, slices.Compact(all), words, "%v", all)
}
