package e2e

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// followJS is a function that notes from now on which picture of a film a video shows
// since when. One that was shown for less than two looks may be missing.
const followJS = `(video, bit, mark) => {
  const canvas = new OffscreenCanvas(16 * bit, 1), look = canvas.getContext("2d", { willReadFrequently: true });
  const shown = [];
  let time = -1;
  const timer = setInterval(() => {
    if (video.readyState < 2 || !video.videoWidth || video.seeking || video.currentTime === time) return;
    time = video.currentTime;
    look.drawImage(video, 0, 8, 16 * bit, 1, 0, 0, 16 * bit, 1);
    const { data } = look.getImageData(0, 0, 16 * bit, 1);
    let n = 0;
    for (let i = 0; i < 16; i++) if (data[(i * bit + bit / 2) * 4] > 128) n |= 1 << i;
    if (n & mark && n !== shown.at(-1)?.n) shown.push({ at: Date.now(), n, width: video.videoWidth, height: video.videoHeight });
  }, 100);
  return { shown, stop: () => clearInterval(timer) };
}`

// watchJS watches a stream as any page does: with a player of a library, and when
// that says that the stream is over, or fails, with the next one at once. On a machine
// that is too slow for a while a player falls behind, so as many pages do, it jumps to
// the end when it could show pictures that are much newer.
const watchJS = `
window.viewers = {};
window.watch = (name, lib, url) => {
  const video = document.createElement("video");
  video.muted = true;
  video.width = 90;
  document.body.append(video);
  const follow = (%s)(video, %d, %d);
  const v = { began: Date.now(), opened: 0, ended: 0, jumps: 0, errors: [], video, shown: follow.shown };
  let player;
  const close = () => { player.destroy(); player = null; };
  const open = () => {
    v.opened++;
    const mine = player = lib.createPlayer({ type: "flv", isLive: true, url }, { enableStashBuffer: false, lazyLoad: false });
    const over = (f) => (...what) => {
      f(...what);
      setTimeout(() => { if (player === mine) { close(); open(); } }, 0);
    };
    player.on(lib.Events.ERROR, over((...what) => v.errors.push(JSON.stringify(what))));
    player.on(lib.Events.LOADING_COMPLETE, over(() => v.ended++));
    player.attachMediaElement(video);
    player.load();
    player.play().catch(() => {}); // as when it is destroyed before it plays
  };
  const jump = setInterval(() => {
    const { buffered } = video, end = buffered.length ? buffered.end(buffered.length - 1) : 0;
    if (end - video.currentTime < %d || video.seeking) return;
    v.jumps++;
    video.currentTime = end - 0.3;
  }, 500);
  v.leave = () => { close(); follow.stop(); clearInterval(jump); video.remove(); delete viewers[name]; };
  viewers[name] = v;
  open();
};
window.report = (name) => {
  const { video, leave, ...v } = viewers[name], { buffered } = video;
  return { ...v, now: Date.now(), time: video.currentTime, sound: video.webkitAudioDecodedByteCount,
    end: buffered.length ? buffered.end(buffered.length - 1) : 0, ready: video.readyState };
};`

// view is what a viewer has seen and heard, times being ms since 1970.
type view struct {
	Began, Now    int64
	Opened, Ended int // players, and how many of them said that the stream was over
	Jumps         int // to the end, of all players
	Errors        []string
	Shown         []shown
	Time, End     float64 // of the picture and of what is buffered, in the present player
	Sound         int     // bytes decoded, in the present player
	Ready         int
}

// shown is a picture and since when it was on the screen.
type shown struct {
	At            int64
	N             int
	Width, Height int
}

func (v view) String() string {
	v.Shown = v.Shown[max(0, len(v.Shown)-3):]
	b, _ := json.Marshal(v)
	return string(b)
}

// way is how a browser gets a stream.
type way struct{ lib, scheme string }

var everyWay = []way{{"mpegts", "http"}, {"mpegts", "ws"}, {"flvjs", "http"}, {"flvjs", "ws"}}

// audience is a browser in which everybody watches the stream of one phone, from the
// live edge.
type audience struct {
	*players
	s     *server
	phone *phone
	key   string
}

func openAudience(s *server, ph *phone, key string) *audience {
	s.t.Helper()
	a := &audience{openPlayers(s.t), s, ph, key}
	eval[bool](a.browser, fmt.Sprintf(watchJS, followJS, bitWidth, filmMark, near/time.Second)+"; true")
	return a
}

// join has one viewer begin in each way, and returns their names. Of those who come "after" others there are two, one with
// each player: eight films at a time in one page are more than a small machine decodes.
func (a *audience) join(who string) (names []string) {
	a.t.Helper()
	ways := everyWay
	if who == "after" {
		ways = everyWay[1:3]
	}
	for _, by := range ways {
		name := fmt.Sprintf("%s with %s over %s", who, by.lib, by.scheme)
		eval[bool](a.browser, fmt.Sprintf("watch(%q, %s, %q), true", name, by.lib, a.s.flvURL(by.scheme, a.key)+"?start=live"))
		names = append(names, name)
	}
	return names
}

// leave has everybody leave.
func (a *audience) leave() {
	a.t.Helper()
	eval[bool](a.browser, "Object.values(viewers).forEach((v) => v.leave()), true")
}

func (a *audience) view(name string) view {
	a.t.Helper()
	return eval[view](a.browser, fmt.Sprintf("report(%q)", name))
}

// until waits until a viewer has what the test wants.
func (a *audience) until(name, what string, ok func(view) bool) {
	a.t.Helper()
	var v view
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		if v = a.view(name); ok(v) {
			return
		}
		require.True(a.t, time.Now().Before(deadline), "%s never %s: %v", name, what, v)
	}
}

