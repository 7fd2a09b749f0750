package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/rtmp"
)

// A film is what a phone films, encoded beforehand: pictures that say which they are,
// as those of a clock, and of which film.
type film struct {
	metadata, picture flv.Tag   // onMetaData and the header of the pictures
	pictures          []flv.Tag // a key frame every filmGOP
	sound             flv.Tag   // its header
	sounds            []flv.Tag
	number            int // of the first picture
	width, height     int
}

const (
	filmSeconds = 20
	filmGOP     = rate
	filmFrames  = filmSeconds * rate

	// What a picture says: that there is one, the film that it is of, and its place there.
	filmMark    = 1 << 15
	filmUpright = 1 << 10

	soundRate   = 44100
	soundLength = 1024 // of a frame of AAC, in samples
)

// films are one with the phone on its side and one with it upright.
var films = sync.OnceValues(func() (f struct{ level, upright *film }, err error) {
	if f.level, err = makeFilm(640, 360, filmMark); err == nil {
		f.upright, err = makeFilm(360, 640, filmMark|filmUpright)
	}
	return f, err
})

func makeFilm(width, height, number int) (*film, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	args := []string{"-hide_banner", "-nostdin", "-loglevel", "error"}
	for _, source := range []string{
		fmt.Sprintf("testsrc2=size=%dx%d:rate=%d:duration=%d", width, height, rate, filmSeconds),
		fmt.Sprintf("color=size=%dx16:rate=%d:duration=%d,format=gray,geq=lum='if(mod(floor((N+%d)/pow(2,floor(X/%d))),2),235,16)'",
			clockWidth, rate, filmSeconds, number, bitWidth),
		fmt.Sprintf("anoisesrc=sample_rate=%d:duration=%d:amplitude=0.2", soundRate, filmSeconds),
	} {
		args = append(args, "-f", "lavfi", "-i", source)
	}
	args = append(args, "-filter_complex", "[0][1]overlay,format=yuv420p[v]", "-map", "[v]", "-map", "2",
		"-c:v", "libx264", "-preset", "veryfast", "-g", fmt.Sprint(filmGOP), "-bf", "0", "-x264-params", "scenecut=0",
		"-c:a", "aac", "-ac", "2", "-b:a", "64k", "-flvflags", "no_duration_filesize", "-f", "flv", "-")
	cmd := exec.CommandContext(ctx, "ffmpeg", args...)
	cmd.Env = environment()
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("ffmpeg: %w", err)
	}
	f := &film{number: number, width: width, height: height}
	for in := flv.NewReader(bytes.NewReader(out)); ; {
		tag, err := in.Next()
		if err != nil {
			break
		}
		switch packet, _ := tag.Packet(); {
		case tag.Type == flv.TypeScript:
			f.metadata = tag
		case tag.Type == flv.TypeVideo && packet.Kind == flv.KindConfig:
			f.picture = tag
		case tag.Type == flv.TypeVideo && packet.Kind == flv.KindFrame:
			f.pictures = append(f.pictures, tag)
		case tag.Type == flv.TypeAudio && packet.Kind == flv.KindConfig:
			f.sound = tag
		case tag.Type == flv.TypeAudio && packet.Kind == flv.KindFrame:
			f.sounds = append(f.sounds, tag)
		}
	}
	if len(f.pictures) != filmFrames || f.picture.Data == nil || f.sound.Data == nil {
		return nil, fmt.Errorf("ffmpeg made %d pictures of %d", len(f.pictures), filmFrames)
	}
	return f, nil
}

// A phone publishes a film over and over at the pace of real time, does what phones do
// meanwhile, and remembers which picture it sent when. Its methods are for the test's
// goroutine.
type phone struct {
	t   *testing.T
	url string
	end func() // stops the present session, and waits

	// noHeader has it never say what its AAC is.
	noHeader bool

	mu      sync.Mutex
	film    *film
	place   int  // of the next picture in it
	fresh   bool // it begins with a header and a key frame
	covered bool // no picture at all
	muted   bool // no sound at all
	sent    []shot
}

// shot is a picture sent.
type shot struct {
	number int
	at     time.Time
}

// phone makes a phone publish, on its side at first.
func (s *server) phone(key string) *phone {
	s.t.Helper()
	ph := s.idlePhone(key)
	ph.publish()
	return ph
}

// idlePhone is phone without publishing yet.
func (s *server) idlePhone(key string) *phone {
	s.t.Helper()
	need(s.t, "ffmpeg")
	both, err := films()
	require.NoError(s.t, err)
	return &phone{t: s.t, url: s.rtmpURL(key), film: both.level}
}

// publish begins a session.
func (ph *phone) publish() {
	ph.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	publisher, err := new(rtmp.Client).Publish(ctx, ph.url)
	require.NoError(ph.t, err)
	ph.mu.Lock()
	ph.fresh = true
	ph.mu.Unlock()
	done := make(chan error, 1)
	go func() { done <- ph.run(ctx, publisher) }()
	ph.end = sync.OnceFunc(func() {
		cancel()
		err := <-done
		publisher.Close()
		require.ErrorIs(ph.t, err, context.Canceled)
	})
	ph.t.Cleanup(ph.end)
	ph.films(time.Now())
}

