package hub

import "sluice/flv"

// Packet is one tag as a Reader gives it out.
type Packet struct {
	flv.Tag        // its timestamp is Time, modulo 2^32. The data is the batch's
	Seq     uint64 // its place in the stream's log; of what stands beside the log, that of the packet it precedes
	Time    int64  // ms, on the stream's clock, which goes on from session to session
	Header  bool   // metadata or a codec header that is in force from here on
	Reset   bool   // none of the headers before this one is in force any more: those that are follow
	// First says that what begins here was not encoded in one go with what came before: another publisher
	// follows, or Publisher.Restart was called. It stands at the first header or packet that is given of it,
	// and at none of a reader that begins in the middle.
	First bool
	Key   bool // players can start here: a video key frame, or any frame of a stream of sound
}

// ReadBatch is what Read fills: packets that are valid until the next Read with it.
type ReadBatch struct {
	Packets []Packet
	// Lost is how many packets were lost right before these, because the reader was slow.
	Lost uint64

	batch Batch
	data  []byte
}

// add adds a packet with a copy of the tag's data.
func (b *ReadBatch) add(t flv.Tag, p Packet) (size int) {
	begin := len(b.data)
	b.data = append(b.data, t.Data...)
	t.Data = b.data[begin:len(b.data):len(b.data)]
	t.Timestamp = uint32(p.Time)
	p.Tag = t
	b.Packets = append(b.Packets, p)
	return t.Size()
}

// readLocked gives out the next packet, after what changes with it.
func (r *Reader) readLocked(b *ReadBatch, l *log) (size int) {
	seq, p := r.next, l.at(r.next)
	r.next++
	r.passed += p.cost()
	h, _ := l.headersAt(seq)
	due := r.due(p, 0)
	add := func(t flv.Tag, is Packet) {
		is.Seq, is.Time, is.First, r.first = seq, p.time, r.first, false
		size += b.add(t, is)
	}
	if r.headers != h {
		r.first = r.first || r.beginsLocked(h, seq)
		reset := r.headers.exceeds(h)
		if reset {
			r.headers = nil // all of them come, metadata first
		}
		b.batch.tags, b.batch.shaped = b.batch.tags[:0], b.batch.shaped[:0]
		r.appendHeaders(&b.batch, l, h, seq)
		for i, t := range b.batch.tags {
			add(t, Packet{Header: true, Reset: reset && i == 0})
		}
		clear(b.batch.tags)
	}
	if !due {
		return size
	}
	t := flv.Tag{Type: p.kind, Data: p.data()}
	if r.shape != (flv.Shape{}) && !(p.is(markPlain) && r.track(p.kind) == 0) {
		if t.Data, due = r.shaped(t, &b.batch.shaped); !due {
			return size
		}
	}
	add(t, Packet{Key: p.is(markStart)})
	return size
}

// beginsLocked reports whether packet seq, with these headers in force, is of something that was not encoded
// in one go with what the reader had before.
func (r *Reader) beginsLocked(h *headers, seq uint64) bool {
	switch {
	case r.headers != nil:
		return r.headers.first != h.first
	case r.resumes:
		return h.first >= r.from // seq is further on where something was lost
	}
	return h.first == seq
}
