package amf

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Markers (AMF0 §2.1).
const (
	amf0Number      = 0x00
	amf0Boolean     = 0x01
	amf0String      = 0x02
	amf0Object      = 0x03
	amf0Null        = 0x05
	amf0Undefined   = 0x06
	amf0Reference   = 0x07
	amf0ECMAArray   = 0x08
	amf0ObjectEnd   = 0x09
	amf0StrictArray = 0x0A
	amf0Date        = 0x0B
	amf0LongString  = 0x0C
	amf0Unsupported = 0x0D
	amf0XML         = 0x0F
	amf0TypedObject = 0x10
	amf0SwitchAMF3  = 0x11
)

// maxName bounds names and short strings in bytes: their length is a u16.
const maxName = math.MaxUint16

// AppendAMF0 appends values in AMF0, one after another. Go types that AMF has
// nothing for become its unsupported marker; byte arrays switch to AMF3 for
// one value. A name or class over 65,535 bytes cannot be written: such a
// property is left out, such an object becomes anonymous. References are not
// used.
func AppendAMF0(dst []byte, values ...any) []byte {
	for _, v := range values {
		dst = appendAMF0(dst, v)
	}
	return dst
}

func appendAMF0(dst []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(dst, amf0Null)
	case Undefined:
		return append(dst, amf0Undefined)
	case bool:
		if v {
			return append(dst, amf0Boolean, 1)
		}
		return append(dst, amf0Boolean, 0)
	case string:
		if len(v) <= maxName {
			return appendName(append(dst, amf0String), v)
		}
		return appendLong(append(dst, amf0LongString), v)
	case XML:
		return appendLong(append(dst, amf0XML), string(v))
	case Date:
		dst = appendFloat(append(dst, amf0Date), v.Milliseconds)
		return binary.BigEndian.AppendUint16(dst, uint16(v.Zone))
	case Object:
		return appendProperties(append(dst, amf0Object), v)
	case []Property:
		return appendProperties(append(dst, amf0Object), v)
	case TypedObject:
		if len(v.Class) > maxName {
			return appendAMF0(dst, v.Object)
		}
		return appendProperties(appendName(append(dst, amf0TypedObject), v.Class), v.Object)
	case ECMAArray:
		dst = binary.BigEndian.AppendUint32(append(dst, amf0ECMAArray), uint32(len(v)))
		return appendProperties(dst, v)
	case StrictArray:
		dst = binary.BigEndian.AppendUint32(append(dst, amf0StrictArray), uint32(len(v)))
		return AppendAMF0(dst, v...)
	case []byte:
		return AppendAMF3(append(dst, amf0SwitchAMF3), v)
	}
	if f, ok := number(v); ok {
		return appendFloat(append(dst, amf0Number), f)
	}
	return append(dst, amf0Unsupported)
}

// number returns a Go number of any type as AMF's only one.
func number(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case float32:
		return float64(v), true
	case int:
		return float64(v), true
	case int8:
		return float64(v), true
	case int16:
		return float64(v), true
	case int32:
		return float64(v), true
	case int64:
		return float64(v), true
	case uint:
		return float64(v), true
	case uint8:
		return float64(v), true
	case uint16:
		return float64(v), true
	case uint32:
		return float64(v), true
	case uint64:
		return float64(v), true
	}
	return 0, false
}

func appendFloat(dst []byte, f float64) []byte {
	return binary.BigEndian.AppendUint64(dst, math.Float64bits(f))
}

func appendName(dst []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
}

func appendLong(dst []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(s))), s...)
}

// appendProperties appends name and value of each property, then the object
// end: an empty name and its marker.
func appendProperties(dst []byte, props []Property) []byte {
	for _, p := range props {
		if len(p.Name) <= maxName {
			dst = appendAMF0(appendName(dst, p.Name), p.Value)
		}
	}
	return append(dst, 0, 0, amf0ObjectEnd)
}

// DecodeAMF0 decodes the first value of b and returns what follows it. It keeps
// nothing of b. An object or ECMA array may end with the data, without its
// end marker, as some encoders write it; the count of an ECMA array is ignored,
// since they get it wrong.
func DecodeAMF0(b []byte, l Limits) (v any, rest []byte, err error) {
	return newDecoder0(l).value(b, 0)
}

// DecodeAll decodes all values of a message, which share limits and references.
// With an error come the values before the one that failed.
func DecodeAll(b []byte, l Limits) ([]any, error) {
	d := newDecoder0(l)
	var values []any
	for len(b) > 0 {
		v, rest, err := d.value(b, 0)
		if err != nil {
			return values, err
		}
		values = append(values, v)
		b = rest
	}
	return values, nil
}

