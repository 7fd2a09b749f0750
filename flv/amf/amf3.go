package amf

import (
	"fmt"
	"strconv"
)

// Markers (AMF3 §3.1). Vectors and dictionaries (0x0D to 0x11) are not
// supported: no client of a streaming server has been seen to send them.
const (
	amf3Undefined = 0x00
	amf3Null      = 0x01
	amf3False     = 0x02
	amf3True      = 0x03
	amf3Integer   = 0x04
	amf3Double    = 0x05
	amf3String    = 0x06
	amf3XMLDoc    = 0x07
	amf3Date      = 0x08
	amf3Array     = 0x09
	amf3Object    = 0x0A
	amf3XML       = 0x0B
	amf3ByteArray = 0x0C
)

// Bounds of AMF3's variable-length integer (AMF3 §1.3.1), and of the lengths
// that share one with a flag bit.
const (
	maxU29    = 1<<29 - 1
	maxInt29  = 1<<28 - 1
	minInt29  = -1 << 28
	maxLength = maxU29 >> 1
)

// The bits at the low end of an object's U29 (AMF3 §3.12).
//
//	0   reference: index                1   the object itself:
//	01  its traits are a reference      011 its traits follow: count, dynamic
//	111 externalizable
const (
	traitsInline   = 1 << 1
	traitsExternal = 1 << 2
	traitsDynamic  = 1 << 3
)

// AppendAMF3 appends v in AMF3, without the marker that switches to it in
// AMF0. Go's integer types are AMF3 integers as far as 29 bits carry them,
// floats are doubles. Objects are written as dynamic ones. Go types that AMF
// has nothing for become undefined, properties without a name are left out,
// and a Date loses its zone: AMF3 has no place for them. References are not
// used.
func AppendAMF3(dst []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(dst, amf3Null)
	case bool:
		if v {
			return append(dst, amf3True)
		}
		return append(dst, amf3False)
	case string:
		return appendMarked(dst, amf3String, v)
	case XML:
		return appendMarked(dst, amf3XML, string(v))
	case []byte:
		return appendMarked(dst, amf3ByteArray, string(v))
	case Date:
		return appendFloat(append(dst, amf3Date, 1), v.Milliseconds)
	case Object:
		return appendDynamic(dst, "", v)
	case []Property:
		return appendDynamic(dst, "", v)
	case TypedObject:
		return appendDynamic(dst, v.Class, v.Object)
	case ECMAArray:
		return appendNamed(append(dst, amf3Array, 0<<1|1), v)
	case StrictArray:
		if len(v) > maxLength {
			return append(dst, amf3Undefined)
		}
		dst = appendU29(append(dst, amf3Array), uint32(len(v))<<1|1)
		dst = append(dst, 0<<1|1) // no named part
		for _, e := range v {
			dst = AppendAMF3(dst, e)
		}
		return dst
	}
	f, ok := number(v)
	if !ok {
		return append(dst, amf3Undefined)
	}
	switch v.(type) {
	case float64, float32:
	default:
		if f >= minInt29 && f <= maxInt29 {
			return appendU29(append(dst, amf3Integer), uint32(int32(f))&maxU29)
		}
	}
	return appendFloat(append(dst, amf3Double), f)
}

// appendU29 appends an integer below 2^29: seven bits a byte, eight in the
// fourth.
func appendU29(dst []byte, v uint32) []byte {
	switch {
	case v < 1<<7:
		return append(dst, byte(v))
	case v < 1<<14:
		return append(dst, byte(v>>7)|0x80, byte(v)&0x7f)
	case v < 1<<21:
		return append(dst, byte(v>>14)|0x80, byte(v>>7)|0x80, byte(v)&0x7f)
	}
	return append(dst, byte(v>>22)|0x80, byte(v>>15)|0x80, byte(v>>8)|0x80, byte(v))
}

func appendMarked(dst []byte, marker byte, s string) []byte {
	if len(s) > maxLength {
		return append(dst, amf3Undefined)
	}
	return appendUTF8(append(dst, marker), s)
}

func appendUTF8(dst []byte, s string) []byte {
	return append(appendU29(dst, uint32(len(s))<<1|1), s...)
}

