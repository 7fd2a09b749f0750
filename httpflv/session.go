package httpflv

import "sluice/hub"

// session is one viewer being served over HTTP. There may be many thousands.
type session struct {
	handler *Handler
	viewer  *hub.Viewer
}

// begin follows the viewer's start. Handler.Wait waits for end then.
func (s *session) begin() { s.handler.serving.Add() }

// end ends the viewer. It is called once.
func (s *session) end(why hub.Reason) {
	s.viewer.End(&hub.Refusal{Reason: why})
	s.handler.serving.Done()
}
