package relay

import (
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub/relay"
)

// race says that the race detector runs, which has memory of its own.
var race bool

// A Source that waits for its next tag holds little memory, whatever has come before. Both ends are
// counted, which are in one process here. TLS keeps a record of its own.
func TestSourceMemory(t *testing.T) {
	if race {
		t.Skip("left out: the race detector has memory of its own")
	}
	const sources = 200
	key := flv.Tag{Type: flv.TypeVideo, Data: append([]byte{0x17, 1, 0, 0, 0}, make([]byte, 200<<10)...)}
	for _, tt := range []struct {
		scheme string
		serve  func(testing.TB, func(c *fakeConn)) *fake
		each   int
	}{
		{"rtmp", func(t testing.TB, script func(c *fakeConn)) *fake { return newFake(t, false, script) }, 25 << 10},
		{"rtmps", newFakeTLS, 120 << 10},
	} {
		t.Run(tt.scheme, func(t *testing.T) {
			end := make(chan struct{})
			f := tt.serve(t, func(c *fakeConn) {
				if _, ok := c.begin("play"); ok {
					c.rd = nil
					for range 3 {
						c.tag(key)
					}
					<-end
				}
			})
			var read, readers sync.WaitGroup
			read.Add(sources)
			opened := make([]relay.Source, sources)
			for i := range opened {
				s, err := opener().Open(t.Context(), relay.Opening{URL: pull(t, f.url("a"))})
				require.NoError(t, err)
				opened[i] = s
				readers.Go(func() {
					for n := 1; ; n++ {
						if _, err := s.ReadTag(); err != nil {
							return
						}
						if n == 3 {
							read.Done()
						}
					}
				})
			}
			read.Wait()
			with := inUse()
			for _, s := range opened {
				s.Close()
			}
			close(end)
			readers.Wait()
			clear(opened)
			each := (with - inUse()) / sources
			t.Logf("%d bytes each", each)
			assert.Less(t, each, tt.each)
		})
	}
}

// inUse returns how many bytes of memory are used.
func inUse() int {
	runtime.GC()
	runtime.GC() // pools hold on for one more
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse)
}
