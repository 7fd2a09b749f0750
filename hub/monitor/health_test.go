package monitor

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// stalls returns a network that holds everything up for a time, again and again from begin on, and lets it
// through at once then.
func stalls(every, hold, begin time.Duration, times int) func(time.Duration, bool) time.Duration {
	return func(t time.Duration, _ bool) time.Duration {
		if t < begin || int((t-begin)/every) >= times {
			return t
		}
		if at := (t - begin) % every; at < hold {
			return t - at + hold
		}
		return t
	}
}

// Next to each encoder of which there is something to say stand good ones that are near to it.
func TestWords(t *testing.T) {
	seconds := func(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }
	between := func(from, to float64) func(time.Duration) bool {
		return func(t time.Duration) bool { return t >= seconds(from) && t < seconds(to) }
	}
	every := func(n int) func(int, time.Duration) bool {
		return func(i int, _ time.Duration) bool { return i%n == 0 }
	}
	quiet := func(t time.Duration, key bool) int { // a screen on which something happens for a third of the time
		switch busy := int(t.Seconds()/20)%3 == 1; {
		case key && busy:
			return 60000
		case key:
			return 30000
		case busy:
			return 6000
		}
		return 80
	}
	varying := func(i int, t time.Duration) bool { return int(t.Seconds()/20)%3 == 1 || i%8 == 0 }
	blocks := func(low, high int, period float64) func(time.Duration, bool) int {
		return func(t time.Duration, key bool) int {
			if int(t.Seconds()/period)%2 == 0 {
				return low
			}
			return high
		}
	}
	speed := func(s float64) func(time.Duration, bool) time.Duration {
		return func(t time.Duration, _ bool) time.Duration { return time.Duration(float64(t) / s) }
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for name, c := range map[string]struct {
		encoder
		during time.Duration // 2 min if 0
		words  string
	}{
		"good":              {},
		"good, audio only":  {encoder: encoder{audioOnly: true}},
		"good, video only":  {encoder: encoder{videoOnly: true}},
		"good, 60 a second": {encoder: encoder{fps: 60, gop: 240}},

		"pictures are missing":         {encoder: encoder{fps: 30, sends: func(i int, _ time.Duration) bool { return i%3 != 0 }}, words: "frame_rate"},
		"few pictures are missing":     {encoder: encoder{fps: 30, sends: func(i int, _ time.Duration) bool { return i%10 != 0 }}},
		"quiet screen":                 {encoder: encoder{fps: 30, gop: 60, size: quiet}, during: 4 * time.Minute},
		"quiet screen, fewer pictures": {encoder: encoder{fps: 30, gop: 60, sends: varying, size: quiet}, during: 4 * time.Minute},
		"screen that moves in fits": {encoder: encoder{fps: 30, gop: 60, sends: func(i int, t time.Duration) bool { return math.Mod(t.Seconds(), 10) < 3 || i%60 == 0 }, size: func(_ time.Duration, key bool) int {
			return map[bool]int{true: 34000, false: 900}[key]
		}}, during: 4 * time.Minute},
		"screen that moves in fits, and a cursor": {encoder: encoder{fps: 30, gop: 60, sends: func(i int, t time.Duration) bool { return math.Mod(t.Seconds(), 10) < 3 || i%7 == 0 }}, during: 4 * time.Minute},
		"falls behind, and catches up":            {encoder: encoder{fps: 30, sends: func(i int, t time.Duration) bool { return math.Mod(t.Seconds(), 10) < 3 || i%2 == 0 }}, words: "frame_rate"},
		"a picture a second":                      {encoder: encoder{fps: 1, gop: 2}},
		"a picture in 8 s":                        {encoder: encoder{fps: 1. / 8, gop: 1}},
		"a picture in 20 s, announced":            {encoder: encoder{fps: 1. / 20, gop: 1, announced: 30, size: quiet}, during: 4 * time.Minute},
		"a rate that varies":                      {encoder: encoder{announced: 1000, sends: varying, size: func(time.Duration, bool) int { return 4000 }, gop: 10}},
		"no rate announced":                       {encoder: encoder{announced: -1, sends: every(2), gop: 20}},
		"camera off for a while":                  {encoder: encoder{sends: func(_ int, t time.Duration) bool { return !between(40, 75)(t) }}},

		"10 s between key frames": {encoder: encoder{gop: 250}, words: "key_frame_interval"},
		"one key frame":           {encoder: encoder{gop: 1e9}, words: "key_frame_interval"},
		"4 s between key frames":  {encoder: encoder{gop: 100}},
		"only key frames":         {encoder: encoder{everyIsKey: true}},
		"60 pictures, few of them": {encoder: encoder{fps: 30, gop: 60, sends: func(i int, t time.Duration) bool { return t < 30*time.Second || i%10 == 0 }, size: func(t time.Duration, key bool) int {
			if t < 30*time.Second {
				return 5000
			}
			return 300
		}}},

		"bitrate up and down":            {encoder: encoder{size: blocks(1000, 25000, 8)}, words: "bitrate_swings"},
		"bitrate up and down, half":      {encoder: encoder{size: blocks(5000, 12000, 8)}},
		"bitrate up and down, but small": {encoder: encoder{size: blocks(100, 2500, 8)}},
		"bitrate up and down, as said":   {encoder: encoder{size: blocks(1000, 25000, 8), kilobits: 5000}},
		"bitrate changes once":           {encoder: encoder{size: blocks(1000, 25000, 60)}},
		"large key frames":               {encoder: encoder{gop: 100, size: func(_ time.Duration, key bool) int { return map[bool]int{true: 900000, false: 500}[key] }}},
		"noise":                          {encoder: encoder{size: func(time.Duration, bool) int { return 2000 + rng.IntN(8000) }}},

		"sound is ahead":       {encoder: encoder{shift: 1500 * time.Millisecond}, words: "audio_video_apart"},
		"sound is behind":      {encoder: encoder{clock: func(t time.Duration) time.Duration { return t + 10*time.Second }, shift: -2 * time.Second}, words: "audio_video_apart"},
		"sound is a bit ahead": {encoder: encoder{shift: 800 * time.Millisecond}},
		"sound comes in parts": {encoder: encoder{arrives: func(t time.Duration, isAudio bool) time.Duration {
			if isAudio {
				return t.Truncate(600*time.Millisecond) + 600*time.Millisecond
			}
			return t
		}}},
		"sound waits for a picture a second": {encoder: encoder{fps: 1, gop: 2, arrives: func(t time.Duration, isAudio bool) time.Duration {
			if isAudio {
				return t.Truncate(time.Second) + time.Second
			}
			return t
		}}},
		"sound waits for a picture in 4 s": {encoder: encoder{fps: .25, gop: 1, arrives: func(t time.Duration, isAudio bool) time.Duration {
			if isAudio {
				return t.Truncate(4*time.Second) + 4*time.Second
			}
			return t
		}}},
		"sound with a picture in 8 s": {encoder: encoder{fps: 1. / 8, gop: 1, announced: -1}, during: 4 * time.Minute},

		"clock jumps": {encoder: encoder{clock: func(t time.Duration) time.Duration {
			if t > 30*time.Second {
				return t + 100*time.Second
			}
			return t
		}}, words: "clock_jumps"},
		"clock jumps back": {encoder: encoder{clock: func(t time.Duration) time.Duration {
			if t > 30*time.Second {
				return t - 20*time.Second
			}
			return t
		}}, words: "clock_jumps"},
		"clock wraps":          {encoder: encoder{clock: func(t time.Duration) time.Duration { return t + (1<<31-30000)*time.Millisecond }}},
		"clock ends":           {encoder: encoder{clock: func(t time.Duration) time.Duration { return t + (1<<32-30000)*time.Millisecond }}},
		"clock is off by some": {encoder: encoder{arrives: speed(1.001)}},

		"network stalls":        {encoder: encoder{arrives: stalls(7*time.Second, 1500*time.Millisecond, 20*time.Second, 5)}, words: "uneven_arrival"},
		"network stalls twice":  {encoder: encoder{arrives: stalls(10*time.Second, 3*time.Second, 20*time.Second, 2)}},
		"network stalls a bit":  {encoder: encoder{arrives: stalls(2*time.Second, 400*time.Millisecond, 0, 1000)}},
		"network stalls rarely": {encoder: encoder{arrives: stalls(20*time.Second, 2*time.Second, 20*time.Second, 100)}},
		"segments of 6 s":       {encoder: encoder{arrives: stalls(6*time.Second, 6*time.Second, 0, 1000)}, words: "uneven_arrival"},
		"pause of 12 s":         {encoder: encoder{sends: func(_ int, t time.Duration) bool { return !between(40, 52)(t) }, speaks: func(t time.Duration) bool { return !between(40, 52)(t) }}},
		"pause of the clock too": {encoder: encoder{
			sends: func(_ int, t time.Duration) bool { return !between(40, 52)(t) }, speaks: func(t time.Duration) bool { return !between(40, 52)(t) },
			clock: func(t time.Duration) time.Duration {
				if t >= 52*time.Second {
					return t - 12*time.Second
				}
				return t
			},
		}},
		"silent for long": {encoder: encoder{sends: func(_ int, t time.Duration) bool { return !between(40, 65)(t) }, speaks: func(t time.Duration) bool { return !between(40, 65)(t) }}, words: "silent"},

		"nine tenths of the pace": {encoder: encoder{arrives: speed(.9)}, words: "too_slow"},
		"a fifth faster":          {encoder: encoder{arrives: speed(1.2)}, words: "too_fast"},
		"two thirds of the pace":  {encoder: encoder{arrives: speed(.66)}, words: "too_slow"},
		"half as fast again":      {encoder: encoder{arrives: speed(1.5)}, words: "too_fast"},
		"two in a hundred slower": {encoder: encoder{arrives: speed(.98)}},
		"begins with 8 s at once": {encoder: encoder{arrives: func(t time.Duration, _ bool) time.Duration { return max(0, t-8*time.Second) }}},
		"begins slowly": {encoder: encoder{arrives: func(t time.Duration, _ bool) time.Duration {
			return max(t+time.Second, min(2*t, t+5*time.Second))
		}}},

		"timestamps stand still":                {encoder: encoder{videoOnly: true, clock: func(time.Duration) time.Duration { return 0 }}, words: "too_slow"},
		"timestamps run backwards":              {encoder: encoder{clock: func(t time.Duration) time.Duration { return time.Hour - t }}, words: "too_slow"},
		"timestamps stand still, sound and all": {encoder: encoder{clock: func(time.Duration) time.Duration { return 0 }}, words: "too_slow"},

		"no sound any more": {encoder: encoder{speaks: between(0, 40)}, words: "no_sound"},
		"no sound for 8 s":  {encoder: encoder{speaks: func(t time.Duration) bool { return !between(40, 48)(t) }}},

		"shown before it is decoded": {encoder: encoder{compose: -40}, words: "no_reorder_room"},
		"shown later":                {encoder: encoder{compose: 80}},

		"HEVC": {encoder: encoder{codecs: "HEVC"}, words: "browser_codec"},
		"VP9":  {encoder: encoder{codecs: "VP9"}, words: "browser_codec"},
		"AC-3": {encoder: encoder{codecs: "AC-3"}, words: "browser_codec"},
		"AV1":  {encoder: encoder{codecs: "AV1"}},
		"Opus": {encoder: encoder{codecs: "Opus"}},
		"FLAC": {encoder: encoder{codecs: "FLAC"}},
		"MP3":  {encoder: encoder{codecs: "MP3"}},
	} {
		t.Run(name, func(t *testing.T) {
			watch(t, func(r *rig) {
				during := c.during
				if during == 0 {
					during = 2 * time.Minute
				}
				r.run(c.encoder, during)
				assert.Equal(t, strings.Fields(c.words), r.words())
				for _, e := range r.events() {
					assert.NotEmpty(t, e.Sentence)
					assert.NotEmpty(t, e.Hint)
					t.Logf("%v %s %v: %s", e.Time.Sub(r.monitor.began), e.Word, e.Begins, e.Sentence)
				}
			})
		})
	}
}

// An encoder that comes back is judged anew: what was wrong ends with its session, and begins with the next.
func TestWordsEndWithTheSession(t *testing.T) {
	watch(t, func(r *rig) {
		var sessions []*hub.Session
		for range 2 {
			r.run(encoder{gop: 250}, 30*time.Second)
			time.Sleep(4 * time.Second)
			told := r.events()
			require.NotEmpty(t, told)
			last := told[len(told)-1]
			assert.False(t, last.Begins)
			sessions = append(sessions, last.Session)
			_, live := r.monitor.Status(me)
			assert.False(t, live)
		}
		assert.NotSame(t, sessions[0], sessions[1])
		require.Len(t, r.events(), 4)
		assert.Equal(t, 30*time.Second, r.told[1].Time.Sub(r.told[0].Time).Round(5*time.Second)+10*time.Second, "at the next look")
	})
}

// One that takes over between two looks is another session.
func TestWordsEndWhenAnotherTakesOver(t *testing.T) {
	watch(t, func(r *rig) {
		p := r.publish(me)
		r.send(p, encoder{gop: 1e9}, 20*time.Second)
		assert.Equal(t, 1, r.monitor.Unwell())
		time.Sleep(1600 * time.Millisecond) // of silence, after which another may come
		other := r.publish(me)
		r.send(other, encoder{}, 20*time.Second)
		require.Len(t, r.events(), 2)
		assert.Equal(t, r.told[0].Session, r.told[1].Session)
		status, live := r.monitor.Status(me)
		assert.True(t, live)
		assert.Empty(t, status.Health)
		assert.Zero(t, r.monitor.Unwell())
		assert.InDelta(t, 25, status.FrameRate, .1)
		assert.Equal(t, 2*time.Second, status.KeyInterval)
		other.Close()
	})
}

// Reconnects are no reason for a word, with a clock that begins anew or goes on.
func TestReconnectsAreGood(t *testing.T) {
	watch(t, func(r *rig) {
		for i := range 12 {
			e := encoder{}
			if i%2 == 0 {
				e.clock = func(t time.Duration) time.Duration { return t + 1000*time.Second }
			}
			r.run(e, time.Duration(3+5*i)*time.Second)
			time.Sleep(time.Duration(i) * 700 * time.Millisecond)
		}
		assert.Empty(t, r.events())
	})
}

// A word begins after it has held, and ends after it has been good, for as long as its rule says.
func TestHysteresis(t *testing.T) {
	rule := -1
	for i := range rules {
		if rules[i].word == "audio_video_apart" {
			rule = i
		}
	}
	r := &rules[rule]
	require.Equal(t, []time.Duration{6 * time.Second, 10 * time.Second}, []time.Duration{r.begins, r.ends}, "of which the steps below are")
	for steps, want := range map[string]string{ // one every 2 s: b bad, g good, ? unknown
		"gggg":               "....",
		"bbb":                "...",
		"bbbb":               "...+",
		"bbgbbb":             "......",
		"bb?bbb":             "......",
		"bbbbggggg":          "...+.....",
		"bbbbgggggg":         "...+.....-",
		"bbbbgggbgggggg":     "...+.........-",
		"bbbb????gg?gg?g":    "...+..........-",
		"bbbbggggggbbbb":     "...+.....-...+",
		"?bbbb":              "....+",
		"bbbbbbbbbbbgggggg?": "...+............-.",
	} {
		s, got := new(stream), ""
		for i, found := range steps {
			now := time.Duration(i) * step
			f := finding{verdict: map[rune]verdict{'b': bad, 'g': good, '?': unknown}[found]}
			switch s.judge(rule, f, now) {
			case begins:
				got += "+"
				require.True(t, s.word(rule).on)
			case ends:
				got += "-"
				s.drop(rule)
			case stays:
				got += "."
			}
		}
		assert.Equal(t, want, got, steps)
	}
}

// senseless is a hub that measures whatever it likes.
type senseless struct {
	rng  *rand.Rand
	hub  *hub.Hub
	live map[hub.Key]*hub.Session
	wild bool // figures make no sense
}

func (s *senseless) Totals() []hub.SessionTotals { return nil }

func (s *senseless) Measure(all []hub.Measures) []hub.Measures {
	for n := range 8 {
		key := hub.Key{App: "live", Name: string(rune('a' + n))}
		if s.rng.IntN(12) == 0 {
			delete(s.live, key)
		}
		if s.live[key] == nil && s.rng.IntN(3) == 0 {
			s.live[key] = s.hub.NewSession(hub.RolePublish, key, hub.Client{})
		}
		if who := s.live[key]; who != nil {
			all = append(all, s.measures(key, who))
		}
	}
	return all
}

func (s *senseless) measures(key hub.Key, who *hub.Session) hub.Measures {
	any := func() time.Duration {
		if s.wild {
			return time.Duration(s.rng.Uint64())
		}
		return time.Duration(s.rng.IntN(30000)) * time.Millisecond
	}
	count := func() uint64 { return s.rng.Uint64() >> s.rng.IntN(64) }
	rate := func() float64 { return []float64{0, 25, 1e300, math.SmallestNonzeroFloat64, 1000}[s.rng.IntN(5)] }
	return hub.Measures{
		Session: who, Key: key, Silence: any(),
		Counts: hub.Counts{
			Bytes: count(), VideoBytes: count(), Pictures: count(), Sounds: count(), Early: count(), Jumps: count(), Video: any(), Audio: any(),
		},
		KeyInterval: any(), KeyGap: count(), SinceKey: any(), AfterKey: count(), Apart: any(), HasApart: s.rng.IntN(2) == 0,
		VideoUneven: any(), AudioUneven: any(), Gap: any(), AnnouncedRate: rate(), HeaderRate: rate(), VideoBitrate: rate(),
	}
}

// Whatever is measured, and whoever comes and goes: each word that begins ends once, and nothing breaks.
func TestPairs(t *testing.T) {
	for seed := range uint64(12) {
		synctest.Test(t, func(t *testing.T) {
			var told []Event
			s := &senseless{rng: rand.New(rand.NewPCG(seed, 0)), hub: hub.New(hub.Config{}), live: map[hub.Key]*hub.Session{}, wild: seed%2 == 0}
			m := New(Config{Hub: s, Observe: func(e Event) { told = append(told, e) }})
			rng := rand.New(rand.NewPCG(seed, 1))
			for range 80 {
				time.Sleep(time.Duration(rng.IntN(10)) * time.Second)
				for n := range 8 {
					key := hub.Key{App: "live", Name: string(rune('a' + n))}
					m.Status(key)
					m.Stream(key)
				}
			}
			m.Close()
			assert.NotEmpty(t, told)
			checkPairs(t, told)
			for _, e := range told {
				assert.Contains(t, Words(), e.Word)
			}
		})
	}
}
