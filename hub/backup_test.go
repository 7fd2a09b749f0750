package hub_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
)

// Who is taken in beside, or in place of, the publisher that there is.
func TestSecondPublisherWithBackup(t *testing.T) {
	main, backup := client{Identity: "x"}, client{Identity: "x", Backup: true}
	for _, test := range []struct {
		name          string
		first, second client
		silent        time.Duration
		is            string // "stands by", "replaces" or a part of the words of a refusal
	}{
		{"the backup of the main one", main, backup, 0, "stands by"},
		{"the main one of a backup", backup, main, 0, "stands by"},
		{"the main one again", main, main, 0, "replaces"},
		{"the backup again", backup, backup, 0, "replaces"},
		{"a backup of another", main, client{Identity: "y", Backup: true}, 0, "has to show the same as its publisher"},
		{"a backup that shows nothing", main, client{Backup: true}, 0, "has to show the same as its publisher"},
		{"neither shows anything", client{}, client{Backup: true}, 0, "has to show the same as its publisher"},
		{"both show no more than that", client{Backup: true}, client{Backup: true}, 0, "has to show the same as its publisher"},
		{"another one", main, client{Identity: "y"}, 0, "is being published already"},
		{"the backup of a silent one", main, backup, time.Minute, "stands by"},
		{"a stranger, of a silent one", main, client{Identity: "y", Backup: true}, 8 * time.Second, "replaces"},
		{"a backup without a secret, of a silent one", client{}, client{Backup: true}, 1500 * time.Millisecond, "replaces"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWitness(t)
				h := newHub(t, hub.Config{Observe: w.observe})
				first := publish(t, h, test.first)
				first.send(av)
				time.Sleep(test.silent)
				second, err := tryPublish(t, h, test.second)
				switch test.is {
				case "stands by":
					require.NoError(t, err)
					assert.Empty(t, first.ended)
					assert.Contains(t, w.tell(), "published standby")
					s := info(t, h).Standby
					require.NotNil(t, s)
					assert.Equal(t, test.second.Backup, s.Backup)
					second.Close()
					assert.Nil(t, info(t, h).Standby)
					assert.Equal(t, "unpublished standby (client left)", w.tell())
					first.send("P:2@40")
				case "replaces":
					require.NoError(t, err)
					assert.Equal(t, []hub.Reason{hub.ReasonReplaced}, first.ended)
					assert.Nil(t, info(t, h).Standby)
				default:
					assert.Equal(t, hub.ReasonBusy, reasonOf(t, err))
					assert.ErrorContains(t, err, test.is)
					assert.Empty(t, first.ended)
				}
				assert.NoError(t, h.Check())
			})
		})
	}
}

func TestProofIn(t *testing.T) {
	for query, proof := range map[string]string{
		"": "", "backup=1": "", "backup=1&backup=2": "", "key=x": "key=x", "key=x&backup=1": "key=x", "backup=1&a=b&key=x": "a=b&key=x",
	} {
		values, err := url.ParseQuery(query)
		require.NoError(t, err)
		assert.Equal(t, proof, hub.ProofIn(values), query)
		assert.Equal(t, strings.Contains(query, "backup"), values.Has("backup"), "it is left as it was")
	}
}

// pair publishes a main one and its backup, each of which has sent its headers and a frame, and a viewer
// of the first.
func pair(t *testing.T, h *hub.Hub) (main, backup *source, v *sink) {
	main = publish(t, h, client{Identity: "x", Remote: "10.0.0.1:1"})
	main.send("meta:av vc:s ac:c K:m1@5000 A:m1@5000")
	backup = publish(t, h, client{Identity: "x", Backup: true, Remote: "10.0.0.2:2"})
	backup.send("meta:av vc:s ac:c K:b1@0 A:b1@0 P:b2@40")
	v = watch(t, h, hub.WatchOptions{FixedCodecs: true})
	require.Equal(t, "meta:av@0 vc:s@0 ac:c@0 K:m1@0 A:m1@0", v.read())
	return main, backup, v
}

