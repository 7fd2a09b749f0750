package admin

import (
	"encoding/base64"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"sluice/hub"
	"sluice/hub/pattern"
)

// Bounds of a page.
const (
	defaultLimit = 100
	maxLimit     = 1000
	// maxCursor bounds where a page begins, in bytes as it is written.
	maxCursor = 2 << 10
)

// selection is what a request for a list asks for.
type selection struct {
	limit  int
	cursor string // "" for the beginning
	values url.Values

	stream func(string) bool // nil for any
	role   string            // "" for any
	where  netip.Prefix      // the zero Prefix for anywhere
	search string            // in small letters; "" for anything
}

// parseSelection reads a query that may have the named parameters besides those of a page.
func parseSelection(query string, allowed ...string) (s selection, err error) {
	if s.values, err = url.ParseQuery(query); err != nil {
		return s, badRequest("the query cannot be read")
	}
	for name, said := range s.values {
		switch {
		case !slices.Contains(allowed, name) && name != "limit" && name != "cursor" && name != "after":
			return s, badRequest("this takes " + strings.Join(append(allowed, "limit", "cursor"), ", ") + " in its query, and nothing else")
		case len(said) > 1:
			return s, badRequest("each part of the query stands there once")
		}
	}
	if err := s.parsePage(); err != nil {
		return s, err
	}
	if err := s.parseStream(); err != nil {
		return s, err
	}
	if len(s.values.Get("search")) > maxSearch {
		return s, badRequest("search is a text of up to 200 bytes")
	}
	s.search = strings.ToLower(s.values.Get("search"))
	if s.role = s.values.Get("role"); !isRole(s.role) {
		return s, errRole
	}
	return s, s.parsePlace()
}

var errRole = badRequest("role is publish or watch")

func isRole(s string) bool {
	return s == "" || s == hub.RolePublish.String() || s == hub.RoleWatch.String()
}

func (s *selection) parsePage() error {
	s.limit = defaultLimit
	if said := s.values.Get("limit"); said != "" {
		n, err := strconv.Atoi(said)
		if err != nil || n < 1 || n > maxLimit {
			return badRequest("limit is a number from 1 to 1000")
		}
		s.limit = n
	}
	s.cursor = s.values.Get("cursor")
	if after := s.values.Get("after"); after != "" {
		if s.cursor != "" {
			return badRequest("cursor and after are the same; one is enough")
		}
		s.cursor = after
	}
	if len(s.cursor) > maxCursor {
		return errCursor
	}
	return nil
}

// number reads a cursor that is a number, 0 for the beginning.
func (s *selection) number() (uint64, error) {
	if s.cursor == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s.cursor, 10, 64)
	if err != nil {
		return 0, errCursor
	}
	return n, nil
}

var errCursor = badRequest(`cursor is the "next" of another answer`)

// parseStream reads the name of one stream, or a pattern for some.
func (s *selection) parseStream() error {
	said := s.values.Get("stream")
	switch {
	case said == "":
		return nil
	case !strings.Contains(said, "*"): // which is in no name
		s.stream = func(stream string) bool { return stream == said }
		return nil
	}
	p, err := parsePattern(said)
	if err != nil {
		return err
	}
	s.stream = p.Matches
	return nil
}

// parsePattern reads a pattern for streams.
func parsePattern(said string) (pattern.Pattern, error) {
	p, err := pattern.Parse(said)
	if err != nil || strings.HasPrefix(said, "!") {
		return p, badRequest("stream is APP/NAME, in which * stands for one segment and ** for any number")
	}
	return p, nil
}

// parsePlace reads address, or network: either may be an address or a network.
func (s *selection) parsePlace() error {
	address, network := s.values.Get("address"), s.values.Get("network")
	switch {
	case address != "" && network != "":
		return badRequest("address and network are the same here; one is enough")
	case address+network == "":
		return nil
	}
	where, err := parseNetwork(address + network)
	if err != nil {
		return err
	}
	s.where = where
	return nil
}

// parseNetwork reads an address, or a network.
func parseNetwork(said string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(said); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(said)
	if err != nil {
		return p, badRequest("an address is like 192.0.2.7 or 2001:db8::7, a network like 192.0.2.0/24")
	}
	if a := p.Addr(); a.Is4In6() {
		if p.Bits() < 96 {
			return p, badRequest("a network of IPv4 addresses is like 192.0.2.0/24")
		}
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}

// encodeCursor returns a cursor that says where a page ended.
func encodeCursor(place string) string { return base64.RawURLEncoding.EncodeToString([]byte(place)) }

func decodeCursor(cursor string) (string, error) {
	place, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return "", errCursor
	}
	return string(place), nil
}
