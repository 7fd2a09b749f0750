package hub_test

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

var proofKey = []byte("of the cluster")

// claimant is what the client would be if it published elsewhere.
func claimant(c client) hub.Claimant {
	elsewhere := c.session(hub.New(hub.Config{}), hub.RolePublish, key)
	return hub.Claimant{Proof: elsewhere.Proof(proofKey), ProofKey: proofKey, Backup: elsewhere.IsBackup(), CanWait: true}
}

// What stands for an identity is the same for the same one, and says nothing without its key.
func TestProof(t *testing.T) {
	h := hub.New(hub.Config{})
	proof := func(c client, key string) []byte {
		return c.session(h, hub.RolePublish, hub.Key{App: "live", Name: "demo"}).Proof([]byte(key))
	}
	x := proof(client{Identity: "x"}, "k")
	assert.Len(t, x, 32)
	assert.Equal(t, x, proof(client{Identity: "x", Remote: "10.0.0.1:1"}, "k"))
	assert.Equal(t, x, proof(client{Identity: "x", Backup: true}, "k"))
	assert.NotEqual(t, x, proof(client{Identity: "y"}, "k"))
	assert.NotEqual(t, x, proof(client{Identity: "x"}, "l"))
	assert.Nil(t, proof(client{}, "k"))
	assert.Nil(t, proof(client{Backup: true}, "k"))
	assert.True(t, client{Backup: true}.session(h, hub.RolePublish, key).IsBackup())
	assert.False(t, client{Identity: "x"}.session(h, hub.RolePublish, key).IsBackup())

	granted := hub.New(hub.Config{Authorize: func(context.Context, *hub.Session) (hub.Grant, error) {
		return hub.Grant{Identity: "alice"}, nil
	}})
	s := client{Identity: "x"}.session(granted, hub.RolePublish, key)
	require.NoError(t, s.AskAndWait(t.Context()))
	other := client{Identity: "y"}.session(granted, hub.RolePublish, key)
	require.NoError(t, other.AskAndWait(t.Context()))
	assert.Equal(t, s.Proof(proofKey), other.Proof(proofKey), "what the policy says, and not the query")
	assert.NotContains(t, string(s.Proof(proofKey)), "alice")
}

