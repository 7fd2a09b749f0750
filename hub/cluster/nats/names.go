package nats

import (
	"errors"

	"sluice/hub/cluster"
)

// maxPrefix bounds Config.Prefix, in bytes.
const maxPrefix = 64

var (
	errName  = errors.New("cluster: a key or subject is made of letters, digits, - and _, with dots between the parts")
	errLarge = errors.New("cluster: larger than a message may be")
)

// maxParts bounds the parts of a subject.
const maxParts = 8

// checkName keeps out what has a meaning of its own in the engine: wildcards, and subjects of others.
func checkName(name string) error {
	part, parts := 0, 1
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
			part++
		case c == '.' && part > 0:
			part = 0
			parts++
		default:
			return errName
		}
		if part > cluster.MaxKey {
			return errName
		}
	}
	if part == 0 || parts > maxParts {
		return errName
	}
	return nil
}

// checkKey is checkName for the key of a record, which is shorter.
func checkKey(key string) error {
	if len(key) > cluster.MaxKey {
		return errName
	}
	return checkName(key)
}

func checkSize(data []byte) error {
	if len(data) > cluster.MaxMessage {
		return errLarge
	}
	return nil
}
