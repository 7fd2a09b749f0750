//go:build unix

package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"

	"sluice/flv"
	"sluice/flv/amf"
)

// rawRTMP is an RTMP client in the hands of the test, as far as it needs one: it
// reads what begins each message with a full header, as this server writes.
type rawRTMP struct {
	net.Conn
	in    *bufio.Reader
	chunk int // size of the server's chunks
	form  flv.Form
}

// rawMessage is one message.
type rawMessage struct {
	typ          uint8
	stream, time uint32
	body         []byte
}

// Message types (RTMP 1.0 §5.4, §7.1).
const (
	rawSetChunkSize, rawUserControl, rawData, rawCommand = 1, 4, 18, 20
)

// rawChunkSize is the size of the client's chunks: each message is one.
const rawChunkSize = 1 << 20

// dialRaw shakes hands and connects; with Enhanced RTMP if it is to be announced.
func (w *soak) dialRaw(ctx context.Context, app string, enhanced bool) (*rawRTMP, error) {
	conn, err := w.dial(ctx, w.rtmpAddr)
	if err != nil {
		return nil, err
	}
	return connectRaw(conn, app, enhanced)
}

// connectRaw is dialRaw over a connection.
func connectRaw(conn net.Conn, app string, enhanced bool) (*rawRTMP, error) {
	return connectRawWith(conn, enhanced, amf.Object{{Name: "app", Value: app}, {Name: "tcUrl", Value: "rtmp://soak/" + app}})
}

// connectRawWith is connectRaw with all that connect says.
func connectRawWith(conn net.Conn, enhanced bool, object amf.Object) (*rawRTMP, error) {
	c := &rawRTMP{Conn: conn, in: bufio.NewReader(conn), chunk: 128, form: flv.FormClassic}
	hello := make([]byte, 1+1536)
	hello[0] = 3
	c.Write(hello)
	if _, err := io.ReadFull(c.in, make([]byte, 1+2*1536)); err != nil {
		return nil, err
	}
	c.Write(hello[1:])
	c.send(rawSetChunkSize, 0, binary.BigEndian.AppendUint32(nil, rawChunkSize))
	if enhanced {
		c.form = flv.FormAsSent
		object = append(object, amf.Property{Name: "fourCcList", Value: amf.StrictArray{"*"}},
			amf.Property{Name: "capsEx", Value: 7.0})
	}
	c.command(0, "connect", 1.0, object)
	for {
		m, err := c.next()
		if err != nil {
			return nil, err
		}
		if m.typ == rawCommand {
			return c, nil
		}
	}
}

// send sends a message.
func (c *rawRTMP) send(typ uint8, stream uint32, body []byte) error {
	n := len(body)
	b := []byte{3, 0, 0, 0, byte(n >> 16), byte(n >> 8), byte(n), typ}
	b = binary.LittleEndian.AppendUint32(b, stream)
	_, err := c.Write(append(b, body...))
	return err
}

func (c *rawRTMP) command(stream uint32, values ...any) error {
	return c.send(rawCommand, stream, amf.AppendAMF0(nil, values...))
}

// next reads a message, and does what protocol control asks for.
func (c *rawRTMP) next() (m rawMessage, err error) {
	var head [12]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return m, err
	}
	if head[0]>>6 != 0 || head[0]&0x3f < 2 {
		return m, fmt.Errorf("chunk % x where a message begins", head)
	}
	m = rawMessage{
		typ: head[7], stream: binary.LittleEndian.Uint32(head[8:]), time: binary.BigEndian.Uint32(head[:]) & 0xffffff,
		body: make([]byte, binary.BigEndian.Uint32(head[3:])&0xffffff),
	}
	extended := m.time == 0xffffff
	for have := 0; ; {
		if extended {
			var t [4]byte
			if _, err := io.ReadFull(c.in, t[:]); err != nil {
				return m, err
			}
			m.time = binary.BigEndian.Uint32(t[:])
		}
		n := min(c.chunk, len(m.body)-have)
		if _, err := io.ReadFull(c.in, m.body[have:have+n]); err != nil {
			return m, err
		}
		if have += n; have == len(m.body) {
			break
		}
		if b, err := c.in.ReadByte(); err != nil || b != 0xc0|head[0] {
			return m, fmt.Errorf("chunk %#x in a message of chunk stream %d (%w)", b, head[0], err)
		}
	}
	switch {
	case m.typ == rawSetChunkSize:
		c.chunk = int(binary.BigEndian.Uint32(m.body))
	case m.typ == rawUserControl && m.body[1] == 6: // a ping
		c.send(rawUserControl, 0, append([]byte{0, 7}, m.body[2:]...))
	}
	return m, nil
}

// code returns the code of an onStatus, "" for anything else.
func (m rawMessage) code() string {
	if m.typ != rawCommand {
		return ""
	}
	values, err := amf.DecodeAll(m.body, amf.Limits{})
	if err != nil || len(values) < 4 || values[0] != "onStatus" {
		return ""
	}
	object, _ := values[3].(amf.Object)
	code, _ := object.Get("code")
	text, _ := code.(string)
	return text
}

// rawPlay is one message stream on which a player plays.
type rawPlay struct {
	now  *checker // nil when it plays nothing
	next *checker // from the next Play.Reset on
}

