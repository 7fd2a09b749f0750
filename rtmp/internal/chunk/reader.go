package chunk

import (
	"encoding/binary"
	"fmt"
	"io"
)

// extendedMark in the 24-bit field of a header says that an extended timestamp
// follows (RTMP 1.0 §5.3.1.3).
const extendedMark = 1<<24 - 1

// headerSize is the length of the message header by form (§5.3.1.2).
var headerSize = [4]int{11, 7, 3, 0}

// Reader takes messages out of a chunk stream. It follows Set Chunk Size and
// Abort Message by itself. It is not for use by several goroutines at once.
type Reader struct {
	in     input
	limits *Limits
	err    error // the peer broke the protocol: nothing more can be read

	streams   []*stream // every chunk stream seen, few
	chunkSize int       // of the peer

	current *stream // whose chunk is being received; nil between chunks
	rest    int     // bytes of its payload to come

	unfinished int // messages begun and not complete
	inFlight   int // the bytes of them that have arrived

	returned *stream // whose payload the caller has
	kept     int     // bytes in all payload buffers
}

// NewReader returns a Reader of the messages that the peer sends after the
// handshake. It has a read buffer of its own, so r need not be buffered.
func NewReader(r io.Reader, l Limits) *Reader {
	return &Reader{
		in:        input{r: r, size: minReadBuffer},
		limits:    l.withDefaults(),
		chunkSize: DefaultSize,
	}
}

// SetLimits changes the limits, from the next header and the next payload on.
func (r *Reader) SetLimits(l Limits) { r.limits = l.withDefaults() }

// BytesRead returns how many bytes have been read from the connection, those in
// the read buffer included: the sequence number of an Acknowledgement (RTMP 1.0
// §5.4.3), without the bytes of the handshake.
func (r *Reader) BytesRead() uint64 { return r.in.received }

// Buffered returns how many bytes have been read from the connection and not yet made a
// message of.
func (r *Reader) Buffered() int { return len(r.in.buffered()) + r.inFlight }

// Filled reports whether the last read got as much as there was room for: there may be more where
// it came from.
func (r *Reader) Filled() bool { return r.in.filled }

// Read returns the next whole message, of whatever type, in the order in which
// messages are completed. Its payload belongs to the Reader and is valid until
// the next call; a message without payload is returned like any other.
//
// Set Chunk Size and Abort Message are returned too, but have been applied: they
// hold from the next chunk on, even within a message of another chunk stream
// (RTMP 1.0 §5.4.1, §5.4.2).
//
// io.EOF means that the connection ended between messages, with none half
// received; io.ErrUnexpectedEOF that it ended elsewhere. Other errors of the
// connection are wrapped, and Read may be called again after one that passes,
// such as a deadline: nothing is lost. ErrNothing is returned as it is, and then
// the Reader keeps no memory but that of unfinished messages. After an error that
// is ErrProtocol, every call returns the same error.
func (r *Reader) Read() (Message, error) {
	if r.err != nil {
		return Message{}, r.err
	}
	if s := r.returned; s != nil {
		r.returned = nil
		r.release(s)
	}
	for {
		if r.current == nil {
			s, err := r.readHeader()
			if err != nil {
				return Message{}, r.inputError(err)
			}
			r.current = s
		}
		payload, err := r.readPayload()
		if err != nil {
			return Message{}, r.inputError(err)
		}
		s := r.current
		r.current = nil
		if len(payload) < int(s.length) {
			continue
		}
		r.end(s)
		m := Message{
			Type:        s.typ,
			StreamID:    s.messageID,
			Timestamp:   s.timestamp,
			ChunkStream: s.id,
			Payload:     payload,
		}
		if err := r.apply(m); err != nil {
			return Message{}, err
		}
		r.returned = s
		return m, nil
	}
}

