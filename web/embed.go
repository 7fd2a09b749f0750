package web

import (
	"errors"
	"net/http"
	"strings"

	"sluice/hub"
)

// embedPath is where the pages to be framed are.
const embedPath = "/embed/"

// embed answers with a stream's picture and nothing else, /embed/APP/NAME. It is the same page
// whether there is such a stream or not: what it plays, and what its query shows for that, is
// for the server of streams to judge.
func (p *renderer) embed(w http.ResponseWriter, r *http.Request) {
	key, err := hub.NewKey("", strings.TrimPrefix(r.URL.Path, embedPath))
	if err != nil {
		reason := err.Error()
		if refusal, ok := errors.AsType[*hub.Refusal](err); ok {
			reason = refusal.Detail
		}
		p.config.refuse(w, r, http.StatusBadRequest, hub.ReasonBadRequest.String(), reason)
		return
	}
	w.Header().Set("Content-Security-Policy", policy(r.Host, p.config.Embed, nil))
	d := p.common
	d.Key = key.String()
	d.Card = p.streamCard(r, key, embedPath+escape(key))
	d.Title = d.Card.Title + " · " + siteName
	render("embed.html", d).Serve(w, r, "no-cache")
}
