package hub

import "sluice/flv/amf"

// script is what script data says.
type script struct {
	safe     bool     // it may be sent to players
	metadata bool     // it is onMetaData
	meta     metadata // then
	excess   uint64   // how many of its properties were too large, or too many
}

// Bounds of script data.
const (
	// maxScript bounds onMetaData, in bytes, of which little is kept: files that are
	// published in a loop have an index of their key frames in it.
	maxScript = 1 << 20
	// maxScriptName bounds the name of a data message, in bytes; ffmpeg ends a
	// session at one of 64.
	maxScriptName = 63
)

// scriptLimits bound script data that flows by, and each value of metadata: what
// encoders send has some hundred bytes.
var scriptLimits = amf.Limits{Depth: 16, Elements: 1024, Bytes: 64 << 10}

// readScript reads the body of a script tag.
func readScript(body []byte) *script {
	if len(body) > maxScript {
		return &script{}
	}
	value, rest, err := amf.DecodeAMF0(body, scriptLimits)
	name, ok := value.(string)
	if err != nil || !ok || len(name) > maxScriptName {
		return &script{}
	}
	if name != "onMetaData" {
		_, err := amf.DecodeAll(body, scriptLimits)
		return &script{safe: err == nil && len(body) <= scriptLimits.Bytes}
	}
	m, excess, ok := parseMetadata(rest)
	return &script{safe: ok, metadata: true, meta: m, excess: excess}
}
