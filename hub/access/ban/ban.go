// Package ban is a list of who may not publish or watch, which outlasts a restart.
package ban

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"sluice/hub"
	"sluice/hub/pattern"
)

// MaxBans bounds a list.
const MaxBans = 10_000

// Errors of lists; test with errors.Is.
var (
	ErrFull    = fmt.Errorf("ban: there are %d bans already", MaxBans)
	ErrInvalid = errors.New("ban: nobody is named")
)

// Ban is one entry of a list. It is for a session to which everything fits that is set; at
// least one of Network, Stream and Subject is.
type Ban struct {
	ID      uint64          // given by Add
	Network netip.Prefix    // of clients; a single address is one of full length
	Stream  string          // a pattern, see package pattern
	Subject string          // as hub.Grant tells it
	Role    string          // "publish" or "watch"; empty for both
	Reason  string          // told to whoever is banned
	Since   time.Time       // given by Add
	Until   time.Time       // zero for good
	stream  pattern.Pattern // of Stream
}

// stored is a Ban in the file.
type stored struct {
	ID      uint64       `json:"id"`
	Network netip.Prefix `json:"network,omitzero"`
	Stream  string       `json:"stream,omitempty"`
	Subject string       `json:"subject,omitempty"`
	Role    string       `json:"role,omitempty"`
	Reason  string       `json:"reason,omitempty"`
	Since   time.Time    `json:"since"`
	Until   time.Time    `json:"until,omitzero"`
}

// List is a list of bans. Its methods may be called from any goroutine.
type List struct {
	path string // empty: in memory only

	mu      sync.RWMutex
	last    uint64
	bans    map[uint64]*Ban
	clients map[netip.Addr][]*Ban // those of one address, by it
	others  []*Ban

	writing sync.Mutex // orders writes of the file; taken before mu
}

// fileName is the list's file in the folder of state.
const fileName = "bans.json"

// maxFile bounds the file, in bytes.
const maxFile = 64 << 20

// Open returns the list that is kept in a folder, which must exist; empty for one that is kept
// in memory only.
func Open(dir string) (*List, error) {
	l := &List{bans: make(map[uint64]*Ban), clients: make(map[netip.Addr][]*Ban)}
	if dir == "" {
		return l, nil
	}
	l.path = filepath.Join(dir, fileName)
	if err := l.load(); err != nil {
		return nil, fmt.Errorf("ban: %s: %w", l.path, err)
	}
	return l, nil
}

func (l *List) load() error {
	info, err := os.Stat(l.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Size() > maxFile:
		return fmt.Errorf("is larger than %d bytes", maxFile)
	}
	text, err := os.ReadFile(l.path)
	if err != nil {
		return err
	}
	var all []stored
	if err := json.Unmarshal(text, &all); err != nil {
		return fmt.Errorf("is damaged: %w", err)
	}
	for _, s := range all {
		b := &Ban{ID: s.ID, Network: s.Network, Stream: s.Stream, Subject: s.Subject, Role: s.Role, Reason: s.Reason, Since: s.Since, Until: s.Until}
		if err := b.prepare(); err != nil {
			return fmt.Errorf("is damaged: %w", err)
		}
		l.last = max(l.last, b.ID)
		l.putLocked(b)
	}
	return nil
}

// prepare checks a ban and brings it to its usual form.
func (b *Ban) prepare() (err error) {
	if !b.Network.IsValid() && b.Stream == "" && b.Subject == "" {
		return ErrInvalid
	}
	if b.Network.IsValid() {
		if addr := b.Network.Addr(); addr.Is4In6() && b.Network.Bits() >= 96 {
			b.Network = netip.PrefixFrom(addr.Unmap(), b.Network.Bits()-96)
		}
		b.Network = b.Network.Masked()
	}
	if b.Stream != "" {
		if b.stream, err = pattern.Parse(b.Stream); err != nil {
			return err
		}
		if b.stream.Out() {
			return fmt.Errorf("%w: a ban takes nothing out", pattern.ErrSyntax)
		}
	}
	return nil
}