// When the one that is shown is silent for a second, the stream goes on with the other at its key frame.
func TestStandbyFollowsSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWitness(t)
		h := newHub(t, hub.Config{Observe: w.observe})
		main, backup, v := pair(t, h)
		assert.Equal(t, "published, tracks, published standby, joined", w.tell())
		time.Sleep(500 * time.Millisecond)
		backup.send("P:b2@500")
		time.Sleep(499 * time.Millisecond)
		backup.send("K:b3@1000 A:b3@1000")
		assert.Empty(t, v.read(), "not silent for long enough")
		time.Sleep(time.Millisecond)
		backup.send("P:b4@1040 A:b4@1020")
		assert.Empty(t, v.read(), "no key frame")
		main.send("P:m2@6000 A:m2@6000")
		assert.Equal(t, "P:m2@1000 A:m2@1000", v.read(), "it sends again")
		time.Sleep(500 * time.Millisecond)
		backup.send("A:b4@1500")
		time.Sleep(500 * time.Millisecond)
		assert.Empty(t, w.tell())
		backup.send("K:b5@3000 A:b5@3000 P:b6@3040")
		assert.Equal(t, "K:b5@1020 A:b5@1020 P:b6@1060", v.read(), "one timeline")
		assert.Equal(t, "switched, tracks", w.tell())
		i := info(t, h)
		assert.Equal(t, "10.0.0.2:2", i.Publisher)
		assert.Equal(t, "10.0.0.1:1", i.Standby.Address)
		assert.False(t, i.Standby.Backup)
		assert.Equal(t, time.Second, i.Standby.Silence)

		// It goes back only when asked to.
		main.send("K:m3@8000 A:m3@8000")
		assert.Empty(t, v.read())
		require.NoError(t, h.Switch(key))
		assert.True(t, info(t, h).Standby.Asked)
		main.send("P:m4@8040")
		backup.send("P:b7@3080 A:b7@3060")
		main.send("A:m5@8060")
		assert.Equal(t, "P:b7@1100 A:b7@1080", v.read())
		main.send("K:m6@8080 A:m6@8080")
		assert.Equal(t, "K:m6@1140 A:m6@1140", v.read())
		assert.Equal(t, hub.ReasonNone, v.end)
		assert.False(t, info(t, h).Standby.Asked)
		backup.send("K:b8@3120")
		assert.Empty(t, v.read())
		assert.Equal(t, "switched, tracks", w.tell())
		joined := watch(t, h, hub.WatchOptions{})
		assert.Equal(t, "meta:av@0 vc:s@0 ac:c@0 K:m6@0 A:m6@0", joined.read())
		assert.NoError(t, h.Check())
	})
}

// A silence of both proves nothing, though what was held up of the standby comes first; nor does that
// of two that send a picture every two seconds.
func TestSilenceOfBoth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWitness(t)
		h := newHub(t, hub.Config{Observe: w.observe})
		main, backup, v := pair(t, h)
		time.Sleep(3 * time.Second)
		backup.send("P:b2@1000 A:b2@1000 K:b3@2000 A:b3@2000 P:b4@3000 A:b4@3000")
		main.send("K:m2@8000 A:m2@8000")
		assert.Equal(t, "K:m2@3000 A:m2@3000", v.read())
		for range 10 {
			time.Sleep(time.Second)
			backup.send("K:b@0")
			time.Sleep(time.Second)
			main.send("K:m@0")
		}
		assert.NotContains(t, w.tell(), "switched")
		time.Sleep(time.Second)
		backup.send("K:b@0")
		time.Sleep(2 * time.Second)
		backup.send("K:b@0")
		assert.Equal(t, "switched", w.tell(), "of two that send now and then, too")

		// One that comes when the other has been silent for long has sent alone.
		time.Sleep(time.Minute)
		main.Close()
		main = publish(t, h, client{Identity: "x"})
		main.send("meta:av vc:s ac:c K:m3@0")
		assert.Contains(t, w.tell(), "published standby, switched")
	})
}

