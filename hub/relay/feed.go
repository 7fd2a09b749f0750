package relay

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"time"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/relay/splice"
)

// feed is one publish session of a pull, from the search for a first frame to its end: connections
// to one server after another, and what comes of them as one run of tags.
//
//	attempt: open ─▶ ReadTag ─▶ splice ─▶ Tag, Cut ─▶ hub.Publisher
//	   ▲        │         │ broken off
//	   └────────┴─────────┘ at once, then with growing pauses, until Config.PullHold is over
type feed struct {
	*pull
	ctx    context.Context // ends with the pull, or because of why the hub ended the publisher
	cancel context.CancelCauseFunc
	urls   []URL
	path   []string      // that servers are told
	back   time.Duration // how much further back than usual the first viewer has to begin
	at     int           // of urls: the one that is tried next
	media  *splice.Run
	tries  backoff

	pub       *hub.Publisher // nil before the first frame
	held      []flv.Tag      // what came before it
	heldBytes int
	hasPath   bool       // metadata with the path are among these, or were published
	nodes     []string   // the ids of the servers, by URL, where they told
	news      time.Time  // when a frame last went on that was new
	position  position   // of what went on
	looked    time.Time  // when somebody last looked whether anybody watches
	isOver    bool       // the server last said that the stream is over
	level     slog.Level // of lines about the last break

	// Of one connection.
	src   Source
	came  bool // a frame came
	begun time.Time
	now   time.Time // when the last tag came
	shown bool      // the state says that it is live
	node  string    // the id of its server
}

// Bounds of what is held before the first frame: metadata and codec headers.
const (
	maxHeld      = 64
	maxHeldBytes = 1 << 20
)

func newFeed(ctx context.Context, p *pull) *feed {
	f := &feed{pull: p, media: splice.New(splice.Config{}), news: time.Now(), nodes: make([]string, len(p.rule.URLs))}
	f.ctx, f.cancel = context.WithCancelCause(ctx)
	var first hub.Client
	if who := p.first(); who != nil {
		first = who.Client()
	}
	for _, u := range p.rule.URLs {
		f.urls = append(f.urls, u.Expand(p.key, first.Query))
	}
	f.path, f.back = first.Path, lacks(first)
	if node := p.relay.cfg.Hub.Node(); node != "" {
		f.path = append(f.path, node)
	}
	return f
}

// published reports whether there was a first frame.
func (f *feed) published() bool { return f.pub != nil }

// run feeds until the stream is over. The error says why: errIdle, a *Failure, a *hub.Refusal, or
// that of the context.
func (f *feed) run() error {
	defer f.cancel(nil)
	err := f.feed()
	if cause := context.Cause(f.ctx); cause != nil {
		err = cause
	}
	if f.pub != nil {
		why := &hub.Refusal{Reason: hub.ReasonUnpublished}
		if refusal, ok := errors.AsType[*hub.Refusal](err); ok {
			why = refusal
		} else if errors.Is(err, errIdle) {
			why = &hub.Refusal{Reason: hub.ReasonComplete, Detail: "nobody watches it"}
		} else if f.ctx.Err() == nil && !errors.Is(err, errOver) {
			why = &hub.Refusal{Reason: hub.ReasonConnection, Detail: failureIn(err).Detail}
		}
		f.pub.End(why)
		f.status.change(func(c *ConnectionInfo) { c.Session = 0 })
	}
	return err
}

