package event

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/archive"
	"sluice/hub/archive/flvfile"
	"sluice/hub/record"
)

// recording returns one that is finished.
func recording(id string) archive.Recording {
	return archive.Recording{
		Key: hub.Key{App: "live/x", Name: "a:b"}, ID: id, State: archive.StateFinished,
		Info: flvfile.Info{
			Begin: time.Date(2026, 11, 28, 17, 5, 0, 0, time.UTC), Duration: 90500 * time.Millisecond, Size: 1234,
			Video: flv.CodecH264, Audio: flv.CodecAAC, Width: 1280, Height: 720, Gaps: 1, GapTime: time.Second,
		},
	}
}

func recordBegun(n *Notifier, id string) {
	n.Recorded(record.Event{Kind: record.EventBegun, Recording: archive.Recording{Key: recording(id).Key, ID: id}})
}

func recordFinished(n *Notifier, id string) {
	n.Recorded(record.Event{Kind: record.EventFinished, Recording: recording(id)})
}

// crash ends a Notifier as a process that dies does, but for its goroutines: nothing more is
// delivered, and nothing more is written.
func crash(n *Notifier) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	n.Close(ctx)
}

func spoolText(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, spoolName))
	require.NoError(t, err)
	return string(b)
}

// Both events of a recording; its finish is marked when it is told.
func TestRecordings(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		synctest.Test(t, func(t *testing.T) {
			p := new(endpoint)
			n, _ := begin(t, p, func(c *Config) { c.StateDir = dir })
			recordBegun(n, "1")
			n.Recorded(record.Event{Kind: record.EventGap, Recording: recording("1")})
			recordFinished(n, "1")
			end(n, time.Second)
			require.Equal(t, []string{"record.begun live/x/a:b", "record.finished live/x/a:b"}, types(p.took()))
			assert.Contains(t, p.bodies[0], `"recording":{"id":"1","path":"live/x/a%3Ab/1.flv","begin":"0001-01-01T00:00:00Z"}`)
			assert.Contains(t, p.bodies[1], `"recording":{"id":"1","path":"live/x/a%3Ab/1.flv","begin":"2026-11-28T17:05:00Z","duration":90.5,`+
				`"bytes":1234,"video":"H.264","audio":"AAC","width":1280,"height":720,"gaps":1,"gap_seconds":1,"state":"finished"}`)
			if dir == "" {
				return
			}
			lines := strings.Split(strings.TrimSpace(spoolText(t, dir)), "\n")
			require.Len(t, lines, 3)
			assert.Equal(t, `{"begun":{"app":"live/x","name":"a:b","id":"1"}}`, lines[0])
			assert.Equal(t, `{"told":"`+p.took()[1].ID+`"}`, lines[2])
			info, err := os.Stat(filepath.Join(dir, spoolName))
			require.NoError(t, err)
			assert.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
		})
	}
}

// What a process that died had not told, the next one tells, with the same id, once.
func TestUntoldAfterACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		p := new(endpoint)
		p.set(down)
		inDir := func(c *Config) { c.StateDir = dir }
		n, _ := begin(t, p, inDir)
		for i := range 3 {
			recordBegun(n, fmt.Sprint(i))
			recordFinished(n, fmt.Sprint(i))
		}
		synctest.Wait()
		first := p.tried[0]
		require.Equal(t, TypeRecordBegun, first.Type)
		crash(n)

		n, _ = begin(t, p, inDir) // dies as well, before it tells
		n.Started()
		synctest.Wait()
		crash(n)

		p.set(nil)
		n, _ = begin(t, p, inDir)
		n.Started()
		end(n, time.Second)
		taken := p.took()
		require.Len(t, taken, 4)
		var ids []string
		for _, e := range taken {
			if e.Type == TypeRecordFinished {
				ids = append(ids, e.Recording.ID)
				assert.Equal(t, first.ID[:17], e.ID[:17], "of the first process")
				assert.Equal(t, "live/x/a:b", e.Stream)
			}
		}
		assert.Equal(t, []string{"0", "1", "2"}, ids)

		n, _ = begin(t, p, inDir)
		n.Started()
		end(n, time.Second)
		assert.Len(t, p.took(), 5, "only the start of the server")
		n, _ = begin(t, p, inDir)
		crash(n)
		assert.Empty(t, spoolText(t, dir))
	})
}

