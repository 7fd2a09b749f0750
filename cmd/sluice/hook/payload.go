package hook

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"sluice/hub"
)

// Content types of requests.
const (
	typeJSON = "application/json"
	typeForm = "application/x-www-form-urlencoded"
)

// question returns the content type and the body of a question.
func (f Format) question(c *Call) (contentType string, body []byte) {
	switch f {
	case FormatSRS:
		body, _ = appendSRS(nil, c)
		return typeJSON, body
	case FormatNginx:
		body, _ = appendNginx(nil, c)
		return typeForm, body
	}
	return typeJSON, appendQuestion(nil, c)
}

// jsonQuestion is a question in Sluice's own form. What an event has too is called the same.
type jsonQuestion struct {
	Type    string      `json:"type"`   // "question", which no event is
	Server  string      `json:"server"` // names the server that asks
	Stream  string      `json:"stream"` // APP/NAME
	App     string      `json:"app"`    // may have several segments
	Name    string      `json:"name"`
	Session jsonSession `json:"session"`

	// Query is that of the client's address, of all its parts: each parameter's values in their
	// order.
	Query map[string][]string `json:"query"`
	// Secure says that the client's connection is encrypted.
	Secure bool `json:"secure"`
	// Host is under which name the client knows this server, with a port if it wrote one.
	Host string `json:"host,omitempty"`
	// TCURL, PageURL and SWFURL are those of RTMP's connect.
	TCURL   string `json:"tc_url,omitempty"`
	PageURL string `json:"page_url,omitempty"`
	SWFURL  string `json:"swf_url,omitempty"`
	// Origin, Referer and Authorization are headers of HTTP.
	Origin        string `json:"origin,omitempty"`
	Referer       string `json:"referer,omitempty"`
	Authorization string `json:"authorization,omitempty"`
	// Publishing is how a publisher wants to be recorded: "record" or "append"; else empty or
	// "live".
	Publishing string `json:"publishing,omitempty"`
}

// jsonSession is who asks.
type jsonSession struct {
	// ID is that of events. Several clients who ask the same at a time are one question, with
	// the id of the first.
	ID       uint64 `json:"id"`
	Role     string `json:"role"`     // "publish" or "watch"
	Protocol string `json:"protocol"` // "rtmp", "http-flv", "ws-flv" and others
	Address  string `json:"address"`  // of the client, without a port; empty for a part of the server
	Agent    string `json:"agent,omitempty"`
	// Recording is the id of the recording that a viewer asks for, "*" for a look at the list of
	// them; empty for the stream itself.
	Recording string `json:"recording,omitempty"`
}

func appendQuestion(dst []byte, c *Call) []byte {
	q := jsonQuestion{
		Type: "question", Server: c.Server, Stream: c.App + "/" + c.Name, App: c.App, Name: c.Name,
		Session: jsonSession{
			ID: c.Session, Role: hub.RoleWatch.String(), Protocol: c.Protocol, Address: c.address(), Agent: c.Agent,
			Recording: c.Recording,
		},
		Query: c.Query, Secure: c.Secure, Host: c.Host, TCURL: c.TCURL, PageURL: c.PageURL, SWFURL: c.SWFURL,
		Origin: c.Origin, Referer: c.Referer, Authorization: c.Authorization, Publishing: c.Publishing,
	}
	if c.Action == ActionPublish {
		q.Session.Role = hub.RolePublish.String()
	}
	if q.Query == nil {
		q.Query = map[string][]string{}
	}
	return appendJSON(dst, q)
}

