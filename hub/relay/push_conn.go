package relay

import (
	"sync"
	"sync/atomic"
	"time"

	"sluice/flv"
	"sluice/hub"
)

// Bounds of a push's connection.
const (
	// pushBatch is about how many bytes of bodies are written in one go.
	pushBatch = 64 << 10
	// pushBlocked bounds the time for which a target may take nothing, in one write or
	// altogether: then the connection is broken off and tried again.
	pushBlocked = 10 * time.Second
	// pushStale is for how long nothing may have been acknowledged, though something was sent,
	// of a target that counts as live.
	pushStale = 5 * time.Second
	// pushHealthy is how long media have to be acknowledged for a connection to count as one that
	// works.
	pushHealthy = 5 * time.Second
	// A target that was too slow has caught up when it has been less than pushBehind behind
	// for pushSteady.
	pushBehind = time.Second
	pushSteady = 10 * time.Second
	// pushDrain bounds the time for what is due yet when the hold is over, and pushClose that
	// for a write under way, and for the proper end after it.
	pushDrain = 2 * time.Second
	pushClose = 3 * time.Second
)

// pushConn is one connection of a push. A goroutine of its own carries packets from a reader to the
// sink while there is a stream; the goroutine of run looks after it.
type pushConn struct {
	push *push
	sink Sink
	url  URL
	made time.Time
	news chan struct{} // capacity 1: something changed that the state follows from

	// Of the goroutine that carries; of run while there is none.
	clock   pushClock
	headers pushHeaders
	taken   [2]flv.Codec // of sound and pictures, that the target takes
	pace    pushPace

	// Of run.
	stop    chan time.Duration // closed or given a bound, when what is carried is to end; nil while nothing is
	done    chan pushOutcome   // capacity 1: how it ended
	acks    pushAcks
	heldAt  uint64 // of written, when the publisher came back
	waiting bool   // nothing was written since then

	written atomic.Uint64 // bytes of bodies
	began   atomic.Int64  // when the write under way began, in ns since made; 0 without one
	lag     atomic.Int64  // ns
	slow    atomic.Bool   // it jumped, and has not caught up
}

// pushOutcome is how the carrying of a stream ended: the stream is over, if neither.
type pushOutcome struct {
	end     hub.Reason
	failure *Failure
	codecs  bool // the failure is that the target does not take a codec
}

func newPushConn(p *push, sink Sink, url URL) *pushConn {
	return &pushConn{push: p, sink: sink, url: url, made: time.Now(), news: make(chan struct{}, 1)}
}

// parcels are batches with what they are made into, for writes under way.
var parcels = sync.Pool{New: func() any { return new(parcel) }}

type parcel struct {
	batch hub.ReadBatch
	tags  []flv.Tag
}

// read begins to carry the stream, at its next key frame. It reports false if nobody publishes it.
func (c *pushConn) read() bool {
	shape := c.sink.Shape()
	in, err := c.push.cfg.Hub.Read(c.push.cfg.Key, hub.ReadOptions{Lag: hub.LagJump, Shape: &shape})
	if err != nil {
		return false
	}
	c.clock.join()
	c.pace.join()
	c.stop, c.done = make(chan time.Duration, 1), make(chan pushOutcome, 1)
	go func(stop chan time.Duration, done chan pushOutcome) {
		out := c.carry(in, stop)
		in.Close()
		done <- out
	}(c.stop, c.done)
	return true
}

// carry carries until the stream is over, the sink fails, or it is stopped.
func (c *pushConn) carry(in *hub.Reader, stop <-chan time.Duration) pushOutcome {
	var until time.Time // nothing is read after it, nor when all was; zero while that is not asked for
	for {
		if until.IsZero() {
			select {
			case <-in.Ready():
			case drain := <-stop:
				until = time.Now().Add(drain)
			}
		}
		if !until.IsZero() && !time.Now().Before(until) {
			return pushOutcome{}
		}
		p := parcels.Get().(*parcel)
		out, empty := c.pass(in, p)
		clear(p.tags)
		p.tags = p.tags[:0]
		parcels.Put(p)
		if out.failure != nil || out.end != hub.ReasonNone || empty && !until.IsZero() {
			return out
		}
	}
}

// pass carries what is due, up to a batch.
func (c *pushConn) pass(in *hub.Reader, p *parcel) (out pushOutcome, empty bool) {
	out.end = in.Read(&p.batch, pushBatch)
	edge := len(in.Ready()) == 0 // nothing more is due
	now := time.Now()
	if lost := p.batch.Lost; lost > 0 {
		c.push.dropped.Add(lost)
		c.jumped(lost)
	}
	if len(p.batch.Packets) == 0 {
		return out, true
	}
	newest := c.pace.read(&p.batch, edge, now.Sub(c.made))
	var refused flv.Codec
	if p.tags, refused = c.collect(p.tags, &p.batch, now); refused != 0 {
		out.failure, out.codecs = Failed(CauseMedia, "codec: %v", refused), true
	}
	if err := c.write(p.tags, now); err != nil {
		return pushOutcome{failure: FailureOf(err)}, false
	}
	now = time.Now()
	c.lag.Store(int64(c.pace.wrote(newest, now.Sub(c.made))))
	if c.slow.Load() && c.pace.steady(now.Sub(c.made)) {
		c.slow.Store(false)
		c.push.cfg.Logger.Info("a push keeps up again", "dropped", c.push.dropped.Load())
		c.tell()
	}
	return out, false
}

