package relay

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"syscall"

	"sluice/flv"
	"sluice/hub/rawconn"
	"sluice/hub/relay"
	"sluice/rtmp"
)

// Sink is a stream that is published at a server. See relay.Sink.
type Sink struct {
	pub    *rtmp.Publisher
	remote string
	raw    syscall.RawConn // nil where the system has none
	moved  chan relay.Move
	takes  takes
	follow sync.WaitGroup
}

// Send publishes the stream at a URL. The error is a *relay.Failure. A redirect is followed to the
// same server only: the name, which is the key to the stream, is for no other.
//
// A parameter hevc of the URL is for us and not for the server: hevc=legacy sends HEVC with the
// unofficial codec id 12, hevc=enhanced as Enhanced RTMP has it, to a server that announces
// nothing. See takes.
func (o *Opener) Send(ctx context.Context, sending relay.Sending) (relay.Sink, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	at, hevc := cutHEVC(sending.URL.Secret())
	for redirects := 0; ; redirects++ {
		p, err := o.client(sending.Path, true).Publish(ctx, at)
		if err == nil {
			return newSink(p, at, hevc), nil
		}
		refused, _ := errors.AsType[*rtmp.StatusError](err)
		if refused == nil || refused.Redirect == "" {
			return nil, failure(err, true)
		}
		if redirects == maxRedirects {
			return nil, relay.Failed(relay.CauseURL, "the server redirects, more than %d times", maxRedirects)
		}
		if !sameServer(at, refused.Redirect) {
			return nil, relay.Failed(relay.CauseURL, "the server redirects to another host, which is not to have the key")
		}
		at = withUser(refused.Redirect, at)
	}
}

// cutHEVC takes the parameter hevc out of a URL.
func cutHEVC(rawURL string) (rest string, hevc flv.HEVC) {
	path, query, ok := strings.Cut(rawURL, "?")
	if !ok {
		return rawURL, flv.HEVCAsSent
	}
	var others []string
	for pair := range strings.SplitSeq(query, "&") {
		switch name, value, _ := strings.Cut(pair, "="); {
		case name != "hevc":
			others = append(others, pair)
		case value == "legacy":
			hevc = flv.HEVCLegacy
		case value == "enhanced":
			hevc = flv.HEVCEnhanced
		}
	}
	if len(others) > 0 {
		path += "?" + strings.Join(others, "&")
	}
	return path, hevc
}

// newSink returns a Sink; at is the URL that was opened.
func newSink(p *rtmp.Publisher, at string, hevc flv.HEVC) *Sink {
	s := &Sink{
		pub: p, remote: remote(p.NetConn()), raw: rawconn.Of(p.NetConn()),
		moved: make(chan relay.Move, 1), takes: takesOf(p.Server(), hevc),
	}
	s.follow.Go(func() { s.heed(at) })
	return s
}

// heed puts the server's newest request to go on elsewhere into the channel.
func (s *Sink) heed(at string) {
	for {
		select {
		case r := <-s.pub.Reconnects():
			select {
			case <-s.moved:
			default:
			}
			s.moved <- moveTo(r, at)
		case <-s.pub.Ended():
			return
		}
	}
}

// moveTo returns what a server's request comes to. It has no URL where it leads to another server,
// which must not be told the name.
func moveTo(r rtmp.Reconnect, at string) relay.Move {
	m := relay.Move{Detail: "the server asks to connect anew" + because(r.Description)}
	if !sameServer(at, r.URL) {
		m.Detail = "the server asks to go on at another host, which is not to have the key"
		return m
	}
	u, err := relay.ParseURL(relay.Push, braces.Replace(withUser(r.URL, at)))
	if err != nil {
		m.Detail = "the server asks to go on at an address that makes no sense"
		return m
	}
	m.URL = u
	return m
}

// braces are placeholders in a configured URL, and nothing here.
var braces = strings.NewReplacer("{", "%7B", "}", "%7D")

// Shape is described at relay.Sink.
func (s *Sink) Shape() flv.Shape { return s.takes.shape }

// Takes is described at relay.Sink.
func (s *Sink) Takes(c flv.Codec) bool { return s.takes.codec(c) }

// WriteTags is described at relay.Sink.
func (s *Sink) WriteTags(tags []flv.Tag) error {
	return s.failed(s.pub.WriteTags(tags))
}

// failed returns what an error of the publisher comes to: it waits for the server only where it
// writes.
func (s *Sink) failed(err error) error {
	if err == nil {
		return nil
	}
	err = failure(err, true)
	if f, _ := errors.AsType[*relay.Failure](err); f != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		f.Detail = "the server took nothing for too long"
	}
	return err
}

// Unacknowledged is described at relay.Sink. Over TLS it counts encrypted bytes.
func (s *Sink) Unacknowledged() (int, bool) {
	if s.raw == nil {
		return 0, false
	}
	return rawconn.Unacknowledged(s.raw)
}

// Moved is described at relay.Sink. A Move without a URL leads to another server, and is not to be
// followed.
func (s *Sink) Moved() <-chan relay.Move { return s.moved }

// Ended is described at relay.Sink.
func (s *Sink) Ended() <-chan struct{} { return s.pub.Ended() }

// Err is described at relay.Sink.
func (s *Sink) Err() error {
	return s.failed(s.pub.Err())
}

// Remote is described at relay.Sink.
func (s *Sink) Remote() string { return s.remote }

// Close is described at relay.Sink.
func (s *Sink) Close() error {
	err := s.pub.Close()
	s.follow.Wait()
	return s.failed(err)
}

// Abort is described at relay.Sink.
func (s *Sink) Abort() {
	s.pub.Abort()
	s.follow.Wait()
}
