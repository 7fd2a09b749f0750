package web

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"sluice/httpflv/answer"
	"sluice/hub"
	"sluice/web/asset"
)

// generateCommand is what was not run before the binary was built.
const generateCommand = "go generate ./web"

// templates are the pages and their parts.
var templates = template.Must(template.ParseFS(pages, "pages/*.html"))

// document is what a page has to know before its script runs.
type document struct {
	Assets, Version, Generate string
	RTMP                      string // addresses, separated by spaces
	RTMPS                     bool   // one of them is over TLS
	Origin                    string // under which the world reaches the page; "" is that of the browser
	Player, QR                bool   // whether go generate has brought them
	PublishPrivate            bool
	Embed                     string // whose pages may frame a stream: "" (our own), "some" or "any"
	Title                     string
	Card                      *card  // nil for a page that has nothing to tell of itself
	Key                       string // of the stream, on its page to be framed
}

// card is what other programs show of a link to a page: its Open Graph data (ogp.me), and what
// X makes of a link. It says what the address says, and no more: neither whether there is
// such a stream, nor what the address shows so that its viewer may watch.
type card struct {
	Title, Description string
	URL, Image         string // empty where the request does not say under which host it came
	Player             string // the page to be framed; empty where other sites may not frame it
	Secure             bool   // they are https
	Open               bool   // every site may frame it, and so those that links are posted on
}

// renderer makes the pages.
type renderer struct {
	config Config
	common document
	plain  *asset.File // the page without anything of its address
}

// newRenderer returns the pages of a server; c has its defaults.
func newRenderer(c Config, files *asset.Files) *renderer {
	r := &renderer{config: c, common: document{
		Assets: "/assets/" + files.Hash(), Version: c.Version, Generate: generateCommand,
		RTMP: strings.Join(c.rtmpAddresses(), " "), RTMPS: c.rtmpPort("rtmps") != 0, Origin: c.Public.HTTP,
		Player: files.Has(playerFile), QR: files.Has(qrFile), PublishPrivate: c.PublishPrivate, Title: siteName,
	}}
	switch {
	case c.Embed.Any():
		r.common.Embed = "any"
	case len(c.Embed) > 0:
		r.common.Embed = "some"
	}
	r.plain = render("index.html", r.common)
	return r
}

// render fills a page in.
func render(name string, d document) *asset.File {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, d); err != nil {
		panic(err) // the template and its data are both part of this package
	}
	return asset.New(name, b.Bytes())
}

// index answers with the page.
func (p *renderer) index(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Security-Policy", policy(r.Host, nil, p.config.Recordings.origins()))
	file := p.plain
	if c := p.card(r); c != nil {
		d := p.common
		d.Card, d.Title = c, c.Title+" · "+siteName
		file = render("index.html", d)
	}
	file.Serve(w, r, "no-cache")
}

// siteName is what the page calls itself, and the site of its links.
const siteName = "Sluice"

// maxWall is how many streams a wall shows at the most.
const maxWall = 9

// card returns what links to the page tell of what it shows; nil for the list, and for what
// cannot be a stream.
func (p *renderer) card(r *http.Request) *card {
	query := r.URL.Query()
	if key, ok := keyOf(query.Get("recording")); ok {
		return p.cardOf(r, key.App+", recorded", "A recording of "+key.App, "/?recording="+escape(key), "")
	}
	if key, ok := keyOf(query.Get("stream")); ok {
		return p.streamCard(r, key, "/?stream="+escape(key))
	}
	var keys []string
	for _, text := range query["wall"] {
		if key, ok := keyOf(text); ok && len(keys) < maxWall {
			keys = append(keys, "wall="+escape(key))
		}
	}
	if len(keys) == 0 {
		return nil
	}
	return p.cardOf(r, "Wall", fmt.Sprintf("%d live streams side by side", len(keys)), "/?"+strings.Join(keys, "&"), "")
}

// streamCard returns what links to a page of a stream tell.
func (p *renderer) streamCard(r *http.Request, key hub.Key, path string) *card {
	player := ""
	if p.common.Embed != "" {
		player = embedPath + escape(key)
	}
	return p.cardOf(r, key.String(), "Live stream", path, player)
}

func (p *renderer) cardOf(r *http.Request, title, description, path, player string) *card {
	origin, secure := p.config.origin(r.Host, p.config.Secure(r))
	c := &card{Title: title, Description: description, Secure: secure, Open: p.config.Embed.Any()}
	if origin == "" {
		return c
	}
	c.URL, c.Image = origin+path, origin+"/assets/icon.png"
	if player != "" {
		c.Player = origin + player
	}
	return c
}

// keyOf reads a key as an address of the page has it, as forgiving as the page is itself: with
// slashes around it, or .flv or .m3u8 behind.
func keyOf(text string) (hub.Key, bool) {
	text = keyEnding.ReplaceAllString(strings.Trim(strings.TrimSpace(text), "/"), "")
	key, err := hub.NewKey("", text)
	return key, err == nil
}

// keyEnding is what clean in addresses.js takes away, too.
var keyEnding = regexp.MustCompile(`\.(flv|m3u8)$`)

// escape writes a key for a URL, be it in its path or its query.
func escape(key hub.Key) string {
	return strings.ReplaceAll(strings.ReplaceAll(url.QueryEscape(key.String()), "%2F", "/"), "+", "%20")
}

// plainHost matches the hosts that may stand in a header of ours.
var plainHost = regexp.MustCompile(`^([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?$`)

// policy is the Content-Security-Policy of a page, which those of the ancestors may frame beside
// our own: nothing inline, nothing from elsewhere. Media Source Extensions play from a blob URL. That 'self'
// covers WebSockets of the same host is CSP Level 3, so older browsers (Safari
// before 15.4) are told by name. Recordings come from others, too.
func policy(host string, ancestors answer.Ancestors, others []string) string {
	connect, media := "'self'", "'self' blob:"
	if plainHost.MatchString(host) {
		connect += " ws://" + host + " wss://" + host
	}
	for _, origin := range others {
		if _, at, ok := strings.Cut(origin, "://"); ok && plainHost.MatchString(at) {
			connect += " " + origin
			media += " " + origin
		}
	}
	return strings.Join([]string{
		"default-src 'self'",
		"connect-src " + connect,
		"media-src " + media,
		"object-src 'none'",
		"base-uri 'none'",
		"form-action 'self'",
		ancestors.Directive(),
	}, "; ")
}
