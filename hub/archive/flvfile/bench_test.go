package flvfile

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"sluice/flv"
)

// stretch makes the tags of a recording of so many seconds, with a key frame every two,
// video of 30 and sound of 50 frames a second, of whose bodies only the beginning is
// written: the rest are holes. size is that of a video frame's body, in bytes.
func stretch(b *testing.B, w *Writer, seconds int64, size int) {
	b.Helper()
	write := func(typ flv.Type, ms int64, head []byte, size int, header, key bool) {
		p := Packet{Tag: flv.Tag{Type: typ, Data: head}, Time: ms, Header: header, Key: key}
		tag := flv.AppendTag(nil, flv.Tag{Type: typ, Timestamp: uint32(ms), Data: head})
		tag = tag[:len(tag)-tagTail]
		tag[1], tag[2], tag[3] = byte(size>>16), byte(size>>8), byte(size)
		_, err := w.shared.file.WriteAt(tag, w.size)
		require.NoError(b, err)
		end := w.size + int64(size) + flv.TagOverhead
		_, err = w.shared.file.WriteAt(binary.BigEndian.AppendUint32(nil, uint32(size+tagHeaderSize)), end-tagTail)
		require.NoError(b, err)
		p.Data = make([]byte, size)
		copy(p.Data, head)
		w.begun = true
		w.stand([]Packet{p}, int(end-w.size))
	}
	write(flv.TypeVideo, 0, []byte{0x17, 0, 0, 0, 0}, 40, true, false)
	write(flv.TypeAudio, 0, []byte{0xaf, 0, 0x12, 0x10}, 4, true, false)
	for s := range seconds {
		for n := range int64(10) {
			for v := range int64(3) {
				key := s%2 == 0 && n == 0 && v == 0
				head := []byte{0x27, 1, 0, 0, 0}
				if key {
					head[0] = 0x17
				}
				write(flv.TypeVideo, s*1000+n*100+v*33, head, size, false, key)
			}
			for a := range int64(5) {
				write(flv.TypeAudio, s*1000+n*100+a*20, []byte{0xaf, 1}, 200, false, false)
			}
		}
		require.NoError(b, w.WriteIndex())
	}
}

// hour is an hour of 2.4 Mbps, 1.1 GB, that was not finished; b's own copy of it is in its
// folder.
func hour(b *testing.B) (fsys FS, dir string) {
	b.Helper()
	fsys, dir = folder(b)
	w, err := Create(fsys, "a", Properties{})
	require.NoError(b, err)
	stretch(b, w, 3600, 9000)
	require.NoError(b, w.Sync())
	require.NoError(b, w.Close())
	return fsys, dir
}

func BenchmarkRecoverHour(b *testing.B) {
	fsys, dir := hour(b)
	size := int64(0)
	for b.Loop() {
		info, err := Recover(fsys, "a")
		require.NoError(b, err)
		size = info.Size
		b.StopTimer()
		require.NoError(b, os.Rename(filepath.Join(dir, "a.flv"), filepath.Join(dir, "a.flv.part")))
		require.NoError(b, os.Truncate(filepath.Join(dir, "a.flv.part"), size-1000))
		b.StartTimer()
	}
	b.ReportMetric(float64(size)/1e9, "GB")
}

// BenchmarkScanHour makes the index of the same file without one.
func BenchmarkScanHour(b *testing.B) {
	fsys, _ := hour(b)
	_, err := Recover(fsys, "a")
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		require.NoError(b, fsys.Remove("a.idx"))
		f, err := Open(fsys, "a")
		require.NoError(b, err)
		_, err = f.Cursor().SeekTo(1_800_000)
		require.NoError(b, err)
		require.NoError(b, f.Close())
	}
}

