package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/cluster"
	"sluice/hub/cluster/memory"
)

// The claims as a model: encoders that come, go and come back as OBS does, viewers everywhere, and whatever can go
// wrong between the nodes, by a seed. model_judge_test.go says what has to be so meanwhile, and what when everything is
// well again.

// world is the rig, and what is known of it.
type world struct {
	*rig
	seed   uint64
	random *rand.Rand // of the driver

	mu       sync.Mutex
	began    time.Time
	history  []string
	alive    []*node // that run, frozen ones too
	encoders []*encoder
	shows    []*show // all that were ever accepted
	viewers  []*watching
	had      map[string]string // by incarnation and epoch of a confirmed record: the process
	highest  map[string]uint64 // by incarnation: the highest epoch that anybody has told
	faults   int               // that are on
	healed   time.Time         // when the last one ended; zero while there is one
	fault    string            // the first thing that was wrong
	pending  sync.WaitGroup
}

// modelNames are the streams.
var modelNames = []string{"a", "b", "c"}

func (w *world) logf(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.logLocked(format, args...)
}

func (w *world) logLocked(format string, args ...any) {
	w.history = append(w.history, fmt.Sprintf("%7.3f ", time.Since(w.began).Seconds())+fmt.Sprintf(format, args...))
}

func (w *world) failf(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failLocked(format, args...)
}

func (w *world) failLocked(format string, args ...any) {
	w.logLocked("WRONG: "+format, args...)
	if w.fault == "" {
		w.fault = fmt.Sprintf(format, args...)
	}
}

// requireSound fails the test if something was wrong, and shows what has happened.
func (w *world) requireSound() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fault != "" {
		history := w.history
		if os.Getenv("MODEL_ALL") == "" && len(history) > 150 {
			history = history[len(history)-150:]
		}
		w.t.Logf("seed %d:\n%s", w.seed, strings.Join(history, "\n"))
		require.FailNow(w.t, w.fault)
	}
}

// calmFor returns for how long nothing has been wrong between the nodes.
func (w *world) calmForLocked() time.Duration {
	if w.faults > 0 {
		return 0
	}
	return time.Since(w.healed)
}

// begins and ends a fault.
func (w *world) wrong(what string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults++
	w.logLocked("fault: "+what, args...)
}

func (w *world) right(what string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults--
	w.healed = time.Now()
	w.logLocked("healed: "+what, args...)
}

// spied is a node's directory, of which the model sees what is said.
type spied struct {
	cluster.Directory
	w *world
}

// told is a record, and news of one.
type told struct {
	Stream, Node, Boot, Incarnation string
	Epoch                           uint64
}

func (d *spied) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	revision, err := d.Directory.Create(ctx, key, value)
	d.wrote("create", value, revision, err)
	return revision, err
}

func (d *spied) Update(ctx context.Context, key string, value []byte, in uint64) (uint64, error) {
	revision, err := d.Directory.Update(ctx, key, value, in)
	d.wrote("update of "+strconv.FormatUint(in, 10), value, revision, err)
	return revision, err
}

func (d *spied) Delete(ctx context.Context, key string, revision uint64) error {
	var was told
	if entry, ok := d.w.engine.Records()[key]; ok {
		_ = json.Unmarshal(entry.Value, &was)
	}
	err := d.Directory.Delete(ctx, key, revision)
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	d.w.logLocked("delete of %d: %s %s/%d, %v", revision, was.Stream, was.Incarnation, was.Epoch, err)
	if _, ok := d.w.engine.Records()[key]; !ok { // it is over, for who has a record
		for at := range d.w.had {
			if strings.HasPrefix(at, was.Incarnation+"/") {
				delete(d.w.had, at)
			}
		}
	}
	return err
}

func (d *spied) Ask(ctx context.Context, subject string, data []byte) ([]byte, error) {
	answer, err := d.Directory.Ask(ctx, subject, data)
	d.w.logf("ask %s %s: %s, %v", subject, data, answer, err)
	return answer, err
}

func (d *spied) wrote(what string, value []byte, revision uint64, err error) {
	var o told
	_ = json.Unmarshal(value, &o)
	d.w.mu.Lock()
	defer d.w.mu.Unlock()
	d.w.logLocked("%s by %s: %s %s/%d: %d, %v", what, o.Node, o.Stream, o.Incarnation, o.Epoch, revision, err)
	if err == nil {
		d.w.confirmedLocked(&o)
	}
}

