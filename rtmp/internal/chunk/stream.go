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

	typ       uint8
	length    int
	messageID uint32 // of the message stream
	timestamp uint32
	delta     uint32 // the timestamp field of the last header of form 0, 1 or 2
	extended  bool   // which was an extended one

	unfinished bool   // a message is begun and not complete
	payload    []byte // of that message, or of the one returned last
	spare      int    // messages in a row that needed little of the buffer
}

// append adds payload that has arrived, and returns by how many bytes the buffer
// grew. The buffer doubles: the memory of a message is at most twice what has
// arrived of it, and never more than it declares.
func (s *stream) append(b []byte) (grown int) {
	before := cap(s.payload)
	if need := len(s.payload) + len(b); need > before {
		size := min(max(need, 2*before, minBuffer), s.length)
		s.payload = append(make([]byte, 0, size), s.payload...)
	}
	s.payload = append(s.payload, b...)
	return cap(s.payload) - before
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
