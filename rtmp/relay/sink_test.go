package relay

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/hub"
	"sluice/hub/relay"
)

// What servers say when they refuse a push, and what it comes to.
func TestSinkIsRefused(t *testing.T) {
	for _, tt := range []struct {
		what, code, description string
		more                    []amf.Property
		cause                   relay.Cause
		words                   string
	}{
		{"busy", "NetStream.Publish.BadName", "k3y is published already", nil, relay.CauseBusy, "*** is published already"},
		{"denied", "NetStream.Publish.Denied", "not with t0ken", nil, relay.CauseDenied, "not with ***"},
		{"rejected", "NetStream.Publish.Rejected", "", nil, relay.CauseDenied, "Rejected"},
		{"no room", "NetStream.Publish.Rejected", "too many streams", nil, relay.CauseBusy, "too many"},
		{"loop", "NetStream.Publish.Rejected", "code=508", nil, relay.CauseLoop, "508"},
		{"not found", "NetStream.Play.StreamNotFound", "", nil, relay.CauseDenied, "NotFound"},
		{"a Sluice's bad name", "NetStream.Publish.BadName", "x", []amf.Property{{Name: hub.ReasonProperty, Value: "bad request"}}, relay.CauseDenied, "x"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			refuse := func(c *fakeConn) {
				c.status(1, "error", tt.code, tt.description, tt.more...)
				c.rest()
			}
			f := newFake(t, false, func(c *fakeConn) {
				if _, ok := c.ask("publish"); ok {
					refuse(c)
				}
			})
			_, err := opener().Send(t.Context(), relay.Sending{URL: push(t, f.url("k3y?key=t0ken"))})
			failed(t, err, tt.cause, tt.words, "k3y", "t0ken")

			f = newFake(t, false, func(c *fakeConn) { // afterwards
				if _, ok := c.begin("publish"); ok {
					refuse(c)
				}
			})
			s := send(t, opener(), relay.Sending{URL: push(t, f.url("k3y?key=t0ken"))})
			<-s.Ended()
			failed(t, s.Err(), tt.cause, tt.words, "k3y", "t0ken")
			failed(t, s.WriteTags(clip(2)), tt.cause, tt.words, "k3y", "t0ken")
		})
	}
}

// What a server announces says in which shape it is sent what.
func TestSinkTakes(t *testing.T) {
	list := func(codecs ...any) amf.Property {
		return amf.Property{Name: "fourCcList", Value: amf.StrictArray(codecs)}
	}
	caps := func(bits float64) amf.Property { return amf.Property{Name: "capsEx", Value: bits} }
	function := func(bits float64) amf.Property { return amf.Property{Name: "videoFunction", Value: bits} }
	video := amf.Property{Name: "videoFourCcInfoMap", Value: amf.Object{{Name: "hvc1", Value: 4.0}}}
	h264, hevc, av1, aac, opus := flv.CodecH264, flv.CodecHEVC, flv.CodecAV1, flv.CodecAAC, flv.CodecOpus
	for _, tt := range []struct {
		what   string
		query  string
		said   []amf.Property
		shape  flv.Shape
		yes    []flv.Codec
		refuse []flv.Codec
	}{
		{"nothing", "", nil, flv.Shape{Form: flv.FormClassic}, []flv.Codec{h264, aac}, []flv.Codec{hevc, av1, opus}},
		{"an old server's", "", []amf.Property{function(1)}, flv.Shape{Form: flv.FormClassic}, []flv.Codec{h264}, []flv.Codec{hevc}},
		{"nothing, and the URL HEVC", "?hevc=legacy", nil, flv.Shape{Form: flv.FormClassic, HEVC: flv.HEVCLegacy},
			[]flv.Codec{h264, hevc}, []flv.Codec{av1}},
		{"nothing, and the URL enhanced HEVC", "?x=1&hevc=enhanced", nil, flv.Shape{Form: flv.FormClassic, HEVC: flv.HEVCEnhanced},
			[]flv.Codec{hevc}, []flv.Codec{av1}},
		{"one codec", "", []amf.Property{list("hvc1")}, flv.Shape{Form: flv.FormClassic, HEVC: flv.HEVCEnhanced},
			[]flv.Codec{h264, hevc, aac}, []flv.Codec{av1, opus}},
		{"one of a map", "", []amf.Property{video}, flv.Shape{Form: flv.FormClassic, HEVC: flv.HEVCEnhanced},
			[]flv.Codec{h264, hevc}, []flv.Codec{av1}},
		{"several", "", []amf.Property{list("avc1", "av01", "Opus")}, flv.Shape{Form: flv.FormSingle},
			[]flv.Codec{h264, av1, opus}, []flv.Codec{hevc}},
		{"all", "", []amf.Property{list("*")}, flv.Shape{Form: flv.FormSingle}, []flv.Codec{h264, hevc, av1, opus}, nil},
		{"no codec by name", "", []amf.Property{function(9)}, flv.Shape{Form: flv.FormSingle}, []flv.Codec{hevc, av1}, nil},
		{"several tracks", "", []amf.Property{list("*"), caps(3)}, flv.Shape{Form: flv.FormAsSent}, []flv.Codec{av1}, nil},
		{"several tracks, and the URL HEVC", "?hevc=legacy", []amf.Property{list("*"), caps(2)},
			flv.Shape{Form: flv.FormAsSent, HEVC: flv.HEVCLegacy}, []flv.Codec{hevc}, nil},
	} {
		t.Run(tt.what, func(t *testing.T) {
			names := make(chan string, 1)
			f := newFake(t, false, func(c *fakeConn) {
				if name, ok := c.begin("publish", tt.said...); ok {
					names <- name
					c.rest()
				}
			})
			s := send(t, opener(), relay.Sending{URL: push(t, f.url("k"+tt.query))})
			assert.Equal(t, tt.shape, s.Shape())
			for _, c := range tt.yes {
				assert.True(t, s.Takes(c), c)
			}
			for _, c := range tt.refuse {
				assert.False(t, s.Takes(c), c)
			}
			assert.NotContains(t, <-names, "hevc")
		})
	}
}

