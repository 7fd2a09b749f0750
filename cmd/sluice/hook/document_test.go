package hook

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The document has every field of questions and answers, and every call in the forms of others.
func TestDocument(t *testing.T) {
	b, err := os.ReadFile("README.md")
	require.NoError(t, err)
	has := func(name string) { assert.True(t, strings.Contains(string(b), "`"+name+"`"), "%s is missing", name) }
	for _, part := range []struct {
		of    any
		above string // of the name
	}{{jsonQuestion{}, ""}, {jsonSession{}, "session."}, {jsonAnswer{}, ""}, {srsCall{}, ""}} {
		for _, field := range reflect.VisibleFields(reflect.TypeOf(part.of)) {
			if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); field.Type.Kind() != reflect.Struct {
				has(part.above + name)
			}
		}
	}
	names := append(append(srsActions[:], nginxCalls[:]...), Formats...)
	for _, name := range append(names, nginxReserved...) {
		if name != "" && name != "epoch" { // which is none of those that we send
			has(name)
		}
	}
}
