package main

import (
	"time"

	"sluice/hub/relay"
)

// RelaySettings say which streams come from other servers, and go to them. It is a part of config.
type RelaySettings struct {
	Pull   secret `env:"PULL" doc:"Streams that are always pulled from other servers: APP/NAME URL [URL …], entries separated by ; or line ends. rtmp, rtmps, http, https, ws and wss; several URLs are tried one after the other. A ; in a URL is written %3B, a space %20."`
	Origin secret `env:"ORIGIN" doc:"Where streams are pulled from when their first viewer comes: PATTERN URL [URL …], entries as above. {app}, {name} and {query}, the first viewer's, may stand in the path and query of a URL. So many streams may be pulled so at a time as is a sixteenth of the limit of open files."`
	Push   secret `env:"PUSH" doc:"Where streams are pushed to: PATTERN URL, entries as above, several for one pattern. rtmp and rtmps; {app} and {name} may stand in the path and query."`

	OriginStartTimeout time.Duration `env:"ORIGIN_START_TIMEOUT" envDefault:"10s" min:"100ms" max:"10m" doc:"How long viewers wait for a stream of SLUICE_ORIGIN until its first picture or sound has come."`
	OriginIdle         time.Duration `env:"ORIGIN_IDLE" envDefault:"10s" min:"0s" max:"24h" doc:"How long a stream of SLUICE_ORIGIN is pulled on when nobody watches it any more."`
	PullHold           time.Duration `env:"PULL_HOLD" envDefault:"60s" min:"0s" max:"24h" doc:"How long viewers of a pulled stream are held while no server gives it."`
	PushHold           time.Duration `env:"PUSH_HOLD" envDefault:"60s" min:"0s" max:"24h" doc:"How long a target of SLUICE_PUSH is not told that the stream is over when the publisher is gone, so that it can come back; 0 tells it at once."`
}

// check says what is wrong with each value by itself.
func (r *RelaySettings) check(c *valueCheck) {
	for _, list := range r.lists() {
		_, err := relay.ParseRules(list.kind, string(list.text))
		c.secret(list.name, err)
	}
}

// relations has nothing to say: each setting is of use without the others.
func (r *RelaySettings) relations() []error { return nil }

// ruleList is a variable with rules.
type ruleList struct {
	name string
	kind relay.Kind
	text secret
}

func (r *RelaySettings) lists() []ruleList {
	return []ruleList{{"PULL", relay.Pull, r.Pull}, {"ORIGIN", relay.Origin, r.Origin}, {"PUSH", relay.Push, r.Push}}
}

// rules returns the rules of settings that were checked.
func (r *RelaySettings) rules() (all []relay.Rule) {
	for _, list := range r.lists() {
		rules, _ := relay.ParseRules(list.kind, string(list.text))
		all = append(all, rules...)
	}
	return all
}
