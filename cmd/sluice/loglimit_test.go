package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// Lines beyond the bound are left out and counted; others are not touched by that.
func TestLogIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := newLogger(&out, "text", slog.LevelInfo)
		lines := func() []string {
			defer out.Reset()
			return strings.Split(strings.TrimSpace(out.String()), "\n")
		}
		session := log.With("session", 1)
		for range logBurst + 1000 {
			session.Info("viewer refused", "reason", "not found")
		}
		assert.Len(t, lines(), logBurst)
		log.Info("viewer begins")
		assert.Len(t, lines(), 1)

		time.Sleep(time.Second)
		for range 1000 {
			log.Info("viewer refused", "reason", "not found")
		}
		got := lines()
		assert.Len(t, got, logRate+1)
		assert.Contains(t, got[0], `level=WARN msg="log lines left out" message="viewer refused" count=1000`)
		assert.Contains(t, got[1], `msg="viewer refused" reason="not found"`)

		time.Sleep(time.Minute)
		log.Info("viewer refused")
		assert.Contains(t, lines()[0], "count=800")

		// While lines come all the time, it is said once a second.
		for range 10 * 1000 {
			time.Sleep(time.Millisecond)
			log.Info("viewer refused")
			log.Info("viewer refused")
		}
		got = lines()
		told := 0
		for _, line := range got {
			if strings.Contains(line, "left out") {
				told++
			}
		}
		assert.GreaterOrEqual(t, told, 5) // not before the burst is used up
		assert.LessOrEqual(t, told, 10)
		assert.LessOrEqual(t, len(got), logBurst+10*logRate+told)
	})
}

// Messages that somebody else makes up are counted as one.
func TestLogMessagesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := newLogger(&out, "text", slog.LevelInfo)
		for i := range logMessages + 2*logBurst {
			log.Info(fmt.Sprint("message ", i))
		}
		assert.Equal(t, logMessages+logBurst, strings.Count(out.String(), "level=INFO"))
	})
}
