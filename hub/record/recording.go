package record

import (
	"context"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/archive"
)

// recording is one stream that is recorded, from a publish session on to its stream's end.
// What is not guarded is its goroutine's.
type recording struct {
	recorder *Recorder
	key      hub.Key
	start    start
	stop     chan struct{} // closed when it is to end
	halted   sync.Once
	next     *start // the stream was published once more: another one follows. Guarded by Recorder.mu
	stopped  bool   // by hand. Guarded by Recorder.mu

	out       *archive.Writer // the file that is written; nil between files
	id        string          // of the newest file
	base      int64           // stream time of its time 0
	began     time.Time       // when the last file was begun: each one is later than the one before it
	begin     int64           // stream time at which it began, or was gone on with
	turns     int
	headers   headers
	written   format        // of the file
	cutDue    bool          // the format has changed
	formatDue bool          // headers changed: the format has to be looked at
	withheld  headers       // that the file lacks: frames that need them may belong to the next one
	needKey   bool          // packets up to the next key frame are left out
	last      int64         // stream time of the last packet that was taken
	hasLast   bool          // there was one
	skipped   uint64        // packets left out since then
	stoppedAt *hub.Position // where it stopped for want of room, up to the next packet
	retryAt   time.Time
	failing   bool

	progress atomic.Pointer[progress]

	mu     sync.Mutex
	files  []part // the oldest first
	format format // of the newest one
	epoch  int    // likewise
}

// progress says how much of a stream stands in its newest file.
type progress struct {
	id   string
	size int64        // bytes of the file
	at   hub.Position // what follows in the log
}

// start says how a recording begins.
type start struct {
	appends bool // in the stream's last file, if that has its format
	late    bool // at the newest key frame, not with the session
}

func newRecording(r *Recorder, key hub.Key, how start) *recording {
	return &recording{recorder: r, key: key, start: how, stop: make(chan struct{})}
}

func (rec *recording) halt() { rec.halted.Do(func() { close(rec.stop) }) }

// record records until its stream ends, it is halted, or ctx ends.
func (rec *recording) record(ctx context.Context) {
	done := context.AfterFunc(ctx, rec.halt)
	defer done()
	fromSession := !rec.start.late
	var place *hub.Position // where it stopped for want of room
	for rec.waitForRoom() {
		in, err := rec.recorder.cfg.Hub.Read(rec.key, hub.ReadOptions{
			FromSession: fromSession, Lag: hub.LagBudget, Budget: rec.recorder.budget, Gather: gather,
		})
		if err != nil {
			return // it has ended
		}
		if place != nil && !in.Knows(*place) {
			in.Close()
			return // the other stream is recorded by another recording
		}
		full := rec.read(in)
		in.Close()
		if !full {
			return
		}
		at := in.Position()
		place, fromSession, rec.needKey = &at, false, true
		rec.stoppedAt = place
	}
}

// waitForRoom waits while the disk is full. It reports false if there is nothing to wait for
// any more: the recording is halted, or nobody publishes its stream.
func (rec *recording) waitForRoom() bool {
	for {
		full, room := rec.recorder.isFull()
		if !full {
			return true
		}
		select {
		case <-room:
		case <-rec.stop:
			return false
		case <-time.After(lookEvery):
			if !rec.recorder.cfg.Hub.Live(rec.key) {
				return false // another one begins when it is published again
			}
		}
	}
}

// read reads until the end, or until there is no more room: then full is true.
func (rec *recording) read(in *hub.Reader) (full bool) {
	wait := time.Duration(rand.Int64N(int64(turnEvery))) // so that not all write at the same moment
	tick := time.NewTimer(wait)
	defer tick.Stop()
	for {
		halted := false
		select {
		case <-tick.C:
		case <-in.Ready():
		case <-rec.stop:
			halted = true
		}
		over, full := rec.turn(in, halted)
		if over {
			return full
		}
		tick.Reset(turnEvery)
	}
}

// turn writes what is due, and finishes the file where that was the last: then over is true,
// and full if it is because there is no more room. It waits for its right to write also when the
// recording is halted: what is due is not lost by that.
func (rec *recording) turn(in *hub.Reader, halted bool) (over, full bool) {
	r := rec.recorder
	s := r.acquire()
	defer r.release(s)
	runtime.Gosched() // those who serve viewers first
	end := hub.ReasonNone
	if halted || !rec.failing || !time.Now().Before(rec.retryAt) { // otherwise the log keeps it meanwhile
		rec.failing = false
		end = rec.write(s, in)
	}
	full, _ = r.isFull()
	switch {
	case end != hub.ReasonNone || halted:
		rec.finish(archive.StateFinished)
		return true, false
	case full:
		rec.finish(archive.StateDiskFull)
		return true, true
	}
	return false, false
}

// write writes what is due, and returns why nothing follows, if that is so.
func (rec *recording) write(s *slot, in *hub.Reader) (end hub.Reason) {
	for {
		end = in.Read(&s.batch, gather)
		if s.batch.Lost > 0 {
			rec.lost(s.batch.Lost)
		}
		size := 0
		for i := range s.batch.Packets {
			p := &s.batch.Packets[i]
			size += p.Size()
			rec.take(s, p)
		}
		rec.flush(s)
		if out := rec.out; out != nil && len(rec.withheld.configs) == 0 {
			rec.progress.Store(&progress{rec.id, out.Info().Size, in.Position()})
		}
		if end != hub.ReasonNone || size < gather || rec.failing {
			break
		}
	}
	if rec.turns++; rec.turns%indexEvery == 0 && rec.out != nil {
		if err := rec.out.WriteIndex(); err != nil {
			rec.failed("writing the index of a recording failed", err)
		}
	}
	return end
}