// However the one that is shown ends, the other follows: at its key frame, with nothing of its own before.
func TestStandbyFollowsTheEnd(t *testing.T) {
	kick := func(h *hub.Hub, address string) {
		n := h.Dismiss(func(s *hub.Session) bool { return s.Client().Remote() == address }, &hub.Refusal{Reason: hub.ReasonKicked})
		if n != 1 {
			panic("it is not found")
		}
	}
	for name, end := range map[string]func(h *hub.Hub, main *source){
		"it leaves":             func(_ *hub.Hub, main *source) { main.Close() },
		"it is kicked":          func(h *hub.Hub, _ *source) { kick(h, "10.0.0.1:1") },
		"nobody else may come":  func(h *hub.Hub, main *source) { h.RefuseNew(); main.Close() },
		"it is said to be here": func(_ *hub.Hub, main *source) { _ = main.Write(metaPath("me")) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWitness(t)
				h := newHub(t, hub.Config{Observe: w.observe, Node: "me"})
				main, backup, v := pair(t, h)
				w.tell()
				end(h, main)
				assert.Equal(t, "grace", info(t, h).State, "as long as nothing is shown")
				assert.Equal(t, "10.0.0.2:2", info(t, h).Publisher)
				var late *sink
				var done <-chan error
				if name != "nobody else may come" {
					late, done = waiting(t, h, hub.WatchOptions{})
				}
				synctest.Wait()
				backup.send("P:b3@80 A:b3@60 A:b4@80")
				assert.Empty(t, v.read())
				assert.NotContains(t, w.tell(), "switched")
				backup.send("K:b5@120 A:b5@120")
				assert.Equal(t, "K:b5@20 A:b5@20", v.read())
				assert.Equal(t, hub.ReasonNone, v.end)
				assert.Contains(t, w.tell(), "switched, tracks")
				if name != "nobody else may come" {
					assert.NoError(t, <-done)
					assert.Equal(t, "meta:av@0 vc:s@0 ac:c@0 K:b5@0 A:b5@0", late.read())
				}
				assert.Equal(t, "live", info(t, h).State)
				assert.Nil(t, info(t, h).Standby)
				if name == "nobody else may come" {
					return
				}

				// The main one comes back as the standby.
				main = publish(t, h, client{Identity: "x", Remote: "10.0.0.3:3"})
				main.send("meta:av vc:s ac:c K:m9@0")
				assert.Empty(t, v.read())
				assert.Equal(t, "10.0.0.3:3", info(t, h).Standby.Address)
				kick(h, "10.0.0.3:3")
				assert.Nil(t, info(t, h).Standby)
				assert.Equal(t, []hub.Reason{hub.ReasonKicked}, main.ended)
				backup.send("P:b6@160")
				assert.Equal(t, "P:b6@60", v.read())
			})
		})
	}
}

// If both leave, the stream has its grace time; a standby that was never shown was one to its end.
func TestBothLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWitness(t)
		h := newHub(t, hub.Config{Observe: w.observe})
		main, backup, v := pair(t, h)
		w.tell()
		main.Close()
		time.Sleep(time.Second)
		backup.Close()
		assert.Equal(t, "unpublished (client left), unpublished standby (client left), wanted", w.tell())
		assert.Equal(t, "grace", info(t, h).State)
		time.Sleep(8*time.Second - 1)
		v.read()
		assert.Equal(t, hub.ReasonNone, v.end)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		v.read()
		assert.Equal(t, hub.ReasonUnpublished, v.end)
		assert.Equal(t, hub.ReasonNotFound, reasonOf(t, h.Switch(key)))
	})
}

