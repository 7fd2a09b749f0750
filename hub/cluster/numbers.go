package cluster

import (
	"slices"
	"sync"
)

// numbers knows which number each packet has that the log of this node holds, whose places are the log's
// own: a log begins where this node began to have the stream, and fills gaps in the sound by
// itself.
//
//	log     0 ───── 812 813 ─────── 1400 ──────────────▶
//	        │       │               │
//	number  90000   90813           95000     run: the difference stays the same
//	epoch   3       3               4         this node became the owner
//
// A run of packets that are copied begins where the difference changes. What follows the last copied packet
// is this node's own, once it is the owner.
type numbers struct {
	mu   sync.Mutex
	life uint64 // of the hub's stream that they are about; 0 while it is not known
	past uint64 // one that is over, with those before it: somebody may still read it
	numberLog
	own *numberRun // this node is the owner; its run begins at next
	// former is what the log has of the life of the stream before this one: while this node's own publisher has yet to begin
	// it goes on there, and it counts again where none does, or that life turns out to be the one that stays.
	former numberLog
}

// numberLog is what is known of a log's packets.
type numberLog struct {
	incarnation string
	runs        []numberRun
	next        uint64 // the place behind the last copied packet
}

// numberRun is packets in a row.
type numberRun struct {
	local  uint64 // place in the log of the first one
	epoch  uint64
	number uint64 // of that one
}

const (
	// maxRuns bounds the runs that are kept: a log with more gaps than that gives its older packets up for others.
	maxRuns = 4096
	// epochBits is how far apart the first numbers of epochs are, in bits: numbers grow from epoch to epoch, though who takes
	// a stream over may not know how far it came elsewhere. 2^40 packets are enough for centuries.
	epochBits = 40
	// maxEpoch bounds epochs, so that their numbers have room.
	maxEpoch = 1 << 23
)

// copy puts a packet in the log of a stream's life by put, which returns its place there, and notes that. In one:
// nobody finds a packet without its number.
func (n *numbers) copy(life uint64, at Position, put func() (local uint64, appended bool, err error)) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	local, appended, err := put()
	if appended {
		n.copiedLocked(life, local, at)
	}
	return err
}

func (n *numbers) copiedLocked(life, local uint64, at Position) {
	if life != n.life {
		n.life, n.numberLog, n.former = life, numberLog{incarnation: n.incarnation}, numberLog{}
	}
	switch {
	case at.Incarnation == n.incarnation:
	case n.own != nil: // the last of another life, behind which this node's begins
		n.former.copied(local, at)
		n.runs, n.next = nil, local+1
		return
	case len(n.runs) > 0:
		n.former, n.numberLog = n.numberLog, numberLog{}
	}
	n.numberLog.copied(local, at)
}

// copied notes a packet at the end of the log.
func (l *numberLog) copied(local uint64, at Position) {
	if at.Incarnation != l.incarnation {
		l.incarnation, l.runs = at.Incarnation, nil
	}
	l.next = local + 1
	if k := len(l.runs); k > 0 {
		if last := l.runs[k-1]; last.epoch == at.Epoch && at.Number-last.number == local-last.local {
			return
		}
	}
	if len(l.runs) >= maxRuns {
		l.runs = slices.Delete(l.runs, 0, maxRuns/2)
	}
	l.runs = append(l.runs, numberRun{local, at.Epoch, at.Number})
}

// become makes this node the owner: what follows in the log has the numbers of that epoch. head is where the log of the
// stream's life has come to: what came before, and is not known here, has no number. A life of 0 is one that has yet to begin.
func (n *numbers) become(life, head uint64, as *owner) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case life != n.life, life == 0:
		n.past = max(n.past, n.life)
		n.numberLog, n.former = numberLog{next: head}, numberLog{}
	case n.incarnation != as.Incarnation:
		if len(n.runs) > 0 {
			n.former = n.numberLog
		}
		n.numberLog = numberLog{next: head}
	case len(n.runs) > 0:
		n.next = max(n.next, head) // what came since nobody was the owner may have had other numbers
	}
	n.life, n.incarnation = life, as.Incarnation
	n.own = &numberRun{epoch: as.Epoch, number: (as.Epoch - 1) << epochBits}
}

