package event

import (
	"container/list"
	"context"
	"log/slog"
	"sync"
	"time"
)

// Bounds of a queue.
const (
	maxWaiting = 10_000 // events; beyond it the oldest one is dropped
	// maxDenied is how many of them may be denials: others decide how often these happen.
	maxDenied = 1_000
	// maxKept is how many finished recordings that could not be told wait for better times.
	maxKept = 1_000

	firstPause = time.Second // before the second attempt; twice as long each time
	maxPause   = 30 * time.Second
	// patience is for how long an event is tried, from its first attempt on.
	patience = 5 * time.Minute
	// maxRefusals is how often an event is tried that the receiver does not want.
	maxRefusals = 3
)

// failure is an error of a delivery that says more.
type failure struct {
	err     error
	refused bool          // the receiver is there and does not want the event
	told    bool          // the receiver has had the event all the same
	after   time.Duration // before which the receiver wants no other attempt
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// queue holds what one receiver has still to be told, and tells it:
//
//	add ─▶ lane of its stream: ready ─a worker is free─▶ delivering ─taken─▶ the next one is ready
//	                             ▲                           │
//	                             └───── pausing ◀────failed──┴─given up─▶ the next one, as it was
//
// A lane delivers one event at a time, and so a stream's events come in their order. Lanes that
// pause keep no worker from others. Its methods may be called from any goroutine.
type queue struct {
	receiver string // in lines of the log
	workers  int    // how many events are delivered at a time
	deliver  func(ctx context.Context, e *Event) error
	newEvent func(Type) Event
	settled  func(id string) // is told that a finished recording need not be told again
	log      *slog.Logger

	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup // workers

	mu      sync.Mutex
	lanes   map[string]*lane
	order   *list.List // of *entry, the oldest first
	ready   []*lane
	busy    int // workers
	seq     uint64
	counts  map[Type]int // entries
	gap     gap
	kept    []*Event
	failing bool          // the last attempt failed
	closed  bool          // nothing is taken any more
	stopped bool          // nothing is delivered any more
	empty   chan struct{} // closed when nothing waits; nil if nobody waits for that
	totals  QueueTotals
}

// lane is the events of one stream that wait. Those of no stream have one of their own.
type lane struct {
	key     string
	entries *list.List // of *entry
	state   laneState
	pause   *time.Timer // while it pauses
	fails   int         // attempts that failed since one did not
}

type laneState uint8

const (
	laneIdle laneState = iota
	laneReady
	laneDelivering
	lanePausing
)

// entry is an event that waits.
type entry struct {
	event    *Event // of all receivers; nil for a gap that has no event yet
	seq      uint64
	told     *Event // as this receiver is told; nil before the first attempt
	isGap    bool
	flying   bool
	lane     *lane
	inOrder  *list.Element
	inLane   *list.Element
	first    time.Time // attempt
	refusals int
}

// gap is what is missing and was not told of.
type gap struct {
	lost     uint64
	from, to uint64
	queued   bool // an entry waits that will tell of it
}

// QueueTotals are sums of one receiver since the start.
type QueueTotals struct {
	Sent    uint64 `json:"sent"`    // events that it was told
	Failed  uint64 `json:"failed"`  // attempts that failed
	Retried uint64 `json:"retried"` // attempts beyond the first one
	Dropped uint64 `json:"dropped"` // events that it will not be told, but for finished recordings that are told later
	Waiting int    `json:"waiting"` // events, now
}

func newQueue(receiver string, workers int, log *slog.Logger) *queue {
	q := &queue{
		receiver: receiver, workers: workers, log: log.With("receiver", receiver),
		lanes: make(map[string]*lane), order: list.New(), counts: make(map[Type]int),
	}
	q.ctx, q.cancel = context.WithCancel(context.Background())
	return q
}

// add takes an event. It does not block.
func (q *queue) add(e *Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		q.totals.Dropped++
		return
	}
	q.addLocked(e)
	q.startLocked()
}

// skip is for events that were lost before they came here.
func (q *queue) skip(n uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || n == 0 {
		return
	}
	q.seq += n
	q.loseLocked(n, q.seq-n+1, q.seq)
	q.startLocked()
}

