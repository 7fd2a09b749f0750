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
	mu          sync.Mutex
	incarnation string
	life        uint64 // of the hub's stream that they are about; 0 while it is not known
	runs        []numberRun
	next        uint64     // the place behind the last copied packet
	own         *numberRun // this node is the owner; its run begins at next
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
	// skipped is how many numbers are left out where a node becomes the owner: others may have had
	// packets that it has not.
	skipped = 1 << 16
	// epochBits is how far up the numbers of an epoch begin, in bits: who takes a stream over from a node that is gone may
	// not know how far that one came, and numbers grow from epoch to epoch. 2^40 packets are enough for centuries.
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
	if n.own != nil && at.Incarnation != n.incarnation { // the last of another life, behind which this node's begins
		n.life, n.runs, n.next = life, nil, local+1
		return
	}
	if life != n.life || at.Incarnation != n.incarnation {
		n.life, n.incarnation, n.runs = life, at.Incarnation, nil
	}
	n.next = local + 1
	if k := len(n.runs); k > 0 {
		if last := n.runs[k-1]; last.epoch == at.Epoch && at.Number-last.number == local-last.local {
			return
		}
	}
	if len(n.runs) >= maxRuns {
		n.runs = slices.Delete(n.runs, 0, maxRuns/2)
	}
	n.runs = append(n.runs, numberRun{local, at.Epoch, at.Number})
}

// become makes this node the owner: what follows in the log has numbers from first on, or higher ones where
// this node has had those. head is where the log of the stream's life has come to: of what it has already, and of which nothing
// is known here, nothing has a number. A life of 0 is one that has yet to begin.
func (n *numbers) become(life, head uint64, first Position) Position {
	n.mu.Lock()
	defer n.mu.Unlock()
	if life != n.life || n.incarnation != first.Incarnation || life == 0 {
		n.runs, n.next = nil, head
	} else if k := len(n.runs); k > 0 {
		last := n.runs[k-1]
		first.Number = max(first.Number, last.number+(n.next-last.local)+skipped)
		n.next = max(n.next, head) // what came since nobody was the owner may have had other numbers
	}
	first.Number = max(first.Number, (first.Epoch-1)<<epochBits)
	n.life, n.incarnation = life, first.Incarnation
	n.own = &numberRun{epoch: first.Epoch, number: first.Number}
	return first
}

// epoch returns the last epoch of a stream's life of which this node has had packets, 0 for none.
func (n *numbers) epoch(incarnation string) uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	if k := len(n.runs); k > 0 && n.incarnation == incarnation {
		return n.runs[k-1].epoch
	}
	return 0
}

// last returns the position of the last packet in the log of a stream's life, which this node does not own, false where
// it has none.
func (n *numbers) last(life uint64) (Position, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	k := len(n.runs)
	if k == 0 || life != n.life || n.own != nil {
		return Position{}, false
	}
	r := n.runs[k-1]
	return Position{n.incarnation, r.epoch, r.number + (n.next - 1 - r.local)}, true
}

// cease makes this node no owner any more. head is where the log of the stream's life has come to.
func (n *numbers) cease(life, head uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.own == nil {
		return
	}
	n.lives(life)
	if life == n.life && head > n.next { // it had some
		n.runs = append(n.runs, numberRun{n.next, n.own.epoch, n.own.number})
		n.next = head
	}
	n.own = nil
}

// lives notes which life of the hub's stream the numbers are about, where this node is its owner and that had
// yet to begin.
func (n *numbers) lives(life uint64) {
	if n.life == 0 {
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
