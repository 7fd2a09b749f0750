package main

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"sluice/cmd/sluice/hook"
	"sluice/hub/access"
	"sluice/hub/access/token"
	"sluice/hub/pattern"
)

// AccessSettings say who may publish and watch. It is a part of config.
type AccessSettings struct {
	PublishAuth methods `env:"PUBLISH_AUTH" envDefault:"open" doc:"How publishers are permitted, one of these is enough: open, key, streamkey, sign, jwt, url or none, separated by spaces or ;."`
	WatchAuth   methods `env:"WATCH_AUTH" envDefault:"open" doc:"How viewers are permitted: open, key, sign, jwt, url or none, as above."`

	PublishKeys secret `env:"PUBLISH_KEYS" doc:"For key: PATTERN SECRET, entries separated by ; or line ends. A publisher shows ?key=SECRET behind the name."`
	WatchKeys   secret `env:"WATCH_KEYS" doc:"The same for viewers. No secret of publishers may be among them."`
	StreamKeys  secret `env:"STREAM_KEYS" doc:"For streamkey: SECRET APP/NAME, entries separated by ; or line ends. The secret is typed into OBS as the stream key, and the stream is published as APP/NAME."`

	PublishSecrets secret        `env:"PUBLISH_SECRETS" doc:"For sign: PATTERN SECRET, as above. All secrets of a stream are good, so that one can be replaced."`
	WatchSecrets   secret        `env:"WATCH_SECRETS" doc:"The same for viewers. No secret of publishers may be among them."`
	SignFormats    words         `env:"SIGN_FORMATS" envDefault:"sluice" doc:"Which signed addresses are read: sluice, tencent, aliyun, separated by spaces or ;. The time in one of aliyun is taken for its end."`
	SignSkew       time.Duration `env:"SIGN_SKEW" envDefault:"30s" min:"0s" max:"1h" doc:"How much longer than it says a signed address is good, since clocks differ."`

	JWTKeys       secret `env:"JWT_KEYS" doc:"For jwt: the keys, as a JWKS document, as PEM (PUBLIC KEY), or KID ALGORITHM KEY with entries separated by ; or line ends. KID - is none; KEY is for HS256 the secret, of 32 bytes or more, or base64: and it, else the public key in base64."`
	JWTJWKSURL    secret `env:"JWT_JWKS_URL" doc:"For jwt: where the keys are fetched from instead, http or https."`
	JWTAlgorithms words  `env:"JWT_ALGORITHMS" envDefault:"RS256 ES256 EdDSA HS256" doc:"The algorithms that are taken."`
	JWTIssuer     string `env:"JWT_ISSUER" doc:"What iss must be; empty for any."`
	JWTAudience   string `env:"JWT_AUDIENCE" doc:"What aud must contain; empty for any."`

	AuthURL     secret        `env:"AUTH_URL" doc:"For url: the address of your server that is asked about each publisher and viewer, http or https."`
	AuthFormat  hook.Format   `env:"AUTH_FORMAT" envDefault:"json" doc:"How it is asked: json, or srs or nginx: as SRS and nginx-rtmp ask their servers."`
	AuthTimeout time.Duration `env:"AUTH_TIMEOUT" envDefault:"3s" min:"100ms" max:"1m" doc:"How long it may take to answer."`
	AuthFail    words         `env:"AUTH_FAIL" envDefault:"closed" doc:"What becomes of those about whom it gives no answer: closed refuses them, open grants them."`
	AuthCache   time.Duration `env:"AUTH_CACHE" envDefault:"0s" min:"0s" max:"24h" doc:"How long its yes holds for those who ask the same again; 0 asks each time."`

	AllowPublish networks `env:"ALLOW_PUBLISH" doc:"Networks or addresses from which may be published, separated by spaces or ;. Empty: all."`
	DenyPublish  networks `env:"DENY_PUBLISH" doc:"Networks or addresses from which may not."`
	AllowWatch   networks `env:"ALLOW_WATCH" doc:"Networks or addresses from which may be watched. Empty: all."`
	DenyWatch    networks `env:"DENY_WATCH" doc:"Networks or addresses from which may not."`

	AuthFailures   failures `env:"AUTH_FAILURES" envDefault:"20/1m" doc:"After so many wrong secrets of one address in this time it is refused for a minute without being asked; 0 for no bound."`
	ExpireSessions bool     `env:"EXPIRE_SESSIONS" envDefault:"false" doc:"true ends sessions when their permission ends, false lets those go on that have begun."`
	MaxPerIdentity int      `env:"MAX_SESSIONS_PER_IDENTITY" envDefault:"0" min:"0" max:"1000000" doc:"How many may watch with one key, token or signed address at a time; 0 for no bound."`
	PublicList     words    `env:"PUBLIC_LIST" envDefault:"auto" doc:"Whether everybody may see the list of streams and recordings: true, false, or auto: only where everybody may watch."`
}

// secret is a text that may hold secrets. It prints as nothing. Beside its variable there is
// one with _FILE behind the name.
type secret string