// feed tries the servers in turn. Before the first frame each is tried once; afterwards the one that
// broke is tried at once, then the others, and then all again after a pause.
func (f *feed) feed() error {
	for failed := 0; ; {
		f.came = false
		err := f.attempt()
		switch {
		case f.ctx.Err() != nil, errors.Is(err, errIdle), isFinal(err):
			return err
		case f.came:
			f.broke(err)
			if failed = 0; f.media.New() {
				f.tries.reset()
				continue // at once
			}
			if errors.Is(err, os.ErrDeadlineExceeded) { // its stream may have few frames, or the connection is dead
				f.tries.reset()
			}
			if err == errNoMedia {
				f.at = (f.at + 1) % len(f.urls)
			}
		default:
			f.at = (f.at + 1) % len(f.urls)
			if failed++; failed < len(f.urls) {
				continue
			}
			failed = 0
			if f.pub == nil {
				return err
			}
			if f.isOver && isGone(err) {
				return errOver
			}
		}
		if time.Since(f.news) >= f.relay.cfg.PullHold {
			return err
		}
		if err := f.pause(err); err != nil {
			return err
		}
	}
}

// isFinal reports whether the hub has said no: a refusal is no word of a server's.
func isFinal(err error) bool {
	_, ok := errors.AsType[*hub.Refusal](err)
	return ok
}

// isGone reports whether a server has said that there is no stream, or said nothing in time.
func isGone(err error) bool {
	f := FailureOf(err)
	return f.Cause == CauseNotFound || f.Cause == CauseDenied || errors.Is(err, io.EOF) || errors.Is(err, errSilent)
}

// broke notes the end of a connection that had media.
func (f *feed) broke(err error) {
	f.isOver = errors.Is(err, io.EOF)
	detail := "the server says that the stream is over"
	if !f.isOver {
		detail = failureIn(err).Detail
	}
	f.level = slog.LevelDebug
	if f.rule.isNews(detail) { // a server may break off time after time
		f.level = slog.LevelInfo
	}
	f.log.Log(f.ctx, f.level, "a pull broke", "url", f.urls[f.at].String(), "reason", detail)
	f.status.change(func(c *ConnectionInfo) {
		c.Breaks++
		c.State, c.Detail, c.Error = Connecting, detail, detail
	})
}

// pause waits before the servers are tried again.
func (f *feed) pause(err error) error {
	d := f.tries.next(maxDelay)
	next := time.Now().Add(d)
	f.status.change(func(c *ConnectionInfo) {
		c.State, c.Detail, c.Next = BackingOff, failureIn(err).Detail, next
	})
	end := time.NewTimer(d)
	defer end.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-end.C:
			return nil
		case <-f.ctx.Done():
			return context.Cause(f.ctx)
		case <-look.C:
			if f.isUnwanted() {
				return errIdle
			}
			if time.Since(f.news) >= f.relay.cfg.PullHold {
				return err
			}
		}
	}
}

// errSilent is the failure of a server without a frame in time.
var errSilent = Failed(CauseConnection, "no frame came in time")

// errNoMedia is the failure of a server whose tags lead nowhere.
var errNoMedia = Failed(CauseMedia, "what comes is nothing to go on with")

// within returns how long a connection may take until its first frame.
func (f *feed) within() time.Duration {
	switch {
	case f.isOver || len(f.urls) > 1:
		return firstFrame
	case f.pub == nil && f.rule.Kind == Pull:
		return time.Minute // it may wait there for its publisher
	}
	return f.relay.cfg.StartTimeout
}

// attempt opens a connection and reads it to its end. A failure of it holds nothing secret of the URL.
func (f *feed) attempt() error {
	url := f.urls[f.at]
	err := f.connect(url)
	if failure, ok := errors.AsType[*Failure](err); ok && failure != errSilent && failure != errOver && failure != errNoMedia {
		return url.failure(failure)
	}
	return err
}

func (f *feed) connect(url URL) error {
	if d := f.pace.next(time.Now()); d > 0 {
		select {
		case <-time.After(d):
		case <-f.ctx.Done():
			return context.Cause(f.ctx)
		}
	}
	f.status.change(func(c *ConnectionInfo) {
		c.State, c.URL, c.Next = Connecting, url, time.Time{}
		c.Tries++
	})
	o := Opening{URL: url, Path: f.path}
	if f.pub != nil && f.nodes[f.at] != "" {
		o.Back = min(f.position.age(time.Now()), maxBack) + moreBack
	}
	within := f.within()
	ctx, cancel := context.WithTimeoutCause(f.ctx, within, errSilent)
	defer cancel()
	begun := time.Now()
	src, err := f.open(ctx, o)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	return f.read(src, within-time.Since(begun))
}

