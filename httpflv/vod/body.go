package vod

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"strings"
	"time"

	"sluice/httpflv"
	"sluice/hub"
	"sluice/hub/archive"
	"sluice/hub/archive/flvfile"
)

// serveBody answers GET and HEAD. It returns an error if the answer has not begun.
func (h *Handler) serveBody(w http.ResponseWriter, r *http.Request, s *hub.Session, q request) error {
	suffix := flvfile.Suffix
	if q.mp4 {
		suffix = mp4Suffix
	}
	if q.latest {
		newest, err := h.cfg.Archive.Recording(s.Key(), archive.Latest)
		if away, none := h.elsewhere(r.Context(), s.Key(), archive.Latest, q); none == nil {
			return h.redirectAway(w, r, s, away, suffix)
		} else if err != nil {
			return none
		}
		redirect(w, r, newest.ID, suffix)
		return nil
	}
	f, recording, err := h.open(s, q.id)
	if isMissing(err) {
		if away, none := h.elsewhere(r.Context(), s.Key(), q.id, q); none == nil {
			return h.redirectAway(w, r, s, away, suffix)
		} else {
			err = none
		}
	}
	if err != nil {
		return err
	}
	defer f.Close()
	var c *content
	var tag string
	var changed time.Time
	if q.mp4 {
		c, tag, changed, err = h.mp4Content(r.Context(), f, s.Key(), recording.ID)
	} else {
		c, tag, changed, err = h.flvContent(f, s.Key(), recording.ID)
	}
	if err != nil {
		return err
	}
	defer c.Close()
	header := w.Header()
	header.Set("Content-Disposition", disposition(q, recording.ID, suffix))
	if q.follow {
		return h.follow(w, r, s, f, c)
	}
	// Chromium puts ranges together from its cache, at whose ends mpegts.js loses its way when
	// somebody seeks back from the end of a file: it drops the sound that follows.
	kind, cache := "video/x-flv", "private, no-store"
	if q.mp4 {
		kind, cache = "video/mp4", "private, no-cache" // asked each time, as whoever may not have it is
	}
	header.Set("Content-Type", kind)
	header.Set("Cache-Control", cache)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("ETag", tag)
	return h.serveContent(w, r, s, c, changed)
}

// flvContent returns the bytes of a file as it is now. changed is zero for one that grows:
// it says too little of what changes several times a second.
func (h *Handler) flvContent(f File, key hub.Key, id string) (c *content, tag string, changed time.Time, err error) {
	growing := f.Growing() // asked first: it may be finished meanwhile
	now, err := f.Content()
	if err != nil {
		return nil, "", changed, h.unreadable(key, id, err)
	}
	if !growing {
		changed = now.ModTime
	}
	return newContent(f, now, now.Head, now.Offset, now.Size), now.ETag, changed, nil
}

// mp4Content returns the bytes of a finished file as MP4: a head, and the file as it is.
func (h *Handler) mp4Content(ctx context.Context, f File, key hub.Key, id string) (c *content, tag string, changed time.Time, err error) {
	if f.Growing() {
		return nil, "", changed, refusal(hub.ReasonBusy, "the recording is still written; its MP4 is there when it is finished")
	}
	now, err := f.Content()
	if err != nil {
		return nil, "", changed, h.unreadable(key, id, err)
	}
	head, release, err := h.mp4Head(ctx, key, id, now.ETag)
	if err != nil {
		return nil, "", changed, err
	}
	c = newContent(f, bytes.NewReader(head), int64(len(head)), 0, int64(len(head))+fileSize(now))
	c.release = release
	return c, mp4Tag(now.ETag, head), now.ModTime, nil
}

// fileSize returns how many bytes of the file itself belong to a content.
func fileSize(c *flvfile.Content) int64 { return c.Size - c.Head + c.Offset }

// mp4Tag makes the strong ETag of an MP4 from that of its file.
func mp4Tag(tag string, head []byte) string {
	return fmt.Sprintf(`%s-mp4-%08x"`, strings.TrimSuffix(tag, `"`), crc32.ChecksumIEEE(head))
}

// serveContent serves a content by net/http's rules for ranges and conditions.
func (h *Handler) serveContent(w http.ResponseWriter, r *http.Request, s *hub.Session, c *content, changed time.Time) error {
	if strings.Count(r.Header.Get("Range"), ",") >= maxRanges {
		r.Header.Del("Range")
	}
	t := h.newTransfer(w, r)
	if r.Method == http.MethodHead {
		http.ServeContent(t, r, "", changed, c)
		return nil
	}
	session, err := s.Begin()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(session, func() { t.end(0) })
	defer stop()
	defer t.finish(s, session)
	http.ServeContent(t, r, "", changed, c)
	if t.err != nil {
		panic(http.ErrAbortHandler) // the client sees that something is missing
	}
	return nil
}

// follow serves a content, and then what is written to its file until that is finished.
func (h *Handler) follow(w http.ResponseWriter, r *http.Request, s *hub.Session, f File, c *content) error {
	httpflv.StreamHeader(w.Header())
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	session, err := s.Begin()
	if err != nil {
		return err
	}
	t := h.newTransfer(w, r)
	t.direct = false // in a body of chunks, the connection takes nothing by itself
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	stop := context.AfterFunc(session, func() {
		t.end(politeEnd)
		cancel()
	})
	defer stop()
	defer t.finish(s, session)
	w.WriteHeader(http.StatusOK)
	_, err = t.send(c, c.size)
	if err == nil {
		err = t.sendGrowth(ctx, f, c)
	}
	whole := t.err == nil && (err == nil || session.Err() != nil && dismissal(session).Reason.Proper())
	t.note(0, err)
	if !whole {
		panic(http.ErrAbortHandler) // returning would complete the body
	}
	return nil
}

// sendGrowth sends what was written behind a content, whole tags, until the file is
// finished.
func (t *transfer) sendGrowth(ctx context.Context, f File, c *content) error {
	cursor := f.Cursor()
	if last := f.Info().Duration.Milliseconds() - 1; last > 0 {
		cursor.SeekTo(last) // it stays at the beginning where that is no time of the file
	}
	for {
		_, err := cursor.Next()
		if err == nil {
			continue
		}
		if end := cursor.Offset() - c.restBase + c.headSize; end > c.size {
			c.size = end
			if _, err := t.send(c, end-c.pos); err != nil {
				return err
			}
		}
		if !errors.Is(err, flvfile.ErrNotYet) {
			if err == io.EOF {
				err = nil
			}
			return err
		}
		if err := t.flush(); err != nil {
			return err
		}
		if err := cursor.Wait(ctx); err != nil {
			return err
		}
	}
}
