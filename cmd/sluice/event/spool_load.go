package event

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
)

// load reads what the process before has left.
func (s *spool) load() error {
	f, err := os.Open(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return s.read(f)
}

// read reads lines; those that make no sense are passed over, with a line in the log that says
// how many there were.
func (s *spool) read(from io.Reader) error {
	limited := &io.LimitedReader{R: from, N: maxSpool}
	r := bufio.NewReaderSize(limited, maxLine)
	damaged := 0
	for {
		text, err := r.ReadSlice('\n')
		long := false
		for errors.Is(err, bufio.ErrBufferFull) {
			long = true
			_, err = r.ReadSlice('\n')
		}
		if len(text) > 0 && (long || !s.takeLine(text)) {
			damaged++
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if damaged > 0 || limited.N == 0 {
		s.log.Warn("lines of a file are damaged and left out", "file", spoolName, "count", damaged, "too_long", limited.N == 0)
	}
	return nil
}

// takeLine takes one line over, and reports whether it makes sense.
func (s *spool) takeLine(text []byte) bool {
	var l line
	if len(strings.TrimSpace(string(text))) == 0 {
		return true
	}
	if err := json.Unmarshal(text, &l); err != nil {
		return false
	}
	switch {
	case l.Told != "":
		s.takeTold(l.Told)
	case l.Gone != nil:
		delete(s.open, *l.Gone)
	case l.Begun != nil:
		s.takeBegun(*l.Begun)
	case l.Event != nil:
		e := l.Event
		cut := strings.LastIndexByte(e.Stream, '/')
		if e.ID == "" || e.Type != TypeRecordFinished || e.Recording == nil || cut < 0 {
			return false
		}
		e.App, e.Name = e.Stream[:cut], e.Stream[cut+1:]
		s.takeFinished(e)
	default:
		return false
	}
	return true
}