func (q *queue) addLocked(e *Event) {
	if e.Type == TypeDenied && q.counts[TypeDenied] >= maxDenied {
		q.seq++
		q.loseLocked(1, q.seq, q.seq)
		return
	}
	if q.order.Len() >= maxWaiting {
		q.shedLocked() // which may number a gap
	}
	q.seq++
	q.counts[e.Type]++
	q.pushLocked(&entry{event: e, seq: q.seq}, e.Stream)
}

// holds reports whether events of a type wait.
func (q *queue) holds(typ Type) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.counts[typ] > 0
}

func (q *queue) pushLocked(en *entry, key string) {
	l := q.lanes[key]
	if l == nil {
		l = &lane{key: key, entries: list.New()}
		q.lanes[key] = l
	}
	en.lane = l
	en.inOrder, en.inLane = q.order.PushBack(en), l.entries.PushBack(en)
	if l.state == laneIdle {
		q.readyLocked(l)
	}
}

func (q *queue) readyLocked(l *lane) {
	l.state = laneReady
	q.ready = append(q.ready, l)
}

// removeLocked takes an entry out. Its lane may be empty then.
func (q *queue) removeLocked(en *entry) {
	q.order.Remove(en.inOrder)
	en.lane.entries.Remove(en.inLane)
	if !en.isGap {
		q.counts[en.event.Type]--
	}
}

// shedLocked drops the oldest event that is not just being delivered.
func (q *queue) shedLocked() {
	for at := q.order.Front(); at != nil; at = at.Next() {
		en := at.Value.(*entry)
		if en.flying || en.isGap { // there are few of both
			continue
		}
		q.removeLocked(en)
		q.dropLocked(en, true)
		return
	}
}

// dropLocked notes that an event is not told; again if a finished recording is to be told later.
func (q *queue) dropLocked(en *entry, again bool) {
	if en.isGap {
		g := en.told
		q.noteLostLocked(g.Lost+1, min(g.LostFrom, en.seq), max(g.LostTo, en.seq))
		return // the next one tells
	}
	if again && en.event.Type == TypeRecordFinished && len(q.kept) < maxKept {
		q.kept = append(q.kept, en.event)
	}
	q.loseLocked(1, en.seq, en.seq)
}

// loseLocked notes that events are missing, and has that told.
func (q *queue) loseLocked(n, from, to uint64) {
	q.totals.Dropped += n
	q.noteLostLocked(n, from, to)
	q.tellGapLocked()
}

func (q *queue) noteLostLocked(n, from, to uint64) {
	if q.gap.lost == 0 {
		q.gap.from, q.gap.to = from, to
	}
	q.gap.lost += n
	q.gap.from, q.gap.to = min(q.gap.from, from), max(q.gap.to, to)
}

// tellGapLocked puts in an event that tells what is missing when it is first tried.
func (q *queue) tellGapLocked() {
	if q.gap.lost == 0 || q.gap.queued {
		return
	}
	q.gap.queued = true
	q.seq++
	q.pushLocked(&entry{isGap: true, seq: q.seq}, "")
}

// close takes no more events, delivers those that wait until ctx ends, and returns when nothing
// is being delivered any more.
func (q *queue) close(ctx context.Context) {
	q.mu.Lock()
	q.closed = true
	var empty chan struct{}
	if q.order.Len() > 0 && !q.stopped {
		empty = q.empty
		if empty == nil {
			empty = make(chan struct{})
			q.empty = empty
		}
	}
	q.mu.Unlock()
	if empty != nil {
		select {
		case <-empty:
		case <-ctx.Done():
		}
	}
	q.cancel()
	q.mu.Lock()
	q.stopped = true
	for _, l := range q.lanes {
		if l.pause != nil {
			l.pause.Stop()
		}
	}
	q.mu.Unlock()
	q.running.Wait()
	q.mu.Lock()
	left := q.order.Len() + len(q.kept)
	q.mu.Unlock()
	if left > 0 {
		q.log.Warn("events are not told, the server ends", "count", left)
	}
}

// sums returns the sums.
func (q *queue) sums() QueueTotals {
	q.mu.Lock()
	defer q.mu.Unlock()
	t := q.totals
	t.Waiting = q.order.Len()
	return t
}
