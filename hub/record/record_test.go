package record

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/hub/archive"
)

// A recording has everything from the session's first packet on, waits through the
// publisher's grace, and ends with its stream.
func TestRecording(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.publish("")
		g.send("meta:me@0 360p@0 aac@0")
		want := g.film(0, 3)
		g.send("text:hi@3000")
		want = append(want, "text:hi@2900")
		time.Sleep(time.Second)
		all := g.recordings()
		require.Len(t, all, 1)
		assert.Equal(t, archive.StateRecording, all[0].State)
		assert.Equal(t, append([]string{"360p@0", "aac@0"}, want...), g.read(all[0].ID), "what is published is there a second later")

		g.pub.Close()
		time.Sleep(2 * time.Second)
		g.publish("")
		g.send("meta:me@0 360p@0 aac@0")
		more := g.film(0, 2)
		g.pub.Close()
		time.Sleep(10 * time.Second)
		all = g.recordings()
		require.Len(t, all, 1, "a reconnect makes no new file")
		assert.Equal(t, archive.StateFinished, all[0].State)
		assert.Equal(t, names(append(want, more...)), names(frames(g.read(all[0].ID))))
		assert.InDelta(t, 5000, all[0].Duration.Milliseconds(), 200, "on one timeline")
		assert.Equal(t, 640, all[0].Width)
		assert.Zero(t, all[0].Gaps)
		assert.Equal(t, "begun finished", g.story())
		assert.Contains(t, g.log.String(), "recording finished")
		totals := g.rec.Totals()
		assert.Equal(t, Totals{Begun: 1, Finished: 1, Bytes: totals.Bytes}, totals)
		assert.Greater(t, totals.Bytes, uint64(500))
	})
}

// A new file begins at a key frame: after a time, after so many bytes, and where the picture
// or a track changes, but not at a codec header that changes nothing of that. No frame is lost.
func TestCuts(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*Config)
		film   func(g *rig) []string
		files  []string // the first packet of each
	}{
		"time": {func(c *Config) { c.Segment = 2 * time.Second }, func(g *rig) []string { return g.film(0, 7) },
			[]string{"K:0", "K:2000", "K:4000", "K:6000"}},
		"bytes": {func(c *Config) { c.SegmentBytes = 66_400 }, func(g *rig) []string { return g.film(0, 4) },
			[]string{"K:0", "K:2000"}},
		"picture": {nil, func(g *rig) []string {
			words := g.film(0, 2)
			g.send("turned@2000")
			return append(words, g.film(2000, 2)...)
		}, []string{"K:0", "K:2000"}},
		"codec": {nil, func(g *rig) []string {
			words := g.film(0, 2)
			g.send("hevc@2000 H:2000@2000 A:2000@2000 H:2100@2100")
			return append(words, "H:2000@2000", "A:2000@2000", "H:2100@2100")
		}, []string{"K:0", "H:2000"}},
		"sound": {nil, func(g *rig) []string {
			words := g.film(0, 2)
			words = append(words, g.film(2000, 1)[:20]...)
			g.send("aac48@3000 A:3000@3000 P:3000@3000 K:3100@3100 A:3100@3100")
			return append(words, "A:3000@3000", "P:3000@3000", "K:3100@3100", "A:3100@3100")
		}, []string{"K:0", "K:3100"}},
		"harmless": {nil, func(g *rig) []string {
			words := g.film(0, 2)
			g.send("harm@2000")
			return append(words, g.film(2000, 2)...)
		}, []string{"K:0"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t, func(c *Config) {
					if tt.change != nil {
						tt.change(c)
					}
				})
				g.publish("")
				g.send("360p@0 aac@0")
				want := tt.film(g)
				g.pub.Close()
				time.Sleep(10 * time.Second)
				var got, firsts []string
				for i, r := range g.recordings() {
					words := g.read(r.ID)
					require.NotEmpty(t, words)
					assert.Contains(t, words[0], "@0", "file %d begins with a header at its beginning: %v", i, words[:3])
					own := frames(words)
					firsts = append(firsts, names(own[:1])...)
					assert.Contains(t, own[0], "@0", "a file has its own time")
					got = append(got, own...)
					assert.Equal(t, archive.StateFinished, r.State)
				}
				assert.Equal(t, names(want), names(got), "nothing is lost, nothing is there twice")
				assert.Equal(t, tt.files, firsts)
			})
		})
	}
}