// A recording that was finished at the start, or by a process that died before it could write
// that down, is told as recovered, once.
func TestRecovered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		p := new(endpoint)
		inDir := func(c *Config) { c.StateDir = dir }
		n, _ := begin(t, p, inDir)
		for _, id := range []string{"both", "finished", "gone", "told", "untold"} {
			recordBegun(n, id)
		}
		recordFinished(n, "told")
		synctest.Wait()
		crash(n)
		before := len(p.took())
		find := func(key hub.Key, id string) (archive.Recording, error) {
			assert.Equal(t, recording("").Key, key)
			if id == "gone" {
				return archive.Recording{}, archive.ErrNotFound
			}
			return recording(id), nil
		}
		n, _ = begin(t, p, func(c *Config) {
			c.StateDir, c.Find = dir, find
			c.Recovered = []archive.Recording{recording("both"), recording("never begun")}
		})
		n.Started()
		end(n, time.Second)
		var ids []string
		for _, e := range p.took()[before:] {
			if e.Type == TypeRecordFinished {
				ids = append(ids, e.Recording.ID)
				assert.True(t, e.Recording.Recovered)
			}
		}
		assert.Equal(t, []string{"both", "never begun", "finished", "untold"}, ids)
		n, _ = begin(t, p, inDir)
		crash(n)
		assert.Empty(t, spoolText(t, dir))
	})
}

// A recording that the endpoint does not want is not told again at the next start; one that had
// to wait for too long is.
func TestRecordingsThatAreNotTaken(t *testing.T) {
	for status, again := range map[int]bool{400: false, 503: true} {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			p := new(endpoint)
			p.set(code(status))
			inDir := func(c *Config) { c.StateDir = dir }
			n, _ := begin(t, p, inDir)
			recordFinished(n, "1")
			time.Sleep(time.Hour)
			end(n, time.Second)
			p.set(nil)
			n, _ = begin(t, p, inDir)
			n.Started()
			end(n, time.Second)
			assert.Equal(t, again, len(p.took()) == 2, "%v", types(p.took()))
		})
	}
}

// It counts as told when all receivers have been told.
func TestAwaited(t *testing.T) {
	var told []string
	a := awaited{receivers: 2, told: func(id string) { told = append(told, id) }}
	for i := range 2 * maxUntold {
		a.settle(fmt.Sprint("other ", i))
		assert.LessOrEqual(t, len(a.left), maxUntold)
	}
	a.settle("1")
	assert.Empty(t, told)
	a.settle("1")
	assert.Equal(t, []string{"1"}, told)
	assert.NotContains(t, a.left, "1")
}

// Damaged lines are passed over, and the others count.
func TestDamagedSpool(t *testing.T) {
	event := func(id string) string {
		e := Event{ID: id, Type: TypeRecordFinished, Stream: "live/a", Recording: &Recording{ID: id}}
		b, err := json.Marshal(line{Event: &e})
		require.NoError(t, err)
		return string(b) + "\n"
	}
	dir := t.TempDir()
	text := "\n" + event("1") + "{\"event\":\n" + "nonsense\x00\xff\n" + event("2") + strings.Repeat("x", 3*maxLine) + "\n" +
		"{}\n" + `{"event":{"id":"x","type":"publish","stream":"live/a"}}` + "\n" + `{"event":{"id":"x","type":"record.finished","recording":{}}}` + "\n" +
		event("3") + `{"told":"2"}` + "\n" + event("4")[:20]
	require.NoError(t, os.WriteFile(filepath.Join(dir, spoolName), []byte(text), 0o644))
	log, lines := logger()
	s, err := openSpool(dir, log)
	require.NoError(t, err)
	untold, _ := s.resume()
	require.Len(t, untold, 2)
	assert.Equal(t, []string{"1", "3"}, []string{untold[0].ID, untold[1].ID})
	assert.Equal(t, hub.Key{App: "live", Name: "a"}, hub.Key{App: untold[0].App, Name: untold[0].Name})
	assert.Contains(t, lines.String(), "count=7")
	assert.Equal(t, event("1")+event("3"), spoolText(t, dir))
	untold, _ = s.resume()
	assert.Empty(t, untold)
	go s.run()
	s.close(t.Context())
}

// The file stays small however many recordings there are, and so does memory.
func TestSpoolIsBounded(t *testing.T) {
	log, lines := logger()
	dir := t.TempDir()
	s, err := openSpool(dir, log)
	require.NoError(t, err)
	s.tell = func(*Event) {}
	event := func(typ Type, i int) *Event {
		return &Event{ID: fmt.Sprint(i), Type: typ, App: "live", Name: "a", Stream: "live/a", Recording: &Recording{ID: fmt.Sprint(i)}}
	}
	for i := range 2 * spareLines { // the file is written anew some six times
		s.write([]note{{event: event(TypeRecordBegun, i)}, {event: event(TypeRecordFinished, i)}, {told: fmt.Sprint(i)}})
		require.LessOrEqual(t, s.lines, spareLines+3)
	}
	assert.Less(t, len(spoolText(t, dir)), 256<<10)
	assert.Empty(t, s.open)
	assert.Empty(t, s.untold)
	assert.LessOrEqual(t, len(s.order), spareLines)
	var many []note
	for i := range maxUntold + 10 {
		many = append(many, note{event: event(TypeRecordBegun, i)}, note{event: event(TypeRecordFinished, maxBegun+i)})
	}
	s.write(many)
	assert.Len(t, s.open, maxBegun)
	assert.Len(t, s.untold, maxUntold)
	assert.NotContains(t, s.untold, fmt.Sprint(maxBegun+9))
	assert.Contains(t, s.untold, fmt.Sprint(maxBegun+10))
	assert.Contains(t, lines.String(), "finished recordings are not told, there are too many")
	go s.run()
	s.close(t.Context())
	s, err = openSpool(dir, log)
	require.NoError(t, err)
	assert.Len(t, s.untold, maxUntold)
	assert.Len(t, s.open, maxBegun)
	go s.run()
	s.close(t.Context())
	assert.False(t, s.note(event(TypeRecordBegun, 1)), "it is closed")
}