// play is one actor: players with several plays on a connection, which pause, switch
// tracks off and on, change streams, and leave without a word.
func (w *soak) play(rng *rand.Rand) {
	for !w.over() {
		ctx, leave := context.WithCancel(w.ctx)
		c, err := w.dialRaw(ctx, "soak", rng.IntN(2) == 0)
		if err == nil {
			w.count("RTMP player")
			err = w.plays(c, rng)
		}
		if err != nil && !w.over() {
			w.fail("RTMP player: %v", err)
		}
		leave()
	}
}

// plays plays on a connection until something ends that.
func (w *soak) plays(c *rawRTMP, rng *rand.Rand) error {
	plays := map[uint32]*rawPlay{}
	begin := func(id uint32, how string) {
		v := w.selection(rng)
		v.scripts = true
		v.in(c.form)
		name := v.key[len("soak/"):] + v.query
		if how == "play2" {
			c.command(id, "play2", 0.0, nil, amf.Object{{Name: "streamName", Value: name}})
		} else {
			c.command(id, "play", 0.0, nil, name, -2000.0)
		}
		if plays[id] == nil {
			plays[id] = &rawPlay{}
		}
		plays[id].next = newChecker(w, v)
	}
	for id := range uint32(1 + rng.IntN(3)) {
		c.command(0, "createStream", float64(2+id), nil)
		begin(id+1, "play")
	}
	for left := rng.IntN(1500); left > 0; left-- {
		m, err := c.next()
		if err != nil {
			return w.hungUp(plays, err)
		}
		if p := plays[m.stream]; p != nil {
			if err := p.take(w, m); err != nil {
				return err
			}
		}
		w.tags.Add(1)
		if rng.IntN(60) == 0 {
			id := uint32(1 + rng.IntN(len(plays)))
			w.wave(c, id, plays[id], begin, rng)
		}
	}
	if rng.IntN(2) == 0 {
		c.command(0, "deleteStream", 0.0, nil, 1.0)
	}
	return nil
}

// hungUp judges the end of the connection, which is the server's only when nothing
// plays any more.
func (w *soak) hungUp(plays map[uint32]*rawPlay, err error) error {
	for id, p := range plays {
		if p.now != nil && !w.closing.Load() {
			return fmt.Errorf("connection ends while message stream %d plays %s: %w", id, p.now.selection.key, err)
		}
	}
	return nil
}

// take takes a message of the message stream.
func (p *rawPlay) take(w *soak, m rawMessage) error {
	switch m.code() {
	case "NetStream.Play.Reset":
		p.now, p.next = p.next, nil
		if p.now == nil {
			return fmt.Errorf("a play that nobody asked for")
		}
		return nil
	case "NetStream.Play.UnpublishNotify":
		if p.now == nil {
			return nil
		}
		c := p.now
		p.now = nil
		w.count("viewer saw the end")
		return c.wrap(c.end(io.EOF))
	case "NetStream.Play.StreamNotFound", "NetStream.Play.Failed":
		w.count("session refused")
		if p.now != nil && p.next == nil {
			return p.now.wrap(fmt.Errorf("failed in the middle"))
		}
		p.now, p.next = nil, nil
		return nil
	}
	switch m.typ {
	case rawData:
		if values, err := amf.DecodeAll(m.body, amf.Limits{}); err == nil && values[0] == "|RtmpSampleAccess" {
			return nil
		}
	case uint8(flv.TypeAudio), uint8(flv.TypeVideo):
	default:
		return nil
	}
	if p.now == nil {
		return fmt.Errorf("media behind the end")
	}
	return p.now.wrap(p.now.tag(flv.Tag{Type: flv.Type(m.typ), Timestamp: m.time, Data: m.body}))
}

// wrap says of which viewer an error is.
func (c *checker) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s%s, tag %d: %w", c.selection.key, c.selection.query, c.tags, err)
}

// wave sends one of the commands that players have.
func (w *soak) wave(c *rawRTMP, id uint32, p *rawPlay, begin func(uint32, string), rng *rand.Rand) {
	loose := func() {
		for _, check := range []*checker{p.now, p.next} {
			if check != nil {
				check.loose = true
			}
		}
	}
	switch rng.IntN(8) {
	case 0:
		w.count("player pauses and resumes")
		loose()
		c.command(id, "pause", 0.0, nil, true, 0.0)
		w.sleep(soakTick * 10)
		c.command(id, "pause", 0.0, nil, false, 0.0)
	case 1, 2:
		track := []string{"receiveVideo", "receiveAudio"}[rng.IntN(2)]
		w.count("player " + track)
		loose()
		c.command(id, track, 0.0, nil, false)
		w.sleep(soakTick * 5)
		c.command(id, track, 0.0, nil, true)
	case 3, 4:
		if p.next == nil { // so that it is known what begins next
			how := []string{"play", "play2"}[rng.IntN(2)]
			w.count("player turns to another stream: " + how)
			begin(id, how)
		}
	case 5:
		c.command(id, "seek", 0.0, nil, 1000.0)
		c.command(id, "getStreamLength", 9.0, nil, "x")
		c.command(0, "neverHeardOf", 10.0, nil)
	case 6: // media of a player's own means nothing
		c.send(uint8(flv.TypeVideo), id, []byte("\x17\x01\x00\x00\x00hello"))
		c.send(uint8(flv.TypeAudio), 77, []byte("\xaf\x01hello"))
	case 7: // what others publish is none of its business
		c.command(0, "FCUnpublish", 11.0, nil, w.streams[0].key[len("soak/"):])
		c.command(0, "deleteStream", 0.0, nil, 99.0)
		c.command(99, "closeStream", 0.0, nil)
	}
}
