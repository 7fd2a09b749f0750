package admin

import "net/http"

// switchRequest is the body of POST /api/v1/streams/switch.
type switchRequest struct {
	Stream string `json:"stream"`
}

// switchPublisher answers POST /api/v1/streams/switch: the stream goes on with the publisher that stands
// by, at its next key frame, and the present one stands by then.
func (a *api) switchPublisher(r *http.Request) (reply, error) {
	var asked switchRequest
	if err := parseBody(r, &asked); err != nil {
		return reply{}, err
	}
	key, err := parseKey(asked.Stream)
	if err != nil {
		return reply{}, err
	}
	if err := a.Hub.Switch(key); err != nil {
		return reply{}, err
	}
	a.log(r, "switch", "stream", key.String())
	return reply{status: http.StatusNoContent}, nil
}
