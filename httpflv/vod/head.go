package vod

import (
	"sluice/flv"
	"sluice/flv/amf"
	"sluice/hub"
	"sluice/hub/archive/flvfile"
)

// appendHead appends what a player needs before the first packet: the header of the file,
// metadata, codec headers, all at time 0.
func (p *player) appendHead(dst []byte, headers []flvfile.Packet) []byte {
	info := p.file.Info()
	tracks := hub.MetadataTracks{Audio: info.Audio, Video: info.Video, Shape: p.watch.Shape}
	var metadata []byte
	for _, packet := range headers {
		switch packet.Type {
		case flv.TypeAudio, flv.TypeVideo:
			parsed, err := packet.Packet()
			if err != nil || parsed.Track != p.watch.Shape.Track {
				continue
			}
			if packet.Type == flv.TypeAudio {
				tracks.Audio, tracks.EnhancedAudio = parsed.Codec, parsed.Enhanced
			} else {
				tracks.Video, tracks.EnhancedVideo = parsed.Codec, parsed.Enhanced
			}
		default:
			metadata = packet.Data
		}
	}
	if p.watch.NoAudio {
		tracks.Audio = 0
	}
	if p.watch.NoVideo {
		tracks.Video = 0
	}
	var length []amf.Property
	if !p.file.Growing() {
		seconds := info.Duration.Seconds() - float64(p.first)/1000
		length = append(length, amf.Property{Name: "duration", Value: max(0, seconds)})
	}
	dst = flv.AppendHeader(dst, tracks.Audio != 0, tracks.Video != 0)
	dst = flv.AppendTag(dst, flv.Tag{Type: flv.TypeScript, Data: hub.AppendMetadata(nil, metadata, tracks, length...)})
	for _, packet := range headers {
		if body, ok := p.shape(packet); ok && packet.Type != flv.TypeScript {
			dst = flv.AppendTag(dst, flv.Tag{Type: packet.Type, Data: body})
		}
	}
	return dst
}
