//go:build unix

package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
)

// Measures of the soak's readers.
const (
	// soakBudget is what slow readers may have kept for them, in bytes, all together.
	soakBudget = 4 << 20
	// soakLead is how young a session may be for its beginning to be there for readers. The
	// hub keeps 2 s.
	soakLead = 500 * time.Millisecond
)

// readAll is one actor: it reads a stream in the process of the hub, again and again, at
// times slowly.
func (w *soak) readAll(s *soakStream, budget *hub.Budget, rng *rand.Rand) {
	app, name, _ := strings.Cut(s.key, "/")
	for !w.over() {
		opts := hub.ReadOptions{FromSession: rng.IntN(4) > 0, Lag: hub.LagPolicy(rng.IntN(3)), Budget: budget}
		present := s.current.Load()
		r, err := w.svc.hub.Read(hub.Key{App: app, Name: name}, opts)
		if err != nil {
			w.sleep(time.Duration(rng.IntN(200)) * time.Millisecond)
			continue
		}
		w.count(fmt.Sprint("read, lag policy ", opts.Lag))
		j := &readJudge{w: w, s: s, opts: opts, slow: w.slowReaders || rng.IntN(2) == 0, configs: map[trackID]uint32{}, tracks: map[trackID]mark{}}
		if opts.FromSession && present != nil && time.Since(present.began) < soakLead {
			j.first = present
		}
		if err := j.read(r, rng); err != nil {
			w.fail("reader of %s, lag policy %d, from the session's beginning %v, packet %d: %v",
				s.key, opts.Lag, opts.FromSession, j.packets, err)
		}
		if r.Dropped() != j.lost {
			w.fail("reader of %s: %d lost, %d dropped", s.key, j.lost, r.Dropped())
		}
		r.Close()
		w.tags.Add(int64(j.packets))
	}
}

// Readers that lag behind lose what they are told, and nothing else; the log is short and
// the budget small.
func TestSoakSlowReaders(t *testing.T) {
	cfg, err := loadConfig(append(slices.Clone(soakConfig), "SLUICE_MAX_LAG=500ms", "SLUICE_LOG_DURATION=0s", "SLUICE_GOP_MAX_BYTES=1MiB"))
	require.NoError(t, err)
	w := newSoak(t)
	w.slowReaders = true // for this machine may be
	w.serve(cfg)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	budget := hub.NewBudget(100_000)
	for i, s := range w.streams[:3] {
		w.act(seed, 100+i, func(rng *rand.Rand) { w.publish(s, rng) })
		for j := range 4 {
			w.act(seed, 500+10*i+j, func(rng *rand.Rand) { w.readAll(s, budget, rng) })
		}
	}
	w.sleep(soakShort)
	w.leave()
	w.actors.Wait()
	w.shutdown()
	w.report()
	assert.Zero(t, budget.Used())
	assert.Empty(t, w.log.bad())
}

// readJudge judges what one reader is given.
type readJudge struct {
	w       *soak
	s       *soakStream
	opts    hub.ReadOptions
	slow    bool
	first   *soakSession // from whose first frame on it has to see everything; may be nil
	packets int
	lost    uint64
	next    uint64 // the least Packet.Seq that may come
	configs map[trackID]uint32
	tracks  map[trackID]mark
	gap     map[trackID]bool // tracks that were seen since something was lost; nil if nothing was
	session *soakSession
}

// read reads to the stream's end, or some of it.
func (j *readJudge) read(r *hub.Reader, rng *rand.Rand) error {
	var b hub.ReadBatch
	for range 1 + rng.IntN(2000) {
		if r.Wait(j.w.ctx) != nil {
			return nil
		}
		end := r.Read(&b, 1+rng.IntN(200_000))
		if err := j.batch(&b); err != nil {
			return err
		}
		switch {
		case end == hub.ReasonNone:
		case end == hub.ReasonStalled && j.opts.Lag == hub.LagEnd && j.slow:
			j.w.count("reader was ended, since it was slow")
			return nil
		case end == hub.ReasonUnpublished && j.session != nil && !j.session.ended.Load():
			return fmt.Errorf("ended, while session %d goes on", j.session.id)
		case end == hub.ReasonUnpublished, end == hub.ReasonShuttingDown && j.w.closing.Load():
			j.w.count("reader saw the end")
			return j.whole()
		default:
			return fmt.Errorf("ended: %v", end)
		}
		if j.slow && rng.IntN(10) == 0 {
			j.w.count("reader naps")
			j.w.sleep(time.Duration(rng.IntN(2000)) * time.Millisecond)
		}
	}
	return nil
}

