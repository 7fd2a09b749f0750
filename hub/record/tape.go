package record

import (
	"errors"
	"io"
	"time"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/archive"
	"sluice/hub/archive/flvfile"
	"sluice/hub/fanout"
)

// Pace bounds how far ahead of its viewer a recording is sent. The zero Pace sends as fast as
// the connection takes it, which is for clients that take what they need.
type Pace struct {
	Ahead time.Duration // of media
	Bytes int64         // of it, about
}

// tape is the lead of a viewer that begins in its stream's recording. It is read from file
// to file up to where the newest one is written, and there the viewer is put into the log.
type tape struct {
	rec    *recording
	viewer *hub.Viewer
	want   hub.Rewind
	pace   Pace

	part    part
	file    *archive.File // nil before it is open
	cursor  *flvfile.Cursor
	waited  int
	headers headers   // that the viewer has been sent
	given   hub.Given // what else
	stamp   int64     // ms, the viewer's timestamp of the last tag

	started time.Time // when the first piece was made
	sent    int64     // bytes since then
	read    bool      // a frame, whether the viewer got it or not
	first   int64     // the time of the first one, on the stream's clock
	at      int64     // ms behind it: how far the viewer has come

	tags   []flv.Tag
	data   []byte
	shaped []byte
}

// Bounds of a tape.
const (
	tapePiece     = 32 << 10 // bytes of a piece, about
	tapePieceTime = 1000     // ms of it
	// tapePoll is how often a tape looks whether a file has grown, or its viewer goes on.
	tapePoll = 50 * time.Millisecond
	// tapePatience is how often it does so at the end of what is written before it gives up.
	tapePatience = 100
	// maxTapeWait bounds a pause between two pieces, so that a shutdown is noticed.
	maxTapeWait = 500 * time.Millisecond
)

// Rewind returns what a viewer that has started is given before it is served from the log: a
// part of its stream's recording. It is nil where the viewer asks for no more than the log
// has, may not have it, or the stream is not recorded.
func (r *Recorder) Rewind(v *hub.Viewer, pace Pace) fanout.Lead {
	if r == nil {
		return nil
	}
	want, wanted := v.Rewind()
	if !wanted {
		return nil
	}
	rec := r.recording(want.Key)
	if rec == nil {
		return nil
	}
	p, ok := rec.partAt(want.Time)
	if !ok {
		return nil
	}
	return &tape{rec: rec, viewer: v, want: want, pace: pace, part: p}
}

// Close implements fanout.Lead.
func (t *tape) Close() {
	if t.file != nil {
		t.file.Close()
		t.file = nil
	}
}

// errShuttingDown ends viewers that are given a recording when the hub shuts down.
var errShuttingDown = &hub.Refusal{Reason: hub.ReasonShuttingDown, Detail: "the server is shutting down"}

// Next implements fanout.Lead.
func (t *tape) Next(dst []byte, f hub.Framer) (piece []byte, wait time.Duration, over bool) {
	select {
	case <-t.rec.recorder.cfg.Hub.Closing():
		t.viewer.Dismiss(errShuttingDown) // what the log holds does not follow what it has had
	default:
	}
	if t.viewer.Dismissed() {
		return dst, 0, true
	}
	if t.viewer.Paused() {
		return dst, 2 * tapePoll, false
	}
	if wait = t.ahead(); wait > 0 {
		return dst, wait, false
	}
	t.tags, t.data, t.shaped = t.tags[:0], t.data[:0], t.shaped[:0]
	wait, over = t.collect()
	if len(t.tags) > 0 {
		before := len(dst)
		dst = f.AppendTags(dst, t.tags)
		t.sent += int64(len(dst) - before)
	}
	return dst, wait, over
}

// collect gathers what goes out next.
func (t *tape) collect() (wait time.Duration, over bool) {
	if t.file == nil {
		if err := t.open(); err != nil {
			return 0, t.miss(err)
		}
	}
	for begin := t.at; len(t.data)+len(t.shaped) < tapePiece && t.at-begin < tapePieceTime; {
		p, err := t.cursor.Next()
		switch {
		case err == nil:
			t.waited = 0
			if !t.take(p) {
				return 0, t.giveUp()
			}
			if t.isComplete() {
				t.viewer.Complete()
				return 0, true
			}
			continue
		case len(t.tags) > 0:
			return 0, false // first these
		case errors.Is(err, flvfile.ErrNotYet):
			return t.atEnd()
		case errors.Is(err, io.EOF):
			return t.next()
		}
		t.rec.recorder.log.Warn("a recording cannot be read on", t.rec.attrs("recording", t.part.id, "error", err)...)
		return 0, t.giveUp()
	}
	return 0, false
}

// open opens the file where the viewer begins, or the next one.
func (t *tape) open() error {
	file, _, err := t.rec.recorder.cfg.Archive.Open(t.rec.key, t.part.id)
	if err != nil {
		return err
	}
	t.file, t.cursor = file, file.Cursor()
	if !t.started.IsZero() {
		return t.addHeaders() // at the beginning of the next file
	}
	_, err = t.cursor.SeekTo(max(0, t.want.Time-t.part.base))
	if errors.Is(err, flvfile.ErrBeyond) { // what is written is behind
		_, err = t.cursor.SeekTo(file.Info().Duration.Milliseconds())
	}
	if err != nil {
		return err
	}
	t.started = time.Now()
	t.add(t.want.Metadata)
	return t.addHeaders()
}

