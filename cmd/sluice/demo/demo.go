// Package demo publishes a built-in clip in an endless loop, so that a newcomer
// without an encoder sees a picture. The clip is a few seconds long, and its
// end leads into its beginning without a seam.
package demo

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"sluice/flv"
)

// clipFile is made by make-clip.sh; README.md beside it says what is in it.
//
//go:embed clip.flv
var clipFile []byte

// Clip returns the clip as an FLV file: codec headers and frames of whole GOPs,
// the last of which leads into the first. The caller owns it.
func Clip() []byte { return bytes.Clone(clipFile) }

// period is how long the clip lasts, and how far a tag's timestamp moves from
// one loop to the next. Both tracks end exactly there.
const period = 8 * time.Second

// maxLate is how late a tag may be handed over before the clock of the loop is
// set back: after a longer stall the clip goes on from where it was, instead of
// hurrying to make up for it.
const maxLate = time.Second

// Sink takes the tags of one publish session, in order. *rtmp.Publisher is one.
type Sink interface {
	// WriteTag may not keep or change the tag's Data.
	WriteTag(flv.Tag) error
}

// clip is the clip taken apart: what a session sends once, and what it repeats.
type clip struct {
	header []flv.Tag // metadata and codec headers, at 0 ms
	frames []flv.Tag // by timestamp, from a key frame at 0 ms up to period
}

// parseClip takes the embedded file apart.
func parseClip(file []byte) (clip, error) {
	var c clip
	r := flv.NewReader(bytes.NewReader(file))
	if _, err := r.Header(); err != nil {
		return clip{}, fmt.Errorf("demo clip: %w", err)
	}
	for {
		tag, err := r.Next()
		if errors.Is(err, io.EOF) {
			return c, nil
		}
		if err != nil {
			return clip{}, fmt.Errorf("demo clip: %w", err)
		}
		if len(c.frames) == 0 && isHeader(tag) {
			c.header = append(c.header, tag)
		} else {
			c.frames = append(c.frames, tag)
		}
	}
}

// isHeader says whether a tag is metadata or a codec header.
func isHeader(t flv.Tag) bool {
	if t.Type == flv.TypeScript {
		return true
	}
	p, err := t.Packet()
	return err == nil && p.Kind == flv.KindConfig
}

// Play writes the clip to sink, over and over, each tag when its time has come.
// Timestamps start at 0 and go on evenly from loop to loop, modulo 2^32 ms. It
// returns when ctx ends, with the cause, or when the sink fails, with its error.
func Play(ctx context.Context, sink Sink) error {
	c, err := parseClip(clipFile)
	if err != nil {
		return err
	}
	for _, tag := range c.header {
		if err := sink.WriteTag(tag); err != nil {
			return err
		}
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	start := time.Now() // of the current loop
	for loop := uint32(0); ; loop++ {
		for _, tag := range c.frames {
			due := start.Add(time.Duration(tag.Timestamp) * time.Millisecond)
			if wait := time.Until(due); wait > 0 {
				timer.Reset(wait)
				select {
				case <-timer.C:
				case <-ctx.Done():
				}
			} else if wait < -maxLate {
				start = start.Add(-wait)
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			tag.Timestamp += loop * uint32(period.Milliseconds())
			if err := sink.WriteTag(tag); err != nil {
				return err
			}
		}
		start = start.Add(period)
	}
}

// Session is a publish session: a sink that is to be closed.
type Session interface {
	Sink
	Close() error
}

// Reconnecting: the first wait, and the longest; each failure doubles it. A
// session that lasted for stableAfter makes the next wait the first one again.
const (
	firstBackoff = 250 * time.Millisecond
	maxBackoff   = 5 * time.Second
	stableAfter  = 10 * time.Second
)

// Run publishes the clip through sessions from dial until ctx ends, and dials
// anew, after a growing pause, when a session fails. Dial gives up when its
// context ends. Failures are logged to log, the end of ctx is not.
func Run(ctx context.Context, dial func(context.Context) (Session, error), log *slog.Logger) {
	backoff := firstBackoff
	for ctx.Err() == nil {
		began := time.Now()
		err := publish(ctx, dial)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) >= stableAfter {
			backoff = firstBackoff
		}
		log.Warn("demo: publishing failed, will try again", "error", err, "after", backoff)
		select {
		case <-time.After(backoff):
		case <-ctx.Done():
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// publish plays the clip through one session.
func publish(ctx context.Context, dial func(context.Context) (Session, error)) error {
	s, err := dial(ctx)
	if err != nil {
		return err
	}
	err = Play(ctx, s)
	return errors.Join(err, s.Close())
}