// readHeader reads what stands before a chunk's payload, and begins a message if
// none is begun. It changes nothing before the header is there as a whole.
func (r *Reader) readHeader() (*stream, error) {
	b, err := r.in.peek(1)
	if err != nil {
		return nil, err
	}
	form, id, size := int(b[0]>>6), uint32(b[0]&0x3F), 1
	if id < MinChunkStream {
		size += 1 + int(id)
		if b, err = r.in.peek(size); err != nil {
			return nil, err
		}
		id = 64 + uint32(b[1])
		if size == 3 {
			id += uint32(b[2]) << 8
		}
	}
	s := r.find(id)
	switch {
	case s == nil && form >= 2:
		return nil, r.fail("chunk stream %d begins with a header of form %d", id, form)
	case s == nil && len(r.streams) >= r.limits.ChunkStreams:
		return nil, r.exceed("%d chunk streams", len(r.streams)+1)
	case form == 3:
		return r.readForm3(s, size)
	case s != nil && s.unfinished:
		// §5.3.1.2.4 only says that continuations SHOULD have form 3. What else
		// such a header might mean is anybody's guess, and no known client sends it.
		return nil, r.fail("chunk stream %d: header of form %d inside a message", id, form)
	}
	return r.readForm012(s, id, form, size)
}

// readForm012 reads the header of a new message; s is nil on a new chunk stream.
// The basic header has skip bytes.
func (r *Reader) readForm012(s *stream, id uint32, form, skip int) (*stream, error) {
	size := skip + headerSize[form]
	b, err := r.in.peek(size)
	if err != nil {
		return nil, err
	}
	field := uint24(b[skip:])
	extended := field == extendedMark
	if extended {
		if b, err = r.in.peek(size + 4); err != nil {
			return nil, err
		}
		field = binary.BigEndian.Uint32(b[size:])
	}

	if s == nil {
		// librtmp begins chunk stream 2 with form 1: timestamp and message stream
		// id count as 0 before it.
		s = &stream{id: id}
		r.streams = append(r.streams, s)
	}
	s.extended, s.delta = extended, field
	h := b[skip:size]
	if form <= 1 {
		s.length, s.typ = uint24(h[3:]), h[6]
	}
	if form == 0 {
		s.messageID = binary.LittleEndian.Uint32(h[7:])
		s.timestamp = 0 // so that the field, which is added below, is absolute
	}
	if extended {
		size += 4
	}
	r.in.take(size)
	return s, r.begin(s)
}

// readForm3 reads a header that continues a message, or repeats the one before
// for a new message. The basic header has size bytes.
func (r *Reader) readForm3(s *stream, size int) (*stream, error) {
	if s.extended {
		repeated, err := r.extendedRepeated(size, s.delta)
		if err != nil {
			return nil, err
		}
		if repeated {
			size += 4
		}
	}
	r.in.take(size)
	if s.unfinished {
		r.beginChunk(s)
		return s, nil
	}
	return s, r.begin(s)
}