// open opens a connection. A server that goes on where one before it went down has nothing of what the
// relays behind it lack by then: for the first of them, it has the stream from as far back.
func (f *feed) open(ctx context.Context, o Opening) (Source, error) {
	src, err := f.relay.cfg.Open(ctx, o)
	if err != nil || f.pub != nil || f.back == 0 || src.Node() == "" {
		return src, err
	}
	src.Close()
	o.Back = f.back
	return f.relay.cfg.Open(ctx, o)
}

// lacks returns how much further back than usual a relay asked to begin; 0 for who is none.
func lacks(c hub.Client) time.Duration {
	var wants hub.WatchOptions
	if len(c.Path) == 0 || wants.ReadQuery(c.Query) != nil || wants.Back == 0 {
		return 0
	}
	return min(wants.Back, maxBack) + moreBack
}

// moreBack is how much further back than what is missing a stream is asked for.
const moreBack = time.Second

// maxBack bounds how much further back a stream is asked for.
const maxBack = time.Hour

// Bounds of what pulls hold while they join connections, in bytes: all of them, when the server of all breaks
// and sends them something else, and each, however many there are.
const (
	maxJoining   = 128 << 20
	mostJoining  = 4 << 20
	leastJoining = 256 << 10
)

// mayHold returns how many bytes a pull may hold while it joins a connection.
func (r *Relay) mayHold() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(leastJoining, min(mostJoining, maxJoining/max(1, len(r.pulls))))
}

// read reads a connection to its end. Its first frame has to come in time.
func (f *feed) read(src Source, within time.Duration) error {
	defer src.Close()
	defer context.AfterFunc(f.ctx, func() { src.Close() })()
	late := make(chan struct{})
	timer := time.AfterFunc(within, func() {
		close(late)
		src.Close()
	})
	defer timer.Stop()
	f.src, f.node = src, src.Node()
	f.nodes[f.at] = f.node
	f.status.change(func(c *ConnectionInfo) { c.Remote, c.Node = src.Remote(), f.node })
	defer f.status.change(func(c *ConnectionInfo) { c.Remote, c.Node = "", "" })
	f.media.Limit(f.relay.mayHold())
	f.media.Begin()
	f.shown, f.begun = false, time.Now()
	for {
		tag, err := src.ReadTag()
		if err != nil {
			select {
			case <-late:
				return errSilent
			default:
			}
			if !f.came && errors.Is(err, io.EOF) {
				return errOver
			}
			return err
		}
		now := time.Now()
		f.now = now
		if !f.came && isFrame(tag) {
			if !timer.Stop() {
				return errSilent
			}
			f.came = true
		}
		joining := f.media.Outcome() == splice.Joining
		if err := f.media.Take(tag, now, joining && src.Buffered(), f); err != nil {
			return err
		}
		if joining {
			f.settled()
		}
		if now.Sub(f.looked) >= lookEvery {
			f.looked = now
			if f.isUnwanted() {
				return errIdle
			}
			if f.came && min(now.Sub(f.begun), now.Sub(f.news)) >= f.relay.cfg.noMedia {
				return errNoMedia
			}
		}
	}
}

// settled notes how the run went on, once that is known.
func (f *feed) settled() {
	outcome := f.media.Outcome()
	if outcome == splice.Joining {
		return
	}
	f.log.Log(f.ctx, f.level, "a pull goes on", "url", f.urls[f.at].String(), "how", outcome.String())
	f.status.change(func(c *ConnectionInfo) {
		switch outcome {
		case splice.Joined:
			c.Joined++
		case splice.Cut:
			c.Cuts++
		}
	})
}
