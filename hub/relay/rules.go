package relay

import (
	"errors"
	"fmt"
	"slices"

	"sluice/hub"
	"sluice/hub/pattern"
)

// Bounds of a rule.
const (
	// MaxURLs is how many URLs one may have.
	MaxURLs = 16
	// MaxURL is how long one of them may be, in bytes.
	MaxURL = 2048
)

// Rule says what is relayed, and where from or to.
type Rule struct {
	Kind    Kind
	Key     hub.Key         // of a Pull: the stream
	Pattern pattern.Pattern // of the others: the streams
	URLs    []URL           // one of a Push; of the others they are tried one after the other
}

// NewRule makes a rule, the same whether it stands in the configuration or is made by an operator.
// about is what it is about as the configuration writes it: APP/NAME for a Pull, a pattern for
// the others. The error repeats nothing: in a wrong place there may be a secret.
func NewRule(kind Kind, about string, urls []string) (Rule, error) {
	r := Rule{Kind: kind}
	if err := r.parseAbout(about); err != nil {
		return Rule{}, err
	}
	switch {
	case len(urls) == 0:
		return Rule{}, errors.New("there is no URL")
	case kind == Push && len(urls) > 1:
		return Rule{}, errors.New("a push has one URL; each further target is a push of its own")
	case len(urls) > MaxURLs:
		return Rule{}, fmt.Errorf("there are more than %d URLs", MaxURLs)
	}
	for i, text := range urls {
		u, err := parseRuleURL(kind, text)
		switch {
		case err != nil && len(urls) == 1:
			return Rule{}, fmt.Errorf("the URL %w", err)
		case err != nil:
			return Rule{}, fmt.Errorf("URL %d %w", i+1, err)
		case slices.Contains(r.URLs, u):
			return Rule{}, fmt.Errorf("URL %d stands there twice", i+1)
		}
		r.URLs = append(r.URLs, u)
	}
	return r, nil
}

func parseRuleURL(kind Kind, text string) (URL, error) {
	if len(text) > MaxURL {
		return URL{}, fmt.Errorf("is longer than %d bytes", MaxURL)
	}
	return ParseURL(kind, text)
}

// errAbout says what the first field of a rule is, by kind.
var errAbout = [kinds]error{
	Pull:   errors.New("the stream is none: it is APP/NAME"),
	Origin: errors.New("the pattern is none: it is APP/NAME, in which * stands for one segment and ** for any number"),
	Push:   errors.New("the pattern is none: it is APP/NAME, in which * stands for one segment and ** for any number"),
}

func (r *Rule) parseAbout(about string) error {
	p, err := pattern.Parse(about)
	if err != nil || p.Out() {
		return errAbout[r.Kind]
	}
	if r.Kind != Pull {
		r.Pattern = p
		return nil
	}
	stream, ok := p.Exact()
	if !ok {
		return errors.New("a pull is of one stream, APP/NAME, without a *")
	}
	if r.Key, err = hub.NewKey("", stream); err != nil || r.Key.IsCheck() {
		return errAbout[r.Kind]
	}
	return nil
}

// Matches reports whether the rule is about a stream.
func (r Rule) Matches(key hub.Key) bool {
	switch {
	case key.IsCheck():
		return false
	case r.Kind == Pull:
		return r.Key == key
	}
	return r.Pattern.Matches(key.String())
}

// About returns what the rule is about, as NewRule reads it.
func (r Rule) About() string {
	if r.Kind == Pull {
		return pattern.Literal(r.Key.String()).String()
	}
	return r.Pattern.String()
}

// Equal reports whether two rules say the same.
func (r Rule) Equal(of Rule) bool { return r.collides(of) && slices.Equal(r.URLs, of.URLs) }

// collides reports whether two rules cannot both be: those that pull one stream or have one pattern
// of origins, and two pushes that are the same.
func (r Rule) collides(with Rule) bool {
	return r.Kind == with.Kind && r.Key == with.Key && r.Pattern.String() == with.Pattern.String() &&
		(r.Kind != Push || slices.Equal(r.URLs, with.URLs))
}

// ParseRules reads the rules of a kind as the configuration has them (package hub/pattern):
// entries of what each is about and its URLs, which are taken as they are: only a ; and a space in
// them must be written %3B and %20. The error names the entry and repeats nothing of it.
func ParseRules(kind Kind, text string) ([]Rule, error) {
	entries, err := pattern.Entries(text)
	if err != nil {
		return nil, err
	}
	var rules []Rule
	places := make(map[string]int, len(entries))
	for i, fields := range entries {
		if len(fields) < 2 {
			return nil, fmt.Errorf("entry %d: %w", i+1, errEntry[kind])
		}
		r, err := NewRule(kind, fields[0], fields[1:])
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", i+1, err)
		}
		same := r.About()
		if kind == Push {
			same += " " + r.URLs[0].Secret()
		}
		if first := places[same]; first > 0 {
			return nil, fmt.Errorf("entry %d: %w, in entry %d", i+1, errTwice[kind], first)
		}
		places[same] = i + 1
		rules = append(rules, r)
	}
	return rules, nil
}

// errEntry says what an entry is, by kind.
var errEntry = [kinds]error{
	Pull:   errors.New("must be APP/NAME URL [URL …]"),
	Origin: errors.New("must be PATTERN URL [URL …]"),
	Push:   errors.New("must be PATTERN URL"),
}

// errTwice says that an entry is there twice, by kind.
var errTwice = [kinds]error{
	Pull:   errors.New("the stream is pulled already"),
	Origin: errors.New("the pattern has its origin already"),
	Push:   errors.New("the same is pushed already"),
}
