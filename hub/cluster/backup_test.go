package cluster_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/cluster"
	"sluice/hub/cluster/memory"
)

// A main publisher at n1 and its backup at n2 are two of one stream, as they are at one node.

// duo is them, and a viewer at each of three nodes.
type duo struct {
	*rig
	main, backup *publisher
	viewers      []*audience
	sending      sync.WaitGroup
}

const duoKey = "key=x"

// newTrio returns three nodes without either.
func newTrio(t *testing.T) *duo {
	d := new(duo)
	t.Cleanup(d.sending.Wait) // behind the end of all nodes
	d.rig = newRig(t, 3, memory.Config{})
	return d
}

func newDuo(t *testing.T) *duo {
	d := newTrio(t)
	d.main = d.sends(0, duoKey)
	d.backup = d.sends(1, duoKey+"&backup=1")
	for _, n := range d.nodes {
		d.viewers = append(d.viewers, n.watch("demo"))
	}
	d.until("all see the main one", func() bool { return d.allSee(d.main) })
	return d
}

// sends publishes at a node, and goes on until that ends.
func (d *duo) sends(node int, query string) *publisher {
	d.t.Helper()
	p, err := d.nodes[node].publishMoving("demo", query, func() bool { return false })
	require.NoError(d.t, err)
	d.goOn(p)
	return p
}

func (d *duo) goOn(p *publisher) {
	d.sending.Go(func() {
		for p.send(1) == nil {
		}
	})
}

// allSee reports whether each viewer that is left has just been given pictures of a publisher.
func (d *duo) allSee(p *publisher) bool {
	for _, v := range d.viewers {
		if v.node.isDead() {
			continue
		}
		all := v.pictures()
		if len(all) == 0 || !strings.HasPrefix(all[len(all)-1], p.text()) || lateness(p, all[len(all)-1]) > 2 {
			return false
		}
	}
	return true
}

// lateness returns how many pictures ago a publisher has sent one.
func lateness(p *publisher, text string) int64 {
	var session, picture int64
	var name string
	_, _ = fmt.Sscanf(strings.ReplaceAll(text, ",", ""), "session %d of %s picture %d", &session, &name, &picture)
	return p.frames.Load() - picture
}

// requireSound requires that no viewer has ended, or was given anything twice, and that no record is left of who owns nothing.
func (d *duo) requireSound(owner *node) {
	d.t.Helper()
	for _, v := range d.viewers {
		if v.node.isDead() {
			continue
		}
		assert.Equal(d.t, hub.ReasonNone, v.ended(), "at %s", v.node.name)
		seen := make(map[string]bool)
		for _, text := range v.pictures() {
			assert.False(d.t, seen[text], "%s twice at %s", text, v.node.name)
			seen[text] = true
		}
	}
	for _, n := range d.nodes {
		if !n.isDead() {
			assert.Equal(d.t, n == owner, n.hub.PublisherOf(key("demo")) != nil, "at %s", n.name)
		}
	}
}

// stays requires that a publisher has not been ended, and whether it stands by.
func (d *duo) stays(p *publisher, standsBy bool) {
	d.t.Helper()
	assert.Empty(d.t, p.ended)
	for _, info := range p.hub.Sessions() {
		if info.Session == p.session {
			assert.Equal(d.t, standsBy, info.Standby)
			return
		}
	}
	assert.Fail(d.t, "it is gone")
}

// gap returns for how long a viewer was shown no new picture, at the most.
func (a *audience) gap() (most time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var last time.Time
	for i, t := range a.tags {
		if p, err := t.Packet(); err == nil && t.Type == flv.TypeVideo && p.Kind == flv.KindFrame {
			if !last.IsZero() {
				most = max(most, a.came[i].Sub(last))
			}
			last = a.came[i]
		}
	}
	return most
}

