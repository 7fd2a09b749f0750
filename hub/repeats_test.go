package hub_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// asking is somebody who asks for streams that are not there, at an address.
type asking struct {
	h   *hub.Hub
	out *bytes.Buffer
}

func newAsking(t *testing.T, level slog.Level) asking {
	out := new(bytes.Buffer)
	return asking{newHub(t, hub.Config{Logger: slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: level}))}), out}
}

// ask is refused.
func (a asking) ask(address string, stream hub.Key, c hub.Client) {
	c.Protocol, c.Address = "http-flv", netip.MustParseAddrPort(address)
	a.h.NewSession(hub.RoleWatch, stream, c).Refuse(&hub.Refusal{Reason: hub.ReasonNotFound})
}

// lines returns what was written since the last call.
func (a asking) lines() []string {
	defer a.out.Reset()
	return strings.Split(strings.TrimSuffix(a.out.String(), "\n"), "\n")[:strings.Count(a.out.String(), "\n")]
}

// A viewer that waits by asking again and again has one line, and an hour later another that
// tells how often it came.
func TestRepeatedRefusalsHaveOneLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsking(t, slog.LevelInfo)
		for i := range 360 {
			a.ask(fmt.Sprintf("10.0.0.1:%d", 1000+i), key, hub.Client{})
			time.Sleep(10 * time.Second)
		}
		lines := a.lines()
		require.Len(t, lines, 1)
		assert.Contains(t, lines[0], `msg="session refused"`)
		assert.NotContains(t, lines[0], "again")
		a.ask("10.0.0.1:9", key, hub.Client{})
		lines = a.lines()
		require.Len(t, lines, 1)
		assert.Regexp(t, `msg="session refused" .*remote=10.0.0.1:9 stream=live/demo .*reason="not found" again=359$`, lines[0])

		// Others are others, and so is what else happens to this one.
		a.ask("10.0.0.2:9", key, hub.Client{})
		a.ask("10.0.0.1:9", hub.Key{App: "live", Name: "other"}, hub.Client{})
		a.ask("10.0.0.1:9", key, hub.Client{Recording: "latest"})
		a.ask("10.0.0.1:9", key, hub.Client{Recording: "latest"})
		viewer := a.h.NewSession(hub.RoleWatch, key, hub.Client{Address: netip.MustParseAddrPort("10.0.0.1:9")})
		viewer.Refuse(&hub.Refusal{Reason: hub.ReasonDenied})
		publisher := a.h.NewSession(hub.RolePublish, key, hub.Client{Address: netip.MustParseAddrPort("10.0.0.1:9")})
		publisher.Refuse(&hub.Refusal{Reason: hub.ReasonNotFound})
		assert.Len(t, a.lines(), 6)
	})
}

// Of one that came again and then no more, the line tells that is written when others come.
func TestRepeatedRefusalsAreToldInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsking(t, slog.LevelInfo)
		for range 3 {
			a.ask("[2001:db8::1]:9", key, hub.Client{})
		}
		a.ask("10.0.0.2:9", key, hub.Client{})
		require.Len(t, a.lines(), 2)
		time.Sleep(2 * time.Hour)
		a.ask("10.0.0.3:9", key, hub.Client{})
		lines := a.lines()
		require.Len(t, lines, 2)
		assert.Regexp(t, `msg="viewers refused again" remote=2001:db8::1 stream=live/demo reason="not found" again=2\n`, strings.Join(lines, "\n"))
	})
}

// Who asks for ever other streams fills no memory, and is written down as before.
func TestRepeatedRefusalsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsking(t, slog.LevelInfo)
		for i := range 3000 {
			a.ask("10.0.0.1:9", hub.Key{App: "live", Name: fmt.Sprint(i)}, hub.Client{})
		}
		assert.Len(t, a.lines(), 3000)
		for range 2 {
			a.ask("10.0.0.1:9", hub.Key{App: "live", Name: "0"}, hub.Client{})
			a.ask("10.0.0.1:9", hub.Key{App: "live", Name: "2999"}, hub.Client{})
		}
		assert.Len(t, a.lines(), 2)
	})
}

// At the level debug every refusal has its line.
func TestRepeatedRefusalsAtDebug(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsking(t, slog.LevelDebug)
		a.ask("10.0.0.1:9", key, hub.Client{})
		a.ask("10.0.0.1:9", key, hub.Client{})
		text := strings.Join(a.lines(), "\n")
		assert.Equal(t, 1, strings.Count(text, `level=INFO msg="session refused"`), text)
		assert.Equal(t, 1, strings.Count(text, `level=DEBUG msg="session refused"`), text)
	})
}