// Until the one that is to follow has its key frame, the other of the two is as welcome.
func TestFirstKeyFrameCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWitness(t)
		h := newHub(t, hub.Config{Observe: w.observe})
		main, backup, v := pair(t, h)
		main.Close()
		main = publish(t, h, client{Identity: "x"})
		w.tell()
		main.send("meta:av vc:s ac:c")
		backup.send("P:b3@80")
		main.send("K:m2@0 A:m2@0")
		backup.send("K:b4@120")
		assert.Equal(t, "K:m2@20 A:m2@20", v.read())
		assert.Equal(t, "switched, tracks", w.tell())
		assert.True(t, info(t, h).Standby.Backup)
		assert.Equal(t, "live", info(t, h).State)
		main.Close()
		backup.send("K:b5@160 A:b5@160")
		assert.Equal(t, "K:b5@40 A:b5@40", v.read())
		assert.NoError(t, h.Check())

		// One that connects anew has its old place, and is shown as one that comes back.
		again := publish(t, h, client{Identity: "x", Backup: true})
		assert.Equal(t, []hub.Reason{hub.ReasonReplaced}, backup.ended)
		again.send("meta:av vc:s ac:c K:b6@0 A:b6@0")
		assert.Equal(t, "K:b6@60 A:b6@60", v.read())
	})
}

// A standby that connects anew replaces itself and nobody else; a third one is refused.
func TestStandbyConnectsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		main, backup, v := pair(t, h)
		again := publish(t, h, client{Identity: "x", Backup: true})
		assert.Equal(t, []hub.Reason{hub.ReasonReplaced}, backup.ended)
		assert.Equal(t, hub.ReasonReplaced, reasonOf(t, backup.Write(tag("K:b@0"))))
		backup.Close()
		assert.Empty(t, main.ended)
		_, err := tryPublish(t, h, client{Identity: "y"})
		assert.Equal(t, hub.ReasonBusy, reasonOf(t, err))
		mainAgain := publish(t, h, client{Identity: "x"})
		assert.Equal(t, []hub.Reason{hub.ReasonReplaced}, main.ended)
		assert.Empty(t, again.ended, "it stands by for the new one")
		mainAgain.send("meta:av vc:s ac:c K:m2@0 A:m2@0")
		assert.Equal(t, "K:m2@20 A:m2@20", v.read())
		again.send("vc:s ac:c K:b@0")
		mainAgain.Close()
		again.send("K:b2@40 A:b2@40")
		assert.Equal(t, "K:b2@40 A:b2@40", v.read())
		assert.Equal(t, hub.ReasonNone, v.end)
	})
}

// A silent publisher is no abandoned one while another stands by for it; both together are.
func TestStrangerAndStandby(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		main, backup, _ := pair(t, h)
		time.Sleep(10 * time.Second)
		backup.send("P:b9@10000")
		_, err := tryPublish(t, h, client{Identity: "y"})
		assert.Equal(t, hub.ReasonBusy, reasonOf(t, err))
		time.Sleep(8 * time.Second)
		publish(t, h, client{Identity: "y"})
		assert.Equal(t, []hub.Reason{hub.ReasonReplaced}, main.ended)
		assert.Equal(t, []hub.Reason{hub.ReasonReplaced}, backup.ended)
		assert.Nil(t, info(t, h).Standby)
	})
}

// A pull never stands by, and gives way to either of the two.
func TestBackupAndYields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		p, err := pull(t, h, client{Identity: "x"})
		require.NoError(t, err)
		backup := publish(t, h, client{Identity: "x", Backup: true})
		assert.Equal(t, []hub.Reason{hub.ReasonReplaced}, p.ended)
		_, err = pull(t, h, client{Identity: "x"})
		assert.Equal(t, hub.ReasonBusy, reasonOf(t, err))
		backup.Close()
		_, err = pull(t, h, client{Identity: "x", Backup: true})
		require.NoError(t, err, "in the grace time")
	})
}