func TestBackupAtAnotherNode(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(d *duo) // of the main one
		dies bool
		away time.Duration // the longest time without a picture
	}{
		"it leaves": {end: func(d *duo) { d.main.pub.Close() }, away: 1100 * time.Millisecond},
		"it is kicked": {end: func(d *duo) {
			d.main.hub.Dismiss(func(s *hub.Session) bool { return s == d.main.session }, &hub.Refusal{Reason: hub.ReasonKicked})
		}, away: 1100 * time.Millisecond},
		"its node dies": {end: func(d *duo) { d.main.kill() }, dies: true, away: 2600 * time.Millisecond},
		"its node ends": {end: func(d *duo) { d.main.node.end() }, dies: true, away: 1100 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDuo(t)
				time.Sleep(20 * time.Second)
				synctest.Wait()
				require.True(t, d.allSee(d.main))
				d.stays(d.backup, true)
				d.requireSound(d.nodes[0])

				test.end(d)
				time.Sleep(50 * time.Millisecond)
				if !test.dies {
					_, err := d.nodes[2].publish("demo", "key=another")
					assert.ErrorContains(t, err, "is being published already", "the backup is to be shown")
				}
				d.until("all see the backup", func() bool { return d.allSee(d.backup) })
				d.stays(d.backup, false)
				d.requireSound(d.nodes[1])
				for _, v := range d.viewers {
					if !v.node.isDead() {
						assert.LessOrEqual(t, v.gap(), test.away, "at %s", v.node.name)
					}
				}
				_, err := d.nodes[2].publish("demo", "key=another")
				assert.Error(t, err)

				// It comes back, at another node, and stands by.
				main := d.sends(2, duoKey)
				time.Sleep(5 * time.Second)
				synctest.Wait()
				assert.True(t, d.allSee(d.backup), "nothing goes back by itself")
				d.stays(main, true)
				d.stays(d.backup, false)
				require.NoError(t, d.nodes[2].hub.Switch(key("demo")))
				d.until("all see the main one", func() bool { return d.allSee(main) })
				d.stays(main, false)
				d.stays(d.backup, true)
				d.requireSound(d.nodes[2])
				d.backup.pub.Close()
				time.Sleep(5 * time.Second)
				synctest.Wait()
				assert.True(t, d.allSee(main))
				d.requireSound(d.nodes[2])
			})
		})
	}
}

// Others who come when the main one has just gone do not come before the backup, whichever node they are at.
func TestStrangersDoNotComeBeforeTheBackup(t *testing.T) {
	for name, test := range map[string]struct {
		end       func(d *duo) // of the main one
		strangers []int        // at which nodes
	}{
		"it leaves":         {func(d *duo) { d.main.pub.Close() }, []int{0, 1, 2}},
		"its node dies":     {func(d *duo) { d.main.kill() }, []int{1, 2}},
		"its node ends":     {func(d *duo) { d.main.node.end() }, []int{1, 2}},
		"its node freezes":  {func(d *duo) { d.main.freeze() }, []int{1, 2}},
		"no records at all": {func(d *duo) { d.engine.Mute(true); d.main.kill() }, []int{1, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDuo(t)
				time.Sleep(time.Second)
				var strangers sync.WaitGroup
				refused := make([]error, len(d.nodes))
				test.end(d)
				for _, i := range test.strangers {
					strangers.Go(func() {
						for range 20 { // at once, and again and again
							var p *publisher
							if p, refused[i] = d.nodes[i].publish("demo", "key=another"); refused[i] == nil {
								p.pub.Close()
								return
							}
							time.Sleep(100 * time.Millisecond)
						}
					})
				}
				strangers.Wait()
				for _, i := range test.strangers {
					assert.ErrorContains(t, refused[i], "is being published already", "at n%d", i+1)
				}
				d.until("the backup is shown", func() bool { return d.viewers[1].sees(d.backup) })
				d.stays(d.backup, false)
			})
		})
	}
}

// A stranger does not come before a backup that has yet to send a key frame, however long the main one has been silent.
func TestStrangersDoNotComeBeforeTheNextKeyFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTrio(t)
		_, err := d.nodes[0].publish("demo", duoKey)
		require.NoError(t, err)
		backup, err := d.nodes[1].publish("demo", duoKey+"&backup=1")
		require.NoError(t, err)
		for began := time.Now(); time.Since(began) < 2*grace; time.Sleep(40 * time.Millisecond) {
			at := uint32(time.Since(began).Milliseconds())
			require.NoError(t, backup.pub.Write(flv.Tag{Type: flv.TypeVideo, Timestamp: at, Data: []byte{0x27, 1, 0, 0, 0, 0, 0, 0, 1, 1}}))
		}
		for i, n := range d.nodes {
			_, err := n.publish("demo", "key=another")
			assert.ErrorContains(t, err, "is being published already", "at n%d", i+1)
		}
		time.Sleep(2 * grace) // both are silent
		_, err = d.nodes[2].publish("demo", "key=another")
		require.NoError(t, err)
	})
}

