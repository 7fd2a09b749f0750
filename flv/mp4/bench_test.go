package mp4_test

import (
	"bufio"
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/mp4"
)

// recorded is what benchmarks read: 30 pictures and 47 pieces of sound a second, 2.4 Mbps.
const recorded = 6 * time.Minute

// record writes the file and returns its size.
func record(b *testing.B, out *os.File, length time.Duration) int64 {
	b.Helper()
	const frameRate, gop, frames = 30, 60, 1024
	buf := bufio.NewWriterSize(out, 1<<20)
	w := flv.NewWriter(buf, true, true)
	write := func(t flv.Tag) { require.NoError(b, w.WriteTag(t)) }
	write(h264Header())
	write(aacHeader())
	rng := rand.New(rand.NewPCG(1, 2))
	payload := bytes.Repeat([]byte{0xa5}, 100_000)
	sounds := 0
	for n := range int(length.Seconds() * frameRate) {
		at := 1000 * n / frameRate
		size, key := 5000+rng.IntN(7000), n%gop == 0
		if key {
			size *= 5
		}
		write(video(uint32(at), flv.Packet{
			Codec: flv.CodecH264, Kind: flv.KindFrame, Key: key, CompositionTime: int32(33 * (n % 3)), Payload: payload[:size],
		}))
		for ; sounds*frames/48 <= at; sounds++ {
			write(audio(uint32(sounds*frames/48), flv.Packet{Codec: flv.CodecAAC, Kind: flv.KindFrame, Payload: payload[:320+rng.IntN(40)]}))
		}
	}
	require.NoError(b, buf.Flush())
	info, err := out.Stat()
	require.NoError(b, err)
	return info.Size()
}

// recording returns a file for a benchmark.
func recording(b *testing.B) (*os.File, int64) {
	b.Helper()
	out, err := os.Create(filepath.Join(b.TempDir(), "recording.flv"))
	require.NoError(b, err)
	b.Cleanup(func() { out.Close() })
	return out, record(b, out, recorded)
}

// perHour reports what an operation on the recording comes to for an hour.
func perHour(b *testing.B) {
	b.ReportMetric(b.Elapsed().Seconds()*1000/float64(b.N)*float64(time.Hour/recorded), "ms/hour")
}

func BenchmarkScan(b *testing.B) {
	in, size := recording(b)
	var x *mp4.Index
	b.ReportAllocs()
	for b.Loop() {
		var err error
		x, err = mp4.Scan(context.Background(), in, size)
		require.NoError(b, err)
	}
	perHour(b)
	b.ReportMetric(float64(x.Bytes())/float64(x.Samples()), "bytes/sample")
	b.ReportMetric(float64(x.Samples()), "samples")
}

func BenchmarkHead(b *testing.B) {
	in, size := recording(b)
	x, err := mp4.Scan(context.Background(), in, size)
	require.NoError(b, err)
	var head []byte
	b.ReportAllocs()
	for b.Loop() {
		head = x.Head()
	}
	perHour(b)
	b.ReportMetric(float64(len(head))/recorded.Minutes(), "bytes/minute")
}
