// Package record writes streams into recordings. A recording is a reader of its stream
// (hub.Reader) that writes FLV files into an archive, from the first packet of the publish
// session on, everything as it was sent.
//
//	published ─▶ reading ──every 0.8 s, or when 256 KiB are due──▶ slot: Read, Write, Read, Write, …
//	               │ ▲                                               │
//	               │ └───────────────────────────────────────────────┘
//	               ├─ a key frame after Segment, or with other codecs ─▶ the next file
//	               ├─ disk full ─▶ the file is finished; waits for room ─▶ reading, from a key frame on
//	               ├─ writing fails ─▶ the file is finished; tries again ─▶ the next file
//	               └─ the stream ended, stopped by hand, shut down ─▶ the file is finished
//
// What is not written yet waits in the stream's log and nowhere else, so a disk that is slow
// or gone touches nobody who watches: beyond Config.Buffer the recording has a gap.
package record

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"sluice/hub"
	"sluice/hub/archive"
)

// Bounds and times of recordings.
const (
	// turnEvery is how often a recording writes what is due: what the end of the process
	// may cost. It takes a write each time, and one for the index each indexEvery turns.
	turnEvery  = 800 * time.Millisecond
	indexEvery = 3
	// gather is how many bytes are written earlier than that, and about how many in one write.
	gather = 256 << 10
	// maxWrites is how many recordings may have something to do with the disk at a time,
	// finishing included, however many there are: one that hangs holds no more threads than
	// these, and one for files that could not be finished.
	maxWrites = 32
	// lookEvery is how often the free space is looked at. After the disk had no room it counts
	// as full for refusedFor at least: a quota, or a lack of inodes, shows in no free space.
	lookEvery  = 10 * time.Second
	refusedFor = lookEvery / 2
	// retryAfter is how long a recording waits after its disk failed.
	retryAfter = 2 * time.Second

	defaultBuffer = 64 << 20
)

// Config says what is recorded, and where. Hub and Archive must be set.
type Config struct {
	Hub     *hub.Hub
	Archive *archive.Archive
	// Records says which streams are recorded; nil for all. It may be called from any goroutine.
	Records func(hub.Key) bool
	// Foreign says of a publisher that its stream belongs to another server, which records it; nil for none. It may be
	// called from any goroutine. A recording ends soon after such a one has come.
	Foreign func(*hub.Session) bool
	// Segment and SegmentBytes are after how much a file ends, at the next key frame; 0 for
	// one file a session.
	Segment      time.Duration
	SegmentBytes int64
	// Sync is how often everything written is brought to the disk: what a power cut may
	// cost. 0 leaves it to the system.
	Sync time.Duration
	// Buffer bounds what logs keep for recordings whose disk is slow, in bytes, all
	// together; 64 MiB if 0.
	Buffer int64
	// Observe is told what happens to recordings, by the goroutine of the recording, which
	// waits for it and holds the right to write meanwhile; nil for nobody.
	Observe func(Event)
	Logger  *slog.Logger // slog.Default if nil
}

// EventKind is what happened to a recording.
type EventKind uint8

// What happens. Each file that begins is finished once, by whatever process.
const (
	EventBegun    EventKind = iota // a file begins, or is gone on with
	EventFinished                  // a file is finished
	EventGap                       // something is missing since the disk was slow
)

// Event is something that happened to a recording.
type Event struct {
	Kind      EventKind
	Recording archive.Recording
	Lost      time.Duration // with EventGap
}

// Recorder records. Its methods may be called from any goroutine.
type Recorder struct {
	cfg     Config
	log     *slog.Logger
	budget  *hub.Budget
	slots   chan *slot
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	look    chan struct{} // capacity 1: look at the free space now
	totals  totals

	mu         sync.Mutex
	closed     bool
	recordings map[hub.Key]*recording
	byHand     map[hub.Key]bool // started or stopped by hand, whatever Config.Records says
	full       bool
	refused    time.Time     // when the disk had no room for something, whatever it says is free
	room       chan struct{} // closed and replaced when there is room again
	unfinished []unfinished
}

