package directorytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/hub/cluster"
)

// listen has all nodes listen for a subject, and returns when messages of each reach each: the word that somebody
// listens may need a while to get around.
func (s *suite) listen(t *testing.T, subject string) []*inbox {
	t.Helper()
	inboxes := make([]*inbox, len(s.nodes))
	for i := range s.nodes {
		inboxes[i] = &inbox{}
		stop, err := s.node(i).Listen(subject, inboxes[i].take)
		must(t, err)
		t.Cleanup(stop)
	}
	s.known(t, subject, inboxes)
	return inboxes
}

// known returns when messages of each node reach each inbox.
func (s *suite) known(t *testing.T, subject string, inboxes []*inbox) {
	t.Helper()
	eventually(t, "messages of each node reach each", func() bool {
		missing := false
		for i := range s.nodes {
			probe := fmt.Sprintf("probe %d.", i)
			for _, b := range inboxes {
				if len(b.from(probe)) == 0 {
					missing = true
				}
			}
			if missing {
				must(t, s.node(i).Send(subject, []byte(probe)))
			}
		}
		return !missing
	})
}

// Each message reaches all nodes, its sender too, once, and those of one sender in their order.
func (s *suite) messages(t *testing.T) {
	subject := s.key(t, "a")
	inboxes := s.listen(t, subject)
	const each = 500
	var running sync.WaitGroup
	for i := range s.nodes {
		running.Go(func() {
			for j := range each {
				text := []byte(fmt.Sprintf("node %d: %d", i, j))
				if err := s.node(i).Send(subject, text); err != nil {
					t.Errorf("Send: %v", err)
				}
				clear(text) // it is the sender's again
			}
		})
	}
	running.Wait()
	for at, b := range inboxes {
		for i := range s.nodes {
			prefix := fmt.Sprintf("node %d: ", i)
			eventually(t, fmt.Sprintf("node %d gets all of node %d", at, i), func() bool { return len(b.from(prefix)) >= each })
			for j, text := range b.from(prefix) {
				if text != strconv.Itoa(j) {
					t.Fatalf("node %d has %q of node %d as the one with number %d", at, text, i, j)
				}
			}
		}
	}
}

// A listener is called for one message at a time.
func (s *suite) oneAfterTheOther(t *testing.T) {
	subject := s.key(t, "a")
	var calls, atOnce, most atomic.Int64
	b := &inbox{}
	stop, err := s.node(0).Listen(subject, func(data []byte) {
		b.take(data)
		most.Store(max(most.Load(), atOnce.Add(1)))
		time.Sleep(100 * time.Microsecond)
		atOnce.Add(-1)
		calls.Add(1)
	})
	must(t, err)
	defer stop()
	s.known(t, subject, []*inbox{b})
	const each = 100
	var running sync.WaitGroup
	for i := range s.nodes {
		running.Go(func() {
			for range each {
				_ = s.node(i).Send(subject, []byte("x"))
			}
		})
	}
	running.Wait()
	eventually(t, "all messages are taken", func() bool { return calls.Load() >= int64(each*len(s.nodes)) })
	if most.Load() != 1 {
		t.Errorf("called %d times at once", most.Load())
	}
}

func (s *suite) largeMessages(t *testing.T) {
	subject := s.key(t, "a")
	inboxes := s.listen(t, subject)
	large := bytes.Repeat([]byte("large\x00\r\n"), cluster.MaxMessage/8)
	must(t, s.node(0).Send(subject, large))
	must(t, s.node(0).Send(subject, nil))
	for i, b := range inboxes {
		eventually(t, fmt.Sprintf("node %d gets a large message and an empty one", i), func() bool {
			b.mu.Lock()
			defer b.mu.Unlock()
			return len(b.got) >= 2 && b.got[len(b.got)-2] == string(large) && b.got[len(b.got)-1] == ""
		})
	}
	if err := s.node(0).Send(subject, make([]byte, cluster.MaxMessage+1)); err == nil {
		t.Error("a message that is too large is sent")
	}
	s.known(t, subject, inboxes) // and that has ended nothing
}

