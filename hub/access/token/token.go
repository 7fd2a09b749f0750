// Package token is permission by JSON Web Tokens (RFC 7519): what a client may publish and
// watch stands in a token that somebody signed whose key is known, here or at the server that
// has issued it.
//
// A token comes as ?token= behind the address, or as Authorization: Bearer; the former counts
// where there are both. Its claims:
//
//	exp             when it ends; it must be there
//	nbf, iss, aud   are heeded; issuer and audience must be there where they are configured
//	sub             who this is, for take-over, limits, lists, bans and events; shown as
//	                "jwt:SUB" where it might be taken for the subject of another method
//	publish, watch  a pattern of streams, or an array of them, in the grammar of package pattern
//
// The signature is verified before a claim is looked at.
package token

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"

	"sluice/hub"
	"sluice/hub/access"
	"sluice/hub/pattern"
)

// Bounds on tokens.
const (
	// MaxToken is how long a token may be, in bytes. A longer one is refused unread.
	MaxToken = 8 << 10
	// maxHeader is where the hub cuts what a client shows in Authorization, in bytes.
	maxHeader = 4 << 10
	// maxTried is how many keys are tried for a token that names none.
	maxTried = 8
	// maxSubject bounds what is shown of sub, in bytes.
	maxSubject = 128
	// maxExpires bounds exp: the year 9999.
	maxExpires = 253402300799
)

// Config is how tokens are judged.
type Config struct {
	// Keys returns the keys of the configuration. It may be called from any goroutine at any
	// time, so that keys can change. Nil has none.
	Keys func() []Key
	// Remote has the keys of the server that issues tokens; nil for none.
	Remote *Remote
	// Algorithms are those that are allowed, of Algorithms. Empty means all that a key is for.
	Algorithms []string
	// Issuer is what iss must be, and Audience what aud must have; empty for anything.
	Issuer, Audience string
	// Leeway is for how long a token holds before nbf and after exp, since clocks differ.
	Leeway time.Duration
	// Mark makes what lists and events show of a token without sub.
	Mark access.Mark
}

// Method grants by tokens.
type Method struct {
	cfg    Config
	parser *jwt.Parser // may be used from any goroutine
}

var _ access.Method = (*Method)(nil)

// New returns the method. It is an error to allow an algorithm that is not one of Algorithms.
func New(cfg Config) (*Method, error) {
	allowed := cfg.Algorithms
	if len(allowed) == 0 {
		allowed = Algorithms
	}
	for _, a := range allowed {
		if !slices.Contains(Algorithms, a) {
			return nil, fmt.Errorf("%q is not an algorithm of tokens; those are %s", a, strings.Join(Algorithms, ", "))
		}
	}
	if cfg.Keys == nil {
		cfg.Keys = func() []Key { return nil }
	}
	options := []jwt.ParserOption{
		jwt.WithValidMethods(allowed), jwt.WithExpirationRequired(), jwt.WithLeeway(cfg.Leeway), jwt.WithStrictDecoding(),
	}
	if cfg.Issuer != "" {
		options = append(options, jwt.WithIssuer(cfg.Issuer))
	}
	if cfg.Audience != "" {
		options = append(options, jwt.WithAudience(cfg.Audience))
	}
	return &Method{cfg: cfg, parser: jwt.NewParser(options...)}, nil
}

// What can be wrong with a token.
var (
	errMissing   = fmt.Errorf("%w: no token is shown", access.ErrMissing)
	errTwice     = fmt.Errorf("%w: there are two tokens", access.ErrWrong)
	errLong      = fmt.Errorf("%w: the token is longer than %d bytes, or than %d in a header", access.ErrWrong, MaxToken, maxHeader-1)
	errForm      = fmt.Errorf("%w: it is not a token of a form that is understood here", access.ErrWrong)
	errKey       = fmt.Errorf("%w: the key of the token is not known here", access.ErrWrong)
	errSignature = fmt.Errorf("%w: the signature of the token is not right", access.ErrWrong)
	errClaims    = fmt.Errorf("%w: the token has no exp, or is for somebody or something else", access.ErrWrong)
	errExpired   = fmt.Errorf("%w: the token has expired", access.ErrExpired)
	errNotYet    = errors.New("the token is not valid yet")
	errNoKeys    = errors.New("the keys of tokens are not known at the moment")
)

// Decide grants what the client's token is for. The server of keys may be asked meanwhile.
func (m *Method) Decide(ctx context.Context, s *hub.Session) (hub.Grant, error) {
	c := s.Client()
	text, err := shown(&c)
	if err != nil {
		return hub.Grant{}, err
	}
	claims := jwt.MapClaims{}
	var keyErr error
	_, err = m.parser.ParseWithClaims(text, claims, func(t *jwt.Token) (any, error) {
		var keys []jwt.VerificationKey
		keys, keyErr = m.keys(ctx, t)
		return jwt.VerificationKeySet{Keys: keys}, keyErr
	})
	switch {
	case keyErr != nil:
		return hub.Grant{}, keyErr
	case err != nil:
		return hub.Grant{}, reason(err)
	}
	return m.grant(s, claims, text)
}

