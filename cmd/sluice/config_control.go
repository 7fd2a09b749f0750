package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"sluice/hub/pattern"
)

// ControlSettings say who is told, who acts, and who stands in front. It is a part of config.
type ControlSettings struct {
	EventURL    secret        `env:"EVENT_URL" doc:"An http or https address that is told what happens."`
	EventSecret secret        `env:"EVENT_SECRET" doc:"Signs what it is told; several, separated by spaces, while one is replaced."`
	EventExec   string        `env:"EVENT_EXEC" doc:"A program that is run for each event, an absolute path and its arguments, separated by spaces; the event is on its standard input."`
	EventUpdate time.Duration `env:"EVENT_UPDATE" envDefault:"0s" min:"0s" max:"24h" doc:"How often the sessions that run are told; 0 for never."`

	AdminAddr      string `env:"ADMIN_ADDR" doc:"Address of the operators' API, HOST:PORT. Empty: there is none."`
	AdminToken     secret `env:"ADMIN_TOKEN" doc:"What operators show there (Authorization: Bearer), 16 characters or more."`
	AdminPlaintext bool   `env:"ADMIN_PLAINTEXT" envDefault:"false" doc:"true lets the operators' API be on other addresses than loopback although its token would cross the network in clear."`

	TrustedProxies networks `env:"TRUSTED_PROXIES" doc:"Networks or addresses of the proxies in front, whose word counts for the address of a client: X-Forwarded-For, and the PROXY protocol where it is on."`
	ProxyProtocol  words    `env:"PROXY_PROTOCOL" envDefault:"off" doc:"Where trusted proxies begin each connection with the PROXY protocol, version 1 or 2: off, or rtmp, http or both."`

	StateDir string `env:"STATE_DIR" doc:"Folder for what outlasts a restart, such as bans, which is made if it is missing. Empty: it is kept in memory only."`
}

// check says what is wrong with the settings.
func (c *ControlSettings) check() (problems []error) {
	wrong := func(name, shown string, err error) {
		if err != nil {
			problems = append(problems, fmt.Errorf("%s%s=%q: %w", envPrefix, name, shown, err))
		}
	}
	_, err := c.eventProgram()
	wrong("EVENT_EXEC", c.EventExec, err)
	_, err = c.proxied()
	wrong("PROXY_PROTOCOL", joinWords(c.ProxyProtocol), err)
	if c.AdminAddr != "" {
		host, _, err := splitAddr(c.AdminAddr)
		wrong("ADMIN_ADDR", c.AdminAddr, err)
		switch {
		case err != nil:
		case c.AdminToken == "":
			problems = append(problems, errors.New("SLUICE_ADMIN_ADDR needs SLUICE_ADMIN_TOKEN"))
		case !isLoopback(host) && !c.AdminPlaintext:
			wrong("ADMIN_ADDR", c.AdminAddr, errors.New(
				"beyond loopback the token would cross the network in clear: put a server with TLS in front, or set SLUICE_ADMIN_PLAINTEXT=true"))
		}
	} else if c.AdminToken != "" {
		problems = append(problems, errors.New("SLUICE_ADMIN_TOKEN is set, but SLUICE_ADMIN_ADDR is not"))
	}
	if c.AdminToken != "" && len(c.AdminToken) < minAdminToken {
		problems = append(problems, fmt.Errorf("SLUICE_ADMIN_TOKEN: must have %d characters or more", minAdminToken))
	}
	if err := checkURL(string(c.EventURL)); err != nil {
		problems = append(problems, fmt.Errorf("SLUICE_EVENT_URL: %w", err))
	}
	if c.EventSecret != "" && c.EventURL == "" {
		problems = append(problems, errors.New("SLUICE_EVENT_SECRET is set, but SLUICE_EVENT_URL is not"))
	}
	return problems
}

// minAdminToken is how many bytes an operator's token has at least.
const minAdminToken = 16

// eventProgram returns the program that is run for events, and its arguments.
func (c *ControlSettings) eventProgram() ([]string, error) {
	entries, err := pattern.Entries(c.EventExec)
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
func (c *ControlSettings) proxied() (listeners []string, err error) {
	if err := c.ProxyProtocol.in("off", "rtmp", "http"); err != nil {
		return nil, err
	}
	if slices.Contains(c.ProxyProtocol, "off") {
		if len(c.ProxyProtocol) > 1 {
			return nil, errors.New("off stands alone")
		}
		return nil, nil
	}
	if len(c.TrustedProxies) == 0 {
		return nil, errors.New("needs SLUICE_TRUSTED_PROXIES: whose headers are to be believed")
	}
	return c.ProxyProtocol, nil
}