func (s *suite) subjects(t *testing.T) {
	names := []string{"a", "a-b", "a.b", "A", "b"}
	inboxes := map[string][]*inbox{}
	for _, name := range names {
		inboxes[name] = s.listen(t, s.key(t, name))
	}
	for _, name := range names {
		must(t, s.node(0).Send(s.key(t, name), []byte("to "+name)))
	}
	for _, name := range names {
		for i, b := range inboxes[name] {
			eventually(t, fmt.Sprintf("node %d gets what is sent to %s", i, name), func() bool { return len(b.from("to ")) > 0 })
			if got := b.from("to "); len(got) != 1 || got[0] != name {
				t.Errorf("node %d: %s gets %v", i, name, got)
			}
		}
	}
}

// A listener that takes its time holds up no other subject and no record.
func (s *suite) slowListener(t *testing.T) {
	slow, fast := s.key(t, "slow"), s.key(t, "fast")
	release := make(chan struct{})
	begun := make(chan struct{}, 1)
	stop, err := s.node(0).Listen(slow, func([]byte) {
		select {
		case begun <- struct{}{}:
		default:
		}
		<-release
	})
	must(t, err)
	defer stop()
	defer close(release)
	inboxes := s.listen(t, fast)
	eventually(t, "the slow one is called", func() bool {
		must(t, s.node(1).Send(slow, nil))
		return len(begun) > 0
	})
	s.known(t, fast, inboxes)
	must(t, s.node(1).Send(fast, []byte("news")))
	eventually(t, "the other one is called", func() bool { return len(inboxes[0].from("news")) > 0 })
	_, err = s.node(0).Create(within(t), s.key(t, "record"), nil)
	must(t, err)
}

// After stop no call begins, and others go on. Stopping from within a call, and twice, is harmless.
func (s *suite) stopListening(t *testing.T) {
	subject := s.key(t, "a")
	staying := s.listen(t, subject)
	leaving := &inbox{}
	var stop func()
	var isStopped atomic.Bool
	ready := make(chan struct{})
	stop, err := s.node(0).Listen(subject, func(data []byte) {
		<-ready
		if isStopped.Load() {
			t.Error("called after stop")
		}
		leaving.take(data)
		if string(data) == "stop" {
			stop()
			isStopped.Store(true)
		}
	})
	close(ready)
	must(t, err)
	s.known(t, subject, []*inbox{leaving})
	must(t, s.node(1).Send(subject, []byte("stop")))
	eventually(t, "it has stopped", isStopped.Load)
	stop()
	for j := range 50 {
		must(t, s.node(j).Send(subject, []byte("late")))
	}
	for i, b := range staying {
		eventually(t, fmt.Sprintf("node %d still gets messages", i), func() bool { return len(b.from("late")) >= 50 })
	}
	if got := leaving.from("late"); len(got) > 0 {
		t.Errorf("%d messages after stop", len(got))
	}
}

// askUntil asks until somebody answers: the word that somebody does may need a while to get around.
func (s *suite) askUntil(t *testing.T, i int, subject string, data []byte) []byte {
	t.Helper()
	var answer []byte
	eventually(t, fmt.Sprintf("node %d gets an answer", i), func() bool {
		var err error
		answer, err = s.node(i).Ask(within(t), subject, data)
		if !errors.Is(err, cluster.ErrNobody) {
			must(t, err)
		}
		return err == nil
	})
	return answer
}

func (s *suite) ask(t *testing.T) {
	for at := range s.nodes {
		subject := s.key(t, fmt.Sprintf("node%d", at))
		stop, err := s.node(at).Answer(subject, func(data []byte) []byte {
			if len(data) == 0 {
				return nil
			}
			return append([]byte("you said "), data...)
		})
		must(t, err)
		for i := range s.nodes {
			for j := range 20 {
				question := fmt.Sprint(i, " ", j)
				if answer := s.askUntil(t, i, subject, []byte(question)); string(answer) != "you said "+question {
					t.Fatalf("the answer to %q is %q", question, answer)
				}
			}
			if answer := s.askUntil(t, i, subject, nil); len(answer) != 0 {
				t.Errorf("the answer is %q", answer)
			}
		}
		for _, other := range []string{"x", ".x"} {
			_, err := s.node(at).Ask(within(t), subject+other, nil)
			mustBe(t, err, cluster.ErrNobody)
		}
		stop()
		stop()
		for i := range s.nodes {
			eventually(t, "nobody answers any more", func() bool {
				// A question may have been on its way to who has left, and is lost then.
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				_, err := s.node(i).Ask(ctx, subject, []byte("x"))
				return errors.Is(err, cluster.ErrNobody)
			})
		}
	}
}