// run sends one session, whose clock begins at 0, until ctx ends.
func (ph *phone) run(ctx context.Context, publisher *rtmp.Publisher) error {
	opening := []flv.Tag{ph.film.metadata}
	if !ph.noHeader {
		opening = append(opening, ph.film.sound)
	}
	if err := publisher.WriteTags(opening); err != nil {
		return err
	}
	began := time.Now()
	for picture, sound := 0, 0; ; {
		pictureAt := time.Duration(picture) * time.Second / rate
		soundAt := time.Duration(sound) * soundLength * time.Second / soundRate
		at, tags := pictureAt, ph.nextPicture
		if soundAt < pictureAt {
			at, tags = soundAt, func() []flv.Tag { return ph.nextSound(sound) }
		}
		wait := time.NewTimer(time.Until(began.Add(at)))
		select {
		case <-ctx.Done():
			wait.Stop()
			return ctx.Err()
		case <-wait.C:
		}
		if soundAt < pictureAt {
			sound++
		} else {
			picture++
		}
		due := tags()
		for i := range due {
			due[i].Timestamp = uint32(at.Milliseconds())
		}
		if err := publisher.WriteTags(due); err != nil {
			return errors.Join(err, ctx.Err())
		}
	}
}

// nextPicture returns what is to be sent of the film: nothing while it is covered,
// and afterwards the header first.
func (ph *phone) nextPicture() (tags []flv.Tag) {
	ph.mu.Lock()
	defer ph.mu.Unlock()
	if ph.covered {
		ph.fresh = true
		return nil
	}
	if ph.fresh {
		ph.fresh = false
		ph.place = (ph.place + filmGOP - 1) / filmGOP * filmGOP % filmFrames
		tags = append(tags, ph.film.picture)
	}
	tags = append(tags, ph.film.pictures[ph.place])
	ph.sent = append(ph.sent, shot{ph.film.number + ph.place, time.Now()})
	ph.place = (ph.place + 1) % filmFrames
	return tags
}

// nextSound returns what is to be sent of the sound. Its clock goes on while nothing
// is.
func (ph *phone) nextSound(n int) []flv.Tag {
	ph.mu.Lock()
	defer ph.mu.Unlock()
	if ph.muted {
		return nil
	}
	return []flv.Tag{ph.film.sounds[n%len(ph.film.sounds)]}
}

// do changes what the phone does, and returns when.
func (ph *phone) do(change func()) time.Time {
	ph.mu.Lock()
	defer ph.mu.Unlock()
	change()
	return time.Now()
}

func (ph *phone) mute() time.Time   { return ph.do(func() { ph.muted = true }) }
func (ph *phone) unmute() time.Time { return ph.do(func() { ph.muted = false }) }
func (ph *phone) cover() time.Time  { return ph.do(func() { ph.covered = true }) }

// uncover switches the camera on again, with a header and a key frame.
func (ph *phone) uncover() time.Time {
	ph.t.Helper()
	return ph.films(ph.do(func() { ph.covered = false }))
}

// turn turns the phone, which goes on with a picture of another size.
func (ph *phone) turn() time.Time {
	ph.t.Helper()
	return ph.films(ph.do(ph.turnLocked))
}

func (ph *phone) turnLocked() {
	both, _ := films()
	if ph.fresh = true; ph.film == both.level {
		ph.film = both.upright
	} else {
		ph.film = both.level
	}
}

// restart publishes anew with the phone turned.
func (ph *phone) restart() time.Time {
	ph.t.Helper()
	ph.end()
	at := ph.do(ph.turnLocked)
	ph.publish()
	return ph.films(at)
}

// films waits until a picture was sent after a moment, and returns when.
func (ph *phone) films(since time.Time) (at time.Time) {
	ph.t.Helper()
	until(ph.t, "the phone sends a picture", func() bool {
		ph.mu.Lock()
		defer ph.mu.Unlock()
		for i := len(ph.sent); i > 0 && ph.sent[i-1].at.After(since); i-- {
			at = ph.sent[i-1].at
		}
		return !at.IsZero()
	})
	return at
}

// sentAt returns when the picture that was on a screen at some time had been sent: the
// last one before then with this number, as films are shown over and over.
func (ph *phone) sentAt(number int, shown time.Time) (time.Time, bool) {
	ph.mu.Lock()
	defer ph.mu.Unlock()
	for i := len(ph.sent) - 1; i >= 0; i-- {
		if s := ph.sent[i]; s.number == number && !s.at.After(shown) {
			return s.at, true
		}
	}
	return time.Time{}, false
}

// size returns that of what is filmed now.
func (ph *phone) size() (width, height int) {
	ph.mu.Lock()
	defer ph.mu.Unlock()
	return ph.film.width, ph.film.height
}
