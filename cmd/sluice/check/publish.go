package check

import (
	"context"
	"net"
	"sync"
	"time"

	"sluice/flv"
	"sluice/rtmp"
)

// agent is what the test calls itself.
const agent = "sluice-check"

// publication is the clip being published, and what was sent when.
type publication struct {
	publisher *rtmp.Publisher
	clip      *clip
	stop      chan struct{}
	done      chan struct{} // closed when nothing is sent any more
	began     time.Time

	mu     sync.Mutex
	sent   map[string]sent // by body
	counts [bothTracks]int
	failed error
	lasted time.Duration // until then
}

// sent is one frame that was sent.
type sent struct {
	track, number int
	timestamp     uint32
	at            time.Time // just before
}

// publish begins to publish over a way. The row says how that went; the publication is nil if it
// did not.
func (t *tester) publish(ctx context.Context, w way) (*publication, *row) {
	r := &row{Protocol: w.protocol, URL: w.shown, trace: trace{began: time.Now()}}
	var conn *line
	client := t.client(&w, &r.trace, r, &conn)
	client.FlashVer = "FMLE/3.0 (compatible; " + agent + ")" // as encoders begin theirs
	p, err := client.Publish(ctx, w.publish)
	if err != nil {
		r.fail(t.openFault(ctx, &w, r, conn, err, true))
		return nil, r
	}
	r.trace.commanded = time.Now()
	r.OK = true
	pub := &publication{
		publisher: p, clip: t.clip, stop: make(chan struct{}), done: make(chan struct{}), began: time.Now(),
		sent: make(map[string]sent),
	}
	go pub.play(ctx)
	return pub, r
}

// client returns an RTMP client that opens a way, and notes the connection in *conn.
func (t *tester) client(w *way, tr *trace, r *row, conn **line) *rtmp.Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		l, err := t.dial(ctx, w, tr, r)
		if err != nil {
			return nil, err
		}
		*conn = l
		return l, nil
	}
	return &rtmp.Client{
		Dial: dial, DialTLS: dial, OpenTimeout: t.times.open, ReadTimeout: t.times.open, WriteTimeout: t.times.silence,
	}
}

// play sends the clip at its own pace until it is stopped, ctx ends or the server takes no more.
func (p *publication) play(ctx context.Context) {
	defer close(p.done)
	for _, tag := range p.clip.header {
		if !p.write(tag) {
			return
		}
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	var next [bothTracks]int
	for {
		video, audio := p.clip.frame(trackVideo, next[trackVideo]), p.clip.frame(trackAudio, next[trackAudio])
		track, tag := trackVideo, video
		if audio.Timestamp < video.Timestamp {
			track, tag = trackAudio, audio
		}
		timer.Reset(time.Until(p.began.Add(due(tag))))
		select {
		case <-timer.C:
		case <-p.stop:
			return
		case <-ctx.Done():
			return
		}
		p.note(track, next[track], tag)
		next[track]++
		if !p.write(tag) {
			return
		}
	}
}

// note keeps that a frame is sent now.
func (p *publication) note(track, number int, tag flv.Tag) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent[string(tag.Data)] = sent{track, number, tag.Timestamp, time.Now()}
	p.counts[track] = number + 1
}

// find returns which frame a body is.
func (p *publication) find(body []byte) (sent, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, ok := p.sent[string(body)]
	return s, ok
}

// write sends a tag, and reports whether it could.
func (p *publication) write(tag flv.Tag) bool {
	err := p.publisher.WriteTag(tag)
	if err == nil {
		return true
	}
	p.mu.Lock()
	p.failed, p.lasted = err, time.Since(p.began)
	p.mu.Unlock()
	return false
}

// over returns why the server takes no more, nil as long as it does.
func (p *publication) over() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed
}

// frames returns how many were sent.
func (p *publication) frames() *frames {
	p.mu.Lock()
	defer p.mu.Unlock()
	return &frames{Video: p.counts[trackVideo], Audio: p.counts[trackAudio]}
}

// last waits for d, and reports whether the publication still goes on then.
func (p *publication) last(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-p.done:
		return false
	}
}

// end ends the publication, and returns why it had ended already, and how long it lasted, if it had. It
// takes 4.5 s at the most (rtmp.Publisher.Close).
func (p *publication) end() (lasted time.Duration, err error) {
	failed := p.over()
	close(p.stop)
	p.publisher.Close() // breaks a write that is under way
	<-p.done
	return p.lasted, failed
}
