package access

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"

	"sluice/hub"
)

// Open permits everybody. A publisher is who its query says, as where nobody is asked at all.
func Open() Method { return open{} }

type open struct{}

func (open) Decide(_ context.Context, s *hub.Session) (hub.Grant, error) {
	query := s.Client().Query
	if s.Role() != hub.RolePublish || len(query) == 0 {
		return hub.Grant{}, nil
	}
	sum := sha256.Sum256([]byte(query.Encode()))
	return hub.Grant{Identity: "open:" + string(sum[:])}, nil
}

// None permits nobody.
func None() Method { return none{} }

type none struct{}

func (none) Decide(context.Context, *hub.Session) (hub.Grant, error) {
	return hub.Grant{}, fmt.Errorf("nobody may do that here")
}

// Mark makes what operators are shown in place of a secret: the same one gets the same mark as
// long as salt is the same, and nobody without the salt can tell a secret from its mark.
type Mark struct{ salt []byte }

// NewMark returns marks with a salt, which nobody else should know.
func NewMark(salt []byte) Mark { return Mark{salt} }

// markDigits is how many hexadecimal digits a mark has.
const markDigits = 10

// Of returns the mark of a secret.
func (m Mark) Of(secret []byte) string {
	h := hmac.New(sha256.New, m.salt)
	h.Write(secret)
	return hex.EncodeToString(h.Sum(nil))[:markDigits]
}

// Disguise returns what is shown in place of a stream that nobody has granted: its app, and a
// mark of its name. It is for hub.Config.Disguise, where a name may be a mistyped secret.
func (m Mark) Disguise(key hub.Key) string { return key.App + "/#" + m.Of([]byte(key.Name)) }

// KeyParameter is the parameter in which a client shows a key.
const KeyParameter = "key"

// Key permits who shows a secret of the stream as ?key=SECRET. The same secret is the same
// client.
func Key(secrets func() *Secrets, mark Mark) Method { return key{secrets, mark} }

type key struct {
	secrets func() *Secrets
	mark    Mark
}

func (k key) Decide(_ context.Context, s *hub.Session) (hub.Grant, error) {
	shown, ok := s.Client().Query[KeyParameter]
	if !ok {
		return hub.Grant{}, fmt.Errorf("%w: no key is shown", ErrMissing)
	}
	if len(shown) != 1 || len(shown[0]) > maxSecret {
		return hub.Grant{}, fmt.Errorf("%w: the key is wrong", ErrWrong)
	}
	good := 0
	for secret := range k.secrets().For(s.Key()) {
		good |= subtle.ConstantTimeCompare(secret, []byte(shown[0]))
	}
	if good == 0 {
		return hub.Grant{}, fmt.Errorf("%w: the key is wrong", ErrWrong)
	}
	return hub.Grant{Identity: "key:" + shown[0], Subject: "key:" + k.mark.Of([]byte(shown[0]))}, nil
}

// StreamKey permits who publishes under a secret instead of a name, and has it publish the
// stream of that secret. It permits no viewer.
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
	return hub.Grant{
		Key: stream, Identity: "streamkey:" + shown, Subject: "streamkey:" + k.mark.Of([]byte(shown)),
	}, nil
}
