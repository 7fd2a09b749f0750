package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"sluice/cmd/sluice/check"
	"sluice/hub"
	"sluice/hub/access"
	"sluice/hub/access/sign"
	"sluice/hub/pattern"
)

// maxSignedFor bounds for how long an address may be signed.
const maxSignedFor = 10 * 365 * 24 * time.Hour

const (
	signIntro = `Usage: sluice sign [flags] URL

Signs the URL of a stream, so that whoever has it may watch the stream, or publish
it, for a while: rtmp://HOST/APP/NAME, http://HOST/APP/NAME.flv,
ws://HOST/APP/NAME.flv, or the page that plays it, http://HOST/?stream=APP/NAME.
The signature holds over every protocol, and for the stream's recordings. The
signed URL is the last line on standard output.

The secret is the first for the stream in SLUICE_WATCH_SECRETS, or with
-role publish in SLUICE_PUBLISH_SECRETS (or in the file that the same variable
with _FILE behind it names), as the server has it with the method sign.

`
	signEnd = `
Example:
  SLUICE_WATCH_SECRETS='live/** correct-horse-battery-staple' \
      sluice sign -for 10m http://127.0.0.1:8080/live/cam.flv
`
)

// signing is what the flags of sluice sign say.
type signing struct {
	role    hub.Role
	howLong time.Duration
	address netip.Addr
	url     string
}

// runSign is the subcommand "sluice sign". The signed URL goes to stdout, all words to stderr.
func runSign(args, environ []string, stdout, stderr io.Writer) int {
	s, err := parseSigning(args)
	if errors.Is(err, flag.ErrHelp) {
		flags, _ := signFlags(new(signing))
		flags.SetOutput(stdout)
		fmt.Fprint(stdout, signIntro, "Flags:\n")
		flags.PrintDefaults()
		fmt.Fprint(stdout, signEnd)
		return exitOK
	}
	var signed string
	var expires time.Time
	if err == nil {
		expires = time.Now().Add(s.howLong)
		signed, err = s.sign(environ, expires)
	}
	if err != nil {
		fmt.Fprintf(stderr, "sluice sign: %v (see sluice sign -h)\n", err)
		return exitUsage
	}
	fmt.Fprintf(stderr, "whoever has it may %s until %s:\n", s.role, expires.UTC().Format(time.RFC3339))
	if _, err := fmt.Fprintln(stdout, signed); err != nil {
		fmt.Fprintf(stderr, "sluice sign: %v\n", err)
		return exitFailure
	}
	return exitOK
}

// signFlags returns the flags; role is read apart.
func signFlags(s *signing) (*flag.FlagSet, *string) {
	flags := flag.NewFlagSet("sluice sign", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	role := flags.String("role", hub.RoleWatch.String(), "what it allows: watch or publish")
	flags.DurationVar(&s.howLong, "for", time.Hour, "for how long from now, such as 90s, 10m or 24h")
	flags.TextVar(&s.address, "address", netip.Addr{}, "the one IP address from which it may be used, as the server sees it (default any)")
	return flags, role
}

func parseSigning(args []string) (signing, error) {
	var s signing
	flags, role := signFlags(&s)
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	switch {
	case *role == hub.RoleWatch.String():
		s.role = hub.RoleWatch
	case *role == hub.RolePublish.String():
		s.role = hub.RolePublish
	default:
		return s, fmt.Errorf("-role is watch or publish, not %q", *role)
	}
	switch {
	case s.howLong < time.Second || s.howLong > maxSignedFor:
		return s, fmt.Errorf("-for is between 1s and %.0fh", maxSignedFor.Hours())
	case s.address.Zone() != "":
		return s, fmt.Errorf("-address is without a zone (%%%s): that is a name on one machine only", s.address.Zone())
	case flags.NArg() == 0:
		return s, errors.New("it needs the URL of a stream")
	case flags.NArg() > 1:
		return s, errors.New("it takes one URL, in quotes if there is an & in it; flags stand before it")
	}
	s.url = flags.Arg(0)
	return s, nil
}

// sign returns the signed URL.
func (s *signing) sign(environ []string, expires time.Time) (string, error) {
	key, err := sign.KeyOf(s.url)
	if err != nil {
		return "", err
	}
	name := envPrefix + strings.ToUpper(s.role.String()) + "_SECRETS"
	secrets, err := signSecrets(environ, name)
	if err != nil {
		return "", err
	}
	for secret := range secrets.For(key) {
		return sign.URL(s.url, s.role, secret, expires.Unix(), s.address)
	}
	return "", fmt.Errorf("there is no secret for %q in %s", key, name)
}

// signSecrets reads the secrets of one role from a variable, or the file that it names with
// _FILE behind it. Errors do not repeat what is in them.
func signSecrets(environ []string, name string) (*access.Secrets, error) {
	values := env.ToMap(environ)
	text, path := values[name], values[name+"_FILE"]
	switch {
	case text != "" && path != "":
		return nil, fmt.Errorf("%s and %s_FILE are both set", name, name)
	case text == "" && path == "":
		return nil, fmt.Errorf("%s is not set: it holds the secret, as PATTERN SECRET", name)
	case path != "":
		content, err := readBounded(path, pattern.MaxText)
		if err != nil {
			return nil, fmt.Errorf("%s_FILE: %w", name, err)
		}
		text, name = content, name+"_FILE"
	}
	secrets := new(access.Secrets)
	if err := secrets.UnmarshalText([]byte(text)); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return secrets, nil
}

// readBounded reads a file of at most limit bytes.
func readBounded(path string, limit int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("%s: it has more than %d bytes", path, limit)
	}
	return string(text), err
}

// signer returns what signs addresses of streams as sluice sign does, for who has secrets for them
// in environ, and leaves others as they are.
func signer(environ []string) check.Sign {
	return func(role hub.Role, rawURL string) (string, error) {
		name := envPrefix + strings.ToUpper(role.String()) + "_SECRETS"
		if values := env.ToMap(environ); values[name] == "" && values[name+"_FILE"] == "" {
			return rawURL, nil
		}
		secrets, err := signSecrets(environ, name)
		if err != nil {
			return "", err
		}
		key, err := sign.KeyOf(rawURL)
		if err != nil {
			return "", err
		}
		for secret := range secrets.For(key) {
			return sign.URL(rawURL, role, secret, time.Now().Add(checkSignedFor).Unix(), netip.Addr{})
		}
		return "", fmt.Errorf("%w: the patterns of %s, or of its file, fit others than %s", check.ErrNoSecret, name, key)
	}
}

// checkSignedFor is for how long a self-test signs its addresses.
const checkSignedFor = 2 * time.Minute
