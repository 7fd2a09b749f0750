package sign

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"net/url"
	"time"

	"sluice/hub"
	"sluice/hub/access"
)

// Config is how signed addresses are judged.
type Config struct {
	// Secrets yields the secrets of a stream for a role. It may be called from any goroutine
	// at any time, so that secrets can change. Nil has none.
	Secrets func(hub.Role, hub.Key) iter.Seq[[]byte]
	// Formats are the forms that are understood. Empty means Sluice's own.
	Formats Formats
	// Skew is for how long an address holds beyond its time, since clocks differ.
	Skew time.Duration
	// AliyunValidity is added to the time in an address of Aliyun's form, as their servers add
	// the validity that is set for a domain. With 0 that time is the one at which it ends.
	AliyunValidity time.Duration
	// Mark makes what lists and events show of an address.
	Mark access.Mark
}

// Method grants by signed addresses. The same signed stream is the same publisher, whichever
// address it has; viewers with the same address are the same viewer, who passed it on.
type Method struct{ cfg Config }

var _ access.Method = (*Method)(nil)

// New returns the method.
func New(cfg Config) *Method {
	if cfg.Secrets == nil {
		cfg.Secrets = func(hub.Role, hub.Key) iter.Seq[[]byte] { return func(func([]byte) bool) {} }
	}
	if len(cfg.Formats) == 0 {
		cfg.Formats = Formats{Sluice}
	}
	return &Method{cfg}
}

// What can be wrong with an address beside its signature.
var (
	errMissing   = fmt.Errorf("%w: the address is not signed", access.ErrMissing)
	errRepeated  = fmt.Errorf("%w: a parameter of the signature is missing, or stands there twice", access.ErrWrong)
	errExpires   = fmt.Errorf("%w: the time in a signed address is not written as it should be", access.ErrWrong)
	errBind      = fmt.Errorf("%w: bind is 1 or not there, and for clients with an address", access.ErrWrong)
	errShape     = fmt.Errorf("%w: the signature is not written as it should be", access.ErrWrong)
	errSignature = fmt.Errorf("%w: the signature is not one for this stream", access.ErrWrong)
	errExpired   = fmt.Errorf("%w: the signed address has expired", access.ErrExpired)
)

// Decide grants what the client's address was signed for. Where an address has signatures in
// several forms, the first that is right counts.
func (m *Method) Decide(_ context.Context, s *hub.Session) (hub.Grant, error) {
	a := asked{role: s.Role(), key: s.Key(), client: s.Client()}
	if a.key == (hub.Key{}) {
		return hub.Grant{}, errMissing
	}
	err := errMissing
	for _, f := range m.cfg.Formats {
		shown, why := f.read(&a, &m.cfg)
		if why == nil {
			why = m.check(&a, shown)
		}
		switch {
		case why == nil:
			return m.grant(&a, shown), nil
		case errors.Is(err, access.ErrMissing), errors.Is(why, access.ErrExpired):
			err = why
		}
	}
	return hub.Grant{}, err
}

// asked is what a client wants.
type asked struct {
	role   hub.Role
	key    hub.Key
	client hub.Client
}

// shown is a signature that a client shows.
type shown struct {
	until     time.Time // when it ends, without skew
	signature string
	// wanted returns what the signature would be with a secret: one of these.
	wanted func(secret []byte) []string
}

// read reads the signature in one of the forms. The error is access.ErrMissing where there is
// none, and else wraps access.ErrWrong.
func (f Format) read(a *asked, cfg *Config) (shown, error) {
	switch f {
	case Sluice:
		return readSluice(a)
	case Tencent:
		return readTencent(a)
	case Aliyun:
		return readAliyun(a, cfg.AliyunValidity)
	}
	return shown{}, errMissing
}

// check compares a signature with those that each of the stream's secrets would give, and then
// looks at its time: only who has shown a right one hears that it has expired.
func (m *Method) check(a *asked, s shown) error {
	right := 0
	for secret := range m.cfg.Secrets(a.role, a.key) {
		for _, wanted := range s.wanted(secret) {
			right |= subtle.ConstantTimeCompare([]byte(wanted), []byte(s.signature))
		}
	}
	switch {
	case right == 0:
		return errSignature
	case !time.Now().Before(s.until.Add(m.cfg.Skew)):
		return errExpired
	}
	return nil
}

// grant returns the grant for a signature that is right.
func (m *Method) grant(a *asked, s shown) hub.Grant {
	g := hub.Grant{Subject: prefix + m.cfg.Mark.Of([]byte(s.signature)), Until: s.until.Add(m.cfg.Skew)}
	if a.role == hub.RolePublish {
		g.Identity = prefix + a.key.String()
	} else {
		sum := sha256.Sum256([]byte(s.signature))
		g.Identity = prefix + hex.EncodeToString(sum[:])
	}
	return g
}

// prefix begins identities and subjects of this method.
const prefix = "sign:"

// readSluice reads Sluice's own form.
func readSluice(a *asked) (shown, error) {
	query := a.client.Query
	if !query.Has("sign") {
		return shown{}, errMissing
	}
	sign, ok := once(query, "sign")
	expires, okExpires := once(query, "expires")
	if !ok || !okExpires {
		return shown{}, errRepeated
	}
	if !isHex(sign, hexSize) {
		return shown{}, errShape
	}
	seconds, ok := decimal(expires)
	if !ok {
		return shown{}, errExpires
	}
	var address netip.Addr // of the client, if it is bound to that
	if query.Has("bind") {
		bind, ok := once(query, "bind")
		if address = a.client.Address.Addr(); !ok || bind != "1" || !address.IsValid() {
			return shown{}, errBind // without an address it would be taken for one that is not bound
		}
	}
	return shown{time.Unix(seconds, 0), sign, func(secret []byte) []string {
		return []string{signature(a.role, a.key, secret, expires, address)}
	}}, nil
}

// once returns the value of a parameter that stands in the query exactly once.
func once(query url.Values, name string) (string, bool) {
	values := query[name]
	if len(values) != 1 {
		return "", false
	}
	return values[0], true
}

// maxDecimal bounds a time, in digits: the year 33658 is far enough.
const maxDecimal = 12

// decimal reads a time in seconds in its only form: digits, without a zero before them.
func decimal(text string) (seconds int64, ok bool) {
	if text == "" || len(text) > maxDecimal || text[0] == '0' {
		return 0, false
	}
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return 0, false
		}
		seconds = seconds*10 + int64(c-'0')
	}
	return seconds, true
}

// isHex reports whether text is that many lower-case hexadecimal digits.
func isHex(text string, digits int) bool {
	for _, c := range []byte(text) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(text) == digits
}