// Files are in the order of what is in them, also where much came at once, as if it were of the past.
func TestFilesOfABurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, func(c *Config) { c.Segment = 2 * time.Second })
		g.publish("")
		g.send("360p@0 aac@0")
		want := g.film(0, 1)
		time.Sleep(time.Second)
		for ms := 1000; ms < 10_000; ms += 500 {
			word := fmt.Sprintf("%s:%d@%d", map[bool]string{true: "K", false: "P"}[ms%1000 == 0], ms, ms)
			g.send(word)
			want = append(want, word)
		}
		g.pub.Close()
		time.Sleep(10 * time.Second)
		var got []string
		var begins []time.Time
		for _, r := range g.recordings() {
			got = append(got, frames(g.read(r.ID))...)
			begins = append(begins, r.Begin)
		}
		assert.Equal(t, names(want), names(got))
		assert.Len(t, begins, 5)
		for i, begin := range begins[1:] {
			assert.True(t, begin.After(begins[i]), "%v, file %d", begins, i+1)
		}
	})
}

// A publisher that wants that goes on in the last file, if the codecs are the same.
func TestAppend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		session := func(how, header string) (words []string) {
			g.publish(how)
			g.send(header + "@0 aac@0")
			words = g.film(0, 2)
			g.pub.Close()
			time.Sleep(10 * time.Second)
			return words
		}
		first := session("append", "360p") // there is none yet
		require.Len(t, g.recordings(), 1)
		more := session("append", "harm")
		all := g.recordings()
		require.Len(t, all, 1)
		assert.Equal(t, names(append(slices.Clone(first), more...)), names(frames(g.read(all[0].ID))))
		assert.InDelta(t, 4000, all[0].Duration.Milliseconds(), 150, "one follows the other")
		words := names(g.read(all[0].ID))
		assert.Equal(t, 2+len(first), slices.Index(words, "harm"), "the other header stands before its frames")
		assert.Equal(t, 2+len(first)+len(more)+1, len(words))
		session("record", "360p")
		require.Len(t, g.recordings(), 2, "never over an old one")
		session("append", "turned")
		require.Len(t, g.recordings(), 3, "it does not fit")
		session("live", "360p")
		assert.Len(t, g.recordings(), 4)
		assert.Equal(t, frames(first), frames(g.read(all[0].ID))[:len(first)])
		assert.Equal(t, strings.TrimSpace(strings.Repeat("begun finished ", 5)), g.story())
	})
}

// Only streams that are wanted are recorded; by hand others too, and those not.
func TestWhatIsRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, func(c *Config) { c.Records = func(k hub.Key) bool { return k != key } })
		g.publish("record")
		g.send("360p@0 aac@0")
		g.film(0, 2)
		assert.Empty(t, g.recordings(), "not because the publisher asks")
		assert.False(t, g.rec.Records(key))
		assert.True(t, g.rec.Records(hub.Key{App: "live", Name: "other"}))
		g.rec.Start(key)
		assert.True(t, g.rec.Records(key))
		synctest.Wait()
		g.film(2000, 2)
		g.rec.Start(key)
		time.Sleep(time.Second)
		all := g.recordings()
		require.Len(t, all, 1)
		assert.Equal(t, "K:1000@0", frames(g.read(all[0].ID))[0], "from the newest key frame on")
		g.rec.Stop(key)
		g.rec.Stop(hub.Key{App: "live", Name: "other"})
		assert.False(t, g.rec.Records(key))
		assert.False(t, g.rec.Records(hub.Key{App: "live", Name: "other"}))
		time.Sleep(time.Second)
		assert.Equal(t, archive.StateFinished, g.recordings()[0].State)
		g.film(4000, 2)
		assert.Len(t, g.recordings(), 1)
		g.pub.Close()
		time.Sleep(10 * time.Second)
		g.rec.Start(key)
		g.publish("")
		g.send("360p@0 aac@0")
		g.film(0, 2)
		assert.Len(t, g.recordings(), 2)
	})
}

