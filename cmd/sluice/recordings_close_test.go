package main

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/httpflv"
	"sluice/hub"
	"sluice/hub/archive"
	"sluice/hub/fanout"
)

// Recordings are finished although somebody else has used up the time for a shutdown.
func TestRecordingsAreFinishedLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := slog.New(slog.DiscardHandler)
		cfg := config{RecordDir: t.TempDir(), RecordBuffer: 1 << 20}
		require.NoError(t, cfg.Record.UnmarshalText([]byte("**")))
		var err error
		cfg.archive, err = openArchive(cfg, log)
		require.NoError(t, err)
		s := &service{}
		h := hub.New(hub.Config{Observe: s.observer(&cfg)})
		s.recordings = newRecordings(cfg, h, nil, nil, log)
		pool := fanout.New(fanout.Config{})
		defer pool.Close()
		s.recordings.serve(cfg, &httpflv.Handler{Hub: h, Pool: pool}, log)

		p, err := h.Publish(h.NewSession(hub.RolePublish, demoKey, hub.Client{}), hub.PublishOptions{})
		require.NoError(t, err)
		for _, body := range [][]byte{{0xaf, 0, 0x12, 0x10}, {0xaf, 1, 2, 3}} {
			require.NoError(t, p.Write(flv.Tag{Type: flv.TypeAudio, Data: body}))
		}
		time.Sleep(5 * time.Second)
		ended, cancel := context.WithCancel(t.Context())
		require.NoError(t, h.Shutdown(ended))
		cancel()
		require.NoError(t, s.recordings.close(ended))
		cfg.archive, err = openArchive(cfg, log)
		require.NoError(t, err, "it was closed")
		defer cfg.archive.Close()
		found, err := cfg.archive.Recording(demoKey, archive.Latest)
		require.NoError(t, err)
		assert.Equal(t, archive.StateFinished, found.State)
	})
}
