package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sluice/cmd/sluice/event"
	"sluice/cmd/sluice/hook"
	"sluice/hub/pattern"
	"sluice/web/admin"
)

// ControlSettings say who is told, who acts, and who stands in front. It is a part of config.
type ControlSettings struct {
	EventURL    secret        `env:"EVENT_URL" doc:"An http or https address that is told what happens."`
	EventFormat hook.Format   `env:"EVENT_FORMAT" envDefault:"json" doc:"How it is told: json, or srs or nginx: as SRS and nginx-rtmp tell their servers, of which both know less."`
	EventSecret secret        `env:"EVENT_SECRET" doc:"Signs what it is told; several, separated by spaces, while one is replaced."`
	EventExec   string        `env:"EVENT_EXEC" doc:"A program that is run for each event, an absolute path and its arguments, separated by spaces; the event is on its standard input."`
	EventUpdate time.Duration `env:"EVENT_UPDATE" envDefault:"0s" min:"0s" max:"24h" doc:"How often the sessions that run are told; 0 for never."`

	AdminAddr      addresses `env:"ADMIN_ADDR" doc:"Addresses of the operators' API and console, listed as in SLUICE_RTMP_ADDR. Empty: there are none."`
	AdminToken     secret    `env:"ADMIN_TOKEN" doc:"What operators show there (Authorization: Bearer), 16 characters or more."`
	AdminTLS       bool      `env:"ADMIN_TLS" envDefault:"false" doc:"true serves the operators' API and console, and metrics, over https only, with the certificates of SLUICE_TLS_CERT or SLUICE_TLS_DOMAINS."`
	AdminPlaintext bool      `env:"ADMIN_PLAINTEXT" envDefault:"false" doc:"true lets the operators' API, and metrics, be on other addresses than loopback although their tokens would cross the network in clear."`

	MetricsAddr    addresses `env:"METRICS_ADDR" doc:"Own addresses for /metrics, listed likewise: on loopback without a token, unless one is set. Empty: metrics are on the operators' addresses only."`
	MetricsToken   secret    `env:"METRICS_TOKEN" doc:"What a Prometheus shows for metrics (Authorization: Bearer), 16 characters or more; on the operators' address their token is good as well."`
	MetricsStreams int       `env:"METRICS_STREAMS" envDefault:"0" min:"0" max:"1000" doc:"How many streams have metrics by name, those that are watched most; 0 for none."`

	TrustedProxies networks `env:"TRUSTED_PROXIES" doc:"Networks or addresses of the proxies in front, whose word counts for the address of a client: X-Forwarded-For, and the PROXY protocol where it is on."`
	ProxyProtocol  words    `env:"PROXY_PROTOCOL" envDefault:"off" doc:"Where trusted proxies begin each connection with the PROXY protocol, version 1 or 2, before TLS: off, or some of rtmp, rtmps, http and https, separated by spaces or ;."`

	StateDir string `env:"STATE_DIR" doc:"Folder for what outlasts a restart, such as bans, which is made if it is missing. One process has it at a time. Empty: it is kept in memory only."`
}

// proxyWords are what SLUICE_PROXY_PROTOCOL may name.
var proxyWords = []string{"off", kindRTMP, kindRTMPS, kindHTTP, kindHTTPS}

// check says what is wrong with each value by itself.
func (s *ControlSettings) check(c *valueCheck) {
	c.secret("EVENT_URL", checkURL(string(s.EventURL)))
	for _, text := range strings.Fields(string(s.EventSecret)) {
		_, err := event.ParseSecret(text)
		c.secret("EVENT_SECRET", err)
	}
	_, err := s.eventProgram()
	c.value("EVENT_EXEC", s.EventExec, err)
	c.value("PROXY_PROTOCOL", joinWords(s.ProxyProtocol), s.ProxyProtocol.in(proxyWords...))
	if s.AdminToken != "" && len(s.AdminToken) < admin.MinToken {
		c.secret("ADMIN_TOKEN", fmt.Errorf("must have %d characters or more", admin.MinToken))
	}
	if s.MetricsToken != "" && len(s.MetricsToken) < admin.MinToken {
		c.secret("METRICS_TOKEN", fmt.Errorf("must have %d characters or more", admin.MinToken))
	}
}