// What a standby has, viewers are told of: other codecs are what they are behind another publisher.
func TestStandbyWithOtherTracks(t *testing.T) {
	for _, test := range []struct {
		name, sends, first, got string
		wait                    time.Duration
		end                     hub.Reason
	}{
		{"the same", "vc:s ac:c", "K:1@100 A:1@100", "K:1@20 A:1@20", 0, hub.ReasonNone},
		{"its header came late, in another form", "vc:x vc:s ac:c", "K:1@100 A:1@100", "K:1@20 A:1@20", 0, hub.ReasonNone},
		{"another codec", "hc:h ac:c", "HK:1@100 A:1@100", "", 0, hub.ReasonCodecChanged},
		{"changed from another codec", "hc:h HK:0@0 vc:s ac:c", "K:1@100 A:1@100", "K:1@20 A:1@20", 0, hub.ReasonNone},
		{"no sound", "vc:s", "K:1@100", "K:1@20", 2 * time.Second, hub.ReasonCodecChanged},
		{"no picture", "ac:c A:0@0", "A:1@2000", "A:1@20", 2 * time.Second, hub.ReasonCodecChanged},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, hub.Config{})
				main := publish(t, h, client{Identity: "x"})
				main.send("vc:s ac:c K:m1@5000 A:m1@5000")
				backup := publish(t, h, client{Identity: "x", Backup: true})
				backup.send(test.sends)
				v := watch(t, h, hub.WatchOptions{FixedCodecs: true})
				v.read()
				time.Sleep(2 * time.Second) // in which it may show its other track
				main.Close()
				backup.send(test.first)
				time.Sleep(test.wait) // in which the stream may be found to have one
				got := v.read()
				if test.got != "" {
					assert.Equal(t, test.got, got)
				}
				assert.Equal(t, test.end, v.end)
			})
		})
	}
}

// One that is to follow and sends pictures without key frames is shown in the end, with its sound.
func TestNoKeyFrameOfTheStandby(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{PublisherGrace: 3 * time.Second})
		main, backup, v := pair(t, h)
		main.Close()
		time.Sleep(time.Hour) // from its next tag on the time counts
		for range 75 {
			backup.send("P:b@0 A:b@0")
			time.Sleep(40 * time.Millisecond)
		}
		assert.Empty(t, v.read())
		backup.send("A:late@0")
		assert.Equal(t, "A:late@20", v.read())
	})
}

// What a standby may send is bounded as what a publisher may.
func TestStandbyIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{MaxBitrate: 8000, Node: "me"})
		main, backup, v := pair(t, h)
		var err error
		for i := 0; err == nil && i < 100; i++ {
			err = backup.Write(tag("P:" + strings.Repeat("x", 1000)))
		}
		assert.Equal(t, hub.ReasonTooMany, reasonOf(t, err))
		assert.Nil(t, info(t, h).Standby)
		backup = publish(t, h, client{Identity: "x", Backup: true})
		assert.Equal(t, hub.ReasonLoop, reasonOf(t, backup.Write(metaPath("me"))))
		backup = publish(t, h, client{Identity: "x", Backup: true})
		for i := range 100 { // headers of further tracks, each as large as can be
			b := many(9, 0x80|0x06, 0, 0, byte(i))
			_ = backup.Write(video(0, append(b, make([]byte, 1000)...)))
			time.Sleep(time.Second)
		}
		main.send("P:m2@5040")
		assert.Equal(t, "P:m2@40", v.read())
		assert.Empty(t, main.ended)
	})
}

// Both are listed, counted and ended.
func TestSessionsOfBoth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWitness(t)
		h := newHub(t, hub.Config{Observe: w.observe})
		main, backup, v := pair(t, h)
		standby := map[string]bool{}
		for _, s := range h.Sessions() {
			if s.Session.Role() == hub.RolePublish {
				standby[s.Session.Client().Remote()] = s.Standby
				assert.Equal(t, hub.SessionRunning, s.State)
				assert.Positive(t, s.Bytes)
			}
		}
		assert.Equal(t, map[string]bool{"10.0.0.1:1": false, "10.0.0.2:2": true}, standby)
		for _, sum := range h.Totals() {
			if sum.Role == hub.RolePublish {
				assert.EqualValues(t, 2, sum.Running())
			}
		}
		assert.Equal(t, 1, info(t, h).Viewers)
		v.Close()
		assert.NoError(t, h.Shutdown(t.Context()))
		assert.Equal(t, []hub.Reason{hub.ReasonShuttingDown}, main.ended)
		assert.Equal(t, []hub.Reason{hub.ReasonShuttingDown}, backup.ended)
		w.check(h)
	})
}