// addHeaders adds the codec headers in force at the cursor that the viewer lacks.
func (t *tape) addHeaders() error {
	headers, err := t.cursor.Headers()
	if err != nil {
		return err
	}
	for _, h := range headers {
		if h.Type != flv.TypeScript && t.headers.take(h.Tag) {
			h.Timestamp = uint32(t.stamp)
			if tag, ok := t.viewer.Shape(h.Tag, &t.shaped); ok {
				t.add(tag)
			}
		}
	}
	return nil
}

// miss goes on behind a file that cannot be opened: with the next one if it has been deleted
// meanwhile, otherwise in the log.
func (t *tape) miss(err error) (over bool) {
	if errors.Is(err, archive.ErrNotFound) {
		if next, ok := t.rec.forgetPart(t.part); ok {
			t.part = next
			return false
		}
	} else {
		t.rec.recorder.log.Warn("a recording cannot be read", t.rec.attrs("recording", t.part.id, "error", err)...)
	}
	return t.giveUp()
}

// take takes a packet of the file. It reports false for a header that the viewer cannot follow.
func (t *tape) take(p flvfile.Packet) bool {
	time := t.part.base + p.Time
	switch {
	case !p.Header:
		if !t.read {
			t.read, t.first = true, time
		}
		t.at = max(t.at, time-t.first)
		t.given.Until = t.first + t.at
		if !t.notes(&p) {
			return true
		}
	case p.Type != flv.TypeScript:
		before := t.headers.format().main()
		switch news := t.headers.take(p.Tag); {
		case !news: // the file was opened before its headers stood in it, or has them twice
			return true
		case t.headers.format().main() != before && t.viewer.CannotFollow():
			return false
		}
	}
	tag, ok := t.viewer.Shape(p.Tag, &t.shaped)
	if !ok {
		return true
	}
	if g := &t.given; !g.Begun && !p.Header {
		g.Begun, g.Begin = true, time
		if p.Type == flv.TypeVideo {
			// A picture that is shown before its time would be shown before 0.
			if frame, err := flv.ParseVideo(p.Data); err == nil {
				g.Begin += int64(min(0, frame.CompositionTime))
			}
		}
	}
	if t.given.Begun {
		t.stamp = max(0, time-t.given.Begin)
	}
	tag.Timestamp = uint32(t.stamp)
	if p.Header && p.Type == flv.TypeScript {
		tag.Timestamp = 0 // as in the log: ffmpeg takes metadata at any other time for a subtitle track
	}
	t.add(tag)
	return true
}

// isComplete reports whether the viewer has had what it asked for.
func (t *tape) isComplete() bool {
	most := t.want.Duration.Milliseconds()
	return most > 0 && t.given.Begun && t.given.Until-t.given.Begin >= most
}

// notes notes a frame, and reports whether the viewer gets it now, if it gets any of the kind: not while it has switched them off,
// and of video from then on nothing before a key frame. Script data begins nothing.
func (t *tape) notes(p *flvfile.Packet) bool {
	off := t.viewer.IsOff(p.Type)
	switch p.Type {
	case flv.TypeVideo:
		t.given.NeedKey = off || t.given.NeedKey && !p.Key
		return !t.given.NeedKey
	case flv.TypeScript:
		return t.given.Begun
	}
	return !off
}

// add adds a copy of a tag.
func (t *tape) add(tag flv.Tag) {
	begin := len(t.data)
	t.data = append(t.data, tag.Data...) // the tags before keep their memory if this is new
	tag.Data = t.data[begin:len(t.data):len(t.data)]
	t.tags = append(t.tags, tag)
}

// atEnd puts the viewer into the log, when everything that was written has been read. It gives
// up where nothing comes for long and the log does not reach so far back: the recording has
// ended, or its disk hangs.
func (t *tape) atEnd() (wait time.Duration, over bool) {
	p := t.rec.progress.Load()
	if t.read && p != nil && p.id == t.part.id && p.size == t.cursor.Offset() && t.viewer.ContinueAt(p.at, t.given) {
		return 0, true
	}
	if t.waited++; t.waited > tapePatience {
		return 0, t.giveUp()
	}
	return tapePoll, false
}

// next goes on with the next file, or in the log behind the last one. A viewer that cannot
// follow a change of format is ended there by the hub, when it is in the log.
func (t *tape) next() (wait time.Duration, over bool) {
	if part, ok := t.rec.partAfter(t.part); ok {
		if part.epoch != t.part.epoch && t.viewer.CannotFollow() {
			return 0, t.giveUp()
		}
		t.Close()
		t.part = part
		return 0, false
	}
	return t.atEnd()
}

// giveUp has the viewer go on in the log, wherever that is.
func (t *tape) giveUp() (over bool) {
	if !t.started.IsZero() { // else it begins in the log, as if there were no recording
		t.viewer.ContinueLive(t.given)
	}
	return true
}

// ahead returns how long to wait before the viewer is sent more.
func (t *tape) ahead() time.Duration {
	if t.pace == (Pace{}) || t.at == 0 {
		return 0
	}
	media, played := time.Duration(t.at)*time.Millisecond, time.Since(t.started)
	wait := media - played - t.pace.Ahead
	if t.pace.Bytes > 0 && media > played {
		// What it has not played yet, at the rate so far.
		if unplayed := float64(t.sent) * float64(media-played) / float64(media); unplayed > float64(t.pace.Bytes) {
			wait = max(wait, tapePoll)
		}
	}
	return min(wait, maxTapeWait)
}
