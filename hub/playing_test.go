package hub_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/hub"
)

// A session that plays a recording is told of as one that watches is: once when it begins,
// and once when it ends. A shutdown waits for it.
func TestPlayingSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events []hub.Event
		h := newHub(t, hub.Config{Observe: func(e hub.Event) { events = append(events, e) }})
		player := h.NewSession(hub.RoleWatch, key, hub.Client{Protocol: "http-file", Recording: "20261128T170500.123Z"})
		begins(t, player)
		_, err := player.Begin()
		assert.Error(t, err)
		time.Sleep(3 * time.Second)
		player.End(&hub.Refusal{Reason: hub.ReasonComplete}, 1000, 0)
		player.End(&hub.Refusal{Reason: hub.ReasonClientLeft}, 2000, 0)
		synctest.Wait()
		require.Len(t, events, 2)
		joined, left := events[0], events[1]
		assert.Equal(t, hub.EventJoined, joined.Kind)
		assert.Equal(t, "20261128T170500.123Z", joined.Session.Client().Recording)
		assert.Equal(t, hub.EventLeft, left.Kind)
		assert.Equal(t, hub.ReasonComplete, left.Reason)
		assert.Equal(t, uint64(1000), left.Bytes)
		assert.Equal(t, 3*time.Second, left.Duration)

		last := h.NewSession(hub.RoleWatch, key, hub.Client{Protocol: "http-file"})
		playing := begins(t, last)
		down := make(chan error)
		go func() { down <- h.Shutdown(context.Background()) }()
		<-h.Closing()
		<-playing.Done()
		assert.Equal(t, hub.ReasonShuttingDown, reasonOf(t, context.Cause(playing)))
		synctest.Wait()
		select {
		case <-down:
			t.Fatal("it did not wait")
		default:
		}
		late := h.NewSession(hub.RoleWatch, key, hub.Client{Protocol: "http-file"})
		_, err = late.Begin()
		assert.Equal(t, hub.ReasonShuttingDown, reasonOf(t, err))
		last.End(&hub.Refusal{Reason: hub.ReasonShuttingDown}, 0, 0)
		require.NoError(t, <-down)
		assert.Len(t, events, 5)
	})
}

// Whoever only asks whether recordings may be listed is not told of when refused, whoever
// asks for one of them is.
func TestLookAtListIsNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events []hub.Event
		h := newHub(t, hub.Config{
			Observe:   func(e hub.Event) { events = append(events, e) },
			Authorize: func(context.Context, *hub.Session) (hub.Grant, error) { return hub.Grant{}, errors.New("no") },
		})
		for _, id := range []string{hub.AnyRecording, "20261128T170500.123Z"} {
			s := h.NewSession(hub.RoleWatch, key, hub.Client{Protocol: "http-file", Recording: id})
			assert.Equal(t, hub.ReasonDenied, reasonOf(t, s.AskAndWait(t.Context())))
			s.Refuse(&hub.Refusal{Reason: hub.ReasonBusy})
		}
		synctest.Wait()
		require.Len(t, events, 1)
		assert.Equal(t, "20261128T170500.123Z", events[0].Session.Client().Recording)
	})
}

// Metadata for the viewer of a recording says what is true of what that one gets.
func TestAppendMetadata(t *testing.T) {
	recorded := amf.AppendAMF0(nil, "onMetaData", amf.ECMAArray{
		{Name: "duration", Value: 99.0}, {Name: "width", Value: 640.0}, {Name: "stereo", Value: true}, {Name: "encoder", Value: "x"},
		{Name: "keyframes", Value: amf.Object{{Name: "times", Value: []any{1.0}}}}, {Name: "videocodecid", Value: 12.0},
	})
	for _, tt := range []struct {
		tracks hub.MetadataTracks
		want   amf.ECMAArray
	}{
		{hub.MetadataTracks{Video: flv.CodecH264, Audio: flv.CodecAAC}, amf.ECMAArray{
			{Name: "width", Value: 640.0}, {Name: "stereo", Value: true}, {Name: "encoder", Value: "x"}, {Name: "videocodecid", Value: 7.0},
			{Name: "audiocodecid", Value: 10.0}, {Name: "hasAudio", Value: true}, {Name: "hasVideo", Value: true}, {Name: "duration", Value: 5.0},
		}},
		{hub.MetadataTracks{Video: flv.CodecHEVC, EnhancedVideo: true, Shape: flv.Shape{HEVC: flv.HEVCLegacy}}, amf.ECMAArray{
			{Name: "width", Value: 640.0}, {Name: "encoder", Value: "x"}, {Name: "videocodecid", Value: 12.0},
			{Name: "hasAudio", Value: false}, {Name: "hasVideo", Value: true}, {Name: "duration", Value: 5.0},
		}},
		{hub.MetadataTracks{Audio: flv.CodecAAC, Shape: flv.Shape{Form: flv.FormSingle, Track: 1}}, amf.ECMAArray{
			{Name: "encoder", Value: "x"}, {Name: "audiocodecid", Value: 10.0},
			{Name: "hasAudio", Value: true}, {Name: "hasVideo", Value: false}, {Name: "duration", Value: 5.0},
		}},
	} {
		got := hub.AppendMetadata(nil, recorded, tt.tracks, amf.Property{Name: "duration", Value: 5.0})
		assert.Equal(t, amf.AppendAMF0(nil, "onMetaData", tt.want), got)
	}
	nothing := amf.AppendAMF0(nil, "onMetaData", amf.ECMAArray{{Name: "hasAudio", Value: false}, {Name: "hasVideo", Value: false}})
	for _, broken := range [][]byte{nil, {2}, {2, 0, 1}, recorded[:13], []byte("no AMF")} {
		assert.Equal(t, nothing, hub.AppendMetadata(nil, broken, hub.MetadataTracks{}))
	}
}
