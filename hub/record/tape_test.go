package record

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/archive/flvfile"
)

// rewinder is a viewer that is given its lead, and then what the log has.
type rewinder struct {
	watcher
	led int // words of the lead
}

// rewind makes a viewer that begins so far back, and is driven as the pool does it once it has been prepared.
func (g *rig) rewind(opts hub.WatchOptions, pace Pace, prepare ...func(*hub.Viewer)) *rewinder {
	g.t.Helper()
	v, err := g.hub.Watch(g.hub.NewSession(hub.RoleWatch, key, hub.Client{Protocol: "test"}), opts)
	require.NoError(g.t, err)
	require.NoError(g.t, v.Wait(g.t.Context()))
	for _, f := range prepare {
		f(v)
	}
	w := &rewinder{watcher: watcher{t: g.t, v: v, stop: make(chan struct{}), done: make(chan struct{})}}
	go func() {
		defer close(w.done)
		defer v.Close()
		if lead := g.rec.Rewind(v, pace); lead != nil {
			defer lead.Close()
			for over := false; !over; {
				var wait time.Duration
				if _, wait, over = lead.Next(nil, w); wait > 0 && !over {
					select {
					case <-time.After(wait):
					case <-w.stop:
						return
					}
				}
			}
			w.led = len(w.tags)
		}
		for {
			w.b.Bytes = w.b.Bytes[:0]
			if _, end := v.Fill(&w.b, w, 1<<20); end != hub.ReasonNone {
				w.tags = append(w.tags, "end:"+end.String()+"@0")
				return
			}
			select {
			case <-time.After(20 * time.Millisecond):
			case <-w.stop:
				return
			}
		}
	}()
	return w
}

// rebased returns words of frames with times that begin at 0.
func rebased(t testing.TB, words []string) (out []string) {
	t.Helper()
	first := -1
	for _, w := range words {
		name, at, _ := strings.Cut(w, "@")
		var ms int
		_, err := fmt.Sscan(at, &ms)
		require.NoError(t, err)
		if first < 0 {
			first = ms
		}
		out = append(out, fmt.Sprintf("%s@%d", name, ms-first))
	}
	return out
}

// A viewer that goes further back than the log begins in the recording, at the key frame at
// or before, and walks over into the log: nothing is missing, nothing comes twice, whatever
// the length of files and GOPs.
func TestRewind(t *testing.T) {
	for name, tt := range map[string]struct {
		segment time.Duration
		back    time.Duration
		from    int // ms: where it begins
	}{
		"in the file":       {0, 12 * time.Second, 17000},
		"before everything": {0, time.Hour, 0},
		"over files":        {4 * time.Second, 20500 * time.Millisecond, 9000},
		"just beyond":       {time.Second, 1200 * time.Millisecond, 28000},
	} {
		t.Run(name, func(t *testing.T) {
			for offset := range 8 { // to the recorder's turns
				synctest.Test(t, func(t *testing.T) {
					g := newRig(t, func(c *Config) { c.Segment = tt.segment })
					g.publish("")
					g.send("360p@0 aac@0")
					want := g.film(0, 30)
					time.Sleep(time.Duration(offset) * 13 * time.Millisecond)
					v := g.rewind(hub.WatchOptions{Back: tt.back, FixedCodecs: true}, Pace{})
					synctest.Wait()
					want = append(want, g.film(30000, 5)...)
					g.pub.Close()
					time.Sleep(10 * time.Second)
					got := v.all()
					require.NotEmpty(t, got)
					assert.Equal(t, []string{"meta@0", "360p@0", "aac@0"}, got[:3])
					assert.Equal(t, "end:unpublished@0", got[len(got)-1])
					got = got[:len(got)-1]
					assert.Greater(t, v.led, 3)
					same(t, rebased(t, want[tt.from/50:]), frames(got), "what it gets")
					assert.Len(t, got, len(frames(got))+3, "headers come once")
				})
			}
		})
	}
}

