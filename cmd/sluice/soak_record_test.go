//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/httpflv/vod"
	"sluice/hub"
	"sluice/hub/archive"
)

// soakKeep is how many bytes of finished recordings are kept.
const soakKeep = 6 << 20

// soakRecording has the service record, in many small files of which few are kept.
func soakRecording(dir string) []string {
	return []string{
		"SLUICE_RECORD_DIR=" + dir, "SLUICE_RECORD_SEGMENT=2s", "SLUICE_RECORD_SEGMENT_BYTES=1MiB",
		fmt.Sprint("SLUICE_RECORD_KEEP_BYTES=", soakKeep), "SLUICE_RECORD_MIN_FREE=0", "SLUICE_RECORD_SYNC=1s",
	}
}

// tidy is one actor: it deletes what is too much, more often than the service does by itself.
func (w *soak) tidy(rng *rand.Rand) {
	for !w.over() {
		if _, err := w.svc.archive.MakeRoom(w.ctx); err != nil && !w.over() {
			w.fail("making room: %v", err)
		}
		w.sleep(time.Duration(rng.IntN(1000)) * time.Millisecond)
	}
}

// playFiles is one actor: it plays recordings, one after the other.
func (w *soak) playFiles(rng *rand.Rand) {
	kinds := []struct {
		name string
		play func(*soak, context.Context, archive.Recording, *rand.Rand) error
	}{
		{"HTTP", (*soak).downloadFile}, {"HTTP ranges", (*soak).rangesOfFile},
		{"WebSocket", (*soak).fileOverSocket}, {"RTMP", (*soak).seekInFile},
	}
	for !w.over() {
		key := w.streams[rng.IntN(len(w.streams))].key
		page, _, err := w.svc.archive.Recordings(hubKey(key), "", 0)
		if err != nil || len(page) == 0 {
			w.sleep(100 * time.Millisecond)
			continue
		}
		r, kind := page[rng.IntN(len(page))], kinds[rng.IntN(len(kinds))]
		ctx, leave := context.WithCancel(w.ctx)
		switch err := kind.play(w, ctx, r, rng); {
		case err == nil:
			w.count("file over " + kind.name)
		case errors.Is(err, errRefused): // deleted meanwhile
			w.count("file is gone")
		case !w.over():
			w.fail("file %s of %s (%s) over %s: %v\n%s", r.ID, key, r.State, kind.name, err, dumpFile(w.dir, r))
		}
		leave()
	}
}

// hubKey returns the key of a stream of the soak.
func hubKey(key string) hub.Key {
	app, name, _ := strings.Cut(key, "/")
	return hub.Key{App: app, Name: name}
}

// fileChecker judges what is played of a file.
func (w *soak) fileChecker(r archive.Recording, form flv.Form) *checker {
	v := selection{key: r.Key.String(), file: true, scripts: true}
	v.in(form)
	c := newChecker(w, v)
	c.loose = r.Gaps > 0
	return c
}

// get requests a file by HTTP.
func (w *soak) get(ctx context.Context, r archive.Recording, query string, header ...string) (*http.Response, error) {
	conn, err := w.dial(ctx, w.httpAddr)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(conn, "GET %s%s HTTP/1.1\r\nHost: soak\r\nConnection: close\r\n%s\r\n", vod.Path(r.Key, r.ID), query, strings.Join(header, ""))
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	switch {
	case err != nil:
		return nil, err
	case res.StatusCode == http.StatusNotFound:
		return nil, errRefused
	case res.StatusCode >= 300 && res.StatusCode != http.StatusRequestedRangeNotSatisfiable:
		return nil, fmt.Errorf("status %s", res.Status)
	}
	return res, nil
}

// downloadFile reads a file, or follows it to the end of the stream or for a while.
func (w *soak) downloadFile(ctx context.Context, r archive.Recording, rng *rand.Rand) error {
	query := ""
	if rng.IntN(3) == 0 {
		query = "?follow=1"
	}
	res, err := w.get(ctx, r, query)
	if err != nil {
		return err
	}
	return w.wholeFile(res.Body, r, query != "", rng.IntN(1000))
}

// wholeFile judges a file up to its end, or so many tags of it.
func (w *soak) wholeFile(file io.Reader, r archive.Recording, grows bool, most int) error {
	c := w.fileChecker(r, flv.FormAsSent)
	in := strictFLV{r: bufio.NewReader(file), file: true, grows: grows}
	for range most {
		tag, err := in.next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = c.tag(tag)
		}
		if err != nil {
			return c.wrap(err)
		}
		w.tags.Add(1)
	}
	return nil
}

// rangesOfFile compares ranges of a finished file with the whole.
func (w *soak) rangesOfFile(ctx context.Context, r archive.Recording, rng *rand.Rand) error {
	res, err := w.get(ctx, r, "")
	if err != nil {
		return err
	}
	tag := res.Header.Get("ETag")
	whole, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	for range rng.IntN(5) {
		from := rng.IntN(len(whole))
		to := from + rng.IntN(len(whole)-from)
		res, err := w.get(ctx, r, "", fmt.Sprintf("Range: bytes=%d-%d\r\n", from, to), "If-Range: "+tag+"\r\n")
		if err != nil {
			return err
		}
		part, err := io.ReadAll(res.Body)
		switch {
		case err != nil:
			return err
		case res.StatusCode == http.StatusOK: // it has grown
			w.count("file has grown")
			return nil
		case res.StatusCode != http.StatusPartialContent, !bytes.Equal(part, whole[from:to+1]):
			return fmt.Errorf("status %d, %d bytes are not bytes %d to %d of %d", res.StatusCode, len(part), from, to, len(whole))
		}
	}
	return nil
}

