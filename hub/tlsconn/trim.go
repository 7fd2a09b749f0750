package tlsconn

import (
	"bytes"
	"crypto/tls"
	"reflect"
	"unsafe"
)

// crypto/tls keeps two buffers of what came, which have grown with the handshake to some 3.5 KB and are
// empty from then on with viewers, who say nothing: half of what such a connection costs. It has no way
// to let go of them, so this reaches into tls.Conn, where it looks as it is known to; otherwise all
// goes on without (trim does nothing, and TestTrim fails).
var buffers = []uintptr{bufferOf("rawInput"), bufferOf("hand")}

// bufferOf returns where a buffer stands in a tls.Conn, 0 if there is none of that name.
func bufferOf(name string) uintptr {
	field, ok := reflect.TypeFor[tls.Conn]().FieldByName(name)
	if !ok || field.Type != reflect.TypeFor[bytes.Buffer]() {
		return 0
	}
	return field.Offset
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