// Add adds a ban, which counts when Add returns, and returns it with its ID. The error is
// ErrFull, ErrInvalid, that of its pattern, or why the list cannot be written; in the last case
// the ban counts all the same.
func (l *List) Add(b Ban) (Ban, error) {
	if err := b.prepare(); err != nil {
		return Ban{}, err
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	b.Since = time.Now()
	if err := l.put(&b); err != nil {
		return Ban{}, err
	}
	return b, l.write()
}

// put takes a new ban in.
func (l *List) put(b *Ban) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.bans) >= MaxBans {
		l.dropEndedLocked(time.Now())
	}
	if len(l.bans) >= MaxBans {
		return ErrFull
	}
	l.last++
	b.ID = l.last
	kept := *b
	l.putLocked(&kept)
	return nil
}

// Remove ends a ban. It reports whether there was one; the error is why the list cannot be
// written.
func (l *List) Remove(id uint64) (bool, error) {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	b := l.bans[id]
	if b != nil {
		l.dropLocked(b)
	}
	l.mu.Unlock()
	if b == nil {
		return false, nil
	}
	return true, l.write()
}

// All returns the bans that have not ended, by ID. The caller owns the list.
func (l *List) All() []Ban {
	l.mu.RLock()
	defer l.mu.RUnlock()
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

// Match returns a ban of a session, ok false if there is none.
func (l *List) Match(s *hub.Session) (ban Ban, ok bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if len(l.bans) == 0 {
		return Ban{}, false
	}
	now, addr := time.Now(), s.Client().Address.Addr().Unmap().WithZone("")
	for _, list := range [][]*Ban{l.clients[addr], l.others} {
		for _, b := range list {
			if !b.ended(now) && b.fits(s, addr) {
				return *b, true
			}
		}
	}
	return Ban{}, false
}

// fits reports whether everything that a ban names is the session's.
func (b *Ban) fits(s *hub.Session, addr netip.Addr) bool {
	return (b.Role == "" || b.Role == s.Role().String()) &&
		(!b.Network.IsValid() || b.Network.Contains(addr)) &&
		(b.Subject == "" || b.Subject == s.Subject()) &&
		(b.Stream == "" || b.stream.Matches(s.Key().String()))
}

func (b *Ban) ended(now time.Time) bool { return !b.Until.IsZero() && !now.Before(b.Until) }

// client returns the one address that a ban is for, if it is for one.
func (b *Ban) client() (addr netip.Addr, ok bool) {
	return b.Network.Addr(), b.Network.IsValid() && b.Network.IsSingleIP()
}

func (l *List) putLocked(b *Ban) {
	l.bans[b.ID] = b
	if addr, ok := b.client(); ok {
		l.clients[addr] = append(l.clients[addr], b)
	} else {
		l.others = append(l.others, b)
	}
}

func (l *List) dropLocked(b *Ban) {
	delete(l.bans, b.ID)
	is := func(other *Ban) bool { return other == b }
	addr, ok := b.client()
	if !ok {
		l.others = slices.DeleteFunc(l.others, is)
		return
	}
	if l.clients[addr] = slices.DeleteFunc(l.clients[addr], is); len(l.clients[addr]) == 0 {
		delete(l.clients, addr)
	}
}

func (l *List) dropEndedLocked(now time.Time) {
	for _, b := range l.bans {
		if b.ended(now) {
			l.dropLocked(b)
		}
	}
}

// write brings the list to the disk, whole or not at all.
func (l *List) write() error {
	if l.path == "" {
		return nil
	}
	all := []stored{}
	for _, b := range l.All() {
		all = append(all, stored{b.ID, b.Network, b.Stream, b.Subject, b.Role, b.Reason, b.Since, b.Until})
	}
	text, err := json.MarshalIndent(all, "", "\t")
	if err != nil {
		return err
	}
	if err := replaceFile(l.path, append(text, '\n')); err != nil {
		return fmt.Errorf("ban: the list is not written: %w", err)
	}
	return nil
}

// replaceFile writes a file of another name and puts it into the place of path.
func replaceFile(path string, text []byte) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