// extendedRepeated says whether the extended timestamp follows the basic header
// of form 3. §5.3.1.3 demands it, but librtmp, and with it OBS before 2024, goes
// on with the payload at once; so the four bytes are taken only if they are what
// they should be. Bytes after the first that differs are not waited for: the
// message may end before them.
func (r *Reader) extendedRepeated(skip int, field uint32) (bool, error) {
	for i := range 4 {
		b, err := r.in.peek(skip + i + 1)
		if err == io.EOF {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if b[skip+i] != byte(field>>(24-8*i)) {
			return false, nil
		}
	}
	return true, nil
}

// begin begins a message of the header that s holds.
func (r *Reader) begin(s *stream) error {
	if int(s.length) > r.limits.messageSize(s.typ) {
		return r.exceed("message of type %d with %d bytes", s.typ, s.length)
	}
	// In form 0 the field is a time since 0, in form 1 and 2 a delta. For a message
	// that begins with form 3 it is a delta, whichever it was before
	// (§5.3.1.2.4).
	s.timestamp += s.delta
	s.payload = s.payload[:0]
	s.unfinished = true
	r.unfinished++
	r.beginChunk(s)
	return nil
}

// beginChunk begins the payload of a chunk.
func (r *Reader) beginChunk(s *stream) {
	r.rest = min(r.chunkSize, int(s.length)-len(s.payload))
}

// readPayload reads the payload of the current chunk and returns what there is of
// the message. One that came as a whole, in one chunk, stays where it was read.
func (r *Reader) readPayload() ([]byte, error) {
	s := r.current
	if r.inFlight+r.rest > r.limits.InFlight {
		return nil, r.exceed("%d bytes in %d unfinished messages", r.inFlight+r.rest, r.unfinished)
	}
	if b := r.in.buffered(); 0 < r.rest && r.rest == int(s.length) && r.rest <= len(b) {
		b = b[:r.rest:r.rest]
		r.in.take(r.rest)
		r.rest = 0
		return b, nil
	}
	for r.rest > 0 {
		b := r.in.buffered()
		if len(b) == 0 {
			if err := r.in.fill(); err != nil {
				return nil, err
			}
			continue
		}
		b = b[:min(len(b), r.rest)]
		r.kept += s.append(b)
		r.in.take(len(b))
		r.rest -= len(b)
		r.inFlight += len(b)
	}
	return s.payload, nil
}

// end ends the message of s, complete or not.
func (r *Reader) end(s *stream) {
	s.unfinished = false
	r.unfinished--
	r.inFlight -= len(s.payload)
}

// apply follows the messages that control the chunk stream.
func (r *Reader) apply(m Message) error {
	if m.Type != typeSetChunkSize && m.Type != typeAbort {
		return nil
	}
	if len(m.Payload) < 4 {
		return r.fail("message of type %d with %d bytes", m.Type, len(m.Payload))
	}
	v := binary.BigEndian.Uint32(m.Payload)
	if m.Type == typeAbort {
		if s := r.find(v); s != nil && s.unfinished {
			r.end(s)
			r.release(s)
		}
		return nil
	}
	if v == 0 || v > maxChunkSize {
		return r.fail("chunk size %d", v)
	}
	r.chunkSize = int(min(v, MaxMessageSize))
	return nil
}

// release lets go of the payload of a message that is done with, for its stream
// to use again, or altogether if it is too much to keep.
func (r *Reader) release(s *stream) {
	if s.wasteful() || r.kept > keptMemory && cap(s.payload) > minBuffer {
		r.kept -= s.drop()
	}
}

// Trim gives back the memory that would only wait for bytes to come, where the caller
// is not going to read for a while. The payload of the last message is no longer valid.
func (r *Reader) Trim() {
	if s := r.returned; s != nil {
		r.returned = nil
		r.release(s)
	}
	if len(r.in.buffered()) <= maxHeader {
		r.trim()
	}
}

// trim gives back all memory that would only wait for bytes to come.
func (r *Reader) trim() {
	r.in.trim()
	if r.kept == 0 {
		return
	}
	for _, s := range r.streams {
		if s.unfinished {
			r.kept -= s.shrink()
		} else {
			r.kept -= s.drop()
		}
	}
}

func (r *Reader) find(id uint32) *stream {
	for _, s := range r.streams {
		if s.id == id {
			return s
		}
	}
	return nil
}

// fail notes and returns an error that is the peer's fault.
func (r *Reader) fail(format string, args ...any) error {
	r.err = fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...))
	return r.err
}

// exceed is fail for what is over a limit.
func (r *Reader) exceed(format string, args ...any) error {
	r.err = fmt.Errorf("%w: %w: %s", ErrProtocol, ErrLimit, fmt.Sprintf(format, args...))
	return r.err
}

// inputError returns what Read says for an error on the way.
func (r *Reader) inputError(err error) error {
	switch {
	case r.err != nil:
		return r.err
	case err == ErrNothing:
		r.trim()
		return err
	case err != io.EOF:
		return fmt.Errorf("chunk: %w", err)
	case r.unfinished > 0 || len(r.in.buffered()) > 0:
		return io.ErrUnexpectedEOF
	}
	return io.EOF
}

func uint24(b []byte) uint32 {
	return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2])
}
