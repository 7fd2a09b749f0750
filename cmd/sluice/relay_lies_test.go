package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/hub"
	"sluice/web/admin"
)

// Whatever an upstream sends when it was connected to again, its viewers stay and see the time go
// forward, and it is not hammered.
func TestUpstreamsThatLie(t *testing.T) {
	metadata := func(props ...amf.Property) flv.Tag {
		return flv.Tag{Type: flv.TypeScript, Data: amf.AppendAMF0(nil, "onMetaData", amf.ECMAArray(props))}
	}
	for name, c := range map[string]struct {
		then  func(c *lie)
		codec bool // the viewers may be ended, since the codec changes
	}{
		"another encoder": {then: func(c *lie) {
			s := &liedStream{mark: 'b', at: 777}
			c.send(s.headers()...)
			c.play(s, 0)
		}},
		"other codecs": {codec: true, then: func(c *lie) {
			s := &liedStream{mark: 'b'}
			for c.wait(lieStep) {
				for _, t := range s.next() {
					if t.Type == flv.TypeAudio {
						t.Data[0] = 0x2f // MP3
					}
					if !c.send(t) {
						return
					}
				}
			}
		}},
		"the clock set back within": {then: func(c *lie) {
			s := &liedStream{mark: 'b', at: 100_000}
			c.send(s.headers()...)
			for c.play(s, 30) {
				s.at -= 10_000
			}
		}},
		"a clock that jumps": {then: func(c *lie) {
			s := &liedStream{mark: 'b', at: 1 << 31}
			c.send(s.headers()...)
			for c.play(s, 30) {
				s.at *= 7
			}
		}},
		"no key frame for a while": {then: func(c *lie) {
			s := &liedStream{mark: 'b', n: 1, at: 5000}
			c.send(s.headers()...)
			c.play(s, 0)
		}},
		"headers late": {then: func(c *lie) {
			s := &liedStream{mark: 'b', at: 5000}
			c.play(s, 10)
			c.send(s.headers()...)
			c.play(s, 0)
		}},
		"metadata without end, and then frames": {then: func(c *lie) {
			for range 300 {
				c.send(metadata(amf.Property{Name: "x", Value: strings.Repeat("x", 1000)}))
			}
			s := &liedStream{mark: 'b', at: 5000}
			c.send(s.headers()...)
			c.play(s, 0)
		}},
		"ten times as fast": {then: func(c *lie) {
			s := &liedStream{mark: 'b', at: 5000}
			c.send(s.headers()...)
			for c.wait(lieStep) {
				for range 10 {
					if !c.send(s.next()...) {
						return
					}
				}
			}
		}},
		"the same GOP for ever": {then: func(c *lie) {
			for {
				s := &liedStream{mark: 'a'}
				if !c.send(s.headers()...) || !c.play(s, 25) {
					return
				}
			}
		}},
		"breaks behind each GOP": {then: func(c *lie) {
			s := &liedStream{mark: 'b', n: 25 * c.n, at: uint32(1000 * c.n)}
			c.send(s.headers()...)
			c.play(s, 25)
		}},
		"another path": {then: func(c *lie) {
			s := &liedStream{mark: 'b', at: 5000}
			c.send(metadata(amf.Property{Name: hub.PathProperty, Value: "another,and,another"}))
			c.send(s.headers()...)
			c.play(s, 0)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLiar(t, func(conn *lie) {
				conn.answer()
				if conn.n > 1 {
					c.then(conn)
					return
				}
				first := &liedStream{mark: 'a'}
				conn.send(first.headers()...)
				conn.play(first, 40)
			})
			svc, at := permitted(t, io.Discard, append(operators, "SLUICE_PULL=live/lie http://"+l.address+"/live/lie.flv")...)
			until(t, "it is live", func() bool { return svc.hub.Live(lieKey) })
			v := watchLies(t, at.http, "/live/lie.flv")
			began := time.Now()
			until(t, "it is connected to again", func() bool { return l.dials.Load() > 1 })
			seen := v.frames.Load()
			until(t, "it goes on", func() bool { return v.frames.Load() > seen+60 || c.codec && v.isOver() })
			assert.True(t, c.codec || !v.isOver(), "the viewer was ended")
			assert.Less(t, l.dials.Load(), 40+int32(2*time.Since(began).Seconds()))
			v.leave()
			svc.stop()
		})
	}
}

var lieKey = hub.Key{App: "live", Name: "lie"}

