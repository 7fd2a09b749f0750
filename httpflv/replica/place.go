package replica

import (
	"fmt"

	"sluice/hub/cluster"
)

// Bounds of what follows on what.
const (
	// numberBits are those of a number that stand in a tag.
	numberBits = 24
	// maxStep is by how much a number may be larger than the one before without being told in full: what looks
	// like more goes back.
	maxStep = 1<<(numberBits-1) - 1
	// maxBack and maxAhead bound by how much a time may differ from the one before, in ms: tracks are
	// interleaved as their publisher sends them, and may be silent as long as a session lasts.
	maxBack  = 10 * 60 * 1000
	maxAhead = 7 * 24 * 3600 * 1000
	// maxTime bounds a time, in ms.
	maxTime = 1 << 53
)

// place is how far a copy has come. Both ends have the same one, so that what a tag has room for is enough: its
// number and its time are made whole from it.
type place struct {
	at   cluster.Position
	time int64
	// open says that the packet with that number is still to come: there have been headers of it, or nothing
	// at all.
	open bool
}

// begin returns the place before the first packet.
func begin(s cluster.Start) place { return place{at: s.At, time: s.Time, open: true} }

// whole returns the number and the time that a tag's fields stand for.
func (p *place) whole(id, timestamp uint32) (number uint64, time int64, err error) {
	step := (id - uint32(p.at.Number)) & (1<<numberBits - 1)
	if step > maxStep {
		return 0, 0, fmt.Errorf("%w: the number goes back, or jumps by %d", ErrProtocol, step)
	}
	return p.at.Number + uint64(step), p.wholeTime(timestamp), nil
}

// wholeTime returns the time nearest to the last one that a timestamp stands for.
func (p *place) wholeTime(timestamp uint32) int64 {
	return p.time + int64(int32(timestamp-uint32(p.time)))
}

// far reports whether a position has to be told in full.
func (p *place) far(at cluster.Position) bool {
	return at.Epoch != p.at.Epoch || at.Number-p.at.Number > maxStep
}

// advance moves on to where an item stands. The error says that it does not follow.
func (p *place) advance(it *cluster.Item) error {
	at, time, alone := it.At, it.Time, it.Tag.Type == 0
	switch d := time - p.time; {
	case at.Incarnation != p.at.Incarnation:
		return fmt.Errorf("%w: another life of the stream", ErrProtocol)
	case at.Epoch < p.at.Epoch:
		return fmt.Errorf("%w: the epoch goes back from %d to %d", ErrProtocol, p.at.Epoch, at.Epoch)
	case at.Number < p.at.Number:
		return fmt.Errorf("%w: the number goes back from %d to %d", ErrProtocol, p.at.Number, at.Number)
	case at.Number == p.at.Number && !p.open && !alone:
		return fmt.Errorf("%w: the number %d comes twice", ErrProtocol, at.Number)
	case time > maxTime || time < -maxTime:
		return fmt.Errorf("%w: a time of %d ms", ErrProtocol, time)
	case d > maxAhead || d < -maxBack:
		return fmt.Errorf("%w: the time jumps by %d ms", ErrProtocol, d)
	}
	if !alone || at.Number > p.at.Number {
		p.open = alone || it.Header
	}
	p.at, p.time = at, time
	return nil
}

func errTooLarge(n int) error {
	return fmt.Errorf("%w: a tag of %d bytes", ErrProtocol, n)
}