// Whether a publisher elsewhere gets a stream that is published here: by the rules of those who are here.
func TestYield(t *testing.T) {
	const silence = 1500 * time.Millisecond
	x, xBackup := client{Identity: "x"}, client{Identity: "x", Backup: true}
	for _, test := range []struct {
		name    string
		here    func(t *testing.T, h *hub.Hub) []*source
		silent  time.Duration
		to      hub.Claimant
		refused hub.Reason
	}{
		{"nobody is here", nil, 0, claimant(x), hub.ReasonNotFound},
		{"no identity", one(client{}), 0, claimant(client{}), hub.ReasonBusy},
		{"no identity, nearly silent", one(client{}), silence - 1, claimant(client{}), hub.ReasonBusy},
		{"no identity, silent", one(client{}), silence, claimant(client{}), hub.ReasonNone},
		{"no proof, though its key is", one(client{}), 0, hub.Claimant{ProofKey: proofKey}, hub.ReasonBusy},
		{"the same identity", one(x), 0, claimant(x), hub.ReasonNone},
		{"the same identity, by another key", one(x), 0, hub.Claimant{Proof: claimant(x).Proof, ProofKey: []byte("other")}, hub.ReasonBusy},
		{"another identity", one(x), 0, claimant(client{Identity: "y"}), hub.ReasonBusy},
		{"an identity where none is here", one(client{}), 0, claimant(x), hub.ReasonBusy},
		{"none where one is here", one(x), 0, claimant(client{}), hub.ReasonBusy},
		{"another identity, silent", one(x), silence, claimant(client{Identity: "y"}), hub.ReasonBusy},
		{"another identity, silent for long", one(x), 8 * time.Second, claimant(client{Identity: "y"}), hub.ReasonNone},
		{"one that stands in for others", one(x), time.Hour, hub.Claimant{Yields: true}, hub.ReasonBusy},
		{"one that stands in, of the same identity", one(x), 0, hub.Claimant{
			Yields: true, Proof: claimant(x).Proof, ProofKey: proofKey,
		}, hub.ReasonBusy},
		{"a backup that cannot stand by there", one(x), 0, hub.Claimant{
			Proof: claimant(x).Proof, ProofKey: proofKey, Backup: true,
		}, hub.ReasonBusy},
		{"the backup of two, which cannot", two, 0, hub.Claimant{
			Proof: claimant(x).Proof, ProofKey: proofKey, Backup: true,
		}, hub.ReasonBusy},
		{"a backup of nobody", one(client{}), 0, claimant(client{Backup: true}), hub.ReasonBusy},
		{"a backup of nobody, silent", one(client{}), silence, claimant(client{Backup: true}), hub.ReasonNone},
		{"the backup for the backup", one(xBackup), 0, claimant(xBackup), hub.ReasonNone},
		{"another one for two", two, 0, claimant(client{}), hub.ReasonBusy},
		{"a pull", stoodIn, 0, claimant(client{}), hub.ReasonNone},
		{"a pull for a pull", stoodIn, time.Hour, hub.Claimant{Yields: true}, hub.ReasonBusy},
		{"a copy", func(t *testing.T, h *hub.Hub) []*source {
			p, err := copied(t, h, client{})
			require.NoError(t, err)
			p.send(av)
			return []*source{p}
		}, 0, hub.Claimant{Yields: true}, hub.ReasonNone},
		{"left", one(client{}), 0, claimant(client{}), hub.ReasonNone},
		{"left, for a pull", one(client{}), 0, hub.Claimant{Yields: true}, hub.ReasonNone},
		{"left, for a backup", one(client{}), 0, claimant(client{Backup: true}), hub.ReasonNone},
		{"left long ago", one(client{}), 8*time.Second + 1, claimant(client{}), hub.ReasonNotFound},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWitness(t)
				h := newHub(t, hub.Config{Observe: w.observe})
				var sources []*source
				var v *sink
				if test.here != nil {
					sources = test.here(t, h)
					v = watch(t, h, hub.WatchOptions{FixedCodecs: true})
					v.read()
				}
				leaves := strings.HasPrefix(test.name, "left")
				if leaves {
					sources[0].Close()
					sources = nil
				}
				time.Sleep(test.silent)
				before, own, ok := h.Head(key)
				assert.Equal(t, test.refused != hub.ReasonNotFound, ok)
				head, standsBy, err := h.Yield(key, test.to)
				assert.False(t, standsBy)
				if test.refused != hub.ReasonNone {
					assert.Equal(t, test.refused, reasonOf(t, err))
					assert.Zero(t, head)
					for _, s := range sources {
						assert.Empty(t, s.ended)
					}
					after, _, _ := h.Head(key)
					assert.Equal(t, before, after)
					return
				}
				require.NoError(t, err)
				assert.Equal(t, before, head)
				assert.NotZero(t, head.Life)
				assert.Equal(t, test.name != "a copy", own)
				for _, s := range sources {
					assert.Equal(t, []hub.Reason{hub.ReasonReplaced}, s.ended, "once")
					assert.Equal(t, hub.ReasonReplaced, reasonOf(t, s.Write(tag("K:late@9000"))))
					s.Close()
				}
				assert.Equal(t, "grace", info(t, h).State)
				time.Sleep(time.Second)
				since, vacant := h.Vacant(key)
				assert.True(t, vacant && since >= time.Second)
				assert.Empty(t, v.read())
				assert.Equal(t, hub.ReasonNone, v.end)
				again, _, err := h.Yield(key, test.to)
				require.NoError(t, err, "the same answer once more")
				assert.Equal(t, head, again)

				time.Sleep(7*time.Second - 1) // nearly all of the grace time
				copied, err := pull(t, h, client{})
				require.NoError(t, err)
				for _, word := range []string{"meta:av", "vc:s", "ac:c", "K:9", "A:9"} {
					copied.put(word, head.Time+9000)
				}
				synctest.Wait()
				assert.Regexp(t, `^(vc:s@\d+ ac:c@\d+ )?K:9@\d+ A:9@\d+$`, v.read())
				assert.Equal(t, hub.ReasonNone, v.end)
				copied.Close()
				v.read()
				assert.Equal(t, hub.ReasonUnpublished, v.end)
				v.Close()
				w.check(h)
			})
		})
	}
}

// one publishes as a client.
func one(c client) func(*testing.T, *hub.Hub) []*source {
	return func(t *testing.T, h *hub.Hub) []*source {
		p := publish(t, h, c)
		p.send(av)
		return []*source{p}
	}
}

