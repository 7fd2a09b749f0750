package hook

import (
	"container/list"
	"context"
	"sync"

	"sluice/hub"
)

// slots are places for requests. Where none is free, publishers and viewers wait for one in the
// order in which they come, and get them by turns: a crowd of viewers keeps no publisher waiting, who
// has only its grace time to come back.
type slots struct {
	mu     sync.Mutex
	free   int
	queues [hub.RoleWatch + 1]list.List // of chan struct{}, closed when the place is given, by role
	turn   hub.Role                     // who was given one last
}

// take waits for a place until ctx ends, whose cause it then returns. A place is to be given back.
func (s *slots) take(ctx context.Context, role hub.Role) error {
	s.mu.Lock()
	if s.free > 0 {
		s.free--
		s.mu.Unlock()
		return nil
	}
	given := make(chan struct{})
	queue := &s.queues[role]
	place := queue.PushBack(given)
	s.mu.Unlock()
	select {
	case <-given:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-given: // just now
		s.giveLocked()
	default:
		queue.Remove(place)
	}
	return context.Cause(ctx)
}

// give gives a place back.
func (s *slots) give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.giveLocked()
}

func (s *slots) giveLocked() {
	for range s.queues {
		s.turn = (s.turn + 1) % hub.Role(len(s.queues))
		queue := &s.queues[s.turn]
		if next := queue.Front(); next != nil {
			close(queue.Remove(next).(chan struct{}))
			return
		}
	}
	s.free++
}