// One that stands by and sends nothing keeps nobody waiting.
func TestSilentBackupKeepsNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTrio(t)
		d.main = d.sends(0, duoKey)
		silent, err := d.nodes[1].publish("demo", duoKey+"&backup=1")
		require.NoError(t, err)
		time.Sleep(10 * time.Second)
		d.stays(silent, true)
		d.main.kill()
		began := time.Now()
		_, err = d.nodes[2].publish("demo", "key=another")
		require.NoError(t, err)
		assert.Less(t, time.Since(began), 2*time.Second)
	})
}

// One that is silent for a while stands by afterwards, without being ended, and is shown again when the backup goes.
func TestMainIsSilentForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTrio(t)
		var err error
		d.main, err = d.nodes[0].publish("demo", duoKey)
		require.NoError(t, err)
		d.backup = d.sends(1, duoKey+"&backup=1")
		for _, n := range d.nodes {
			d.viewers = append(d.viewers, n.watch("demo"))
		}
		require.NoError(t, d.main.send(100))
		synctest.Wait()
		require.True(t, d.allSee(d.main))
		d.until("all see the backup", func() bool { return d.allSee(d.backup) })
		d.goOn(d.main)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		assert.True(t, d.allSee(d.backup))
		d.stays(d.main, true)
		d.requireSound(d.nodes[1])
		d.backup.pub.Close()
		d.until("all see the main one", func() bool { return d.allSee(d.main) })
		d.stays(d.main, false)
		d.requireSound(d.nodes[0])
	})
}

// One that is to be shown and ends before it is has the other one follow at once, too.
func TestBackupEndsBeforeItIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTrio(t)
		d.main = d.sends(0, duoKey)
		var err error
		d.backup, err = d.nodes[1].publish("demo", duoKey+"&backup=1") // it sends no key frame
		require.NoError(t, err)
		viewer := d.nodes[2].watch("demo")
		time.Sleep(3 * time.Second)
		d.main.pub.Close()
		d.until("the backup is to be shown", func() bool { return d.nodes[1].hub.PublisherOf(key("demo")) == d.backup.session })
		again, err := d.nodes[0].publish("demo", duoKey)
		require.NoError(t, err)
		d.stays(again, true)
		d.backup.pub.Close()
		time.Sleep(100 * time.Millisecond)
		assert.Same(t, again.session, d.nodes[0].hub.PublisherOf(key("demo")))
		_, err = d.nodes[2].publish("demo", "key=another")
		assert.ErrorContains(t, err, "is being published already")
		d.viewers = append(d.viewers, viewer)
		d.goOn(again)
		d.until("it is seen", func() bool { return d.allSee(again) })
		d.requireSound(d.nodes[0])
	})
}

// older is a directory by which a node asks as one did that did not know of publishers that stand by for those of others.
type older struct{ cluster.Directory }

func (o older) Ask(ctx context.Context, subject string, data []byte) ([]byte, error) {
	var q map[string]any
	if strings.HasSuffix(subject, ".claim") && json.Unmarshal(data, &q) == nil {
		for _, name := range []string{"canWait", "stepsUp", "asked"} {
			delete(q, name)
		}
		data, _ = json.Marshal(q)
	}
	return o.Directory.Ask(ctx, subject, data)
}

// A node of an older version is answered what it knows, and who stands by at the owner stays.
func TestBackupAtOlderNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTrio(t)
		d.main = d.sends(0, duoKey)
		d.backup = d.sends(0, duoKey+"&backup=1")
		d.spy = func(dir cluster.Directory) cluster.Directory { return older{dir} }
		n := d.start("n4", 0)
		_, err := n.publish("demo", duoKey+"&backup=1")
		assert.ErrorContains(t, err, "its backup has to be there, too, at node n1")
		d.stays(d.main, false)
		d.stays(d.backup, true)
		again, err := n.publish("demo", duoKey)
		require.NoError(t, err, "the main one may move")
		assert.Equal(t, hub.ReasonReplaced, (<-d.main.ended).Reason)
		again.pub.Close()
	})
}

// Without the directory nothing changes, and the backup follows as well.
func TestBackupWithoutDirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuo(t)
		d.engine.Gone(true)
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.True(t, d.allSee(d.main))
		d.requireSound(d.nodes[0])
		d.main.kill()
		d.until("all see the backup that can", func() bool { return d.viewers[1].sees(d.backup) })
		d.engine.Gone(false)
		d.until("all see the backup", func() bool { return d.allSee(d.backup) })
		d.requireSound(d.nodes[1])
	})
}

