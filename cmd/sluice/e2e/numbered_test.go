package e2e

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/rtmp"
)

// encoder publishes a made-up stream over one connection. Each of its frames says which it is: a number that grows
// from frame to frame, and from each connection of a stream to the next one.
//
//	number   connection<<32 | frame
type encoder struct {
	t     *testing.T
	pub   *rtmp.Publisher
	first int64        // number of its first frame
	sent  atomic.Int64 // number of the last one
	began time.Time    // when its first frame, a key frame, was sent
	stop  context.CancelFunc
	done  chan struct{} // closed when it sends no more
	err   error         // why, once done; nil where it was stopped
}

// What an encoder sends: a picture each 40 ms, of which each twelfth is a key frame, and two frames of sound with each.
const (
	numberedEvery = 40 * time.Millisecond
	numberedGOP   = 12
)

// numberedHeaders begin a made-up stream: codec headers of H.264 and AAC.
var numberedHeaders = []flv.Tag{
	{Type: flv.TypeVideo, Data: []byte("\x17\x00\x00\x00\x00\x01\x42\xc0\x0d\xff\xe1\x00\x15" +
		"\x67\x42\xc0\x0d\xd9\x01\x41\x9f\xe0\x10\x00\x00\x03\x00\x10\x00\x00\x03\x03\x20\xf1\x42\xa4\x01\x00\x04\x68\xcb\x83\xcb")},
	{Type: flv.TypeAudio, Data: []byte("\xaf\x00\x12\x10")},
}

// encode begins to publish, the connection being the stream's nth. The error says why the server did not let it.
func encode(t *testing.T, s *server, key string, nth int) (*encoder, error) {
	return encodeBy(t, &rtmp.Client{WriteTimeout: patience}, s, key, nth)
}

// encodeBy is encode by a client.
func encodeBy(t *testing.T, by *rtmp.Client, s *server, key string, nth int) (*encoder, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	pub, err := by.Publish(ctx, s.rtmpURL(key))
	if err != nil {
		return nil, err
	}
	e := &encoder{t: t, pub: pub, first: int64(nth) << 32, done: make(chan struct{})}
	if err := pub.WriteTags(numberedHeaders); err != nil {
		pub.Close()
		return nil, err
	}
	ctx, e.stop = context.WithCancel(context.Background())
	e.began = time.Now()
	go e.run(ctx)
	t.Cleanup(e.end)
	return e, nil
}

// mustEncode is encode for who must be let in.
func mustEncode(t *testing.T, s *server, key string, nth int) *encoder {
	t.Helper()
	e, err := encode(t, s, key, nth)
	require.NoError(t, err)
	return e
}

// encodeAgain is encode for who comes back as encoders do: it tries again until it is let in.
func encodeAgain(t *testing.T, s *server, key string, nth int) (e *encoder) {
	t.Helper()
	return encodeAgainBy(t, &rtmp.Client{WriteTimeout: patience}, s, key, nth)
}

// encodeAgainBy is encodeAgain by a client.
func encodeAgainBy(t *testing.T, by *rtmp.Client, s *server, key string, nth int) (e *encoder) {
	t.Helper()
	until(t, "the publisher is let in again", func() bool {
		var err error
		e, err = encodeBy(t, by, s, key, nth)
		return err == nil
	})
	return e
}

// run sends what is due.
func (e *encoder) run(ctx context.Context) {
	defer close(e.done)
	for n := int64(0); ; n++ {
		select {
		case <-time.After(time.Until(e.began.Add(time.Duration(n) * numberedEvery))):
		case <-e.pub.Ended():
			e.err = e.pub.Err()
			return
		case <-ctx.Done():
			return
		}
		at := uint32(n * numberedEvery.Milliseconds())
		head, nal := "\x27\x01\x00\x00\x00", "\x41"
		if n%numberedGOP == 0 {
			head, nal = "\x17\x01\x00\x00\x00", "\x65"
		}
		number := e.first + 3*n
		tags := []flv.Tag{
			{Type: flv.TypeVideo, Timestamp: at, Data: binary.BigEndian.AppendUint64([]byte(head+"\x00\x00\x00\x09"+nal), uint64(number))},
			{Type: flv.TypeAudio, Timestamp: at, Data: binary.BigEndian.AppendUint64([]byte("\xaf\x01"), uint64(number+1))},
			{Type: flv.TypeAudio, Timestamp: at + 20, Data: binary.BigEndian.AppendUint64([]byte("\xaf\x01"), uint64(number+2))},
		}
		e.sent.Store(number + 2)
		if e.err = e.pub.WriteTags(tags); e.err != nil {
			return
		}
	}
}

