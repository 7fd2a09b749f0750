package hub_test

import (
	"bytes"

	"sluice/flv"
	"sluice/hub"
)

// judge looks at what a player got, tag by tag:
//
//   - metadata first, which says what the player was told;
//   - every frame that was sent from its start on, once, in order, behind the header
//     that it needs, but for sound that came in the place of filling;
//   - timestamps from 0 on that never go back, and apart as the publisher had them;
//   - to players with fixed codecs, nothing that they were not told of.
func (l *life) judge(p *player) {
	j := judge{
		life: l, player: p, headers: map[flv.Type][]byte{}, deltas: map[int]int64{},
		last: map[flv.Type]*got{}, real: map[flv.Type]*got{},
	}
	for i := range p.got {
		if l.fault != "" {
			return
		}
		g := &p.got[i]
		packet, err := g.Packet()
		switch {
		case g.Type == flv.TypeScript:
			if i == 0 {
				j.metadata(g)
			}
			continue
		case err != nil:
			l.failf(p, "unreadable: %x", g.Data)
		case !p.wants(g.Type), p.FixedCodecs && !p.tells[g.Type]:
			l.failf(p, "got %v, which it was not told of", g.Type)
		case packet.Kind == flv.KindConfig:
			j.headers[g.Type] = packet.Payload
			continue
		case g.number >= 0:
			j.frame(g, &l.sent[g.number])
		default:
			j.filling(g)
		}
		if !j.begun && g.Timestamp != 0 {
			l.failf(p, "begins at %d", g.Timestamp)
		}
		if before := j.last[g.Type]; before != nil && g.Timestamp < before.Timestamp {
			l.failf(p, "%v goes back from %d to %d", g.Type, before.Timestamp, g.Timestamp)
		}
		j.begun, j.last[g.Type] = true, g
	}
}

type judge struct {
	*life
	*player
	begun   bool
	headers map[flv.Type][]byte
	last    map[flv.Type]*got // the frame before, and the publisher's one before
	real    map[flv.Type]*got
	deltas  map[int]int64 // of each session, what the player's time is ahead of the publisher's
}

// metadata requires that the first metadata says what Tracks does.
func (j *judge) metadata(g *got) {
	_, object := script(g.Tag)
	for _, typ := range lifeTypes {
		has, id := "hasAudio", "audiocodecid"
		if typ == flv.TypeVideo {
			has, id = "hasVideo", "videocodecid"
		}
		says, _ := object.Get(has)
		named, isNamed := object.Get(id)
		if !j.FixedCodecs && (g.at > j.joined || j.Shape.Form == flv.FormAsSent) {
			continue // it may have changed since, or be told of later on
		}
		if says != j.tells[typ] || isNamed != j.tells[typ] {
			j.failf(j.player, "told of %v: %v; by metadata: %v, with codec id %v", typ, j.tells[typ], says, named)
		}
		if first := j.firstOf(j.life, typ); isNamed && first != nil && first.frame && (j.FixedCodecs || first.at < j.joined) && named != first.format.id() {
			j.failf(j.player, "told of %v codec %v, and gets %s", typ, named, first.format.name)
		}
	}
}

// frame looks at a frame of the publisher.
func (j *judge) frame(g *got, s *sent) {
	if s.header != nil && !bytes.Equal(j.headers[g.Type], s.header) {
		j.failf(j.player, "a frame of %s behind another header", s.format.name)
	}
	if first := j.firstOf(j.life, g.Type); j.FixedCodecs && first.format != s.format {
		j.failf(j.player, "%s behind %s", s.format.name, first.format.name)
	}
	if j.FixedCodecs && s.format.header != nil && len(j.headers[g.Type]) == 0 {
		j.failf(j.player, "a frame of %s without a header", s.format.name)
	}
	j.complete(g, j.real[g.Type], s)
	j.real[g.Type] = g
	if s.at-s.run < lifeGap {
		return // the first after a gap may be early, or in the place of filling
	}
	delta := int64(g.Timestamp) - s.ts
	if d, ok := j.deltas[s.session]; !ok {
		j.deltas[s.session] = delta
	} else if abs(delta-d) > 50 {
		j.failf(j.player, "%s of %d is at %d, %d ms off", s.format.name, s.ts, g.Timestamp, delta-d)
	}
}

