package memory

import (
	"context"
	"fmt"
	"slices"
	"time"

	"sluice/hub/cluster"
)

// Bounds of what waits at a node.
const (
	maxQueued    = 1 << 16 // messages for a listener; more are lost
	maxAnswering = 64      // calls of one answerer at a time; more wait
)

// listener is one Listen. Its goroutine ends with it.
type listener struct {
	node    *Node
	subject string
	f       func([]byte)
	news    chan struct{} // 1 deep: the queue has another head
	stopped chan struct{}

	// Guarded by the engine's mutex.
	queue []message // by the time at which they are due
	last  map[*Node]time.Time
	ended bool
}

type message struct {
	due  time.Time
	data []byte
}

// Send implements cluster.Directory.
func (n *Node) Send(subject string, data []byte) error {
	if err := check(subject, data); err != nil {
		return err
	}
	if err := n.awake(); err != nil {
		return err
	}
	e := n.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.connectedLocked(n) {
		return cluster.ErrMute
	}
	for _, to := range e.nodes {
		if e.groupLocked(to.name) != e.groupLocked(n.name) || to != n && e.chanceLocked(e.lost) {
			continue
		}
		due := time.Now().Add(e.drawLocked(e.delays.Messages))
		for _, l := range to.listeners {
			if l.subject == subject {
				l.pushLocked(n, message{due, slices.Clone(data)})
			}
		}
	}
	return nil
}

// pushLocked puts a message in its place.
func (l *listener) pushLocked(from *Node, m message) {
	if len(l.queue) >= maxQueued {
		return
	}
	if last := l.last[from]; m.due.Before(last) {
		m.due = last
	}
	l.last[from] = m.due
	at := len(l.queue)
	for at > 0 && l.queue[at-1].due.After(m.due) {
		at--
	}
	l.queue = slices.Insert(l.queue, at, m)
	if at == 0 {
		select {
		case l.news <- struct{}{}:
		default:
		}
	}
}

// Listen implements cluster.Directory.
func (n *Node) Listen(subject string, f func([]byte)) (stop func(), err error) {
	if err := check(subject, nil); err != nil {
		return nil, err
	}
	if err := n.awake(); err != nil {
		return nil, err
	}
	l := &listener{
		node: n, subject: subject, f: f,
		news: make(chan struct{}, 1), stopped: make(chan struct{}), last: map[*Node]time.Time{},
	}
	n.engine.mu.Lock()
	defer n.engine.mu.Unlock()
	if n.ended {
		return nil, errStopped
	}
	n.listeners = append(n.listeners, l)
	n.running.Go(l.run)
	return l.stop, nil
}

func (l *listener) stop() {
	l.node.engine.mu.Lock()
	defer l.node.engine.mu.Unlock()
	if l.ended {
		return
	}
	l.ended, l.queue = true, nil
	close(l.stopped)
	l.node.listeners = slices.DeleteFunc(l.node.listeners, func(other *listener) bool { return other == l })
}

// run calls f for each message when it is due.
func (l *listener) run() {
	for {
		data, wait, ok := l.next()
		switch {
		case !ok:
			return
		case wait == 0:
			l.f(data)
			continue
		}
		var due <-chan time.Time
		var timer *time.Timer
		if wait > 0 {
			timer = time.NewTimer(wait)
			due = timer.C
		}
		select {
		case <-due:
		case <-l.news:
		case <-l.stopped:
		case <-l.node.stopped:
		}
		if timer != nil {
			timer.Stop()
		}
	}
}

// next takes the message that is due, or returns how long to wait for one, negative where none waits; false when
// the listener has ended.
func (l *listener) next() (data []byte, wait time.Duration, ok bool) {
	if l.node.awake() != nil {
		return nil, 0, false
	}
	e := l.node.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case l.ended || l.node.ended:
		return nil, 0, false
	case l.node.frozen != nil: // just now: it looks again when it has thawed
		return nil, 1, true
	case len(l.queue) == 0:
		return nil, -1, true
	}
	if wait = time.Until(l.queue[0].due); wait > 0 {
		return nil, wait, true
	}
	data = l.queue[0].data
	l.queue = slices.Delete(l.queue, 0, 1)
	return data, 0, true
}

