package rtmp

import "slices"

// Reconnecting are the clients that Server.RequestReconnect has asked. Its methods may be
// called from any goroutine.
type Reconnecting struct {
	srv  *Server
	left chan struct{}

	// Guarded by srv.mu.
	pending map[*session]struct{} // neither gone, nor found to be nobody to ask
	asked   int
}

// Left returns a channel that is closed when the connections of all who were asked have
// ended.
func (r *Reconnecting) Left() <-chan struct{} { return r.left }

// Figures returns how many were asked, and how many are there still, those included of whom
// it is not known yet whether they are to be asked.
func (r *Reconnecting) Figures() (asked, there int) {
	r.srv.mu.Lock()
	defer r.srv.mu.Unlock()
	return r.asked, len(r.pending)
}

// removeLocked notes that a session is not waited for, and reports whether that was the last.
func (r *Reconnecting) removeLocked(ss *session) (over bool) {
	if _, ok := r.pending[ss]; !ok {
		return false
	}
	delete(r.pending, ss)
	if over = len(r.pending) == 0; over {
		close(r.left)
	}
	return over
}

// leaveLocked notes that a session has ended.
func (s *Server) leaveLocked(ss *session) {
	s.reconnecting = slices.DeleteFunc(s.reconnecting, func(r *Reconnecting) bool { return r.removeLocked(ss) })
}

// RequestReconnect asks every client to reconnect that publishes or plays and has announced
// that it can (CapsReconnect), each connection once. request says what to ask of a client of
// an app, which is given as it was sent, with its query: it may hold secrets; secure says that
// the connection is encrypted. It is called from several goroutines. Nothing is ended, and it
// does not wait.
func (s *Server) RequestReconnect(request func(app string, secure bool) Reconnect) *Reconnecting {
	r := &Reconnecting{srv: s, left: make(chan struct{}), pending: make(map[*session]struct{})}
	s.mu.Lock()
	all := make([]*session, 0, len(s.sessions))
	for ss := range s.sessions {
		r.pending[ss] = struct{}{}
		all = append(all, ss)
	}
	if len(all) == 0 {
		close(r.left)
	} else {
		s.reconnecting = append(s.reconnecting, r)
	}
	s.mu.Unlock()
	for _, ss := range all {
		ss.post(func() error { return ss.joinReconnecting(r, request) })
	}
	return r
}

// joinReconnecting asks the client of the session, if it is one to ask.
func (s *session) joinReconnecting(r *Reconnecting, request func(app string, secure bool) Reconnect) error {
	asks := s.mayReconnect() && s.inUse() > 0
	s.srv.mu.Lock()
	if asks {
		r.asked++
	} else if r.removeLocked(s) {
		s.srv.reconnecting = slices.DeleteFunc(s.srv.reconnecting, func(other *Reconnecting) bool { return other == r })
	}
	s.srv.mu.Unlock()
	if !asks {
		return nil
	}
	c := s.client.Value()
	return s.requestReconnect(request(c.app, c.secure))
}

// mayReconnect reports whether the client has announced that it heeds a request.
func (s *session) mayReconnect() bool { return s.phase >= idle && s.client.Value().reconnects }

// requestReconnect queues a request, unless the client has been asked for the same before.
func (s *session) requestReconnect(r Reconnect) error {
	r.URL = ""
	if s.requested != nil && *s.requested == r {
		return nil
	}
	s.requested = &r
	s.debug("rtmp client is asked to reconnect")
	return s.queue(appendReconnect(s.pending, s.srv.chunkSize(), &r))
}

// MoveAway asks the client to reconnect, and reports whether it can, as RequestReconnect does. What is asked is for
// request to say, as with Server.RequestReconnect.
func (s *ServerStream) MoveAway(request func(app string, secure bool) Reconnect) bool {
	c := s.s.client.Value()
	return c.reconnects && s.RequestReconnect(request(c.app, c.secure))
}

// RequestReconnect asks the client to reconnect, and reports whether it has announced that it
// can (CapsReconnect): otherwise it is not asked. It does not wait, and what was asked before,
// but was not sent yet, is not.
func (s *ServerStream) RequestReconnect(r Reconnect) bool {
	ss := s.s
	if !ss.client.Value().reconnects { // it was set before there were ServerStreams
		return false
	}
	if ss.reconnect.Swap(&r) != nil {
		return true // what was posted then sends this one
	}
	ss.post(func() error {
		if r := ss.reconnect.Swap(nil); ss.inUse() > 0 {
			return ss.requestReconnect(*r)
		}
		return nil
	})
	return true
}