// A self-test is never recorded, whoever asks for it.
func TestSelfTestIsNotRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		check := hub.Key{App: "live", Name: hub.CheckName([16]byte{1})}
		s := g.hub.NewSession(hub.RolePublish, check, hub.Client{Publishing: "record"})
		p, err := g.hub.Publish(s, hub.PublishOptions{})
		require.NoError(t, err)
		defer p.Close()
		g.rec.Start(check)
		synctest.Wait()
		assert.False(t, g.rec.Records(check))
		assert.Zero(t, g.rec.Totals().Running)
	})
}

// Sound without a picture is recorded as well, and what is short.
func TestShortSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.publish("")
		synctest.Wait()
		g.send("aac@0 A:1@0 A:2@23")
		g.pub.Close()
		time.Sleep(10 * time.Second)
		all := g.recordings()
		require.Len(t, all, 1)
		assert.Equal(t, []string{"aac@0", "A:1@0", "A:2@23"}, g.read(all[0].ID))
		g.publish("")
		g.pub.Close()
		time.Sleep(10 * time.Second)
		assert.Len(t, g.recordings(), 1, "nothing makes no file")
		assert.Equal(t, "begun finished", g.story())
	})
}

// A stream that ends and is published again at once is recorded again.
func TestAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		for i := range 3 {
			g.publish("")
			g.send("360p@0 aac@0")
			g.film(0, 1)
			g.pub.Close()
			time.Sleep(5*time.Second + time.Duration(i+1)*time.Nanosecond)
		}
		time.Sleep(time.Second)
		all := g.recordings()
		assert.Len(t, all, 3)
		for _, r := range all {
			assert.Len(t, frames(g.read(r.ID)), 20)
		}
	})
}

// The stream of another server is recorded there: a file ends where a stream goes over to it, though it goes on, and
// another one begins where it comes back.
func TestStreamOfAnotherServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, func(c *Config) { c.Foreign = func(s *hub.Session) bool { return s.Client().Publishing == "copy" } })
		for _, how := range []string{"", "copy", ""} {
			g.publish(how)
			g.send("360p@0 aac@0")
			g.film(0, 1)
			g.pub.Close()
			time.Sleep(time.Second) // within the grace time
		}
		time.Sleep(10 * time.Second)
		all := g.recordings()
		assert.Len(t, all, 2)
		for _, r := range all {
			n := len(frames(g.read(r.ID)))
			assert.GreaterOrEqual(t, n, 20)
			assert.LessOrEqual(t, n, 22, "what comes with the copy's first packets, before it is known")
		}
	})
}

// What a recording costs: no more than two writes a second.
func TestWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.publish("")
		g.send("360p@0 aac@0")
		g.film(0, 3)
		calls := func() (n int) {
			g.disk.set(func() { n = g.disk.calls })
			return n
		}
		before := calls()
		g.film(3000, 30)
		assert.LessOrEqual(t, calls()-before, 60)
		assert.Greater(t, calls()-before, 30, "a second may be lost at the most")
	})
}

// A session that has fewer tracks than the one before leaves nothing of these in its file.
func TestTracksOfAnotherSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.publish("")
		g.send("360p@0 aac@0 aac1@0 K:0@0 A:0@0 a1@0")
		g.film(100, 2)
		g.pub.Close()
		g.publish("")
		g.send("360p@0 aac@0")
		g.film(0, 3)
		g.pub.Close()
		time.Sleep(30 * time.Second)
		all := g.recordings()
		require.Len(t, all, 2)
		assert.Contains(t, g.read(all[0].ID), "aac1@0")
		second := g.read(all[1].ID)
		assert.Equal(t, []string{"360p@0", "aac@0", "K:0@0"}, second[:3])
		assert.NotContains(t, strings.Join(second, " "), "aac1")
	})
}

