package admission

import (
	"net/netip"

	"sluice/hub"
)

// beginRequest counts a trusted proxy's connection at the address that a request is from,
// as http.Request.RemoteAddr has it. It reports false if there are enough connections from
// there; then the connection stays idle. Others are counted already.
func (c *conn) beginRequest(remote string) bool {
	if !c.ofProxy {
		return true
	}
	from, _ := netip.ParseAddrPort(remote) // without an address, all are one
	var gone goners
	c.control.mu.Lock()
	ok := c.control.beginRequestLocked(c, hub.ClientAddress(from.Addr()), &gone)
	c.control.mu.Unlock()
	gone.giveUp()
	return ok
}

func (a *Control) beginRequestLocked(c *conn, from netip.Addr, gone *goners) bool {
	if c.state != idle { // turned away, or closed
		return true
	}
	now := a.nowLocked()
	if !a.makeRoomOfAddressLocked(from, now, &gone[0]) {
		a.countLocked(c, fullOfAddress)
		return false
	}
	a.addressLocked(c, from)
	a.setLocked(c, pending)
	a.thinAllLocked(now, gone)
	return true
}

// endRequest says that a request has been answered, and that a further one may come.
func (c *conn) endRequest() {
	c.control.mu.Lock()
	defer c.control.mu.Unlock()
	switch c.state {
	case pending, asking, active:
	default:
		return
	}
	if !c.ofProxy {
		c.control.setLocked(c, pending)
		return
	}
	c.control.setLocked(c, idle)
	c.control.dropAddressLocked(c)
}
