package relay

import (
	"context"
	"errors"
	"io"
	"strings"
	"syscall"
	"time"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/relay"
	"sluice/rtmp"
)

// Source is a stream that is played from a server. See relay.Source.
type Source struct {
	player *rtmp.Player
	node   string
	remote string
	moved  func(to string) // notes where to the server has asked to go on
}

// Open plays the stream of a URL. It returns when the server has begun to play, which may wait
// for its publisher. The error is a *relay.Failure. Up to three redirects are followed; user,
// password and query go to no other server with them. Where a server has asked the Source before
// to connect anew elsewhere, that is tried first.
//
// From the first byte to the first one of media it takes four round trips: handshake, connect,
// createStream, play; and one of a server of this kind, for which Back is asked. If it is none any
// more, it is tried again in the usual way.
func (o *Opener) Open(ctx context.Context, opening relay.Opening) (relay.Source, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	configured := opening.URL.Secret()
	if to := o.moves.take(configured, time.Now()); to != "" {
		if s, err := o.follow(ctx, opening, to); err == nil || ctx.Err() != nil {
			return s, err
		}
	}
	return o.follow(ctx, opening, configured)
}

// follow is Open at a URL and where that redirects to.
func (o *Opener) follow(ctx context.Context, opening relay.Opening, at string) (relay.Source, error) {
	configured := opening.URL.Secret()
	if opening.Back > 0 {
		at = withBack(at, opening.Back)
	}
	for redirects := 0; ; redirects++ {
		c := o.client(opening.Path, sameServer(at, configured))
		c.AtOnce = opening.Back > 0 && redirects == 0
		p, err := c.Play(ctx, at)
		if c.AtOnce && notAtOnce(err) && ctx.Err() == nil {
			c.AtOnce = false
			p, err = c.Play(ctx, at)
		}
		if err == nil {
			moved := func(to string) {
				if to = redirected(at, to); to != "" {
					o.moves.put(configured, withBack(to, 0), time.Now())
				}
			}
			return &Source{p, nodeOf(p.Server()), remote(p.NetConn()), moved}, nil
		}
		refused, _ := errors.AsType[*rtmp.StatusError](err)
		if refused == nil || refused.Redirect == "" {
			return nil, failure(err, false)
		}
		if redirects == maxRedirects {
			return nil, relay.Failed(relay.CauseURL, "the server redirects, more than %d times", maxRedirects)
		}
		if at = redirected(at, refused.Redirect); at == "" {
			return nil, relay.Failed(relay.CauseURL, "the server redirects from rtmps to rtmp")
		}
	}
}

// notAtOnce reports whether an opening failed in a way that has to do with Client.AtOnce: something
// answered, and not what was expected.
func notAtOnce(err error) bool {
	said, _ := errors.AsType[*rtmp.StatusError](err)
	foreign := said != nil && said.Text(hub.ReasonProperty) == ""
	return foreign || errors.Is(err, rtmp.ErrProtocol) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// redirected returns where a server at a URL has sent us, "" if it must not be followed: from
// an encrypted connection to one that is not.
func redirected(from, to string) string {
	if strings.HasPrefix(from, "rtmps:") && !strings.HasPrefix(to, "rtmps:") {
		return ""
	}
	if sameServer(from, to) {
		return withUser(to, from)
	}
	return withoutParameters(to, from)
}

// withoutParameters returns a URL without the parameters that another has: a server may send
// us to another one, and not what we have shown it.
func withoutParameters(rawURL, known string) string {
	path, query, _ := strings.Cut(rawURL, "?")
	_, query2, _ := strings.Cut(known, "?")
	shown := map[string]bool{}
	for pair := range strings.SplitSeq(query2, "&") {
		shown[pair] = true
	}
	separator := "?"
	for pair := range strings.SplitSeq(query, "&") {
		if pair != "" && !shown[pair] {
			path, separator = path+separator+pair, "&"
		}
	}
	return path
}

// ReadTag is described at relay.Source.
func (s *Source) ReadTag() (flv.Tag, error) {
	t, err := s.player.ReadTag()
	if err == io.EOF {
		return flv.Tag{}, ending(s.player.Ending())
	}
	if err != nil {
		return flv.Tag{}, failure(err, false)
	}
	select {
	case r := <-s.player.Reconnects():
		s.moved(r.URL)
		return flv.Tag{}, relay.Failed(relay.CauseConnection, "the server asks to connect anew%s", because(r.Description))
	default:
		return t, nil
	}
}

// ending returns what it comes to that a server said that the stream is over: a Sluice may say
// so because it shuts down, or because a permission has expired.
func ending(status *rtmp.StatusError) error {
	if status == nil {
		return io.EOF
	}
	if _, known := hub.ReasonOf(status.Text(hub.ReasonProperty)); !known {
		return io.EOF
	}
	return failure(status, false)
}

// because returns what a server said as the rest of a sentence.
func because(description string) string {
	if description == "" {
		return ""
	}
	return ": " + description
}

// Buffered is described at relay.Source. Over TLS it may say so although there is nothing.
func (s *Source) Buffered() bool { return s.player.Buffered() }

// Node is described at relay.Source.
func (s *Source) Node() string { return s.node }

// Remote is described at relay.Source.
func (s *Source) Remote() string { return s.remote }

// Close is described at relay.Source.
func (s *Source) Close() error { return s.player.Close() }