// A track that comes between key frames has its header in the file that ends with the next
// key frame, since its frames stand there, and in the one that begins there.
func TestTrackBetweenKeyFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.publish("")
		g.send("360p@0 aac@0")
		g.film(0, 2)
		g.send("K:2@2000 A:2@2000")
		time.Sleep(3 * time.Second)
		g.send("aac1@2100 a1@2100 P:3@2100 A:3@2100 a1@2200 P:4@2200 A:4@2200")
		time.Sleep(3 * time.Second)
		g.send("K:5@2300 A:5@2300 a1@2300 P:6@2400 A:6@2400")
		time.Sleep(3 * time.Second)
		g.pub.Close()
		time.Sleep(30 * time.Second)
		all := g.recordings()
		require.Len(t, all, 2)
		first := strings.Join(g.read(all[0].ID), " ")
		assert.Regexp(t, `K:2@\d+ A:2@\d+ aac1@\d+ a1@`, first)
		assert.Equal(t, 1, strings.Count(first, "aac1"))
		assert.Equal(t, []string{"360p@0", "aac@0", "aac1@0", "K:5@0"}, g.read(all[1].ID)[:4])
	})
}

// Tracks that are there no more, and come again one after the other: their headers stand
// before their frames.
func TestTracksComeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.publish("")
		g.send("360p@0 aac@0 aac1@0 K:0@0 A:0@0 a1@0")
		g.film(100, 2)
		g.pub.Close()
		g.publish("")
		g.send("360p@0 K:x@0")
		for ms := 100; ms <= 2000; ms += 100 {
			time.Sleep(100 * time.Millisecond)
			g.send(fmt.Sprintf("P:%d@%d", ms, ms))
		}
		g.send("aac@2000 aac1@2000 A:y@2000 a1@2000 P:z@2100 A:z@2100 a1@2100")
		time.Sleep(3 * time.Second)
		g.pub.Close()
		time.Sleep(30 * time.Second)
		all := g.recordings()
		words := strings.Join(g.read(all[len(all)-1].ID), " ")
		assert.Regexp(t, `P:2000@\d+ aac@\d+ aac1@\d+ A:y@\d+ a1@`, words)
	})
}

// A recording goes on with a publisher that stood by, as through a reconnect, in one file.
func TestRecordingThroughASwitch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		publish := func(query url.Values) *hub.Publisher {
			p, err := g.hub.Publish(g.hub.NewSession(hub.RolePublish, key, hub.Client{Query: query}), hub.PublishOptions{})
			require.NoError(t, err)
			return p
		}
		main := publish(url.Values{"key": {"x"}})
		g.pub = main
		g.send("meta:me@0 360p@0 aac@0")
		want := g.film(0, 2)
		backup := publish(url.Values{"key": {"x"}, "backup": {"1"}})
		g.pub = backup
		g.send("meta:me@0 360p@0 aac@0 P:100@100")
		g.pub = main
		want = append(want, g.film(2000, 1)...)
		main.Close()
		g.pub = backup
		want = append(want, g.film(1000, 1)...)
		main = publish(url.Values{"key": {"x"}})
		g.pub = main
		g.send("meta:me@0 360p@0 aac@0")
		require.NoError(t, g.hub.Switch(key))
		want = append(want, g.film(5000, 2)...)
		backup.Close()
		want = append(want, g.film(7000, 1)...)
		main.Close()
		time.Sleep(10 * time.Second)
		all := g.recordings()
		require.Len(t, all, 1)
		assert.Equal(t, names(want), names(frames(g.read(all[0].ID))))
		assert.InDelta(t, 7000, all[0].Duration.Milliseconds(), 300, "on one timeline")
		assert.Zero(t, all[0].Gaps)
		assert.Equal(t, "begun finished", g.story())
	})
}
