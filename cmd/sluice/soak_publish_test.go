//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/rtmp"
)

// Measures of what the soak's publishers send.
const (
	soakTick  = 20 * time.Millisecond // an audio frame; every other has a video frame
	soakClose = 2 * time.Second       // how long rtmp.Publisher.Close waits for the server
)

// soakStream is one key of the soak, published by one session after the other.
type soakStream struct {
	key     string
	current atomic.Pointer[soakSession]

	intrusion sync.Mutex // held from the attempt to publish it until it is known what came of that
}

// soakSession is one publish session. What viewers saw of it is judged by it.
type soakSession struct {
	*program
	id     uint32
	began  time.Time // or a little earlier
	stream *soakStream
	token  string
	ended  atomic.Bool // its publisher is about to end it, or was ended
	broken atomic.Bool // tracks or codecs change in the middle of it

	mu    sync.Mutex
	final map[trackID]uint32 // how many frames it had, if all of them arrived for sure
}

// whole returns how many frames of the track the session had, if it is known that
// all of them arrived.
func (s *soakSession) whole(id trackID) (frames uint32, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	frames, known = s.final[id]
	return frames, known
}

// publish is one actor: it publishes a stream, again and again, in all ways.
func (w *soak) publish(s *soakStream, rng *rand.Rand) {
	token := fmt.Sprintf("%s%08x", soakSecret, rng.Uint32())
	var last *program
	for w.ctx.Err() == nil {
		what := programs[rng.IntN(len(programs))]
		if last != nil && rng.IntN(2) == 0 {
			what = last // as most encoders do that come back
		}
		last = what
		p, conn := w.openPublisher(s, token)
		if p == nil {
			continue
		}
		session := w.newSession(what, s, token)
		w.count("publish " + what.name)
		sent := newSoakSender(session, p, rng)
		err := sent.run(w.ctx, time.Duration(100+rng.IntN(2500))*time.Millisecond)
		if err != nil {
			w.publisherEnded(session, err)
			p.Close()
			continue
		}
		token = w.endPublisher(sent, conn, rng)
		switch rng.IntN(10) {
		case 0: // beyond the grace
			w.count("publisher stays away")
			w.sleep(soakGrace + time.Duration(rng.IntN(500))*time.Millisecond)
		case 1, 2, 3, 4:
			w.sleep(time.Duration(rng.IntN(500)) * time.Millisecond)
		}
	}
}

// newSession makes a session the stream's present one, and ends the one before.
func (w *soak) newSession(what *program, s *soakStream, token string) *soakSession {
	session := &soakSession{program: what, began: time.Now(), id: w.lastSession.Add(1), stream: s, token: token}
	w.sessions.Store(session.id, session)
	if old := s.current.Swap(session); old != nil {
		old.ended.Store(true)
	}
	return session
}

// openPublisher connects, and tries again while somebody else is there.
func (w *soak) openPublisher(s *soakStream, token string) (*rtmp.Publisher, net.Conn) {
	var conn net.Conn
	c := rtmp.Client{Dial: func(ctx context.Context, network, address string) (nc net.Conn, err error) {
		nc, err = new(net.Dialer).DialContext(ctx, network, address)
		conn = nc
		return nc, err
	}, OpenTimeout: time.Minute}
	p, err := c.Publish(w.ctx, "rtmp://"+w.rtmpAddr+"/"+s.key+"?token="+token)
	busy := w.countPublisher(err)
	if err == nil {
		return p, conn
	}
	switch {
	case w.over():
	case busy:
		w.sleep(50 * time.Millisecond)
	default:
		w.fail("%s: publishing: %v", s.key, err)
	}
	return nil, nil
}

// countPublisher counts what came of an attempt to publish, also of one that was answered
// while the server shut down, and reports whether somebody else was there.
func (w *soak) countPublisher(err error) (busy bool) {
	status, refused := errors.AsType[*rtmp.StatusError](err)
	op, ok := errors.AsType[*net.OpError](err)
	switch {
	case err == nil:
		w.count(countedIn)
	case refused && status.Code == rtmp.CodePublishBadName:
		w.count(countedBusy)
		return true
	case !refused && !(ok && op.Op == "dial"):
		w.count(countedUnknown)
	}
	return false
}

// publisherEnded notes that a session was ended by the server, which has to have a
// reason.
func (w *soak) publisherEnded(s *soakSession, err error) {
	s.stream.intrusion.Lock()
	ended := s.ended.Swap(true)
	s.stream.intrusion.Unlock()
	switch {
	case w.over():
	case ended:
		w.count("publisher ended by another")
	default:
		w.fail("%s: session %d (%s) was ended: %v", s.stream.key, s.id, s.name, err)
	}
}

