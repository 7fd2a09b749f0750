package network_test

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"sluice/hub/access/network"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTable(t *testing.T) {
	var table network.Table[string]
	assert.False(t, table.Has(netip.MustParseAddr("10.0.0.1")))
	for _, text := range []string{"10.1.2.3/8", "10.0.0.0/24", "10.0.0.1/32", "::ffff:192.0.2.9/120", "2001:db8::1/32", "2001:db8::1/128", "0.0.0.0/0"} {
		table.Set(netip.MustParsePrefix(text), text)
	}
	table.Set(netip.Prefix{}, "invalid")
	table.Set(netip.MustParsePrefix("10.0.0.0/24"), "again")
	assert.Equal(t, 7, table.Len())
	for address, want := range map[string][]string{
		"10.0.0.1":               {"10.0.0.1/32", "again", "10.1.2.3/8", "0.0.0.0/0"},
		"::ffff:10.0.0.2":        {"again", "10.1.2.3/8", "0.0.0.0/0"},
		"10.9.9.9":               {"10.1.2.3/8", "0.0.0.0/0"},
		"192.0.2.1":              {"::ffff:192.0.2.9/120", "0.0.0.0/0"},
		"2001:db8::1%eth0":       {"2001:db8::1/128", "2001:db8::1/32"},
		"2001:db8:1::":           {"2001:db8::1/32"},
		"2001:db9::":             nil,
		"::":                     nil,
		"::ffff:255.255.255.255": {"0.0.0.0/0"},
	} {
		assert.Equal(t, want, slices.Collect(table.Of(netip.MustParseAddr(address))), address)
		assert.Equal(t, want != nil, table.Has(netip.MustParseAddr(address)), address)
	}
	assert.Empty(t, slices.Collect(table.Of(netip.Addr{})))
	assert.Equal(t, "10.1.2.3/8", table.Get(netip.MustParsePrefix("10.9.0.0/8")))
	assert.Empty(t, table.Get(netip.MustParsePrefix("10.0.0.0/9")))
	for _, text := range []string{"10.0.0.0/8", "::ffff:0.0.0.0/96", "2001:db8::/32", "10.0.0.0/8"} {
		table.Delete(netip.MustParsePrefix(text))
	}
	assert.Equal(t, 4, table.Len())
	assert.Empty(t, slices.Collect(table.Of(netip.MustParseAddr("10.9.9.9"))))
}

// FuzzTable: an address lies in those networks that contain it.
func FuzzTable(f *testing.F) {
	f.Add([]byte("\x0a\x00\x00\x01\x08\x0a\x00\x00\x02\x20"), []byte{10, 0, 0, 9})
	f.Add(binary.BigEndian.AppendUint64(nil, 0x20010db800000000), make([]byte, 16))
	f.Fuzz(func(t *testing.T, networks, address []byte) {
		addr, _ := netip.AddrFromSlice(address)
		var table network.Table[netip.Prefix]
		size := 4
		if addr.Is6() && !addr.Is4In6() {
			size = 16
		}
		var all []netip.Prefix
		for chunk := range slices.Chunk(networks, size+1) {
			if len(chunk) > size {
				a, _ := netip.AddrFromSlice(chunk[:size])
				p := netip.PrefixFrom(a, int(chunk[size]))
				table.Set(p, network.Prefix(p))
				all = append(all, network.Prefix(p))
			}
		}
		var want []netip.Prefix
		for _, p := range all {
			if p.Contains(addr.Unmap()) && !slices.Contains(want, p) {
				want = append(want, p)
			}
		}
		got := slices.Collect(table.Of(addr))
		require.ElementsMatch(t, want, got)
		require.True(t, slices.IsSortedFunc(got, func(a, b netip.Prefix) int { return b.Bits() - a.Bits() }))
	})
}

func BenchmarkOf(b *testing.B) {
	var table network.Table[int]
	for i := range 10_000 {
		addr := netip.AddrFrom16([16]byte{0x20, 1, byte(i >> 8), byte(i)})
		table.Set(netip.PrefixFrom(addr, 20+i%44), i)
	}
	addr := netip.MustParseAddr("2001:1234::1")
	b.ReportAllocs()
	for b.Loop() {
		table.Has(addr)
	}
}
