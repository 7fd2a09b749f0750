package relay

import (
	"slices"

	"sluice/flv"
	"sluice/rtmp"
)

// takes is what a server that is published to understands, by what it announced in its answer
// to connect:
//
//	announced                              form                       codecs
//	nothing                                FLV 10.1                   those of FLV 10.1
//	Enhanced RTMP, several tracks          as sent                    these, and those announced
//	Enhanced RTMP, H.264 or AAC or all     one track, as sent         these, and those announced
//	Enhanced RTMP, others only             one track, FLV 10.1 where  these, and those announced
//	                                       that has the codec
//
// HEVC is taken too if the URL says in which form. A server that announces Enhanced RTMP without
// naming a codec takes all.
type takes struct {
	shape  flv.Shape
	any    bool
	fourCC []string // announced
}

// classic are the codecs of FLV 10.1 (E.4.2.1, E.4.3.1).
var classic = []flv.Codec{
	flv.CodecH264, flv.CodecH263, flv.CodecScreenVideo, flv.CodecScreenVideo2, flv.CodecVP6, flv.CodecVP6Alpha,
	flv.CodecAAC, flv.CodecMP3, flv.CodecPCM, flv.CodecADPCM, flv.CodecALaw, flv.CodecMuLaw, flv.CodecSpeex,
	flv.CodecNellymoser,
}

// enhancedVideo are the bits of videoFunction that only Enhanced RTMP v2 has; 1, seeking, is older.
const enhancedVideo = 2 | 4 | 8

// anyCodec stands for all of them.
const anyCodec = "*"

// takesOf returns what a server takes; hevc is what the URL says.
func takesOf(s rtmp.ServerInfo, hevc flv.HEVC) takes {
	c := &s.Capabilities
	t := takes{shape: flv.Shape{HEVC: hevc}, fourCC: slices.Clone(c.FourCCs)}
	for _, m := range []map[string]int{c.Video, c.Audio} {
		for codec := range m {
			t.fourCC = append(t.fourCC, codec)
		}
	}
	enhanced := c.Announced() || int(s.Number("videoFunction"))&enhancedVideo != 0
	t.any = enhanced && len(t.fourCC) == 0 || slices.Contains(t.fourCC, anyCodec)
	switch {
	case !enhanced:
		t.shape.Form = flv.FormClassic
	case c.CapsEx&rtmp.CapsMultitrack != 0:
		t.shape.Form = flv.FormAsSent
	case t.any || t.announced(flv.CodecH264) || t.announced(flv.CodecAAC):
		t.shape.Form = flv.FormSingle
	default:
		t.shape.Form = flv.FormClassic
	}
	if hevc == flv.HEVCAsSent && t.announced(flv.CodecHEVC) && nodeOf(s) == "" {
		t.shape.HEVC = flv.HEVCEnhanced // the unofficial form is not what it announced; a Sluice takes that too
	}
	return t
}

// codec reports whether the server takes a codec.
func (t *takes) codec(c flv.Codec) bool {
	return t.any || slices.Contains(classic, c) || t.announced(c) || c == flv.CodecHEVC && t.shape.HEVC != flv.HEVCAsSent
}

// announced reports whether the server has named a codec.
func (t *takes) announced(c flv.Codec) bool {
	name := string([]byte{byte(c >> 24), byte(c >> 16), byte(c >> 8), byte(c)})
	return slices.Contains(t.fourCC, name)
}
