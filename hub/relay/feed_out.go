package relay

import (
	"bytes"
	"net/netip"

	"sluice/flv"
	"sluice/hub"
)

// isFrame reports whether a tag is a frame, not metadata nor a header.
func isFrame(t flv.Tag) bool {
	if t.Type != flv.TypeAudio && t.Type != flv.TypeVideo {
		return false
	}
	p, err := t.Packet()
	return err == nil && p.Kind == flv.KindFrame
}

// Tag takes what goes on (splice.Out).
func (f *feed) Tag(t flv.Tag) error {
	if t.Type == flv.TypeScript {
		t = f.withPath(t)
	}
	if f.pub != nil {
		return f.write(t)
	}
	if isFrame(t) {
		return f.publish(t)
	}
	if f.heldBytes += len(t.Data); len(f.held) < maxHeld && f.heldBytes <= maxHeldBytes {
		t.Data = bytes.Clone(t.Data)
		f.held = append(f.held, t)
	}
	return nil
}

// Cut takes that what goes on was not encoded in one go with what came before (splice.Out).
func (f *feed) Cut() {
	f.position = position{} // another clock may have begun
	if f.pub != nil {
		f.pub.Restart()
		f.tellTracks()
	}
}

// tellTracks tells the hub which tracks the server has, where it knows that: nobody has to wait for
// one that never comes.
func (f *feed) tellTracks() {
	known, ok := f.src.(interface {
		Tracks() (audio, video, known bool)
	})
	if !ok {
		return
	}
	audio, video, sure := known.Tracks()
	if sure && !audio && video {
		f.pub.Lacks(flv.TypeAudio)
	}
	if sure && !video && audio {
		f.pub.Lacks(flv.TypeVideo)
	}
}

// publish begins to publish with the first frame.
func (f *feed) publish(first flv.Tag) error {
	client := hub.Client{Protocol: pullProtocol, Agent: f.urls[f.at].String()}
	client.Address, _ = netip.ParseAddrPort(f.src.Remote())
	who := f.relay.cfg.Hub.NewSession(hub.RolePublish, f.key, client)
	opts := hub.PublishOptions{Yields: true, End: func(why *hub.Refusal) { f.cancel(why) }}
	if err := who.ClaimAndWait(f.ctx, opts); err != nil {
		return err
	}
	pub, err := f.relay.cfg.Hub.Publish(who, opts)
	if err != nil {
		return err
	}
	f.pub = pub
	f.tellTracks()
	f.status.change(func(c *ConnectionInfo) { c.Session = who.ID() })
	held := f.held
	f.held = nil
	if !f.hasPath && f.node != "" {
		if err := f.write(f.withPath(flv.Tag{Type: flv.TypeScript, Data: emptyMetadata()})); err != nil {
			return err
		}
	}
	for _, t := range held {
		if err := f.write(t); err != nil {
			return err
		}
	}
	return f.write(first)
}

// write hands a tag to the hub.
func (f *feed) write(t flv.Tag) error {
	if err := f.pub.Write(t); err != nil {
		return err
	}
	f.status.took(t.Size())
	if t.Type == flv.TypeScript {
		return nil
	}
	f.news = f.now
	f.position.take(t.Timestamp, f.news)
	if !f.shown {
		f.shown = true
		f.status.set(Live, "")
	}
	return nil
}

// withPath returns script data with the servers in them that the stream has passed.
func (f *feed) withPath(t flv.Tag) flv.Tag {
	path := pathOf(t.Data)
	if f.node != "" {
		path = append(path, f.node)
	}
	if len(path) > 0 {
		t.Data, f.hasPath = setPath(t.Data, path), true
	}
	return t
}