// take takes one packet, which is written with the next flush.
func (rec *recording) take(s *slot, p *hub.Packet) {
	if p.Header {
		rec.takeHeader(s, p)
		return
	}
	if rec.stoppedAt != nil {
		rec.skipped += rec.stoppedAt.Missed(*p)
		rec.stoppedAt = nil
	}
	if rec.out != nil && p.Key && rec.isOver(s, p) {
		rec.flush(s)
		rec.finish(archive.StateFinished)
	}
	if rec.out == nil && !rec.open(s, p) {
		rec.skipped++
		rec.needKey = true // what follows cannot be shown without it
		return
	}
	if rec.needKey && !p.Key {
		rec.skipped++
		return
	}
	rec.needKey = false
	if rec.skipped > 0 {
		rec.gap(s, p)
	}
	next := packet(p, rec.base)
	s.packets = append(s.packets, rec.withheld.release(p.Type, next.Time)...)
	s.packets = append(s.packets, next)
	rec.last, rec.hasLast = p.Time, true
}

// takeHeader takes metadata or a codec header.
func (rec *recording) takeHeader(s *slot, p *hub.Packet) {
	if p.Reset {
		rec.headers.reset()
		rec.formatDue = true
	}
	news := rec.headers.take(p.Tag)
	rec.formatDue = rec.formatDue || news
	switch {
	case rec.out == nil: // the next file begins with it
	case rec.unlike(): // likewise, if a key frame comes before a frame that needs it
		rec.withheld.take(p.Tag)
	case p.Type == flv.TypeScript:
		if news {
			s.packets = append(s.packets, packet(p, rec.base))
		}
	default: // with it, what was withheld may be like the file again
		rec.withheld.take(p.Tag)
		s.packets = append(s.packets, rec.withheld.packets(packet(p, rec.base).Time)...)
		rec.withheld = headers{}
	}
}

// unlike reports whether what is in force now cannot stand in the present file.
func (rec *recording) unlike() bool {
	if rec.formatDue {
		rec.formatDue = false
		rec.cutDue = rec.headers.format() != rec.written
	}
	return rec.cutDue
}

// isOver reports whether the file ends before a key frame.
func (rec *recording) isOver(s *slot, p *hub.Packet) bool {
	cfg := &rec.recorder.cfg
	switch {
	case rec.unlike():
		return true
	case cfg.Segment > 0 && p.Time-rec.begin >= cfg.Segment.Milliseconds():
		return true
	case cfg.SegmentBytes > 0:
		size := rec.out.Info().Size
		for i := range s.packets {
			size += int64(s.packets[i].Size())
		}
		return size >= cfg.SegmentBytes
	}
	return false
}

// flush writes the packets of the slot.
func (rec *recording) flush(s *slot) {
	if len(s.packets) == 0 || rec.out == nil {
		s.packets = s.packets[:0]
		return
	}
	var written int
	var err error
	s.scratch, written, err = rec.out.Write(s.scratch, s.packets)
	for _, p := range s.packets[:written] {
		rec.recorder.totals.bytes.Add(uint64(p.Size()))
	}
	lost := len(s.packets) - written
	s.packets = s.packets[:0]
	if err == nil {
		return
	}
	rec.skipped += uint64(lost)
	rec.failed("writing a recording failed: the file ends here, and another one follows when it works again", err)
	state := archive.StateFinished
	if noSpace(err) {
		state = archive.StateDiskFull
	}
	rec.finish(state)
	rec.needKey = true
}

// failed notes that the disk failed. Nothing is tried for a while.
func (rec *recording) failed(what string, err error) {
	r := rec.recorder
	r.totals.failures.Add(1)
	if noSpace(err) {
		r.refuse()
	}
	r.log.Error(what, rec.attrs("error", err)...)
	rec.failing, rec.retryAt = true, time.Now().Add(retryAfter)
}

// lost notes that packets are missing before the next one, since the recorder was slow.
func (rec *recording) lost(packets uint64) {
	rec.skipped += packets
	rec.needKey = true
}

// gap notes that something is missing before a packet.
func (rec *recording) gap(s *slot, p *hub.Packet) {
	r, packets := rec.recorder, rec.skipped
	rec.skipped = 0
	r.totals.lost.Add(packets)
	if !rec.hasLast {
		return // the recording begins here
	}
	rec.flush(s)
	lost := time.Duration(p.Time-rec.last) * time.Millisecond
	r.totals.gaps.Add(1)
	e := Event{Kind: EventGap, Lost: lost, Recording: archive.Recording{Key: rec.key}}
	if rec.out != nil {
		rec.out.Gap(lost.Milliseconds())
		e.Recording = rec.out.Recording()
	}
	r.log.Warn("a recording has a gap: its disk was too slow, full, or failed",
		rec.attrs("recording", e.Recording.ID, "lost", lost, "packets", packets)...)
	r.tell(e)
}

// finish finishes the file, if there is one.
func (rec *recording) finish(state archive.State) {
	out := rec.out
	if out == nil {
		return
	}
	rec.out = nil
	if err := rec.recorder.finish(out, state); err != nil {
		rec.failed("a recording could not be finished, and will be later", err)
		rec.recorder.finishLater(out, state)
	}
}

// attrs are what each line of the log says, and more.
func (rec *recording) attrs(more ...any) []any {
	return append([]any{"stream", rec.key.String()}, more...)
}
