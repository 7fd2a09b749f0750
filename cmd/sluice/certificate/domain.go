package certificate

import (
	"errors"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/idna"
)

// Domain returns a name as certificates have it: in lower case and in ASCII. It returns an error for
// one for which an authority gives none by the ways that there are here.
func Domain(text string) (string, error) {
	if _, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return "", errors.New("is an address, and must be a name")
	}
	if strings.Contains(text, "*") {
		return "", errors.New("is a wildcard, which can only be obtained by way of the DNS: another program can, and its files are taken")
	}
	name, err := idna.Lookup.ToASCII(strings.TrimSuffix(text, "."))
	labels := strings.Split(name, ".")
	if err != nil || len(name) > maxDomain || len(labels) < 2 || slices.Contains(labels, "") || strings.ContainsAny(name, ":/@") {
		return "", errors.New("must be a name that the world knows, like media.example.com")
	}
	return name, nil
}

// maxDomain is the length of a name in the DNS (RFC 1035 §2.3.4), in bytes.
const maxDomain = 253