// answerer is one Answer.
type answerer struct {
	node    *Node
	subject string
	f       func([]byte) []byte
	slots   chan struct{}
}

// Answer implements cluster.Directory. Where several answer for a subject, the first node that can be reached does.
func (n *Node) Answer(subject string, f func([]byte) []byte) (stop func(), err error) {
	if err := check(subject, nil); err != nil {
		return nil, err
	}
	if err := n.awake(); err != nil {
		return nil, err
	}
	a := &answerer{n, subject, f, make(chan struct{}, maxAnswering)}
	n.engine.mu.Lock()
	defer n.engine.mu.Unlock()
	if n.ended {
		return nil, errStopped
	}
	n.answerers = append(n.answerers, a)
	return a.stop, nil
}

func (a *answerer) stop() {
	a.node.engine.mu.Lock()
	defer a.node.engine.mu.Unlock()
	a.node.answerers = slices.DeleteFunc(a.node.answerers, func(other *answerer) bool { return other == a })
}

// answererLocked returns who answers n for the subject. hidden says that there is one beyond a partition that
// nobody has noticed yet.
func (e *Engine) answererLocked(n *Node, subject string) (found *answerer, hidden bool) {
	for _, to := range e.nodes {
		for _, a := range to.answerers {
			switch {
			case a.subject != subject:
			case e.groupLocked(to.name) == e.groupLocked(n.name):
				return a, false
			case time.Since(e.parted) < e.cfg.Notice:
				hidden = true
			}
		}
	}
	return nil, hidden
}

// reply is what comes of a question.
type reply struct {
	data []byte
	err  error
}

// Ask implements cluster.Directory. A question that has arrived is answered, also when its context has ended
// meanwhile.
func (n *Node) Ask(ctx context.Context, subject string, data []byte) ([]byte, error) {
	if err := check(subject, data); err != nil {
		return nil, err
	}
	if err := n.awake(); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, muteBy(ctx)
	}
	e := n.engine
	e.mu.Lock()
	to, hidden := e.answererLocked(n, subject)
	hidden = hidden || !e.connectedLocked(n)
	if to == nil && !hidden {
		e.mu.Unlock()
		return nil, cluster.ErrNobody
	}
	replies := make(chan reply, 1)
	if !hidden && (to.node == n || !e.chanceLocked(e.lost)) {
		delay := e.drawLocked(e.delays.Messages)
		data := slices.Clone(data)
		to.node.running.Go(func() { to.take(n, delay, data, replies) })
	}
	e.mu.Unlock()

	var answer reply
	select {
	case answer = <-replies:
	case <-ctx.Done():
		answer.err = muteBy(ctx)
	case <-n.stopped:
	}
	if err := n.awake(); err != nil {
		return nil, err
	}
	return answer.data, answer.err
}

// take answers a question that arrives after delay.
func (a *answerer) take(from *Node, delay time.Duration, data []byte, replies chan<- reply) {
	if !a.node.sleep(context.Background(), delay) || a.node.awake() != nil {
		return
	}
	select {
	case a.slots <- struct{}{}:
	case <-a.node.stopped:
		return
	}
	answer := reply{data: a.f(data)}
	<-a.slots
	if a.node.awake() != nil {
		return
	}
	if len(answer.data) > cluster.MaxMessage {
		answer = reply{err: fmt.Errorf("cluster: the answer has more than %d bytes", cluster.MaxMessage)}
	}
	e := a.node.engine
	e.mu.Lock()
	lost := a.node != from && e.chanceLocked(e.lost) || e.gone || e.groupLocked(from.name) != e.groupLocked(a.node.name)
	delay = e.drawLocked(e.delays.Messages)
	e.mu.Unlock()
	if !lost && a.node.sleep(context.Background(), delay) {
		replies <- reply{data: slices.Clone(answer.data), err: answer.err}
	}
}