func (j *readJudge) batch(b *hub.ReadBatch) error {
	if b.Lost > 0 {
		if !j.slow {
			return fmt.Errorf("lost %d packets though it never was slow", b.Lost)
		}
		j.w.count(fmt.Sprint("reader lost something, lag policy ", j.opts.Lag))
		j.lost += b.Lost
		j.gap = map[trackID]bool{}
	}
	for _, p := range b.Packets {
		if err := j.packet(p); err != nil {
			return fmt.Errorf("%w (seq %d, time %d, %v)", err, p.Seq, p.Time, p.Type)
		}
		j.packets++
	}
	return nil
}

func (j *readJudge) packet(p hub.Packet) error {
	if p.Seq < j.next {
		return fmt.Errorf("before seq %d, which is next", j.next)
	}
	if uint32(p.Time) != p.Timestamp {
		return fmt.Errorf("timestamp %d", p.Timestamp)
	}
	if j.next = p.Seq; !p.Header {
		j.next++
	}
	if p.Type == flv.TypeScript {
		return nil
	}
	packets, err := p.Tag.AppendPackets(nil)
	if err != nil {
		return err
	}
	for _, packet := range packets {
		id := trackID{p.Type == flv.TypeVideo, packet.Track}
		switch packet.Kind {
		case flv.KindConfig:
			j.configs[id] = configNumber(packet.Payload)
		case flv.KindFrame:
			m, err := parseMark(packet.Payload)
			if err == nil {
				err = j.frame(id, m, p)
			}
			if err != nil {
				return fmt.Errorf("%v %d of session %d: %w", id, m.seq, m.session, err)
			}
		default:
			return fmt.Errorf("%v in the flow", packet.Kind)
		}
	}
	return nil
}

func (j *readJudge) frame(id trackID, m mark, p hub.Packet) error {
	found, ok := j.w.sessions.Load(m.session)
	switch {
	case !ok:
		return errors.New("of a session that never was")
	case m.track != id.track || m.video != id.video:
		return errors.New("of another track")
	case m.config != 0 && j.configs[id] != m.config:
		return fmt.Errorf("behind header %x in place of %x", j.configs[id], m.config)
	}
	if session := found.(*soakSession); session != j.session {
		if j.session != nil && session.id < j.session.id {
			return fmt.Errorf("after session %d", j.session.id)
		}
		if err := j.whole(); err != nil {
			return err
		}
		j.session = session
	}
	last, seen := j.tracks[id]
	gap := j.gap != nil && !j.gap[id] // since this track was seen last
	switch {
	case gap:
		if id.video && id.track == 0 && !m.key {
			return errors.New("no key frame after what was lost")
		}
		j.gap[id] = true
	case !seen && j.first != nil && m.session == j.first.id && m.seq != 0:
		return errors.New("the beginning is missing")
	case !seen && !j.opts.FromSession && id.video && id.track == 0 && !m.key:
		return errors.New("begins without a key frame")
	case !seen:
	case m.session != last.session && m.seq != 0:
		return errors.New("the session's beginning is missing")
	case m.session == last.session && m.seq != last.seq+1:
		return fmt.Errorf("after %d", last.seq)
	}
	j.tracks[id] = m
	return nil
}

// whole says what was missing at the end of the session.
func (j *readJudge) whole() error {
	if j.session == nil || j.session.broken.Load() || j.gap != nil {
		return nil
	}
	for id, last := range j.tracks {
		if n, known := j.session.whole(id); known && last.session == j.session.id && last.seq+1 != n {
			return fmt.Errorf("%v of session %d ends with %d of %d", id, j.session.id, last.seq, n)
		}
	}
	return nil
}
