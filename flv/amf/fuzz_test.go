package amf

import (
	"bytes"
	"testing"
)

// maxEncoded bounds in bytes what default Limits let a message be written out
// as: a marker, a number and the frame of an object for each value, and strings
// with their lengths. AMF3 names become AMF0 names.
const maxEncoded = defaultElements*(1+8+2+3) + defaultBytes + 64

// FuzzAMF0: what decodes encodes to what decodes to the same, in bounds that do
// not depend on what the data claims.
func FuzzAMF0(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		values, err := DecodeAll(b, Limits{})
		if err != nil {
			return
		}
		encoded := AppendAMF0(nil, values...)
		if len(encoded) > maxEncoded {
			t.Fatalf("%d bytes became %d", len(b), len(encoded))
		}
		again, err := DecodeAll(encoded, Limits{})
		if err != nil {
			t.Fatalf("% x: %v", encoded, err)
		}
		if second := AppendAMF0(nil, again...); !bytes.Equal(encoded, second) {
			t.Fatalf("% x became % x", encoded, second)
		}
		if len(b) == 0 {
			return
		}
		first, rest, err := DecodeAMF0(b, Limits{})
		if err != nil || !bytes.HasSuffix(b, rest) {
			t.Fatalf("DecodeAMF0 alone: %v", err)
		}
		if !bytes.HasPrefix(encoded, AppendAMF0(nil, first)) {
			t.Fatal("DecodeAMF0 alone gives another value")
		}
	})
}

// FuzzAMF3: the same for AMF3, in both encodings.
func FuzzAMF3(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		v, rest, err := DecodeAMF3(b, Limits{})
		if err != nil {
			return
		}
		if !bytes.HasSuffix(b, rest) {
			t.Fatal("the rest is not the end of the data")
		}
		encoded := AppendAMF3(nil, v)
		if len(encoded) > maxEncoded {
			t.Fatalf("%d bytes became %d", len(b), len(encoded))
		}
		again, rest, err := DecodeAMF3(encoded, Limits{})
		if err != nil || len(rest) != 0 {
			t.Fatalf("% x: %v", encoded, err)
		}
		if second := AppendAMF3(nil, again); !bytes.Equal(encoded, second) {
			t.Fatalf("% x became % x", encoded, second)
		}
		if _, _, err := DecodeAMF0(AppendAMF0(nil, v), Limits{}); err != nil {
			t.Fatalf("as AMF0: %v", err)
		}
	})
}