// An upstream that does not give the stream, in whatever way, is asked a few times at the most, the relay says
// why in words of its own, and when the stream is there it is pulled.
func TestUpstreamsThatGiveNothing(t *testing.T) {
	elsewhere := newLiar(t, func(c *lie) { t.Error("nobody may be sent there") })
	say := func(text string) func(c *lie) { return func(c *lie) { fmt.Fprint(c, text) } }
	for name, c := range map[string]struct {
		script func(c *lie)
		status int // that a viewer is told
		dials  int32
		says   string
	}{
		"404":               {say("HTTP/1.1 404 S3CRET\r\n\r\n"), 404, 1, "status 404"},
		"403":               {say("HTTP/1.1 403 no\r\n\r\nS3CRET"), 403, 1, "status 403"},
		"a private address": {say("HTTP/1.1 302 Found\r\nLocation: http://" + elsewhere.address + "/live/S3CRET.flv\r\n\r\n"), 404, 1, "leads to a private address"},
		"a circle":          {say("HTTP/1.1 302 Found\r\nLocation: ?S3CRET\r\n\r\n"), 404, 4, "redirected more than 3 times"},
		"a file":            {say("HTTP/1.1 302 Found\r\nLocation: file:///etc/S3CRET\r\n\r\n"), 404, 1, "redirected to another protocol"},
		"garbage":           {say("S3CRET\r\n\r\n"), 404, 1, "not HTTP"},
		"no FLV":            {say("HTTP/1.1 200 OK\r\n\r\nS3CRET S3CRET S3CRET"), 404, 1, "not FLV"},
		"a head without end": {func(c *lie) {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\n")
			for c.wait(0) {
				if _, err := fmt.Fprint(c, "X: S3CRET\r\n"); err != nil {
					return
				}
			}
		}, 404, 1, "head is too long"},
		"a head that trickles": {func(c *lie) {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\n")
			for c.wait(20 * time.Millisecond) {
				if _, err := fmt.Fprint(c, "X"); err != nil {
					return
				}
			}
		}, 404, 1, "no frame came in time"},
		"a body that trickles": {func(c *lie) {
			c.answer()
			for c.wait(20 * time.Millisecond) {
				if _, err := c.Write([]byte{9}); err != nil {
					return
				}
			}
		}, 404, 1, "no frame came in time"},
		"metadata only": {func(c *lie) {
			c.answer()
			for c.wait(time.Millisecond) {
				if !c.send(flv.Tag{Type: flv.TypeScript, Data: amf.AppendAMF0(nil, "onMetaData", amf.ECMAArray{})}) {
					return
				}
			}
		}, 404, 1, "no frame came in time"},
		"headers only": {func(c *lie) {
			c.answer()
			for c.wait(time.Millisecond) {
				if !c.send((&liedStream{}).headers()...) {
					return
				}
			}
		}, 404, 1, "no frame came in time"},
		"our own path": {func(c *lie) {
			c.answer()
			s := &liedStream{mark: 'a'}
			c.send(flv.Tag{Type: flv.TypeScript, Data: amf.AppendAMF0(nil, "onMetaData", amf.ECMAArray{{Name: hub.PathProperty, Value: c.path}})})
			c.send(s.headers()...)
			c.play(s, 0)
		}, http.StatusLoopDetected, 1, "has passed this server"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLiar(t, func(conn *lie) {
				if conn.n <= int(c.dials) {
					c.script(conn)
					return
				}
				conn.answer()
				s := &liedStream{mark: 'a'}
				conn.send(s.headers()...)
				conn.play(s, 0)
			})
			log := new(syncBuffer)
			svc, at := permitted(t, log, append(operators, "SLUICE_ORIGIN_START_TIMEOUT=1s", "SLUICE_ORIGIN_IDLE=0",
				"SLUICE_ORIGIN=** http://"+l.address+"/{app}/{name}.flv?k=S3CRET&{query}")...)
			ask := func() int {
				resp, err := (&http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://" + at.http + "/live/lie.flv?k=x&token=S3CRET")
				require.NoError(t, err)
				resp.Body.Close()
				return resp.StatusCode
			}
			var all sync.WaitGroup
			for range 10 {
				all.Go(func() { assert.Equal(t, c.status, ask()) })
			}
			all.Wait()
			assert.Equal(t, c.dials, l.dials.Load(), "a crowd asks once")
			_, list := askOperators[admin.RelayList](t, svc, "GET", "/api/v1/relays", "")
			if assert.Len(t, list.Relays, 1) && assert.Len(t, list.Relays[0].Connections, 1) {
				assert.Contains(t, list.Relays[0].Connections[0].Detail, c.says)
			}
			until(t, "it is there", func() bool { return ask() == 200 })
			svc.stop()
			noSecrets(t, "the log", log.bytes())
		})
	}
}

// Names that somebody makes up, each of which a deaf origin is asked for, take no more connections than there may be; who
// is refused is told so at once, other streams go on, and in the end nothing is left.
func TestManyNamesAtAnOrigin(t *testing.T) {
	const most, names = 20, 300
	deaf := newLiar(t, func(c *lie) { <-c.over })
	log := new(syncBuffer)
	cfg, err := loadConfig(append(operators, "SLUICE_RTMP_ADDR=127.0.0.1:0", "SLUICE_HTTP_ADDR=127.0.0.1:0", "SLUICE_DEMO=true",
		"SLUICE_ORIGIN_START_TIMEOUT=2s", "SLUICE_ORIGIN=** http://"+deaf.address+"/{app}/{name}.flv?{query}"))
	require.NoError(t, err)
	require.NoError(t, cfg.open(newLogger(log, "text", -4)))
	cfg.maxOrigins = most
	svc, at := startConfigured(t, floodTimeout, log, cfg)
	until(t, "the demo is live", func() bool { return svc.hub.Live(hub.Key{App: "live", Name: "demo"}) })
	demo := watchLies(t, at.http, "/live/demo.flv")
	statuses := make(chan int, names)
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	for i := range names {
		go func() {
			resp, err := client.Get(fmt.Sprintf("http://%s/live/%d.flv?token=S3CRET%%0d%%0a%s", at.http, i, strings.Repeat("x", 2000)))
			if err != nil {
				statuses <- 0
				return
			}
			resp.Body.Close()
			statuses <- resp.StatusCode
		}()
	}
	got := map[int]int{}
	for range names {
		got[<-statuses]++
	}
	assert.Equal(t, map[int]int{404: most, 503: names - most}, got)
	assert.EqualValues(t, most, deaf.dials.Load())
	assert.False(t, demo.isOver())
	demo.leave()
	until(t, "nothing is left", func() bool { return len(connections(t, svc)) == 0 })
	svc.stop()
	noSecrets(t, "the log", log.bytes())
}
