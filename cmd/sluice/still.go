package main

import (
	"net/http"

	"sluice/httpflv"
	"sluice/hub"
	"sluice/web"
)

// stills returns where the page's API has stills from: the hub. Whoever may watch a stream may
// have them.
func stills(h *hub.Hub) web.StillsConfig {
	return web.StillsConfig{
		Permit: func(r *http.Request, key hub.Key) (hub.Key, error) {
			client := httpflv.ClientOf(r)
			client.Protocol, client.Still = protocolStill, true
			client.Query.Del("stream") // which shows nothing, and is no part of a viewer's query
			s := h.NewSession(hub.RoleWatch, key, client)
			err := s.AskAndWait(r.Context())
			return s.Key(), err
		},
		Take:    h.Still,
		Private: h.HasPolicy(),
	}
}

// protocolStill is what sessions that ask for a still are called. They never begin, so that no
// figure shows it.
const protocolStill = "still"
