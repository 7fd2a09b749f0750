// Package rawconn reads from and writes to the file descriptors of connections without
// blocking and without a word to Go's scheduler or poller, which would cost about as much
// as the system call itself. It is for those who serve thousands of connections, one after
// the other: the pumps of hub/fanout and of hub/intake.
//
// A syscall.RawConn keeps its descriptor from being closed, and its number from being
// given to another connection, during a call; a bare descriptor is the caller's to guard.
package rawconn