// decoder0 decodes the values of one message.
type decoder0 struct {
	references
}

func newDecoder0(l Limits) *decoder0 {
	return &decoder0{references{budget: newBudget(l)}}
}

// value decodes the first value of b, which has depth values around it.
func (d *decoder0) value(b []byte, depth int) (any, []byte, error) {
	if len(b) == 0 {
		return nil, nil, errEnd("value")
	}
	marker, b := b[0], b[1:]
	switch marker {
	case amf0Object, amf0ECMAArray, amf0StrictArray, amf0TypedObject:
		return d.define(depth+1, func() (any, []byte, error) { return d.complex(marker, b, depth+1) })
	case amf0Reference:
		if len(b) < 2 {
			return nil, nil, errEnd("reference")
		}
		v, err := d.resolve(int(binary.BigEndian.Uint16(b)), depth+1)
		return wrap(v, b[2:], err)
	case amf0SwitchAMF3:
		return newDecoder3(d.budget).value(b, depth)
	}
	if err := d.takeElements(1); err != nil {
		return nil, nil, err
	}
	switch marker {
	case amf0Number:
		return wrap(takeFloat(b))
	case amf0Boolean:
		if len(b) < 1 {
			return nil, nil, errEnd("boolean")
		}
		return b[0] != 0, b[1:], nil
	case amf0String:
		return wrap(d.name(b))
	case amf0LongString:
		return wrap(d.long(b))
	case amf0XML:
		s, rest, err := d.long(b)
		return wrap(XML(s), rest, err)
	case amf0Null:
		return nil, b, nil
	case amf0Undefined:
		return Undefined{}, b, nil
	case amf0Unsupported:
		return Unsupported{}, b, nil
	case amf0Date:
		ms, b, err := takeFloat(b)
		if err != nil || len(b) < 2 {
			return nil, nil, errEnd("date")
		}
		return Date{ms, int16(binary.BigEndian.Uint16(b))}, b[2:], nil
	}
	return nil, nil, fmt.Errorf("%w: AMF0 marker %#02x", ErrFormat, marker)
}

// complex decodes what follows the marker of an object or array at depth.
func (d *decoder0) complex(marker byte, b []byte, depth int) (any, []byte, error) {
	switch marker {
	case amf0Object:
		props, rest, err := d.properties(b, depth)
		return Object(props), rest, err
	case amf0TypedObject:
		class, b, err := d.name(b)
		if err != nil {
			return nil, nil, err
		}
		props, rest, err := d.properties(b, depth)
		return TypedObject{class, props}, rest, err
	}
	if len(b) < 4 {
		return nil, nil, errEnd("array")
	}
	count, b := binary.BigEndian.Uint32(b), b[4:]
	if marker == amf0ECMAArray {
		props, rest, err := d.properties(b, depth)
		return ECMAArray(props), rest, err
	}
	array := StrictArray{}
	for range count {
		v, rest, err := d.value(b, depth)
		if err != nil {
			return nil, nil, err
		}
		array = append(array, v)
		b = rest
	}
	return array, b, nil
}

// properties decodes names and values up to the object end or that of b.
func (d *decoder0) properties(b []byte, depth int) ([]Property, []byte, error) {
	props := []Property{}
	for len(b) > 0 {
		if len(b) >= 3 && b[0] == 0 && b[1] == 0 && b[2] == amf0ObjectEnd {
			return props, b[3:], nil
		}
		name, rest, err := d.name(b)
		if err != nil {
			return nil, nil, err
		}
		v, rest, err := d.value(rest, depth)
		if err != nil {
			return nil, nil, err
		}
		props = append(props, Property{name, v})
		b = rest
	}
	return props, b, nil
}

// name decodes a string with a u16 length.
func (d *decoder0) name(b []byte) (string, []byte, error) {
	if len(b) < 2 {
		return "", nil, errEnd("string")
	}
	return d.takeString(b[2:], int(binary.BigEndian.Uint16(b)))
}

// long decodes a string with a u32 length.
func (d *decoder0) long(b []byte) (string, []byte, error) {
	if len(b) < 4 {
		return "", nil, errEnd("string")
	}
	n := binary.BigEndian.Uint32(b)
	if uint64(n) > uint64(len(b)) {
		return "", nil, errEnd("string")
	}
	return d.takeString(b[4:], int(n))
}

// wrap turns the result of a decoder of one type into that of value.
func wrap[T any](v T, rest []byte, err error) (any, []byte, error) {
	if err != nil {
		return nil, nil, err
	}
	return v, rest, nil
}