// two are a main publisher and its backup.
func two(t *testing.T, h *hub.Hub) []*source {
	main := publish(t, h, client{Identity: "x"})
	main.send(av)
	backup := publish(t, h, client{Identity: "x", Backup: true})
	backup.send(av)
	return []*source{main, backup}
}

func stoodIn(t *testing.T, h *hub.Hub) []*source {
	p, err := pull(t, h, client{})
	require.NoError(t, err)
	p.send(av)
	return []*source{p}
}

// Nobody gets what nobody has: a stream that viewers wait for stays theirs, and one that has ended is none.
func TestYieldOfNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{PublisherGrace: -1})
		v, done := waiting(t, h, hub.WatchOptions{})
		synctest.Wait()
		_, _, err := h.Yield(key, hub.Claimant{})
		assert.Equal(t, hub.ReasonNotFound, reasonOf(t, err))
		_, _, ok := h.Head(key)
		assert.False(t, ok)
		h.Displace(key, &hub.Refusal{Reason: hub.ReasonReplaced}, nil)
		assert.Empty(t, done)
		p := publish(t, h, client{Identity: "x"})
		p.send(av)
		require.NoError(t, <-done)
		_, _, err = h.Yield(key, claimant(client{Identity: "x"}))
		require.NoError(t, err)
		v.read()
		assert.Equal(t, hub.ReasonUnpublished, v.end, "there is no grace time")
	})
}

// Who is displaced is told why, once, and its viewers stay; a copy stays.
func TestDisplace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, hub.Config{})
		why := &hub.Refusal{Reason: hub.ReasonReplaced, Detail: "another server has it"}
		h.Displace(key, why, nil)
		sources := two(t, h)
		v := watch(t, h, hub.WatchOptions{FixedCodecs: true})
		v.read()
		h.Displace(key, why, nil)
		h.Displace(key, why, nil)
		for _, s := range sources {
			assert.Equal(t, []hub.Reason{hub.ReasonReplaced}, s.ended)
			assert.ErrorIs(t, s.Write(tag("K:9@9")), why)
		}
		p, err := copied(t, h, client{})
		require.NoError(t, err)
		p.send("meta:av vc:s ac:c K:2@0 A:2@0")
		h.Displace(key, why, nil)
		assert.Empty(t, p.ended)
		assert.Equal(t, "K:2@20 A:2@20", v.read())
	})
}

// However it meets with others, each publisher is told once, and nothing is left.
func TestYieldRaces(t *testing.T) {
	w := newWitness(t)
	h := hub.New(hub.Config{Observe: w.observe, PublisherGrace: time.Millisecond})
	var all sync.WaitGroup
	const rounds = 300
	for i := range 4 {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 3))
			for range rounds {
				var told sync.WaitGroup
				told.Add(1) // a second call of Done panics
				c := client{Identity: "x", Backup: i == 1}
				p, err := h.Publish(c.session(h, hub.RolePublish, key), hub.PublishOptions{Yields: i == 2, End: func(*hub.Refusal) { told.Done() }})
				if err != nil {
					continue
				}
				for j := range rng.IntN(20) {
					var err error
					if i == 2 {
						_, _, err = p.Put(tag("K:1"), int64(j))
					} else {
						err = p.Write(tag("K:1"))
					}
					if err != nil {
						told.Wait()
						break
					}
				}
				p.Close()
			}
		})
	}
	all.Go(func() {
		for i := range 4 * rounds {
			switch i % 4 {
			case 0:
				h.Displace(key, &hub.Refusal{Reason: hub.ReasonReplaced}, nil)
			case 1:
				h.Switch(key)
			case 2:
				h.Head(key)
			default:
				h.Yield(key, claimant(client{Identity: "x"}))
			}
			h.Beat(time.Now())
		}
	})
	all.Go(func() {
		for i := range rounds {
			if i == rounds*3/4 {
				h.RefuseNew()
				h.Shutdown(endedContext())
			}
			v, err := h.Watch(viewer(h, key), hub.WatchOptions{})
			if err != nil {
				continue
			}
			var b hub.Batch
			for range 10 {
				v.Fill(&b, plain{}, 1000)
			}
			v.Close()
			if r, err := h.Read(key, hub.ReadOptions{From: new(uint64)}); err == nil {
				r.Read(new(hub.ReadBatch), 1000)
				r.Close()
			}
		}
	})
	all.Wait()
	require.NoError(t, h.Shutdown(t.Context()))
	require.Eventually(t, func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.begun) == 0 }, 10*time.Second, time.Millisecond)
	assert.Empty(t, h.Streams())
}
