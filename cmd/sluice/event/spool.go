package event

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice/hub/durable"
)

// Bounds of a spool.
const (
	spoolName = "events.jsonl"
	// maxUntold bounds the finished recordings that are not told yet, and maxBegun those that are
	// being written: beyond it the oldest are forgotten, and the newest not noted.
	maxUntold = 10_000
	maxBegun  = 10_000
	maxInbox  = 10_000   // of what is still to be written
	maxLine   = 64 << 10 // bytes
	maxSpool  = 64 << 20 // bytes that are read at the start
	// spareLines is how many lines without use the file may have, besides one for each that is of
	// use.
	spareLines = 1000
	// spoolGrace is how long the end waits for the disk, if there is no time left.
	spoolGrace = time.Second
)

// spool is the file in which it stands which finished recordings have still to be told:
//
//	{"begun":{…}}     a file is being written: if that is the last word, the process has died
//	{"event":{…}}     it is finished; told of only when this has been written
//	{"told":"ID"}     everybody has been told
//	{"gone":{…}}      it was begun, and there is no such file any more
//
// Only its goroutine writes; whoever has something to note does not wait for the disk. Should
// that fail, events are told all the same.
type spool struct {
	path string
	log  *slog.Logger
	tell func(*Event)
	wake chan struct{} // capacity 1
	done chan struct{} // closed when run has ended

	mu      sync.Mutex
	inbox   []note
	closed  bool
	resumed struct { // until somebody asks
		untold []*Event
		begun  []begun
	}

	// What follows is run's, and openSpool's before.
	file    *os.File
	open    map[begun]bool
	untold  map[string]*Event // by id
	order   []string          // the ids, the oldest first; some may have been told
	lines   int
	torn    bool // the last line may not be whole
	failing bool // one line in the log until it works again
}

// begun is a recording that is being written.
type begun struct {
	App  string `json:"app"`
	Name string `json:"name"`
	ID   string `json:"id"`
}

// line is one line of the file; one field is set.
type line struct {
	Begun *begun `json:"begun,omitempty"`
	Event *Event `json:"event,omitempty"`
	Told  string `json:"told,omitempty"`
	Gone  *begun `json:"gone,omitempty"`
}

// note is what is to be written; one field is set.
type note struct {
	event  *Event
	told   string
	forget *begun        // it is not there any more
	passed chan struct{} // is closed when what was noted before is written
}

// openSpool opens the file in a folder, makes it if it is not there, and begins to write. It must
// be closed.
func openSpool(dir string, log *slog.Logger) (*spool, error) {
	s := &spool{
		path: filepath.Join(dir, spoolName), log: log, wake: make(chan struct{}, 1), done: make(chan struct{}),
		open: make(map[begun]bool), untold: make(map[string]*Event),
	}
	if err := s.load(); err != nil {
		return nil, err
	}
	if err := s.compact(); err != nil {
		return nil, err
	}
	for _, id := range s.order {
		if e := s.untold[id]; e != nil {
			s.resumed.untold = append(s.resumed.untold, e)
		}
	}
	for b := range s.open {
		s.resumed.begun = append(s.resumed.begun, b)
	}
	slices.SortFunc(s.resumed.begun, func(a, b begun) int { return strings.Compare(a.ID, b.ID) })
	return s, nil
}

// resume returns what the process before has left, once.
func (s *spool) resume() (untold []*Event, begun []begun) {
	s.mu.Lock()
	defer s.mu.Unlock()
	untold, begun = s.resumed.untold, s.resumed.begun
	s.resumed.untold, s.resumed.begun = nil, nil
	return untold, begun
}

// note has an event of a recording written down and then told. It does not block, and reports
// false if there is no room, or no more time.
func (s *spool) note(e *Event) bool { return s.put(note{event: e}) }

// told notes that everybody was told of a finished recording.
func (s *spool) told(id string) { s.put(note{told: id}) }

// forget notes that a recording that was begun is not there any more.
func (s *spool) forget(b begun) { s.put(note{forget: &b}) }

func (s *spool) put(n note) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.inbox) >= maxInbox {
		return false // a recording whose mark is lost is told twice
	}
	s.inbox = append(s.inbox, n)
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return true
}

// flush waits until all that was noted is written and told, or ctx ends.
func (s *spool) flush(ctx context.Context) {
	passed := make(chan struct{})
	if !s.put(note{passed: passed}) {
		return
	}
	select {
	case <-passed:
	case <-ctx.Done():
	}
}

// close writes what was noted, and waits for that until ctx ends, or a second if it has: a disk
// that hangs ends with the process.
func (s *spool) close(ctx context.Context) {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
	grace := time.NewTimer(spoolGrace)
	defer grace.Stop()
	select {
	case <-s.done:
		return
	case <-ctx.Done():
	}
	select {
	case <-s.done:
	case <-grace.C:
	}
}