// While the disk fails, events are told all the same; what is written later can be read.
func TestSpoolThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		p := new(endpoint)
		n, lines := begin(t, p, func(c *Config) { c.StateDir = dir })
		works := n.spool.file
		broken, err := os.Open(works.Name())
		require.NoError(t, err)
		n.spool.file = broken // which cannot be written; nothing has been noted yet
		recordFinished(n, "1")
		recordFinished(n, "2")
		synctest.Wait()
		assert.Len(t, p.took(), 2)
		assert.Equal(t, 1, strings.Count(lines.String(), "what has to be told after a crash is not written"))
		end(n, time.Second)
		works.Close()
	})
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, spoolName), 0o700))
	_, err := New(Config{StateDir: dir, Webhook: &Webhook{URL: fixed("http://h"), Transport: new(endpoint)}})
	assert.ErrorContains(t, err, "events that are not told yet")
	_, err = New(Config{StateDir: filepath.Join(dir, "none"), Webhook: &Webhook{URL: fixed("http://h"), Transport: new(endpoint)}})
	assert.True(t, errors.Is(err, fs.ErrNotExist), "%v", err)
}

// A torn line spoils none of those that follow.
func TestTornLine(t *testing.T) {
	dir := t.TempDir()
	log, _ := logger()
	s, err := openSpool(dir, log)
	require.NoError(t, err)
	s.tell = func(*Event) {}
	_, err = s.file.WriteString(`{"event":{"id"`)
	require.NoError(t, err)
	s.torn = true
	s.write([]note{{event: &Event{ID: "1", Type: TypeRecordFinished, Stream: "live/a", Recording: &Recording{}}}})
	go s.run()
	s.close(t.Context())
	s, err = openSpool(dir, log)
	require.NoError(t, err)
	assert.Len(t, s.untold, 1)
	go s.run()
	s.close(t.Context())
}

// A disk that hangs holds up neither who records nor the end.
func TestSpoolThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(endpoint)
		hang := make(chan struct{})
		n, _ := begin(t, p, func(c *Config) { c.StateDir = t.TempDir() })
		tell := n.spool.tell
		n.spool.tell = func(e *Event) {
			<-hang
			tell(e)
		}
		for i := range maxInbox + 100 {
			recordFinished(n, fmt.Sprint(i))
			if i == 0 {
				synctest.Wait()
			}
		}
		began := time.Now()
		end(n, time.Second)
		assert.LessOrEqual(t, time.Since(began), time.Second+spoolGrace)
		_, text := ringEvents(t, n)
		assert.Contains(t, text, `"lost":1`)
		close(hang)
		<-n.spool.done
	})
}

// FuzzSpool: whatever stands in the file, reading it takes no more than it has, and what was
// read is read again from what is written.
func FuzzSpool(f *testing.F) {
	for _, seed := range []string{
		"", "{}\n", `{"begun":{"app":"live","name":"a","id":"1"}}`, `{"told":"1"}`,
		`{"event":{"id":"1","type":"record.finished","stream":"live/a","recording":{"id":"1"}}}` + "\n" + `{"told":"1"}`,
		`{"event":{"id":"1","type":"record.finished","stream":"live/a","recording":{"id":"1"},"sessions":[{}]}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Add([]byte(`{"begun":{"app":"live","name":"a","id":"1"}}` + "\n" + `{"gone":{"app":"live","name":"a","id":"1"}}`))
	log, _ := logger()
	f.Fuzz(func(t *testing.T, b []byte) {
		read := func(b []byte) *spool {
			s := &spool{log: log, open: make(map[begun]bool), untold: make(map[string]*Event)}
			require.NoError(t, s.read(bytes.NewReader(b)))
			return s
		}
		s := read(b)
		var written bytes.Buffer
		for open := range s.open {
			s.appendLine(&written, line{Begun: &open})
		}
		for _, e := range s.untold {
			s.appendLine(&written, line{Event: e})
		}
		again := read(written.Bytes())
		assert.Equal(t, len(s.untold), len(again.untold))
		assert.Equal(t, len(s.open), len(again.open))
	})
}