// A grant's end is that of the session that it was given to.
func TestStandbyExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		until := time.Now().Add(time.Minute)
		h := newHub(t, hub.Config{ExpireSessions: true, Authorize: func(_ context.Context, s *hub.Session) (hub.Grant, error) {
			g := hub.Grant{Identity: "x"}
			if s.Client().Query.Has(hub.BackupParameter) {
				g.Until = until
			}
			return g, nil
		}})
		enter := func(c client) *source {
			s := &source{t: t}
			who := c.session(h, hub.RolePublish, key)
			require.NoError(t, who.AskAndWait(t.Context()))
			var err error
			s.Publisher, err = h.Publish(who, hub.PublishOptions{End: func(r *hub.Refusal) { s.ended = append(s.ended, r.Reason) }})
			require.NoError(t, err)
			t.Cleanup(s.Close)
			return s
		}
		main, backup := enter(client{}), enter(client{Backup: true})
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Equal(t, []hub.Reason{hub.ReasonExpired}, backup.ended)
		assert.Empty(t, main.ended)
		assert.Nil(t, info(t, h).Standby)
	})
}

// twin is one of two that publish a stream at random.
type twin struct {
	*source
	c      client
	name   string
	clock  uint32 // of its own
	frames int
	silent bool
}

// come begins to publish.
func (e *twin) come(t *testing.T, h *hub.Hub, rng *rand.Rand) {
	p, err := tryPublish(t, h, e.c)
	require.NoError(t, err)
	e.source, e.clock, e.frames = p, rng.Uint32N(1<<20), 0
	e.send("meta:av vc:s ac:c")
}

// frame sends 40 ms of picture and sound, with a key frame each second.
func (e *twin) frame() {
	kind := "P"
	if e.frames%25 == 0 {
		kind = "K"
	}
	e.send(fmt.Sprintf("%s:%s%d@%d A:%s%d@%d", kind, e.name, e.frames, e.clock, e.name, e.frames, e.clock))
	e.frames++
	e.clock += 40
}

// Two encoders come and go, fall silent and are switched between, at random: the stream has one of them
// at a time, from a key frame on, on one timeline; no viewer ends while one of them sends, or stands
// still for longer than it takes.
// The variable BACKUP_LIVES sets how many of these lives are lived.
func TestBackupModel(t *testing.T) {
	lives := uint64(4)
	if n, err := strconv.ParseUint(os.Getenv("BACKUP_LIVES"), 10, 32); err == nil {
		lives = n
	}
	for seed := range lives {
		synctest.Test(t, func(t *testing.T) { backupModel(t, rand.New(rand.NewPCG(seed, 15))) })
	}
}

