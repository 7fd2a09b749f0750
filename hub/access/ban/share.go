package ban

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Several servers that are one have a list each, and all are to have the same bans. A ban is known by what it says,
// and when it was made: it never changes, it only ends. So lists are brought together in any order, however often:
// what is in one of them is put into the other, unless it was taken out anywhere. What was taken out is remembered,
// by its mark, in memory.

const (
	// goneFor is how long it is remembered that a ban for good, or for longer, was taken out.
	goneFor = 30 * 24 * time.Hour
	// maxGone is how many of those are remembered: those that were taken out last.
	maxGone = MaxBans
	// maxPage bounds what Page returns, in bytes, but for what was taken out.
	maxPage = 256 << 10
)

// Share has tell called for each change that is made here (Add, AddAll, Remove), with what others are to Take; it
// must not block. It is called before the list is used.
func (l *List) Share(tell func(data []byte)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tell = tell
}

// change is what lists tell each other.
type change struct {
	Bans []storedBan `json:"bans,omitempty"` // without their IDs
	Gone []goneBan   `json:"gone,omitempty"`
}

// goneBan is a ban that was taken out.
type goneBan struct {
	Mark  string    `json:"mark"`
	Until time.Time `json:"until"` // when that may be forgotten
}

// mark returns by what a ban is known at all servers.
func (b *Ban) mark() string {
	if b.known != "" {
		return b.known
	}
	until := int64(0)
	if !b.Until.IsZero() {
		until = b.Until.UnixNano()
	}
	text := fmt.Sprintf("%s\x00%s\x00%s\x00%s\x00%d\x00%d", b.Network, b.Stream, b.Subject, b.Role, b.Since.UnixNano(), until)
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}

func (b *Ban) stored() storedBan {
	return storedBan{b.ID, b.Network, b.Stream, b.Subject, b.Role, b.Reason, b.Since, b.Until}
}

// tellAdded tells others of bans that were added here.
func (l *List) tellAdded(bans []Ban) {
	l.mu.RLock()
	tell := l.tell
	l.mu.RUnlock()
	if tell == nil {
		return
	}
	var c change
	size := 0
	for i := range bans {
		s := bans[i].stored()
		s.ID = 0
		if size += sizeOf(&s); size > maxPage && len(c.Bans) > 0 {
			tell(encode(&c))
			c.Bans, size = nil, sizeOf(&s)
		}
		c.Bans = append(c.Bans, s)
	}
	tell(encode(&c))
}

func encode(c *change) []byte {
	b, err := json.Marshal(c)
	if err != nil {
		panic(err) // of texts and times
	}
	return b
}

// sizeOf bounds how long a ban is as JSON, for texts that are mostly letters.
func sizeOf(s *storedBan) int { return 256 + 2*(len(s.Stream)+len(s.Subject)+len(s.Reason)) }

// goneLocked notes that a ban was taken out, and returns what others are told of that; nil where nobody is.
func (l *List) goneLocked(b *Ban) []byte {
	if l.tell == nil {
		return nil
	}
	g := goneBan{b.mark(), time.Now().Add(goneFor)}
	if !b.Until.IsZero() && b.Until.Before(g.Until) {
		g.Until = b.Until
	}
	l.forgetBanLocked(g)
	return encode(&change{Gone: []goneBan{g}})
}

// forgetBanLocked remembers that a ban was taken out.
func (l *List) forgetBanLocked(g goneBan) {
	if l.gone == nil {
		l.gone = make(map[string]time.Time)
	}
	l.gone[g.Mark] = g.Until
	if len(l.gone) <= maxGone {
		return
	}
	now, oldest := time.Now(), g
	for mark, until := range l.gone {
		switch {
		case !now.Before(until):
			delete(l.gone, mark)
		case until.Before(oldest.Until):
			oldest = goneBan{mark, until}
		}
	}
	if len(l.gone) > maxGone {
		delete(l.gone, oldest.Mark)
	}
}

// Digest is the same for lists that have the same bans.
func (l *List) Digest() (sum uint64) {
	for _, b := range l.All() {
		mark, err := hex.DecodeString(b.mark())
		if err != nil {
			panic(err) // it was encoded just now
		}
		sum += binary.BigEndian.Uint64(mark)
	}
	return sum
}

// Page returns bans behind one, by ID, as others Take them, and behind which the next page begins: 0 for none. With
// the first page comes what was taken out.
func (l *List) Page(after uint64) (data []byte, next uint64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var c change
	if now := time.Now(); after == 0 {
		for mark, until := range l.gone {
			if len(c.Gone) < maxGonePage && now.Before(until) {
				c.Gone = append(c.Gone, goneBan{mark, until})
			}
		}
	}
	size := 0
	for _, b := range l.allLocked() {
		if b.ID <= after {
			continue
		}
		s := b.stored()
		if size += sizeOf(&s); size > maxPage && len(c.Bans) > 0 {
			return encode(&c), after
		}
		after, s.ID = b.ID, 0
		c.Bans = append(c.Bans, s)
	}
	return encode(&c), 0
}

// maxGonePage bounds what was taken out of which a page tells: some 80 bytes each.
const maxGonePage = 3000

// Take takes in what another server has, and takes out what was taken out there. The error is ErrInvalid for what no list
// tells, which changes nothing, ErrFull or ErrUnsaved.
func (l *List) Take(data []byte) error {
	var c change
	if err := json.Unmarshal(data, &c); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	now, latest := time.Now(), time.Now().Add(goneFor)
	var bans []Ban
	for _, s := range c.Bans {
		b := Ban{
			Network: s.Network, Stream: s.Stream, Subject: s.Subject, Role: s.Role, Reason: s.Reason, Since: s.Since, Until: s.Until,
		}
		if err := b.prepare(); err != nil {
			return err
		}
		if !b.ended(now) {
			bans = append(bans, b)
		}
	}
	number, changed, room := l.merge(bans, slices.DeleteFunc(c.Gone, func(g goneBan) bool {
		return len(g.Mark) != 32 || !now.Before(g.Until) || g.Until.After(latest.Add(time.Hour))
	}))
	var err error
	if !room {
		err = ErrFull
	}
	if !changed {
		return err
	}
	return errors.Join(l.save(number), err)
}

// merge brings in what another list has. room is false if there was not enough.
func (l *List) merge(bans []Ban, gone []goneBan) (number uint64, changed, room bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	known := make(map[string]*Ban, len(l.bans))
	for _, b := range l.bans {
		known[b.mark()] = b
	}
	for _, g := range gone {
		l.forgetBanLocked(g)
		if b := known[g.Mark]; b != nil {
			delete(l.bans, b.ID)
			l.index.remove(b)
			changed = true
		}
	}
	room = true
	for i := range bans {
		b := &bans[i]
		mark := b.mark()
		if _, out := l.gone[mark]; out || known[mark] != nil {
			continue
		}
		if len(l.bans) >= MaxBans {
			l.sweepLocked(time.Now())
		}
		if len(l.bans) >= MaxBans {
			room = false
			break
		}
		l.last++
		b.ID, b.known = l.last, mark
		l.bans[b.ID], known[mark] = b, b
		l.index.add(b)
		changed = true
	}
	if changed {
		l.changes++
	}
	return l.changes, changed, room
}
