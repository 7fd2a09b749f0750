package gateway

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv/amf"
	"sluice/hub"
	"sluice/hub/archive"
	"sluice/hub/archive/union"
	"sluice/rtmp"
)

// Who plays what another node has is told its address there, without what was shown here; what this node has is played, but
// for the newest, if another one has a newer one.
func TestRecordingOfAnotherNode(t *testing.T) {
	away := map[string]union.Recording{}
	h, id := newRecordings(t, 1000, func(c *configs) {
		c.elsewhere = func(_ context.Context, key hub.Key, id string) (union.Recording, error) {
			switch r, ok := away[id]; {
			case ok:
				r.Key = key
				return r, nil
			case id == "busy":
				return union.Recording{}, &hub.Refusal{Reason: hub.ReasonTooMany, Detail: "too many ask"}
			}
			return union.Recording{}, archive.ErrNotFound
		}
	})
	of := func(id string) union.Recording {
		return union.Recording{Recording: archive.Recording{ID: id}, Away: true, Node: "n2", RTMP: "rtmp://n2:1936"}
	}
	silent := of("silent")
	silent.RTMP = ""
	away["there"], away["by hand"], away["silent"] = of("there"), of("by hand"), silent
	refused := func(name, code, words string) {
		t.Helper()
		p := h.dial("rec/live/camera")
		defer p.Close()
		p.command(p.stream(), "play", 0.0, nil, name)
		said, description := p.status()
		assert.Equal(t, []string{code, words}, []string{said, description})
	}
	refused("there?token=secret", rtmp.CodePlayStreamNotFound, "the recording is at another node: rtmp://n2:1936/rec/live/camera/there")
	refused("by hand", rtmp.CodePlayStreamNotFound, "the recording is at another node: rtmp://n2:1936/rec/live/camera/by%20hand")
	refused("silent", rtmp.CodePlayStreamNotFound, "another node has the recording, and does not say where clients reach it")
	refused("nowhere", rtmp.CodePlayStreamNotFound, `there is no recording "nowhere"`)
	refused("busy", rtmp.CodePlayFailed, "too many ask")
	for _, name := range []string{id, "latest"} {
		p := h.dial("rec/live/camera")
		p.playRecording(name)
		p.expect(saidBegin, "meta@0", headersAt(0), film(0, 1000), saidWhole)
		p.Close()
	}
	away["latest"] = of("newer")
	refused("latest", rtmp.CodePlayStreamNotFound, "the recording is at another node: rtmp://n2:1936/rec/live/camera/newer")
	assert.NotContains(t, h.log.String(), "secret")
}

// status returns the code and the words of the next refusal.
func (p *peer) status() (code, description string) {
	p.t.Helper()
	for {
		_, values, _ := p.next()
		if values == nil || values[0] != "onStatus" {
			continue
		}
		info, ok := amf.Properties(values[3])
		require.True(p.t, ok)
		for _, property := range info {
			switch property.Name {
			case "code":
				code, _ = property.Value.(string)
			case "description":
				description, _ = property.Value.(string)
			}
		}
		return code, description
	}
}