func (d *spied) Send(subject string, data []byte) error {
	if subject == "news" {
		var s struct {
			Up       bool
			Owner    told
			Revision uint64
		}
		_ = json.Unmarshal(data, &s)
		d.w.mu.Lock()
		d.w.highest[s.Owner.Incarnation] = max(d.w.highest[s.Owner.Incarnation], s.Owner.Epoch)
		if s.Revision > 0 {
			d.w.confirmedLocked(&s.Owner)
		}
		d.w.mu.Unlock()
	}
	return d.Directory.Send(subject, data)
}

// confirmedLocked notes a record that the directory has taken.
func (w *world) confirmedLocked(o *told) {
	at := fmt.Sprintf("%s/%d", o.Incarnation, o.Epoch)
	if boot, ok := w.had[at]; ok && boot != o.Boot {
		w.failLocked("%s: %s is of two nodes, %s is the later one", o.Stream, at, o.Node)
	}
	w.had[at] = o.Boot
}

// backup is at the end of what the backup of two encoders shows.
const backup = "&backup=1"

// isSame reports whether two encoders are of one owner, by what they show.
func isSame(a, b string) bool {
	return a != "" && strings.TrimSuffix(a, backup) == strings.TrimSuffix(b, backup)
}

// encoder is somebody who wants to publish a name, until it is stopped.
type encoder struct {
	*world
	id     int
	stream string
	query  string
	random *rand.Rand
	stop   chan struct{} // closed when it goes for good
	done   chan struct{}

	// Guarded by world.mu.
	wants  bool // it publishes, or tries to
	asking bool // a node whether it may
}

// show is one session of an encoder that was accepted.
type show struct {
	*encoder
	number  int
	node    *node
	session *hub.Session
	pub     *hub.Publisher
	told    chan *hub.Refusal // capacity 1
	began   time.Time
	frames  atomic.Int64

	// Guarded by world.mu.
	over   bool
	wrote  time.Time
	rival  bool // somebody whom the judge has sent takes it over
	banned bool // what waited when its node went on came too late, and may reach nobody: the pictures from first to before last
	first  int
	last   int // 0 while it still waits
}

// spawn has another encoder come.
func (w *world) spawn(stream, query string) *encoder {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := &encoder{
		world: w, id: len(w.encoders), stream: stream, query: query,
		random: rand.New(rand.NewPCG(w.seed, uint64(len(w.encoders)))),
		stop:   make(chan struct{}), done: make(chan struct{}),
	}
	w.encoders = append(w.encoders, e)
	w.logLocked("encoder %d of %s comes, %q", e.id, stream, query)
	go e.run()
	return e
}

// leave has an encoder go for good.
func (e *encoder) leave() {
	select {
	case <-e.stop:
	default:
		e.logf("encoder %d of %s leaves", e.id, e.stream)
		close(e.stop)
	}
}

func (e *encoder) isStopped() bool {
	select {
	case <-e.stop:
		return true
	default:
		return false
	}
}

func (e *encoder) between(least, most time.Duration) time.Duration {
	return least + time.Duration(e.random.Int64N(int64(most-least)))
}

func (e *encoder) sleep(d time.Duration) {
	select {
	case <-time.After(d):
	case <-e.stop:
	}
}

func (e *encoder) want(wants bool) {
	e.mu.Lock()
	e.wants = wants
	e.mu.Unlock()
}

func (e *encoder) run() {
	defer close(e.done)
	defer e.want(false)
	for !e.isStopped() {
		e.want(true)
		n := e.pick(e.random)
		if n == nil {
			e.sleep(time.Second)
			continue
		}
		s, err := e.publishAt(n)
		if err != nil {
			e.refused(n, err)
			e.sleep(e.between(500*time.Millisecond, 2*time.Second))
			continue
		}
		switch why := s.run(); {
		case why == nil:
			e.sleep(e.between(100*time.Millisecond, 2*time.Second))
		case why.Reason == hub.ReasonReplaced && e.random.IntN(2) == 0:
			e.want(false)
			e.sleep(e.between(5*time.Second, 15*time.Second))
		default:
			e.sleep(e.between(100*time.Millisecond, 3*time.Second))
		}
	}
}

func (e *encoder) setAsking(asking bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asking = asking
}

// pick returns a node that clients reach, nil if there is none.
func (w *world) pick(random *rand.Rand) *node {
	w.mu.Lock()
	defer w.mu.Unlock()
	var up []*node
	for _, n := range w.alive {
		if !n.isFrozen() {
			up = append(up, n)
		}
	}
	if len(up) == 0 {
		return nil
	}
	return up[random.IntN(len(up))]
}

