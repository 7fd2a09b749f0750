//go:build unix

package main

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/rtmp"
)

// BenchmarkJoin is how long a new viewer waits for its picture when it comes in
// the middle of a GOP: from connect() to the last byte of the first key frame, 100
// KB of a stream of 2 Mbps, with everything that the protocol has to say before.
// Program and viewer are two processes on one machine.
func BenchmarkJoin(b *testing.B) {
	for _, protocol := range protocols {
		b.Run(protocol.name, func(b *testing.B) {
			p := startProcess(b, "SLUICE_LOG_LEVEL=warn")
			s := startSteps(b, p)
			defer s.close()
			var times []time.Duration
			for b.Loop() {
				s.step(b)
				began := time.Now()
				v, err := protocol.join(b.Context(), p, "join")
				require.NoError(b, err)
				for {
					tag, err := v.next()
					require.NoError(b, err)
					if isKeyFrame(tag) {
						break
					}
				}
				times = append(times, time.Since(began))
				v.close()
			}
			slices.Sort(times)
			quantile := func(q float64) float64 {
				return times[int(q*float64(len(times)-1))].Seconds() * 1000
			}
			b.ReportMetric(quantile(0.5), "median-ms")
			b.ReportMetric(quantile(0.99), "p99-ms")
			b.ReportMetric(0, "ns/op") // most of which is the publishing in between
		})
	}
}

// steps publishes a stream that is always halfway through a GOP, and watches it
// to know that the gateway has got so far.
type steps struct {
	publisher *rtmp.Publisher
	witness   testViewer
	gop       []flv.Tag
	half      int
	base      uint32 // timestamp of the GOP's first frame, ms
}

func startSteps(b *testing.B, p *process) *steps {
	b.Helper()
	s := &steps{gop: stream2M.frames(stream2M.gop)}
	s.half = len(s.gop) / 2
	var err error
	s.publisher, err = new(rtmp.Client).Publish(b.Context(), "rtmp://"+p.rtmp+"/live/join")
	require.NoError(b, err)
	for _, tag := range append(madeHeader(), s.gop[:s.half]...) {
		require.NoError(b, s.publisher.WriteTag(tag))
	}
	s.witness, err = joinHTTP(context.WithoutCancel(b.Context()), p, "join")
	require.NoError(b, err)
	s.await(b)
	return s
}

// step publishes the rest of the GOP and the first half of the next one.
func (s *steps) step(b *testing.B) {
	b.Helper()
	s.publish(b, s.gop[s.half:])
	s.base += uint32(stream2M.gop.Milliseconds())
	s.publish(b, s.gop[:s.half])
	s.await(b)
}

func (s *steps) publish(b *testing.B, tags []flv.Tag) {
	b.Helper()
	for _, tag := range tags {
		tag.Timestamp += s.base
		require.NoError(b, s.publisher.WriteTag(tag))
	}
}

// await reads what the witness is sent up to the last frame published.
func (s *steps) await(b *testing.B) {
	b.Helper()
	for last := s.base + s.gop[s.half-1].Timestamp; ; {
		tag, err := s.witness.next()
		require.NoError(b, err)
		if tag.Timestamp == last {
			return
		}
	}
}

func (s *steps) close() {
	s.publisher.Close()
	s.witness.close()
}
