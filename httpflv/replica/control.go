package replica

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/hub"
	"sluice/hub/cluster"
)

// Sizes of a tag around its body, in bytes.
const (
	headSize    = 11
	trailerSize = 4
)

// appendHead appends what stands before a tag's body.
//
//	type (u8)  body size (u24)  time (u24, then its bits 24-31)  number (u24)
func appendHead(dst []byte, kind flv.Type, size int, time int64, number uint64) []byte {
	return append(dst,
		byte(kind),
		byte(size>>16), byte(size>>8), byte(size),
		byte(time>>16), byte(time>>8), byte(time), byte(time>>24),
		byte(number>>16), byte(number>>8), byte(number))
}

// appendTrailer appends what stands behind a body of so many bytes.
func appendTrailer(dst []byte, size int) []byte {
	return binary.BigEndian.AppendUint32(dst, uint32(headSize+size))
}

// named is how the body of a control tag begins: with its name, an AMF0 string.
var named = amf.AppendAMF0(nil, "sluice")

// isNamed reports whether a tag would be taken for a control tag.
func isNamed(kind flv.Type, data []byte) bool {
	return kind == flv.TypeScript && bytes.HasPrefix(data, named)
}

// maxControl bounds the body of a control tag, in bytes.
const maxControl = 1 << 10

// control is what a control tag says: it is a ping, or the end, or is about the tag behind it, which is none
// itself then, whatever its name is.
type control struct {
	ping  bool
	end   hub.Reason // none: it is no end
	alone bool       // it is about an item without a tag

	header, reset, first bool
	lost                 uint64
	far                  bool // epoch and number are told
	epoch, number        uint64
}

// append appends the body of the control tag.
func (c control) append(dst []byte) []byte {
	var o amf.Object
	say := func(name string, value any) { o = append(o, amf.Property{Name: name, Value: value}) }
	for _, flag := range []struct {
		name string
		set  bool
	}{{"ping", c.ping}, {"alone", c.alone}, {"header", c.header}, {"reset", c.reset}, {"first", c.first}} {
		if flag.set {
			say(flag.name, true)
		}
	}
	if c.end != hub.ReasonNone {
		say("end", c.end.String())
	}
	// 64 bits have no room in a number of AMF.
	if c.lost > 0 {
		say("lost", strconv.FormatUint(c.lost, 10))
	}
	if c.far {
		say("epoch", strconv.FormatUint(c.epoch, 10))
		say("number", strconv.FormatUint(c.number, 10))
	}
	return amf.AppendAMF0(append(dst, named...), o)
}

// parseControl reads the body of a control tag. What it says of things that are not known here is passed
// over.
func parseControl(body []byte) (c control, err error) {
	if len(body) > maxControl {
		return c, fmt.Errorf("%w: a control tag of %d bytes", ErrProtocol, len(body))
	}
	var bad bool
	var numbered, epoched bool
	flag := func(value any) bool {
		b, ok := value.(bool)
		bad = bad || !ok
		return b
	}
	number := func(value any) uint64 {
		text, _ := value.(string)
		n, err := strconv.ParseUint(text, 10, 64)
		bad = bad || err != nil
		return n
	}
	rest, err := amf.EachProperty(body[len(named):], amf.Limits{Depth: 4, Elements: 64}, func(name []byte, value any, err error) {
		bad = bad || err != nil
		switch string(name) {
		case "ping":
			c.ping = flag(value)
		case "alone":
			c.alone = flag(value)
		case "header":
			c.header = flag(value)
		case "reset":
			c.reset = flag(value)
		case "first":
			c.first = flag(value)
		case "end":
			text, _ := value.(string)
			c.end, _ = hub.ReasonOf(text)
			bad = bad || c.end == hub.ReasonNone
		case "lost":
			c.lost = number(value)
		case "epoch":
			c.epoch, epoched = number(value), true
		case "number":
			c.number, numbered = number(value), true
		}
	})
	c.far = epoched
	if err != nil || bad || len(rest) > 0 || epoched != numbered {
		return control{}, fmt.Errorf("%w: a control tag that makes no sense", ErrProtocol)
	}
	return c, nil
}

// about returns what has to be said of an item before its tag, and whether there is anything.
func about(it *cluster.Item, p *place) (control, bool) {
	c := control{
		alone: it.Tag.Type == 0, header: it.Header, reset: it.Reset, first: it.First, lost: it.Lost, far: p.far(it.At),
	}
	if c.far {
		c.epoch, c.number = it.At.Epoch, it.At.Number
	}
	// A publisher may name its own script data as it likes.
	return c, c != control{} || isNamed(it.Tag.Type, it.Tag.Data)
}
