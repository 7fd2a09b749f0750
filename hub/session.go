package hub

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
	"unique"
)

// Role is what a session does with its stream.
type Role uint8

// The roles.
const (
	RolePublish Role = iota
	RoleWatch
	roles // how many there are
)

// String returns the role as logs and figures call it.
func (r Role) String() string { return [roles]string{"publish", "watch"}[r] }

// Client is what a client shows of itself, in whichever protocol it does that. Nothing of
// it is proved, and everything below Agent may hold a secret: a Client prints itself
// without these, and code that prints its fields must leave them out.
type Client struct {
	Protocol string         // "rtmp", "http-flv", "ws-flv": one of a few, shown in figures
	Address  netip.AddrPort // its end of the connection; the zero AddrPort for a part of this process
	Secure   bool           // its connection is encrypted
	Agent    string         // flashVer of RTMP, User-Agent of HTTP: its own words, to be quoted
	// Recording is which recording of the stream a viewer asks for, by its id; empty for the
	// stream itself, and AnyRecording for a look at the list of them.
	Recording string
	// Inquiry says that the session only asks whether its client may, and never begins: for the
	// head of a stream or a recording, a look at a list, or the way to the latest recording.
	Inquiry bool
	// Still says that a viewer asks for a still of the stream (Hub.Still). It is not told when it
	// is refused, as with AnyRecording: there is one of each stream in a list. It is an Inquiry.
	Still bool
	// Publishing is how a publisher wants to be recorded, RTMP's "record" or "append"; empty
	// or "live" for as the server has it.
	Publishing string

	// Path are the ids of the servers by way of which it comes, the nearest last: those that it
	// relays to if it watches, from which it has the stream if it publishes. Empty for who relays nothing.
	Path []string

	Name          string     // of the stream, as it was written; printed up to a "?" where no Key could be made of it
	Query         url.Values // of all parts of the address. Never changed
	TCURL         string     // tcUrl of RTMP's connect
	PageURL       string     // pageUrl of RTMP's connect
	SWFURL        string     // swfUrl of RTMP's connect
	Host          string     // under which it knows this server, with a port if it wrote one
	Origin        string     // of HTTP, as is Referer
	Referer       string
	Authorization string
}

// AnyRecording is Client.Recording of a session that only asks whether its client may see
// the recordings of a stream in a list. It is not told when it is refused: there are many
// in one list.
const AnyRecording = "*"

// Remote returns the client's address, "" for a part of this process.
func (c Client) Remote() string {
	if !c.Address.IsValid() {
		return ""
	}
	return c.Address.String()
}

// LogValue returns what may be printed.
func (c Client) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("protocol", c.Protocol), slog.String("remote", c.Remote()), slog.String("agent", c.Agent))
}

// String returns what may be printed, and GoString the same.
func (c Client) String() string { return c.Protocol + " " + c.Remote() }

// GoString keeps %#v from printing secrets.
func (c Client) GoString() string { return c.String() }

// maxShown bounds each text that a session keeps of what its client shows, in bytes.
const maxShown = 4 << 10

// Session is one publisher or viewer of a stream, whatever its protocol, from the moment
// at which it asks to be one. Logs, figures and everybody who is told of it know it by
// its id. Its methods may be called from any goroutine.
//
//	NewSession ─▶ Ask ─granted─▶ Hub.Publish, Hub.Watch and Wait, Begin ─▶ begun ─▶ ended
//	   │           │                           │
//	   └───────────┴──────────refused──────────┴─▶ over
//
// It is told that a session was refused, or that it began and then ended, each exactly
// once (Config.Observe).
type Session struct {
	hub    *Hub
	id     uint64
	role   Role
	summed bool // it has ended, and is in the sums; guarded by ledger.mu
	yields bool // PublishOptions.Yields; set before anybody knows the session as a publisher
	copies bool // PublishOptions.Copies; likewise

	// There may be many thousands of sessions, most of which show the same.
	address netip.AddrPort
	query   url.Values
	appear  unique.Handle[appearance]
	key     Key                   // what the client asked for
	grant   atomic.Pointer[Grant] // the policy's; nil before, and where there is none
	stage   atomic.Uint32
	// begun is when it began, and before that when it was made, on the hub's clock; guarded by
	// its stream's lock, or by the hub's where it plays a recording.
	begun time.Duration
	// link is what serves a viewer, nil before that: its driver's, as cursor.next is. It stands here
	// since nobody who serves viewers looks at it.
	link Link
	// dismissed is why it has to end, nil as long as it need not: of a viewer, and of whoever was
	// dismissed while asking.
	dismissed atomic.Pointer[Refusal]
	expiry    atomic.Pointer[time.Timer] // nil without Config.ExpireSessions, and where its grant has no end
}