// UnmarshalText takes any text.
func (s *secret) UnmarshalText(text []byte) error {
	*s = secret(strings.TrimSpace(string(text)))
	return nil
}

func (s secret) String() string   { return "secret" }
func (s secret) GoString() string { return "secret" }

// words are names in a list.
type words []string

// UnmarshalText splits at spaces, commas and semicolons.
func (w *words) UnmarshalText(text []byte) error {
	*w = strings.FieldsFunc(string(text), func(r rune) bool { return strings.ContainsRune(" \t\r\n,;", r) })
	return nil
}

// in reports whether all words are among those that are known.
func (w words) in(known ...string) error {
	for _, word := range w {
		if !slices.Contains(known, word) {
			return fmt.Errorf("%q is not one of %s", word, strings.Join(known, ", "))
		}
	}
	if len(w) == 0 {
		return errors.New("must name at least one of " + strings.Join(known, ", "))
	}
	return nil
}

// one reports whether there is one word, of those that are known.
func (w words) one(known ...string) error {
	if len(w) > 1 {
		return errors.New("must be one of " + strings.Join(known, ", "))
	}
	return w.in(known...)
}

// methods are the names of ways to be permitted.
type methods = words

// networks are addresses and networks.
type networks []netip.Prefix

// UnmarshalText takes 10.0.0.0/8, 192.0.2.1, 2001:db8::/32 and the like.
func (n *networks) UnmarshalText(text []byte) error {
	var fields words
	fields.UnmarshalText(text)
	*n = nil
	for _, field := range fields {
		p, err := netip.ParsePrefix(field) // which takes no zone
		if err != nil {
			var addr netip.Addr
			if addr, err = netip.ParseAddr(field); err == nil {
				p = netip.PrefixFrom(addr.Unmap().WithZone(""), addr.Unmap().BitLen())
			}
		}
		if err != nil || p.Addr().Is4In6() {
			return fmt.Errorf("%q is neither an address nor a network, like 192.0.2.1 or 10.0.0.0/8", field)
		}
		*n = append(*n, p.Masked())
	}
	return nil
}