// A viewer who will end at a change of the picture is given everything before it, over files
// that differ in further tracks.
func TestRewindOverFurtherTracks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.publish("")
		g.send("360p@0 aac@0 aac1@0 K:0@0 A:0@0 a1@0")
		want := append([]string{"K:0@0", "A:0@0"}, g.film(1000, 3)...)
		g.pub.Close()
		g.publish("")
		g.send("360p@5000 aac@5000")
		want = append(want, g.film(5000, 3)...)
		v := g.rewind(hub.WatchOptions{Back: time.Hour, FixedCodecs: true}, Pace{Ahead: 500 * time.Millisecond})
		synctest.Wait()
		require.Len(t, g.recordings(), 2)
		g.send("turned@8000")
		g.film(8000, 1)
		g.pub.Close()
		time.Sleep(30 * time.Second)
		got := v.all()
		assert.Equal(t, "end:codec changed@0", got[len(got)-1])
		same(t, names(want), names(frames(got[:len(got)-1])), "what it gets")
	})
}

// Pictures of another track than the viewer's leave no gap in its own.
func TestRewindOfOneTrack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.publish("")
		g.send("360p@0 aac@0 K:0@0 A:0@0 v1@0 P:1@40 A:1@40 v1@40 P:2@80 A:2@80 v1@80")
		want := append(strings.Fields("K:0@0 A:0@0 P:1@40 A:1@40 P:2@80 A:2@80"), g.film(1000, 5)...)
		v := g.rewind(hub.WatchOptions{Back: time.Hour, Shape: flv.Shape{Form: flv.FormBrowser}}, Pace{})
		time.Sleep(2 * time.Second)
		g.pub.Close()
		time.Sleep(30 * time.Second)
		got := v.all()
		same(t, names(want), names(frames(got[:len(got)-1])), "what it gets") // the last word is its end
	})
}

// A viewer that goes back to what the disk has not taken yet begins with what it took last, not at the beginning of the file.
func TestRewindBehindTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.publish("")
		g.send("360p@0 aac@0")
		want := g.film(0, 20)
		g.disk.set(func() { g.disk.hangs = make(chan struct{}) })
		want = append(want, g.film(20000, 6)...)
		v := g.rewind(hub.WatchOptions{Back: 3 * time.Second}, Pace{})
		time.Sleep(time.Second)
		close(g.disk.hangs)
		g.disk.set(func() { g.disk.hangs = nil })
		want = append(want, g.film(26000, 3)...)
		time.Sleep(time.Second)
		got := frames(v.all())
		require.NotEmpty(t, got)
		first := slices.IndexFunc(want, func(w string) bool { return strings.HasPrefix(w, got[0][:strings.Index(got[0], "@")]) })
		require.Contains(t, []string{"K:18000@18000", "K:19000@19000", "K:20000@20000"}, want[first])
		same(t, rebased(t, want[first:]), got, "what it gets")
	})
}

// Metadata that changes in the middle of a recording comes with timestamp 0.
func TestRewindOverMetadata(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.publish("")
		g.send("meta:a@0 360p@0 aac@0")
		g.film(0, 5)
		g.send("meta:b@5000")
		g.film(5000, 10)
		v := g.rewind(hub.WatchOptions{Back: time.Hour, ScriptData: true}, Pace{})
		time.Sleep(time.Second)
		g.pub.Close()
		time.Sleep(10 * time.Second)
		var metas []string
		for _, w := range v.all() {
			if strings.HasPrefix(w, "meta") {
				metas = append(metas, w)
			}
		}
		assert.Equal(t, []string{"meta@0", "meta@0"}, metas)
	})
}