// appearance is what many clients have in common.
type appearance struct {
	protocol, agent, name, tcURL, pageURL, swfURL, host, origin, referer, authorization string
	recording, publishing, path                                                         string
	secure, inquiry, still                                                              bool
}

// Stages of a session, of which it goes through each once at the most.
const (
	stageNew uint32 = iota
	stageBegun
	stageOver // refused or ended
)

// lastSession is the id that was given last in this process.
var lastSession atomic.Uint64

// NewSession makes the session of a client that wants to publish or to watch a stream.
// The zero Key is for one whose name makes none: it can only be refused. Texts of more
// than 4 KiB are cut.
func (h *Hub) NewSession(role Role, key Key, c Client) *Session {
	cut := func(s string) string { return s[:min(len(s), maxShown)] }
	query := c.Query
	if len(query) == 0 {
		query = nil
	}
	return &Session{
		hub:   h,
		id:    lastSession.Add(1),
		role:  role,
		key:   key,
		begun: time.Since(h.began),
		// One client has one address, whether or not its listener takes IPv6 as well.
		address: netip.AddrPortFrom(c.Address.Addr().Unmap(), c.Address.Port()),
		query:   query,
		appear: unique.Make(appearance{
			protocol: c.Protocol, agent: cut(c.Agent), name: cut(c.Name), tcURL: cut(c.TCURL), pageURL: cut(c.PageURL),
			swfURL: cut(c.SWFURL), host: cut(c.Host), origin: cut(c.Origin), referer: cut(c.Referer),
			authorization: cut(c.Authorization), secure: c.Secure,
			inquiry: c.Inquiry || c.Still, still: c.Still, recording: cut(c.Recording), publishing: cut(c.Publishing),
			path: cut(FormatPath(c.Path)),
		}),
	}
}

// ID returns the session's id, which no other session of this process has.
func (s *Session) ID() uint64 { return s.id }

// Role returns what the session does.
func (s *Session) Role() Role { return s.role }

// Key returns the stream that the session is about. It is that which the client asked for
// until a grant has named another.
func (s *Session) Key() Key {
	if g := s.grant.Load(); g != nil && g.Key != (Key{}) {
		return g.Key
	}
	return s.key
}

// Shown returns the stream that the session is about as it may be printed and shown to others
// than its client: APP/NAME, or what Config.Disguise makes of it. Of a client whose name makes
// no key, it is empty.
func (s *Session) Shown() string {
	g := s.grant.Load()
	key := s.Key()
	switch disguise := s.hub.cfg.Disguise; {
	case key == (Key{}):
		return ""
	case disguise != nil && s.role == RolePublish && (g == nil || g.noPolicy):
		return disguise(key)
	}
	return key.String()
}

// Subject returns the Grant.Subject of the session, empty before it was granted.
func (s *Session) Subject() string {
	if g := s.grant.Load(); g != nil {
		return g.Subject
	}
	return ""
}

// Method returns the Grant.Method of the session, empty before it was granted.
func (s *Session) Method() string {
	if g := s.grant.Load(); g != nil {
		return g.Method
	}
	return ""
}

// Address returns Client.Address.
func (s *Session) Address() netip.AddrPort { return s.address }

// Agent returns Client.Agent.
func (s *Session) Agent() string { return s.appear.Value().agent }

// Plays reports whether the session is about a recording of the stream.
func (s *Session) Plays() bool { return s.appear.Value().recording != "" }

// Protocol returns Client.Protocol.
func (s *Session) Protocol() string { return s.appear.Value().protocol }

// Client returns what the client shows.
func (s *Session) Client() Client {
	a := s.appear.Value()
	return Client{
		Protocol: a.protocol, Address: s.address, Secure: a.secure, Agent: a.agent, Name: a.name, Query: s.query,
		TCURL: a.tcURL, PageURL: a.pageURL, SWFURL: a.swfURL, Host: a.host, Origin: a.origin, Referer: a.referer,
		Authorization: a.authorization, Recording: a.recording, Inquiry: a.inquiry, Still: a.still, Publishing: a.publishing,
		Path: splitPath(a.path),
	}
}

