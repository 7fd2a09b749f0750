package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"sluice/httpflv"
	"sluice/httpflv/vod"
	"sluice/hub"
	"sluice/hub/archive"
	"sluice/hub/archive/union"
	"sluice/hub/cluster"
	"sluice/hub/fanout"
	"sluice/hub/record"
	"sluice/web"
	"sluice/web/admin"
)

// openArchive opens the folder for recordings, nil if there is none.
func openArchive(cfg config, log *slog.Logger) (*archive.Archive, error) {
	if cfg.RecordDir == "" {
		return nil, nil
	}
	if err := os.MkdirAll(cfg.RecordDir, 0o750); err != nil {
		return nil, fmt.Errorf("%sRECORD_DIR=%q: %w", envPrefix, cfg.RecordDir, err)
	}
	a, err := archive.Open(archive.Config{
		Dir: cfg.RecordDir, Keep: cfg.RecordKeep, KeepBytes: int64(cfg.RecordKeepBytes),
		KeepBytesPerStream: int64(cfg.RecordKeepBytesOfStream), MinFree: int64(cfg.RecordMinFree), Logger: log,
	})
	if err != nil {
		return nil, fmt.Errorf("%sRECORD_DIR=%q: %w", envPrefix, cfg.RecordDir, err)
	}
	return a, nil
}

// recordings are the parts of the service that record, and serve recordings over HTTP. The
// zero value records nothing.
type recordings struct {
	archive  *archive.Archive // nil where nothing is recorded here, and so is recorder
	own      ownRecordings    // which are archive's, if there is one; nil where no recordings are served
	recorder *record.Recorder
	union    *union.Union // with those of other nodes; nil where this server is alone
	vod      *vod.Handler
}

// ownRecordings are those of this server, an *archive.Archive's or an archive.None's.
type ownRecordings interface {
	vod.Folder
	admin.Archive
}

// newRecordings begins to record what the hub tells of, if there is an archive. In a cluster those of other nodes are
// served without one, too.
func newRecordings(cfg config, h *hub.Hub, of *clustered, observe func(record.Event), log *slog.Logger) recordings {
	r := recordings{archive: cfg.archive}
	switch {
	case cfg.archive != nil:
		r.own = cfg.archive
		r.recorder = record.New(record.Config{
			Hub: h, Archive: cfg.archive, Records: func(key hub.Key) bool { return cfg.Record.Matches(key.String()) },
			Segment: cfg.RecordSegment, SegmentBytes: int64(cfg.RecordSegmentBytes), Sync: cfg.RecordSync,
			Buffer: int64(cfg.RecordBuffer), Observe: observe, Logger: log,
			Foreign: func(s *hub.Session) bool { return s.Protocol() == cluster.Protocol },
		})
	case of != nil:
		r.own = archive.None{}
	}
	if of != nil {
		r.union = union.New(r.own, operatedNodes{clustered: of})
	}
	return r
}

// serve makes the handler of recordings over HTTP, nil where none are served, and tells where
// the API has them from.
func (r *recordings) serve(cfg config, streams *httpflv.Handler, log *slog.Logger) (handler http.Handler, api web.RecordingsConfig) {
	if r.own == nil {
		return nil, web.RecordingsConfig{}
	}
	of := vod.Config{Archive: vod.FromArchive(r.own), Streams: streams, StallTimeout: cfg.StallTimeout, Logger: log}
	api = web.RecordingsConfig{Path: vod.Path}
	if r.union != nil {
		of.Others, api.Origins = r.union, r.union.Origins
	}
	r.vod = vod.New(of)
	api.List, api.Find = r.vod.List, r.vod.Find
	return r.vod, api
}

// What a viewer of a live stream who begins in its recording is sent ahead of what it has
// played, where it takes all that it is sent: a browser holds it in memory.
const (
	rewindAhead      = time.Minute
	rewindAheadBytes = 24 << 20
)

// rewind returns what a viewer is given from the recording of its stream before it is
// served live.
func (r *recordings) rewind(v *hub.Viewer, holds bool) fanout.Lead {
	if r.recorder == nil {
		return nil
	}
	var pace record.Pace
	if holds {
		pace = record.Pace{Ahead: rewindAhead, Bytes: rewindAheadBytes}
	}
	return r.recorder.Rewind(v, pace)
}

// close finishes what is being recorded, when every stream has ended. Where others have used up
// all the time, it takes lastGrace: as a rule everything is finished by then.
func (r *recordings) close(ctx context.Context) error {
	if r.own == nil {
		return nil
	}
	ctx, cancel := withGrace(ctx)
	defer cancel()
	served := make(chan struct{})
	go func() {
		defer close(served)
		r.vod.Close()
	}()
	select {
	case <-served:
	case <-ctx.Done(): // what reads a disk that hangs ends with the process
	}
	if r.recorder == nil {
		return nil
	}
	if err := r.recorder.Close(ctx); err != nil {
		return fmt.Errorf("recordings are not finished, and will be at the next start: %w", err)
	}
	return errors.Join(r.archive.Close())
}