func (n *node) isFrozen() bool {
	n.rig.mu.Lock()
	defer n.rig.mu.Unlock()
	return n.frozen != nil
}

func (n *node) isDead() bool {
	n.rig.mu.Lock()
	defer n.rig.mu.Unlock()
	return n.dead
}

// publishAt asks a node to be let in.
func (e *encoder) publishAt(n *node) (*show, error) {
	asked := time.Now()
	e.setAsking(true)
	defer e.setAsking(false)
	p, err := n.publish(e.stream, e.query)
	if took := time.Since(asked); took > 11*time.Second && !n.isFrozen() {
		e.mu.Lock()
		if e.calmForLocked() > took {
			e.failLocked("%s: it took %v until encoder %d had an answer", e.stream, took, e.id)
		}
		e.mu.Unlock()
	}
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	s := &show{encoder: e, number: len(e.shows), node: n, session: p.session, pub: p.pub, told: p.ended, began: time.Now(), wrote: time.Now()}
	e.logLocked("encoder %d is in at %s with %s, as show %d", e.id, n.name, e.stream, s.number)
	e.acceptedLocked(s)
	e.shows = append(e.shows, s)
	return s, nil
}

// run sends until the session ends. It returns what the hub has said, nil where it has not: the encoder left, or its node has
// died.
func (s *show) run() *hub.Refusal {
	defer s.isOver()
	tick := time.NewTicker(40 * time.Millisecond)
	defer tick.Stop()
	late := 0
	for {
		select {
		case why := <-s.told:
			s.ended(why)
			return why
		case <-s.stop:
			s.pub.Close()
			return nil
		case <-tick.C:
		}
		switch {
		case s.node.isDead():
			s.pub.Close()
			return nil
		case s.node.isFrozen():
			if late++; s.random.IntN(100) == 0 { // it goes elsewhere; the node will see that some time
				s.logf("encoder %d leaves frozen %s", s.id, s.node.name)
				s.pending.Go(func() { s.flush(late); s.pub.Close() })
				return nil
			}
			continue
		}
		s.writeLate(late)
		late = 0
		s.write(1)
	}
}

// flush has a node that is frozen read what lies in its socket when it goes on.
func (s *show) flush(late int) {
	for s.node.isFrozen() && !s.node.isDead() {
		time.Sleep(20 * time.Millisecond)
	}
	if !s.node.isDead() {
		s.writeLate(late)
	}
}

// writeLate sends what has waited while the node stood still.
func (s *show) writeLate(pictures int) {
	s.mu.Lock()
	if s.banned && s.last == 0 {
		s.last = int(s.frames.Load()) + pictures
	}
	s.mu.Unlock()
	s.write(pictures)
}

// isShown reports whether its node shows it, as far as that knows.
func (s *show) isShown() bool { return s.node.hub.PublisherOf(key(s.stream)) == s.session }

func (s *show) isOver() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
}

// write sends pictures at once, with sound.
func (s *show) write(pictures int) {
	for range pictures {
		head, frame := byte(0x27), s.frames.Load()
		if frame%25 == 0 {
			head = 0x17
		}
		at := uint32(frame * 40)
		body := fmt.Appendf(nil, "%d %d", s.number, frame)
		s.frames.Add(1)
		video := append([]byte{head, 1, 0, 0, 0, 0, 0, 0, byte(len(body))}, body...)
		if s.pub.Write(flv.Tag{Type: flv.TypeVideo, Timestamp: at, Data: video}) != nil {
			return
		}
		if s.pub.Write(flv.Tag{Type: flv.TypeAudio, Timestamp: at, Data: append([]byte{0xaf, 1}, body...)}) != nil {
			return
		}
	}
	s.mu.Lock()
	s.wrote = time.Now()
	s.mu.Unlock()
}

// watching is a viewer.
type watching struct {
	*audience
	stream string
	began  time.Time
	judged bool
}

func (w *world) view(n *node, stream string) {
	v := &watching{audience: n.watch(stream), stream: stream, began: time.Now()}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.viewers = append(w.viewers, v)
}

// viewEverywhere has somebody watch each name at each node.
func (w *world) viewEverywhere() {
	w.mu.Lock()
	alive := slices.Clone(w.alive)
	watched := make(map[string]bool)
	for _, v := range w.viewers {
		if v.ended() == hub.ReasonNone && !v.node.isDead() {
			watched[v.node.boot+v.stream] = true
		}
	}
	w.mu.Unlock()
	for _, n := range alive {
		for _, stream := range modelNames {
			if !n.isFrozen() && !watched[n.boot+stream] {
				w.view(n, stream)
			}
		}
	}
}

