package admin

import (
	"cmp"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"sluice/hub"
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
}

// end ends sessions. Each is banned before it is ended, so that it is refused if it comes
// back at once.
func (a *api) end(how endRequest, who func(*hub.Session) bool) Ended {
	var said Ended
	made := map[Ban]bool{} // and whether that has worked
	refusal := &hub.Refusal{Reason: hub.ReasonKicked, Detail: how.Reason}
	said.Ended = a.Hub.Dismiss(func(s *hub.Session) bool {
		if !who(s) {
			return false
		}
		if how.ban == 0 || a.Bans == nil {
			return true
		}
		ban, possible := kickBan(s)
		banned, known := made[ban]
		if possible && !known {
			banned = a.banKicked(ban, how)
			if made[ban] = banned; banned {
				said.Bans++
			}
		}
		if !banned {
			said.Unbanned++
		}
		return true
	}, refusal)
	return said
}

// kickBan returns the ban of who is ended: of its subject, or its address if it showed none,
// in its role and on its stream. It is not possible for a part of the server. Whose stream is
// not shown, since nobody has granted it yet, is banned from all.
func kickBan(s *hub.Session) (ban Ban, possible bool) {
	ban.Role = s.Role().String()
	if key := s.Key(); key != (hub.Key{}) && s.Shown() == key.String() {
		ban.Stream = literal(key)
	}
	if ban.Subject = s.Subject(); ban.Subject == "" {
		ban.Address = hub.ClientAddress(s.Client().Address.Addr())
	}
	return ban, ban.Subject != "" || ban.Address != netip.Addr{}
}

// banKicked adds a ban, and reports whether that worked.
func (a *api) banKicked(ban Ban, how endRequest) bool {
	ban.Reason, ban.Until = how.Reason, time.Now().Add(how.ban)
	if _, err := a.Bans.Add(ban); err != nil {
		a.Logger.Warn("who was kicked is not banned", "error", err)
		return false
	}
	return true
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
	who := func(s *hub.Session) bool { return slices.Contains(roles, s.Role()) && s.Shown() == stream }
	if err := a.checkBans(k.endRequest, who); err != nil {
		return reply{}, err
	}
	ended := a.end(k.endRequest, who)
	a.log(r, "kick", "stream", stream, "who", k.Who, "reason", k.Reason, "ban", k.ban, "ended", ended.Ended, "bans", ended.Bans)
	return reply{body: ended}, nil
}

// checkBans refuses a kick that would fill the list of bans.
func (a *api) checkBans(how endRequest, who func(*hub.Session) bool) error {
	if how.ban == 0 || a.Bans == nil {
		return nil
	}
	bans := map[Ban]struct{}{}
	for _, info := range a.Hub.Sessions() {
		if who(info.Session) {
			ban, _ := kickBan(info.Session)
			bans[ban] = struct{}{}
		}
	}
	if len(bans) > maxKickBans {
		return refuse(http.StatusConflict, "conflict", fmt.Sprintf(
			`that takes %d bans, and %d are the most at a time: send "ban": "0", or ban the stream for all who watch`, len(bans), maxKickBans))
	}
	return nil
}
