// Package gateway ties RTMP to the hub: what an rtmp.Server receives from
// publishers goes into streams, and streams go out to its players through the
// pumps of hub/fanout. Recordings are played from their files, each by a goroutine.
package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/archive/union"
	"sluice/hub/fanout"
	"sluice/rtmp"
)

// protocol is what the hub's figures call publishers and viewers of this package.
const protocol = "rtmp"

// Handler is an rtmp.Handler on a hub. Hub and Pool must be set.
type Handler struct {
	Hub  *hub.Hub
	Pool *fanout.Pool
	// Rewind returns what a viewer that has started is given before it is served from the
	// log, nil for nothing. It may be nil.
	Rewind func(*hub.Viewer) fanout.Lead
	// Archive has the recordings, which are played as rec/APP/NAME/ID; nobody can publish
	// in the app rec and those below it then. nil plays no recordings, and rec is an app
	// like others.
	Archive Archive
	// Reconnect says what to ask of publishers who are to go on elsewhere (rtmp.ServerStream.MoveAway). nil asks
	// nobody to.
	Reconnect func(app string, secure bool) rtmp.Reconnect
	// Elsewhere returns a recording that another node of a cluster has; id may be archive.Latest. The error is
	// archive.ErrNotFound, a *hub.Refusal, or that of ctx. nil where this server is alone.
	Elsewhere func(ctx context.Context, key hub.Key, id string) (union.Recording, error)
}

var (
	_ rtmp.Authorizer = (*Handler)(nil)
	_ rtmp.Lengther   = (*Handler)(nil)
	_ rtmp.Node       = (*Handler)(nil)
)

// Node returns the id of the hub's server.
func (h *Handler) Node() string { return h.Hub.Node() }

// Authorize makes the hub's session of what a client asks for, and asks the hub's policy.
func (h *Handler) Authorize(
	ctx context.Context, s *rtmp.ServerStream, r *rtmp.Request, publish bool, answer func(error),
) {
	if known, ok := r.Value.(*asked); ok { // by StreamLength
		answer(playStatus(known.refused))
		return
	}
	role, status := hub.RoleWatch, playStatus
	if publish {
		role, status = hub.RolePublish, publishStatus
	}
	a, err := h.request(role, s, r)
	if err != nil {
		answer(status(err))
		return
	}
	r.Value = a
	a.session.Ask(ctx, func(err error) {
		if err != nil {
			answer(status(err))
			return
		}
		answer(nil)
		a.refuseWith(ctx)
	})
}

// asked is what the policy is asked about: the Value of a Request.
type asked struct {
	session *hub.Session
	// recording is the id of the recording to play, length its length as far as known; empty
	// and 0 for a stream. key is the stream of the recording that was asked for, latest says
	// that its newest one was.
	recording string
	length    time.Duration
	key       hub.Key
	latest    bool
	refused   error // the policy's answer to StreamLength
}

// refuseWith refuses a session that was granted if ctx, that of the question, ends otherwise than
// by the answer: the client has left at that moment.
func (a *asked) refuseWith(ctx context.Context) {
	context.AfterFunc(ctx, func() {
		if cause := context.Cause(ctx); cause != context.Canceled {
			a.session.Refuse(ending(cause))
		}
	})
}

// request makes the hub's session of what a client asks for. The error has been told.
func (h *Handler) request(role hub.Role, s *rtmp.ServerStream, r *rtmp.Request) (*asked, error) {
	c := hub.Client{
		Protocol: protocol, Secure: r.Secure, Agent: r.FlashVer, Name: r.Key(), Query: r.Query,
		TCURL: r.FullTcURL, PageURL: r.PageURL, SWFURL: r.SWFURL, Host: r.Host, Publishing: r.Type,
	}
	if tcp, ok := s.RemoteAddr().(*net.TCPAddr); ok {
		c.Address = tcp.AddrPort()
	}
	a := new(asked)
	key, err := hub.NewKey(r.App, r.Name)
	if h.isRecording(r) {
		key, err = a.find(h.Archive, role, r)
		c.Recording = a.recording
	}
	path, bad := hub.ParsePath(r.Path)
	if c.Path = path; bad != nil && err == nil {
		err = &hub.Refusal{Reason: hub.ReasonBadRequest, Detail: bad.Error()}
	}
	a.session = h.Hub.NewSession(role, key, c)
	if err != nil {
		a.session.Refuse(err)
		return nil, err
	}
	return a, nil
}

