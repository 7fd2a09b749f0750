package check

import (
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"

	"sluice/hub"
)

const (
	intro = `Usage: sluice check [flags] URL…
       sluice check -health [flags] [URL]

Tests a running media server, this one or another: publishes a clip of a few seconds
under a random name, watches it over every output, compares each frame, and prints
what works, how long the first picture took, and where to look if something fails.
The exit code is 0 if all works, 1 if not, 2 for a mistake in the arguments.

The URLs are bases, without a stream: rtmp://HOST, rtmps://HOST:1936,
http://HOST:8080, https://HOST. Without a port rtmp means 1935, http 80, rtmps and
https 443. The first of rtmp or rtmps that takes the clip is published to; all are
watched. http is watched over HTTP-FLV and WebSocket (ws), https likewise (wss), at
/APP/NAME.flv; where /api/v1/recordings lists a finished recording, the beginning of
the newest is read and checked as well.

The clip has H.264 and AAC, 250 kbit/s, and a key frame each second: a server that
keeps no GOP for those who come later shows a picture within a second, which is told
and no failure. A Sluice server neither records nor lists such a stream, and tells
nobody of it.

`
	end = `
A secret that begins with @ is read from the file behind it, so that it does not stand
in the list of processes. Where SLUICE_PUBLISH_SECRETS or SLUICE_WATCH_SECRETS, or one
of them with _FILE, are set as for sluice sign, addresses are signed.

-health asks /healthz of one base and prints one line; without a URL, of the address in
SLUICE_HTTP_ADDR, or SLUICE_HTTPS_ADDR where that is off, on this machine.

Examples:
  sluice check rtmp://localhost http://localhost:8080
  sluice check -key @publish-key rtmps://live.example:1936 https://live.example
  sluice check -json rtmp://localhost | jq '.outputs[] | select(.ok | not)'
`
)

// options are what the arguments say.
type options struct {
	app, name              string
	publishKey, watchKey   string
	token, watchToken      string
	streamKey              string
	health, json, insecure bool
	authorities            *x509.CertPool // nil for the system's
	skip                   []string       // of protocols
	bases                  []*url.URL
	sign                   Sign // nil for none
	times                  times
}

// maxBases bounds the URLs.
const maxBases = 32

// newFlags returns the flags, the texts of those that parseFlags has to look at among them.
func newFlags(o *options) (flags *flag.FlagSet, authority, skip *string) {
	flags = flag.NewFlagSet("sluice check", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.app, "app", "live", "the `APP` to publish to")
	flags.StringVar(&o.publishKey, "key", "", "shown as ?key=`SECRET` when publishing")
	flags.StringVar(&o.watchKey, "watch-key", "", "shown as ?key=`SECRET` when watching")
	flags.StringVar(&o.token, "token", "", "shown as ?token=`TOKEN` when publishing, and when watching\nunless -watch-token is given")
	flags.StringVar(&o.watchToken, "watch-token", "", "shown as ?token=`TOKEN` when watching")
	flags.StringVar(&o.streamKey, "stream-key", "", "published under this `SECRET` in place of the name\n(Sluice's streamkey); -name says which stream that is")
	flags.StringVar(&o.name, "name", "", "with -stream-key: the `NAME` that is published,\n"+checkForm)
	skip = flags.String("skip", "", "`PROTOCOLS` that are not watched, of rtmp, rtmps, http, https,\nws, wss and recording, separated by commas")
	authority = flags.String("ca", "", "a `FILE` with certificates (PEM) to trust in place of the system's")
	flags.BoolVar(&o.insecure, "insecure", false, "take any certificate")
	flags.BoolVar(&o.json, "json", false, "print the report as JSON")
	flags.BoolVar(&o.health, "health", false, "only ask /healthz")
	return flags, authority, skip
}

// checkForm is how the name of a self-test's stream reads.
const checkForm = "sluice-check- and 32 hexadecimal digits"

func helpText() string {
	var b strings.Builder
	b.WriteString(intro + "Flags:\n")
	flags, _, _ := newFlags(new(options))
	flags.SetOutput(&b)
	flags.PrintDefaults()
	b.WriteString(end)
	return b.String()
}