func BenchmarkFinish(b *testing.B) {
	for _, size := range []int64{1 << 20, 50 << 30} {
		for _, keys := range []int{1000, 86_400} {
			b.Run(fmt.Sprintf("%dMB/%d", size>>20, keys), func(b *testing.B) {
				fsys, dir := folder(b)
				for b.Loop() {
					b.StopTimer()
					w, err := Create(fsys, "a", Properties{})
					require.NoError(b, err)
					stretch(b, w, 2, 9000)
					for n := range keys {
						w.due = w.summary.appendRecord(w.due, record{pos: size / int64(keys) * int64(n), kind: kindKey, time: int64(n) * 1000})
					}
					require.NoError(b, w.shared.file.Truncate(w.size+size))
					w.size += size
					w.publish()
					require.NoError(b, w.WriteIndex())
					b.StartTimer()
					_, err = w.Finish()
					require.NoError(b, err)
					b.StopTimer()
					require.NoError(b, os.Remove(filepath.Join(dir, "a.flv")))
					b.StartTimer()
				}
			})
		}
	}
}

// day is a recording of 24 hours with a key frame each second, and nothing else.
func day(b *testing.B) FS {
	b.Helper()
	fsys, _ := folder(b)
	w, err := Create(fsys, "a", Properties{})
	require.NoError(b, err)
	batch := make([]Packet, 1, 1001)
	batch[0] = Packet{Tag: flv.Tag{Type: flv.TypeVideo, Data: []byte{0x17, 0, 0, 0, 0, 1}}, Header: true}
	for s := range int64(24 * 3600) {
		batch = append(batch, Packet{Tag: flv.Tag{Type: flv.TypeVideo, Data: []byte{0x17, 1, 0, 0, 0, 1}}, Time: s * 1000, Key: true})
		if len(batch) >= 1000 || s == 24*3600-1 {
			_, _, err := w.Write(nil, batch)
			require.NoError(b, err)
			require.NoError(b, w.WriteIndex())
			batch = batch[:0]
		}
	}
	_, err = w.Finish()
	require.NoError(b, err)
	return fsys
}

// BenchmarkSeekDay seeks in an index of 24 hours, and reads headers and the key frame.
func BenchmarkSeekDay(b *testing.B) {
	f, err := Open(day(b), "a")
	require.NoError(b, err)
	defer f.Close()
	c := f.Cursor()
	b.ReportAllocs()
	ms := int64(0)
	for b.Loop() {
		ms = (ms + 33_333_333) % (24 * 3600 * 1000)
		if _, err := c.SeekTo(ms); err != nil {
			b.Fatal(err)
		}
		if _, err := c.Headers(); err != nil {
			b.Fatal(err)
		}
		if _, err := c.Next(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpenDay opens the same file, and its index.
func BenchmarkOpenDay(b *testing.B) {
	fsys := day(b)
	b.ReportAllocs()
	for b.Loop() {
		f, err := Open(fsys, "a")
		require.NoError(b, err)
		_, err = f.Cursor().SeekTo(1000)
		require.NoError(b, err)
		require.NoError(b, f.Close())
	}
}

// BenchmarkWrite writes a second of 206 kbps at a time, with its index.
func BenchmarkWrite(b *testing.B) {
	_, packets := clip(b, "h264-bframes-aac")
	packets = packets[:60]
	fsys, _ := folder(b)
	w, err := Create(fsys, "a", Properties{})
	require.NoError(b, err)
	defer w.Close()
	var scratch []byte
	b.ReportAllocs()
	for b.Loop() {
		for i := range packets {
			packets[i].Time += 1000
		}
		if scratch, _, err = w.Write(scratch, packets); err != nil {
			b.Fatal(err)
		}
		if err := w.WriteIndex(); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(scratch)))
}

// BenchmarkWriterMemory tells what a writer takes that has written a while.
func BenchmarkWriterMemory(b *testing.B) {
	meta, packets := clip(b, "h264-bframes-aac")
	fsys, _ := folder(b)
	for b.Loop() {
		const writers = 500
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		var all []*Writer
		var scratch []byte
		for n := range writers {
			w, err := Create(fsys, fmt.Sprint(n), Properties{App: "live", Name: "camera", Begin: begin, Metadata: meta})
			require.NoError(b, err)
			for i := 0; i+20 < len(packets); i += 20 {
				scratch, _, err = w.Write(scratch, packets[i:i+20])
				require.NoError(b, err)
				require.NoError(b, w.WriteIndex())
			}
			all = append(all, w)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/writers, "B/writer")
		for n, w := range all {
			_, err := w.Finish()
			require.NoError(b, err)
			require.NoError(b, fsys.Remove(fmt.Sprint(n, ".flv")))
		}
	}
}
