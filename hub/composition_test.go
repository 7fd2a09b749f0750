package hub_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
)

// A picture that is shown before it is sent is sent earlier, in every form of a body,
// and nothing else of it changes.
func TestNegativeCompositionTime(t *testing.T) {
	for _, test := range []struct {
		name   string
		packet flv.Packet
		plain  bool // composition times are none of the hub's business
	}{
		{"H.264", flv.Packet{Codec: flv.CodecH264}, false},
		{"HEVC with a codec id", flv.Packet{Codec: flv.CodecHEVC}, false},
		{"HEVC", flv.Packet{Codec: flv.CodecHEVC, Enhanced: true}, false},
		{"VVC", flv.Packet{Codec: flv.CodecVVC, Enhanced: true}, false},
		{"with nanoseconds", flv.Packet{Codec: flv.CodecH264, Enhanced: true, Nanos: 77}, false},
		{"AV1", flv.Packet{Codec: flv.CodecAV1, Enhanced: true}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHub(t, hub.Config{})
				p := publish(t, h, hub.PublishOptions{})
				p.send("meta:v")
				write := func(ts uint32, key bool, composition int32) {
					frame := test.packet
					frame.Kind, frame.Key, frame.Payload = flv.KindFrame, key, []byte("picture")
					if !test.plain {
						frame.CompositionTime = composition
					}
					body, err := flv.AppendVideo(nil, frame)
					require.NoError(t, err)
					require.NoError(t, p.Write(flv.Tag{Type: flv.TypeVideo, Timestamp: ts, Data: body}))
				}
				write(0, true, 0)
				v := watch(t, h, hub.WatchOptions{})
				write(40, false, 80)
				write(80, false, -40) // its picture is due when the last one is sent already
				write(120, false, -40)
				write(160, false, 80)
				write(200, false, -40)
				var got []int64
				for _, tag := range v.take()[1:] {
					frame, err := tag.Packet()
					require.NoError(t, err)
					assert.Equal(t, "picture", string(frame.Payload))
					assert.Equal(t, test.packet.Enhanced, frame.Enhanced)
					assert.Equal(t, test.packet.Nanos, frame.Nanos)
					got = append(got, int64(tag.Timestamp), int64(frame.CompositionTime))
				}
				if test.plain {
					assert.Equal(t, []int64{0, 0, 40, 0, 80, 0, 120, 0, 160, 0, 200, 0}, got)
					return
				}
				assert.Equal(t, []int64{0, 0, 40, 80, 40, 0, 80, 0, 120, 120, 160, 0}, got)
			})
		})
	}
}