// fileOverSocket plays a file from somewhere.
func (w *soak) fileOverSocket(ctx context.Context, r archive.Recording, rng *rand.Rand) error {
	conn, err := w.dial(ctx, w.httpAddr)
	if err != nil {
		return err
	}
	start := rng.Float64() * r.Duration.Seconds() * 1.1
	query := fmt.Sprintf("?start=%.3f&token=%sfile", start, soakSecret)
	path := strings.TrimSuffix(strings.TrimPrefix(vod.Path(r.Key, r.ID), "/"), ".flv")
	s, err := openSocket(conn, &selection{key: path, query: query})
	if err != nil {
		return err
	}
	c := w.fileChecker(r, flv.FormBrowser)
	in := strictFLV{r: s, file: true, grows: r.State == archive.StateRecording}
	for range rng.IntN(300) {
		tag, err := in.next()
		switch {
		case err == io.EOF && s.code == 4404:
			return errRefused
		case err == io.EOF && (s.code == 1000 || s.code == 1001):
			return nil
		case err == io.EOF && s.code == 4400 && start > r.Duration.Seconds():
			w.count("file has no such place")
			return nil
		case err == nil:
			err = c.tag(tag)
		default:
			err = fmt.Errorf("closed with %d: %w", s.code, err)
		}
		if err != nil {
			return c.wrap(err)
		}
		w.tags.Add(1)
	}
	return nil
}

// seekInFile plays a file, and seeks and pauses in it.
func (w *soak) seekInFile(ctx context.Context, r archive.Recording, rng *rand.Rand) error {
	c, err := w.dialRaw(ctx, "rec/"+r.Key.String(), true)
	if err != nil {
		return err
	}
	c.command(0, "createStream", 2.0, nil)
	if rng.IntN(2) == 0 { // as fast as the line is
		b := binary.BigEndian.AppendUint32([]byte{0, 3}, 1)
		c.send(rawUserControl, 0, binary.BigEndian.AppendUint32(b, 36_000_000))
	}
	c.command(1, "play", 0.0, nil, r.ID, 0.0)
	check, seeking := w.fileChecker(r, flv.FormAsSent), 0
	for range rng.IntN(1000) {
		m, err := c.next()
		if err != nil {
			return check.wrap(err)
		}
		switch code := m.code(); code {
		case "NetStream.Play.StreamNotFound", "NetStream.Play.Failed":
			return errRefused
		case "NetStream.Play.Stop":
			return nil
		case "NetStream.Seek.Notify", "NetStream.Seek.InvalidTime":
			seeking--
			if code == "NetStream.Seek.Notify" {
				check = w.fileChecker(r, flv.FormAsSent)
				check.tags = 1 // the metadata does not come again
			}
		}
		if err := w.playedOfFile(check, m); err != nil {
			return check.wrap(err)
		}
		if rng.IntN(60) == 0 && seeking == 0 {
			w.count("player seeks")
			seeking++
			c.command(1, "seek", 0.0, nil, rng.Float64()*1100*r.Duration.Seconds())
		}
	}
	return nil
}

// playedOfFile judges a message of a player of a file.
func (w *soak) playedOfFile(check *checker, m rawMessage) error {
	switch m.typ {
	case rawData:
		values, err := amf.DecodeAll(m.body, amf.Limits{})
		if err == nil && (values[0] == "|RtmpSampleAccess" || values[0] == "onPlayStatus") {
			return nil
		}
	case uint8(flv.TypeAudio), uint8(flv.TypeVideo):
	default:
		return nil
	}
	w.tags.Add(1)
	return check.tag(flv.Tag{Type: flv.Type(m.typ), Timestamp: m.time, Data: m.body})
}

// checkFiles judges every file that is left in the end.
func (w *soak) checkFiles(dir string) {
	t := w.t
	noParts(t, dir)
	a, err := archive.Open(archive.Config{Dir: dir})
	require.NoError(t, err)
	defer a.Close()
	files := 0
	for _, s := range w.streams {
		page, _, err := a.Recordings(hubKey(s.key), "", 1000)
		require.NoError(t, err)
		for _, r := range page {
			file, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(s.key), r.ID+".flv"))
			require.NoError(t, err)
			if err := w.wholeFile(bytes.NewReader(file), r, false, 1<<30); err != nil {
				w.fail("file %s of %s: %v\n%s", r.ID, s.key, err, dumpFile(w.dir, r))
			}
			files++
		}
	}
	assert.Positive(t, files)
	t.Logf("%d files are left", files)
}

// dumpFile says what a file of which something is wrong begins with.
func dumpFile(dir string, r archive.Recording) string {
	path := filepath.Join(dir, filepath.FromSlash(r.Key.String()), r.ID+".flv")
	file, err := os.ReadFile(path)
	if err != nil {
		file, err = os.ReadFile(path + ".part")
	}
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	in := flv.NewReader(bytes.NewReader(file))
	for range 100 {
		tag, err := in.Next()
		if err != nil {
			break
		}
		fmt.Fprintf(&b, "%v@%d", tag.Type, tag.Timestamp)
		packets, _ := tag.AppendPackets(nil)
		for _, p := range packets {
			if p.Kind == flv.KindConfig {
				fmt.Fprintf(&b, " %v config t%d %x", p.Codec, p.Track, configNumber(p.Payload))
			} else {
				m, err := parseMark(p.Payload)
				fmt.Fprintf(&b, " %v t%d key %v s%d seq%d config %x %v", p.Codec, p.Track, p.Key, m.session, m.seq, m.config, err)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}
