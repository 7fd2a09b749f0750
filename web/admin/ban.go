package admin

import (
	"cmp"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/hub"
	"sluice/hub/pattern"
	"sluice/web"
)

// Ban says who may not. What is empty fits everybody; not everything is.
type Ban struct {
	ID string // given by Add
	// Address is of one client: an IPv6 client has all of its /64 (hub.ClientAddress).
	Address netip.Addr
	Network netip.Prefix
	Stream  string // a pattern, see package hub/pattern
	Subject string
	Role    string // "publish", "watch" or empty
	Reason  string
	Since   time.Time // given by Add
	Until   time.Time // zero for good
}

// Bans is a list of bans.
type Bans interface {
	// Add adds bans, the first ones first, as far as there is room, and returns these with
	// what is given by the list. The error is ErrFull if there was not room for all,
	// ErrUnsaved, both, or why there is none.
	Add(...Ban) ([]Ban, error)
	// Remove ends a ban. It reports whether there was one; the error is ErrUnsaved.
	Remove(id string) (bool, error)
	// All returns those that have not ended. The caller owns the list.
	All() []Ban
}

// Errors of Bans; test with errors.Is.
var (
	// ErrFull is for a list that has no room for another ban.
	ErrFull = errors.New("there are too many bans already")
	// ErrUnsaved is for a change that counts, and will be lost at a restart.
	ErrUnsaved = errors.New("the list of bans cannot be written")
)

// BanList is the answer to GET /api/v1/bans, the oldest first; the queries are those of
// Sessions, but for state and protocol: stream, subject, role, and address or network for
// those that overlap.
type BanList struct {
	Bans  []BanInfo `json:"bans"` // never null
	Next  string    `json:"next,omitempty"`
	Total int       `json:"total"`
}

// BanInfo is a ban. What it does not say is left out.
type BanInfo struct {
	ID      string    `json:"id"`
	Address string    `json:"address,omitempty"`
	Network string    `json:"network,omitempty"`
	Stream  string    `json:"stream,omitempty"` // a pattern
	Subject string    `json:"subject,omitempty"`
	Role    string    `json:"role,omitempty"`
	Reason  string    `json:"reason"`
	Since   web.Time  `json:"since"`
	Until   *web.Time `json:"until"` // null for good
}

func banInfo(b Ban) BanInfo {
	said := BanInfo{
		ID: b.ID, Stream: b.Stream, Subject: text(b.Subject), Role: b.Role, Reason: text(b.Reason), Since: web.Time(b.Since),
	}
	if b.Address.IsValid() {
		said.Address = b.Address.String()
	}
	if b.Network.IsValid() {
		said.Network = b.Network.String()
	}
	if !b.Until.IsZero() {
		said.Until = new(web.Time(b.Until))
	}
	return said
}

var errNoBans = refuse(http.StatusNotFound, "not found", "there is no list of bans here")

// bans answers GET /api/v1/bans.
func (a *api) bans(r *http.Request) (reply, error) {
	s, err := parseSelection(r.URL.RawQuery, "stream", "role", "address", "network", "subject")
	if err != nil {
		return reply{}, err
	}
	if a.Bans == nil {
		return reply{}, errNoBans
	}
	place, err := parseBanPlace(s.cursor)
	if err != nil {
		return reply{}, err
	}
	all := a.Bans.All()
	slices.SortFunc(all, byAge)
	said := BanList{Bans: []BanInfo{}}
	var last Ban
	for _, b := range all {
		if !s.wantsBan(b) {
			continue
		}
		said.Total++
		switch {
		case s.cursor != "" && byAge(b, place) <= 0:
		case len(said.Bans) < s.limit:
			said.Bans, last = append(said.Bans, banInfo(b)), b
		case said.Next == "":
			said.Next = encodeCursor(strconv.FormatInt(last.Since.UnixNano(), 36) + " " + last.ID)
		}
	}
	return reply{body: said}, nil
}

func byAge(a, b Ban) int {
	return cmp.Or(cmp.Compare(a.Since.UnixNano(), b.Since.UnixNano()), cmp.Compare(a.ID, b.ID))
}

