package dialer

import "net/netip"

// global is where all global unicast addresses of IPv6 are (RFC 4291 §2.4, as IANA has given them out).
var global = netip.MustParsePrefix("2000::/3")

// reserved are the addresses, among those of IPv4 and global ones of IPv6, that lead to no server on the public
// Internet (the IANA special-purpose address registries).
var reserved = func() (list []netip.Prefix) {
	for _, text := range []string{
		"0.0.0.0/8",       // this network
		"10.0.0.0/8",      // private
		"100.64.0.0/10",   // carriers' NAT
		"127.0.0.0/8",     // loopback
		"169.254.0.0/16",  // link-local, and what clouds tell their machines
		"172.16.0.0/12",   // private
		"192.0.0.0/24",    // protocols
		"192.0.2.0/24",    // documentation
		"192.88.99.0/24",  // relays of 6to4
		"192.168.0.0/16",  // private
		"198.18.0.0/15",   // benchmarks
		"198.51.100.0/24", // documentation
		"203.0.113.0/24",  // documentation
		"224.0.0.0/4",     // multicast
		"240.0.0.0/4",     // reserved, and broadcast
		"2001::/23",       // protocols, Teredo among them
		"2001:db8::/32",   // documentation
		"3fff::/20",       // documentation
	} {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}()

// Prefixes behind which an address of IPv4 stands.
var (
	nat64     = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052 §2.1: the last 32 bits
	sixToFour = netip.MustParsePrefix("2002::/16")    // RFC 3056 §2: the 32 bits behind it
)

// isPublic reports whether an address is one at which a server on the public Internet may be: it is none of
// this machine, of a network that is private or only local, of many hosts, or for documentation, also
// where it stands within one of IPv6.
func isPublic(a netip.Addr) bool {
	if a.Zone() != "" {
		return false
	}
	a = a.Unmap()
	if a.Is6() {
		b := a.As16()
		switch {
		case nat64.Contains(a):
			return isPublic(netip.AddrFrom4([4]byte(b[12:])))
		case !global.Contains(a):
			return false
		case sixToFour.Contains(a):
			return isPublic(netip.AddrFrom4([4]byte(b[2:])))
		}
	}
	for _, p := range reserved {
		if p.Contains(a) {
			return false
		}
	}
	return a.IsValid()
}
