package rtmp

import (
	"errors"
	"slices"
	"unique"

	"sluice/flv/amf"
)

// handlers are the commands that a server knows. A command that is none of them
// is answered if it has a transaction id, and otherwise passed over.
var handlers = map[string]func(*session, *command) error{
	"connect": (*session).onConnect,

	"createStream":  (*session).onCreateStream,
	"releaseStream": (*session).onAcknowledge,
	"FCPublish":     (*session).onFCPublish,
	"FCSubscribe":   (*session).onFCSubscribe,
	"_checkbw":      (*session).onAcknowledge,

	"publish":      (*session).onPublish,
	"FCUnpublish":  (*session).onFCUnpublish,
	"closeStream":  (*session).onCloseStream,
	"deleteStream": (*session).onDeleteStream,

	"play":            (*session).onPlay,
	"play2":           (*session).onPlay2,
	"pause":           (*session).onPause,
	"pauseRaw":        (*session).onPause,
	"receiveAudio":    (*session).onReceiveAudio,
	"receiveVideo":    (*session).onReceiveVideo,
	"seek":            (*session).onSeek,
	"getStreamLength": (*session).onGetStreamLength,
	"FCUnsubscribe":   (*session).onNothing,

	// Answers to what we might have asked; we ask nothing.
	"_result":  (*session).onNothing,
	"_error":   (*session).onNothing,
	"onStatus": (*session).onNothing,
}

// command does what a command asks for.
func (s *session) command(c *command) error {
	if s.phase == connecting && c.name != "connect" {
		return s.callFailed(c, "connect first")
	}
	if f, ok := handlers[c.name]; ok {
		return f(s, c)
	}
	s.debug("rtmp command unknown", "command", shown(c.name))
	return s.result(c, nil)
}

// result queues a _result, if the command has a transaction that waits for one.
func (s *session) result(c *command, info any) error {
	if c.txn <= 0 {
		return nil
	}
	return s.queue(appendCommand(s.pending, s.replyChunkSize(), 0, "_result", c.txn, nil, info))
}

// callFailed answers a command that cannot be done; the session goes on.
func (s *session) callFailed(c *command, description string) error {
	if c.txn <= 0 {
		return nil
	}
	return s.queue(appendCommand(s.pending, s.replyChunkSize(), 0, "_error", c.txn, nil,
		statusObject(LevelError, CodeCallFailed, description)))
}

// replyChunkSize is the chunk size in force on the way out.
func (s *session) replyChunkSize() int {
	if s.announced {
		return s.srv.chunkSize()
	}
	return protocolChunkSize
}

// status queues an onStatus on a message stream.
func (s *session) status(id uint32, level, code, description string) error {
	return s.queue(appendStatus(s.pending, s.replyChunkSize(), id, level, code, description))
}

// onNothing takes a command that needs no answer.
func (s *session) onNothing(*command) error { return nil }

// onAcknowledge answers commands that prepare something with servers that keep
// streams; ffmpeg and OBS go on without an answer.
func (s *session) onAcknowledge(c *command) error {
	return s.result(c, amf.Undefined{})
}

// onConnect answers connect (RTMP 1.0 §7.2.1.1) with everything that a client
// needs in one batch. The chunk size is announced before the first message of
// more than 128 bytes and stays: OBS reads, but does not heed, a change while it
// publishes, and ffmpeg takes it over for what it sends.
func (s *session) onConnect(c *command) error {
	if s.phase != connecting {
		return s.callFailed(c, "connected already")
	}
	client := s.readConnect(c.objectArg(0))
	s.client = unique.Make(client)
	size := s.srv.chunkSize()
	b := appendControl(s.pending, typeWindowAckSize, announcedWindow)
	b = appendControl(b, typeSetPeerBW, announcedWindow)
	b = appendControl(b, typeSetChunkSize, uint32(size))
	s.bandwidth, s.announced = announcedWindow, true

	refusal := ""
	code := CodeConnectInvalidApp
	if err := checkApp(client.app); err != nil {
		refusal = err.Error()
	} else if len(client.tcURL) > maxArgument {
		code, refusal = CodeConnectRejected, errTooLong.Error()
	} else if s.srv.closing() {
		code, refusal = CodeConnectAppShutdown, "server is shutting down"
	}
	if refusal != "" {
		// librtmp goes on reading after a refusal: the connection has to be closed.
		if err := s.queue(appendCommand(b, size, 0, "_error", c.txn, nil,
			statusObject(LevelError, code, refusal))); err != nil {
			return err
		}
		return politeEnd{&StatusError{Level: LevelError, Code: code, Description: refusal}}
	}
	s.enter(idle)
	properties := append(amf.Object{
		{Name: "fmsVer", Value: "FMS/3,0,1,123"},
		{Name: "capabilities", Value: 31.0},
	}, serverCapabilities...)
	if node, ok := s.srv.Handler.(Node); ok && client.path != "" && node.Node() != "" {
		properties = append(properties, amf.Property{Name: PropertyNode, Value: node.Node()})
	}
	info := append(statusObject(LevelStatus, CodeConnectSuccess, "Connection succeeded."),
		// 0 keeps the client at AMF0, whatever it proposed.
		amf.Property{Name: "objectEncoding", Value: 0.0})
	return s.queue(appendCommand(b, size, 0, "_result", c.txn, properties, info))
}