// granted returns what Authorize has let pass.
func granted(r *rtmp.Request) *asked { return r.Value.(*asked) }

// Publish begins a publish session of the hub.
func (h *Handler) Publish(s *rtmp.ServerStream, r *rtmp.Request) (rtmp.Publication, error) {
	session := granted(r).session
	if h.isReserved(session.Key().App) {
		session.Refuse(errReserved)
		return nil, publishStatus(errReserved)
	}
	opts := hub.PublishOptions{End: func(why *hub.Refusal) { s.Fail(publishStatus(why)) }}
	opts.Move = func() bool { return h.Reconnect != nil && s.MoveAway(h.Reconnect) }
	p, err := h.Hub.Publish(session, opts)
	if err != nil {
		return nil, publishStatus(err)
	}
	return &publication{p}, nil
}

// publication hands what a publisher sends to the hub.
type publication struct{ p *hub.Publisher }

func (p *publication) WriteTag(t flv.Tag) error {
	if err := p.p.Write(t); err != nil {
		return publishStatus(err)
	}
	return nil
}

func (p *publication) Close(err error) { p.p.End(ending(err)) }

// ending returns why a session ended with whose connection it was over: nil for the
// client's own request.
func ending(err error) *hub.Refusal {
	if err == nil {
		return &hub.Refusal{Reason: hub.ReasonClientLeft}
	}
	if refusal, ok := errors.AsType[*hub.Refusal](err); ok {
		return refusal
	}
	why := &hub.Refusal{Reason: hub.ReasonConnection, Detail: err.Error()}
	switch {
	case errors.Is(err, rtmp.ErrProtocol), errors.Is(err, rtmp.ErrFlood):
		why.Reason = hub.ReasonProtocol
	case errors.Is(err, rtmp.ErrPublishIdle):
		why.Reason = hub.ReasonIdle
	case errors.Is(err, rtmp.ErrServerClosed):
		why.Reason = hub.ReasonShuttingDown
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		// Which of them it is depends on what was under way. It says nothing of the client.
		return &hub.Refusal{Reason: hub.ReasonClientLeft}
	case errors.Is(err, io.ErrUnexpectedEOF): // in the middle of a message
		why.Reason = hub.ReasonClientLeft
	}
	return why
}

