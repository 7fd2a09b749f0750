// Package ban keeps a list of those who may neither publish nor watch.
package ban

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"sluice/hub"
	"sluice/hub/access/network"
	"sluice/hub/pattern"
)

// Bounds of lists.
const (
	// MaxBans is how many bans a list has.
	MaxBans = 10_000
	// maxText is how long each text of a ban is, in bytes.
	maxText = 1 << 10
	// sweepEvery is how often those that have ended are looked for, when others are added.
	sweepEvery = time.Minute
)

// Errors of lists; test with errors.Is.
var (
	ErrFull    = fmt.Errorf("ban: there are %d bans already", MaxBans)
	ErrInvalid = errors.New("ban: this is no ban")
	// ErrUnsaved is for a change that counts, and will be lost at a restart.
	ErrUnsaved = errors.New("ban: the list is not written")
)

// Ban is one entry of a list. It is for a session to which everything fits that is set; at
// least one of Network, Stream and Subject is.
type Ban struct {
	ID uint64 // given by Add
	// Network is of clients. One of full length is a single client, by one of its addresses: an
	// IPv6 client has all of its /64 (hub.ClientAddress).
	Network netip.Prefix
	Stream  string    // a pattern, see package pattern
	Subject string    // as hub.Grant tells it
	Role    string    // "publish" or "watch"; empty for both
	Reason  string    // told to those who are banned
	Since   time.Time // given by Add
	Until   time.Time // zero for good

	where  netip.Prefix // Network, or the client's
	stream pattern.Pattern
	known  string // mark's, once it is in a list
}

// prepare checks a ban and brings it to its usual form.
func (b *Ban) prepare() (err error) {
	switch {
	case b.Network == netip.Prefix{} && b.Stream == "" && b.Subject == "":
		return fmt.Errorf("%w: it is for nobody", ErrInvalid)
	case b.Network != netip.Prefix{} && !b.Network.IsValid():
		return fmt.Errorf("%w: its network is none", ErrInvalid)
	case b.Role != "" && b.Role != hub.RolePublish.String() && b.Role != hub.RoleWatch.String():
		return fmt.Errorf("%w: its role is none", ErrInvalid)
	}
	for _, text := range []string{b.Stream, b.Subject, b.Reason} {
		if len(text) > maxText || !utf8.ValidString(text) {
			return fmt.Errorf("%w: a text is not UTF-8, or longer than %d bytes", ErrInvalid, maxText)
		}
	}
	if b.Network.IsValid() {
		b.Network = network.Prefix(b.Network)
		if b.where = b.Network; b.where.IsSingleIP() && b.where.Addr().Is6() {
			b.where = netip.PrefixFrom(hub.ClientAddress(b.where.Addr()), 64)
		}
	}
	if b.Stream == "" {
		return nil
	}
	if b.stream, err = pattern.Parse(b.Stream); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if b.stream.Out() {
		return fmt.Errorf("%w: it takes no stream out", ErrInvalid)
	}
	return nil
}

// fits reports whether all that a ban names besides its network is the session's.
func (b *Ban) fits(s *hub.Session) bool {
	return (b.Role == "" || b.Role == s.Role().String()) &&
		(b.Subject == "" || b.Subject == s.Subject()) &&
		(b.Stream == "" || b.stream.Matches(s.Key().String()))
}

func (b *Ban) ended(now time.Time) bool { return !b.Until.IsZero() && !now.Before(b.Until) }

// List is a list of bans. Its methods may be called from any goroutine.
type List struct {
	path string // empty: in memory only

	mu      sync.RWMutex
	last    uint64 // ID
	bans    map[uint64]*Ban
	index   index
	swept   time.Time
	changes uint64               // of what is to be written
	tell    func(data []byte)    // tells others of what is changed here (Share); nil for nobody
	gone    map[string]time.Time // when may be forgotten which bans were taken out, by their marks

	writing sync.Mutex // taken before mu; guards written
	written uint64     // how many of the changes
}

