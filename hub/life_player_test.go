package hub_test

import (
	"fmt"
	"slices"
	"testing/synctest"

	"sluice/flv"
	"sluice/hub"
)

// lifeViewers are the kinds of players; some of them are there from the beginning.
var lifeViewers = []hub.WatchOptions{
	{FixedCodecs: true, Shape: flv.Shape{Form: flv.FormBrowser}},
	{Shape: flv.Shape{Form: flv.FormClassic}},
	{FixedCodecs: true, Shape: flv.Shape{Form: flv.FormBrowser}, NoVideo: true},
	{FixedCodecs: true, Shape: flv.Shape{Form: flv.FormBrowser}, NoAudio: true},
	{},
	{FixedCodecs: true},
	{Shape: flv.Shape{Form: flv.FormClassic}, NoVideo: true},
	{ScriptData: true, NoAudio: true},
}

// player opens the stream, and opens it anew when that ends, as players do.
type player struct {
	hub.WatchOptions
	*view
	name    string
	every   int64 // ms between two looks
	due     int64
	reloads bool // it opens the stream anew after some seconds
}

// view is what a player gets from one opening of the stream to its end.
type view struct {
	*sink
	done        <-chan error
	opened      int64
	began       bool
	joined      int64
	joinedAfter int   // how many of all sent
	noPicture   int64 // for how long sound had gone on alone then
	tells       map[flv.Type]bool
	got         []got
	last        map[flv.Type]got // the last frame of each track
}

// got is a tag that a player got.
type got struct {
	flv.Tag
	at     int64
	number int // of a frame among all sent; -1 for another one
	ok     bool
}

func (l *life) join(kind int) {
	n := len(l.players)
	p := &player{WatchOptions: lifeViewers[kind], every: 20 + 10*int64(n%4), reloads: n > 2 && n%2 == 1}
	form := []string{"as sent", "single", "classic", "browser"}[p.Shape.Form]
	p.name = fmt.Sprintf("player %d (%s; fixed codecs: %v, no audio: %v, no video: %v, reloads: %v)", n, form, p.FixedCodecs, p.NoAudio, p.NoVideo, p.reloads)
	l.players = append(l.players, p)
	l.tell("%s comes", p.name)
	l.open(p)
}

func (l *life) open(p *player) {
	p.view, p.due = &view{opened: l.now, last: map[flv.Type]got{}}, l.now+p.every
	p.sink, p.done = waiting(l.t, l.h, p.WatchOptions)
	l.admit()
}

// admit begins what can begin. It is called after everything that happens, so that it
// is known what had been sent then.
func (l *life) admit() {
	if !slices.ContainsFunc(l.players, func(p *player) bool { return !p.began && p.done != nil }) {
		return
	}
	synctest.Wait()
	for _, p := range l.players {
		select {
		case err := <-p.done:
			p.done = nil
			if err != nil {
				l.refused(p, err)
				continue
			}
			audio, video := p.Tracks()
			p.began, p.joined, p.joinedAfter = true, l.now, len(l.sent)
			p.noPicture = l.alone(flv.TypeVideo)
			p.tells = map[flv.Type]bool{flv.TypeAudio: audio, flv.TypeVideo: video}
			l.joins(p)
			l.read(p)
		default:
		}
	}
}

// watch lets the players look.
func (l *life) watch() {
	l.admit()
	for _, p := range l.players {
		if l.now < p.due {
			continue
		}
		p.due = l.now + p.every
		switch {
		case p.sink == nil:
			l.open(p)
		case !p.began:
			l.waits(p)
		case p.reloads && l.now-p.joined > 2400:
			l.close(p)
			l.open(p)
		default:
			l.read(p)
			l.plays(p)
		}
	}
}

// read takes what is due to a player, and opens anew when that ends.
func (l *life) read(p *player) {
	for _, t := range p.take() {
		g := got{Tag: t, at: l.now, number: -1, ok: true}
		if packet, err := t.Packet(); err == nil && packet.Kind == flv.KindFrame {
			if n, ok := lifeNumber(packet); ok {
				g.number = n
			}
			p.last[t.Type] = g
		}
		p.got = append(p.got, g)
	}
	end := p.end
	if end == hub.ReasonNone {
		return
	}
	l.ends(p)
	l.close(p)
	if end == hub.ReasonCodecChanged && l.fault == "" {
		l.open(p)
	}
}

func (l *life) close(p *player) {
	l.judge(p)
	p.Close()
	p.view = &view{}
	p.due = l.now + 1000
}

// finish ends everything.
func (l *life) finish() {
	for _, p := range l.players {
		if p.sink == nil {
			continue
		}
		if p.began {
			l.read(p)
			if p.began {
				l.judgeEnd(p)
			}
		}
		if p.sink != nil {
			l.close(p)
		}
	}
}
