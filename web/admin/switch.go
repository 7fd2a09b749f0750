package admin

import (
	"errors"
	"net/http"

	"sluice/hub"
)

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
	err = a.Hub.Switch(key)
	if refusal, ok := errors.AsType[*hub.Refusal](err); ok && refusal.Reason == hub.ReasonNotFound && a.asksOthers() {
		return a.switchElsewhere(r, &asked, err)
	}
	if err != nil {
		return reply{}, err
	}
	a.log(r, "switch", "stream", key.String())
	return reply{status: http.StatusNoContent}, nil
}

// switchElsewhere has the node switch at which the stream is published; otherwise err is the error of this one.
func (a *api) switchElsewhere(r *http.Request, asked *switchRequest, err error) (reply, error) {
	own, _ := a.self()
	for _, node := range a.names() {
		if node == own {
			continue
		}
		said, failed := a.forward(r, node, command{
			Method: http.MethodPost, Path: "/api/v1/streams/switch", Body: marshal(asked), Kind: "application/json",
		})
		if failed == nil && said.status != http.StatusNotFound {
			return said, nil
		}
	}
	return reply{}, err
}