// The node of the backup may die, or its encoder come back anywhere: nobody sees anything of that.
func TestBackupComesAndGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuo(t)
		again := d.sends(2, duoKey+"&backup=1")
		time.Sleep(3 * time.Second)
		d.stays(again, true)
		d.nodes[1].kill()
		time.Sleep(3 * time.Second)
		atOwner := d.sends(0, duoKey+"&backup=1")
		time.Sleep(3 * time.Second)
		synctest.Wait()
		d.stays(atOwner, true)
		assert.True(t, d.allSee(d.main))
		d.requireSound(d.nodes[0])
		assert.LessOrEqual(t, d.viewers[0].gap(), 40*time.Millisecond)

		// Both places at one node: as if it were alone.
		d.main.pub.Close()
		d.until("all see that one", func() bool { return d.allSee(atOwner) })
		d.requireSound(d.nodes[0])
		d.stays(again, true)
		assert.LessOrEqual(t, d.viewers[0].gap(), 1100*time.Millisecond)
	})
}

// A main publisher that comes to the backup's node is shown there, and the backup stands by for it.
func TestMainComesToItsBackup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuo(t)
		main := d.sends(1, duoKey)
		d.until("all see it", func() bool { return d.allSee(main) })
		assert.Equal(t, hub.ReasonReplaced, (<-d.main.ended).Reason)
		d.stays(d.backup, true)
		d.requireSound(d.nodes[1])
		main.pub.Close()
		d.until("all see the backup", func() bool { return d.allSee(d.backup) })
		d.requireSound(d.nodes[1])
	})
}

// One that gets the name for the backup's node, and never begins, keeps nobody from seeing the backup.
func TestMainComesToItsBackupAndLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuo(t)
		time.Sleep(5 * time.Second)
		query, _ := url.ParseQuery(duoKey)
		s := d.nodes[1].hub.NewSession(hub.RolePublish, key("demo"), hub.Client{Protocol: "rtmp", Name: "demo", Query: query})
		require.NoError(t, s.AskAndWait(t.Context()))
		assert.Equal(t, hub.ReasonReplaced, (<-d.main.ended).Reason)
		s.Refuse(&hub.Refusal{Reason: hub.ReasonClientLeft})
		d.until("all see the backup", func() bool { return d.allSee(d.backup) })
		d.stays(d.backup, false)
		d.requireSound(d.nodes[1])
		for _, v := range d.viewers {
			assert.LessOrEqual(t, v.gap(), 2100*time.Millisecond, "at %s", v.node.name)
		}
	})
}

// writes is a directory that tells when a record has been changed.
type writes struct {
	cluster.Directory
	changed func()
}

func (w writes) Update(ctx context.Context, key string, value []byte, in uint64) (uint64, error) {
	revision, err := w.Directory.Update(ctx, key, value, in)
	w.changed()
	return revision, err
}

// A backup that ends in the moment in which it gets the stream leaves it to the main one.
func TestBackupEndsAsItIsLetIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kick func()
		d := new(duo)
		t.Cleanup(d.sending.Wait)
		d.rig = &rig{t: t, engine: memory.New(memory.Config{}), by: make(map[string]*node)}
		d.spy = func(dir cluster.Directory) cluster.Directory {
			return writes{dir, func() {
				if kick != nil {
					kick()
				}
			}}
		}
		d.startAll(3)
		d.main = d.sends(0, duoKey)
		d.backup = d.sends(1, duoKey+"&backup=1")
		for _, n := range d.nodes {
			d.viewers = append(d.viewers, n.watch("demo"))
		}
		d.until("all see the main one", func() bool { return d.allSee(d.main) })
		kick = d.backup.pub.Close
		require.NoError(t, d.nodes[1].hub.Switch(key("demo")))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		kick = nil
		assert.True(t, d.allSee(d.main))
		d.requireSound(d.nodes[0])
		for _, v := range d.viewers {
			assert.LessOrEqual(t, v.gap(), 2100*time.Millisecond, "at %s", v.node.name)
		}
	})
}

// A main publisher that goes from the node of both to another one is still followed by the backup, which stays where it is.
func TestMainGoesFromItsBackup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTrio(t)
		d.main = d.sends(0, duoKey)
		d.backup = d.sends(0, duoKey+"&backup=1")
		for _, n := range d.nodes {
			d.viewers = append(d.viewers, n.watch("demo"))
		}
		d.until("all see the main one", func() bool { return d.allSee(d.main) })
		main := d.sends(1, duoKey)
		d.until("all see it", func() bool { return d.allSee(main) })
		assert.Equal(t, hub.ReasonReplaced, (<-d.main.ended).Reason)
		d.stays(d.backup, true)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		assert.True(t, d.allSee(main))
		d.stays(d.backup, true)
		d.requireSound(d.nodes[1])
		main.pub.Close()
		d.until("all see the backup", func() bool { return d.allSee(d.backup) })
		d.stays(d.backup, false)
		d.requireSound(d.nodes[0])
	})
}