// epoch returns the last epoch of a stream's life of which this node has had packets, 0 for none.
func (n *numbers) epoch(incarnation string) uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.logOf(incarnation)
	if len(l.runs) == 0 {
		return 0
	}
	return l.end().Epoch
}

// logOf returns what the log has of a life of the stream.
func (n *numbers) logOf(incarnation string) *numberLog {
	switch incarnation {
	case n.incarnation:
		return &n.numberLog
	case n.former.incarnation:
		return &n.former
	}
	return new(numberLog)
}

// end returns the position of the last packet, of which there is one.
func (l *numberLog) end() Position {
	r := l.runs[len(l.runs)-1]
	return Position{l.incarnation, r.epoch, r.number + (l.next - 1 - r.local)}
}

// last returns the position of the last packet in the log of a stream's life, which this node does not own, false where
// it has none.
func (n *numbers) last(life uint64) (Position, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.runs) == 0 || life != n.life || n.own != nil {
		return Position{}, false
	}
	return n.end(), true
}

// lastOf is last for the last packet of one life of the stream.
func (n *numbers) lastOf(life uint64, incarnation string) (Position, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.logOf(incarnation)
	if len(l.runs) == 0 || life != n.life || n.own != nil {
		return Position{}, false
	}
	return l.end(), true
}

// cease makes this node no owner any more. head is where the log of the stream's life has come to.
func (n *numbers) cease(life, head uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.own == nil {
		return
	}
	n.lives(life)
	switch {
	case life != n.life:
	case head > n.next: // it had some
		n.runs = append(n.runs, numberRun{n.next, n.own.epoch, n.own.number})
		n.next = head
	case len(n.former.runs) > 0 && len(n.runs) == 0:
		n.numberLog, n.former = n.former, numberLog{}
	}
	n.own = nil
}

// lives notes which life of the hub's stream the numbers are about, where this node is its owner and that had
// yet to begin.
func (n *numbers) lives(life uint64) {
	if n.life == 0 && life > n.past {
		n.life = life
	}
}

// of returns the position of the packet at a place in the log of a stream's life, false where it has none.
func (n *numbers) of(life, local uint64) (Position, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lives(life)
	if life != n.life {
		return Position{}, false
	}
	if n.own != nil && local >= n.next {
		return Position{n.incarnation, n.own.epoch, n.own.number + (local - n.next)}, true
	}
	i := n.runAt(local)
	if i < 0 {
		return Position{}, false
	}
	r := n.runs[i]
	return Position{n.incarnation, r.epoch, r.number + (local - r.local)}, true
}

// runAt returns which run a place is in, or behind; -1 if it is before all of them.
func (n *numbers) runAt(local uint64) int {
	i, there := slices.BinarySearchFunc(n.runs, local, func(r numberRun, local uint64) int {
		switch {
		case r.local < local:
			return -1
		case r.local > local:
			return 1
		}
		return 0
	})
	if !there {
		i--
	}
	return i
}

// at returns the place in the log of a stream's life at which somebody goes on who wants a position: that of the
// packet, or that of the first one of a later epoch where this node has not had the packet: what came
// before is in no log any more, or was seen by who asks. False where nothing here follows on it, and
// ErrStale where it is of an epoch that this node does not know.
func (n *numbers) at(life uint64, want Position) (local uint64, follows bool, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lives(life)
	if life != n.life || want.Incarnation != n.incarnation {
		return 0, false, nil
	}
	runs := n.runs
	if n.own != nil {
		runs = append(slices.Clip(runs), numberRun{n.next, n.own.epoch, n.own.number})
	}
	if k := len(runs); k == 0 || runs[k-1].epoch < want.Epoch {
		return 0, false, ErrStale
	}
	for i, r := range runs {
		end := uint64(1<<64 - 1) // the place behind the run
		if i+1 < len(runs) {
			end = runs[i+1].local
		}
		switch {
		case r.epoch > want.Epoch: // all before it are of earlier packets
			return r.local, true, nil
		case r.epoch < want.Epoch:
		case want.Number < r.number: // it stood in a gap before this run
			return r.local, i > 0, nil
		case want.Number-r.number < end-r.local || i+1 == len(runs):
			return r.local + (want.Number - r.number), true, nil
		}
	}
	return 0, false, nil
}
