package splice

// mark is what is remembered of a packet that went on: 16 bytes.
type mark struct {
	sum   uint64
	ts    uint32 // on the run's clock
	track uint8
	flags uint8
}

// Flags of a mark.
const (
	markKey uint8 = 1 << iota // a viewer can begin at it
	markGOP                   // it is the first packet of such a picture of the main track
	markGap                   // packets of its track may be lost before it
)

// Bounds of what is remembered, in ms of the run's clock.
const (
	keepKeyed = 3_000  // at least, where there are key frames
	keepPlain = 10_000 // of a stream without
	keepMost  = 60_000 // at most, whatever the GOPs are
)

// marks are those of the last packets, in order. Each has a number, which stays when older ones
// are forgotten. The zero value is empty.
type marks struct {
	buf   []mark // a ring
	head  int    // of the oldest
	n     int
	first int64 // the oldest one's number
	gops  [2]int64
	keyed int   // how many of gops are known: the newest is gops[1]
	gop   int32 // ms, how long the last whole GOP is; 0 if that is not known
}

func (m *marks) end() int64 { return m.first + int64(m.n) }

// at returns the mark with a number, which must be first or later and before end.
func (m *marks) at(number int64) *mark {
	i := m.head + int(number-m.first)
	if i >= len(m.buf) {
		i -= len(m.buf)
	}
	return &m.buf[i]
}

// push remembers a packet, and forgets those that are not needed any more.
func (m *marks) push(k mark, most int) {
	if k.flags&markGOP != 0 {
		if m.hasKeys() && k.flags&markGap == 0 {
			m.gop = max(0, diff(k.ts, m.at(m.gops[1]).ts))
		}
		m.gops = [2]int64{m.gops[1], m.end()}
		m.keyed = min(m.keyed+1, 2)
	}
	if m.n == len(m.buf) {
		m.grow(most)
	}
	if m.n == len(m.buf) {
		m.pop()
	}
	m.n++
	*m.at(m.end() - 1) = k
	for m.n > 1 && m.old(k.ts) {
		m.pop()
	}
}

// old reports whether the oldest mark is not needed at the time of the newest.
func (m *marks) old(now uint32) bool {
	age := diff(now, m.at(m.first).ts)
	switch {
	case age > keepMost:
		return true
	case m.keyed == 2 && m.first < m.gops[0]:
		return age > keepKeyed
	}
	return m.keyed == 0 && age > keepPlain
}

func (m *marks) pop() {
	m.first++
	m.n--
	if m.head++; m.head == len(m.buf) {
		m.head = 0
	}
}

// grow takes a quarter more memory, not more than for most marks.
func (m *marks) grow(most int) {
	size := min(max(64, m.n+m.n/4), most)
	if size <= len(m.buf) {
		return
	}
	next := make([]mark, size)
	copied := copy(next, m.buf[m.head:])
	copy(next[copied:], m.buf[:m.head])
	m.buf, m.head = next, 0
}

// clear forgets all; the memory stays.
func (m *marks) clear() {
	*m = marks{buf: m.buf, first: m.end()}
}

// next returns the number of the first mark of a track from number from on, before end; end if
// there is none.
func (m *marks) next(track uint8, from, end int64) int64 {
	for i := max(from, m.first); i < end; i++ {
		if m.at(i).track == track {
			return i
		}
	}
	return end
}

// last returns the number of a track's last mark before end, -1 if there is none.
func (m *marks) last(track uint8, end int64) int64 {
	for i := end - 1; i >= m.first; i-- {
		if m.at(i).track == track {
			return i
		}
	}
	return -1
}

// count returns how many of the marks before end have a hash, 2 for more.
func (m *marks) count(sum uint64, end int64) (n int) {
	for i := m.first; i < end && n < 2; i++ {
		if m.at(i).sum == sum {
			n++
		}
	}
	return n
}

// hasKeys reports whether there are marks of key frames of the main track.
func (m *marks) hasKeys() bool { return m.keyed > 0 && m.gops[1] >= m.first }

// diff returns a-b of two timestamps in ms. It counts modulo 2^31, where some clocks wrap.
func diff(a, b uint32) int32 { return int32((a-b)<<1) >> 1 }
