//go:build unix

package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// askedServer is an operator's server that takes its time for each question.
type askedServer struct {
	*httptest.Server
	open, most, asked atomic.Int64 // questions
}

// newAskedServer starts one that answers with yes after so long, or never if that is 0.
func newAskedServer(t *testing.T, after time.Duration) *askedServer {
	s := new(askedServer)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // else it is not noticed when who asks gives up
		s.asked.Add(1)
		n := s.open.Add(1)
		defer s.open.Add(-1)
		for m := s.most.Load(); n > m && !s.most.CompareAndSwap(m, n); m = s.most.Load() {
		}
		var answer <-chan time.Time
		if after > 0 {
			answer = time.After(after)
		}
		select {
		case <-answer:
			json.NewEncoder(w).Encode(map[string]bool{"allow": true})
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// Clients without number about whom an operator's server is asked, which hangs or answers late,
// cost those who watch no more than clients about whom nobody is asked; they leave nothing behind,
// and the server has no more than 64 questions at a time (which TestPermissionServerIsLeftAlone
// counts exactly).
func TestCallbackFlood(t *testing.T) {
	if os.Getenv(policyFloodEnv) == "" {
		t.Parallel()
	}
	for _, test := range []struct {
		name  string
		after time.Duration
	}{{"hangs", 0}, {"answers after 1 s", time.Second}} {
		t.Run(test.name, func(t *testing.T) {
			f := newFloodRounds(t)
			asked := newAskedServer(t, test.after)
			start := func(environ ...string) *policyServer {
				s := startPolicyServer(t, append(environ,
					"SLUICE_PUBLISH_KEYS=live/flood "+publishKey, "SLUICE_WATCH_KEYS=live/flood "+watchKey,
					"SLUICE_AUTH_FAILURES=0", "SLUICE_VIEWER_WAIT=1s")...)
				s.publishQuery, s.watchQuery = "?key="+publishKey, "?key="+watchKey
				return s
			}
			s := start("SLUICE_PUBLISH_AUTH=key url", "SLUICE_WATCH_AUTH=key url", "SLUICE_AUTH_URL="+asked.URL)
			if f.long {
				f.among(start("SLUICE_PUBLISH_AUTH=key", "SLUICE_WATCH_AUTH=key"), "the same clients where no server is asked about them")
			}
			s.watch(t, time.Second, func() {}) // what a server has from then on
			before := s.await(t, func(f policyFigures) bool { return f.Connections.Open == 0 && f.Running == 0 })
			for range f.rounds {
				conns := f.round(t, s)
				peak := s.figures(t)
				t.Logf("%d questions, %d at a time; %+v", asked.asked.Load(), asked.most.Load(), peak)
				// It notices late that a question was given up.
				assert.LessOrEqual(t, asked.most.Load(), int64(2*64), "questions at a time")
				assert.Less(t, peak.Heap, before.Heap+uint64(f.clients)*64<<10)
				for _, c := range conns {
					c.Close()
				}
				after := s.await(t, func(f policyFigures) bool {
					return f.Connections.Open == 0 && f.Running == 0 &&
						f.Goroutines <= before.Goroutines && f.Files <= before.Files && f.Heap <= before.Heap+soakSlack
				})
				t.Logf("afterwards: %+v; before: %+v", after, before)
			}
			assert.Positive(t, asked.asked.Load())
			f.judge(t)
		})
	}
}