// endPublisher ends a session in one of the ways in which that happens, and returns
// the token for the next one.
func (w *soak) endPublisher(sender *soakSender, conn net.Conn, rng *rand.Rand) string {
	session, p := sender.session, sender.p
	switch rng.IntN(6) {
	case 0:
		w.count("publisher vanishes in a message")
		session.ended.Store(true)
		conn.Write([]byte{6, 0, 0, 0, 0, 0x80, 0, 9, 1, 0, 0, 0, 0x17, 1, 0, 0, 0})
		conn.Close()
	case 1:
		w.count("publisher vanishes without a word")
		session.ended.Store(true)
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	case 2:
		w.count("publisher sends garbage")
		session.ended.Store(true)
		// beginning with the rest of a message that never began, or noise may be a frame
		conn.Write(append([]byte{0xff}, noise(rng, 1+rng.IntN(5000))...))
		conn.Close()
	case 3:
		w.count("publisher is taken over")
		session.ended.Store(true)
		other, _ := w.openPublisher(session.stream, session.token)
		if other == nil {
			break
		}
		next := newSoakSender(w.newSession(session.program, session.stream, session.token), other, rng)
		var old sync.WaitGroup
		old.Go(func() { // goes on as if nothing had happened
			sender.rng = rand.New(rand.NewPCG(uint64(session.id), 0))
			sender.run(w.ctx, time.Second)
		})
		if err := next.run(w.ctx, time.Second); err != nil {
			w.publisherEnded(next.session, err)
		}
		old.Wait()
		next.close(w)
	case 4:
		w.count("publisher falls silent, another comes")
		session.ended.Store(true)
		token := session.token + "-other"
		for w.ctx.Err() == nil {
			if other, _ := w.openPublisher(session.stream, token); other != nil {
				next := newSoakSender(w.newSession(session.program, session.stream, token), other, rng)
				if err := next.run(w.ctx, 500*time.Millisecond); err != nil {
					w.publisherEnded(next.session, err)
				}
				next.close(w)
				break
			}
			w.sleep(200 * time.Millisecond)
		}
	default:
		w.count("publisher says goodbye")
		sender.close(w)
		return session.token
	}
	p.Close()
	return session.token
}