// A node that stood still and wakes has its publisher, which was shown, stand by for the other one of the two. Nobody sees it
// where that one has come back elsewhere.
func TestFrozenNodeWithOneOfTwo(t *testing.T) {
	for _, again := range []bool{false, true} { // the main one has come back elsewhere meanwhile
		t.Run(fmt.Sprint(again), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDuo(t)
				d.main.freeze()
				d.until("all others see the backup", func() bool { return d.viewers[2].sees(d.backup) })
				owner, shown := d.nodes[1], d.backup
				if again {
					shown, owner = d.sends(2, duoKey), d.nodes[2]
					require.NoError(t, d.nodes[2].hub.Switch(key("demo")))
					d.until("all others see it", func() bool { return d.viewers[1].sees(shown) })
				}
				d.main.thaw()
				d.until("all see one", func() bool { return d.allSee(shown) })
				time.Sleep(5 * time.Second)
				synctest.Wait()
				assert.True(t, d.allSee(shown))
				d.requireSound(owner)
				d.stays(d.backup, again)
				if again { // it has ended, or stands by, if its node was asked by the backup's as it woke
					return
				}
				d.stays(d.main, true)
				d.backup.pub.Close()
				d.until("all see the main one", func() bool { return d.allSee(d.main) })
				d.requireSound(d.nodes[0])
			})
		})
	}
}

// Parted, both are shown, each on its side; one of them stays when the nodes see each other again, and the other stands by.
func TestPartedFromItsBackup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuo(t)
		d.part([]string{"n1"}, []string{"n2", "n3"})
		d.until("the backup is shown on its side", func() bool { return d.viewers[2].sees(d.backup) })
		time.Sleep(20 * time.Second)
		d.heal()
		d.until("all see one", func() bool { return d.allSee(d.backup) || d.allSee(d.main) })
		time.Sleep(30 * time.Second)
		synctest.Wait()
		owner := d.nodes[0]
		if d.allSee(d.backup) {
			owner = d.nodes[1]
		}
		d.requireSound(owner)
	})
}

// A drain of the owner has the backup follow as soon as the main one has gone.
func TestDrainWithBackupElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuo(t)
		done := make(chan cluster.Handover, 1)
		go func() {
			h, _ := d.nodes[0].cluster.HandOver(t.Context())
			done <- h
		}()
		d.until("all see the backup", func() bool { return d.allSee(d.backup) })
		h := <-done
		assert.Equal(t, cluster.Handover{Ended: 1, Moved: 1}, h)
		d.requireSound(d.nodes[1])
	})
}

// All nodes end and start again, one after the other, and the two encoders come back at any other node: nobody sees an end.
func TestRollingRestartWithBackup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTrio(t)
		var ending atomic.Int64 // the node that is about to end
		var over atomic.Bool
		encoder := func(at int, query string) {
			d.sending.Go(func() {
				for ; !over.Load(); at = int(ending.Load()+1) % len(d.nodes) {
					p, err := d.nodes[at].publishMoving("demo", query, func() bool { return false })
					for err == nil && !over.Load() {
						err = p.send(1)
					}
					if p != nil {
						p.pub.Close()
					}
					time.Sleep(300 * time.Millisecond)
				}
			})
		}
		encoder(0, duoKey)
		time.Sleep(300 * time.Millisecond)
		encoder(1, duoKey+"&backup=1")
		viewers := make(map[*audience]int)
		for round := range 6 {
			time.Sleep(5 * time.Second)
			for i, n := range d.nodes {
				viewers[n.watch("demo")] = i
			}
			time.Sleep(5 * time.Second)
			synctest.Wait()
			n := round % len(d.nodes)
			ending.Store(int64(n))
			<-d.nodes[n].handOver()
			d.nodes[n].hub.RefuseNew()
			time.Sleep(time.Second)
			name := d.nodes[n].name
			d.nodes[n].end()
			for v, i := range viewers {
				if i == n {
					delete(viewers, v)
				}
			}
			time.Sleep(3 * time.Second)
			for v := range viewers {
				assert.Equal(t, hub.ReasonNone, v.ended(), "round %d, at %s", round, v.name)
				requireUnique(t, v.pictures())
				assert.LessOrEqual(t, v.gap(), 1100*time.Millisecond, "round %d, at %s", round, v.name)
			}
			d.start(name, 0)
		}
		over.Store(true)
	})
}