func appendDynamic(dst []byte, class string, props []Property) []byte {
	if len(class) > maxLength {
		class = ""
	}
	dst = append(dst, amf3Object, 1|traitsInline|traitsDynamic)
	return appendNamed(appendUTF8(dst, class), props)
}

// appendNamed appends names and values, then the empty name that ends them.
func appendNamed(dst []byte, props []Property) []byte {
	for _, p := range props {
		if p.Name != "" && len(p.Name) <= maxLength {
			dst = AppendAMF3(appendUTF8(dst, p.Name), p.Value)
		}
	}
	return appendUTF8(dst, "")
}

// DecodeAMF3 decodes the first value of b and returns what follows it. It keeps
// nothing of b. The numbered part of an array that has names as well comes
// after these, under the names "0", "1", …
func DecodeAMF3(b []byte, l Limits) (v any, rest []byte, err error) {
	return newDecoder3(newBudget(l)).value(b, 0)
}

// decoder3 decodes one AMF3 value. Its tables begin empty for each value that
// AMF0 switches for.
type decoder3 struct {
	references
	strings []string
	traits  []traits
}

// traits are the class of an object and the names that all its instances have.
type traits struct {
	class   string
	names   []string
	dynamic bool
}

func newDecoder3(b *budget) *decoder3 {
	return &decoder3{references: references{budget: b}}
}

// value decodes the first value of b, which has depth values around it.
func (d *decoder3) value(b []byte, depth int) (any, []byte, error) {
	if len(b) == 0 {
		return nil, nil, errEnd("value")
	}
	marker, b := b[0], b[1:]
	switch marker {
	case amf3XMLDoc, amf3Date, amf3Array, amf3Object, amf3XML, amf3ByteArray:
		return d.complex(marker, b, depth+1)
	}
	if err := d.takeElements(1); err != nil {
		return nil, nil, err
	}
	switch marker {
	case amf3Undefined:
		return Undefined{}, b, nil
	case amf3Null:
		return nil, b, nil
	case amf3False:
		return false, b, nil
	case amf3True:
		return true, b, nil
	case amf3Integer:
		v, rest, err := takeU29(b)
		if err != nil {
			return nil, nil, err
		}
		return float64(int32(v<<3) >> 3), rest, nil
	case amf3Double:
		return wrap(takeFloat(b))
	case amf3String:
		return wrap(d.string(b))
	}
	return nil, nil, fmt.Errorf("%w: AMF3 marker %#02x", ErrUnsupported, marker)
}

// complex decodes what follows the marker of a value that can be referred to.
// All of these count as a level of nesting, dates and the like too, so that a
// reference need not be of the type that its marker promises.
func (d *decoder3) complex(marker byte, b []byte, depth int) (any, []byte, error) {
	head, b, err := takeU29(b)
	if err != nil {
		return nil, nil, err
	}
	if head&1 == 0 {
		v, err := d.resolve(int(head>>1), depth)
		return wrap(v, b, err)
	}
	return d.define(depth, func() (any, []byte, error) {
		switch marker {
		case amf3Date:
			ms, rest, err := takeFloat(b)
			return Date{Milliseconds: ms}, rest, err
		case amf3XMLDoc, amf3XML:
			s, rest, err := d.takeString(b, int(head>>1))
			return XML(s), rest, err
		case amf3ByteArray:
			s, rest, err := d.takeString(b, int(head>>1))
			return []byte(s), rest, err
		case amf3Array:
			return d.array(b, int(head>>1), depth)
		}
		return d.object(b, head, depth)
	})
}

// array decodes an array's named part, then its count values without names
// (AMF3 §3.11).
func (d *decoder3) array(b []byte, count, depth int) (any, []byte, error) {
	props, b, err := d.named([]Property{}, b, depth)
	if err != nil {
		return nil, nil, err
	}
	array := StrictArray{}
	for range count {
		v, rest, err := d.value(b, depth)
		if err != nil {
			return nil, nil, err
		}
		b = rest
		array = append(array, v)
	}
	if len(props) == 0 {
		return array, b, nil
	}
	for i, v := range array {
		name := strconv.Itoa(i)
		if err := d.takeBytes(len(name)); err != nil {
			return nil, nil, err
		}
		props = append(props, Property{name, v})
	}
	return ECMAArray(props), b, nil
}