// end ends it as an encoder that is stopped. It may be called again.
func (e *encoder) end() {
	e.stop()
	<-e.done
	e.pub.Close()
}

// isDone reports whether it sends no more.
func (e *encoder) isDone() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

// refused waits until the server has ended it, and returns with what code.
func (e *encoder) refused() string {
	e.t.Helper()
	until(e.t, "the server ends the publisher", e.isDone)
	return statusCode(e.err)
}

// statusCode returns the code of a status that is an error; "" if it is none.
func statusCode(err error) string {
	if status, ok := errors.AsType[*rtmp.StatusError](err); ok {
		return status.Code
	}
	return ""
}

// witness watches a made-up stream over one connection, and keeps count.
type witness struct {
	what string
	at   string // the server's HTTP address
	stop context.CancelFunc
	done chan struct{} // closed when the stream has ended

	mu       sync.Mutex
	frames   int
	first    int64           // number of the first frame
	last     int64           // of the last one
	repeated int             // frames that came though they, or later ones, had come before
	missing  int             // that never came, of one connection, between two that did
	lastOf   map[int64]int64 // number of the last frame, by its connection
	came     map[int64]time.Time
	problem  string
	err      error // why it ended, once done; nil where the stream was over
}

// watchBy begins to watch over HTTP or RTMP.
func watchBy(t *testing.T, s *server, protocol, key string) *witness {
	w := newWitness(protocol, s)
	ctx, cancel := context.WithCancel(context.Background())
	w.stop = cancel
	read := w.http
	if protocol == "rtmp" {
		read = w.rtmp
	}
	go w.run(ctx, read, s, key)
	t.Cleanup(w.end)
	return w
}

func newWitness(protocol string, s *server) *witness {
	return &witness{
		what: protocol + " at " + s.http, at: s.http, done: make(chan struct{}), came: map[int64]time.Time{}, lastOf: map[int64]int64{},
	}
}

// run watches until the stream ends.
func (w *witness) run(ctx context.Context, read func(context.Context, *server, string) error, s *server, key string) {
	defer close(w.done)
	err := read(ctx, s, key)
	w.mu.Lock()
	defer w.mu.Unlock()
	if !errors.Is(err, io.EOF) {
		w.err = err
	}
}

func (w *witness) http(ctx context.Context, s *server, key string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.flvURL("http", key), nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("HTTP status %d", answer.StatusCode)
	}
	in := flv.NewReader(bufio.NewReader(answer.Body))
	for {
		tag, err := in.Next()
		if err != nil {
			return err
		}
		w.take(tag)
	}
}

func (w *witness) rtmp(ctx context.Context, s *server, key string) error {
	p, err := (&rtmp.Client{ReadTimeout: patience, OpenTimeout: patience}).Play(ctx, s.rtmpURL(key))
	if err != nil {
		return err
	}
	defer p.Close()
	defer context.AfterFunc(ctx, func() { p.Close() })()
	for {
		tag, err := p.ReadTag()
		if err != nil {
			return err
		}
		w.take(tag)
	}
}

// take takes what comes next.
func (w *witness) take(tag flv.Tag) {
	p, err := tag.Packet()
	if err != nil || p.Kind != flv.KindFrame || len(tag.Data) < 10 {
		return
	}
	number := int64(binary.BigEndian.Uint64(tag.Data[len(tag.Data)-8:]))
	if tag.Type == flv.TypeAudio && len(tag.Data) != 10 {
		return // silence that the server has put in
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch gap := number - w.last; {
	case w.frames == 0:
		w.first = number
	case gap <= 0:
		w.repeated++
		w.problem = fmt.Sprintf("%x came behind %x", number, w.last)
	case gap > 1 && number>>32 == w.last>>32:
		w.missing += int(gap - 1)
		w.problem = fmt.Sprintf("%x came behind %x", number, w.last)
	}
	w.frames++
	w.last = max(w.last, number)
	w.lastOf[number>>32] = number
	if p.Key && tag.Type == flv.TypeVideo {
		if nth := number >> 32; w.came[nth].IsZero() {
			w.came[nth] = time.Now()
		}
	}
}

// end breaks it off. It may be called again.
func (w *witness) end() {
	w.stop()
	<-w.done
}

func (w *witness) running() bool {
	select {
	case <-w.done:
		return false
	default:
		return true
	}
}

// reached returns the number of the last frame.
func (w *witness) reached() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// lastFrom returns the number of the last frame that an encoder's connection has brought, 0 for none.
func (w *witness) lastFrom(e *encoder) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lastOf[e.first>>32]
}