// run writes until the spool is closed.
func (s *spool) run() {
	defer close(s.done)
	for range s.wake {
		s.mu.Lock()
		inbox, closed := s.inbox, s.closed
		s.inbox = nil
		s.mu.Unlock()
		s.write(inbox)
		if closed {
			s.file.Close()
			return
		}
	}
}

// write writes notes, and tells their events.
func (s *spool) write(notes []note) {
	var b bytes.Buffer
	sync := false
	for _, n := range notes {
		l, ok := s.apply(n)
		if !ok {
			continue
		}
		sync = sync || l.Event != nil
		s.appendLine(&b, l)
	}
	s.append(b.Bytes(), sync)
	for _, n := range notes {
		switch {
		case n.event != nil:
			s.tell(n.event)
		case n.passed != nil:
			close(n.passed)
		}
	}
	if s.lines > spareLines+2*(len(s.open)+len(s.untold)) {
		if err := s.compact(); err != nil {
			s.failed(err)
			s.lines = 0 // tries it again after as many
		}
	}
}

// apply takes a note over, and returns the line for it, if it needs one.
func (s *spool) apply(n note) (l line, ok bool) {
	switch e := n.event; {
	case n.told != "":
		return line{Told: n.told}, s.takeTold(n.told)
	case n.forget != nil:
		delete(s.open, *n.forget)
		return line{Gone: n.forget}, true
	case e == nil:
	case e.Type == TypeRecordBegun:
		b := begunOf(e)
		return line{Begun: &b}, s.takeBegun(b)
	case e.Type == TypeRecordFinished:
		s.takeFinished(e)
		return line{Event: e}, true
	}
	return line{}, false
}

func begunOf(e *Event) begun { return begun{App: e.App, Name: e.Name, ID: e.Recording.ID} }

func (s *spool) takeBegun(b begun) bool {
	if s.open[b] || len(s.open) >= maxBegun {
		return false
	}
	s.open[b] = true
	return true
}

func (s *spool) takeFinished(e *Event) {
	delete(s.open, begunOf(e))
	if s.untold[e.ID] != nil {
		return
	}
	if len(s.untold) >= maxUntold {
		s.log.Warn("finished recordings are not told, there are too many", "event", s.order[0])
		delete(s.untold, s.order[0])
	}
	s.untold[e.ID] = e
	s.order = append(s.order, e.ID)
	s.trimOrder()
}

func (s *spool) takeTold(id string) bool {
	_, there := s.untold[id]
	delete(s.untold, id)
	s.trimOrder()
	return there
}

// trimOrder keeps the oldest one that is untold in front, and the list short.
func (s *spool) trimOrder() {
	gone := func(id string) bool { return s.untold[id] == nil }
	for len(s.order) > 0 && gone(s.order[0]) {
		s.order = s.order[1:]
	}
	if len(s.order) > spareLines+2*len(s.untold) {
		s.order = slices.DeleteFunc(s.order, gone)
	}
}

func (s *spool) appendLine(b *bytes.Buffer, l line) {
	text, err := json.Marshal(l)
	if err != nil || len(text) >= maxLine {
		return // there is no such event
	}
	b.Write(text)
	b.WriteByte('\n')
	s.lines++
}

// append writes lines at the end of the file.
func (s *spool) append(lines []byte, sync bool) {
	if len(lines) == 0 {
		return
	}
	if s.torn {
		lines = append([]byte{'\n'}, lines...)
	}
	_, err := s.file.Write(lines)
	s.torn = err != nil
	if err == nil && sync {
		err = s.file.Sync()
	}
	if err != nil {
		s.failed(err)
	} else {
		s.failing = false
	}
}

// failed writes a line about the disk.
func (s *spool) failed(err error) {
	if !s.failing {
		s.failing = true
		s.log.Error("what has to be told after a crash is not written", "file", spoolName, "error", pathless(err))
	}
}

// pathless takes the path off an error.
func pathless(err error) error {
	if at, ok := errors.AsType[*os.PathError](err); ok {
		return at.Err
	}
	return err
}

// compact makes the file anew, with nothing but what is of use.
func (s *spool) compact() error {
	var b bytes.Buffer
	lines := s.lines
	s.lines = 0
	for open := range s.open {
		s.appendLine(&b, line{Begun: &open})
	}
	for _, id := range s.order {
		if e := s.untold[id]; e != nil {
			s.appendLine(&b, line{Event: e})
		}
	}
	err := durable.Replace(s.path, b.Bytes())
	var f *os.File
	if err == nil {
		f, err = os.OpenFile(s.path, os.O_WRONLY|os.O_APPEND, 0)
	}
	if err != nil {
		s.lines = lines
		return fmt.Errorf("writing %s: %w", spoolName, pathless(err))
	}
	if s.file != nil {
		s.file.Close()
	}
	s.file, s.torn = f, false
	return nil
}
