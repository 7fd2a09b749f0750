package rtmp

import "sluice/flv/amf"

// The commands of Flash Media Server's CDNs (FC...), which are in no specification:
// clients announce with them what they are going to publish or play.

// onFCPublish answers FCPublish twice, as Flash Media Server does: with a result for
// clients that count transactions, and with onFCPublish for encoders that do not publish
// before it came (FMLE, Haivision Makito). SRS sends it after publish, which is too
// late for them. Nothing is decided by it: publish may be refused all the same.
//
// FCUnpublish has no such echo: no client is known to wait for one, and a client
// that has closed already would reset the connection on it.
func (s *session) onFCPublish(c *command) error {
	return s.acknowledgeName(c, "onFCPublish", CodePublishStart)
}

// onFCSubscribe answers FCSubscribe in the same way, for players made for the CDNs of
// Flash Media Server, which play when onFCSubscribe said that they may.
func (s *session) onFCSubscribe(c *command) error {
	return s.acknowledgeName(c, "onFCSubscribe", CodePlayStart)
}

// acknowledgeName answers a command that announces a stream's name with its result
// and then with a command of our own on message stream 0. The description is the name,
// without the query, which is not for the logs of others.
func (s *session) acknowledgeName(c *command, notice, code string) error {
	if err := s.onAcknowledge(c); err != nil {
		return err
	}
	return s.queue(appendCommand(s.pending, s.replyChunkSize(), 0, notice, 0.0, nil, amf.Object{
		{Name: "code", Value: code},
		{Name: "description", Value: shown(c.str(1))},
	}))
}

// onFCUnpublish ends the publication of a name on this connection: how ffmpeg
// and OBS say that they stop, on message stream 0.
func (s *session) onFCUnpublish(c *command) error {
	client := s.client.Value()
	app, name, _, err := canonical(client.app, c.str(1), client.tcURL)
	if err != nil {
		return nil
	}
	for _, st := range s.streams {
		if st.pub != nil && st.key == app+"/"+name {
			s.release(st, nil)
		}
	}
	return s.drain()
}
