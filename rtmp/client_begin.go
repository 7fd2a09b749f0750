package rtmp

import (
	"fmt"

	"sluice/flv/amf"
	"sluice/rtmp/internal/handshake"
)

// wording is what a client says to open a stream, behind connect.
type wording struct {
	// prepare appends what goes along with createStream.
	prepare func(dst []byte, cc *clientConn) []byte
	// atOnce appends what goes along with connect and createStream instead of waiting for their
	// results, if it is set: the message stream is firstStream.
	atOnce func(dst []byte, cc *clientConn) []byte
}

// firstStream is the id of the first message stream with nearly every server.
const firstStream = 1

// begin shakes hands, connects and creates the message stream.
func (cc *clientConn) begin(flashVer string, properties amf.Object, w wording) error {
	messages := cc.appendConnect(nil, flashVer, properties)
	shake := handshake.ClientThen
	if w.atOnce != nil {
		cc.streamID = firstStream
		messages = w.atOnce(cc.appendCreate(messages, w), cc)
		shake = handshake.ClientAtOnce
	}
	if err := shake(cc.conn, messages); err != nil {
		return cc.readError(err)
	}
	connected, err := cc.result(txnConnect)
	if err != nil {
		return err
	}
	cc.server = connected.serverInfo()
	if w.atOnce == nil {
		if err := cc.sendAll(cc.appendCreate(cc.pending, w)); err != nil {
			return fmt.Errorf("rtmp: creating a stream: %w", err)
		}
	}
	created, err := cc.result(txnCreateStream)
	if err != nil {
		return err
	}
	id, ok := created.streamID(1)
	switch {
	case !ok:
		return fmt.Errorf("rtmp: createStream without an id: %w", ErrProtocol)
	case w.atOnce != nil && id != cc.streamID:
		return fmt.Errorf("rtmp: createStream with another id than was expected: %w", ErrProtocol)
	}
	cc.streamID = id
	return nil
}

// appendConnect appends the client's chunk size and connect.
func (cc *clientConn) appendConnect(dst []byte, flashVer string, properties amf.Object) []byte {
	dst = appendControl(dst, typeSetChunkSize, uint32(cc.size))
	object := amf.Object{
		{Name: "app", Value: cc.app + cc.auth},
		{Name: "type", Value: "nonprivate"},
		{Name: "flashVer", Value: flashVer},
		{Name: "tcUrl", Value: cc.tcURL + cc.auth},
		{Name: "fpad", Value: false},
		{Name: "capabilities", Value: 15.0},
		{Name: "audioCodecs", Value: 4071.0},
		{Name: "videoCodecs", Value: 252.0},
		{Name: "videoFunction", Value: 1.0},
	}
	object = append(append(object, cc.caps.properties()...), properties...)
	return appendCommand(dst, cc.size, 0, "connect", float64(txnConnect), object)
}

// appendCreate appends createStream and what goes along with it.
func (cc *clientConn) appendCreate(dst []byte, w wording) []byte {
	return appendCommand(w.prepare(dst, cc), cc.size, 0, "createStream", float64(txnCreateStream), nil)
}