// pause lets time go by, and looks at what has to be so at any time.
func (w *world) pause(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(min(250*time.Millisecond, time.Until(end)))
		w.judge()
		w.requireSound()
	}
}

func (w *world) between(least, most time.Duration) time.Duration {
	return least + time.Duration(w.random.Int64N(int64(most-least)))
}

// later ends a fault after a while, and waits for that in the end.
func (w *world) later(least, most time.Duration, end func()) {
	d := w.between(least, most)
	w.pending.Go(func() {
		time.Sleep(d)
		end()
	})
}

// chaos has things go wrong for a number of steps, and returns when all is well again.
func (w *world) chaos(steps int) {
	only := map[string]bool{} // one of a kind at a time
	var mu sync.Mutex
	once := func(kind string) bool {
		mu.Lock()
		defer mu.Unlock()
		was := only[kind]
		only[kind] = true
		return !was
	}
	over := func(kind string) {
		mu.Lock()
		defer mu.Unlock()
		only[kind] = false
	}
	// short has an engine's fault come and go.
	short := func(kind string, most time.Duration, begin, end func()) {
		if !once(kind) {
			return
		}
		w.wrong("%s", kind)
		begin()
		w.later(100*time.Millisecond, most, func() {
			end()
			w.right("%s", kind)
			over(kind)
		})
	}
	for range steps {
		w.pause(w.between(20*time.Millisecond, 2*time.Second))
		w.viewEverywhere()
		n := w.pick(w.random)
		switch k := w.random.IntN(20); {
		case k < 4:
			query := []string{"", "token=1", "token=2", "token=1" + backup, "token=2" + backup}[w.random.IntN(5)]
			w.spawn(modelNames[w.random.IntN(len(modelNames))], query)
		case k < 6:
			w.mu.Lock()
			var all []*encoder
			for _, e := range w.encoders {
				if !e.isStopped() {
					all = append(all, e)
				}
			}
			w.mu.Unlock()
			if len(all) > 0 {
				all[w.random.IntN(len(all))].leave()
			}
		case k < 8:
			groups := make([][]string, 2)
			for _, other := range w.nodes {
				i := w.random.IntN(2)
				groups[i] = append(groups[i], other.name)
			}
			short(fmt.Sprintf("parted %v", groups), 10*time.Second, func() {
				if once("parted") {
					w.part(groups...)
				}
			}, func() { w.heal(); over("parted") })
		case k < 9:
			short("mute", 6*time.Second, func() { w.engine.Mute(true) }, func() { w.engine.Mute(false) })
		case k < 10:
			short("gone", 6*time.Second, func() { w.engine.Gone(true) }, func() { w.engine.Gone(false) })
		case k < 12 && n != nil:
			var before map[string]uint64
			short("frozen "+n.name, 8*time.Second, func() { before = w.revisions(); n.freeze() }, func() { w.thaw(n, before) })
		case k < 15 && n != nil && once("death"):
			w.restart(n, w.random.IntN(3) == 0, func() { over("death") })
		case k < 16:
			short("lossy", 5*time.Second, func() { w.engine.Lose(0.3) }, func() { w.engine.Lose(0) })
		case k < 17:
			short("doubt", 5*time.Second, func() { w.engine.Doubt(0.3) }, func() { w.engine.Doubt(0) })
		case k < 18:
			short("late", 5*time.Second, func() { w.engine.Late(0.5, memory.Delay{Max: 2 * time.Second}) },
				func() { w.engine.Late(0, memory.Delay{}) })
		case k < 19:
			short("slow", 5*time.Second, func() {
				w.engine.Delay(memory.Delays{
					Records: memory.Delay{Max: 400 * time.Millisecond}, Messages: memory.Delay{Max: 300 * time.Millisecond},
				})
			}, func() { w.engine.Delay(memory.Delays{}) })
		}
	}
	w.logf("healing")
	w.settled(&w.pending)
}

// settled waits for a group, with the judge at work.
func (w *world) settled(g *sync.WaitGroup) {
	done := make(chan struct{})
	go func() { g.Wait(); close(done) }()
	for {
		select {
		case <-done:
			return
		case <-time.After(250 * time.Millisecond):
			w.judge()
			w.requireSound()
		}
	}
}

