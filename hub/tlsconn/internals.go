package tlsconn

import (
	"bytes"
	"crypto/tls"
	"reflect"
	"unsafe"
)

// What this file knows of crypto/tls is not promised by it. It looks whether that is so before it makes
// use of it; where it is not, all goes on at a higher cost, and the tests of this file fail.

// crypto/tls keeps two buffers of what came, which have grown with the handshake to some 3.5 KB and are
// empty from then on with viewers, who say nothing: half of what such a connection costs. It has no way
// to let go of them.
var buffers = []uintptr{offsetOf[bytes.Buffer]("rawInput"), offsetOf[bytes.Buffer]("hand")}

// offsetOf returns where a field of a type stands in a tls.Conn, 0 if there is none of that name and type.
func offsetOf[T any](name string) uintptr {
	field, ok := reflect.TypeFor[tls.Conn]().FieldByName(name)
	if !ok || field.Type != reflect.TypeFor[T]() {
		return 0
	}
	return field.Offset
}

// What is kept of a message of the handshake until it is whole, and the secret that the keys are made of
// with which the peer encrypts; 0 where they can't be found.
var handshakeMessage, trafficSecret = offsetOf[bytes.Buffer]("hand"), offsetWithin[[]byte]("in", "trafficSecret")

// offsetWithin is offsetOf for a field of a field that is a struct.
func offsetWithin[T any](outer, inner string) uintptr {
	of, ok := reflect.TypeFor[tls.Conn]().FieldByName(outer)
	if !ok || of.Type.Kind() != reflect.Struct {
		return 0
	}
	field, ok := of.Type.FieldByName(inner)
	if !ok || field.Type != reflect.TypeFor[T]() {
		return 0
	}
	return of.Offset + field.Offset
}

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

// sendOffset, sendSize and callOffset say where a tls.Conn has the state of what it sends, and that of
// calls of Write; 0 where that can't be found.
var (
	sendOffset, sendSize = placeOf("out")
	callOffset, _        = placeOf("activeCall")
)

func placeOf(name string) (offset, size uintptr) {
	field, ok := reflect.TypeFor[tls.Conn]().FieldByName(name)
	if !ok {
		return 0, 0
	}
	return field.Offset, field.Type.Size()
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
