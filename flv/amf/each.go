package amf

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// EachProperty calls f with each property of the AMF0 object, ECMA array or typed
// object at the head of b, in their order, and returns what follows it. The limits
// hold for each value by itself: one that exceeds them, or makes no sense though its
// length is known, is passed over and told with a nil value and an err. So a large
// object costs no more memory than its largest value, and what is odd in it spoils
// nothing else. References count from the value in which they stand: one to a value
// outside of it is odd. f must not keep name's memory beyond the call.
//
// An object in AMF3, behind its marker in AMF0, is decoded whole, within the limits.
//
// The error wraps ErrFormat, ErrLimit (nested deeper than 16, or an AMF3 object beyond the
// limits) or io.ErrUnexpectedEOF where what follows can't be told any more, or where no
// object stands; f has been called for what came before. An object whose end marker is
// missing ends with b.
func EachProperty(b []byte, l Limits, f func(name []byte, value any, err error)) (rest []byte, err error) {
	if len(b) > 0 && b[0] == amf0SwitchAMF3 {
		return eachAMF3(b, l, f)
	}
	if len(b) == 0 {
		return nil, errEnd("object")
	}
	if b, err = objectHead(b[0], b[1:]); err != nil {
		return nil, err
	}
	for len(b) > 0 {
		if len(b) >= 3 && b[0] == 0 && b[1] == 0 && b[2] == amf0ObjectEnd {
			return b[3:], nil
		}
		name, value, err := splitName(b)
		if err != nil {
			return nil, err
		}
		v, rest, verr := newDecoder0(l).value(value, 1)
		if verr != nil {
			v = nil
			if rest, err = skip(value, 0); err != nil {
				return nil, errors.Join(verr, err)
			}
		}
		f(name, v, verr)
		b = rest
	}
	return b, nil
}

// eachAMF3 is EachProperty for an object in AMF3, to which the limits hold as a whole.
func eachAMF3(b []byte, l Limits, f func(name []byte, value any, err error)) (rest []byte, err error) {
	v, rest, err := DecodeAMF0(b, l)
	if err != nil {
		return nil, err
	}
	props, ok := Properties(v)
	if !ok {
		return nil, fmt.Errorf("%w: no object", ErrFormat)
	}
	for _, p := range props {
		f([]byte(p.Name), p.Value, nil)
	}
	return rest, nil
}

// objectHead passes over what stands between an object's marker and its first property.
func objectHead(marker byte, b []byte) ([]byte, error) {
	switch marker {
	case amf0Object:
		return b, nil
	case amf0ECMAArray:
		return skipBytes(b, 4, "array")
	case amf0TypedObject:
		_, b, err := splitName(b)
		return b, err
	}
	return nil, fmt.Errorf("%w: AMF0 marker %#02x is no object's", ErrFormat, marker)
}

// SkipAMF0 returns what follows the first value of b. AMF0 takes no memory, up to a depth
// of 16; a value in AMF3 is decoded, within the default limits. Errors are those of
// EachProperty.
func SkipAMF0(b []byte) (rest []byte, err error) { return skip(b, 0) }

// skip passes over a value that has depth values around it. Unlike decoding, that
// takes no memory; depth is bounded since it takes stack.
func skip(b []byte, depth int) ([]byte, error) {
	if len(b) == 0 {
		return nil, errEnd("value")
	}
	if depth > defaultDepth {
		return nil, fmt.Errorf("%w: nested deeper than %d", ErrLimit, defaultDepth)
	}
	marker, b := b[0], b[1:]
	switch marker {
	case amf0Null, amf0Undefined, amf0Unsupported:
		return b, nil
	case amf0Boolean:
		return skipBytes(b, 1, "boolean")
	case amf0Reference:
		return skipBytes(b, 2, "reference")
	case amf0Number:
		return skipBytes(b, 8, "number")
	case amf0Date:
		return skipBytes(b, 10, "date")
	case amf0String:
		_, b, err := splitName(b)
		return b, err
	case amf0LongString, amf0XML:
		if len(b) < 4 {
			return nil, errEnd("string")
		}
		return skipBytes(b[4:], uint64(binary.BigEndian.Uint32(b)), "string")
	case amf0Object, amf0ECMAArray, amf0TypedObject:
		return skipProperties(marker, b, depth+1)
	case amf0StrictArray:
		if len(b) < 4 {
			return nil, errEnd("array")
		}
		count, b := binary.BigEndian.Uint32(b), b[4:]
		for range count {
			var err error
			if b, err = skip(b, depth+1); err != nil {
				return nil, err
			}
		}
		return b, nil
	case amf0SwitchAMF3:
		_, rest, err := newDecoder3(newBudget(Limits{})).value(b, depth)
		return rest, err
	}
	return nil, fmt.Errorf("%w: AMF0 marker %#02x", ErrFormat, marker)
}

// skipProperties passes over an object whose marker is read already.
func skipProperties(marker byte, b []byte, depth int) ([]byte, error) {
	b, err := objectHead(marker, b)
	if err != nil {
		return nil, err
	}
	for len(b) > 0 {
		if len(b) >= 3 && b[0] == 0 && b[1] == 0 && b[2] == amf0ObjectEnd {
			return b[3:], nil
		}
		_, value, err := splitName(b)
		if err != nil {
			return nil, err
		}
		if b, err = skip(value, depth); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// splitName splits a string with a u16 length off b, without a copy.
func splitName(b []byte) (name, rest []byte, err error) {
	if len(b) < 2 {
		return nil, nil, errEnd("string")
	}
	n := int(binary.BigEndian.Uint16(b))
	if b = b[2:]; n > len(b) {
		return nil, nil, errEnd("string")
	}
	return b[:n], b[n:], nil
}

func skipBytes(b []byte, n uint64, what string) ([]byte, error) {
	if uint64(len(b)) < n {
		return nil, errEnd(what)
	}
	return b[n:], nil
}