// has reports whether an address is in one of the networks.
func (n networks) has(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(n, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// The names of methods.
var (
	publishMethods = []string{"open", "key", "streamkey", "sign", "jwt", "url", "none"}
	watchMethods   = []string{"open", "key", "sign", "jwt", "url", "none"}
)

// valueCheck collects what is wrong with values of variables.
type valueCheck struct {
	failed   map[string]bool // names of variables about which something was said before
	inFile   map[string]bool // names of those whose value stands in a file
	problems []error
}

// value notes what is wrong with a value that may be shown, if anything is.
func (c *valueCheck) value(name, shown string, err error) {
	if err != nil && !c.failed[name] {
		c.failed[name] = true
		c.problems = append(c.problems, fmt.Errorf("%s%s=%q: %w", envPrefix, name, shown, err))
	}
}

// secret notes what is wrong with one that may not.
func (c *valueCheck) secret(name string, err error) {
	if err != nil && !c.failed[name] {
		c.failed[name] = true
		if c.inFile[name] {
			name += fileSuffix
		}
		c.problems = append(c.problems, fmt.Errorf("%s%s: %w", envPrefix, name, err))
	}
}

// check says what is wrong with each value by itself.
func (a *AccessSettings) check(c *valueCheck) {
	for _, w := range []struct {
		name  string
		words words
		known []string
		one   bool
	}{
		{"PUBLISH_AUTH", a.PublishAuth, publishMethods, false},
		{"WATCH_AUTH", a.WatchAuth, watchMethods, false},
		{"SIGN_FORMATS", a.SignFormats, []string{"sluice", "tencent", "aliyun"}, false},
		{"JWT_ALGORITHMS", a.JWTAlgorithms, token.Algorithms, false},
		{"AUTH_FAIL", a.AuthFail, []string{"closed", "open"}, true},
		{"PUBLIC_LIST", a.PublicList, []string{"auto", "true", "false"}, true},
	} {
		if w.one {
			c.value(w.name, joinWords(w.words), w.words.one(w.known...))
		} else {
			c.value(w.name, joinWords(w.words), w.words.in(w.known...))
		}
	}
	for _, list := range []struct {
		name string
		text secret
	}{
		{"PUBLISH_KEYS", a.PublishKeys}, {"WATCH_KEYS", a.WatchKeys},
		{"PUBLISH_SECRETS", a.PublishSecrets}, {"WATCH_SECRETS", a.WatchSecrets},
	} {
		c.secret(list.name, new(access.Secrets).UnmarshalText([]byte(list.text)))
	}
	c.secret("STREAM_KEYS", new(access.StreamKeys).UnmarshalText([]byte(a.StreamKeys)))
	_, err := parseJWTKeys(string(a.JWTKeys))
	c.secret("JWT_KEYS", err)
	c.secret("JWT_JWKS_URL", checkURL(string(a.JWTJWKSURL)))
	c.secret("AUTH_URL", checkURL(string(a.AuthURL)))
}

// need is what a method cannot do without.
type need struct {
	method    string
	variables string // as told
	set       bool
	publish   bool // whose it is; both for either
	watch     bool
}

// relations says where a method lacks its settings, settings lack their method, and where one
// secret is for both roles. It quotes none.
func (a *AccessSettings) relations() (problems []error) {
	wrong := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	for _, n := range []need{
		{"key", "SLUICE_PUBLISH_KEYS", a.PublishKeys != "", true, false},
		{"key", "SLUICE_WATCH_KEYS", a.WatchKeys != "", false, true},
		{"streamkey", "SLUICE_STREAM_KEYS", a.StreamKeys != "", true, false},
		{"sign", "SLUICE_PUBLISH_SECRETS", a.PublishSecrets != "", true, false},
		{"sign", "SLUICE_WATCH_SECRETS", a.WatchSecrets != "", false, true},
		{"jwt", "SLUICE_JWT_KEYS or SLUICE_JWT_JWKS_URL", a.JWTKeys != "" || a.JWTJWKSURL != "", true, true},
		{"url", "SLUICE_AUTH_URL", a.AuthURL != "", true, true},
	} {
		var named []string
		if n.publish && slices.Contains(a.PublishAuth, n.method) {
			named = append(named, "SLUICE_PUBLISH_AUTH")
		}
		if n.watch && slices.Contains(a.WatchAuth, n.method) {
			named = append(named, "SLUICE_WATCH_AUTH")
		}
		unnamed := "SLUICE_PUBLISH_AUTH does not name"
		switch {
		case n.publish && n.watch:
			unnamed = "neither SLUICE_PUBLISH_AUTH nor SLUICE_WATCH_AUTH names"
		case n.watch:
			unnamed = "SLUICE_WATCH_AUTH does not name"
		}
		switch {
		case len(named) > 0 && !n.set:
			wrong("%s names %s, which needs %s", named[0], n.method, n.variables)
		case len(named) == 0 && n.set:
			wrong("%s is set, but %s %s", n.variables, unnamed, n.method)
		}
	}
	problems = append(problems, a.shared()...)
	if a.AuthURL == "" && a.AuthFormat != hook.FormatJSON {
		wrong("SLUICE_AUTH_FORMAT is set, but SLUICE_AUTH_URL is not")
	}
	if a.JWTKeys != "" && a.JWTJWKSURL != "" {
		wrong("SLUICE_JWT_KEYS and SLUICE_JWT_JWKS_URL are both set: one of them says what the keys are")
	}
	return problems
}

// shared says where publishers and viewers have a secret in common, whatever each uses it for: who
// may watch could publish.
func (a *AccessSettings) shared() (problems []error) {
	type list struct {
		name  string
		text  secret
		field int // in which a secret stands
	}
	secrets := func(of list) (all []string) {
		entries, _ := pattern.Entries(string(of.text))
		for _, fields := range entries {
			if len(fields) == 2 {
				s, _ := pattern.Decode(fields[of.field])
				all = append(all, s)
			}
		}
		return all
	}
	for _, watch := range []list{{"WATCH_KEYS", a.WatchKeys, 1}, {"WATCH_SECRETS", a.WatchSecrets, 1}} {
		theirs := make(map[string]bool)
		for _, s := range secrets(watch) {
			theirs[s] = true
		}
		for _, publish := range []list{
			{"PUBLISH_KEYS", a.PublishKeys, 1}, {"STREAM_KEYS", a.StreamKeys, 0}, {"PUBLISH_SECRETS", a.PublishSecrets, 1},
		} {
			if slices.ContainsFunc(secrets(publish), func(s string) bool { return theirs[s] }) {
				problems = append(problems, fmt.Errorf("%s%s and %s%s have a secret in common: each role needs its own",
					envPrefix, publish.name, envPrefix, watch.name))
			}
		}
	}
	return problems
}

// checkURL says what is wrong with the address of a server that is asked or told; empty is
// none. It does not quote it.
func checkURL(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Fragment != "" {
		return errors.New("must be a URL like https://example.com/path")
	}
	return nil
}

// failures is a number of wrong secrets in a time.
type failures struct {
	most   int
	within time.Duration
}

// UnmarshalText takes 20/1m and the like, and 0.
func (f *failures) UnmarshalText(text []byte) error {
	bad := errors.New("must be a number and a time, like 20/1m, or 0")
	if string(text) == "0" {
		*f = failures{}
		return nil
	}
	number, within, ok := strings.Cut(string(text), "/")
	n, err := parseCount(number)
	d, err2 := time.ParseDuration(within)
	if !ok || err != nil || err2 != nil {
		return bad
	}
	*f = failures{n.(int), d}
	if f.most < 1 || f.most > 10_000 || d < time.Second || d > 24*time.Hour {
		return errors.New("must be between 1 and 10000 in 1s to 24h, like 20/1m, or 0")
	}
	return nil
}
