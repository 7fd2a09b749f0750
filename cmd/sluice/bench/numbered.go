package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"sluice/flv"
	"sluice/rtmp"
)

// numberedHeaders begin a made-up stream: codec headers of H.264 and AAC.
var numberedHeaders = []flv.Tag{
	{Type: flv.TypeVideo, Data: []byte("\x17\x00\x00\x00\x00\x01\x42\xc0\x0d\xff\xe1\x00\x15" +
		"\x67\x42\xc0\x0d\xd9\x01\x41\x9f\xe0\x10\x00\x00\x03\x00\x10\x00\x00\x03\x03\x20\xf1\x42\xa4\x01\x00\x04\x68\xcb\x83\xcb")},
	{Type: flv.TypeAudio, Data: []byte("\xaf\x00\x12\x10")},
}

// Frames of a made-up stream: pictures and sound in turn, each fiftieth frame being a key frame.
const (
	numberedEvery = 20 * time.Millisecond
	numberedGOP   = 50
)

// numberedSize is how long the bodies of its frames are.
var numberedSize = map[flv.Type]int{flv.TypeVideo: 18, flv.TypeAudio: 10}

// numberedStream publishes a made-up stream over one connection. Each frame says which it is:
//
//	number   connection of the stream<<32 | frame
type numberedStream struct {
	pub   *rtmp.Publisher
	nth   int64
	began time.Time // when its first frame, a key frame, was sent
	stop  context.CancelFunc
	done  chan struct{} // closed when it sends no more
	err   error         // why, once done; nil where it was closed
}

// publishNumbered begins to publish, the connection being the stream's nth, a frame each so often; close it. The error says
// why it was not let in.
func publishNumbered(ctx context.Context, url string, nth int64, every time.Duration) (*numberedStream, error) {
	opening, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	pub, err := new(rtmp.Client).Publish(opening, url)
	if err != nil {
		return nil, err
	}
	s := &numberedStream{pub: pub, nth: nth, began: time.Now(), done: make(chan struct{})}
	if err := pub.WriteTags(append(append([]flv.Tag(nil), numberedHeaders...), s.frame(0, every))); err != nil {
		pub.Abort()
		return nil, err
	}
	ctx, s.stop = context.WithCancel(ctx)
	go s.run(ctx, every)
	return s, nil
}

// frame returns a frame.
func (s *numberedStream) frame(n int64, every time.Duration) flv.Tag {
	t := flv.Tag{Type: flv.TypeVideo, Timestamp: uint32(n * every.Milliseconds())}
	head := "\x27\x01\x00\x00\x00\x00\x00\x00\x09\x41"
	switch {
	case n%2 == 1:
		t.Type, head = flv.TypeAudio, "\xaf\x01"
	case n%numberedGOP == 0:
		head = "\x17\x01\x00\x00\x00\x00\x00\x00\x09\x65"
	}
	t.Data = binary.BigEndian.AppendUint64([]byte(head), uint64(s.nth<<32|n))
	return t
}

func (s *numberedStream) run(ctx context.Context, every time.Duration) {
	defer close(s.done)
	for n := int64(1); ; n++ {
		sleepUntil(ctx, s.began.Add(time.Duration(n)*every))
		if ctx.Err() != nil {
			return
		}
		if s.err = s.pub.WriteTag(s.frame(n, every)); s.err != nil {
			return
		}
	}
}

// close ends it. It may be called again.
func (s *numberedStream) close() {
	s.stop()
	<-s.done
	s.pub.Close()
}

// numberOf returns which frame a tag is; false for what is none of a made-up stream.
func numberOf(t flv.Tag) (number int64, key, ok bool) {
	p, err := t.Packet()
	if err != nil || p.Kind != flv.KindFrame || len(t.Data) != numberedSize[t.Type] {
		return 0, false, false // silence that a server has put in, say
	}
	return int64(binary.BigEndian.Uint64(t.Data[len(t.Data)-8:])), p.Key && t.Type == flv.TypeVideo, true
}

// numberedViewer watches a made-up stream and keeps count.
type numberedViewer struct {
	v    *viewer
	done chan struct{} // closed when nothing comes any more

	mu       sync.Mutex
	watching bool                // false when it has been closed
	keeps    bool                // in came
	came     map[int64]time.Time // when which frame came
	last     int64               // number of the newest frame; 0 before the first
	repeated int                 // frames that came though they, or later ones, had come before
	missing  int                 // frames of one connection that never came, between two that did
	pictures map[int64]time.Time // when the first key frame of a connection came
	err      error               // why it was ended
}

// watchNumbered begins to watch a target; close it.
func watchNumbered(ctx context.Context, o opener, t target) (*numberedViewer, error) {
	v, err := o.open(ctx, t, 0)
	if err != nil {
		return nil, err
	}
	w := &numberedViewer{
		v: v, done: make(chan struct{}), watching: true, came: map[int64]time.Time{}, pictures: map[int64]time.Time{},
	}
	go w.run(v.reader())
	return w, nil
}

func (w *numberedViewer) run(r tagReader) {
	defer close(w.done)
	for {
		t, err := r.ReadTag()
		now := time.Now()
		w.mu.Lock()
		if err != nil {
			if w.watching {
				w.err = err
			}
			w.mu.Unlock()
			return
		}
		if number, key, ok := numberOf(t); ok {
			w.takeLocked(number, key, now)
		}
		w.mu.Unlock()
	}
}

// takeLocked counts a frame.
func (w *numberedViewer) takeLocked(number int64, key bool, at time.Time) {
	switch gap := number - w.last; {
	case w.last == 0:
	case gap <= 0:
		w.repeated++
	case gap > 1 && number>>32 == w.last>>32:
		w.missing += int(gap - 1)
	}
	w.last = max(w.last, number)
	if w.keeps {
		w.came[number] = at
	}
	if nth := number >> 32; key && w.pictures[nth].IsZero() {
		w.pictures[nth] = at
	}
}

// keep has it note when which frame comes, or no longer. It returns what was noted until now.
func (w *numberedViewer) keep(on bool) map[int64]time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	noted := w.came
	w.keeps, w.came = on, map[int64]time.Time{}
	return noted
}

// ended returns why it was ended; nil as long as it was not.
func (w *numberedViewer) ended() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// picture returns when the first key frame of a connection came; zero if it has not.
func (w *numberedViewer) picture(nth int64) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pictures[nth]
}

// close leaves and waits.
func (w *numberedViewer) close() {
	w.mu.Lock()
	w.watching = false
	w.mu.Unlock()
	w.v.close()
	<-w.done
}

// numberedViewers are several of one stream.
type numberedViewers []*numberedViewer

func (all numberedViewers) close() {
	for _, w := range all {
		w.close()
	}
}

// errNotSeen is the error of frames that have not come to all viewers.
var errNotSeen = errors.New("the frames of a publisher did not come to all viewers in time")

// await waits until all have seen a picture of a connection, or have been ended.
func (all numberedViewers) await(ctx context.Context, nth int64, limit time.Duration) error {
	until := time.Now().Add(limit)
	for _, w := range all {
		for w.picture(nth).IsZero() {
			if w.ended() != nil {
				break
			}
			if time.Now().After(until) || ctx.Err() != nil {
				return errNotSeen
			}
			sleepUntil(ctx, time.Now().Add(10*time.Millisecond))
		}
	}
	return nil
}