// Path returns Client.Path.
func (s *Session) Path() []string { return splitPath(s.appear.Value().path) }

// LogValue returns what may be printed of the session.
func (s *Session) LogValue() slog.Value { return slog.GroupValue(s.attrs()...) }

// String returns the session's id, and whose it is as far as that may be printed.
func (s *Session) String() string { return fmt.Sprintf("session %d of %v", s.id, s.Client()) }

// GoString keeps %#v from printing secrets.
func (s *Session) GoString() string { return s.String() }

// Bounds on what is printed of a client's words: for itself, and for a stream of which no
// Key could be made, in bytes.
const (
	maxAgentPrinted = 128
	maxNamePrinted  = 256
)

// attrs are what each line of the log says of the session.
func (s *Session) attrs() []slog.Attr {
	c := s.Client()
	stream := slog.String("stream", s.Shown())
	if s.Key() == (Key{}) {
		name, _, _ := strings.Cut(c.Name, "?") // a query that was escaped may hold a secret
		name = name[:min(len(name), maxNamePrinted)]
		if disguise := s.hub.cfg.Disguise; disguise != nil && s.role == RolePublish {
			name = disguise(Key{Name: name})
		}
		stream = slog.String("name", name)
	}
	attrs := []slog.Attr{
		slog.Uint64("session", s.id), slog.String("role", s.role.String()), slog.String("protocol", c.Protocol),
		slog.String("remote", c.Remote()), stream, slog.String("agent", c.Agent[:min(len(c.Agent), maxAgentPrinted)]),
	}
	if subject := s.Subject(); subject != "" {
		attrs = append(attrs, slog.String("subject", subject[:min(len(subject), maxNamePrinted)]))
	}
	if c.Recording != "" {
		id, _, _ := strings.Cut(c.Recording, "?")
		attrs = append(attrs, slog.String("recording", id[:min(len(id), maxNamePrinted)]))
	}
	return attrs
}

// Refuse notes that the session is not to be, because of err: a *Refusal, or what else
// ended it before it began, such as its context. Only the first word about a session
// counts; hub and grants have had theirs when they return an error.
func (s *Session) Refuse(err error) {
	if a := s.appear.Value(); s.stage.CompareAndSwap(stageNew, stageOver) && a.recording != AnyRecording && !a.still {
		why := refusalOf(err)
		s.hub.tell(Event{Kind: EventRefused, Key: s.Key(), Session: s, Reason: why.Reason, Detail: why.Detail})
	}
}

// refused is Refuse on the way out of a function.
func (s *Session) refused(err error) error {
	s.Refuse(err)
	return err
}

// expire has end called when the session's grant ends, where sessions end with their grants.
func (s *Session) expire(end func(*Refusal)) {
	g := s.grant.Load()
	if !s.hub.cfg.ExpireSessions || g == nil || g.Until.IsZero() {
		return
	}
	s.expiry.Store(time.AfterFunc(time.Until(g.Until), func() {
		end(refuse(ReasonExpired, "the permission has ended"))
	}))
	if s.stage.Load() == stageOver { // before there was a timer to stop
		s.stopExpiry()
	}
}

// stopExpiry undoes expire.
func (s *Session) stopExpiry() {
	if t := s.expiry.Load(); t != nil {
		t.Stop()
	}
}

// identity returns what the session has proved of itself: what its grant says, or where
// there is no policy, that it knows the secrets in its address. An address without a query,
// or one that says backup=1 and nothing else, proves nothing.
func (s *Session) identity() string {
	if g := s.grant.Load(); g != nil && !g.noPolicy {
		return g.Identity
	}
	proof := ProofIn(s.query)
	if proof == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(proof))
	return string(sum[:])
}

// ProofIn returns what a publisher's query proves of it where nothing else does, for who knows the
// query: all of it but what says that it is a backup, which anybody may say. It is as secret as
// the query. Empty for nothing.
func ProofIn(query url.Values) string {
	if query.Has(BackupParameter) {
		query = maps.Clone(query)
		query.Del(BackupParameter)
	}
	return query.Encode()
}