// Without a recording, or where the log reaches so far, there is no lead. After a change of
// codecs a viewer goes back as far as that.
func TestNoRewind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var none *Recorder
		g := newRig(t)
		g.publish("")
		g.send("360p@0 aac@0")
		g.film(0, 3)
		v, err := g.hub.Watch(g.hub.NewSession(hub.RoleWatch, key, hub.Client{}), hub.WatchOptions{Back: 2 * time.Second})
		require.NoError(t, err)
		require.NoError(t, v.Wait(t.Context()))
		assert.Nil(t, none.Rewind(v, Pace{}))
		assert.NotNil(t, g.rec.Rewind(v, Pace{}))
		v.Close()
		v, err = g.hub.Watch(g.hub.NewSession(hub.RoleWatch, key, hub.Client{}), hub.WatchOptions{Back: 100 * time.Millisecond})
		require.NoError(t, err)
		require.NoError(t, v.Wait(t.Context()))
		assert.Nil(t, g.rec.Rewind(v, Pace{}), "the log reaches so far")
		v.Close()

		g.send("turned@3000")
		want := g.film(3000, 5)
		r := g.rewind(hub.WatchOptions{Back: time.Hour}, Pace{})
		time.Sleep(time.Second)
		same(t, rebased(t, want), frames(r.all()), "what it gets")
	})
}

// Who takes everything at once is sent no more than it can keep.
func TestRewindPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.publish("")
		g.send("360p@0 aac@0")
		g.film(0, 40)
		for _, pace := range []Pace{{Ahead: 5 * time.Second}, {Ahead: time.Minute, Bytes: 2200}} {
			v := g.rewind(hub.WatchOptions{Back: time.Hour}, pace)
			seconds := func() int {
				synctest.Wait()
				return len(frames(v.got())) / 20
			}
			early := seconds()
			assert.Less(t, early, 12)
			for i := range 10 {
				g.film(40000+1000*i, 1)
			}
			assert.InDelta(t, early+10, seconds(), 2)
			v.all()
		}
	})
}

// A viewer of only one track gets that one, one that pauses goes on where it stopped, and one
// that asked for a duration ends with it.
func TestRewindOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.publish("")
		g.send("360p@0 aac@0 text:x@0")
		want := g.film(0, 20)
		v := g.rewind(hub.WatchOptions{Back: time.Hour, NoVideo: true, Shape: flv.Shape{Form: flv.FormBrowser}}, Pace{})
		time.Sleep(time.Second)
		var sound []string
		for _, w := range want {
			if w[0] == 'A' {
				sound = append(sound, w)
			}
		}
		got := frames(v.all())
		same(t, sound[:len(got)], got, "sound")
		assert.Greater(t, len(got), 150)

		v = g.rewind(hub.WatchOptions{Back: time.Hour, Duration: 3 * time.Second}, Pace{})
		time.Sleep(2 * time.Second)
		got = v.all()
		assert.Equal(t, "end:complete@0", got[len(got)-1])
		assert.InDelta(t, 61, len(frames(got)), 3)

		v = g.rewind(hub.WatchOptions{Back: 10 * time.Second, Duration: 10500 * time.Millisecond}, Pace{})
		time.Sleep(2 * time.Second)
		got = v.all()
		assert.Equal(t, "end:complete@0", got[len(got)-1])
		got = frames(got[:len(got)-1])
		same(t, rebased(t, want[len(want)-220:])[:len(got)], got, "what ends within the newest GOP")

		v = g.rewind(hub.WatchOptions{Back: time.Hour, Duration: 5 * time.Second}, Pace{Ahead: time.Millisecond})
		time.Sleep(2 * time.Second)
		v.v.ReceiveAudio(false)
		v.v.ReceiveVideo(false)
		time.Sleep(4 * time.Second)
		got = v.all()
		assert.Equal(t, "end:complete@0", got[len(got)-1], "though it has switched off everything")

		v = g.rewind(hub.WatchOptions{Back: time.Hour}, Pace{Ahead: time.Second})
		time.Sleep(time.Second)
		v.v.Pause(true)
		time.Sleep(time.Second)
		synctest.Wait()
		paused := len(v.got())
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Len(t, v.got(), paused)
		v.v.Pause(false)
		time.Sleep(time.Minute)
		got = frames(v.all())
		same(t, want[:len(got)], got, "after a pause")
		assert.Greater(t, len(got), 380)
	})
}

