package relay

import (
	"context"
	"slices"

	"sluice/hub"
)

// published notes that somebody publishes a stream, or is shown from now on, and pushes it, unless that is another
// server's.
func (r *Relay) published(key hub.Key, who *hub.Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.publishedLocked(key, who)
}

func (r *Relay) publishedLocked(key hub.Key, who *hub.Session) {
	r.noteLocked(key, who)
	if r.closed || who.Copies() {
		r.lookLocked(key)
		return
	}
	for _, by := range r.rules {
		if by.Kind == Push && by.Matches(key) {
			r.pushLocked(by, key)
		}
	}
}

// pushLocked begins a push of a stream that is published, or tells the one that there is.
func (r *Relay) pushLocked(by *rule, key hub.Key) {
	at := pushed{by, key}
	if r.pushless {
		return
	}
	if running := r.pushes[at]; running != nil {
		running.tell()
		return
	}
	p := newPush(pushConfig{
		Hub: r.cfg.Hub, Send: r.cfg.Send, Hold: r.cfg.PushHold, Node: r.cfg.Hub.Node(), Key: key, URL: by.URLs[0].Expand(key, nil), Several: r.cfg.Elsewhere != nil,
		Told:   func(c ConnectionInfo) { r.tell(Event{Push, by.id, c}) },
		Logger: r.cfg.Logger.With("relay", by.id),
	})
	ctx, cancel := context.WithCancel(r.ctx)
	p.stop = cancel
	r.pushes[at] = p
	p.tell()
	r.pushing.Add(1)
	r.running.Go(func() {
		defer r.pushing.Done()
		defer cancel()
		p.run(ctx)
		r.pushOver(at, p)
	})
}

// pushOver notes that a push is over, and begins it anew where somebody has published as it ended. Who does from here on is
// told to the next one (published).
func (r *Relay) pushOver(at pushed, p *push) {
	r.mu.Lock()
	delete(r.pushes, at)
	info := p.info()
	r.over.add(Push, &info)
	r.mu.Unlock()
	published := r.cfg.Hub.PublisherOf(at.key) != nil
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed && published && r.pushes[at] == nil && slices.Contains(r.rules, at.rule) {
		r.pushLocked(at.rule, at.key)
	}
}

// unpublished notes that a publisher is gone.
func (r *Relay) unpublished(key hub.Key, who *hub.Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unpublishedLocked(key, who.ID())
}

func (r *Relay) unpublishedLocked(key hub.Key, id uint64) {
	if delete(r.live[key], id); len(r.live[key]) == 0 {
		delete(r.live, key)
	}
	if p := r.pulls[key]; p != nil && !r.isLiveLocked(key) {
		p.free()
	}
	r.lookLocked(key)
}

// lookLocked has the pushes of a stream look whose it is by now.
func (r *Relay) lookLocked(key hub.Key) {
	for at, p := range r.pushes {
		if at.key == key {
			p.tell()
		}
	}
}