// Play makes a viewer of the hub, which the pool serves. One that has to wait for
// its publisher has a goroutine until then.
func (h *Handler) Play(s *rtmp.ServerStream, r *rtmp.Request) (rtmp.Playback, error) {
	a := granted(r)
	session := a.session
	opts := hub.WatchOptions{
		ScriptData: true,
		Duration:   r.Duration,
	}
	opts.Shape.Form = form(&r.Capabilities)
	if err := opts.ReadQuery(r.Query); err != nil {
		session.Refuse(err)
		return nil, playStatus(err)
	}
	if a.recording != "" {
		return h.playFile(s, r, a, &opts), nil
	}
	viewer, err := h.Hub.Watch(session, opts)
	if err != nil {
		return nil, playStatus(err)
	}
	started, err := viewer.TryStart()
	if err != nil {
		viewer.Close()
		return nil, playStatus(err)
	}
	p := &playback{stream: s, viewer: viewer, outlet: h.outlet(s), rewind: h.Rewind}
	if started {
		p.attach()
		return p, nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &pendingStart{cancel: cancel, done: make(chan struct{})}
	p.waiting.Store(w)
	go func() {
		defer close(w.done)
		p.start(ctx)
	}()
	return p, nil
}

// outlet returns the outlet of a connection.
func (h *Handler) outlet(s *rtmp.ServerStream) *fanout.Outlet {
	outlet, ok := s.Output().(*fanout.Outlet)
	if !ok {
		outlet = h.Pool.NewOutlet(s.NetConn())
		s.SetOutput(outlet)
	}
	return outlet
}

// form returns how much of Enhanced RTMP a player understands, by what it said in
// connect.
func form(c *rtmp.Capabilities) flv.Form {
	switch {
	case !c.Announced():
		return flv.FormClassic
	case c.HasCapsEx && c.CapsEx&rtmp.CapsMultitrack == 0:
		return flv.FormSingle
	case !c.HasCapsEx && !announces(c, "*", "avc1", "mp4a"):
		return flv.FormClassic
	}
	return flv.FormAsSent
}

// announces reports whether one of the codecs is among those that a player announced.
func announces(c *rtmp.Capabilities, codecs ...string) bool {
	return slices.ContainsFunc(codecs, func(codec string) bool {
		_, video := c.Video[codec]
		_, audio := c.Audio[codec]
		return video || audio || slices.Contains(c.FourCCs, codec)
	})
}

// playback is one player on one message stream.
type playback struct {
	stream *rtmp.ServerStream
	viewer *hub.Viewer
	outlet *fanout.Outlet
	rewind func(*hub.Viewer) fanout.Lead // nil for nothing

	waiting atomic.Pointer[pendingStart] // until sub is set, or never will be
	sub     *fanout.Subscription         // read after waiting
	counted atomic.Bool                  // the viewer's bytes, into the session's
	left    atomic.Pointer[hub.Refusal]  // why Close was called
}

// pendingStart is a goroutine that waits for a stream.
type pendingStart struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// start waits for the stream and hands the viewer to the pool.
func (p *playback) start(ctx context.Context) {
	if err := p.viewer.Wait(ctx); err != nil {
		p.stream.Fail(playStatus(err))
		return
	}
	p.attach()
	p.waiting.Swap(nil).cancel()
}

// attach hands the viewer to the pool.
func (p *playback) attach() {
	var lead fanout.Lead
	if p.rewind != nil {
		lead = p.rewind(p.viewer)
	}
	p.sub = p.outlet.Attach(fanout.Feed{
		Viewer:    p.viewer,
		Framer:    p.stream,
		Head:      p.stream.AppendPlayStart(nil),
		Lead:      lead,
		AppendEnd: p.appendEnd,
		Done:      p.done,
	})
}

// appendEnd tells a player why it gets no more. One that leaves by itself is told nothing.
func (p *playback) appendEnd(dst []byte, end hub.Reason) []byte {
	switch end {
	case hub.ReasonClientLeft:
		return dst
	case hub.ReasonComplete:
		return p.stream.AppendPlayStop(dst)
	}
	return appendWhy(dst, p.stream, p.viewer.Ending(end))
}

// done follows the last byte of the viewer.
func (p *playback) done(end hub.Reason) {
	why := p.viewer.Ending(end)
	if left := p.left.Load(); left != nil && end == hub.ReasonClientLeft {
		why = left
	}
	defer p.viewer.End(why) // who sees that it is gone sees what follows from it
	p.count()
	switch end {
	case hub.ReasonClientLeft:
	case hub.ReasonStalled, hub.ReasonConnection:
		// The outlet has closed the connection, and the session learns from it why.
	default:
		p.stream.End(&hub.Refusal{Reason: end})
	}
}

func (p *playback) Pause(on bool, _ time.Duration) { p.viewer.Pause(on) }
func (p *playback) ReceiveAudio(on bool)           { p.viewer.ReceiveAudio(on) }
func (p *playback) ReceiveVideo(on bool)           { p.viewer.ReceiveVideo(on) }

// Close ends the viewer. Once it has returned, nothing more of its media is
// written.
func (p *playback) Close(err error) {
	why := ending(err)
	p.left.Store(why)
	if w := p.waiting.Load(); w != nil {
		p.viewer.End(why) // before its Wait would say that a context ended
		w.cancel()
		<-w.done
	}
	if p.sub == nil {
		return
	}
	p.sub.Close()
	p.count()
}

// count adds what the viewer was sent to what the session's last log line says.
func (p *playback) count() {
	if !p.counted.Swap(true) {
		p.stream.AddBytesOut(int64(p.viewer.Bytes()))
	}
}
