package web

import (
	"container/list"
	"crypto/sha256"
	"encoding/hex"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"sluice/hub"
)

// Bounds on stills.
const (
	// stillMaxAge is how old the key frame of a still may be beyond its stream's newest one: each
	// still is made at most once in so long, however many ask.
	stillMaxAge = time.Second
	// stillKept is for how long a still that nobody asks for is kept.
	stillKept = 30 * time.Second
	// maxStills and maxStillBytes bound the stills that are kept, and their bytes; the one that
	// was not asked for longest goes first.
	maxStills     = 4096
	maxStillBytes = 64 << 20
	// maxHeldStills bounds the bytes of all stills in memory: those that are kept, and those that
	// are being sent, to clients that may be slow. Beyond it none is made.
	maxHeldStills = 256 << 20
	// maxMakingStills is how many are made at a time. Each takes twice its size, and less than
	// a millisecond.
	maxMakingStills = 4
)

// stillCache makes the stills of streams and keeps them for a while. No goroutine of its own waits:
// a timer runs as long as there are some.
//
//	get ─▶ made ─▶ kept, and sent to any number ──30 s not asked for, or room is needed──▶ gone
//	        ▲       │
//	        └───────┘ after 1 s, if there is a newer key frame
type stillCache struct {
	take   func(hub.Key, hub.StillMark) (hub.Still, error)
	flight singleflight.Group
	turns  chan struct{} // holds one for each that is being made

	mu    sync.Mutex
	made  map[hub.Key]*madeStill
	asked list.List   // of *madeStill, all of made, the last asked for first
	bytes int64       // of all of made
	held  int64       // of these, and of those that are sent
	sweep *time.Timer // nil while nothing is kept
}

// madeStill is the still of one key frame, or why there is none of it.
type madeStill struct {
	key  hub.Key
	mark hub.StillMark
	body []byte // nobody changes it
	etag string
	err  error

	// Guarded by stillCache.mu.
	looked time.Time // when it was the newest
	asked  time.Time
	users  int           // who send it
	place  *list.Element // in stillCache.asked; nil when it is not kept any more
}

func newStillCache(take func(hub.Key, hub.StillMark) (hub.Still, error)) *stillCache {
	return &stillCache{take: take, turns: make(chan struct{}, maxMakingStills), made: make(map[hub.Key]*madeStill)}
}

// get returns the still of a stream; release must be called when it is used no more. The error
// is a *hub.Refusal.
func (s *stillCache) get(key hub.Key) (still *madeStill, release func(), err error) {
	if still = s.fresh(key); still == nil {
		made, err, _ := s.flight.Do(key.String(), func() (any, error) {
			if still := s.fresh(key); still != nil { // made since the look above
				s.release(still)
				return still, nil
			}
			return s.make(key)
		})
		if err != nil {
			return nil, nil, err
		}
		still = made.(*madeStill)
		s.use(still)
	}
	if still.err != nil {
		s.release(still)
		return nil, nil, still.err
	}
	return still, sync.OnceFunc(func() { s.release(still) }), nil
}

// fresh returns the still of a stream, used, if it need not be looked at again; else nil.
func (s *stillCache) fresh(key hub.Key) *madeStill {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	still := s.made[key]
	if still == nil || now.Sub(still.looked) >= stillMaxAge {
		return nil
	}
	still.asked = now
	s.asked.MoveToFront(still.place)
	s.useLocked(still)
	return still
}

// make looks at the newest key frame, and makes a still of it unless there is one.
func (s *stillCache) make(key hub.Key) (*madeStill, error) {
	s.turns <- struct{}{}
	defer func() { <-s.turns }()
	have, err := s.before(key)
	if err != nil {
		return nil, err
	}
	var mark hub.StillMark
	if have != nil {
		mark = have.mark
	}
	newest, err := s.take(key, mark)
	if err == nil && have != nil && newest.Mark == mark {
		s.keep(have)
		return have, nil
	}
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if old := s.made[key]; old != nil {
			s.dropLocked(old)
		}
		return nil, err
	}
	still := &madeStill{key: key, mark: newest.Mark}
	if still.body, still.err = makeStill(key, newest); still.err == nil {
		sum := sha256.Sum256(still.body)
		still.etag = `"` + hex.EncodeToString(sum[:12]) + `"`
	}
	s.keep(still)
	return still, nil
}

// before returns the still that is kept of a stream, nil if there is none. The error says that
// there is no room for a further one.
func (s *stillCache) before(key hub.Key) (*madeStill, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held > maxHeldStills {
		return nil, &hub.Refusal{Reason: hub.ReasonTooMany, Detail: "too many stills are being sent"}
	}
	return s.made[key], nil
}

// keep keeps a still as that of its stream, the newest as of now.
func (s *stillCache) keep(still *madeStill) {
	s.mu.Lock()
	defer s.mu.Unlock()
	still.looked = time.Now()
	still.asked = still.looked
	if still.place != nil {
		s.asked.MoveToFront(still.place)
		return
	}
	if old := s.made[still.key]; old != nil {
		s.dropLocked(old)
	}
	if still.users == 0 {
		s.held += int64(len(still.body))
	}
	s.bytes += int64(len(still.body))
	still.place = s.asked.PushFront(still)
	s.made[still.key] = still
	for s.asked.Len() > maxStills || s.bytes > maxStillBytes {
		s.dropLocked(s.asked.Back().Value.(*madeStill))
	}
	if s.sweep == nil {
		s.sweep = time.AfterFunc(stillKept, s.forget)
	}
}

// forget drops what was not asked for, and comes again if anything is left.
func (s *stillCache) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for {
		last := s.asked.Back()
		if last == nil {
			s.sweep = nil
			return
		}
		still := last.Value.(*madeStill)
		if left := stillKept - now.Sub(still.asked); left > 0 {
			s.sweep.Reset(left)
			return
		}
		s.dropLocked(still)
	}
}

// dropLocked keeps a still no longer. It stays in memory for those who send it.
func (s *stillCache) dropLocked(still *madeStill) {
	s.asked.Remove(still.place)
	still.place = nil
	delete(s.made, still.key)
	s.bytes -= int64(len(still.body))
	if still.users == 0 {
		s.held -= int64(len(still.body))
	}
}

func (s *stillCache) use(still *madeStill) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.useLocked(still)
}

func (s *stillCache) useLocked(still *madeStill) {
	if still.users++; still.users == 1 && still.place == nil { // it was dropped at this moment
		s.held += int64(len(still.body))
	}
}

func (s *stillCache) release(still *madeStill) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if still.users--; still.users == 0 && still.place == nil {
		s.held -= int64(len(still.body))
	}
}