func backupModel(t *testing.T, rng *rand.Rand) {
	w := newWitness(t)
	h := newHub(t, hub.Config{Observe: w.observe})
	encoders := []*twin{
		{c: client{Identity: "x"}, name: "m"}, {c: client{Identity: "x", Backup: true}, name: "b"},
	}
	encoders[0].come(t, h, rng)
	encoders[0].frame()
	var v *sink
	tell := "" // who is shown
	times := map[string]int64{"V": -1, "A": -1}
	still, dead := 0, 0 // for how many ticks nothing has come though somebody sends; for how many nobody has sent
	for range 2000 {
		time.Sleep(40 * time.Millisecond)
		sends := false
		for _, e := range encoders {
			switch n := rng.IntN(400); {
			case e.source == nil && n < 8:
				e.come(t, h, rng)
			case e.source == nil:
			case n == 0:
				e.Close()
				e.source = nil
			case n == 1:
				h.Dismiss(func(s *hub.Session) bool {
					return s.Client().Query.Has("backup") == e.c.Backup && s.Role() == hub.RolePublish
				},
					&hub.Refusal{Reason: hub.ReasonKicked})
				assert.Equal(t, []hub.Reason{hub.ReasonKicked}, e.ended)
				e.source = nil
			case n == 2: // it connects anew, and its old connection ends
				old := e.source
				e.come(t, h, rng)
				assert.Equal(t, []hub.Reason{hub.ReasonReplaced}, old.ended)
			case n < 6:
				e.silent = !e.silent
			case n == 6:
				_ = h.Switch(key)
			}
			if e.source != nil && !e.silent {
				e.frame()
				sends = true
			}
		}
		if still++; !sends {
			still = 0
		}
		if dead++; sends {
			dead = 0
		}
		require.NoError(t, h.Check())
		if v != nil {
			for _, tag := range v.take() {
				word := word(tag)
				track, who := word[:1], word[strings.Index(word, ":")+1:][:1]
				if strings.HasPrefix(word, "meta") || strings.HasPrefix(word, "vc") || strings.HasPrefix(word, "ac") {
					continue
				}
				still = 0
				if track == "K" || track == "P" {
					if who != tell {
						assert.Equal(t, "K", track, "a picture of another one without its key frame")
					}
					tell, track = who, "V"
				}
				assert.GreaterOrEqual(t, int64(tag.Timestamp), times[track])
				times[track] = int64(tag.Timestamp)
			}
			if v.end != hub.ReasonNone {
				assert.Equal(t, hub.ReasonUnpublished, v.end)
				assert.Greater(t, dead, 0, "somebody sends")
				v.Close()
				v = nil
			}
		}
		// A second of silence, and a second until the key frame; while the one of two that is shown
		// changes meanwhile, that may come again.
		assert.Less(t, still, 200)
		if v == nil {
			tell, times, still = "", map[string]int64{"V": -1, "A": -1}, 0
			s := newSink(t, h, hub.WatchOptions{FixedCodecs: true})
			if ok, err := s.TryStart(); err != nil || !ok {
				s.Close()
			} else {
				v = s
			}
		}
		if t.Failed() {
			return
		}
	}
	for _, e := range encoders {
		if e.source != nil {
			e.Close()
		}
	}
	if v != nil {
		v.Close()
	}
	assert.NoError(t, h.Shutdown(t.Context()))
	w.check(h)
	assert.Positive(t, w.begins[hub.EventSwitched])
}

// Each of the two has its own headers and metadata, which come with it, on the way back too; and what
// is known of tracks without a header.
func TestHeadersOfBoth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		main := publish(t, h, client{Identity: "x"})
		main.send("meta:v vc:s ac:c K:m1@0 A:m1@0")
		v := watch(t, h, hub.WatchOptions{ScriptData: true})
		v.read()
		backup := publish(t, h, client{Identity: "x", Backup: true})
		backup.send("meta:av vc:t K:b1@0 M:b1@0")
		require.NoError(t, h.Switch(key))
		backup.send("K:b2@40 M:b2@40")
		assert.Contains(t, v.read(), "vc:t@20 K:b2@20")
		i := info(t, h)
		require.NotNil(t, i.Audio)
		assert.Equal(t, flv.CodecMP3, i.Audio.Codec)
		assert.Equal(t, hub.ReasonNone, v.end)
		time.Sleep(time.Second)
		require.NoError(t, h.Switch(key))
		main.send("K:m3@80 A:m3@80")
		got := v.read()
		assert.Contains(t, got, "vc:s@")
		assert.Contains(t, got, "ac:c@")
		assert.Equal(t, flv.CodecAAC, info(t, h).Audio.Codec)
		joined := watch(t, h, hub.WatchOptions{})
		assert.Equal(t, "meta:av@0 vc:s@0 ac:c@0 K:m3@0 A:m3@0", joined.read())
	})
}

// A standby that restarts has shown nothing yet.
func TestRestartOfTheStandby(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		main, backup, v := pair(t, h)
		backup.send("vc:t")
		backup.Restart()
		backup.send("vc:s")
		main.Close()
		backup.send("K:b3@80 A:b3@80")
		assert.Equal(t, "K:b3@20 A:b3@20", v.read())
	})
}
