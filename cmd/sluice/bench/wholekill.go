package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// New names after a kill: how many, how far apart they are tried.
const (
	newNames     = 8
	newNameEvery = 400 * time.Millisecond
)

// publish measures how long new names wait to be let in when the node that decides on records was killed.
func (w *wholeCluster) publish(ctx context.Context) error {
	p := &clusterPublishReport{Failed: tally{}}
	w.c.Publish = p
	for n := range w.o.rounds {
		w.p.set(fmt.Sprintf("new names, round %d", n+1), nil)
		if err := w.usable(ctx); err != nil {
			return err
		}
		round, others, err := w.newNames(ctx, n, p.Failed)
		if err != nil {
			return err
		}
		p.Rounds = append(p.Rounds, round)
		p.Others = max(p.Others, others)
		for _, ms := range round {
			p.Worst = max(p.Worst, ms)
		}
	}
	w.r.tally("new names were not let in", p.Failed)
	if p.Worst > publishBound {
		w.r.problem("a new name was let in after %.0f ms only", p.Worst)
	}
	return nil
}

// newNames is one round. The node that was killed is there again afterwards.
func (w *wholeCluster) newNames(ctx context.Context, round int, failed tally) (times []float64, others float64, err error) {
	leader := w.leader()
	if leader < 0 {
		return nil, 0, errors.New("the nodes do not agree on who decides on records")
	}
	left := w.others(leader)
	var streams []*numberedStream
	defer func() {
		for _, s := range streams {
			s.close()
		}
	}()
	w.nodes[leader].kill()
	killed := time.Now()
	before, err := w.look()
	if err != nil {
		return nil, 0, err
	}
	for i := range newNames {
		sleepUntil(ctx, killed.Add(time.Duration(i)*newNameEvery))
		asked := time.Now()
		url := left[i%len(left)].url(rtmpPlay, fmt.Sprintf("new%d_%d", round, i)).at(0)
		s, err := publishNumbered(ctx, url, 1, numberedEvery)
		if err != nil {
			if ctx.Err() != nil {
				return nil, 0, ctx.Err()
			}
			failed[reason(err)]++
			continue
		}
		times = append(times, milliseconds(time.Since(asked)))
		streams = append(streams, s)
	}
	after, err := w.look()
	if err != nil {
		return nil, 0, err
	}
	return times, before.others(after), w.start(ctx, leader)
}

// Times of an owner that is killed.
const (
	killAgainEvery = 50 * time.Millisecond // tries of its publisher
	killAgain      = 30 * time.Second      // until it must be in again
	killAfter      = 3 * time.Second       // for how long it goes on being watched
)

// kill kills the owner of a stream under viewers at the two others.
func (w *wholeCluster) kill(ctx context.Context) error {
	k := &clusterKillReport{Viewers: killViewers, Ended: tally{}}
	if w.o.whole.viewers {
		k.Viewers = w.o.viewers
	}
	w.p.set("viewers of an owner that is killed", nil)
	first, err := publishNumbered(ctx, w.nodes[0].url(rtmpPlay, "kill").at(0), 1, numberedEvery)
	if err != nil {
		return err
	}
	defer first.close()
	left := w.others(0)
	var all numberedViewers
	defer func() { all.close() }()
	for i, s := range left {
		some, err := w.watchAll(ctx, s, "kill", (k.Viewers+i)/len(left))
		if err != nil {
			return err
		}
		all = append(all, some...)
	}
	if err := all.await(ctx, 1, seenWithin); err != nil {
		return err
	}
	sleepUntil(ctx, time.Now().Add(min(w.o.warmup, w.o.duration)))
	w.p.set("an owner is killed", nil)
	w.nodes[0].kill()
	killed := time.Now()
	before, err := w.look()
	if err != nil {
		return err
	}
	next, err := w.publishAgain(ctx, left[0].url(rtmpPlay, "kill").at(0), killed.Add(killAgain))
	if err != nil {
		return err
	}
	defer next.close()
	k.Again = milliseconds(next.began.Sub(killed))
	if err := all.await(ctx, 2, seenWithin); err != nil && ctx.Err() != nil {
		return err
	}
	sleepUntil(ctx, time.Now().Add(killAfter))
	after, err := w.look()
	if err != nil {
		return err
	}
	k.Others = before.others(after)
	k.judge(all, next)
	w.c.Kill = k
	if k.Ended.total() > 0 || k.Repeated > 0 || k.Missing > 0 || k.Without > 0 || k.Worst > pictureBound {
		w.r.problem("owner killed: %d viewers ended, %d frames repeated, %d missing, %d without a picture, which took up to %.0f ms",
			k.Ended.total(), k.Repeated, k.Missing, k.Without, k.Worst)
	}
	return nil
}

// publishAgain publishes as an encoder does that comes back: it tries again until it is let in.
func (w *wholeCluster) publishAgain(ctx context.Context, url string, until time.Time) (*numberedStream, error) {
	for {
		s, err := publishNumbered(ctx, url, 2, numberedEvery)
		if err == nil || ctx.Err() != nil || time.Now().After(until) {
			return s, err
		}
		sleepUntil(ctx, time.Now().Add(killAgainEvery))
	}
}

// judge sums up what the viewers have seen.
func (k *clusterKillReport) judge(all numberedViewers, next *numberedStream) {
	var pictures []float64
	for _, v := range all {
		v.mu.Lock()
		if v.err != nil {
			k.Ended[reason(v.err)]++
		}
		k.Repeated += v.repeated
		k.Missing += v.missing
		if came := v.pictures[next.nth]; came.IsZero() {
			k.Without++
		} else {
			pictures = append(pictures, milliseconds(came.Sub(next.began)))
		}
		v.mu.Unlock()
	}
	if len(pictures) > 0 {
		k.P50, k.Worst = at(50, pictures), slices.Max(pictures)
	}
}