// shown returns the token that a client shows.
func shown(c *hub.Client) (string, error) {
	values := c.Query["token"]
	scheme, bearer, _ := strings.Cut(c.Authorization, " ")
	switch {
	case len(values) > 1:
		return "", errTwice
	case len(values) == 1 && len(values[0]) > MaxToken:
		return "", errLong
	case len(values) == 1 && values[0] != "":
		return values[0], nil
	case !strings.EqualFold(scheme, "Bearer"):
		return "", errMissing
	case len(c.Authorization) >= maxHeader: // it has been cut
		return "", errLong
	}
	if bearer = strings.TrimLeft(bearer, " "); bearer == "" {
		return "", errMissing
	}
	return bearer, nil
}

// keys returns the keys that may have signed a token.
func (m *Method) keys(ctx context.Context, t *jwt.Token) ([]jwt.VerificationKey, error) {
	// Extensions that must be understood (RFC 7515 §4.1.11): none is.
	if _, critical := t.Header["crit"]; critical {
		return nil, errForm
	}
	id, named := "", false
	if value, there := t.Header["kid"]; there {
		if id, named = value.(string); !named || len(id) > maxID {
			return nil, errForm
		}
	}
	named = id != ""
	all := m.cfg.Keys()
	if m.cfg.Remote != nil {
		known := func(keys []Key) bool {
			return named && slices.ContainsFunc(keys, func(k Key) bool { return k.id == id })
		}
		remote, loaded := m.cfg.Remote.Keys()
		if !known(all) && (!loaded || named && !known(remote)) {
			remote, loaded = m.cfg.Remote.Refresh(ctx)
		}
		if !loaded && len(all) == 0 {
			return nil, errNoKeys
		}
		all = slices.Concat(all, remote)
	}
	fitting := fit(all, id, t.Method.Alg())
	if len(fitting) == 0 {
		return nil, errKey
	}
	return fitting, nil
}

// fit returns the keys with an id that are for an algorithm. Where there is none with that id,
// those without one are meant, and for a token without an id all.
func fit(keys []Key, id, algorithm string) (fitting []jwt.VerificationKey) {
	exact := id != "" && slices.ContainsFunc(keys, func(k Key) bool { return k.id == id })
	for _, k := range keys {
		meant := id == "" || k.id == ""
		if exact {
			meant = k.id == id
		}
		if meant && slices.Contains(k.algorithms, algorithm) && len(fitting) < maxTried {
			fitting = append(fitting, k.material)
		}
	}
	return fitting
}

// reason says why a token was refused. Only of one whose signature is right something of its
// claims is told.
func reason(err error) error {
	is := func(all ...error) bool {
		return slices.ContainsFunc(all, func(e error) bool { return errors.Is(err, e) })
	}
	switch {
	case is(jwt.ErrTokenSignatureInvalid):
		return errSignature
	case !is(jwt.ErrTokenInvalidClaims):
		return errForm
	case is(jwt.ErrTokenInvalidIssuer, jwt.ErrTokenInvalidAudience, jwt.ErrTokenRequiredClaimMissing, jwt.ErrInvalidType):
		return errClaims
	case is(jwt.ErrTokenExpired):
		return errExpired
	case is(jwt.ErrTokenNotValidYet):
		return errNotYet
	}
	return errClaims
}

// grant returns what a token that is valid is for.
func (m *Method) grant(s *hub.Session, claims jwt.MapClaims, text string) (hub.Grant, error) {
	role := s.Role().String()
	list, err := patterns(claims[role])
	if err != nil {
		return hub.Grant{}, fmt.Errorf("the token's claim %q is not a pattern of streams, nor an array of them", role)
	}
	if key := s.Key(); key == (hub.Key{}) || !list.Matches(key.String()) {
		return hub.Grant{}, fmt.Errorf("the token does not allow to %s this stream", role)
	}
	expires, err := claims.GetExpirationTime()
	if err != nil || expires == nil || expires.Unix() > maxExpires || expires.Unix() < 0 {
		return hub.Grant{}, errClaims
	}
	g := hub.Grant{Until: expires.Add(m.cfg.Leeway)}
	issuer, _ := claims["iss"].(string)
	if subject, _ := claims["sub"].(string); subject != "" {
		g.Identity = prefix + strconv.Quote(issuer) + subject
		g.Subject = access.NamedSubject(prefix, printable(subject))
		return g, nil
	}
	// The signature is left out of it: some algorithms have several for the same token.
	signed := []byte(text[:strings.LastIndexByte(text, '.')])
	sum := sha256.Sum256(signed)
	g.Identity, g.Subject = prefix+hex.EncodeToString(sum[:]), prefix+m.cfg.Mark.Of(signed)
	return g, nil
}

// prefix begins identities of this method, and subjects that need one.
const prefix = "jwt:"

// patterns reads a claim.
func patterns(claim any) (pattern.List, error) {
	var text strings.Builder
	switch claim := claim.(type) {
	case nil:
	case string:
		text.WriteString(claim)
	case []any:
		for _, element := range claim {
			one, ok := element.(string)
			if !ok {
				return nil, pattern.ErrSyntax
			}
			text.WriteString(one + "\n")
		}
	default:
		return nil, pattern.ErrSyntax
	}
	var list pattern.List
	err := list.UnmarshalText([]byte(text.String()))
	return list, err
}

// printable returns the beginning of a subject as it may be shown.
func printable(subject string) string {
	subject = strings.ToValidUTF8(subject, "\uFFFD")
	if len(subject) <= maxSubject {
		return subject
	}
	end := maxSubject
	for !utf8.RuneStart(subject[end]) {
		end--
	}
	return subject[:end] + "…"
}
