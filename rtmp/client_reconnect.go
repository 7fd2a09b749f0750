package rtmp

import "sluice/rtmp/internal/chunk"

// Reconnects returns a channel with what the server asked for last, if it asked to reconnect
// and nobody has taken that yet (Client.CanReconnect). What cannot be followed is passed over.
// The stream goes on until it is closed or the server ends it.
func (p *Publisher) Reconnects() <-chan Reconnect { return p.cc.reconnects }

// Reconnects is as for a Publisher. It is ReadTag that takes the server's requests.
func (p *Player) Reconnects() <-chan Reconnect { return p.cc.reconnects }

// heedReconnect takes a request to reconnect, if a message is one: the newest one counts. It
// is for the goroutine that reads, the only one that puts anything into the channel.
func (cc *clientConn) heedReconnect(m chunk.Message) {
	if m.StreamID != 0 || m.Type != typeCommand && m.Type != typeCommandAMF3 {
		return
	}
	c, err := parseCommand(m)
	if err != nil {
		return
	}
	r, ok := reconnectOf(&c, &cc.target)
	if !ok {
		return
	}
	select {
	case <-cc.reconnects:
	default:
	}
	cc.reconnects <- r
}