// object decodes what follows an object's U29, which is head (AMF3 §3.12).
func (d *decoder3) object(b []byte, head uint32, depth int) (any, []byte, error) {
	t, b, err := d.objectTraits(b, head)
	if err != nil {
		return nil, nil, err
	}
	props := []Property{}
	for _, name := range t.names {
		v, rest, err := d.value(b, depth)
		if err != nil {
			return nil, nil, err
		}
		if err := d.takeBytes(len(name)); err != nil {
			return nil, nil, err
		}
		b = rest
		props = append(props, Property{name, v})
	}
	if t.dynamic {
		if props, b, err = d.named(props, b, depth); err != nil {
			return nil, nil, err
		}
	}
	if t.class == "" {
		return Object(props), b, nil
	}
	if err := d.takeBytes(len(t.class)); err != nil {
		return nil, nil, err
	}
	return TypedObject{t.class, props}, b, nil
}

// objectTraits decodes an object's traits, or finds those it refers to.
func (d *decoder3) objectTraits(b []byte, head uint32) (traits, []byte, error) {
	if head&traitsInline == 0 {
		i := int(head >> 2)
		if i >= len(d.traits) {
			return traits{}, nil, fmt.Errorf("%w: reference to traits %d of %d", ErrFormat, i, len(d.traits))
		}
		return d.traits[i], b, nil
	}
	if head&traitsExternal != 0 {
		return traits{}, nil, fmt.Errorf("%w: externalizable object", ErrUnsupported)
	}
	t := traits{dynamic: head&traitsDynamic != 0}
	count := int(head >> 4)
	if count > d.elements { // each name needs a value
		return traits{}, nil, fmt.Errorf("%w: too many values", ErrLimit)
	}
	var err error
	if t.class, b, err = d.name(b); err != nil {
		return traits{}, nil, err
	}
	for range count {
		var name string
		if name, b, err = d.name(b); err != nil {
			return traits{}, nil, err
		}
		if name == "" {
			return traits{}, nil, fmt.Errorf("%w: member without a name", ErrFormat)
		}
		t.names = append(t.names, name)
	}
	d.traits = append(d.traits, t)
	return t, b, nil
}

// named decodes names and values up to an empty name, and appends them to
// props.
func (d *decoder3) named(props []Property, b []byte, depth int) ([]Property, []byte, error) {
	for {
		name, rest, err := d.name(b)
		if err != nil {
			return nil, nil, err
		}
		if name == "" {
			return props, rest, nil
		}
		v, rest, err := d.value(rest, depth)
		if err != nil {
			return nil, nil, err
		}
		props = append(props, Property{name, v})
		b = rest
	}
}

// name decodes a string that AMF0 can carry as a name too.
func (d *decoder3) name(b []byte) (string, []byte, error) {
	s, rest, err := d.string(b)
	if err == nil && len(s) > maxName {
		return "", nil, fmt.Errorf("%w: name of %d bytes", ErrLimit, len(s))
	}
	return s, rest, err
}

// string decodes a string or a reference to one (AMF3 §1.3.2). One that is
// referred to counts again.
func (d *decoder3) string(b []byte) (string, []byte, error) {
	head, b, err := takeU29(b)
	if err != nil {
		return "", nil, err
	}
	n := int(head >> 1)
	if head&1 == 0 {
		if n >= len(d.strings) {
			return "", nil, fmt.Errorf("%w: reference to string %d of %d", ErrFormat, n, len(d.strings))
		}
		return d.strings[n], b, d.takeBytes(len(d.strings[n]))
	}
	s, rest, err := d.takeString(b, n)
	if err == nil && s != "" { // the empty string is never referred to
		d.strings = append(d.strings, s)
	}
	return s, rest, err
}

func takeU29(b []byte) (uint32, []byte, error) {
	var v uint32
	for i, c := range b {
		if i == 3 {
			return v<<8 | uint32(c), b[4:], nil
		}
		v = v<<7 | uint32(c&0x7f)
		if c&0x80 == 0 {
			return v, b[i+1:], nil
		}
	}
	return 0, nil, errEnd("integer")
}
