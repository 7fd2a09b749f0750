package bench

import (
	"context"
	"fmt"
	"io"
	"time"

	"sluice/cmd/sluice/demo"
	"sluice/flv/amf"
	"sluice/hub"
	"sluice/hub/archive"
	"sluice/hub/archive/flvfile"
)

// madeBegin is when recordings that are made begin.
var madeBegin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// madeKey is their stream.
var madeKey = hub.Key{App: "live", Name: "bench"}

// madeBatch is how many packets are written at a time.
const madeBatch = 512

// makeRecording makes a recording of o.length in a folder of recordings that no server has
// open, and prints where it plays: rec/APP/NAME/ID.
func makeRecording(ctx context.Context, o *options, stdout io.Writer) (err error) {
	l, err := o.loadLoop(demo.Clip())
	if err != nil {
		return err
	}
	a, err := archive.Open(archive.Config{Dir: o.make})
	if err != nil {
		return err
	}
	defer a.Close()
	w, err := a.Create(madeKey, madeBegin, amf.ECMAArray{})
	if err != nil {
		return err
	}
	defer w.Close()
	packets := make([]flvfile.Packet, 0, madeBatch)
	for _, t := range l.header {
		packets = append(packets, flvfile.Packet{Tag: t, Header: true})
	}
	var scratch []byte
	for n := int64(0); ; n++ {
		at := l.due(n)
		if over := at >= o.length; over || len(packets) == madeBatch {
			if scratch, _, err = w.Write(scratch, packets); err != nil {
				return err
			}
			if err := w.WriteIndex(); err != nil {
				return err
			}
			if over {
				break
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			packets = packets[:0]
		}
		packets = append(packets, flvfile.Packet{Tag: l.tag(n), Time: at.Milliseconds(), Key: l.frames[n%int64(len(l.frames))].key})
	}
	made, err := w.Finish(archive.StateFinished)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "rec/%s/%s\n", made.Key, made.ID)
	return err
}