// That nobody answers is known without waiting for the context.
func (s *suite) askNobody(t *testing.T) {
	for i := range s.nodes {
		began := time.Now()
		_, err := s.node(i).Ask(within(t), s.key(t, "nobody"), []byte("x"))
		mustBe(t, err, cluster.ErrNobody)
		if took := time.Since(began); took > patience/2 {
			t.Errorf("node %d knows it after %v", i, took)
		}
	}
}

// A question that takes its time holds up no other one.
func (s *suite) askSideBySide(t *testing.T) {
	subject := s.key(t, "a")
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	stop, err := s.node(0).Answer(subject, func(data []byte) []byte {
		if string(data) == "slow" {
			arrived <- struct{}{}
			<-release
		}
		return data
	})
	must(t, err)
	defer stop()
	for i := range s.nodes {
		s.askUntil(t, i, subject, []byte("hello"))
	}
	var running sync.WaitGroup
	running.Go(func() {
		if answer, err := s.node(1).Ask(within(t), subject, []byte("slow")); err != nil || string(answer) != "slow" {
			t.Errorf("the slow answer is %q, %v", answer, err)
		}
	})
	defer running.Wait()
	defer close(release)
	select {
	case <-arrived:
	case <-time.After(patience):
		t.Fatal("the question does not arrive")
	}
	for i := range s.nodes {
		if answer, err := s.node(i).Ask(within(t), subject, []byte("fast")); err != nil || string(answer) != "fast" {
			t.Errorf("the fast answer is %q, %v", answer, err)
		}
	}
}

// An Ask whose context ends is over, and its answer reaches nobody else.
func (s *suite) askContext(t *testing.T) {
	subject := s.key(t, "a")
	release := make(chan struct{})
	stop, err := s.node(0).Answer(subject, func(data []byte) []byte {
		if string(data) == "late" {
			<-release
		}
		return data
	})
	must(t, err)
	defer stop()
	for i := range s.nodes {
		s.askUntil(t, i, subject, []byte("hello"))
		ctx, cancel := context.WithTimeout(context.Background(), quiet)
		err := soon(t, "Ask", func() error { _, err := s.node(i).Ask(ctx, subject, []byte("late")); return err })
		mustBe(t, err, cluster.ErrMute)
		err = soon(t, "Ask", func() error { _, err := s.node(i).Ask(ctx, subject, []byte("ended")); return err })
		cancel()
		if err != nil {
			mustBe(t, err, cluster.ErrMute)
		}
	}
	close(release)
	for i := range s.nodes {
		if answer := s.askUntil(t, i, subject, []byte("next")); string(answer) != "next" {
			t.Errorf("the answer is %q", answer)
		}
	}
}

func (s *suite) largeAnswers(t *testing.T) {
	subject := s.key(t, "a")
	stop, err := s.node(0).Answer(subject, func(data []byte) []byte {
		size, _ := strconv.Atoi(string(data[:min(len(data), 16)]))
		return bytes.Repeat([]byte{'x'}, size)
	})
	must(t, err)
	defer stop()
	for i := range s.nodes {
		for _, size := range []int{1, 100_000, cluster.MaxMessage} {
			if answer := s.askUntil(t, i, subject, []byte(strconv.Itoa(size))); len(answer) != size || bytes.Count(answer, []byte{'x'}) != size {
				t.Errorf("the answer has %d bytes instead of %d", len(answer), size)
			}
		}
		large := make([]byte, cluster.MaxMessage) // no number
		if answer := s.askUntil(t, i, subject, large); len(answer) != 0 {
			t.Errorf("the answer to a large question has %d bytes", len(answer))
		}
		_, err := s.node(i).Ask(within(t), subject, make([]byte, cluster.MaxMessage+1))
		bad(t, "Ask", "a question that is too large", err)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		answer, err := s.node(i).Ask(ctx, subject, []byte(strconv.Itoa(cluster.MaxMessage+1)))
		cancel()
		if err == nil {
			t.Errorf("an answer of %d bytes arrives", len(answer))
		}
		if answer := s.askUntil(t, i, subject, []byte("3")); string(answer) != "xxx" {
			t.Errorf("the next answer is %q", answer)
		}
	}
}
