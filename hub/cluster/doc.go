// Package cluster makes several nodes one server: a stream that is published at one of them has that one
// as its owner, for all of them, and any other gives it to its viewers.
//
//	claim    a publisher comes: who owns the name, and does it go over to this node
//	find     a viewer comes: which node has the stream
//	edge     it is copied from there, once, for all viewers of this node
//	settle   records, owners and beliefs come together again after what has parted them
//
// It knows no engine and no protocol: records and messages are a Directory's, and what copies a stream is
// given to it.
package cluster