// parseFlags reads the arguments. Its errors repeat no secret.
func parseFlags(args []string) (options, error) {
	o := options{times: realTimes}
	flags, authority, skip := newFlags(&o)
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	for _, secret := range []*string{&o.publishKey, &o.watchKey, &o.token, &o.watchToken, &o.streamKey} {
		if err := readSecret(secret); err != nil {
			return o, err
		}
	}
	if *authority != "" {
		if err := o.trust(*authority); err != nil {
			return o, err
		}
	}
	for word := range strings.SplitSeq(*skip, ",") {
		if word = strings.TrimSpace(word); word == "" {
			continue
		}
		if !slices.Contains(protocols, word) {
			return o, fmt.Errorf("-skip has no protocol %q: there are %s", word, strings.Join(protocols, ", "))
		}
		o.skip = append(o.skip, word)
	}
	for _, text := range flags.Args() {
		base, err := parseBase(text)
		if err != nil {
			return o, err
		}
		o.bases = append(o.bases, base)
	}
	return o, o.check()
}

// check says what is wrong with the options together.
func (o *options) check() error {
	if o.health {
		if len(o.bases) > 1 || len(o.bases) == 1 && !strings.HasPrefix(o.bases[0].Scheme, "http") {
			return errors.New("-health takes one URL, http:// or https://")
		}
		return nil
	}
	if o.watchToken == "" {
		o.watchToken = o.token
	}
	key, err := hub.NewKey(o.app, "x")
	switch named := (hub.Key{App: "a", Name: o.name}); {
	case err != nil || key.App != o.app:
		return errors.New("-app is the name of an app, such as live")
	case (o.name == "") != (o.streamKey == ""):
		return errors.New("-stream-key and -name go together")
	case o.name != "" && !named.IsCheck():
		return fmt.Errorf("-name is %s", checkForm)
	case len(o.bases) == 0:
		return errors.New("it needs URLs, such as rtmp://localhost http://localhost:8080; flags stand before them")
	case len(o.bases) > maxBases:
		return fmt.Errorf("it takes %d URLs at the most", maxBases)
	case !slices.ContainsFunc(o.bases, func(u *url.URL) bool { return strings.HasPrefix(u.Scheme, "rtmp") }):
		return errors.New("it needs an rtmp:// or rtmps:// URL to publish to")
	}
	return nil
}

// maxSecretFile bounds the files of secrets and certificates, in bytes.
const maxSecretFile = 1 << 20

// readSecret replaces @FILE by what stands in the file.
func readSecret(secret *string) error {
	path, isFile := strings.CutPrefix(*secret, "@")
	if !isFile {
		return nil
	}
	text, err := readBounded(path)
	if err != nil {
		return err
	}
	if *secret = strings.TrimSpace(string(text)); *secret == "" {
		return fmt.Errorf("%s: the file is empty", path)
	}
	return nil
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err == nil && len(text) > maxSecretFile {
		err = fmt.Errorf("%s: it has more than %d bytes", path, maxSecretFile)
	}
	return text, err
}

// trust reads the authorities of -ca.
func (o *options) trust(path string) error {
	text, err := readBounded(path)
	if err != nil {
		return err
	}
	o.authorities = x509.NewCertPool()
	if !o.authorities.AppendCertsFromPEM(text) {
		return fmt.Errorf("%s: it has no certificate in PEM", path)
	}
	return nil
}

// parseBase reads a URL. Its errors repeat nothing of it, since it may hold secrets.
func parseBase(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("one of the URLs cannot be read")
	case strings.HasPrefix(text, "-"):
		return nil, errors.New("flags stand before the URLs")
	case !slices.Contains([]string{"rtmp", "rtmps", "http", "https"}, u.Scheme) || u.Hostname() == "":
		return nil, errors.New("a URL is a base: rtmp://HOST, rtmps://HOST, http://HOST:PORT or https://HOST")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("a URL is a base without user name and query; -key and -token show secrets")
	case strings.HasPrefix(u.Scheme, "rtmp") && strings.Trim(u.Path, "/") != "":
		return nil, errors.New("an rtmp URL is a base without a path; -app says which app to publish to")
	}
	u.Path = strings.TrimRight(u.Path, "/")
	u.RawPath = ""
	return u, nil
}

// defaultPorts are those of the schemes.
var defaultPorts = map[string]string{"rtmp": "1935", "rtmps": "443", "http": "80", "https": "443", "ws": "80", "wss": "443"}

// addressOf returns the host and port of a URL.
func addressOf(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = defaultPorts[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}
