package tlsconn

import (
	"bytes"
	"crypto/tls"
	"reflect"
	"unsafe"
)

// What this file knows of crypto/tls is not promised by it. It looks whether that is so before it makes
// use of it; where it is not, all goes on at a higher cost, and the tests of this file fail.

// placeOf returns where a field stands in a tls.Conn, or one of a field that is a struct, and its type;
// 0 and nil if there is none.
func placeOf(path ...string) (offset uintptr, t reflect.Type) {
	t = reflect.TypeFor[tls.Conn]()
	for _, name := range path {
		if t.Kind() != reflect.Struct {
			return 0, nil
		}
		field, ok := t.FieldByName(name)
		if !ok {
			return 0, nil
		}
		offset, t = offset+field.Offset, field.Type
	}
	return offset, t
}

// offsetOf is placeOf for a field of type T, 0 if it has another one.
func offsetOf[T any](path ...string) uintptr {
	offset, t := placeOf(path...)
	if t != reflect.TypeFor[T]() {
		return 0
	}
	return offset
}

// Where a tls.Conn has what this package looks at; 0 where that can't be found.
var (
	handshakeMessage = offsetOf[bytes.Buffer]("hand")          // what came of one, until it is whole
	trafficSecret    = offsetOf[[]byte]("in", "trafficSecret") // that the keys are made of with which the peer encrypts
	sendOffset, send = placeOf("out")                          // the state of what it sends
	callOffset, _    = placeOf("activeCall")                   // that of calls of Write
)

// crypto/tls keeps two buffers of what came, which have grown with the handshake to some 3.5 KB and are
// empty from then on with viewers, who say nothing: half of what such a connection costs. It has no way
// to let go of them.
var buffers = []uintptr{offsetOf[bytes.Buffer]("rawInput"), handshakeMessage}

// trim lets go of the buffers of a connection that are empty. Nothing may be reading from it. What was
// decrypted and not yet read keeps its memory.
func trim(c *tls.Conn) {
	for _, offset := range buffers {
		if offset == 0 {
			continue
		}
		if b := (*bytes.Buffer)(unsafe.Add(unsafe.Pointer(c), offset)); b.Len() == 0 {
			*b = bytes.Buffer{}
		}
	}
}

// area is some memory, of which nobody knows what it means.
type area struct {
	start unsafe.Pointer
	size  uintptr
}

// cacheLine is how much memory comes into a processor's cache at once, in bytes.
const cacheLine = 64

// sendSize is the size of what stands at sendOffset, in bytes.
var sendSize = sizeOf(send)

func sizeOf(t reflect.Type) uintptr {
	if t == nil {
		return 0
	}
	return t.Size()
}

// outgoing returns where a connection whose handshake is done has its cipher, which counts records, and
// the keys of that. They are empty where that can't be found.
func outgoing(c *tls.Conn) (cipher, keys area) {
	found := pointedTo(reflect.ValueOf(c).Elem().FieldByName("out"), "cipher")
	return areaOf(found), areaOf(pointedTo(found, "aead"))
}

func areaOf(v reflect.Value) area {
	if !v.IsValid() {
		return area{}
	}
	return area{v.Addr().UnsafePointer(), v.Type().Size()}
}

// pointedTo returns what the pointer points to that is in a field, which is an interface, of a struct.
func pointedTo(v reflect.Value, field string) reflect.Value {
	if v.Kind() != reflect.Struct {
		return reflect.Value{}
	}
	f := v.FieldByName(field)
	if f.Kind() != reflect.Interface || f.Elem().Kind() != reflect.Pointer {
		return reflect.Value{}
	}
	return f.Elem().Elem()
}
