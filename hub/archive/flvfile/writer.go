package flvfile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"sluice/flv"
)

// Writer writes one file. One goroutine at a time calls its methods, apart from Open and
// Info, which anybody may call. It ends with Finish or Close.
//
// It keeps no buffer of its own: there may be thousands of them.
type Writer struct {
	shared  *shared
	summary summary
	size    int64 // of whole tags
	begun   bool  // there is a frame or a codec header
	ended   bool  // the index has its last record
	closed  bool
	torn    bool  // more than size bytes stand in the file
	gap     int64 // before the next packet, ms
	due     []record
}

// Create begins a file NAME.flv.part, which must not exist yet (fs.ErrExist), nor may
// NAME.flv. The head is written at once. The caller sees to it that nobody else makes a file
// of that name meanwhile.
func Create(fsys FS, name string, p Properties) (*Writer, error) {
	if len(p.App)+len(p.Name) > maxNames {
		return nil, fmt.Errorf("flvfile: the stream's name has %d bytes, %d are too many", len(p.App)+len(p.Name), maxNames)
	}
	if exists(fsys, name+Suffix) {
		return nil, fmt.Errorf("flvfile: creating: %w", errExist(name))
	}
	f, err := fsys.OpenFile(name+PartSuffix, os.O_RDWR|os.O_CREATE|os.O_EXCL, filePerm)
	if err != nil {
		return nil, fmt.Errorf("flvfile: creating: %w", err)
	}
	h := head{start: dataStart, ours: true, publisher: ownProperties(p.Metadata)}
	h.App, h.Name, h.Begin, h.Size = p.App, p.Name, p.Begin.UTC(), dataStart
	if err = removeIfThere(fsys, name+IndexSuffix); err == nil {
		err = writeHead(f, h, nil)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("flvfile: creating: %w", err), f.Close(), fsys.Remove(name+PartSuffix))
	}
	w := &Writer{
		shared:  &shared{fsys: fsys, name: name, file: f, users: 1, growing: true, head: h, loaded: true},
		summary: newSummary(),
		size:    dataStart,
	}
	return w, nil
}

// errExist says that NAME.flv exists.
func errExist(name string) error {
	return &fs.PathError{Op: "open", Path: name + Suffix, Err: fs.ErrExist}
}

// writeHead writes the head of a file of ours, in one write.
func writeHead(f Handle, h head, entries []entry) error {
	b := h.bytes(entries)
	n, err := f.WriteAt(b, 0)
	if err == nil && n < len(b) {
		err = errShortWrite
	}
	return err
}

var errShortWrite = errors.New("flvfile: short write")

func removeIfThere(fsys FS, name string) error {
	if err := fsys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// End returns when the next packet is due: the end of the last one, in ms. 0 in a new
// file.
func (w *Writer) End() int64 { return w.summary.end() }

// Info returns what is known of the file by now.
func (w *Writer) Info() Info {
	h, _ := w.shared.now()
	return h.Info
}

// Open opens the file for reading while it is written. The error is fs.ErrClosed after Finish
// and Close, unless somebody still reads the file.
func (w *Writer) Open() (*File, error) {
	if !w.shared.acquire() {
		return nil, fmt.Errorf("flvfile: opening what was written: %w", fs.ErrClosed)
	}
	return &File{shared: w.shared}, nil
}

// Gap notes that the next packet comes after something that is missing, ms long.
func (w *Writer) Gap(ms int64) { w.gap += max(ms, 0) }

// Write appends packets in one write: they are framed into scratch, which is returned, as
// it may have grown. Their timestamps count for nothing, a Time before 0 is 0. On an error
// the file is cut back to its last whole tag; written tells how many packets stand. The
// Writer can still be used then.
//
// Metadata that comes before all else goes into the file's head instead. Later one is a tag
// where it came, but with the timestamp 0: with another one ffmpeg takes it for subtitles.
func (w *Writer) Write(scratch []byte, packets []Packet) (_ []byte, written int, err error) {
	if err := w.mend(); err != nil {
		return scratch, 0, fmt.Errorf("flvfile: cutting back before a write: %w", err)
	}
	scratch = scratch[:0]
	for i := range packets {
		if len(packets[i].Data) > flv.MaxTagSize {
			return scratch, 0, fmt.Errorf("flvfile: packet %d: %w", i, flv.ErrTooLarge)
		}
	}
	early, err := w.takeMetadata(packets)
	if err != nil {
		return scratch, 0, err
	}
	for _, p := range packets[early:] {
		p.Timestamp = uint32(max(0, p.Time))
		if p.isMetadata() {
			p.Timestamp = 0
		}
		scratch = flv.AppendTag(scratch, p.Tag)
	}
	if len(scratch) == 0 {
		return scratch, early, nil
	}
	n, err := w.shared.file.WriteAt(scratch, w.size)
	if err == nil && n < len(scratch) {
		err = errShortWrite
	}
	written = early + w.stand(packets[early:], min(n, len(scratch)))
	if err != nil {
		w.torn = true
		err = fmt.Errorf("flvfile: writing: %w", err)
		if cut := w.mend(); cut != nil {
			err = errors.Join(err, fmt.Errorf("flvfile: cutting back: %w", cut))
		}
	}
	return scratch, written, err
}

// mend cuts off what a failed write left behind the last whole tag.
func (w *Writer) mend() error {
	if !w.torn {
		return nil
	}
	err := w.shared.file.Truncate(w.size)
	w.torn = err != nil
	return err
}

// takeMetadata takes metadata before the first frame or codec header for that of the file, and
// returns how many packets that were.
func (w *Writer) takeMetadata(packets []Packet) (n int, err error) {
	if w.begun {
		return 0, nil
	}
	for n < len(packets) && packets[n].isMetadata() {
		n++
	}
	w.begun = n < len(packets)
	if n == 0 {
		return 0, nil
	}
	props, _ := metadataProperties(packets[n-1].Data)
	h, _ := w.shared.now()
	if props = ownProperties(props); slices.Equal(props, h.publisher) {
		return n, nil
	}
	h.publisher = props
	if err := writeHead(w.shared.file, h, nil); err != nil {
		w.begun = false
		return 0, fmt.Errorf("flvfile: writing the head: %w", err)
	}
	w.shared.update(func() { w.shared.head.publisher = props })
	return n, nil
}

// isMetadata reports whether a packet is an onMetaData that is in force from there on.
func (p *Packet) isMetadata() bool {
	return p.Header && p.Type == flv.TypeScript && bytes.HasPrefix(p.Data, onMetaData)
}

// stand takes note of packets of which the first n bytes of their tags are in the file, and
// returns how many of them are whole.
func (w *Writer) stand(packets []Packet, n int) (whole int) {
	for _, p := range packets {
		if n -= p.Size(); n < 0 {
			break
		}
		p.Time = max(0, p.Time)
		if w.summary.records == 0 {
			w.due = w.summary.appendRecord(w.due, record{pos: w.size, kind: kindFile})
		}
		w.summary.note(&p)
		w.due = w.summary.appendRecords(w.due, w.size, &p, w.gap)
		w.gap = 0
		w.size += int64(p.Size())
		whole++
	}
	if whole > 0 {
		w.ended = false
		w.publish()
	}
	return whole
}

// publish tells readers what stands by now.
func (w *Writer) publish() {
	w.shared.update(func() {
		h := &w.shared.head
		h.Info = w.summary.fill(h.Info, w.size)
		h.setTracks(&w.summary)
		h.seekable = w.summary.records > 0
		w.shared.index.pending = append(w.shared.index.pending, w.due...)
	})
	w.due = w.due[:0]
}