// appendJSON appends what can always be written as JSON. Text is not escaped for HTML.
func appendJSON(dst []byte, v any) []byte {
	b := bytes.NewBuffer(dst)
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	e.Encode(v) // of texts and numbers: never fails
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// srsActions are what SRS calls actions; empty for what it has no word for.
var srsActions = [actions]string{
	ActionPublish: "on_publish", ActionPlay: "on_play", ActionUnpublish: "on_unpublish", ActionStop: "on_stop",
	ActionRecorded: "on_dvr",
}

// srsVhost is the virtual host of SRS that stands for none.
const srsVhost = "__defaultVhost__"

// srsCall is a callback of SRS (http_hooks of SRS 5 and 6).
type srsCall struct {
	ServerID  string  `json:"server_id"`
	ServiceID string  `json:"service_id"`
	Action    string  `json:"action"`
	ClientID  string  `json:"client_id"`
	IP        string  `json:"ip"`
	Vhost     string  `json:"vhost"`
	App       string  `json:"app"`
	TCURL     string  `json:"tcUrl"`
	Stream    string  `json:"stream"`
	Param     string  `json:"param"`             // the query, with its "?"
	PageURL   *string `json:"pageUrl,omitempty"` // with on_play
	CWD       string  `json:"cwd,omitempty"`     // with on_dvr: the folder, and the file in it
	File      string  `json:"file,omitempty"`
	StreamURL string  `json:"stream_url"` // without the virtual host that is none
	StreamID  string  `json:"stream_id"`
}

// appendSRS appends a call in the form of SRS. It is false for what SRS has no word for.
func appendSRS(dst []byte, c *Call) (_ []byte, ok bool) {
	action := srsActions[c.Action]
	if action == "" {
		return dst, false
	}
	key := c.App + "/" + c.Name
	sum := sha256.Sum256([]byte(key))
	call := srsCall{
		ServerID: c.Server, ServiceID: c.Service, Action: action, ClientID: c.clientID(), IP: c.address(),
		Vhost: srsVhost, App: c.App, TCURL: c.tcURL(), Stream: c.Name,
		StreamURL: "/" + key, StreamID: "vid-" + hex.EncodeToString(sum[:4]),
	}
	if len(c.Query) > 0 {
		call.Param = "?" + c.Query.Encode()
	}
	switch c.Action {
	case ActionPlay:
		page := c.pageURL()
		call.PageURL = &page
	case ActionRecorded:
		call.CWD, call.File = c.Folder, "./"+c.Path
	}
	return appendJSON(dst, call), true
}

// clientID returns the id of the client for formats in which it is a text.
func (c *Call) clientID() string {
	if c.Session == 0 {
		return ""
	}
	return strconv.FormatUint(c.Session, 10)
}

// nginxCalls are what nginx-rtmp calls actions.
var nginxCalls = [actions]string{
	ActionPublish: "publish", ActionPlay: "play", ActionUnpublish: "publish_done", ActionStop: "play_done",
	ActionRecorded: "record_done", ActionUpdatePublish: "update_publish", ActionUpdatePlay: "update_play",
}

// nginxReserved are the names that nginx-rtmp's own arguments have.
var nginxReserved = []string{
	"app", "flashver", "swfurl", "tcurl", "pageurl", "addr", "clientid", "call", "name", "type", "start", "duration",
	"reset", "recorder", "path", "time", "timestamp", "epoch",
}

// appendNginx appends a call in the form of nginx-rtmp: its own arguments, and then those of
// the client's query, but for such as a server might take for one of its own.
func appendNginx(dst []byte, c *Call) (_ []byte, ok bool) {
	add := func(name, value string) {
		if len(dst) > 0 {
			dst = append(dst, '&')
		}
		dst = append(append(append(dst, url.QueryEscape(name)...), '='), url.QueryEscape(value)...)
	}
	add("app", c.App)
	add("flashver", c.Agent)
	add("swfurl", c.SWFURL)
	add("tcurl", c.tcURL())
	add("pageurl", c.pageURL())
	add("addr", c.address())
	add("clientid", c.clientID())
	add("call", nginxCalls[c.Action])
	switch c.Action {
	case ActionRecorded:
		add("recorder", "")
	case ActionUpdatePublish, ActionUpdatePlay:
		add("time", strconv.FormatInt(int64(c.Since.Seconds()), 10))
		add("timestamp", strconv.FormatInt(c.Since.Milliseconds(), 10))
	}
	add("name", c.Name)
	switch c.Action {
	case ActionPublish:
		publishing := c.Publishing
		if publishing == "" {
			publishing = "live"
		}
		add("type", publishing)
	case ActionPlay: // as of a player that asked for none of it
		add("start", "0")
		add("duration", "0")
		add("reset", "0")
	case ActionRecorded:
		add("path", path.Join(c.Folder, c.Path))
	}
	names := make([]string, 0, len(c.Query))
	for name := range c.Query {
		if !isReserved(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range c.Query[name] {
			add(name, value)
		}
	}
	return dst, true
}

// isReserved reports whether a server may take a parameter for one of nginx-rtmp's own. Some
// read names in any case; PHP and others read "name[]" and " name" as "name", and end at a NUL.
func isReserved(name string) bool {
	name = strings.TrimLeft(name, " \t\r\n\v\f")
	if end := strings.IndexAny(name, "[\x00"); end >= 0 {
		name = name[:end]
	}
	name = strings.TrimRight(name, " \t\r\n\v\f")
	return slices.ContainsFunc(nginxReserved, func(r string) bool { return strings.EqualFold(r, name) })
}
