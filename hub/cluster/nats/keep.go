package nats

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice/hub/cluster"
)

// How often keep looks: while nobody can write, and otherwise.
const (
	lookSoon = 100 * time.Millisecond
	lookIdle = 2 * time.Second
	lookFor  = time.Second // until it counts that nobody answers
)

// silentVoter is for how long a voter may say nothing to the one that decides until it counts as gone. They
// speak each second.
const silentVoter = 4 * time.Second

// state is what Health returns. Its lock is held for a copy only.
type state struct {
	mu        sync.Mutex
	health    cluster.Health
	since     time.Time
	lastError string // of the connection; empty while it stands
}

// Health implements cluster.Directory. What it returns is two seconds old at the most, apart from Writable,
// Roundtrip and the connection to the server.
func (d *Directory) Health() cluster.Health {
	online := d.online.Load()
	d.state.mu.Lock()
	defer d.state.mu.Unlock()
	h := d.state.health
	h.Connected = h.Connected && online
	h.Writable = h.Writable && online
	h.Since = d.state.since
	return h
}

// lost notes why the connection is gone; nil where it stands.
func (s *state) lost(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastError = ""
	if err != nil {
		s.lastError = err.Error()
	}
}

// took notes how long a record has taken.
func (s *state) took(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.health.Roundtrip = d
}

// wrote notes whether a record could be written.
func (s *state) wrote(could bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.health.Writable = could
}

// notConnected says that there is no connection to a server, and why. It may wait for one that is tried.
func (d *Directory) notConnected() string {
	why := d.state.why()
	if err := d.nc.LastError(); err != nil {
		why = err.Error() // of one that refuses, of which nobody is told
	}
	return strings.TrimSuffix("the engine is not connected: "+why, ": ")
}

func (s *state) why() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lastError
}

// set puts in what keep has seen.
func (s *state) set(h cluster.Health) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h.Roundtrip = s.health.Roundtrip
	if h.Connected != s.health.Connected {
		s.since = time.Now()
	}
	s.health = h
}

// keep sees to it that there is a bucket, and how things are, until Close.
func (d *Directory) keep() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-d.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	for {
		wait := lookIdle
		if !d.lookNow(ctx) {
			wait = lookSoon
		}
		// Many calls that fail at the same time are one reason to look.
		select {
		case <-d.done:
			return
		case <-time.After(lookSoon):
		}
		select {
		case <-d.done:
			return
		case <-d.kick:
		case <-time.After(wait - lookSoon):
		}
	}
}

// lookNow looks how things are, and says whether records can be written.
func (d *Directory) lookNow(ctx context.Context) bool {
	var h cluster.Health
	var wrong []string
	if trouble := d.log.trouble(); trouble != "" {
		wrong = append(wrong, trouble)
	}
	online := d.online.Load()
	h.Connected = online
	if !online {
		wrong = append(wrong, d.notConnected())
	}
	h.Current = d.engine == nil || d.engine.isCurrent(d.bucket.stream())
	if !h.Current {
		wrong = append(wrong, "this node has not got all records yet")
	}
	if d.engine != nil {
		h.Voters = len(d.engine.voters)
		if missing := d.countPeers(&h); len(missing) > 0 {
			wrong = append(wrong, "not connected: "+strings.Join(missing, ", "))
		}
	}
	if online {
		try, cancel := context.WithTimeout(ctx, lookFor)
		i, err := d.bucketInfo(try)
		cancel()
		var api *apiError
		if errors.As(err, &api) && api.Number == errNumberNoStream {
			if err = d.makeBucket(ctx); err == nil {
				i, err = d.bucketInfo(ctx)
			}
		}
		switch {
		case err == nil:
			if trouble := d.voting(i, &h); trouble != "" {
				wrong = append(wrong, trouble)
			}
		case ctx.Err() == nil:
			wrong = append(wrong, "nobody decides on records: "+err.Error())
		}
	}
	if ctx.Err() != nil {
		return false
	}
	h.Detail = strings.Join(wrong, "; ")
	d.state.set(h)
	d.say(h)
	return h.Writable
}

// countPeers notes which other nodes are connected, and returns those that are not.
func (d *Directory) countPeers(h *cluster.Health) (missing []string) {
	peers := append(d.engine.peers(), d.cfg.Node)
	for _, node := range d.cfg.Nodes {
		if !slices.Contains(peers, node) {
			missing = append(missing, node)
		} else if slices.Contains(d.engine.voters, node) {
			h.Reachable++
		}
	}
	// A node that is alone speaks to nobody, whatever its own server says.
	h.Connected = h.Connected && (len(d.cfg.Nodes) == 1 || len(missing) < len(d.cfg.Nodes)-1)
	return missing
}

// voting reads how the bucket is, and says what is wrong with it.
func (d *Directory) voting(i info, h *cluster.Health) string {
	h.Leader, h.Voters = i.Cluster.Leader, len(i.Cluster.Replicas)
	reachable := 0
	for _, r := range i.Cluster.Replicas {
		if !r.Offline && r.Active < silentVoter {
			reachable++
		}
	}
	switch {
	case h.Leader == "" && h.Voters > 0: // then all are among the replicas
		return "nobody decides on records yet"
	case h.Leader == "": // a server without others
		h.Leader = d.nc.ConnectedServerName()
	}
	h.Voters++ // the one that decides
	reachable++
	if d.engine == nil {
		h.Reachable = reachable
	}
	if h.Writable = 2*reachable > h.Voters; !h.Writable {
		return "too few of those that vote on records are connected"
	}
	return ""
}

// say writes a line where something has changed that an operator wants to know, since the last line. Only keep
// calls it.
func (d *Directory) say(now cluster.Health) {
	before := d.said
	d.said = now
	switch {
	case before.Connected && !now.Connected:
		d.cfg.Logger.Warn("cluster: this node is alone", "detail", now.Detail)
	case !before.Connected && now.Connected:
		d.cfg.Logger.Info("cluster: connected", "voters", now.Voters, "reachable", now.Reachable)
	}
	switch {
	case before.Writable && !now.Writable:
		d.cfg.Logger.Warn("cluster: records cannot be written", "detail", now.Detail)
	case now.Writable && (!before.Writable || before.Leader != now.Leader):
		d.cfg.Logger.Info("cluster: records can be written", "leader", now.Leader)
	}
	if now.Current && !before.Current {
		d.cfg.Logger.Info("cluster: this node has all records")
	}
}
