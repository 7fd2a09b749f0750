package ban

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"sluice/hub/durable"
)

// fileName is the list's file in the folder of state.
const fileName = "bans.json"

// maxFile bounds the file, in bytes: there is room for MaxBans with three of the longest texts,
// each byte of which JSON may write as six.
const maxFile = MaxBans * (3*6*maxText + 1<<10)

// maxID is more than are ever given, and what every reader of JSON can count to.
const maxID = 1 << 53

// stored is the file.
type stored struct {
	// Last is the last ID that was given, so that none is given twice: who ends a ban by it must
	// not end a later one.
	Last uint64      `json:"last"`
	Bans []storedBan `json:"bans"`
}

// storedBan is a Ban in the file.
type storedBan struct {
	ID      uint64       `json:"id"`
	Network netip.Prefix `json:"network,omitzero"`
	Stream  string       `json:"stream,omitempty"`
	Subject string       `json:"subject,omitempty"`
	Role    string       `json:"role,omitempty"`
	Reason  string       `json:"reason,omitempty"`
	Since   time.Time    `json:"since"`
	Until   time.Time    `json:"until,omitzero"`
}

// Open returns the list that is kept in a folder, which must exist by the time at which it is
// first written; empty for one that is kept in memory only. An error names the file.
func Open(dir string) (*List, error) {
	l := &List{bans: make(map[uint64]*Ban)}
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
	text, err := readFile(l.path)
	if err != nil || text == nil {
		return err
	}
	var file stored
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields() // without what it does not know a ban would be for more than it says
	if err := decoder.Decode(&file); err != nil {
		return fmt.Errorf("is damaged: %w", err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return errors.New("is damaged: something follows the list")
	}
	if len(file.Bans) > MaxBans {
		return fmt.Errorf("has more than %d bans", MaxBans)
	}
	if l.last = file.Last; l.last > maxID {
		return fmt.Errorf("is damaged: no ban has the number %d", l.last)
	}
	for _, s := range file.Bans {
		b := &Ban{
			ID: s.ID, Network: s.Network, Stream: s.Stream, Subject: s.Subject, Role: s.Role, Reason: s.Reason,
			Since: s.Since, Until: s.Until,
		}
		if err := b.prepare(); err != nil {
			return fmt.Errorf("is damaged: %w", err)
		}
		if b.ID == 0 || b.ID > file.Last || l.bans[b.ID] != nil {
			return fmt.Errorf("is damaged: the number %d of a ban is not its own", b.ID)
		}
		b.known = b.mark()
		l.bans[b.ID] = b
		l.index.add(b)
	}
	return nil
}

// readFile returns nil if there is no file.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, errors.Unwrap(err) // it names the file too
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("is larger than %d bytes", maxFile)
	}
	if text == nil {
		text = []byte{}
	}
	return text, err
}

// save sees to it that a change is on the disk, whoever writes it. The error is ErrUnsaved.
func (l *List) save(change uint64) error {
	if l.path == "" {
		return nil
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	if l.written >= change {
		return nil // with a later one
	}
	l.mu.RLock()
	file, changes := stored{Last: l.last, Bans: []storedBan{}}, l.changes
	for _, b := range l.allLocked() {
		file.Bans = append(file.Bans, storedBan{b.ID, b.Network, b.Stream, b.Subject, b.Role, b.Reason, b.Since, b.Until})
	}
	l.mu.RUnlock()
	text, err := json.Marshal(file)
	if err == nil {
		err = durable.Replace(l.path, append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnsaved, err)
	}
	l.written = changes
	return nil
}