// serverCapabilities is what we say of Enhanced RTMP, to every client: OBS and other
// encoders send it without announcing it, and no known client minds (tried with
// ffmpeg 5 and 7, OBS 30, librtmp, VLC, mpv and both of GStreamer's clients).
var serverCapabilities = func() amf.Object {
	all := AllCapabilities()
	all.CapsEx |= CapsReconnect // we may ask for it; some clients heed it only then
	return all.properties()
}()

// onCreateStream makes a message stream (RTMP 1.0 §7.2.1.3). Ids are not used
// again, so that late messages of a deleted stream find nothing.
func (s *session) onCreateStream(c *command) error {
	if len(s.streams) >= s.srv.maxStreams() {
		return s.callFailed(c, "too many message streams")
	}
	for s.lastID++; s.stream(s.lastID) != nil || s.lastID == 0; s.lastID++ {
	}
	s.addStream(s.lastID)
	return s.result(c, float64(s.lastID))
}

// streamOf returns the message stream of a command, made if need be: some
// encoders publish on stream 1 without asking for it. nil if there are too many.
func (s *session) streamOf(id uint32) *stream {
	st := s.stream(id)
	if st == nil && len(s.streams) < s.srv.maxStreams() {
		st = s.addStream(id)
	}
	return st
}

// errTooManyStreams refuses publish and play on one message stream too many.
var errTooManyStreams = errors.New("too many message streams")

// onPublish begins a publication (RTMP 1.0 §7.2.2.6).
func (s *session) onPublish(c *command) error {
	if stop, ok := c.arg(1).(bool); ok && !stop { // ActionScript: publish(false) ends it
		return s.onCloseStream(c)
	}
	st := s.streamOf(c.stream)
	if st == nil {
		return s.refuse(c.stream, &StatusError{Description: errTooManyStreams.Error()}, CodePublishRejected)
	}
	if st.inUse() {
		return s.status(c.stream, LevelError, CodePublishBadName, "message stream is in use")
	}
	typ := c.str(2)
	if typ != "record" && typ != "append" {
		typ = "live"
	}
	r, err := s.request(c.str(1), typ, 0)
	if err != nil {
		return s.refuse(c.stream, s.misnamed(err, c.str(1), "publish"), CodePublishBadName)
	}
	if s.srv.closing() {
		return s.refuse(c.stream, errClosing, CodePublishRejected)
	}
	if err := s.flush(); err != nil {
		return err
	}
	h := &ServerStream{s: s, id: c.stream}
	return s.askAuthorizer(h, r, true, func(err error) error { return s.publish(st, h, r, err) })
}

// publish goes on with a publish that was asked about; err is the answer.
func (s *session) publish(st *stream, h *ServerStream, r *Request, err error) error {
	var pub Publication
	if err == nil {
		pub, err = s.srv.Handler.Publish(h, r)
	}
	if err != nil {
		s.note("publish " + s.shown(r, "publish") + " (refused)")
		return s.refuse(h.id, err, CodePublishRejected)
	}
	st.handle, st.key, st.pub = h, r.Key(), pub
	s.use(st, r)
	return s.status(h.id, LevelStatus, CodePublishStart, "Publishing "+r.Key()+".")
}

// errClosing refuses what comes during a shutdown.
var errClosing = &StatusError{Description: "server is shutting down", Err: ErrServerClosed}

// onPlay begins a playback (RTMP 1.0 §7.2.2.1). Start and duration are for the Handler.
func (s *session) onPlay(c *command) error {
	reset := c.reset(4)
	return s.askToPlay(c, playArgs{
		name: c.str(1), start: c.num(2), duration: playDuration(c.arg(3)), reset: reset, queued: !reset,
	})
}

// onPlay2 switches to another stream (RTMP 1.0 §7.2.2.2), at the position of the one
// that plays where both are files, or puts it behind that, as the transition says
// (NetStreamPlayTransitions of the Flash documentation).
func (s *session) onPlay2(c *command) error {
	o := c.objectArg(1)
	a := playArgs{name: o.str("streamName"), duration: playDuration(o.get("len"))}
	a.start, _ = o.get("start").(float64)
	switch o.str("transition") {
	case "reset", "stop":
		a.reset = true
	case "append", "appendAndWait":
		a.queued = true
	default: // "switch", "swap", "resume", none
		st := s.stream(c.stream)
		if st == nil || st.filePlayback() == nil {
			a.reset = true
			break
		}
		a.position = st.filePlayback().Position()
	}
	return s.askToPlay(c, a)
}

