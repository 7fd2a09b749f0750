package httpflv

import (
	"strconv"
	"time"

	"sluice/hub"
)

// session is one viewer being served, over HTTP or WebSocket. There may be many
// thousands: it holds what its lines in the log are made of, not the lines.
type session struct {
	handler          *Handler
	viewer           *hub.Viewer
	protocol, remote string
	id               uint64
	began            time.Time
}

func (h *Handler) session(viewer *hub.Viewer, opts hub.WatchOptions) session {
	return session{handler: h, viewer: viewer, protocol: opts.Protocol, remote: opts.Remote}
}

// begin notes that the viewer's stream begins. Handler.Wait waits for end then.
func (s *session) begin() {
	s.handler.serving.Add()
	s.id = s.handler.lastID.Add(1)
	s.began = time.Now()
	s.log("viewer begins")
}

// end closes the viewer and notes that. It is called once.
func (s *session) end(why hub.Reason) {
	s.viewer.Close()
	s.log("viewer ends", "reason", why.String(), "duration", time.Since(s.began).Round(time.Millisecond),
		"bytes", s.viewer.Bytes(), "dropped", s.viewer.Dropped())
	s.handler.serving.Done()
}

func (s *session) log(message string, more ...any) {
	if s.handler.Logger == nil {
		return
	}
	s.handler.Logger.Info(message, append([]any{
		"session", s.protocol + "-" + strconv.FormatUint(s.id, 10),
		"remote", s.remote,
		"stream", s.viewer.Stream().Key().String(),
	}, more...)...)
}
