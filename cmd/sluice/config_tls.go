package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"

	"sluice/cmd/sluice/certificate"
	"sluice/hub/pattern"
)

// TLSSettings say which certificates there are. It is a part of config.
type TLSSettings struct {
	TLSCert    paths   `env:"TLS_CERT" doc:"Files with certificates for listeners with TLS, PEM with the issuers' behind each, separated by ; or line ends (a space is %20). A viewer gets the one for the name it asks for, else the first. They are looked at every 10 s and on SIGHUP; the old one stays while a new one is of no use."`
	TLSKey     paths   `env:"TLS_KEY" doc:"Files with their keys, PEM, in the same order."`
	TLSDomains domains `env:"TLS_DOMAINS" doc:"Instead of files: names for which certificates are obtained and renewed by ACME, separated by spaces or ;. It needs SLUICE_STATE_DIR, and this server reached under each name at port 80 or 443. Whoever sets it accepts the authority's terms of service."`
	ACMEURL    string  `env:"ACME_URL" doc:"The directory of another authority than Let's Encrypt, https. A certificate that the system does not trust is trusted by SSL_CERT_FILE."`
}

// paths are those of files, in the grammar of lists.
type paths []string

// UnmarshalText reads a list with one path in an entry.
func (p *paths) UnmarshalText(text []byte) error {
	entries, err := pattern.Entries(string(text))
	if err != nil {
		return err
	}
	*p = nil
	for _, fields := range entries {
		if len(fields) > 1 {
			return errors.New("must be paths separated by ; or line ends; a space in a path is written %20")
		}
		path, err := pattern.Decode(fields[0])
		if err != nil {
			return err
		}
		*p = append(*p, path)
	}
	return atMostCertificates(len(*p))
}

// domains are names for which certificates are obtained.
type domains []string

// UnmarshalText reads names separated by spaces, commas and semicolons, and leaves out those that
// stand there before.
func (d *domains) UnmarshalText(text []byte) error {
	var names words
	names.UnmarshalText(text)
	*d = nil
	seen := make(map[string]bool)
	for _, text := range names {
		name, err := certificate.Domain(text)
		if err != nil {
			return fmt.Errorf("%q %w", text, err)
		}
		if !seen[name] {
			seen[name] = true
			*d = append(*d, name)
		}
	}
	return atMostCertificates(len(*d))
}

func atMostCertificates(n int) error {
	if n > certificate.MaxCertificates {
		return fmt.Errorf("are %d, and may be %d", n, certificate.MaxCertificates)
	}
	return nil
}

// check says what is wrong with each value by itself.
func (t *TLSSettings) check(c *valueCheck) {
	if t.ACMEURL != "" {
		u, err := url.Parse(t.ACMEURL)
		if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.Fragment != "" || u.User != nil {
			c.value("ACME_URL", t.ACMEURL, errors.New("must be a URL like https://acme.example.com/directory"))
		}
	}
}

// relations says what the settings lack of each other.
func (t *TLSSettings) relations() (problems []error) {
	wrong := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	switch certs, keys := len(t.TLSCert), len(t.TLSKey); {
	case certs > 0 && keys == 0:
		wrong("SLUICE_TLS_CERT needs SLUICE_TLS_KEY")
	case certs == 0 && keys > 0:
		wrong("SLUICE_TLS_KEY is set, but SLUICE_TLS_CERT is not")
	case certs != keys:
		wrong("SLUICE_TLS_CERT names %d files and SLUICE_TLS_KEY %d: each certificate needs its key", certs, keys)
	}
	if len(t.TLSDomains) == 0 {
		if t.ACMEURL != "" {
			wrong("SLUICE_ACME_URL is set, but SLUICE_TLS_DOMAINS is not")
		}
		return problems
	}
	if len(t.TLSCert) > 0 {
		wrong("SLUICE_TLS_CERT and SLUICE_TLS_DOMAINS are both set: one of them says where certificates come from")
	}
	return problems
}

// tlsNeeds are the settings of TLS with what they need of other parts.
type tlsNeeds struct {
	*TLSSettings
	whole *config
}

// relations says what the settings lack of each other, and of other parts.
func (t tlsNeeds) relations() (problems []error) {
	if problems = t.TLSSettings.relations(); len(t.TLSDomains) > 0 && t.whole.StateDir == "" {
		problems = append(problems, errors.New("SLUICE_TLS_DOMAINS needs SLUICE_STATE_DIR: without it each start would "+
			"ask for new certificates, and authorities give a name few of them a week"))
	}
	return problems
}

// hasCertificates reports whether listeners with TLS have certificates.
func (t *TLSSettings) hasCertificates() bool { return len(t.TLSCert) > 0 || len(t.TLSDomains) > 0 }

// openCertificates returns the certificates for listeners with TLS; nil if there are none.
func openCertificates(c *config, log *slog.Logger) (*certificate.Source, error) {
	if !c.hasCertificates() {
		return nil, nil
	}
	config := certificate.Config{Domains: c.TLSDomains, Directory: c.ACMEURL, StateDir: c.StateDir, Logger: log}
	for i, path := range c.TLSCert {
		config.Files = append(config.Files, certificate.Files{Cert: path, Key: c.TLSKey[i]})
	}
	name := "TLS_CERT"
	if len(c.TLSDomains) > 0 {
		name = "TLS_DOMAINS"
	}
	source, err := certificate.Open(config)
	if err != nil {
		return nil, fmt.Errorf("%s%s: %w", envPrefix, name, err)
	}
	return source, nil
}
