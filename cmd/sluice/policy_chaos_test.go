//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// Whatever happens at the same moment, grants and refusals, take-overs, clients that
// leave and the shutdown: everybody about whom the policy was asked is told to have been
// refused, or to have begun and ended, once.
func TestPolicyChaos(t *testing.T) {
	var mu sync.Mutex
	asked := map[uint64]*hub.Session{}
	w := newSoak(t)
	cfg, err := loadConfig(soakConfig)
	require.NoError(t, err)
	cfg.authorizeTimeout = 50 * time.Millisecond
	cfg.observe = w.observer.observe
	var svc *runningService
	cfg.authorize = func(ctx context.Context, s *hub.Session) (hub.Grant, error) {
		mu.Lock()
		asked[s.ID()] = s
		mu.Unlock()
		svc.hub.Totals() // it may look around
		select {
		case <-time.After(time.Duration(rand.IntN(60)) * time.Millisecond):
		case <-ctx.Done():
		}
		switch rand.IntN(8) {
		case 0:
			return hub.Grant{}, errors.New("no")
		case 1:
			s.Refuse(errors.New("by myself"))
			return hub.Grant{}, errors.New("and so")
		case 2:
			panic("no policy")
		case 3:
			return hub.Grant{Until: time.Now().Add(time.Duration(rand.IntN(1000)) * time.Microsecond)}, nil
		case 4:
			return hub.Grant{Key: hub.Key{App: "live", Name: "c"}}, nil
		}
		return hub.Grant{Identity: fmt.Sprint(rand.IntN(2))}, nil
	}
	svc, p := startConfigured(t, floodTimeout, io.Discard, cfg)

	publishHere(t, svc, "d")
	begun := time.Now()
	leave := begun.Add(1500 * time.Millisecond) // the shutdown comes before
	var clients sync.WaitGroup
	for i := range 40 {
		clients.Go(func() {
			for time.Now().Before(leave) {
				kind := askers[rand.IntN(len(askers))]
				if kind.protocol == "HTTP-FLV HEAD" {
					continue // begins nothing
				}
				w.count(kind.protocol)
				names := "abc"
				if kind.role == hub.RoleWatch {
					names = "abcd"
				}
				visit(kind, p, fmt.Sprintf("%c?client=%d", names[rand.IntN(len(names))], i))
			}
		})
	}
	time.Sleep(time.Until(begun.Add(1200 * time.Millisecond)))
	svc.stop()
	clients.Wait()

	mu.Lock()
	defer mu.Unlock()
	w.observer.mu.Lock()
	defer w.observer.mu.Unlock()
	ends := map[hub.EventKind]int{}
	for id, s := range asked {
		last, known := w.observer.stages[id]
		assert.True(t, known, "nothing was told of session %v", s)
		assert.NotContains(t, []hub.EventKind{hub.EventPublished, hub.EventJoined}, last, "session %v did not end", s)
		ends[last]++
	}
	t.Logf("%d asked: %v; %v", len(asked), ends, w.counts)
}

// visit asks, and leaves before the answer or after it.
func visit(kind asker, p *process, name string) {
	v := &visitor{}
	defer v.leave()
	defer func() { recover() }() // where the server has gone, it is of no interest what failed
	a := kind.ask(v, p, net.IPv4(127, 0, 0, byte(1+rand.IntN(250))), name)
	patience := time.Duration(rand.IntN(100)) * time.Millisecond
	a.SetReadDeadline(time.Now().Add(patience))
	if answer, err := a.answer(); err != nil || answer != in || a.next == nil {
		return
	}
	for {
		if _, err := a.next(); err != nil {
			return
		}
	}
}

// visitor stands in the place of a test: what fails ends the visit.
type visitor struct {
	testing.TB
	cleanups []func()
}

func (v *visitor) Helper()                  {}
func (v *visitor) Context() context.Context { return context.Background() }
func (v *visitor) Cleanup(f func())         { v.cleanups = append(v.cleanups, f) }
func (v *visitor) Errorf(string, ...any)    {}
func (v *visitor) FailNow()                 { panic(v) }

func (v *visitor) leave() {
	for _, f := range v.cleanups {
		f()
	}
}

// An observer that blocks holds up nobody: streams begin and run, viewers come and go, and
// afterwards it is told all of it, in order.
func TestObserverThatBlocks(t *testing.T) {
	w := newSoak(t)
	cfg, err := loadConfig(soakConfig)
	require.NoError(t, err)
	release, blocked := make(chan struct{}), make(chan struct{})
	var once sync.Once
	cfg.observe = func(e hub.Event) {
		once.Do(func() { close(blocked) })
		<-release
		w.observer.observe(e)
	}
	svc, p := startConfigured(t, floodTimeout, io.Discard, cfg)
	for i := range 5 {
		a := askers[0].ask(t, p, nil, fmt.Sprint(i))
		answer, err := a.answer()
		require.NoError(t, err)
		require.Equal(t, in, answer)
		<-blocked
		for _, tag := range append(madeHeader(), stream200k.frames(time.Second)...) {
			require.NoError(t, a.rtmp.sendTag(1, tag))
		}
		for _, kind := range askers[1:] {
			v := kind.ask(t, p, nil, fmt.Sprint(i))
			answer, err := v.answer()
			require.NoError(t, err)
			require.Equal(t, in, answer, kind.protocol)
			if kind.protocol != "HTTP-FLV HEAD" {
				require.NoError(t, keyFrameOf(v.next), kind.protocol)
			}
			v.Close()
		}
		a.Close()
	}
	assert.Zero(t, w.observer.events)
	close(release)
	svc.stop()
	ended := 0
	for _, sum := range svc.hub.Totals() {
		assert.Zero(t, sum.Running())
		ended += int(sum.Begun)
	}
	w.observer.mu.Lock()
	defer w.observer.mu.Unlock()
	assert.Equal(t, 5*4, ended)
	assert.Len(t, w.observer.stages, ended)
	for id, last := range w.observer.stages {
		assert.Contains(t, []hub.EventKind{hub.EventUnpublished, hub.EventLeft}, last, "session %d", id)
	}
}
