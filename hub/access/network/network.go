// Package network keeps things by the networks of their addresses, so that finding what an
// address lies in takes as long with thousands of networks as with a few.
package network

import (
	"iter"
	"net/netip"
)

// Table has a value for each of its networks. The zero Table is empty. Its methods may be
// called at the same time as long as none changes it.
type Table[V any] struct {
	values map[netip.Prefix]V
	// lengths is how many networks have a prefix of that many bits, of IPv4 and of IPv6.
	lengths [2][129]int
}

// Prefix returns a network as a Table has it: without the bits behind its prefix, and IPv4
// mapped to IPv6 as IPv4. What is invalid stays so.
func Prefix(p netip.Prefix) netip.Prefix {
	const mapped = 96 // bits of ::ffff:0:0
	if p.Addr().Is4In6() && p.Bits() >= mapped {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-mapped)
	}
	return p.Masked()
}

// Set gives a network a value. An invalid one is left out.
func (t *Table[V]) Set(p netip.Prefix, value V) {
	if p = Prefix(p); !p.IsValid() {
		return
	}
	if t.values == nil {
		t.values = make(map[netip.Prefix]V)
	}
	if _, ok := t.values[p]; !ok {
		*t.length(p)++
	}
	t.values[p] = value
}

// Get returns the value of a network, the zero value if it has none.
func (t *Table[V]) Get(p netip.Prefix) V { return t.values[Prefix(p)] }

// Delete takes a network out.
func (t *Table[V]) Delete(p netip.Prefix) {
	p = Prefix(p)
	if _, ok := t.values[p]; ok {
		*t.length(p)--
		delete(t.values, p)
	}
}

// Len returns how many networks have a value.
func (t *Table[V]) Len() int { return len(t.values) }

// Of yields the values of the networks in which an address lies, the smallest network first:
// none for an invalid address. IPv4 mapped to IPv6 counts as IPv4, and zones don't count.
func (t *Table[V]) Of(addr netip.Addr) iter.Seq[V] {
	addr = addr.Unmap().WithZone("")
	return func(yield func(V) bool) {
		if len(t.values) == 0 || !addr.IsValid() {
			return
		}
		for bits := addr.BitLen(); bits >= 0; bits-- {
			p := netip.PrefixFrom(addr, bits)
			if *t.length(p) == 0 {
				continue
			}
			if value, ok := t.values[p.Masked()]; ok && !yield(value) {
				return
			}
		}
	}
}

// Has reports whether an address lies in one of the networks.
func (t *Table[V]) Has(addr netip.Addr) bool {
	for range t.Of(addr) {
		return true
	}
	return false
}

func (t *Table[V]) length(p netip.Prefix) *int {
	if p.Addr().Is4() {
		return &t.lengths[0][p.Bits()]
	}
	return &t.lengths[1][p.Bits()]
}