const (
	// near is how old a picture may be that is shown: a player that is further behind
	// jumps to the end.
	near = 2 * time.Second
	// slack is what a page takes to look and then to jump, or to open a stream anew that
	// has ended.
	slack = time.Second
)

// see waits until each viewer has a second of pictures that were sent since then. It
// returns whether all were as large as those that the phone takes now, and in time: the
// first one soon after that or after the viewer came, of the others none much older than
// near on the screen, and the last one neither. What the server takes to notice is
// allowed for, except in the last one.
func (a *audience) see(since time.Time, notice time.Duration, names ...string) bool {
	a.t.Helper()
	ok := true
	width, height := a.phone.size()
	for _, name := range names {
		fresh := func(v view) []shown {
			i := len(v.Shown)
			for ; i > 0; i-- {
				if at, ok := a.phone.sentAt(v.Shown[i-1].N, time.UnixMilli(v.Shown[i-1].At)); !ok || at.Before(since) {
					break
				}
			}
			return v.Shown[i:]
		}
		a.until(name, "shows the present pictures", func(v view) bool {
			f := fresh(v)
			return len(f) > 1 && f[len(f)-1].At-f[0].At >= 1000
		})
		v := a.view(name)
		f := fresh(v)
		if !a.is(len(f) > 0, "%s shows no present picture any more: %v", name, v) {
			ok = false
			continue
		}
		for _, picture := range f {
			ok = a.is(picture.Width == width && picture.Height == height, "%s, picture %d: %d×%d instead of %d×%d",
				name, picture.N, picture.Width, picture.Height, width, height) && ok
		}
		last := f[len(f)-1]
		sent, _ := a.phone.sentAt(last.N, time.UnixMilli(last.At))
		behind := time.UnixMilli(v.Now).Sub(sent)
		first := time.UnixMilli(f[0].At).Sub(latest(since, time.UnixMilli(v.Began)))
		oldest := a.oldest(f, v.Now)
		a.t.Logf("%-32s first picture after %4d ms, now %4d ms behind; never more than %4d ms; players %d, ended %d, jumps %d",
			name, first.Milliseconds(), behind.Milliseconds(), oldest.Milliseconds(), v.Opened, v.Ended, v.Jumps)
		ok = ok && behind <= near+slack && first <= near+notice+slack && oldest <= near+notice+slack
	}
	return ok
}

// oldest returns how old pictures grew on the screen, the last one until now.
func (a *audience) oldest(pictures []shown, now int64) (most time.Duration) {
	for i, picture := range pictures {
		gone := now
		if i+1 < len(pictures) {
			gone = pictures[i+1].At
		}
		if sent, ok := a.phone.sentAt(picture.N, time.UnixMilli(picture.At)); ok {
			most = max(most, time.UnixMilli(gone).Sub(sent))
		}
	}
	return most
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// hear waits until each viewer has heard two more seconds, and returns whether they were
// of a real sound or of silence, and it is no further behind than pictures may be.
func (a *audience) hear(silence bool, names ...string) bool {
	a.t.Helper()
	ok := true
	begun := map[string]view{}
	for _, name := range names {
		begun[name] = a.view(name)
	}
	for _, name := range names {
		begin, v := begun[name], view{}
		a.until(name, "hears more", func(now view) bool {
			if now.Opened != begin.Opened || now.Time < begin.Time {
				begin = now
			}
			v = now
			return now.Time >= begin.Time+2 && (silence || now.Sound-begin.Sound >= leastSound)
		})
		perSecond := float64(v.Sound-begin.Sound) / (v.Time - begin.Time)
		ahead := time.Duration((v.End - v.Time) * float64(time.Second))
		a.t.Logf("%-32s hears %5.0f bytes a second, with %4d ms more; players %d, ended %d",
			name, perSecond, ahead.Milliseconds(), v.Opened, v.Ended)
		ok = a.is(v.Sound > 0, "%s has no sound", name) && ok
		ok = a.is(!silence || perSecond < leastSound/2, "%s does not hear silence", name) && ok
		ok = ok && ahead <= near+slack
	}
	return ok
}

// leastSound is less than what two seconds of a film's sound take, and far more than
// silence does, in bytes.
const leastSound = 6000

// unharmed returns whether no player of a viewer has failed.
func (a *audience) unharmed(names ...string) bool {
	a.t.Helper()
	ok := true
	for _, name := range names {
		errs := a.view(name).Errors
		ok = a.is(len(errs) == 0, "errors of %s: %v", name, errs) && ok
	}
	return ok
}

// opened returns whether each viewer needed so many players, of which none has failed.
func (a *audience) opened(players int, names ...string) bool {
	a.t.Helper()
	ok := a.unharmed(names...)
	for _, name := range names {
		v := a.view(name)
		ok = a.is(v.Opened == players && v.Ended == players-1, "%s opened %d players, of which %d ended, instead of %d and %d",
			name, v.Opened, v.Ended, players, players-1) && ok
	}
	return ok
}

// is returns ok, and logs what is the matter if it is not: that counts in the last
// attempt only.
func (a *audience) is(ok bool, format string, args ...any) bool {
	a.t.Helper()
	if !ok {
		a.t.Logf("not as it should be: "+format, args...)
	}
	return ok
}

// attempt does something over and over, up to a few times, until all was as it should be
// and in time. A machine that is busy with other tests may take its time, and hold up
// the phone for so long that its stream is filled up, or ends.
func attempt(t *testing.T, what string, do func() bool) {
	t.Helper()
	const attempts = 5
	for i := range attempts {
		if do() {
			return
		}
		t.Logf("%s: not as it should be, or not in time, attempt %d of %d", what, i+1, attempts)
	}
	t.Errorf("%s: never as it should be and in time", what)
}