// restart ends a node, in one way or the other, and starts it again after a while, with another clock.
func (w *world) restart(n *node, properly bool, over func()) {
	w.mu.Lock()
	w.alive = slices.DeleteFunc(w.alive, func(other *node) bool { return other == n })
	w.mu.Unlock()
	w.wrong("%s ends, properly %v", n.name, properly)
	skew := w.between(-20*time.Second, 20*time.Second)
	w.later(100*time.Millisecond, 8*time.Second, func() {
		if properly {
			n.end()
		} else {
			n.kill()
		}
	})
	_ = skew
	w.later(8*time.Second, 12*time.Second, func() {
		again := w.start(n.name, skew)
		w.mu.Lock()
		w.alive = append(w.alive, again)
		w.mu.Unlock()
		w.right("%s is back, %v off", n.name, skew)
		over()
	})
}

// revisions returns those of all records, by their keys.
func (w *world) revisions() map[string]uint64 {
	all := make(map[string]uint64)
	for _, entry := range w.engine.Records() {
		all[entry.Key] = entry.Revision
	}
	return all
}

// thaw has a node go on that stood still when the records had the given revisions, and notes which sessions there have been
// taken over for certain since: what they have not sent yet may reach nobody.
func (w *world) thaw(n *node, before map[string]uint64) {
	records := w.engine.Records()
	w.mu.Lock()
	if w.faults == 1 && time.Since(w.healed) > election { // this one, and somebody decides on records again
		for _, s := range w.shows {
			if s.node != n || s.over && s.frames.Load() == 0 || !s.over && !s.isShown() {
				continue
			}
			for _, entry := range records {
				var o told
				if json.Unmarshal(entry.Value, &o) == nil && o.Stream == key(s.stream).String() && o.Boot != n.boot &&
					entry.Revision != before[entry.Key] {
					s.banned, s.first, s.last = true, int(s.frames.Load()), 0
				}
			}
		}
	}
	w.mu.Unlock()
	n.thaw()
}

// modelRuns returns which seeds are run.
func modelRuns() (first, count uint64) {
	first, count = 1, 5
	if os.Getenv("SLUICE_TEST_LONG") != "" {
		count = 300
	}
	if text := os.Getenv("MODEL_SEED"); text != "" {
		_, _ = fmt.Sscanf(text, "%d+%d", &first, &count)
	}
	return first, count
}

func TestModel(t *testing.T) {
	first, count := modelRuns()
	for seed := first; seed < first+count; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { runModel(t, seed) })
		})
	}
}

// election is how long it may take until somebody decides on records again.
const election = 3 * time.Second

func runModel(t *testing.T, seed uint64) {
	cfg := memory.Config{Seed: seed, Election: memory.Delay{Max: election}, Notice: 200 * time.Millisecond}
	w := &world{
		rig: &rig{t: t, engine: memory.New(cfg), by: make(map[string]*node)}, seed: seed,
		random: rand.New(rand.NewPCG(seed, 16)), began: time.Now(),
		had: make(map[string]string), highest: make(map[string]uint64),
	}
	w.spy = func(d cluster.Directory) cluster.Directory { return &spied{d, w} }
	w.startAll([]int{3, 5}[seed%2])
	w.alive, w.healed = slices.Clone(w.nodes), time.Now()
	defer w.stopAll()
	for range 3 {
		w.chaos(12)
		w.viewEverywhere()
		w.pause(2 * time.Second)
		w.viewEverywhere() // of those who were ended, too, since they had not heard of another owner in time
		w.pause(settledWithin)
		w.judgeSettled()
		w.requireSound()
		w.rivals()
		w.requireSound()
	}
	w.finish()
}

// stopAll ends all encoders and viewers.
func (w *world) stopAll() {
	w.mu.Lock()
	encoders, viewers := slices.Clone(w.encoders), slices.Clone(w.viewers)
	w.mu.Unlock()
	w.engine.Thaw()
	for _, n := range w.nodes {
		n.thaw()
	}
	for _, e := range encoders {
		e.leave()
		<-e.done
	}
	w.pending.Wait()
	for _, v := range viewers {
		v.viewer.Close()
	}
}

func refusalOf(err error) *hub.Refusal {
	refusal, _ := errors.AsType[*hub.Refusal](err)
	return refusal
}

// requireRefused fails unless an error is a refusal for that reason.
func requireRefused(t *testing.T, err error, why hub.Reason) {
	t.Helper()
	refusal := refusalOf(err)
	require.NotNil(t, refusal, "%v", err)
	require.Equal(t, why, refusal.Reason)
}