// A viewer that has switched sound or picture off from the beginning gets their headers all the same. It begins at 0 with the
// first frame that it gets, and the picture with a key frame: in the recording, or in the log.
func TestRewindSwitchedOff(t *testing.T) {
	for _, off := range []string{"A", "KP", "AKP"} {
		for name, tt := range map[string]struct {
			after time.Duration
			pace  Pace
			want  int // frames of what is switched on then
		}{
			"and on at once": {0, Pace{Ahead: time.Millisecond}, 150},
			"for a while":    {2500 * time.Millisecond, Pace{Ahead: time.Millisecond}, 125},
			"up to the log":  {2500 * time.Millisecond, Pace{}, 25},
		} {
			t.Run(off+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := newRig(t)
					g.publish("")
					g.send("360p@0 aac@0")
					g.film(0, 10)
					turn := func(v *hub.Viewer, on bool) {
						if strings.Contains(off, "A") {
							v.ReceiveAudio(on)
						}
						if strings.Contains(off, "K") {
							v.ReceiveVideo(on)
						}
					}
					v := g.rewind(hub.WatchOptions{Back: time.Hour}, tt.pace, func(v *hub.Viewer) { turn(v, false) })
					go func() {
						time.Sleep(tt.after)
						turn(v.v, true)
					}()
					g.film(10000, 5)
					time.Sleep(20 * time.Second)
					all := v.all()
					assert.Equal(t, []string{"meta@0", "360p@0", "aac@0"}, all[:3])
					got := frames(all)
					assert.Len(t, all, len(got)+3, "headers come once")
					assert.True(t, strings.HasSuffix(got[0], "@0"), got[0])
					for _, kind := range []string{"A", "KP"} {
						ofKind := slices.DeleteFunc(slices.Clone(got), func(w string) bool { return !strings.Contains(kind, w[:1]) })
						want := tt.want
						if !strings.Contains(off, kind) {
							want = 150
						}
						assert.InDelta(t, want, len(ofKind), 25, kind) // a piece, and up to a GOP
						assert.Contains(t, "KA", ofKind[0][:1])
					}
				})
			})
		}
	}
}

// A shutdown ends who is being given a lead.
func TestShutdownDuringRewind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.publish("")
		g.send("360p@0 aac@0")
		g.film(0, 20)
		v := g.rewind(hub.WatchOptions{Back: time.Hour}, Pace{Ahead: time.Second})
		time.Sleep(time.Second)
		require.NoError(t, g.hub.Shutdown(context.Background()))
		<-v.done
		assert.Equal(t, "end:shutting down@0", v.tags[len(v.tags)-1])
		last := 0
		for i, tag := range v.tags[:len(v.tags)-1] {
			kind, text, _ := strings.Cut(tag, "@")
			at, err := strconv.Atoi(text)
			require.NoError(t, err, tag)
			assert.GreaterOrEqual(t, at, last, "tag %d, %s", i, tag)
			assert.False(t, i > 0 && kind == "meta", "metadata in the flow")
			last = at
		}
	})
}

// Where the format changes in what it is given, a viewer gets the new headers in time, and one
// that cannot follow ends there.
func TestRewindOverChange(t *testing.T) {
	for name, tt := range map[string]struct {
		fixed bool
		pace  Pace
		end   string
	}{
		"a player that follows":              {false, Pace{Ahead: 10 * time.Second}, "unpublished"},
		"one that has caught up meanwhile":   {false, Pace{Ahead: 30 * time.Second}, "unpublished"},
		"one that cannot":                    {true, Pace{Ahead: 10 * time.Second}, "codec changed"},
		"one that cannot, and has caught up": {true, Pace{Ahead: 30 * time.Second}, "codec changed"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t)
				g.publish("")
				g.send("360p@0 aac@0")
				want := g.film(0, 20)
				v := g.rewind(hub.WatchOptions{Back: time.Hour, FixedCodecs: tt.fixed}, tt.pace)
				want = append(want, g.film(20000, 5)...)
				before := len(want)
				g.send("turned@25000")
				want = append(want, g.film(25000, 20)...)
				want = append(want, g.film(45000, 20)...)
				g.pub.Close()
				time.Sleep(time.Minute)
				got := v.all()
				require.NotEmpty(t, got)
				assert.Equal(t, "end:"+tt.end+"@0", got[len(got)-1])
				headers := got[:3]
				assert.Equal(t, []string{"meta@0", "360p@0", "aac@0"}, headers)
				got = got[3 : len(got)-1]
				if tt.fixed {
					same(t, want[:before], got, "what it gets")
					return
				}
				same(t, want, frames(got), "what it gets")
				at := slices.Index(names(got), "turned")
				require.Positive(t, at)
				assert.Contains(t, frames(got[at:])[0], "K:25000@25000", "the header stands before its key frame")
			})
		})
	}
}