// write writes tags.
func (c *pushConn) write(tags []flv.Tag, now time.Time) error {
	if len(tags) == 0 {
		return nil
	}
	size := uint64(0)
	for i := range tags {
		size += uint64(len(tags[i].Data))
	}
	c.began.Store(max(1, int64(now.Sub(c.made))))
	err := c.sink.WriteTags(tags)
	c.began.Store(0)
	if err != nil {
		return err
	}
	c.push.bytes.Add(size)
	if c.written.Add(size) == size {
		c.tell() // the first of the connection
	}
	return nil
}

// collect makes tags of a batch, as the target gets them. It ends before what belongs to a codec
// that the target does not take, which it returns then.
func (c *pushConn) collect(tags []flv.Tag, b *hub.ReadBatch, now time.Time) (_ []flv.Tag, refused flv.Codec) {
	run, inRun := 0, false // where the headers in force begin
	for i := range b.Packets {
		p := &b.Packets[i]
		if p.Header && !inRun {
			run = len(tags)
		}
		inRun = p.Header
		if codec := c.refuses(p.Tag); codec != 0 {
			if p.Header {
				return tags[:run], codec
			}
			return tags, codec
		}
		if p.Reset {
			c.headers.reset()
		}
		t := p.Tag
		var ok bool
		if t.Timestamp, ok = c.clock.at(p, now); !ok {
			continue
		}
		if p.Header {
			if t.Type == flv.TypeScript {
				t.Data = c.push.withPath(t.Data)
			}
			if !c.headers.changed(t) {
				continue
			}
		}
		tags = append(tags, t)
	}
	return tags, 0
}

// refuses returns the codec of a main track's tag if the target does not take it.
func (c *pushConn) refuses(t flv.Tag) flv.Codec {
	if t.Type != flv.TypeAudio && t.Type != flv.TypeVideo {
		return 0
	}
	p, err := t.Packet()
	known := &c.taken[t.Type&1] // sound is 8, pictures 9
	switch {
	case err != nil, p.Track != 0, p.Codec == 0, p.Codec == *known:
		return 0
	case !c.sink.Takes(p.Codec):
		return p.Codec
	}
	*known = p.Codec
	return 0
}

// jumped notes that packets were lost.
func (c *pushConn) jumped(lost uint64) {
	c.pace.unsteady()
	if !c.slow.Swap(true) {
		c.push.cfg.Logger.Warn("a push is too slow: the target takes less than there is, it is sent what follows key frames",
			"remote", c.sink.Remote(), "lost", lost)
		c.tell()
	}
}

// tell has run look at the connection.
func (c *pushConn) tell() {
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// lagNow returns ConnectionInfo.Lag.
func (c *pushConn) lagNow() time.Duration {
	lag := time.Duration(c.lag.Load())
	if began := c.began.Load(); began != 0 {
		lag += max(0, time.Since(c.made)-time.Duration(began))
	}
	return lag
}

// blocked returns for how long a write has been under way.
func (c *pushConn) blocked(now time.Time) time.Duration {
	if began := c.began.Load(); began != 0 {
		return max(0, now.Sub(c.made)-time.Duration(began))
	}
	return 0
}

// carried notes that what was carried has ended.
func (c *pushConn) carried() { c.stop, c.done = nil, nil }

// abort breaks the connection off.
func (c *pushConn) abort() {
	c.sink.Abort()
	if c.done != nil {
		c.stop <- 0
		<-c.done
		c.carried()
	}
}

// close says that the stream is over and closes the connection, after what is due yet for as long as
// drain. It takes as long as drain and twice pushClose at the most.
func (c *pushConn) close(drain time.Duration) {
	if c.done != nil {
		broken := time.AfterFunc(drain+pushClose, c.sink.Abort)
		c.stop <- drain
		out := <-c.done
		c.carried()
		if !broken.Stop() || out.failure != nil && !out.codecs {
			c.sink.Abort()
			return
		}
	}
	select {
	case <-c.sink.Ended():
		c.sink.Abort()
		return
	default:
	}
	broken := time.AfterFunc(pushClose, c.sink.Abort)
	defer broken.Stop()
	if err := c.sink.Close(); err != nil {
		c.push.cfg.Logger.Debug("the end of a push was not taken", "error", c.push.cfg.URL.failure(err).Detail)
	}
}
