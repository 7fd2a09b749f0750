package admin

import (
	"cmp"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"time"
	"unicode/utf8"

	"sluice/hub"
	"sluice/hub/cluster"
)

const (
	// defaultKickBan is for how long who is ended may not come back where nothing is said:
	// OBS would be back at once.
	defaultKickBan = time.Minute
	// maxKickBans bounds the bans that one kick may make: there is room for 10,000 in all.
	maxKickBans = 1000
)

// endRequest says how sessions are ended.
type endRequest struct {
	Reason string  `json:"reason"` // the clients are told; may be empty
	Ban    *string `json:"ban"`    // for how long they may not come back; "0" for not at all, 60 s if left out

	ban time.Duration
}

func (e *endRequest) check() (err error) {
	if err := checkReason(e.Reason); err != nil {
		return err
	}
	e.ban = defaultKickBan
	if e.Ban != nil {
		e.ban, err = parseDuration("ban", *e.Ban)
	}
	return err
}

// Ended is the answer to requests that end sessions.
type Ended struct {
	Ended int `json:"ended"` // sessions
	Bans  int `json:"bans"`  // made
	// Unbanned is how many of them may come back, though a ban was asked for: parts of the
	// server, and those for whom the list of bans had no room.
	Unbanned int `json:"unbanned,omitempty"`
	Saved
	Unreached
}

// end ends sessions. Each is banned before it is ended, so that it is refused if it comes
// back at once: nearly all of them at a time, and by themselves those that come meanwhile. The
// error is a *refusal of that which takes too many bans; then nobody is ended.
func (a *api) end(how endRequest, who func(*hub.Session) bool) (Ended, error) {
	if how.ban == 0 || a.Bans == nil {
		return Ended{Ended: a.Hub.Dismiss(who, how.refusal())}, nil
	}
	bans := a.kickBans(who)
	if len(bans) > maxKickBans {
		return Ended{}, refuse(http.StatusConflict, "conflict", fmt.Sprintf(
			`that takes %d bans, and %d are the most at a time: send "ban": "0", or ban the stream for all who watch`, len(bans), maxKickBans))
	}
	var said Ended
	made := map[Ban]bool{} // and whether that has worked
	a.banKicked(bans, how, made, &said)
	said.Ended = a.Hub.Dismiss(func(s *hub.Session) bool {
		if !who(s) {
			return false
		}
		ban, possible := kickBan(s)
		if _, known := made[ban]; possible && !known {
			a.banKicked([]Ban{ban}, how, made, &said)
		}
		if !made[ban] {
			said.Unbanned++
		}
		return true
	}, how.refusal())
	return said, nil
}

// refusal returns what those who are ended are told.
func (e *endRequest) refusal() *hub.Refusal {
	return &hub.Refusal{Reason: hub.ReasonKicked, Detail: e.Reason}
}

// kickBans returns the bans of sessions, each once.
func (a *api) kickBans(who func(*hub.Session) bool) (bans []Ban) {
	known := map[Ban]bool{}
	for _, info := range a.Hub.Sessions() {
		if !who(info.Session) {
			continue
		}
		if ban, possible := kickBan(info.Session); possible && !known[ban] {
			known[ban] = true
			bans = append(bans, ban)
		}
	}
	return bans
}

// kickElsewhere does the same at all other nodes.
func (a *api) kickElsewhere(r *http.Request, k *kickRequest, ended *Ended) {
	others, unreached := askAll[Ended](a, r, command{
		Method: http.MethodPost, Path: "/api/v1/streams/kick", Body: marshal(k), Kind: "application/json",
	})
	for _, o := range others {
		ended.Ended += o.Ended
		ended.Bans += o.Bans
		ended.Unbanned += o.Unbanned
		ended.Unsaved = ended.Unsaved || o.Unsaved
	}
	ended.Unreached = unreached
}

// kickBan returns the ban of who is ended: of its subject, or its address if it showed none,
// in its role and on its stream. It is not possible for a part of the server. Whose stream is
// not shown, since nobody has granted it yet, is banned from all. A subject that no ban can
// have is none.
func kickBan(s *hub.Session) (ban Ban, possible bool) {
	if s.Protocol() == cluster.Protocol { // its address is another node's
		return ban, false
	}
	ban.Role = s.Role().String()
	if key := s.Key(); key != (hub.Key{}) && s.Shown() == key.String() {
		ban.Stream = literal(key)
	}
	ban.Subject = s.Subject()
	if ban.Subject == "" || len(ban.Subject) > maxText || !utf8.ValidString(ban.Subject) {
		ban.Subject, ban.Address = "", hub.ClientAddress(s.Client().Address.Addr())
	}
	return ban, ban.Subject != "" || ban.Address != netip.Addr{}
}

// banKicked adds bans, and notes which it could and what is to be said of that.
func (a *api) banKicked(bans []Ban, how endRequest, made map[Ban]bool, said *Ended) {
	if len(bans) == 0 {
		return
	}
	wanted := slices.Clone(bans)
	for i := range wanted {
		wanted[i].Reason, wanted[i].Until = how.Reason, time.Now().Add(how.ban)
	}
	added, err := a.Bans.Add(wanted...)
	saved, err := a.saved(err)
	if len(added) < len(bans) {
		a.Logger.Warn("who was kicked is not banned", "bans", len(bans)-len(added), "error", cmp.Or(err, ErrFull))
	}
	for i, ban := range bans {
		made[ban] = i < len(added)
	}
	said.Bans += len(added)
	said.Unsaved = said.Unsaved || saved.Unsaved
}

// kickRequest is the body of POST /api/v1/streams/kick.
type kickRequest struct {
	Stream string `json:"stream"`
	Who    string `json:"who"` // "publisher", "viewers" or "all", which is the default
	endRequest
}

// kick answers POST /api/v1/streams/kick.
func (a *api) kick(r *http.Request) (reply, error) {
	var k kickRequest
	if err := parseBody(r, &k); err != nil {
		return reply{}, err
	}
	key, err := parseKey(k.Stream)
	if err != nil {
		return reply{}, err
	}
	if err := k.check(); err != nil {
		return reply{}, err
	}
	k.Who = cmp.Or(k.Who, "all")
	roles := map[string][]hub.Role{
		"publisher": {hub.RolePublish}, "viewers": {hub.RoleWatch}, "all": {hub.RolePublish, hub.RoleWatch},
	}[k.Who]
	if roles == nil {
		return reply{}, badRequest("who is publisher, viewers or all")
	}
	stream := key.String()
	who := func(s *hub.Session) bool { // what copies the stream from another node ends without its viewers
		return slices.Contains(roles, s.Role()) && s.Shown() == stream && s.Protocol() != cluster.Protocol
	}
	ended, err := a.end(k.endRequest, who)
	if err != nil {
		return reply{}, err
	}
	a.kickElsewhere(r, &k, &ended)
	a.log(r, "kick", "stream", stream, "who", k.Who, "reason", k.Reason, "ban", k.ban, "ended", ended.Ended, "bans", ended.Bans)
	return reply{body: ended}, nil
}
