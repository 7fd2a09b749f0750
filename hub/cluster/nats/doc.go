// Package nats is a cluster.Directory on NATS, which runs in this process or is there already.
//
//	records   a bucket of keys and values in memory, on the nodes that vote (three, or five of five or more)
//	messages  plain ones, which reach every node that listens, and are lost where one is not connected
//
// In this process the nodes' servers form a cluster of servers of their own, each connected to each other.
// Nodes that do not vote have a server too, so that messages go the same way everywhere.
//
// When the server that decides on records dies, the others need 4 to 9 s to find another one, in which
// every change is ErrMute; the times of its elections cannot be set. Stopped properly it hands over, in which
// nothing is noticed. Records are gone when all that vote are gone at the same time; who needs one makes it
// anew.
package nats
