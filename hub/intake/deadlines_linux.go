package intake

// deadlines is a heap of sources by due, the earliest first. A source whose limit moves
// on, as that of a publisher does with each byte, stays where it is. When its turn comes
// it turns out to have time left, and goes down to where it belongs. So moving a limit
// costs nothing.
type deadlines []*Source

// set makes a source come up at its limit at the latest.
func (h *deadlines) set(s *Source) {
	switch {
	case s.limit == 0: // one that is there comes up once, for nothing
	case s.place == 0:
		*h = append(*h, s)
		s.due, s.place = s.limit, len(*h)
		h.up(s.place - 1)
	case s.limit < s.due:
		s.due = s.limit
		h.up(s.place - 1)
	}
}

// remove takes a source out.
func (h *deadlines) remove(s *Source) {
	if s.place == 0 {
		return
	}
	i, last := s.place-1, len(*h)-1
	h.swap(i, last)
	(*h)[last] = nil
	*h = (*h)[:last]
	s.place = 0
	if i < last {
		h.up(i)
		h.down(i)
	}
}

// next returns when the first source comes up, 0 for never.
func (h deadlines) next() int64 {
	if len(h) == 0 {
		return 0
	}
	return h[0].due
}

// pop takes out a source whose limit is over, nil if there is none.
func (h *deadlines) pop(now int64) *Source {
	for len(*h) > 0 && (*h)[0].due <= now {
		s := (*h)[0]
		switch {
		case s.limit == 0:
			h.remove(s)
		case s.limit > now:
			s.due = s.limit
			h.down(0)
		default:
			h.remove(s)
			return s
		}
	}
	return nil
}

func (h deadlines) swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i+1, j+1
}

func (h deadlines) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if h[parent].due <= h[i].due {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h deadlines) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h); child++ {
			if h[child].due < h[least].due {
				least = child
			}
		}
		if least == i {
			return
		}
		h.swap(i, least)
		i = least
	}
}