// parseBanPlace reads a cursor, as a ban that stands there.
func parseBanPlace(cursor string) (Ban, error) {
	if cursor == "" {
		return Ban{}, nil
	}
	place, err := decodeCursor(cursor)
	if err != nil {
		return Ban{}, err
	}
	since, id, found := strings.Cut(place, " ")
	nanos, err := strconv.ParseInt(since, 36, 64)
	if err != nil || !found {
		return Ban{}, errCursor
	}
	return Ban{ID: id, Since: time.Unix(0, nanos)}, nil
}

// wantsBan reports whether a ban is asked for. One that is for a pattern of streams is found
// by a stream that fits, and by the pattern itself.
func (s *selection) wantsBan(b Ban) bool {
	if stream := s.values.Get("stream"); stream != "" && stream != b.Stream && !s.stream(b.Stream) && !fitsStream(b.Stream, stream) {
		return false
	}
	if subject := s.values.Get("subject"); subject != "" && subject != b.Subject {
		return false
	}
	if s.where.IsValid() {
		if where := b.where(); !where.IsValid() || !where.Overlaps(s.where) {
			return false
		}
	}
	return s.role == "" || b.Role == "" || s.role == b.Role
}

// fitsStream reports whether the pattern of a ban fits a stream.
func fitsStream(of, stream string) bool {
	if of == "" {
		return true
	}
	p, err := pattern.Parse(of)
	return err == nil && p.Matches(stream)
}

// literal returns the pattern for one stream.
func literal(key hub.Key) string { return pattern.Literal(key.String()).String() }

// where returns the network of a ban, or that of its client; none for everywhere.
func (b Ban) where() netip.Prefix {
	if !b.Address.IsValid() {
		return b.Network
	}
	client := hub.ClientAddress(b.Address)
	if client.Is4() {
		return netip.PrefixFrom(client, 32)
	}
	return netip.PrefixFrom(client, 64)
}

// matches reports whether a ban is of a session.
func (b Ban) matches(s *hub.Session) bool {
	where := b.where()
	return (!where.IsValid() || where.Contains(s.Client().Address.Addr().WithZone(""))) &&
		(b.Subject == "" || b.Subject == s.Subject()) &&
		(b.Role == "" || b.Role == s.Role().String()) &&
		fitsStream(b.Stream, s.Key().String())
}

// banRequest is the body of POST /api/v1/bans: at least one of the first four, at most one of
// address and network, and at most one of for and until. One without either is for good.
type banRequest struct {
	Address string     `json:"address"`
	Network string     `json:"network"`
	Stream  string     `json:"stream"` // APP/NAME, or a pattern
	Subject string     `json:"subject"`
	Role    string     `json:"role"`
	Reason  string     `json:"reason"`
	For     string     `json:"for"`
	Until   *time.Time `json:"until"`
	End     *bool      `json:"end"` // whether to end the sessions that it is about; true if left out
}

// Banned is the answer to POST /api/v1/bans.
type Banned struct {
	Ban   BanInfo `json:"ban"`
	Ended int     `json:"ended"` // sessions
	Saved
	Unreached
}

// Saved is what answers say of changes that are kept: to the list of bans, and to relays.
type Saved struct {
	// Unsaved is for a change that counts, but will be lost at a restart: it cannot be
	// written.
	Unsaved bool `json:"unsaved,omitempty"`
}

// saved makes of the error of a change whether it is saved, and of any other error that. A
// change that is not saved is told to the log.
func (a *api) saved(err error) (Saved, error) {
	if !errors.Is(err, ErrUnsaved) {
		return Saved{}, err
	}
	a.Logger.Warn("bans will be lost at a restart", "error", err)
	return Saved{Unsaved: true}, nil
}

