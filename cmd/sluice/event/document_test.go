package event

import (
	"net/http"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The document has every type and every field.
func TestDocument(t *testing.T) {
	b, err := os.ReadFile("README.md")
	require.NoError(t, err)
	document := string(b)
	for _, typ := range []Type{
		TypeStarted, TypeDraining, TypePublish, TypeUnpublish, TypePlay, TypeStop, TypeTracks, TypeSwitched, TypeWanted, TypeUnwanted,
		TypeDenied, TypeKicked, TypeRecordBegun, TypeRecordFinished, TypeUpdate, TypeGap, TypeHealth, TypeRelay,
	} {
		assert.True(t, strings.Contains(document, "\n| `"+string(typ)+"` |"), "the type %s is missing", typ)
	}
	for _, of := range []any{Event{}, Session{}, Ended{}, Running{}, Track{}, Recording{}, Health{}, Relay{}} {
		for _, field := range reflect.VisibleFields(reflect.TypeOf(of)) {
			if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "" && name != "-" {
				assert.True(t, strings.Contains(document, "`"+name+"`"), "the field %s of %T is missing", name, of)
			}
		}
	}
}

// The signature that stands in the document is that of what stands beside it.
func TestDocumentedSignature(t *testing.T) {
	b, err := os.ReadFile("README.md")
	require.NoError(t, err)
	document := strings.Join(strings.Fields(string(b)), " ")
	const id, body = "af861b7d1d84acb9-2", `{"id":"af861b7d1d84acb9-2","seq":2,"type":"publish"}`
	secret := "correct horse battery staple"
	w := &webhook{Webhook: Webhook{Secrets: func() [][]byte { return [][]byte{[]byte(secret)} }}}
	h := make(http.Header)
	w.sign(h, id, []byte(body), time.Unix(1795945947, 0))
	assert.Contains(t, document, "With the secret `"+secret+"`, the id `"+id+"`, "+h.Get("webhook-timestamp")+
		" and the body `"+body+"` it is ``` "+h.Get("webhook-signature")+" ```")
}
