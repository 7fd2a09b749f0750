package httpflv

import (
	"bytes"
	"log"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// lines collects what is logged.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func newLines() *lines { return &lines{} }

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *lines) printer() *log.Logger { return log.New(l, "", 0) }

// wait waits for a line with all the given texts and returns it.
func (l *lines) wait(t testing.TB, texts ...string) (line string) {
	t.Helper()
	require.Eventually(t, func() bool {
		for line = range strings.Lines(l.String()) {
			all := true
			for _, text := range texts {
				all = all && strings.Contains(line, text)
			}
			if all {
				return true
			}
		}
		return false
	}, 10*time.Second, time.Millisecond, "no line with %q in:\n%s", texts, l)
	return line
}
