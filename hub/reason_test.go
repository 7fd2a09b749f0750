package hub_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// Every reason has words of its own, and a code in each protocol that may stand
// there.
func TestReasons(t *testing.T) {
	seen := make(map[string]bool)
	r := hub.ReasonNone
	for ; r <= hub.ReasonExpired; r++ {
		t.Run(r.String(), func(t *testing.T) {
			assert.NotEmpty(t, r.String())
			assert.False(t, seen[r.String()], "two reasons of the same name")
			seen[r.String()] = true
			assert.NotEmpty(t, http.StatusText(r.HTTPStatus()), r.HTTPStatus())

			// RFC 6455 §7.4.2: the rest is reserved, for the wire or for others.
			code := r.CloseCode()
			named := code >= 1000 && code <= 1013 && code != 1004 && code != 1005 && code != 1006
			assert.True(t, named || code >= 4000 && code <= 4999, code)
			if code >= 4000 {
				assert.Equal(t, r.HTTPStatus(), code-4000)
			}
			if r == hub.ReasonNone {
				return
			}
			assert.GreaterOrEqual(t, r.HTTPStatus(), 400)
			for _, status := range []string{r.PublishStatus(), r.PlayStatus()} {
				assert.True(t, strings.HasPrefix(status, "NetStream."), status)
			}
			assert.False(t, strings.HasPrefix(r.PublishStatus(), "NetStream.Play."))
			assert.False(t, strings.HasPrefix(r.PlayStatus(), "NetStream.Publish."))
		})
	}
	assert.Equal(t, hub.ReasonProtocol.String(), r.String(), "a reason that isn't one; or the last one is another now")
}

// Ends after which a viewer's body is whole close properly.
func TestProperEnds(t *testing.T) {
	var proper []hub.Reason
	for r := hub.ReasonNone; r <= hub.ReasonExpired; r++ {
		if r.Proper() {
			proper = append(proper, r)
		}
	}
	assert.ElementsMatch(t, []hub.Reason{
		hub.ReasonUnpublished, hub.ReasonCodecChanged, hub.ReasonComplete, hub.ReasonShuttingDown, hub.ReasonClientLeft,
		hub.ReasonExpired,
	}, proper)
	for _, r := range proper {
		assert.Contains(t, []int{1000, 1001, 4401}, r.CloseCode(), r) // a page is to ask for another permission
	}
}

func TestRefusal(t *testing.T) {
	var err error = fmt.Errorf("session: %w", &hub.Refusal{Reason: hub.ReasonBusy, Detail: "live/demo is being published already"})
	assert.EqualError(t, err, "session: busy: live/demo is being published already")
	assert.ErrorIs(t, err, net.ErrClosed)
	var refusal *hub.Refusal
	require.True(t, errors.As(err, &refusal))
	assert.Equal(t, hub.ReasonBusy, refusal.Reason)
	assert.EqualError(t, &hub.Refusal{Reason: hub.ReasonIdle}, "idle")
}
