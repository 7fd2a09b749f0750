package admission

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// lines collects what is logged.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// take returns the lines since the last call.
func (l *lines) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := strings.Split(l.text.String(), "\n")
	l.text.Reset()
	return all[:len(all)-1]
}

// However many are given up and turned away, the log gets a line only now and then.
func TestReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lines
		r := newRig(t, Config{MaxConnections: 16, Logger: slog.New(slog.NewTextHandler(&log, nil))}, false)
		viewers := r.connectAll(t, 8, "192.0.2.1")
		markActive(viewers...)
		r.connectAll(t, 100, "192.0.2.2") // a pending one may push out another
		time.Sleep(firstReport)
		synctest.Wait()
		said := log.take()
		if assert.Len(t, said, 1) {
			assert.Contains(t, said[0], `level=WARN msg="connections given up or turned away" given_up=92 turned_away=0 turned_away_by_address=0 admitted=108 open=16 pending=8 asking=0 idle=0 max_connections=16 most_pending_from=192.0.2.2 most_pending=8`)
		}
		markActive(r.connect(t, "192.0.2.2"), r.connect(t, "192.0.2.2"))
		r.connectAll(t, 50, "192.0.2.3") // 6 are pending and young: not too many
		time.Sleep(nextReport - time.Millisecond)
		synctest.Wait()
		assert.Empty(t, log.take())
		time.Sleep(time.Millisecond)
		synctest.Wait()
		said = log.take()
		if assert.Len(t, said, 1) {
			assert.Contains(t, said[0], `given_up=2 turned_away=50 turned_away_by_address=0 admitted=2 open=16 pending=6`)
		}
		time.Sleep(nextReport)
		assert.Empty(t, log.take(), "nothing new")
		r.connect(t, "192.0.2.3")
		r.Close()
		said = log.take()
		if assert.Len(t, said, 1) {
			assert.Contains(t, said[0], `given_up=1 `)
		}
		r.connect(t, "192.0.2.3")
		time.Sleep(time.Hour)
		assert.Empty(t, log.take(), "closed")
	})
}
