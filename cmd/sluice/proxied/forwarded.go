package proxied

import (
	"net/http"
	"net/netip"
	"strings"

	"sluice/httpflv"
)

// Bounds on X-Forwarded-For. What is beyond them, on the left, is not looked at.
const (
	maxHops      = 100     // addresses
	maxForwarded = 8 << 10 // bytes, in all lines together
)

// Forwarded returns a handler that hands requests on to next with the client's address in
// RemoteAddr, where they come through a proxy. It stands in front of everything that looks
// at RemoteAddr, the handler that admission.Control.Guard sets up included.
//
// Each proxy appends the address of its peer to X-Forwarded-For, so what stands on the right
// was written last. The list is read from there, only where the peer is trusted: the first
// address that is not trusted is the client. What is left of it was sent by that client,
// and so is never looked at. If all addresses are trusted, the leftmost is the client, which
// may be a proxy that asks for itself. An entry that is no address ("unknown", a name, an
// IPv6 address with a zone) ends the list: then the last proxy before it counts as the
// client, since who is behind it is not known.
//
// The client is called secure as the rightmost X-Forwarded-Proto says, which is for the
// last proxy to set. The header Forwarded (RFC 7239) is not read: nginx and haproxy send
// X-Forwarded-For, and a proxy that sets one of the two may pass the other on as it came.
//
// trusted is as Config.Trusted.
func Forwarded(trusted func(netip.Addr) bool, next http.Handler) http.Handler {
	if trusted == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil || !trusted(peer.Addr().Unmap().WithZone("")) {
			next.ServeHTTP(w, r)
			return
		}
		ctx := r.Context()
		if secure, told := isSecure(r.Header); told {
			ctx = httpflv.WithSecure(ctx, secure)
		}
		r = r.WithContext(ctx) // a copy: the request itself is not the handler's to change
		if client := clientOf(r.Header["X-Forwarded-For"], trusted); client.IsValid() {
			r.RemoteAddr = client.String()
		}
		next.ServeHTTP(w, r)
	})
}

// clientOf returns the client's address by the lines of X-Forwarded-For, with port 0 if they
// tell none. It is not valid if the peer itself is the client, as far as it tells.
func clientOf(lines []string, trusted func(netip.Addr) bool) (client netip.AddrPort) {
	hops, left := 0, maxForwarded
	for i := len(lines) - 1; i >= 0; i-- {
		for line, more := lines[i], true; more; hops++ {
			var entry string
			line, entry, more = cutLast(line)
			if left -= len(entry) + 1; left < 0 || hops >= maxHops {
				return client
			}
			hop, ok := parseHop(strings.Trim(entry, " \t"))
			if !ok {
				return client
			}
			client = hop
			if !trusted(hop.Addr()) {
				return client
			}
		}
	}
	return client
}

// cutLast takes the last element off a list.
func cutLast(list string) (before, last string, more bool) {
	comma := strings.LastIndexByte(list, ',')
	if comma < 0 {
		return "", list, false
	}
	return list[:comma], list[comma+1:], true
}

// parseHop parses an address as proxies write it: 192.0.2.1, 2001:db8::1 or [2001:db8::1],
// the first and the last with or without a port.
func parseHop(text string) (netip.AddrPort, bool) {
	addr, err := netip.ParseAddr(text)
	hop := netip.AddrPortFrom(addr, 0)
	if bare, ok := strings.CutPrefix(text, "["); err != nil && ok {
		if bare, ok = strings.CutSuffix(bare, "]"); ok {
			addr, err = netip.ParseAddr(bare)
			hop = netip.AddrPortFrom(addr, 0)
			if addr.Is4() {
				return netip.AddrPort{}, false
			}
		}
	}
	if err != nil {
		hop, err = netip.ParseAddrPort(text)
	}
	if err != nil || hop.Addr().Zone() != "" || hop.Addr().Unmap().IsUnspecified() {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(hop.Addr().Unmap(), hop.Port()), true
}

// isSecure reports what the last proxy tells of its client's connection, and whether it does.
func isSecure(header http.Header) (secure, told bool) {
	lines := header["X-Forwarded-Proto"]
	if len(lines) == 0 {
		return false, false
	}
	_, last, _ := cutLast(lines[len(lines)-1])
	switch strings.ToLower(strings.Trim(last, " \t")) {
	case "https", "wss":
		return true, true
	case "http", "ws":
		return false, true
	}
	return false, false
}
