package rtmp

import (
	"maps"
	"math"
	"slices"

	"sluice/flv/amf"
)

// Capabilities are the Enhanced RTMP fields of a connect command (Enhanced RTMP
// v2, "Enhancing NetConnection connect Command"). Their absence means nothing for
// publishers: OBS sends Enhanced RTMP bodies without announcing any.
type Capabilities struct {
	// FourCCs is fourCcList (v1): the codecs that the client supports, "*" for any.
	FourCCs []string
	// Video and Audio are videoFourCcInfoMap and audioFourCcInfoMap: what the
	// client can do with each codec, of CanDecode, CanEncode and CanForward.
	Video, Audio map[string]int
	// CapsEx is the bit field capsEx, of CapsReconnect and its neighbours. HasCapsEx
	// tells whether the client sent it: one that did knows v2, and means what it
	// leaves out.
	CapsEx    int
	HasCapsEx bool
}

// Bits of Capabilities.Video and Audio.
const (
	CanDecode  = 1
	CanEncode  = 2
	CanForward = 4
)

// Bits of Capabilities.CapsEx.
const (
	CapsReconnect     = 1
	CapsMultitrack    = 2
	CapsModEx         = 4
	CapsTimestampNano = 8
)

// Announced reports whether the client said anything of Enhanced RTMP.
func (c *Capabilities) Announced() bool {
	return len(c.FourCCs) > 0 || len(c.Video) > 0 || len(c.Audio) > 0 || c.HasCapsEx || c.CapsEx != 0
}

// AllCapabilities returns those of a client that passes everything on and looks into
// nothing: every codec of Enhanced RTMP v2 by name and any other, with several
// tracks and modifiers in a body.
func AllCapabilities() Capabilities {
	video := []string{"avc1", "hvc1", "vvc1", "av01", "vp09", "vp08"}
	audio := []string{"mp4a", "Opus", "fLaC", ".mp3", "ac-3", "ec-3"}
	forward := func(codecs []string) map[string]int {
		m := map[string]int{anyCodec: CanForward}
		for _, c := range codecs {
			m[c] = CanForward
		}
		return m
	}
	return Capabilities{
		FourCCs:   slices.Concat([]string{anyCodec}, video, audio),
		Video:     forward(video),
		Audio:     forward(audio),
		CapsEx:    CapsMultitrack | CapsModEx | CapsTimestampNano,
		HasCapsEx: true,
	}
}

// anyCodec stands for every FourCC.
const anyCodec = "*"

// Bounds on what is kept of what a client announces.
const (
	maxCodecs = 64 // of each kind
	maxFourCC = 4  // bytes of a name; longer ones are no FourCC
)

// capabilities reads the Enhanced RTMP fields of a connect command's object.
func (p props) capabilities() Capabilities {
	var c Capabilities
	if list, ok := p.get("fourCcList").(amf.StrictArray); ok {
		for _, v := range list[:min(len(list), maxCodecs)] {
			if s, ok := v.(string); ok && len(s) <= maxFourCC {
				c.FourCCs = append(c.FourCCs, s)
			}
		}
	}
	c.Video = infoMap(p.get("videoFourCcInfoMap"))
	c.Audio = infoMap(p.get("audioFourCcInfoMap"))
	capsEx := p.get("capsEx")
	_, c.HasCapsEx = capsEx.(float64)
	c.CapsEx = bits(capsEx)
	return c
}

// infoMap reads a map from FourCC to a bit field.
func infoMap(v any) map[string]int {
	list, _ := amf.Properties(v)
	if len(list) == 0 {
		return nil
	}
	m := make(map[string]int)
	for _, e := range list[:min(len(list), maxCodecs)] {
		if len(e.Name) <= maxFourCC {
			m[e.Name] = bits(e.Value)
		}
	}
	return m
}

// bits reads a number that is a bit field.
func bits(v any) int {
	n, _ := v.(float64)
	if !(n >= 0 && n <= math.MaxInt32) {
		return 0
	}
	return int(n)
}

// properties returns c in the form in which it is announced; what c does not have is
// left out.
func (c *Capabilities) properties() amf.Object {
	var o amf.Object
	if len(c.FourCCs) > 0 {
		var list amf.StrictArray
		for _, codec := range c.FourCCs {
			list = append(list, codec)
		}
		o = append(o, amf.Property{Name: "fourCcList", Value: list})
	}
	for _, infos := range []struct {
		name string
		m    map[string]int
	}{{"videoFourCcInfoMap", c.Video}, {"audioFourCcInfoMap", c.Audio}} {
		if len(infos.m) == 0 {
			continue
		}
		var list amf.Object
		for _, codec := range slices.Sorted(maps.Keys(infos.m)) {
			list = append(list, amf.Property{Name: codec, Value: float64(infos.m[codec])})
		}
		o = append(o, amf.Property{Name: infos.name, Value: list})
	}
	if c.HasCapsEx || c.CapsEx != 0 {
		o = append(o, amf.Property{Name: "capsEx", Value: float64(c.CapsEx)})
	}
	return o
}
