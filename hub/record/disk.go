package record

import (
	"errors"
	"io/fs"
	"net"
	"syscall"
	"time"

	"sluice/hub"
	"sluice/hub/archive"
	"sluice/hub/archive/flvfile"
)

// slot is the right to write, and the memory for it.
type slot struct {
	batch   hub.ReadBatch
	packets []flvfile.Packet
	scratch []byte
}

// maxScratch is the largest buffer that a slot keeps, in bytes.
const maxScratch = 1 << 20

// acquire waits for a slot.
func (r *Recorder) acquire() *slot { return <-r.slots }

func (r *Recorder) release(s *slot) {
	clear(s.packets)
	s.packets = s.packets[:0]
	if cap(s.scratch) > maxScratch {
		s.scratch = nil
	}
	r.slots <- s
}

// watchDisk keeps room on the disk, and says when there is none.
func (r *Recorder) watchDisk() {
	ticks := time.NewTicker(lookEvery)
	defer ticks.Stop()
	for {
		r.makeRoom()
		r.finishUnfinished()
		select {
		case <-ticks.C:
		case <-r.look:
		case <-r.ctx.Done():
			return
		}
	}
}

// makeRoom deletes what need not be kept, and notes whether there is room by now.
func (r *Recorder) makeRoom() {
	short, err := r.cfg.Archive.MakeRoom(r.ctx)
	if err != nil && r.ctx.Err() == nil {
		r.totals.failures.Add(1)
		r.log.Warn("making room for recordings failed", "error", err)
	}
	r.mu.Lock()
	refused := time.Since(r.refused) < refusedFor
	r.mu.Unlock()
	r.setFull(short > 0 || refused, short)
}

// refuse notes that the disk had no room for something.
func (r *Recorder) refuse() {
	r.mu.Lock()
	r.refused = time.Now()
	r.mu.Unlock()
	r.setFull(true, 0)
	r.lookNow()
}

// setFull notes whether the disk is full.
func (r *Recorder) setFull(full bool, short int64) {
	r.mu.Lock()
	was := r.full
	r.full = full
	if was && !full {
		close(r.room)
		r.room = make(chan struct{})
	}
	r.mu.Unlock()
	switch {
	case full && !was:
		r.log.Error("disk full: recordings stop until there is room", "missing_bytes", short)
	case was && !full:
		r.log.Info("the disk has room again: recordings go on")
	}
}

// isFull reports whether the disk is full, and returns what is closed when it is no more.
func (r *Recorder) isFull() (full bool, room <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.full, r.room
}

// lookNow has the free space looked at.
func (r *Recorder) lookNow() {
	select {
	case r.look <- struct{}{}:
	default:
	}
}

// noSpace reports whether an operation failed since there is no room.
func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// sync brings everything to the disk, every Config.Sync, and rests at least as long as that
// took.
func (r *Recorder) sync() {
	timer := time.NewTimer(r.cfg.Sync)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-r.ctx.Done():
			return
		}
		began := time.Now()
		if err := r.cfg.Archive.Sync(); err != nil {
			r.totals.failures.Add(1)
			r.log.Warn("recordings could not be brought to the disk", "error", err)
		}
		timer.Reset(max(r.cfg.Sync, time.Since(began)))
	}
}

// unfinished is a file that could not be finished when it ended.
type unfinished struct {
	out   *archive.Writer
	state archive.State
}

// finish finishes a file, and tells of it. One without a packet is removed. After an error the
// file is not finished, and that can be tried again.
func (r *Recorder) finish(out *archive.Writer, state archive.State) error {
	done, err := out.Finish(state)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if out.Info().Duration > 0 {
			r.totals.failures.Add(1)
			r.log.Error("the file of a recording is gone", "stream", done.Key.String(), "recording", done.ID, "error", err)
		}
		return nil
	case errors.Is(err, net.ErrClosed):
		return nil // it has been finished
	case err != nil && done.State == archive.StateRecording:
		return err
	case err != nil:
		r.totals.failures.Add(1)
		r.log.Warn("closing the file of a finished recording failed", "recording", done.ID, "error", err)
	}
	r.totals.finished.Add(1)
	r.log.Info("recording finished", "stream", done.Key.String(), "recording", done.ID, "duration", done.Duration,
		"bytes", done.Size, "gaps", done.Gaps, "state", string(done.State))
	r.tell(Event{Kind: EventFinished, Recording: done})
	return nil
}

// finishLater has a file finished when the disk works again.
func (r *Recorder) finishLater(out *archive.Writer, state archive.State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unfinished = append(r.unfinished, unfinished{out, state})
}

func (r *Recorder) takeUnfinished() []unfinished {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.unfinished
	r.unfinished = nil
	return all
}

// finishUnfinished tries once more.
func (r *Recorder) finishUnfinished() {
	for _, u := range r.takeUnfinished() {
		if err := r.finish(u.out, u.state); err != nil {
			r.totals.failures.Add(1)
			r.log.Warn("a recording could not be finished yet", "recording", u.out.Recording().ID, "error", err)
			r.finishLater(u.out, u.state)
		}
	}
}