// complete requires that no frame is missing before one, and that it is the right one
// to begin with.
func (j *judge) complete(g, before *got, s *sent) {
	if before == nil {
		j.starts(g, s)
		return
	}
	if g.number <= before.number {
		j.failf(j.player, "frame %d of %v behind frame %d", g.number, g.Type, before.number)
	}
	j.missing(g.Type, before.number+1, g.number)
}

// missing requires that no frame of a track was left out among some, but for sound in
// the place of which there was silence.
func (j *judge) missing(typ flv.Type, from, to int) {
	lost, filled := int64(0), j.last[typ] != nil && j.last[typ].number < 0
	for _, m := range j.sent[from:to] {
		if m.typ != typ || !m.frame || m.useless {
			continue
		}
		if lost += m.format.step / 1000; !filled || lost > 800 {
			j.failf(j.player, "%s of %d is missing", m.format.name, m.ts)
			return
		}
	}
}

// starts looks at the first frame of a track: the picture is the newest key frame, and
// sound without one, if it has been so for a while, is that of the last 400 ms.
func (j *judge) starts(g *got, s *sent) {
	from := min(j.joinedAfter, g.number)
	if g.Type == flv.TypeVideo && j.tells[flv.TypeVideo] {
		if !s.key {
			j.failf(j.player, "begins with a frame that is none to begin with")
		}
		for _, m := range j.sent[from:j.joinedAfter] {
			if m.key && m.ts > s.ts {
				j.failf(j.player, "begins with the picture of %d, and not of %d", s.ts, m.ts)
			}
		}
	}
	if g.number >= j.joinedAfter {
		j.missing(g.Type, j.joinedAfter, g.number)
		return
	}
	if g.Type == flv.TypeAudio && !j.tells[flv.TypeVideo] && j.noPicture > lifeGone {
		newest := s
		for i := range j.sent[:j.joinedAfter] {
			if m := &j.sent[i]; m.typ == flv.TypeAudio && m.frame {
				newest = m
			}
		}
		if newest.session == s.session && newest.ts-s.ts > 600 {
			j.failf(j.player, "begins %d ms behind the live edge", newest.ts-s.ts)
		}
	}
}

// filling looks at a frame that the publisher did not send: silence, where the
// publisher makes none, in steps of a frame.
func (j *judge) filling(g *got) {
	before := j.last[g.Type]
	switch {
	case !filling(g.Tag) || !j.fills || j.Shape.Form == flv.FormAsSent:
		j.failf(j.player, "got a frame that nobody sent: %x", g.Data)
	case len(j.headers[g.Type]) == 0:
		j.failf(j.player, "filled before a header")
	case before != nil && before.number < 0:
		step := int64(1024_000 / 44_100)
		if j.headers[g.Type][0] == 0x11 {
			step = 1024_000 / 48_000
		}
		if d := int64(g.Timestamp - before.Timestamp); d < step-2 {
			j.failf(j.player, "filled at %d and at %d", before.Timestamp, g.Timestamp)
		}
	}
}

// judgeEnd requires that a player that goes on has all that was sent.
func (l *life) judgeEnd(p *player) {
	j := judge{life: l, player: p, last: map[flv.Type]*got{}}
	for _, typ := range lifeTypes {
		if !p.wants(typ) || p.FixedCodecs && !p.tells[typ] || p.end != hub.ReasonNone {
			continue
		}
		last := p.joinedAfter - 1
		for i := range p.got {
			if g := &p.got[i]; g.Type == typ {
				last = max(last, g.number)
				j.last[typ] = g
			}
		}
		j.missing(typ, last+1, len(l.sent))
	}
}
