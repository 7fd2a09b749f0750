package answer

import (
	"errors"
	"fmt"
	"strings"
)

// Ancestors lists the origins whose pages may show a page of the server within themselves, as
// the sources of the directive frame-ancestors (Content Security Policy Level 3 §6.4.2.1), or
// has the one source *, for any page. Empty, only the server's own pages may.
type Ancestors []string

// anySource is the source that every page matches.
const anySource = "*"

// UnmarshalText reads a list of origins as Origins does, or a lone *. What a browser can't be
// told of in that directive is an error: null, IPv6 addresses, and a * that is not the first
// label of a host.
func (a *Ancestors) UnmarshalText(text []byte) error {
	if strings.TrimSpace(string(text)) == anySource {
		*a = Ancestors{anySource}
		return nil
	}
	var origins Origins
	if err := origins.UnmarshalText(text); err != nil {
		return err
	}
	var list Ancestors
	for _, o := range origins {
		source, err := o.source()
		if err != nil {
			return fmt.Errorf("%q: %w", o.scheme+"://"+o.host, err)
		}
		list = append(list, source)
	}
	*a = list
	return nil
}

var (
	errAncestorScheme = errors.New("pages that frame another are http or https ones, and have an origin")
	errAncestorHost   = errors.New("browsers can be told of names, of *.example.com for all names below it, and of IPv4 addresses, and of no other host")
)

// source returns an origin as a source of a policy.
func (o origin) source() (string, error) {
	if _, isWeb := defaultPorts[o.scheme]; !isWeb {
		return "", errAncestorScheme
	}
	if strings.HasPrefix(o.host, "[") || strings.Contains(strings.TrimPrefix(o.host, "*."), "*") {
		return "", errAncestorHost
	}
	source := o.scheme + "://" + o.host
	if o.port != "" {
		source += ":" + o.port
	}
	return source, nil
}

// Any reports whether every page may.
func (a Ancestors) Any() bool { return len(a) == 1 && a[0] == anySource }

// Directive returns the directive of a policy: the server's own pages, and those listed.
func (a Ancestors) Directive() string {
	if a.Any() {
		return "frame-ancestors " + anySource
	}
	return strings.Join(append([]string{"frame-ancestors 'self'"}, a...), " ")
}
