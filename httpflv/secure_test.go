package httpflv

import (
	"crypto/tls"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
)

// What a proxy tells of its client's connection counts, and not its own connection.
func TestWithSecure(t *testing.T) {
	r := httptest.NewRequest("GET", "/live/a.flv", nil)
	assert.False(t, ClientOf(r).Secure)
	assert.True(t, ClientOf(r.WithContext(WithSecure(r.Context(), true))).Secure)
	r.TLS = &tls.ConnectionState{}
	assert.True(t, ClientOf(r).Secure)
	assert.False(t, ClientOf(r.WithContext(WithSecure(r.Context(), false))).Secure)
}