// A target that takes nothing: what is not acknowledged stays, a write that waits for too long
// ends, and so does one under way when the connection is aborted, over TLS too.
func TestSinkOfADeafTarget(t *testing.T) {
	deaf := func(c *fakeConn) {
		if _, ok := c.begin("publish"); ok {
			<-c.over
		}
	}
	fill := func(s relay.Sink) error {
		for {
			if err := s.WriteTags([]flv.Tag{{Type: flv.TypeVideo, Data: make([]byte, 1<<20)}}); err != nil {
				return err
			}
		}
	}
	for _, f := range []*fake{newFake(t, false, deaf), newFakeTLS(t, deaf)} {
		o := opener()
		o.WriteTimeout = 300 * time.Millisecond
		s := send(t, o, relay.Sending{URL: push(t, f.url("k"))})
		failed(t, fill(s), relay.CauseConnection, "took nothing for too long")
		<-s.Ended()

		s = send(t, opener(), relay.Sending{URL: push(t, f.url("k"))})
		written := make(chan error, 1)
		go func() { written <- fill(s) }()
		require.Eventually(t, func() bool {
			n, ok := s.Unacknowledged()
			return !ok || n > 0
		}, 10*time.Second, time.Millisecond)
		s.Abort()
		failed(t, <-written, relay.CauseConnection, "closed")
		<-s.Ended()
		assert.Error(t, s.Err())
		s.Abort() // nothing
	}
}

// Close says that the stream is over, Abort says nothing.
func TestSinkEnds(t *testing.T) {
	for _, end := range []string{"Close", "Abort", "none"} {
		last := make(chan string, 1)
		f := newFake(t, false, func(c *fakeConn) {
			if _, ok := c.begin("publish"); !ok {
				return
			}
			if end == "none" {
				return
			}
			_, _, said := c.next("FCUnpublish")
			_, _, deleted := c.next("deleteStream")
			last <- map[bool]string{true: "Close", false: "Abort"}[said && deleted]
		})
		s, err := opener().Send(context.Background(), relay.Sending{URL: push(t, f.url("k"))})
		require.NoError(t, err)
		switch end {
		case "Close":
			require.NoError(t, s.Err())
			require.NoError(t, s.WriteTags(clip(5)))
			require.NoError(t, s.Close())
		case "Abort":
			s.Abort()
		default:
			<-s.Ended()
			failed(t, s.Err(), relay.CauseConnection, "broke off")
			var f *relay.Failure
			require.True(t, errors.As(s.Close(), &f))
			continue
		}
		<-s.Ended()
		assert.Equal(t, end, <-last)
	}
}
