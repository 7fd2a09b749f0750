package web

import (
	"time"

	"sluice/flv"
	"sluice/hub"
)

// FromHub converts the hub's streams to those of the API, in the same order and without
// any address. The public is not told of all of them, see Config.
func FromHub(infos []hub.StreamInfo, now time.Time) []Stream {
	streams := make([]Stream, 0, len(infos))
	for _, info := range infos {
		s := Stream{
			App: info.App, Name: info.Name, Key: info.App + "/" + info.Name,
			State:    info.State,
			Protocol: info.Protocol,
			Bitrate:  info.Bitrate, BackMS: info.Back.Milliseconds(),
			Viewers: Viewers{Total: info.Viewers, ByProtocol: info.ViewersByProtocol},
			BytesIn: info.BytesIn, BytesOut: info.BytesOut, Dropped: info.Dropped,
		}
		if !info.Since.IsZero() {
			s.UptimeMS = max(0, now.Sub(info.Since).Milliseconds())
		}
		s.Video, s.Audio = videoOf(info.Video), audioOf(info.Audio)
		if s.Audio != nil {
			s.Audio.Muted = info.Muted
		}
		for _, t := range info.Further {
			s.Tracks = append(s.Tracks, Track{Number: int(t.Number), Video: videoOf(t.Video), Audio: audioOf(t.Audio)})
		}
		streams = append(streams, s)
	}
	return streams
}

func videoOf(v *flv.VideoFormat) *Video {
	if v == nil {
		return nil
	}
	return &Video{Codec: v.Codec.String(), Profile: v.Profile, Width: v.Width, Height: v.Height, FPS: v.FrameRate}
}

func audioOf(a *flv.AudioFormat) *Audio {
	if a == nil {
		return nil
	}
	return &Audio{Codec: a.Codec.String(), Profile: a.Profile, SampleRate: a.SampleRate, Channels: a.Channels}
}
