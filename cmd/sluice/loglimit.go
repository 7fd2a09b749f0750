package main

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Bounds on log lines with the same message. Clients who join and leave in earnest stay
// below them; clients who are refused ten thousand times a second must not fill the disk.
const (
	logRate     = 200  // lines a second, for as long as it takes
	logBurst    = 5000 // lines at once
	logMessages = 256  // messages that are told apart; all others are counted as one
)

// limitedLog is a slog.Handler that leaves out lines beyond these bounds, and says
// how many when it writes the next one of them, once a second at the most.
type limitedLog struct {
	slog.Handler
	quotas *logQuotas // of all handlers that come from the same one
}

func limitLog(h slog.Handler) slog.Handler { return limitedLog{h, new(logQuotas)} }

// Handle writes r, unless there were too many like it.
func (l limitedLog) Handle(ctx context.Context, r slog.Record) error {
	leftOut, ok := l.quotas.take(r.Message, r.Time)
	if !ok {
		return nil
	}
	if leftOut > 0 {
		told := slog.NewRecord(r.Time, slog.LevelWarn, "log lines left out", 0)
		told.Add("message", r.Message, "count", leftOut)
		if err := l.Handler.Handle(ctx, told); err != nil {
			return err
		}
	}
	return l.Handler.Handle(ctx, r)
}

// WithAttrs is for slog.Logger.With.
func (l limitedLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return limitedLog{l.Handler.WithAttrs(attrs), l.quotas}
}

// WithGroup is for slog.Logger.WithGroup.
func (l limitedLog) WithGroup(name string) slog.Handler {
	return limitedLog{l.Handler.WithGroup(name), l.quotas}
}

// logQuotas are what is left of the bounds. The zero value is ready.
type logQuotas struct {
	mu     sync.Mutex
	quotas map[string]*logQuota
}

type logQuota struct {
	spent   float64 // lines
	at      time.Time
	leftOut int
	told    time.Time // when it was said last how many
}

// take reports whether a line may be written, and how many like it were left out
// of which nothing was said yet, 0 if it is too early to say that.
func (q *logQuotas) take(message string, now time.Time) (leftOut int, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.quotas == nil {
		q.quotas = make(map[string]*logQuota)
	}
	if _, known := q.quotas[message]; !known && len(q.quotas) >= logMessages {
		message = ""
	}
	line := q.quotas[message]
	if line == nil {
		line = &logQuota{at: now}
		q.quotas[message] = line
	}
	line.spent = max(0, line.spent-logRate*now.Sub(line.at).Seconds())
	line.at = now
	if line.spent+1 > logBurst {
		line.leftOut++
		return 0, false
	}
	line.spent++
	if now.Sub(line.told) < time.Second {
		return 0, true
	}
	if leftOut, line.leftOut = line.leftOut, 0; leftOut > 0 {
		line.told = now
	}
	return leftOut, true
}
