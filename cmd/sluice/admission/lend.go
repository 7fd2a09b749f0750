package admission

import "sync"

// loan is what a connection knows of the use of its descriptor by another, which
// hub/fanout describes (Lender).
type loan struct {
	mu     sync.Mutex
	over   bool   // the connection is being closed
	revoke func() // nil if nobody has the descriptor
}

// Lend returns the connection's descriptor, good until revoke has returned. Close calls
// revoke, once, before it closes the descriptor. ok is false if it is lent already or the
// connection is being closed.
func (c *tcpConn) Lend(revoke func()) (fd int, ok bool) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, false
	}
	c.loan.mu.Lock()
	defer c.loan.mu.Unlock()
	if c.loan.over || c.loan.revoke != nil {
		return 0, false
	}
	// Close waits for the lock before it closes anything.
	if raw.Control(func(n uintptr) { fd = int(n) }) != nil {
		return 0, false
	}
	c.loan.revoke = revoke
	return fd, true
}

// end calls a lent descriptor back. It returns when it is not used any more.
func (l *loan) end() {
	l.mu.Lock()
	revoke := l.revoke
	l.over, l.revoke = true, nil
	l.mu.Unlock()
	if revoke != nil {
		revoke()
	}
}