// relations says what the settings lack of each other.
func (s *ControlSettings) relations() (problems []error) {
	if _, err := s.proxied(); err != nil {
		problems = append(problems, fmt.Errorf("SLUICE_PROXY_PROTOCOL=%q: %w", joinWords(s.ProxyProtocol), err))
	}
	if s.EventSecret != "" && s.EventURL == "" {
		problems = append(problems, errors.New("SLUICE_EVENT_SECRET is set, but SLUICE_EVENT_URL is not"))
	}
	if s.EventFormat != hook.FormatJSON && s.EventURL == "" {
		problems = append(problems, errors.New("SLUICE_EVENT_FORMAT is set, but SLUICE_EVENT_URL is not"))
	}
	switch {
	case len(s.AdminAddr) == 0 && s.AdminToken != "":
		problems = append(problems, errors.New("SLUICE_ADMIN_TOKEN is set, but SLUICE_ADMIN_ADDR is not"))
	case len(s.AdminAddr) > 0 && s.AdminToken == "":
		problems = append(problems, errors.New("SLUICE_ADMIN_ADDR needs SLUICE_ADMIN_TOKEN"))
	case len(s.AdminAddr) > 0 && !s.AdminAddr.areLoopback() && !s.AdminPlaintext && !s.AdminTLS:
		problems = append(problems, fmt.Errorf("SLUICE_ADMIN_ADDR=%q: beyond loopback the token would cross the network in "+
			"clear: set SLUICE_ADMIN_TLS=true, or SLUICE_ADMIN_PLAINTEXT=true where a server with TLS is in front", s.AdminAddr))
	}
	return append(problems, s.metricsRelations()...)
}

// metricsRelations says what the settings of metrics lack of others.
func (s *ControlSettings) metricsRelations() (problems []error) {
	if !s.measures() {
		for name, set := range map[string]bool{"TOKEN": s.MetricsToken != "", "STREAMS": s.MetricsStreams > 0} {
			if set {
				problems = append(problems, fmt.Errorf("SLUICE_METRICS_%s is set, but neither SLUICE_METRICS_ADDR nor SLUICE_ADMIN_ADDR", name))
			}
		}
		if s.AdminTLS {
			problems = append(problems, errors.New("SLUICE_ADMIN_TLS is set, but neither SLUICE_ADMIN_ADDR nor SLUICE_METRICS_ADDR"))
		}
		return problems
	}
	if s.MetricsToken != "" && s.MetricsToken == s.AdminToken {
		problems = append(problems, errors.New("SLUICE_METRICS_TOKEN and SLUICE_ADMIN_TOKEN are one: who scrapes could act as an operator"))
	}
	if s.MetricsAddr.areLoopback() {
		return problems
	}
	if s.MetricsToken == "" {
		problems = append(problems, fmt.Errorf("SLUICE_METRICS_ADDR=%q: beyond loopback it needs SLUICE_METRICS_TOKEN", s.MetricsAddr))
	}
	if !s.AdminPlaintext && !s.AdminTLS {
		problems = append(problems, fmt.Errorf("SLUICE_METRICS_ADDR=%q: beyond loopback the token would cross the network in "+
			"clear: set SLUICE_ADMIN_TLS=true, or SLUICE_ADMIN_PLAINTEXT=true where a server with TLS is in front", s.MetricsAddr))
	}
	return problems
}

// measures reports whether somebody can ask for metrics.
func (s *ControlSettings) measures() bool { return len(s.MetricsAddr) > 0 || len(s.AdminAddr) > 0 }

// eventProgram returns the program that is run for events, and its arguments.
func (s *ControlSettings) eventProgram() ([]string, error) {
	entries, err := pattern.Entries(s.EventExec)
	if err != nil || len(entries) == 0 {
		return nil, err
	}
	if len(entries) > 1 {
		return nil, errors.New("must be one program; a ; in an argument is written %3B")
	}
	var command []string
	for _, field := range entries[0] {
		word, err := pattern.Decode(field)
		if err != nil {
			return nil, err
		}
		command = append(command, word)
	}
	if !filepath.IsAbs(command[0]) {
		return nil, errors.New("must begin with an absolute path")
	}
	return command, nil
}

// proxied returns which listeners expect the PROXY protocol.
func (s *ControlSettings) proxied() (listeners []string, err error) {
	if err := s.ProxyProtocol.in(proxyWords...); err != nil {
		return nil, err
	}
	if slices.Contains(s.ProxyProtocol, "off") {
		if len(s.ProxyProtocol) > 1 {
			return nil, errors.New("off stands alone")
		}
		return nil, nil
	}
	if len(s.TrustedProxies) == 0 {
		return nil, errors.New("needs SLUICE_TRUSTED_PROXIES: whose headers are to be believed")
	}
	return s.ProxyProtocol, nil
}
