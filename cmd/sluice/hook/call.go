package hook

import (
	"crypto/rand"
	"encoding/hex"
	"net/netip"
	"net/url"
	"time"

	"sluice/hub"
)

// Action is what a call is about.
type Action uint8

// The actions. The first two are also those of questions.
const (
	ActionPublish Action = iota
	ActionPlay
	ActionUnpublish
	ActionStop
	ActionRecorded      // a recording is finished
	ActionUpdatePublish // a publisher still publishes
	ActionUpdatePlay    // a viewer still watches
	actions             // how many there are
)

// Call is what a server is asked, or told in the form of another. In a question it holds
// everything that a client shows: a Call prints itself without.
type Call struct {
	Action  Action
	Server  string // names this server
	Service string // names this run of it
	Session uint64 // 0 where there is none
	App     string
	Name    string

	Protocol string
	Address  netip.Addr // of the client; the zero Addr for a part of this process, or nobody
	Secure   bool
	Agent    string
	// Recording is the id of the recording that a viewer asks for: hub.AnyRecording for a look
	// at the list of them, empty for the stream itself.
	Recording string
	// Publishing is hub.Client.Publishing.
	Publishing string

	// Of a question as the client showed them; of an event without user, password, query and
	// fragment.
	TCURL, PageURL, SWFURL string

	// Of a question only.
	Query                                url.Values // nil in an event
	Host, Origin, Referer, Authorization string

	Since        time.Duration // how long a session has run, in updates
	Folder, Path string        // of a finished recording: the archive, and the file in it, with slashes
}

// String returns what may be printed, and GoString the same.
func (c Call) String() string { return "call about " + c.App + "/" + c.Name }

// GoString keeps %#v from printing secrets.
func (c Call) GoString() string { return c.String() }

// service names this run of the server.
var service = func() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}()

// questionOf returns the question about a session that was not granted yet.
func questionOf(s *hub.Session, server string) Call {
	c, key := s.Client(), s.Key()
	call := Call{
		Action: ActionPlay, Server: server, Service: service, Session: s.ID(), App: key.App, Name: key.Name,
		Protocol: c.Protocol, Address: c.Address.Addr().Unmap().WithZone(""), Secure: c.Secure, Agent: c.Agent,
		Recording: c.Recording, Publishing: c.Publishing,
		TCURL: c.TCURL, PageURL: c.PageURL, SWFURL: c.SWFURL, Query: c.Query,
		Host: c.Host, Origin: c.Origin, Referer: c.Referer, Authorization: c.Authorization,
	}
	if s.Role() == hub.RolePublish {
		call.Action = ActionPublish
	}
	return call
}

// tcURL returns the tcUrl, or for who has none one that says the same.
func (c *Call) tcURL() string {
	if c.TCURL != "" || c.Host == "" {
		return c.TCURL
	}
	scheme := "http"
	if c.Secure {
		scheme = "https"
	}
	return scheme + "://" + c.Host + (&url.URL{Path: "/" + c.App}).EscapedPath()
}

// pageURL returns the page of the player.
func (c *Call) pageURL() string {
	if c.PageURL != "" {
		return c.PageURL
	}
	return c.Referer
}

// address returns the client's address as text, empty for none.
func (c *Call) address() string {
	if !c.Address.IsValid() {
		return ""
	}
	return c.Address.String()
}