// witnesses are several that watch one stream.
type witnesses []*witness

// watchAt has as many viewers watch at each server, over HTTP and RTMP in turn.
func watchAt(t *testing.T, key string, each int, servers ...*server) (all witnesses) {
	for _, s := range servers {
		for i := range each {
			all = append(all, watchBy(t, s, [...]string{"http", "rtmp"}[i%2], key))
		}
	}
	return all
}

// reach waits until all have seen a frame with that number or a later one, and none has ended.
func (all witnesses) reach(t *testing.T, number int64) {
	t.Helper()
	var behind *witness
	defer func() {
		if t.Failed() && behind != nil {
			t.Logf("%s has come to %x only: %s", behind.what, behind.reached(), behind.problem)
		}
	}()
	until(t, fmt.Sprintf("all viewers have seen %x", number), func() bool {
		for _, w := range all {
			if behind = w; !w.running() {
				t.Fatalf("%s has ended: %v", w.what, w.err)
			}
			if w.reached() < number {
				return false
			}
		}
		return true
	})
}

// see waits until all have seen what an encoder sends from now on.
func (all witnesses) see(t *testing.T, e *encoder) {
	t.Helper()
	all.reach(t, max(e.sent.Load(), e.first)+1)
}

// whole checks that nobody has seen anything twice, or missed something of what one connection brought.
func (all witnesses) whole(t *testing.T) {
	t.Helper()
	for _, w := range all {
		w.mu.Lock()
		assert.Zero(t, w.repeated, "frames repeated: %s: %s", w.what, w.problem)
		assert.Zero(t, w.missing, "frames missing: %s: %s", w.what, w.problem)
		assert.NotZero(t, w.frames, w.what)
		w.mu.Unlock()
	}
}

// ended waits until the stream has ended for all, properly.
func (all witnesses) ended(t *testing.T) {
	t.Helper()
	for _, w := range all {
		until(t, w.what+" ends", func() bool { return !w.running() })
		assert.NoError(t, w.err, w.what)
	}
}

// resumed returns how long after an encoder's first key frame the last of them had it.
func (all witnesses) resumed(e *encoder) (longest time.Duration) {
	for _, w := range all {
		w.mu.Lock()
		if came := w.came[e.first>>32]; !came.IsZero() {
			longest = max(longest, came.Sub(e.began))
		}
		w.mu.Unlock()
	}
	return longest
}

// comer is a viewer who comes back at the next server whenever its stream ends, as players do.
type comer struct {
	stop context.CancelFunc
	done chan struct{}

	mu   sync.Mutex
	seen witnesses // one for each connection
}

// come begins to watch over HTTP at one of the servers.
func come(t *testing.T, servers func(try int) *server, key string) *comer {
	v := &comer{done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	v.stop = cancel
	go func() {
		defer close(v.done)
		for try := 0; ctx.Err() == nil; try++ {
			s := servers(try)
			w := newWitness("http", s)
			v.mu.Lock()
			v.seen = append(v.seen, w)
			v.mu.Unlock()
			w.run(ctx, w.http, s, key)
			if w.frames == 0 { // it was not let in
				v.mu.Lock()
				v.seen = v.seen[:len(v.seen)-1]
				v.mu.Unlock()
				time.Sleep(50 * time.Millisecond)
			}
		}
	}()
	t.Cleanup(v.end)
	return v
}

// end has it leave. It may be called again.
func (v *comer) end() {
	v.stop()
	<-v.done
}

// see waits until it has seen what an encoder sends from now on.
func (v *comer) see(t *testing.T, e *encoder) {
	t.Helper()
	number := max(e.sent.Load(), e.first) + 1
	until(t, "a viewer who comes back sees the stream", func() bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		return len(v.seen) > 0 && v.seen[len(v.seen)-1].reached() >= number
	})
}

// present returns what it sees over its present connection.
func (v *comer) present() *witness {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.seen[len(v.seen)-1]
}

// gaps returns how many of its comings back have left something out.
func (v *comer) gaps() (n int) {
	for i := 1; i < len(v.seen); i++ {
		before, w := v.seen[i-1], v.seen[i]
		if w.first>>32 == before.last>>32 && w.first > before.last+1 {
			n++
		}
	}
	return n
}
