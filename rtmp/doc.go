// Package rtmp speaks RTMP 1.0 and Enhanced RTMP at both ends of a connection:
// a Server that takes publishers and players and hands them to a Handler, and a
// Client that publishes and plays.
//
// The package knows no streams of its own. What a publisher sends reaches the
// Handler's Publication as flv.Tags, and what a player is to get is written by
// the Handler's Playback, with the encoders of ServerStream or in a path of its
// own (ServerStream.SetOutput). An RTMP audio or video message's payload and an
// FLV tag's body are the same bytes; bodies pass through untouched.
//
// Media timestamps are the wire's: 32-bit milliseconds, arithmetic modulo 2^32.
package rtmp
