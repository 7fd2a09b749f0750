package answer

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// recorder records an answer and its deadlines, in time from now.
type recorder struct {
	*httptest.ResponseRecorder
	read, write time.Duration
}

func newRecorder() *recorder { return &recorder{ResponseRecorder: httptest.NewRecorder()} }

func (r *recorder) SetReadDeadline(t time.Time) error {
	r.read = time.Until(t)
	return nil
}

func (r *recorder) SetWriteDeadline(t time.Time) error {
	r.write = time.Until(t)
	return nil
}

func TestRefuse(t *testing.T) {
	plain := httptest.NewRequest(http.MethodGet, "/x", nil)
	withBody := httptest.NewRequest(http.MethodPost, "/x", strings.NewReader("hello"))
	endless := httptest.NewRequest(http.MethodPost, "/x", strings.NewReader("hello"))
	endless.ContentLength = -1
	for _, tt := range []struct {
		name        string
		request     *http.Request
		refusal     Refusal
		read, write time.Duration // deadlines; 0 for none
		header      http.Header   // what there is beyond that of every refusal
	}{
		{"plain", plain, Refusal{}, 0, Timeout, nil},
		{"with a body", withBody, Refusal{}, BodyTimeout, Timeout, http.Header{"Connection": {"close"}}},
		{"with a body of unknown length", endless, Refusal{}, BodyTimeout, Timeout, http.Header{"Connection": {"close"}}},
		{"in a hurry", plain, Refusal{Timeout: time.Second}, 0, time.Second, nil},
		{"in a hurry, with a body", withBody, Refusal{Timeout: time.Second}, time.Second, time.Second, http.Header{"Connection": {"close"}}},
		{"for now", plain, Refusal{RetryAfter: 5 * time.Second}, 0, Timeout, http.Header{"Retry-After": {"5"}}},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newRecorder()
			f := tt.refusal
			f.Status, f.Error, f.Reason = http.StatusServiceUnavailable, "too many", `a "reason" <b>`
			Origins(nil).Refuse(w, tt.request, f)
			assert.Equal(t, http.StatusServiceUnavailable, w.Code, tt.name)
			assert.JSONEq(t, `{"error":"too many","reason":"a \"reason\" <b>"}`, w.Body.String(), tt.name)
			assert.NotContains(t, w.Body.String(), "<", "it is no markup either")
			want := http.Header{
				"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}, "X-Content-Type-Options": {"nosniff"},
				"Access-Control-Allow-Origin": {"*"}, "Access-Control-Expose-Headers": {"*"},
			}
			for field, values := range tt.header {
				want[field] = values
			}
			assert.Equal(t, want, w.Header(), tt.name)
			assert.Equal(t, [2]time.Duration{tt.read, tt.write}, [2]time.Duration{w.read, w.write}, tt.name)
		})
	}
}

// Which pages may read a refusal is said once, also if it was said before.
func TestRefuseByOrigin(t *testing.T) {
	var list Origins
	require.NoError(t, list.UnmarshalText([]byte("https://a.example")))
	for from, want := range map[string]map[string]string{
		"": {"Vary": "Accept | Origin"},
		"https://a.example": {
			"Vary": "Accept | Origin", "Access-Control-Allow-Origin": "https://a.example",
			"Access-Control-Allow-Credentials": "true", "Access-Control-Expose-Headers": "Accept-Ranges, Allow, Content-Disposition, Content-Length, Content-Range, Date, ETag, Retry-After",
		},
		"https://b.example": {"Vary": "Accept | Origin"},
	} {
		w, r := newRecorder(), httptest.NewRequest(http.MethodGet, "/x", nil)
		if from != "" {
			r.Header.Set("Origin", from)
		}
		w.Header().Set("Vary", "Accept")
		assert.Equal(t, from != "https://b.example", list.Answer(w.Header(), r), from)
		list.Refuse(w, r, Refusal{Status: http.StatusNotFound, Error: "not found", Reason: "nothing is here"})
		assert.Equal(t, want, cross(w.Header()), from)
	}
}

// An answer that is no refusal has the same bounds.
// Over HTTP/2 the connection is not the body's to end.
func TestBodyOverHTTP2(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, "/x", strings.NewReader("hello"))
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0
	synctest.Test(t, func(t *testing.T) {
		w := newRecorder()
		BoundBody(w, r)
		assert.Equal(t, BodyTimeout, w.read)
		assert.Empty(t, w.Header())
	})
}

func TestOverdue(t *testing.T) {
	broken := errors.New("the stream is closed")
	past, future := time.Now().Add(-time.Second), time.Now().Add(time.Hour)
	assert.NoError(t, Overdue(nil, past))
	assert.Equal(t, broken, Overdue(broken, time.Time{}))
	assert.Equal(t, broken, Overdue(broken, future))
	assert.ErrorIs(t, Overdue(broken, past), os.ErrDeadlineExceeded)
	assert.ErrorIs(t, Overdue(broken, past), broken)
	assert.Equal(t, os.ErrDeadlineExceeded, Overdue(os.ErrDeadlineExceeded, past))
}

func TestBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRecorder()
		Bound(w, httptest.NewRequest(http.MethodOptions, "/x", nil))
		assert.Equal(t, [2]time.Duration{0, Timeout}, [2]time.Duration{w.read, w.write})
		assert.Empty(t, w.Header())
		w = newRecorder()
		Bound(w, httptest.NewRequest(http.MethodOptions, "/x", strings.NewReader("hello")))
		assert.Equal(t, [2]time.Duration{BodyTimeout, Timeout}, [2]time.Duration{w.read, w.write})
		w = newRecorder()
		BoundBody(w, httptest.NewRequest(http.MethodOptions, "/x", strings.NewReader("hello")))
		assert.Equal(t, [2]time.Duration{BodyTimeout, 0}, [2]time.Duration{w.read, w.write})
		assert.Equal(t, http.Header{"Connection": {"close"}}, w.Header())
	})
}
