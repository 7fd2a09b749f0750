package chunk

// Bounds on the memory that chunk streams keep for their next message.
const (
	// minBuffer is the smallest buffer for a message, in bytes, if it is as long.
	minBuffer = 512
	// keptMemory is how many bytes a Reader keeps, at most, in buffers of more
	// than minBuffer.
	keptMemory = 1 << 20
	// spareMessages is how many messages in a row may use less than a quarter of a
	// buffer before it is let go: some 13 s of audio and video, so that the buffer
	// for key frames stays.
	spareMessages = 1024
)

// stream is the state of one chunk stream: the header that the next chunk
// inherits from, and the message that is being received.
type stream struct {
	id uint32

	messageID uint32 // of the message stream
	timestamp uint32
	delta     uint32 // the timestamp field of the last header of form 0, 1 or 2
	length    uint32
	typ       uint8
	extended  bool // delta was an extended one

	unfinished bool    // a message is begun and not complete
	spare      int32   // messages in a row that needed little of the buffer
	payload    []byte  // of that message, or of the one returned last, if it came in parts
	lent       *buffer // what payload is of
}

// append adds payload that has arrived, and returns by how many bytes the buffer
// grew. The buffer doubles: the memory of a message is at most twice what has
// arrived of it, if that is over minBuffer.
func (s *stream) append(b []byte) (grown int) {
	before := cap(s.payload)
	if need := len(s.payload) + len(b); need > before {
		larger := borrow(min(max(need, 2*before, minBuffer), max(int(s.length), minBuffer)))
		n := copy(larger.bytes, s.payload)
		s.lent.giveBack()
		s.lent, s.payload = larger, larger.bytes[:n]
	}
	s.payload = append(s.payload, b...)
	return cap(s.payload) - before
}

// drop lets go of the buffer and returns its size.
func (s *stream) drop() int {
	size := cap(s.payload)
	s.lent.giveBack()
	s.lent, s.payload, s.spare = nil, nil, 0
	return size
}

// shrink brings what has arrived of a message into a smaller buffer, if that is
// much smaller, and returns by how many bytes. It had the buffer of the message
// before it.
func (s *stream) shrink() int {
	before := cap(s.payload)
	if before <= max(minBuffer, 2*len(s.payload)) {
		return 0
	}
	smaller := borrow(max(minBuffer, len(s.payload)))
	n := copy(smaller.bytes, s.payload)
	s.lent.giveBack()
	s.lent, s.payload = smaller, smaller.bytes[:n]
	return before - cap(s.payload)
}

// wasteful counts a message that is done with, and says whether the buffer has
// been much too large for long.
func (s *stream) wasteful() bool {
	if cap(s.payload) <= minBuffer || len(s.payload) > cap(s.payload)/4 {
		s.spare = 0
		return false
	}
	s.spare++
	return s.spare >= spareMessages
}
