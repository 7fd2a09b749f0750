package access

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sluice/hub"
)

// Open permits everybody. A publisher is who its query says, as where nobody is asked at all.
func Open() Method { return open{} }

type open struct{}

func (open) Decide(_ context.Context, s *hub.Session) (hub.Grant, error) {
	proof := hub.ProofIn(s.Client().Query)
	if s.Role() != hub.RolePublish || proof == "" {
		return hub.Grant{}, nil
	}
	sum := sha256.Sum256([]byte(proof))
	return hub.Grant{Identity: "open:" + string(sum[:])}, nil
}

// None permits nobody.
func None() Method { return none{} }

type none struct{}

func (none) Decide(context.Context, *hub.Session) (hub.Grant, error) {
	return hub.Grant{}, errNobody
}

var errNobody = errors.New("nobody may do that here")

// Mark makes what operators are shown in place of a secret: the same one gets the same mark as
// long as salt is the same, and nobody without the salt can tell a secret from its mark.
// The zero Mark has no salt.
type Mark struct {
	salt func() []byte // a function, so that it is not printed, see Secrets
}

// NewMark returns marks with a salt, which nobody else should know. It must not be changed.
func NewMark(salt []byte) Mark { return Mark{func() []byte { return salt }} }

// markDigits is how many hexadecimal digits a mark has.
const markDigits = 10

// Of returns the mark of a secret.
func (m Mark) Of(secret []byte) string {
	var salt []byte
	if m.salt != nil {
		salt = m.salt()
	}
	h := hmac.New(sha256.New, salt)
	h.Write(secret)
	return hex.EncodeToString(h.Sum(nil))[:markDigits]
}

// Disguise returns what is shown in place of a stream that nobody has granted: the first segment
// of its app, and a mark of the rest. It is for hub.Config.Disguise, where a name may be a
// mistyped secret, and so may the end of an app: encoders have a field for the server, into which
// people write the secret too.
func (m Mark) Disguise(key hub.Key) string {
	first, rest, _ := strings.Cut(strings.Trim(key.App, "/")+"/"+key.Name, "/")
	return first + "/#" + m.Of([]byte(rest))
}

// KeyParameter is the parameter in which a client shows a key.
const KeyParameter = "key"

// Key permits who shows a secret of the stream as ?key=SECRET, once. The same secret is the
// same client, whatever else it shows.
func Key(secrets func() *Secrets, mark Mark) Method { return key{secrets, mark} }

type key struct {
	secrets func() *Secrets
	mark    Mark
}

var (
	errKeyMissing = fmt.Errorf("%w: no key is shown", ErrMissing)
	errKeyWrong   = fmt.Errorf("%w: the key is wrong", ErrWrong)
)

func (k key) Decide(_ context.Context, s *hub.Session) (hub.Grant, error) {
	shown, ok := s.Client().Query[KeyParameter]
	if !ok {
		return hub.Grant{}, errKeyMissing
	}
	if len(shown) != 1 || !k.secrets().have(s.Key(), shown[0]) {
		return hub.Grant{}, errKeyWrong
	}
	return grantOf("key:", shown[0], k.mark), nil
}

// StreamKey permits who publishes under a secret instead of a name, and has it publish the
// stream of that secret, in whichever app that was. It permits no viewer, and nobody who
// publishes under the name itself.
func StreamKey(keys func() *StreamKeys, mark Mark) Method { return streamKey{keys, mark} }

type streamKey struct {
	keys func() *StreamKeys
	mark Mark
}

func (k streamKey) Decide(_ context.Context, s *hub.Session) (hub.Grant, error) {
	if s.Role() != hub.RolePublish {
		return hub.Grant{}, ErrMissing
	}
	shown := s.Key().Name
	stream, ok := k.keys().Stream(shown)
	if !ok {
		return hub.Grant{}, fmt.Errorf("%w: there is no such stream key", ErrWrong)
	}
	grant := grantOf("streamkey:", shown, k.mark)
	grant.Key = stream
	return grant, nil
}

// prefixes are what subjects begin with, each those of a method. Somebody else's word for a
// client is not taken for one of them.
var prefixes = []string{"key:", "streamkey:", "sign:", "jwt:", "url:"}

// NamedSubject returns the subject of a client that somebody else has named: that name, behind the
// prefix of the method, such as "jwt:", if it begins as the subjects of a method do. So nobody
// is named as a client of another method is.
func NamedSubject(prefix, name string) string {
	if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
		return prefix + name
	}
	return name
}

// grantOf returns the grant of who knows a secret. Nothing of it holds the secret itself.
func grantOf(method, secret string, mark Mark) hub.Grant {
	sum := sha256.Sum256([]byte(secret))
	return hub.Grant{Identity: method + string(sum[:]), Subject: method + mark.Of([]byte(secret))}
}
