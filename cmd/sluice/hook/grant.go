package hook

import (
	"crypto/sha256"
	"fmt"
	"net/url"
	"strings"

	"sluice/hub"
	"sluice/hub/access"
)

// publisherOf returns what tells one publisher from another: the stream that it asks for, its
// query and its address.
func publisherOf(key hub.Key, c *hub.Client) digest {
	return digestOf(key.String(), c.Query.Encode(), hub.ClientAddress(c.Address.Addr()).String())
}

// digestOf returns the hash of some texts.
func digestOf(texts ...string) digest {
	h := sha256.New()
	for _, text := range texts {
		fmt.Fprintf(h, "%d:%s", len(text), text)
	}
	return digest(h.Sum(nil))
}

// grant returns a yes as the hub takes it. Where the server does not say who a publisher is, the
// same stream and query are the same publisher, as where nobody is asked. Without a query, who
// was given another name has shown one that the server knows.
func (v verdict) grant(s *hub.Session) hub.Grant {
	g := hub.Grant{Until: v.until, Key: v.key}
	if v.subject != "" {
		g.Subject = "url:" + v.subject
	}
	proof := hub.ProofIn(s.Client().Query)
	switch {
	case v.identity != "":
		g.Identity = "url:id:" + v.identity
	case s.Role() == hub.RolePublish && (proof != "" || v.key != hub.Key{}):
		sum := digestOf(s.Key().String(), proof)
		g.Identity = "url:query:" + string(sum[:])
	}
	return g
}

// refusal returns a no as access.Policy takes it. Words that quote what the client shows are
// left out: they would stand in the log.
func (q *Question) refusal(v verdict, s *hub.Session) error {
	words, c := v.reason, s.Client()
	if v.theirs && (quotes(words, &c) || s.Role() == hub.RolePublish && has(words, s.Key().Name)) { // a name may be a key
		words = ""
	}
	shown := shows(c.Query) || c.Authorization != "" || s.Role() == hub.RolePublish && q.cfg.Format.Renames()
	var kind error
	switch {
	case v.expired:
		kind = access.ErrExpired
	case v.counts && shown:
		kind = access.ErrWrong
	case v.counts:
		kind = access.ErrMissing
	}
	switch {
	case words != "":
	case kind != nil && kind != access.ErrWrong:
		words = kind.Error()
	default:
		words = errRefused.Error()
	}
	return &errNo{words, kind}
}

// shows reports whether a query may say who a client is.
func shows(query url.Values) bool {
	for name := range query {
		if !hub.IsWatchOption(name) && name != hub.BackupParameter {
			return true
		}
	}
	return false
}

// minQuoted is how long a value is, in bytes, that is worth looking for: 1 is in every sentence.
const minQuoted = 4

// quotes reports whether words have something in them that the client shows.
func quotes(words string, c *hub.Client) bool {
	for _, values := range c.Query {
		for _, value := range values {
			if has(words, value) {
				return true
			}
		}
	}
	_, token, _ := strings.Cut(c.Authorization, " ")
	return has(words, token)
}

// has reports whether words have a value in them that is worth looking for.
func has(words, value string) bool { return len(value) >= minQuoted && strings.Contains(words, value) }
