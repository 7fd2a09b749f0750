// Package amf encodes and decodes Action Message Format values, as RTMP
// commands and FLV script tags carry them: AMF0 whole, and AMF3 as far as
// clients of a streaming server use it.
//
// A value is a Go any of one of these types:
//
//	nil                           null
//	Undefined                     undefined
//	Unsupported                   AMF0's marker for what cannot be expressed
//	bool, float64, string         boolean, number, string (long strings too)
//	Object, TypedObject           anonymous and typed object
//	ECMAArray                     array with names
//	StrictArray                   array without names
//	Date, XML                     date, XML document
//	[]byte                        AMF3 byte array
//
// Decoding gives exactly these; numbers are always float64. A value that the
// bytes refer to more than once is the same memory each time. Encoding takes
// Go's other integer and float types as numbers too, and a Property slice as
// an Object; anything else becomes Unsupported, which is what AMF0 has that
// marker for, and undefined in AMF3.
//
// Sources: "Action Message Format – AMF 0" and "Action Message Format – AMF 3"
// by Adobe (cited as AMF0 and AMF3).
package amf

import "errors"

// Errors of this package; test with [errors.Is]. Data that ends too soon is
// io.ErrUnexpectedEOF.
var (
	// ErrFormat says that bytes are not AMF, or use a part of it that has no
	// meaning (references to nothing, reserved markers).
	ErrFormat = errors.New("amf: malformed data")
	// ErrUnsupported says that bytes use a part of AMF that is not supported:
	// AMF3's externalizable objects, vectors and dictionaries, and values that
	// contain themselves.
	ErrUnsupported = errors.New("amf: unsupported value")
	// ErrLimit says that a value is larger than the Limits allow.
	ErrLimit = errors.New("amf: limit exceeded")
)

// Property is a named value.
type Property struct {
	Name  string
	Value any
}

// Object is an anonymous object. Order and duplicate names are kept as they
// were on the wire.
type Object []Property

// Get returns the value of name; of several, the last, as in ActionScript,
// where a later one overwrites the earlier.
func (o Object) Get(name string) (any, bool) { return get(o, name) }

// ECMAArray is an associative array. Peers use it and Object interchangeably.
type ECMAArray []Property

// Get returns the value of name; of several, the last.
func (a ECMAArray) Get(name string) (any, bool) { return get(a, name) }

// TypedObject is an object of a named class.
type TypedObject struct {
	Class  string
	Object Object
}

// StrictArray is an array without names.
type StrictArray []any

// Date is a point in time. Zone is in minutes and reserved: it should be 0,
// and AMF3 does not carry it.
type Date struct {
	Milliseconds float64 // since 1970-01-01 UTC
	Zone         int16
}

// XML is an XML document.
type XML string

// Undefined is ActionScript's undefined.
type Undefined struct{}

// Unsupported stands for a value that its sender could not express.
type Unsupported struct{}

// Limits bound what a decoder accepts; a zero field means its default. They
// hold for one call: for all values of a message together in DecodeAll. A
// value that is referred to again counts again, so that writing out what was
// decoded is bounded as well.
type Limits struct {
	Depth    int // of arrays and objects in each other, dates and byte arrays of AMF3 included; default 16
	Elements int // values in all; default 4096
	Bytes    int // of strings, names, XML and byte arrays in all; default 1 MiB
}

// Properties returns the properties of an Object, ECMAArray or TypedObject,
// which share v's memory.
func Properties(v any) ([]Property, bool) {
	switch v := v.(type) {
	case Object:
		return v, true
	case ECMAArray:
		return v, true
	case TypedObject:
		return v.Object, true
	}
	return nil, false
}

func get(props []Property, name string) (any, bool) {
	for i := len(props) - 1; i >= 0; i-- {
		if props[i].Name == name {
			return props[i].Value, true
		}
	}
	return nil, false
}
