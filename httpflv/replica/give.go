package replica

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/cluster"
)

// give takes the connection over and writes the stream, until it ends.
func (h *Handler) give(w http.ResponseWriter, r *http.Request, a asking, out cluster.Outflow) {
	nc, _, err := http.NewResponseController(w).Hijack()
	if err != nil { // it is not HTTP/1.1 on a connection
		panic(http.ErrAbortHandler)
	}
	defer nc.Close()
	defer context.AfterFunc(h.ctx, func() { nc.Close() })()
	nc.SetDeadline(time.Time{})
	start := out.Start()
	s := &sender{nc: nc, place: begin(start)}
	h.figures.begun.Add(1)
	log := h.cfg.Logger.With("asker", a.node, "remote", r.RemoteAddr, "stream", a.key.String())
	log.Info("copy begins", "at", start.At.String(), "joined", start.Joined)
	began := time.Now()
	err = s.run(h.ctx, h.head(a, start), out)
	h.figures.bytes.Add(s.bytes)
	reason := reasonOf(err)
	if errors.Is(err, ErrProtocol) {
		log.Error("copy cannot go on", "error", err)
	}
	log.Info("copy ends", "reason", reason.String(), "duration", time.Since(began), "bytes", s.bytes)
}

// reasonOf returns why a copy has ended, for the log.
func reasonOf(err error) hub.Reason {
	if ended, ok := errors.AsType[*cluster.Ended](err); ok {
		return ended.Reason
	}
	switch {
	case errors.Is(err, cluster.ErrStale): // it goes on from another node
		return hub.ReasonReplaced
	case errors.Is(err, ErrProtocol):
		return hub.ReasonProtocol
	case errors.Is(err, os.ErrDeadlineExceeded):
		return hub.ReasonStalled
	case errors.Is(err, context.Canceled):
		return hub.ReasonShuttingDown
	}
	return hub.ReasonConnection
}

// head returns the head of the answer and of the FLV file.
func (h *Handler) head(a asking, start cluster.Start) []byte {
	said := saidOf(start)
	b := []byte("HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\nCache-Control: no-store\r\nConnection: close\r\n")
	field := func(name, value string) {
		if value != "" {
			b = append(append(append(append(b, name...), ": "...), value...), "\r\n"...)
		}
	}
	field(nodeHeader, h.cfg.Node)
	for i, name := range saidHeaders {
		field(name, said[i])
	}
	field(proofHeader, h.key.answerMAC(a.nonce, h.cfg.Node, http.StatusOK, said[:]...))
	b = append(b, "\r\n"...)
	return flv.AppendHeader(b, start.Tracks && start.Audio, start.Tracks && start.Video)
}

// saidHeaders are the header fields that an answer's proof covers.
var saidHeaders = [...]string{streamHeader, timeHeader, joinedHeader, tracksHeader}

// saidOf returns their values.
func saidOf(s cluster.Start) (said [len(saidHeaders)]string) {
	said = [...]string{s.At.String(), strconv.FormatInt(s.Time, 10), strconv.FormatBool(s.Joined), ""}
	if s.Tracks {
		var tracks []string
		if s.Audio {
			tracks = append(tracks, "audio")
		}
		if s.Video {
			tracks = append(tracks, "video")
		}
		if tracks == nil {
			tracks = []string{"none"}
		}
		said[3] = strings.Join(tracks, ",")
	}
	return said
}

// sender writes a copy. It has a buffer only while it writes.
type sender struct {
	nc    net.Conn
	place place
	buf   *[]byte
	last  time.Time // when something was last written
	set   time.Time // the deadline that the connection has
	bytes uint64
	body  []byte // of a control tag
}

// maxWrite is the size of the buffers, in bytes: what is written at once.
const maxWrite = 64 << 10

var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, maxWrite)
	return &b
}}

// run writes the head, and then what comes until it ends, and returns why.
func (s *sender) run(ctx context.Context, head []byte, out cluster.Outflow) error {
	err := s.write(func() error { return s.put(head) })
	for err == nil {
		var items []cluster.Item
		var end error
		if items, end = out.Next(ctx, s.last.Add(pingInterval)); len(items) > 0 {
			err = s.items(items)
		}
		ended, over := errors.AsType[*cluster.Ended](end)
		switch {
		case err != nil:
		case over:
			if err = s.say(control{end: ended.Reason}); err == nil {
				err = ended
			}
		case end != nil:
			err = end
		case time.Since(s.last) >= pingInterval:
			err = s.say(control{ping: true})
		}
	}
	return err
}

// items writes them, in one write if they are no more than maxWrite.
func (s *sender) items(items []cluster.Item) error {
	return s.write(func() error {
		for i := range items {
			if err := s.item(&items[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// write has put called in f, and writes what is left then.
func (s *sender) write(f func() error) error {
	s.buf = buffers.Get().(*[]byte)
	err := f()
	if err == nil || errors.Is(err, ErrProtocol) { // what was put before is whole
		err = cmp.Or(s.flush(), err)
	}
	*s.buf = (*s.buf)[:0]
	buffers.Put(s.buf)
	s.buf = nil
	return err
}

// item puts an item.
func (s *sender) item(it *cluster.Item) error {
	if it.Tag.Type == 0 && it.At.Incarnation == "" { // where it stands is enough
		it.At, it.Time = s.place.at, s.place.time
	}
	if n := len(it.Tag.Data); n > flv.MaxTagSize {
		return errTooLarge(n)
	}
	c, due := about(it, &s.place)
	if err := s.place.advance(it); err != nil {
		return err
	}
	if due {
		s.body = c.append(s.body[:0])
		if err := s.tag(flv.TypeScript, s.body); err != nil || c.alone {
			return err
		}
	}
	return s.tag(it.Tag.Type, it.Tag.Data)
}

// say writes a control tag that is about no other.
func (s *sender) say(c control) error {
	return s.write(func() error {
		s.body = c.append(s.body[:0])
		return s.tag(flv.TypeScript, s.body)
	})
}

// tag puts a tag with the number and the time of the place.
func (s *sender) tag(kind flv.Type, body []byte) error {
	var around [headSize]byte
	if err := s.put(appendHead(around[:0], kind, len(body), s.place.time, s.place.at.Number)); err != nil {
		return err
	}
	if err := s.put(body); err != nil {
		return err
	}
	return s.put(appendTrailer(around[:0], len(body)))
}

// put adds bytes to the buffer, and writes it whenever it is full.
func (s *sender) put(p []byte) error {
	for {
		b := *s.buf
		n := min(len(p), maxWrite-len(b))
		*s.buf = append(b, p[:n]...)
		if p = p[n:]; len(p) == 0 {
			return nil
		}
		if err := s.flush(); err != nil {
			return err
		}
	}
}

// flush writes the buffer.
func (s *sender) flush() error {
	now := time.Now()
	// A deadline costs as much as a short write: one that is a little early does as well.
	if deadline := now.Add(writeTimeout); deadline.Sub(s.set) > writeTimeout/16 {
		s.set = deadline
		if err := s.nc.SetWriteDeadline(deadline); err != nil {
			return err
		}
	}
	n, err := s.nc.Write(*s.buf)
	s.bytes += uint64(n)
	s.last = time.Now()
	*s.buf = (*s.buf)[:0]
	return err
}
