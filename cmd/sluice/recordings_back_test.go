//go:build unix

package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
	"sluice/rtmp"
)

// rewinding is a stream of which viewers begin in the recording.
type rewinding struct {
	s      *recordingService
	stream madeStream
	past   time.Duration // published before they come
	whole  time.Duration
	back   string // ?back=
	from   uint32 // ms: where they are to begin
}

// rewound is a viewer of it.
type rewound struct {
	recording
	slowly chan struct{} // a slow viewer reads a tag for each one of these; nil for the others
}

// run publishes, and has viewers over everything begin in the past of the stream and watch to
// its end. In the middle of it nobody is late who reads as fast as it can; slow ones take a
// tag for each that is published.
func (r rewinding) run(t *testing.T, slow bool) {
	tags := r.stream.frames(r.whole)
	at := 0
	for at < len(tags) && tags[at].Timestamp < uint32(r.past.Milliseconds()) {
		at++
	}
	p := r.s.publish(t, "live/back")
	writeAll(t, p, madeHeader())
	// Until it is written the log is kept for the recording, and the recording does not reach so far.
	recorded := 0
	for tags[recorded].Timestamp+1000 < tags[at].Timestamp {
		recorded++
	}
	writeAll(t, p, tags[:recorded])
	r.s.wrote(t, tags[:recorded])
	writeAll(t, p, tags[recorded:at])
	r.s.begun(t, "live/back")
	r.s.cameIn(t, tags[:at])

	served := servedStream{publish: r.s.at.rtmp, watch: r.s.at.http, key: "live/back", query: "?back=" + r.back, caps: rtmp.AllCapabilities()}
	var viewers []*rewound
	var running, beginning sync.WaitGroup
	for name, open := range map[string]func(context.Context) (tagSource, error){
		"RTMP": served.openRTMP, "HTTP-FLV": served.openSlowHTTP, "WebSocket-FLV": served.openWebSocket,
	} {
		v := &rewound{recording: recording{name: name}}
		if slow {
			v.slowly = make(chan struct{}, len(tags))
		}
		viewers = append(viewers, v)
		beginning.Add(1)
		running.Go(func() { v.run(t.Context(), open, sync.OnceFunc(beginning.Done)) })
	}
	beginning.Wait()
	for i, tag := range tags[at:] {
		require.NoError(t, p.WriteTag(tag))
		for _, v := range viewers {
			if slow {
				v.slowly <- struct{}{}
			}
		}
		if i%50 == 0 { // so that the stream goes on while they catch up
			time.Sleep(5 * time.Millisecond)
		}
	}
	require.NoError(t, p.Close())
	for _, v := range viewers {
		if slow {
			close(v.slowly)
		}
	}
	running.Wait()
	for _, v := range viewers {
		require.ErrorIs(t, v.err, io.EOF, "%s: not a proper end", v.name)
		r.check(t, tags, v.recording)
	}
}

// check compares what a viewer got with what was published.
func (r rewinding) check(t *testing.T, published []flv.Tag, v recording) {
	t.Helper()
	got := framesOf(t, v.tags)
	require.NotEmpty(t, got, v.name)
	from := 0
	for from < len(published) && !bytes.Equal(published[from].Data, got[0].Data) {
		from++
	}
	require.Less(t, from, len(published), "%s: the first frame was published", v.name)
	assert.Equal(t, int(r.from), int(published[from].Timestamp), "%s: where it begins", v.name)
	assert.True(t, isKeyFrame(got[0]), "%s: begins with a key frame", v.name)
	sameFrames(t, rebase(published[from:]), got, v.name)
	assert.Equal(t, headersOf(t, madeHeader()), headersOf(t, v.tags), v.name)
	assert.Equal(t, len(got)+len(madeHeader()), len(v.tags), "%s: headers come once", v.name)
}

// openSlowHTTP is openHTTP over a connection that holds little, so that a viewer that does
// not read is felt by the server.
func (s servedStream) openSlowHTTP(ctx context.Context) (tagSource, error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, ReadBufferSize: 4 << 10,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			if err == nil {
				conn.(*net.TCPConn).SetReadBuffer(64 << 10)
			}
			return conn, err
		}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.watch+"/"+s.key+".flv"+s.query, nil)
	if err != nil {
		return tagSource{}, err
	}
	res, err := client.Do(req)
	if err != nil {
		return tagSource{}, err
	}
	return tagSource{flv.NewReader(res.Body).Next, func() { res.Body.Close() }}, nil
}

// run reads to the end.
func (v *rewound) run(ctx context.Context, open func(context.Context) (tagSource, error), begun func()) {
	slowly := func(ctx context.Context) (tagSource, error) {
		s, err := open(ctx)
		if v.slowly == nil || err != nil {
			return s, err
		}
		next, first := s.next, true
		s.next = func() (flv.Tag, error) {
			if !first {
				<-v.slowly
			}
			first = false
			return next()
		}
		return s, nil
	}
	v.recording.run(ctx, slowly, begun)
}

// A viewer who goes back further than the log reaches begins in the recording, and walks
// over into live: nothing comes twice, nothing is missing, at the times at which it was
// published; over all protocols, over several files.
func TestBackIntoTheRecording(t *testing.T) {
	for name, environ := range map[string][]string{
		"one file": nil, "several files": {"SLUICE_RECORD_SEGMENT=4s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startRecording(t, nil, environ...)
			// The newest frame is one of 29.96 to 29.999 s.
			r := rewinding{s: s, stream: stream200k, past: 30 * time.Second, whole: 45 * time.Second, back: "21", from: 8000}
			r.run(t, false)
		})
	}
}

// The same for viewers who read slowly all the time, and are still in the recording when the
// stream has ended.
func TestBackIntoTheRecordingSlowly(t *testing.T) {
	t.Parallel()
	s := startRecording(t, nil, "SLUICE_RECORD_SEGMENT=5s")
	r := rewinding{s: s, stream: stream2M, past: 40 * time.Second, whole: 50 * time.Second, back: "1000", from: 0}
	r.run(t, true)
}

// Permission for live opens no recording: without Rewind in its grant a viewer begins as far
// back as the log reaches.
func TestBackNeedsPermission(t *testing.T) {
	for name, tt := range map[string]struct {
		rewind bool
		from   uint32
	}{"live only": {false, 28000}, "the recording too": {true, 8000}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startRecording(t, func(cfg *config) {
				cfg.authorize = func(_ context.Context, s *hub.Session) (hub.Grant, error) {
					if s.Client().Recording != "" {
						return hub.Grant{}, nil // for the test's own look at the list
					}
					return hub.Grant{Rewind: tt.rewind}, nil
				}
			})
			rewinding{s: s, stream: stream200k, past: 30 * time.Second, whole: 35 * time.Second, back: "21", from: tt.from}.run(t, false)
		})
	}
}