// noise is random bytes.
func noise(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// soakSender sends the frames of one session.
type soakSender struct {
	session *soakSession
	p       *rtmp.Publisher
	rng     *rand.Rand

	base   uint32 // wire time of the session's time 0
	epoch  uint32
	ticks  int
	gop    int // ticks from key frame to key frame
	late   int // tick at which audio begins
	key    int // bytes of a key frame, at the most
	config map[trackID]uint32
	seq    map[trackID]uint32
	batch  []flv.Tag
}

func newSoakSender(s *soakSession, p *rtmp.Publisher, rng *rand.Rand) *soakSender {
	sender := &soakSender{
		session: s, p: p, rng: rng,
		gop:    2 * (5 + rng.IntN(45)),
		config: map[trackID]uint32{}, seq: map[trackID]uint32{},
	}
	if rng.IntN(2) == 0 {
		sender.base = rng.Uint32()
	}
	sender.key = 30_000
	if rng.IntN(5) == 0 { // more than a connection takes at once
		sender.key = 400_000
	}
	if s.has(true) && s.has(false) && rng.IntN(6) == 0 {
		sender.late = 2 * rng.IntN(60)
	}
	return sender
}

// close ends the session as encoders do. A server that shuts down closes the connection, too, and need not have read all of it.
func (s *soakSender) close(w *soak) {
	s.session.ended.Store(true)
	begun := time.Now()
	if s.p.Close() == nil && time.Since(begun) < soakClose && !w.closing.Load() {
		s.session.mu.Lock()
		defer s.session.mu.Unlock()
		s.session.final = s.seq
	}
}

// run publishes for so long; the error is that of the connection.
func (s *soakSender) run(ctx context.Context, d time.Duration) error {
	if s.ticks == 0 {
		if s.rng.IntN(8) > 0 {
			s.batch = append(s.batch, s.session.metadata(s.late == 0 && s.rng.IntN(3) > 0))
		}
		for _, t := range s.session.tracks {
			s.config[t.trackID] = s.session.id<<8 | 1
		}
		if s.late > 0 {
			s.session.broken.Store(true) // viewers are told of a track that they do not have
		}
	}
	tick := time.NewTicker(soakTick)
	defer tick.Stop()
	for end := s.ticks + int(d/soakTick); s.ticks < end && ctx.Err() == nil; s.ticks++ {
		s.surprise(ctx)
		if err := s.send(); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	return nil
}

// surprise does, now and then, what encoders do on bad days.
func (s *soakSender) surprise(ctx context.Context) {
	switch s.rng.IntN(400) {
	case 0: // the clock is set
		s.epoch++
		jumps := []int{-2000, 3000, -3_600_000, 3_600_000, 90_000, -90_000, 1 << 30}
		s.base += uint32(jumps[s.rng.IntN(len(jumps))])
	case 1: // silence, short of what lets others take over
		select {
		case <-time.After(time.Duration(s.rng.IntN(800)) * time.Millisecond):
		case <-ctx.Done():
		}
	case 2: // new headers, the same or others
		if s.ticks == 0 || s.ticks < s.late {
			break
		}
		for _, t := range s.session.tracks {
			if s.rng.IntN(2) == 0 {
				s.config[t.trackID]++
			}
		}
		s.headers(false)
		s.headers(true)
	case 3, 4: // what nobody can use
		s.batch = append(s.batch, s.junk())
	case 5:
		s.batch = append(s.batch, s.session.metadata(s.late == 0))
	}
}

// junk is a tag that makes no sense.
func (s *soakSender) junk() flv.Tag {
	bad := []flv.Tag{
		{Type: flv.TypeVideo, Data: []byte{0x97, 0xff, 0xff}},
		{Type: flv.TypeVideo, Data: []byte{0x96, 0x20, 'a', 'v', 'c', '1', 0, 0xff, 0xff, 0xff}},
		{Type: flv.TypeVideo, Data: []byte{0x57, 0}},
		{Type: flv.TypeVideo, Data: []byte{0x17}},
		{Type: flv.TypeVideo},
		{Type: flv.TypeAudio, Data: []byte{0x95}},
		{Type: flv.TypeAudio},
		{Type: flv.TypeScript, Data: noise(s.rng, s.rng.IntN(200))},
		{Type: flv.TypeScript, Data: amf.AppendAMF0(nil, "onTextData", amf.Object{{Name: "text", Value: "soak"}})},
		{Type: flv.TypeScript, Data: amf.AppendAMF0(nil, 1.0)},
	}
	t := bad[s.rng.IntN(len(bad))]
	t.Timestamp = s.now()
	return t
}

func (s *soakSender) now() uint32 {
	return s.base + uint32(s.ticks)*uint32(soakTick.Milliseconds())
}

// send sends the frames of one tick in one write.
func (s *soakSender) send() error {
	if s.ticks == 0 {
		s.headers(true)
	}
	if s.ticks == s.late {
		s.headers(false)
	}
	if s.ticks%2 == 0 {
		s.frames(true)
	}
	if s.ticks >= s.late {
		s.frames(false)
	}
	batch := s.batch
	s.batch = s.batch[:0]
	return s.p.WriteTags(batch)
}

// headers appends the codec headers of all tracks of the type.
func (s *soakSender) headers(video bool) {
	var packets []flv.Packet
	for _, t := range s.session.tracks {
		if t.video != video || t.headerless() {
			continue
		}
		body := t.config(s.config[t.trackID])
		if s.session.packed && video {
			tag := flv.Tag{Type: flv.TypeVideo, Data: body}
			packets = append(packets, must(tag.Packet()))
			continue
		}
		s.batch = append(s.batch, flv.Tag{Type: t.typ(), Timestamp: s.now(), Data: body})
	}
	if len(packets) > 0 {
		s.batch = append(s.batch, flv.Tag{Type: flv.TypeVideo, Timestamp: s.now(), Data: pack(packets)})
	}
}

// frames appends a frame of each track of the type.
func (s *soakSender) frames(video bool) {
	key := video && s.ticks%s.gop == 0
	var packets []flv.Packet
	for _, t := range s.session.tracks {
		if t.video != video {
			continue
		}
		m := mark{
			session: s.session.id, epoch: s.epoch, seq: s.seq[t.trackID], time: s.now(),
			track: t.track, video: video, key: key,
		}
		if !t.headerless() {
			m.config = s.config[t.trackID]
		}
		s.seq[t.trackID]++
		size := s.rng.IntN(400)
		if key {
			size = s.rng.IntN(s.key)
		} else if video {
			size = s.rng.IntN(3000)
		}
		p := t.packet(flv.KindFrame, key, m.append(nil, s.rng, size))
		if s.session.packed && video {
			packets = append(packets, p)
			continue
		}
		s.batch = append(s.batch, flv.Tag{Type: t.typ(), Timestamp: m.time, Data: t.body(p)})
	}
	if len(packets) > 0 {
		s.batch = append(s.batch, flv.Tag{Type: flv.TypeVideo, Timestamp: s.now(), Data: pack(packets)})
	}
}