// addBan answers POST /api/v1/bans.
func (a *api) addBan(r *http.Request) (reply, error) {
	var asked banRequest
	if err := parseBody(r, &asked); err != nil {
		return reply{}, err
	}
	ban, err := asked.parse(time.Now())
	if err != nil {
		return reply{}, err
	}
	if a.Bans == nil {
		return reply{}, errNoBans
	}
	added, err := a.Bans.Add(ban)
	if errors.Is(err, ErrFull) {
		return reply{}, refuse(http.StatusConflict, "conflict", ErrFull.Error())
	}
	saved, err := a.saved(err)
	if err != nil {
		return reply{}, err
	}
	ban = added[0]
	said := Banned{Ban: banInfo(ban), Saved: saved}
	if asked.End == nil || *asked.End {
		said.Ended = a.Hub.Dismiss(ban.matches, &hub.Refusal{Reason: hub.ReasonKicked, Detail: ban.Reason})
		others, unreached := askAll[Ended](a, r, command{
			Method: http.MethodPost, Path: endBannedPath, Body: marshal(ban), Kind: "application/json",
		})
		for _, o := range others {
			said.Ended += o.Ended
		}
		said.Unreached = unreached
	}
	until := "for good"
	if !ban.Until.IsZero() {
		until = ban.Until.Format(time.RFC3339)
	}
	a.log(r, "ban", "ban", ban.ID, "of", said.Ban.Address+said.Ban.Network, "stream", ban.Stream, "subject", said.Ban.Subject,
		"role", ban.Role, "reason", ban.Reason, "until", until, "ended", said.Ended)
	return reply{status: http.StatusCreated, body: said}, nil
}

// parse makes a ban of what is asked for.
func (b *banRequest) parse(now time.Time) (Ban, error) {
	ban := Ban{Stream: b.Stream, Subject: b.Subject, Role: b.Role, Reason: b.Reason}
	switch {
	case b.Address+b.Network+b.Stream+b.Subject == "":
		return ban, badRequest("a ban has an address, network, stream or subject")
	case b.Address != "" && b.Network != "":
		return ban, badRequest("a ban has an address or a network; make two")
	case len(b.Subject) > maxText:
		return ban, badRequest("no subject is as long as that")
	case !isRole(b.Role):
		return ban, errRole
	}
	if b.Stream != "" {
		if len(b.Stream) > 3*hub.MaxKeyLength {
			return ban, badRequest("no stream has a name as long as that")
		}
		if _, err := parsePattern(b.Stream); err != nil {
			return ban, err
		}
	}
	if err := b.parsePlace(&ban); err != nil {
		return ban, err
	}
	if err := checkReason(b.Reason); err != nil {
		return ban, err
	}
	return ban, b.parseEnd(&ban, now)
}

func (b *banRequest) parsePlace(ban *Ban) error {
	if b.Address+b.Network == "" {
		return nil
	}
	where, err := parseNetwork(b.Address + b.Network)
	if err != nil {
		return err
	}
	switch {
	case where.IsSingleIP():
		ban.Address = where.Addr()
	case b.Address != "":
		return badRequest("address is one address; there is network for more")
	default:
		ban.Network = where
	}
	return nil
}

func (b *banRequest) parseEnd(ban *Ban, now time.Time) error {
	switch {
	case b.For != "" && b.Until != nil:
		return badRequest("a ban ends after a time (for) or at one (until)")
	case b.For != "":
		d, err := parseDuration("for", b.For)
		if err != nil {
			return err
		}
		if d == 0 {
			return badRequest("for is more than nothing")
		}
		ban.Until = now.Add(d)
	case b.Until != nil:
		if d := b.Until.Sub(now); d <= 0 || d > maxBan {
			return badRequest("until is in the future, and within ten years")
		}
		ban.Until = *b.Until
	}
	return nil
}

// removeBan answers DELETE /api/v1/bans/ID, with what there is to say of it, which is mostly
// nothing.
func (a *api) removeBan(r *http.Request) (reply, error) {
	if a.Bans == nil {
		return reply{}, errNoBans
	}
	id := lastSegment(r)
	found, err := a.Bans.Remove(id)
	saved, err := a.saved(err)
	switch {
	case err != nil:
		return reply{}, err
	case !found:
		return reply{}, refuse(http.StatusNotFound, "not found", "there is no such ban, or no longer")
	}
	a.log(r, "unban", "ban", text(id))
	if saved.Unsaved {
		return reply{body: saved}, nil
	}
	return reply{status: http.StatusNoContent}, nil
}
