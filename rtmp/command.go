package rtmp

import (
	"fmt"
	"math"
	"strings"
	"time"

	"sluice/flv/amf"
	"sluice/rtmp/internal/chunk"
)

// command is a command message (RTMP 1.0 §7.2): a name, a transaction id, and a
// command object, which is null for most, before the arguments.
type command struct {
	name   string
	txn    float64
	args   []any // args[0] is the command object
	stream uint32
}

// parseCommand reads a command message in AMF0 or AMF3 form. What follows a value
// that cannot be decoded is taken for absent: some devices send a broken tail.
func parseCommand(m chunk.Message) (command, error) {
	body := m.Payload
	if len(body) > 1 && body[0] == 0 && (m.Type == typeCommandAMF3 || body[1] == 2) {
		body = amf0Body(body)
	}
	values, err := decodeValues(body)
	if len(values) == 0 {
		if err == nil {
			err = ErrProtocol
		}
		return command{}, fmt.Errorf("rtmp: empty command: %w", err)
	}
	name, ok := values[0].(string)
	if !ok {
		return command{}, fmt.Errorf("rtmp: command without a name: %w", ErrProtocol)
	}
	c := command{name: name, stream: m.StreamID}
	if len(values) > 1 {
		// No client waits for a transaction id that is not a number.
		if n, ok := values[1].(float64); ok && !math.IsNaN(n) && !math.IsInf(n, 0) {
			c.txn = n
		}
	}
	if len(values) > 2 {
		c.args = values[2:]
	}
	return c, nil
}

// maxValues bounds the values that are kept of a command with a broken tail; none
// has more than eight.
const maxValues = 16

// decodeValues decodes values up to the first that cannot be.
func decodeValues(b []byte) ([]any, error) {
	values, err := amf.DecodeAll(b, commandLimits)
	if err == nil || len(values) > 0 {
		return values, err
	}
	for len(b) > 0 && len(values) < maxValues {
		v, rest, err := amf.DecodeAMF0(b, commandLimits)
		if err != nil {
			return values, err
		}
		values, b = append(values, v), rest
	}
	return values, nil
}

// arg returns an argument, 0 being the command object; nil if there is none.
func (c *command) arg(i int) any {
	if i >= len(c.args) {
		return nil
	}
	return c.args[i]
}

// str returns a string argument, "" if it is not one.
func (c *command) str(i int) string {
	s, _ := c.arg(i).(string)
	return s
}

// num returns a number argument, 0 if it is not one.
func (c *command) num(i int) float64 {
	n, _ := c.arg(i).(float64)
	if math.IsNaN(n) || math.IsInf(n, 0) {
		return 0
	}
	return n
}

// maxPlayDuration bounds what a player may ask for: long enough for anybody, and far
// from what a time.Duration holds.
const maxPlayDuration = 365 * 24 * time.Hour

// playDuration reads the duration of play or the len of play2, in milliseconds: 0 for
// none if it is absent, not a number, not finite or not positive (-1 is "to the end").
// Any other is at least 1 ms, so that it does not become none where it is rounded.
func playDuration(v any) time.Duration {
	ms, ok := v.(float64)
	if !ok || !(ms > 0) || math.IsInf(ms, 0) {
		return 0
	}
	ms = min(max(ms, 1), float64(maxPlayDuration/time.Millisecond))
	return time.Duration(ms * float64(time.Millisecond))
}

// milliseconds returns a time that a client sends in milliseconds: 0 for what is negative,
// a year at the most.
func milliseconds(ms float64) time.Duration {
	if !(ms > 0) {
		return 0
	}
	return time.Duration(min(ms, float64(maxPlayDuration/time.Millisecond)) * float64(time.Millisecond))
}

// reset returns play's reset argument, a boolean or a number; true if there is none.
func (c *command) reset(i int) bool {
	switch v := c.arg(i).(type) {
	case bool:
		return v
	case float64:
		return v != 0
	}
	return true
}

// flag returns a boolean argument, or def if it is not one.
func (c *command) flag(i int, def bool) bool {
	if b, ok := c.arg(i).(bool); ok {
		return b
	}
	return def
}

// streamID returns a number argument that is a message stream id.
func (c *command) streamID(i int) (uint32, bool) {
	n, ok := c.arg(i).(float64)
	if !ok || !(n >= 0 && n <= math.MaxUint32) {
		return 0, false
	}
	return uint32(n), true
}

// props are the properties of an object in any of AMF's forms.
type props []amf.Property

// objectArg returns an object argument, empty if it is not one.
func (c *command) objectArg(i int) props {
	p, _ := amf.Properties(c.arg(i))
	return p
}

// get returns the value of a name, the last one if there are several. Names are
// compared without case: some devices write tcurl.
func (p props) get(name string) any {
	for i := len(p) - 1; i >= 0; i-- {
		if strings.EqualFold(p[i].Name, name) {
			return p[i].Value
		}
	}
	return nil
}

// str returns a string, without the quotes that some devices put around it.
func (p props) str(name string) string {
	s, _ := p.get(name).(string)
	if n := len(s); n >= 2 && s[0] == '"' && s[n-1] == '"' {
		s = s[1 : n-1]
	}
	return s
}

// status reads the information object of an onStatus, _result or _error command.
func (c *command) status() *StatusError {
	// The object is the argument after the command object, or the command object
	// itself with servers that leave one out.
	info := c.objectArg(1)
	if len(info) == 0 {
		info = c.objectArg(0)
	}
	s := info.status()
	if s.Code == "" && c.name == "_error" {
		s.Level, s.Code = LevelError, CodeCallFailed
	}
	return s
}

// status reads an information object.
func (p props) status() *StatusError {
	s := &StatusError{Level: p.str("level"), Code: p.str("code"), Description: p.str("description")}
	for _, property := range p {
		switch strings.ToLower(property.Name) {
		case "level", "code", "description":
		default:
			if len(s.Properties) < maxValues {
				s.Properties = append(s.Properties, property)
			}
		}
	}
	return s
}