// Add adds a ban, which counts when Add returns, and returns it with its ID. The error is
// ErrFull, ErrInvalid, or ErrUnsaved; in the last case the ban counts all the same.
func (l *List) Add(b Ban) (Ban, error) {
	added, err := l.AddAll([]Ban{b})
	if len(added) == 0 {
		return Ban{}, err
	}
	return added[0], err
}

// AddAll is Add for several: those are added and returned that come before the first for which
// there is no room, or none if one is invalid. The file is written once.
func (l *List) AddAll(bans []Ban) (added []Ban, err error) {
	for _, b := range bans {
		if err := b.prepare(); err != nil {
			return nil, err
		}
		if b.Since = time.Now(); b.ended(b.Since) {
			return nil, fmt.Errorf("%w: it has ended", ErrInvalid)
		}
		added = append(added, b)
	}
	change, room := l.put(added)
	if room < len(added) {
		added, err = added[:room], ErrFull
	}
	if room == 0 {
		return nil, err
	}
	l.tellAdded(added)
	return added, errors.Join(l.save(change), err)
}

// put takes new bans in, as far as there is room, and gives them their IDs.
func (l *List) put(bans []Ban) (change uint64, room int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); len(l.bans)+len(bans) > MaxBans || now.Sub(l.swept) >= sweepEvery {
		l.sweepLocked(now)
	}
	room = min(len(bans), MaxBans-len(l.bans))
	for i := range bans[:room] {
		l.last++
		bans[i].ID = l.last
		bans[i].known = bans[i].mark()
		kept := bans[i]
		l.bans[kept.ID] = &kept
		l.index.add(&kept)
	}
	if room > 0 {
		l.changes++
	}
	return l.changes, room
}

// sweepLocked forgets the bans that have ended.
func (l *List) sweepLocked(now time.Time) {
	l.swept = now
	before := len(l.bans)
	for id, b := range l.bans {
		if b.ended(now) {
			delete(l.bans, id)
		}
	}
	if len(l.bans) == before {
		return
	}
	l.index = index{}
	for _, b := range l.bans {
		l.index.add(b)
	}
}

// Remove ends a ban. It reports whether there was one; the error is ErrUnsaved, and then it has
// ended all the same.
func (l *List) Remove(id uint64) (bool, error) {
	l.mu.Lock()
	b := l.bans[id]
	found := b != nil && !b.ended(time.Now())
	var told []byte
	if b != nil {
		delete(l.bans, id)
		l.index.remove(b)
		l.changes++
		told = l.goneLocked(b)
	}
	change, tell := l.changes, l.tell
	l.mu.Unlock()
	if b == nil {
		return false, nil
	}
	if told != nil {
		tell(told)
	}
	return found, l.save(change)
}

// Len returns how many bans there are that have not ended.
func (l *List) Len() (n int) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	now := time.Now()
	for _, b := range l.bans {
		if !b.ended(now) {
			n++
		}
	}
	return n
}

// All returns the bans that have not ended, by ID. The caller owns the list.
func (l *List) All() []Ban {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.allLocked()
}

func (l *List) allLocked() []Ban {
	now := time.Now()
	all := make([]Ban, 0, len(l.bans))
	for _, b := range l.bans {
		if !b.ended(now) {
			all = append(all, *b)
		}
	}
	slices.SortFunc(all, func(a, b Ban) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// Match returns a ban of a session, ok false if there is none. The session's stream and subject
// are those of its grant, if it has one.
func (l *List) Match(s *hub.Session) (ban Ban, ok bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if len(l.bans) == 0 {
		return Ban{}, false
	}
	now := time.Now()
	for bans := range l.index.of(s) {
		for _, b := range bans {
			if !b.ended(now) && b.fits(s) {
				return *b, true
			}
		}
	}
	return Ban{}, false
}