// askToPlay begins a playback in place of the present one, or behind it.
func (s *session) askToPlay(c *command, a playArgs) error {
	st := s.streamOf(c.stream)
	if st == nil {
		return s.refuse(c.stream, &StatusError{Description: errTooManyStreams.Error()}, CodePlayFailed)
	}
	if st.pub != nil {
		return s.status(c.stream, LevelError, CodePlayFailed, "message stream publishes")
	}
	present := st.filePlayback()
	if present != nil && a.queued {
		return s.enqueue(st, present, a)
	}
	s.release(st, nil)
	return s.begin(st, a)
}

// begin begins a playback, once the Authorizer agrees.
func (s *session) begin(st *stream, a playArgs) error {
	r, err := s.request(a.name, "", a.start)
	if err != nil {
		return s.refuse(st.id, s.misnamed(err, a.name, "play"), CodePlayFailed)
	}
	r.Duration, r.NoReset, r.Position, r.Buffer = a.duration, !a.reset, a.position, st.buffer
	s.reuse(a.name, r)
	if s.srv.closing() {
		return s.refuse(st.id, errClosing, CodePlayFailed)
	}
	// What the Handler sends comes after all replies so far.
	if err := s.flush(); err != nil {
		return err
	}
	h := &ServerStream{s: s, id: st.id}
	return s.askAuthorizer(h, r, false, func(err error) error { return s.play(st, h, r, err) })
}

// play goes on with a play that was asked about; err is the answer.
func (s *session) play(st *stream, h *ServerStream, r *Request, err error) error {
	var play Playback
	if err == nil {
		play, err = s.srv.Handler.Play(h, r)
	}
	if err != nil {
		s.note("play " + r.Key() + " (refused)")
		return s.refuse(h.id, err, CodePlayFailed)
	}
	st.handle, st.key, st.play = h, r.Key(), play
	s.use(st, r)
	st.followed()
	return nil
}

// onCloseStream ends what the message stream of the command does.
func (s *session) onCloseStream(c *command) error {
	s.release(s.stream(c.stream), nil)
	return s.drain()
}

// onDeleteStream ends and forgets a message stream of this connection (RTMP 1.0
// §7.2.2.3).
func (s *session) onDeleteStream(c *command) error {
	if id, ok := c.streamID(1); ok {
		st := s.stream(id)
		s.release(st, nil)
		s.streams = slices.DeleteFunc(s.streams, func(other *stream) bool { return other == st })
	}
	return s.drain()
}

// onPause pauses and resumes (RTMP 1.0 §7.2.2.8). pauseRaw, which Flash Player
// sends before pause, means the same here.
func (s *session) onPause(c *command) error {
	st := s.stream(c.stream)
	if st == nil || st.play == nil {
		return s.notPlaying(c)
	}
	on, at := c.flag(1, true), milliseconds(c.num(2))
	switch {
	case st.filePlayback() != nil: // it answers
		if err := s.flush(); err != nil {
			return err
		}
		st.play.Pause(on, at)
		return nil
	case on:
		st.play.Pause(true, at)
		return s.status(c.stream, LevelStatus, CodePauseNotify, pausedText)
	}
	if err := s.statusNow(c.stream, CodeUnpauseNotify, resumedText); err != nil {
		return err
	}
	st.play.Pause(false, at)
	return nil
}

// statusNow sends an onStatus before the media that a Handler is about to send.
func (s *session) statusNow(id uint32, code, description string) error {
	if err := s.status(id, LevelStatus, code, description); err != nil {
		return err
	}
	return s.flush()
}

// notPlaying answers a command for a player on a message stream without one. It
// says nothing with LevelError: that would end an ffmpeg that paused too late.
func (s *session) notPlaying(c *command) error {
	s.debug("rtmp command without a playback", "command", c.name, "stream_id", c.stream)
	return s.result(c, nil)
}

// onReceiveAudio and onReceiveVideo switch audio and video off and on (RTMP 1.0
// §7.2.2.4, §7.2.2.5): off needs no answer, on is answered as a seek.
func (s *session) onReceiveAudio(c *command) error {
	return s.receive(c, Playback.ReceiveAudio)
}

func (s *session) onReceiveVideo(c *command) error {
	return s.receive(c, Playback.ReceiveVideo)
}

func (s *session) receive(c *command, set func(Playback, bool)) error {
	st := s.stream(c.stream)
	if st == nil || st.play == nil {
		return s.notPlaying(c)
	}
	on := c.flag(1, true)
	if on {
		if err := s.status(c.stream, LevelStatus, CodeSeekNotify, "Seeking."); err != nil {
			return err
		}
		if err := s.statusNow(c.stream, CodePlayStart, "Started playing."); err != nil {
			return err
		}
	}
	set(st.play, on)
	return nil
}