// New makes a recorder. It must be closed. What Observe is told decides what it records.
func New(cfg Config) *Recorder {
	if cfg.Buffer <= 0 {
		cfg.Buffer = defaultBuffer
	}
	if cfg.Records == nil {
		cfg.Records = func(hub.Key) bool { return true }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	r := &Recorder{
		cfg: cfg, log: cfg.Logger, budget: hub.NewBudget(cfg.Buffer), slots: make(chan *slot, maxWrites),
		look: make(chan struct{}, 1), recordings: make(map[hub.Key]*recording), byHand: make(map[hub.Key]bool),
		room: make(chan struct{}),
	}
	for range maxWrites {
		r.slots <- new(slot)
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.running.Go(r.watchDisk)
	if cfg.Sync > 0 {
		r.running.Go(r.sync)
	}
	return r
}

// Observe is told what happens in the hub (hub.Config.Observe): a stream that is published
// is recorded if it is one of those, from whichever publisher is shown: a recording goes on through
// a switch as through a reconnect. It does not block.
func (r *Recorder) Observe(e hub.Event) {
	if e.Kind != hub.EventSwitched && (e.Kind != hub.EventPublished || e.Standby) {
		return
	}
	wanted := r.cfg.Records(e.Key)
	foreign := r.cfg.Foreign != nil && r.cfg.Foreign(e.Session)
	r.mu.Lock()
	defer r.mu.Unlock()
	if foreign {
		r.endLocked(e.Key)
		return
	}
	if r.recordsLocked(e.Key, wanted) {
		r.beginLocked(e.Key, start{appends: e.Session.Client().Publishing == "append"})
	}
}

// Records reports whether a stream is recorded while it is live: as Start or Stop said last, or
// else Config.Records. That of a self-test never is.
func (r *Recorder) Records(key hub.Key) bool {
	wanted := r.cfg.Records(key)
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.recordsLocked(key, wanted)
}

// recordsLocked is Records, where Config.Records says wanted.
func (r *Recorder) recordsLocked(key hub.Key, wanted bool) bool {
	if key.IsCheck() {
		return false
	}
	if byHand, set := r.byHand[key]; set {
		return byHand
	}
	return wanted
}

// Start records a stream from its newest key frame on, or when it is next published, whatever
// Config.Records says. It has no effect on one that is recorded, or is that of a self-test.
func (r *Recorder) Start(key hub.Key) {
	if key.IsCheck() {
		return
	}
	live := r.cfg.Hub.Live(key)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.byHand[key] = true
	if rec := r.recordings[key]; live && (rec == nil || rec.stopped) {
		r.beginLocked(key, start{late: true})
	}
}

// Stop ends the recording of a stream, and records it no more until Start, whatever
// Config.Records says. It returns at once; the file is finished soon after.
func (r *Recorder) Stop(key hub.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.byHand[key] = false
	r.endLocked(key)
}

// endLocked ends the recording of a stream, which is recorded again when it is next published.
func (r *Recorder) endLocked(key hub.Key) {
	if rec := r.recordings[key]; rec != nil {
		rec.next, rec.stopped = nil, true
		rec.halt()
	}
}

// beginLocked begins to record a stream, unless that is being done.
func (r *Recorder) beginLocked(key hub.Key, how start) {
	if rec := r.recordings[key]; rec != nil {
		// It goes on through the publisher's grace. Should its stream have ended just now,
		// another one begins behind it.
		rec.next = &how
		return
	}
	if r.closed {
		return
	}
	rec := newRecording(r, key, how)
	r.recordings[key] = rec
	r.running.Go(func() { r.run(rec) })
}

// run records until the stream has ended and is not published again.
func (r *Recorder) run(rec *recording) {
	for {
		rec.record(r.ctx)
		r.mu.Lock()
		if rec.next == nil || r.closed {
			if r.recordings[rec.key] == rec {
				delete(r.recordings, rec.key)
			}
			r.mu.Unlock()
			return
		}
		next := newRecording(r, rec.key, *rec.next)
		r.recordings[rec.key] = next
		r.mu.Unlock()
		rec = next
	}
}

// recording returns the recording of a stream, nil if there is none now.
func (r *Recorder) recording(key hub.Key) *recording {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.recordings[key]
}

// Close finishes all recordings, and waits for that until ctx ends, whose error it then
// returns: a disk may hang. What is not finished then is when the archive is next opened.
func (r *Recorder) Close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.running.Wait()
		r.finishUnfinished()
		for _, u := range r.takeUnfinished() {
			u.out.Close() // and the next process finishes it
		}
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// totals are Totals as they are counted.
type totals struct {
	begun, finished, gaps, lost, failures atomic.Uint64
	bytes                                 atomic.Uint64
}

// Totals are sums since the recorder was made.
type Totals struct {
	Running  int    `json:"running"` // streams that are recorded now
	Begun    uint64 `json:"begun"`   // files
	Finished uint64 `json:"finished"`
	Gaps     uint64 `json:"gaps"`      // where something is missing
	Lost     uint64 `json:"lost"`      // packets that are missing
	Failures uint64 `json:"failures"`  // writes and other operations of the disk that failed
	Bytes    uint64 `json:"bytes"`     // written
	Waiting  int64  `json:"waiting"`   // bytes that logs keep for recordings now
	DiskFull bool   `json:"disk_full"` // nothing is recorded for want of room
}

// Totals returns the sums.
func (r *Recorder) Totals() Totals {
	r.mu.Lock()
	running, full := len(r.recordings), r.full
	r.mu.Unlock()
	t := &r.totals
	return Totals{
		Running: running, Begun: t.begun.Load(), Finished: t.finished.Load(), Gaps: t.gaps.Load(),
		Lost: t.lost.Load(), Failures: t.failures.Load(), Bytes: t.bytes.Load(),
		Waiting: r.budget.Used(), DiskFull: full,
	}
}

// tell tells the observer.
func (r *Recorder) tell(e Event) {
	if r.cfg.Observe != nil {
		r.cfg.Observe(e)
	}
}
