package archive

import (
	"context"
	"time"
)

// Why recordings are deleted to make room, as the log says.
const (
	reasonAge    = "older than is kept"
	reasonStream = "the stream has more bytes than are kept"
	reasonTotal  = "more bytes than are kept"
	reasonFree   = "too little is free"
)

// maxFailures is after how many files that cannot be deleted MakeRoom gives up.
const maxFailures = 16

// victim is a recording that is to be deleted.
type victim struct {
	*entry
	reason string
}

// MakeRoom deletes the oldest finished recordings beyond what Config keeps, and further
// ones while less than MinFree is free. It returns how many bytes more would have to be
// free, 0 if there is room.
//
// All recordings count in the bytes, but for those that are being written. Deleted are
// those of ours and those that were put there by hand, in the order in which they began,
// whether somebody plays them or not; never one that is pinned or written. What a player
// has open becomes free only when it closes it, and counts for nothing until then.
func (a *Archive) MakeRoom(ctx context.Context) (short int64, err error) {
	select {
	case a.room <- struct{}{}:
		defer func() { <-a.room }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	lacking, err := a.lacking()
	if err != nil {
		return 0, err
	}
	failures := 0
	for _, v := range a.victims(time.Now(), lacking) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		a.mu.Lock()
		claimed := !v.pinned && v.claimLocked()
		a.mu.Unlock()
		if !claimed {
			continue
		}
		if failed := a.remove(v.entry, v.reason); failed != nil {
			err = failed
			if failures++; failures == maxFailures {
				break
			}
		}
	}
	short, errFree := a.lacking()
	if err == nil {
		err = errFree
	}
	return short, err
}

// lacking returns how many bytes less than MinFree are free.
func (a *Archive) lacking() (int64, error) {
	if a.cfg.MinFree <= 0 {
		return 0, nil
	}
	free, known, err := a.free()
	if err != nil || !known {
		return 0, err
	}
	return max(a.cfg.MinFree-free, 0), nil
}

// victims returns what has to be deleted, the oldest first under each rule, so that
// lacking bytes more are free.
func (a *Archive) victims(now time.Time, lacking int64) []victim {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := plan{
		chosen: map[*entry]bool{},
		bytes:  map[*stream]int64{},
	}
	if a.cfg.Keep > 0 {
		oldest := now.Add(-a.cfg.Keep)
		p.choose(a.byTime, reasonAge, func(e *entry) (wanted, more bool) {
			begin := time.UnixMilli(e.begin)
			return begin.Add(e.duration).Before(oldest), begin.Before(oldest)
		})
	}
	if limit := a.cfg.KeepBytesPerStream; limit > 0 {
		for _, s := range a.streams {
			p.choose(s.byTime, reasonStream, func(*entry) (wanted, more bool) {
				over := s.bytes-p.bytes[s] > limit
				return over, over
			})
		}
	}
	if limit := a.cfg.KeepBytes; limit > 0 {
		p.choose(a.byTime, reasonTotal, func(*entry) (wanted, more bool) {
			over := a.bytes-p.total > limit
			return over, over
		})
	}
	p.choose(a.byTime, reasonFree, func(*entry) (wanted, more bool) {
		return p.freed < lacking, p.freed < lacking
	})
	return p.victims
}

// plan is what is chosen to be deleted.
type plan struct {
	victims []victim
	chosen  map[*entry]bool
	bytes   map[*stream]int64 // chosen of each
	total   int64
	freed   int64 // of it, what nobody has open
}

// choose goes through entries, the oldest first, as long as want says that there may be
// more that are wanted.
func (p *plan) choose(entries []*entry, reason string, want func(*entry) (wanted, more bool)) {
	for _, e := range entries {
		wanted, more := want(e)
		if !more {
			return
		}
		if !wanted || p.chosen[e] || e.pinned || e.writer != nil || e.claim != nil {
			continue
		}
		p.chosen[e] = true
		p.victims = append(p.victims, victim{e, reason})
		p.bytes[e.stream] += e.size
		p.total += e.size
		if e.shared == nil {
			p.freed += e.size
		}
	}
}