// Sound whose format changes within a GOP stands behind its header: in the file up to the next
// key frame, in the next file, and for who rewinds over it.
func TestSoundChangesWithinGOP(t *testing.T) {
	for _, fixed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t)
			g.publish("")
			g.send("360p@0 aac@0")
			want := g.film(0, 20)
			early := g.rewind(hub.WatchOptions{Back: time.Hour, FixedCodecs: fixed}, Pace{Ahead: 8 * time.Second})
			g.send("K:20000@20000 aac48@20000")
			want = append(want, "K:20000@20000")
			gop := func(from, to int) {
				for ms := from; ms < to; ms += 100 {
					pair := fmt.Sprintf("P:%d@%d A:%d@%d", ms, ms, ms, ms)
					g.send(pair)
					want = append(want, strings.Fields(pair)...)
					time.Sleep(100 * time.Millisecond)
				}
			}
			gop(20100, 26000)
			late := g.rewind(hub.WatchOptions{Back: time.Hour}, Pace{})
			gop(26000, 30000)
			want = append(want, g.film(30000, 3)...)
			time.Sleep(time.Second)

			all := g.recordings()
			require.Len(t, all, 2)
			words := g.read(all[0].ID)
			at := slices.Index(words, "aac48@20100")
			require.Positive(t, at)
			assert.Equal(t, "A:20100@20100", words[at+1])
			assert.Contains(t, g.read(all[1].ID)[:2], "aac48@0")
			got := late.all()
			assert.Equal(t, 1, len(slices.DeleteFunc(names(got), func(w string) bool { return w != "aac48" })))
			same(t, want, frames(got), "who rewinds")
			got = early.all()
			if !fixed {
				same(t, want[:len(frames(got))], frames(got), "who rewound before")
				assert.Contains(t, names(got), "aac48")
				return
			}
			time.Sleep(time.Minute)
			assert.NotContains(t, names(got), "aac48")
		})
	}
}

// The next file of a recording may be opened before its headers stand in it: the viewer has them,
// and gets them no second time.
func TestRewindIntoANewFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.publish("")
		g.send("360p@0 aac@0")
		g.film(0, 3)
		v, err := g.hub.Watch(g.hub.NewSession(hub.RoleWatch, key, hub.Client{Protocol: "test"}), hub.WatchOptions{Back: time.Hour})
		require.NoError(t, err)
		defer v.Close()
		require.NoError(t, v.Wait(t.Context()))
		lead := g.rec.Rewind(v, Pace{}).(*tape)
		defer lead.Close()
		w := &watcher{t: t, v: v}
		_, _, over := lead.Next(nil, w)
		require.False(t, over)
		require.Contains(t, w.tags, "360p@0")

		out, err := g.arc.Create(hub.Key{App: key.App, Name: "next"}, time.Now(), nil)
		require.NoError(t, err)
		defer out.Close()
		file, _, err := g.arc.Open(hub.Key{App: key.App, Name: "next"}, out.Recording().ID)
		require.NoError(t, err)
		lead.Close()
		lead.file, lead.cursor, lead.part = file, file.Cursor(), part{base: 3000}
		require.NoError(t, lead.addHeaders())
		before := len(w.tags)
		for _, word := range []string{"360p@0", "aac@0", "K:3000@0"} {
			tag := tagOf(t, word)
			_, _, err := out.Write(nil, []flvfile.Packet{{Tag: tag, Header: word[0] != 'K', Key: word[0] == 'K'}})
			require.NoError(t, err)
		}
		_, _, over = lead.Next(nil, w)
		require.False(t, over)
		assert.Equal(t, []string{"K:3000@3000"}, w.tags[before:])
	})
}
