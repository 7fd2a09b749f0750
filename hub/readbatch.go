package hub

import "sluice/flv"

// Packet is one tag as a Reader gives it out.
type Packet struct {
	flv.Tag        // its timestamp is Time, modulo 2^32. The data is the batch's
	Seq     uint64 // its place in the stream's log; of what stands beside the log, that of the packet it precedes
	Time    int64  // ms, on the stream's clock, which goes on from session to session
	Header  bool   // metadata or a codec header that is in force from here on
	Reset   bool   // none of the headers before this one is in force any more: those that are follow
	First   bool   // what follows was not encoded in one go with what came before: another publisher, or Publisher.Restart
	Key     bool   // players can start here: a video key frame, or any frame of a stream of sound
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
