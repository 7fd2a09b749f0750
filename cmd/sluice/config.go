package main

import (
	"context"
	"encoding"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"sluice/cmd/sluice/certificate"
	"sluice/httpflv/answer"
	"sluice/hub"
	"sluice/hub/archive"
	"sluice/hub/pattern"
)

// envPrefix begins the name of every variable that Sluice reads.
const envPrefix = "SLUICE_"

// config is everything that can be set. It is the one source for parsing,
// checking, the help text and the table in the README: a field is a variable,
// and its tags say the rest.
//
//	env         name without the prefix
//	envDefault  value when the variable is unset or empty; without it that is empty
//	min, max    bounds, inclusive, written like values of the field
//	doc         meaning, for people who run Sluice
type config struct {
	ListenSettings

	Demo     bool       `env:"DEMO" envDefault:"false" doc:"true publishes a built-in clip as live/demo, in a loop."`
	LogLevel logLevel   `env:"LOG_LEVEL" envDefault:"info" doc:"Least important log lines to write: debug, info, warn or error."`
	LogForm  logFormat  `env:"LOG_FORMAT" envDefault:"text" doc:"Form of the log on standard output: text or json."`
	Coalesce coalescing `env:"COALESCE" envDefault:"auto" doc:"How long packets for a viewer may be gathered into one write: auto (as the load asks for), 0 (never) or a duration up to 1s."`

	PublisherGrace time.Duration `env:"PUBLISHER_GRACE" envDefault:"8s" min:"0s" max:"10m" doc:"How long viewers are held when the publisher is gone, so that it can come back; 0 ends them at once."`
	ViewerWait     time.Duration `env:"VIEWER_WAIT" envDefault:"10s" min:"0s" max:"10m" doc:"How long a viewer may wait for a stream that nobody publishes yet; 0 refuses at once."`
	MaxLag         time.Duration `env:"MAX_LAG" envDefault:"5s" min:"500ms" max:"2m" doc:"How far a viewer may fall behind the live edge before it jumps to the newest key frame."`
	StallTimeout   time.Duration `env:"STALL_TIMEOUT" envDefault:"30s" min:"1s" max:"10m" doc:"How long a viewer may take nothing at all, while there is something for it, before it is ended."`
	GOPMaxBytes    byteSize      `env:"GOP_MAX_BYTES" envDefault:"32MiB" min:"64KiB" max:"4GiB" doc:"How much of a stream is kept for those who join it, in bytes, KB, MB, GB, KiB, MiB or GiB. A longer GOP is cut."`
	LogDuration    time.Duration `env:"LOG_DURATION" envDefault:"0s" min:"0s" max:"1h" doc:"How much of a stream is kept for viewers who begin further back (?back=SECONDS), within SLUICE_GOP_MAX_BYTES; 0 keeps the newest GOP only."`
	FillSilence    bool          `env:"FILL_SILENCE" envDefault:"true" doc:"true puts silence into the gap where a publisher sends a picture and no AAC sound any more, so that players go on; false leaves the gap."`

	MaxViewers               int     `env:"MAX_VIEWERS" envDefault:"0" min:"0" max:"10000000" doc:"How many may watch one stream or wait for it; 0 for no bound."`
	MaxBitrate               bitRate `env:"MAX_BITRATE" envDefault:"0" min:"0" max:"100G" doc:"What a publisher may send, in bits per second, plain or with k, M or G, like 8M; one that sends more for several seconds is ended. 0 for no bound."`
	MaxConnections           int     `env:"MAX_CONNECTIONS" envDefault:"0" min:"0" max:"10000000" doc:"How many connections may be open at a time, RTMP and HTTP together; 0 for as many as the limit of open files is good for, less a reserve."`
	MaxConnectionsPerAddress int     `env:"MAX_CONNECTIONS_PER_ADDRESS" envDefault:"0" min:"0" max:"10000000" doc:"How many of them may come from one IP address (IPv6: from one /64 network); 0 for no bound. Behind a proxy all come from its address, unless SLUICE_TRUSTED_PROXIES names it."`

	AllowOrigins answer.Origins   `env:"ALLOW_ORIGINS" doc:"Origins of web pages that may have streams and the API, scheme://host[:port] each, separated by ; or line ends. A * is one label of a host (https://*.example.com), null is for pages without an origin. Their requests may carry credentials; pages of other origins are refused, but for the server's own; where there is no Origin, the Referer counts if there is one. Empty: any page may have streams, without credentials."`
	EmbedOrigins answer.Ancestors `env:"EMBED_ORIGINS" doc:"Origins of web pages that may frame /embed/APP/NAME, a stream's player, listed as in SLUICE_ALLOW_ORIGINS; *. before a name stands for all names below it, and a lone * for any page. Empty: only the server's own pages."`

	RecordDir               string        `env:"RECORD_DIR" doc:"Folder for recordings, which is made if it is missing. Empty: nothing is recorded."`
	Record                  pattern.List  `env:"RECORD" envDefault:"**" doc:"Patterns of the streams to record, separated by ; or line ends: APP/NAME, where * stands for one segment and ** for any number; a leading ! takes out again."`
	RecordSegment           time.Duration `env:"RECORD_SEGMENT" envDefault:"0s" min:"0s" max:"720h" doc:"A recording goes on in a new file after this time, at the next key frame; 0 for one file a session."`
	RecordSegmentBytes      byteSize      `env:"RECORD_SEGMENT_BYTES" envDefault:"0" min:"0" max:"8TiB" doc:"The same after so many bytes; 0 for no bound."`
	RecordSync              time.Duration `env:"RECORD_SYNC" envDefault:"5s" min:"0s" max:"1h" doc:"How often recordings are brought to the disk: what a power cut may cost. 0 leaves it to the system."`
	RecordKeep              time.Duration `env:"RECORD_KEEP" envDefault:"0s" min:"0s" max:"876000h" doc:"Finished recordings are deleted when they are older, like 720h for 30 days; 0 keeps them."`
	RecordKeepBytes         byteSize      `env:"RECORD_KEEP_BYTES" envDefault:"0" min:"0" max:"8PiB" doc:"The oldest finished recordings are deleted beyond so many bytes in all; 0 for no bound."`
	RecordKeepBytesOfStream byteSize      `env:"RECORD_KEEP_BYTES_PER_STREAM" envDefault:"0" min:"0" max:"8PiB" doc:"The same for the recordings of each stream."`
	RecordMinFree           byteSize      `env:"RECORD_MIN_FREE" envDefault:"1GiB" min:"0" max:"8PiB" doc:"Below so much free space the oldest finished recordings are deleted, and if there are none left recording stops until there is room."`
	RecordBuffer            byteSize      `env:"RECORD_BUFFER" envDefault:"64MiB" min:"1MiB" max:"1TiB" doc:"How much may wait in memory for a slow disk, of all recordings together; beyond it they have gaps."`

	AccessSettings
	ControlSettings
	TLSSettings
	DrainSettings
	PublicSettings
	RelaySettings
	ClusterSettings

	memory int64 // bytes that there are, 0 if unknown; from setUpMemory

	authorize        func(context.Context, *hub.Session) (hub.Grant, error) // nil grants everything
	authorizeTimeout time.Duration                                          // defaultAuthorizeTimeout if 0
	observe          func(hub.Event)                                        // nil for nobody
	maxOrigins       int                                                    // streams of origins at a time; 0 for the relay's own bound
	archive          *archive.Archive                                       // of RecordDir; nil for none
	permission       *permission                                            // nil permits everything
	certificates     *certificate.Source                                    // nil for none
	state            io.Closer                                              // keeps StateDir for this process; nil for none
	passed           listeners                                              // that systemd has opened
}

// settings are a part of config, in a file of their own.
type settings interface {
	// check says what is wrong with each value by itself.
	check(*valueCheck)
	// relations says what the settings lack of each other, and of other parts. It is called only
	// where every value is right by itself.
	relations() []error
}

// parts returns the parts that check themselves.
func (c *config) parts() []settings {
	return []settings{&c.AccessSettings, &c.ControlSettings, &c.DrainSettings, tlsNeeds{&c.TLSSettings, c}, &c.PublicSettings, &c.RelaySettings, &c.ClusterSettings}
}

// variable is one line of the help text: a field of config as its tags tell it.
type variable struct {
	Name, Default, Doc string
	Min, Max           string // "" = no bound
	secret             bool   // it is never printed, and may stand in a file
	field              string // name of the field in config
}

// variables lists every variable, in the order of config's fields.
func variables() []variable {
	var vs []variable
	for _, f := range reflect.VisibleFields(reflect.TypeFor[config]()) {
		if !f.IsExported() || f.Anonymous {
			continue
		}
		doc := f.Tag.Get("doc")
		if isSecret(f.Type) {
			doc += " Or in a file: " + envPrefix + f.Tag.Get("env") + fileSuffix + "."
		}
		vs = append(vs, variable{
			Name:    envPrefix + f.Tag.Get("env"),
			Default: f.Tag.Get("envDefault"),
			Doc:     doc,
			secret:  isSecret(f.Type),
			Min:     f.Tag.Get("min"),
			Max:     f.Tag.Get("max"),
			field:   f.Name,
		})
	}
	return vs
}

// loadConfig reads the configuration from environ, a list of NAME=value as
// os.Environ returns it. The error names every problem, one on a line. An empty
// value counts as unset, as compose files and unit files like to produce it.
func loadConfig(environ []string) (config, error) {
	values := env.ToMap(environ)
	vars := variables()
	problems := unknownNames(values, vars)
	problems = append(problems, readSecretFiles(values, vars)...)

	var cfg config
	err := env.ParseWithOptions(&cfg, env.Options{
		Prefix:      envPrefix,
		Environment: values,
		FuncMap: map[reflect.Type]env.ParserFunc{
			reflect.TypeFor[bool]():          parseBool,
			reflect.TypeFor[time.Duration](): parseDuration,
			reflect.TypeFor[int]():           parseCount,
		},
	})
	failed := map[string]bool{}
	if err != nil {
		var all env.AggregateError
		if !errors.As(err, &all) {
			return config{}, err
		}
		for _, e := range all.Errors {
			var bad env.ParseError
			if !errors.As(e, &bad) {
				problems = append(problems, e)
				continue
			}
			v := vars[slices.IndexFunc(vars, func(v variable) bool { return v.field == bad.Name })]
			failed[v.field] = true
			problems = append(problems, fmt.Errorf("%s=%q: %w", v.Name, values[v.Name], bad.Err))
		}
	}
	for _, v := range vars {
		if failed[v.field] {
			continue
		}
		if err := v.checkBounds(reflect.ValueOf(cfg).FieldByName(v.field)); err != nil {
			problems = append(problems, fmt.Errorf("%s=%q: %w", v.Name, values[v.Name], err))
		}
	}
	c := valueCheck{failed: make(map[string]bool), inFile: make(map[string]bool)}
	for _, v := range vars {
		name := strings.TrimPrefix(v.Name, envPrefix)
		c.failed[name], c.inFile[name] = failed[v.field], v.secret && values[v.Name+fileSuffix] != ""
	}
	for _, part := range cfg.parts() {
		part.check(&c)
	}
	if problems = append(problems, c.problems...); len(problems) == 0 {
		problems = cfg.checkListening()
		for _, part := range cfg.parts() {
			problems = append(problems, part.relations()...)
		}
	}
	if len(problems) > 0 {
		return config{}, errors.Join(problems...)
	}
	return cfg, nil
}

// checkBounds says whether a value lies within the bounds of its tags.
func (v variable) checkBounds(value reflect.Value) error {
	if v.Min == "" {
		return nil
	}
	n := value.Int()
	if n < v.bound(v.Min, value.Type()) || n > v.bound(v.Max, value.Type()) {
		return fmt.Errorf("must be between %s and %s", v.Min, v.Max)
	}
	return nil
}

// bound parses a bound of a field of type t. A bad one is a mistake in config.
func (v variable) bound(s string, t reflect.Type) int64 {
	value := reflect.New(t)
	var err error
	switch p := value.Interface().(type) {
	case encoding.TextUnmarshaler:
		err = p.UnmarshalText([]byte(s))
	case *time.Duration:
		*p, err = time.ParseDuration(s)
	case *int:
		*p, err = strconv.Atoi(s)
	default:
		err = fmt.Errorf("of a %v", t)
	}
	if err != nil {
		panic(fmt.Sprintf("config.%s: bound %q: %v", v.field, s, err))
	}
	return value.Elem().Int()
}

func parseBool(s string) (any, error) {
	b, err := strconv.ParseBool(s)
	if err != nil {
		return nil, errors.New("must be true or false")
	}
	return b, nil
}

func parseDuration(s string) (any, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return nil, errors.New("must be a duration with its unit, like 8s, 500ms or 1m30s")
	}
	return d, nil
}

func parseCount(s string) (any, error) {
	n, err := strconv.Atoi(s)
	if err != nil {
		return nil, errors.New("must be a whole number")
	}
	return n, nil
}

// logLevel is a level by one of its four names, in either case.
type logLevel slog.Level

// UnmarshalText accepts debug, info, warn and error.
func (l *logLevel) UnmarshalText(text []byte) error {
	switch strings.ToLower(string(text)) {
	case "debug", "info", "warn", "error":
		return (*slog.Level)(l).UnmarshalText(text)
	}
	return errors.New("must be debug, info, warn or error")
}

// logFormat is the form of a log line: "text" or "json".
type logFormat string

// UnmarshalText accepts text and json, in either case.
func (f *logFormat) UnmarshalText(text []byte) error {
	switch s := strings.ToLower(string(text)); s {
	case "text", "json":
		*f = logFormat(s)
		return nil
	}
	return errors.New("must be text or json")
}

// maxCoalesce bounds coalescing: packets held back longer are lag that a viewer
// sees.
const maxCoalesce = time.Second

// coalescing is how long packets may be gathered before a write: a duration in
// nanoseconds, or coalesceAuto.
type coalescing time.Duration

const coalesceAuto coalescing = -1

// UnmarshalText accepts auto, 0 and durations up to maxCoalesce.
func (c *coalescing) UnmarshalText(text []byte) error {
	if strings.EqualFold(string(text), "auto") {
		*c = coalesceAuto
		return nil
	}
	d, err := time.ParseDuration(string(text))
	if err != nil || d < 0 || d > maxCoalesce {
		return fmt.Errorf("must be auto, 0 or a duration up to %v, like 100ms", maxCoalesce)
	}
	*c = coalescing(d)
	return nil
}

// byteSize is a number of bytes, written plainly or with a unit.
type byteSize int64

var byteUnits = map[string]float64{
	"": 1, "b": 1,
	"kb": 1e3, "mb": 1e6, "gb": 1e9,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30,
	"tb": 1e12, "tib": 1 << 40, "pb": 1e15, "pib": 1 << 50,
}

// UnmarshalText accepts 33554432, 32MiB, 1.5 GB and the like, in either case.
func (b *byteSize) UnmarshalText(text []byte) error {
	n, ok := parseQuantity(string(text), byteUnits)
	if !ok {
		return errors.New("must be a number of bytes, plain or with KB, MB, GB, TB, PB, KiB, MiB, GiB, TiB or PiB, like 32MiB")
	}
	*b = byteSize(n)
	return nil
}

// bitRate is a number of bits per second, written plainly or with a unit.
type bitRate int64

var bitUnits = map[string]float64{"": 1, "k": 1e3, "m": 1e6, "g": 1e9}

// UnmarshalText accepts 8000000, 8M, 2.5 M, 500k and the like, in either case.
func (b *bitRate) UnmarshalText(text []byte) error {
	n, ok := parseQuantity(string(text), bitUnits)
	if !ok {
		return errors.New("must be a number of bits per second, plain or with k, M or G, like 8M")
	}
	*b = bitRate(n)
	return nil
}

// parseQuantity reads a number that is not negative and its unit, in either case.
func parseQuantity(text string, units map[string]float64) (n int64, ok bool) {
	s := strings.TrimSpace(text)
	end := strings.LastIndexAny(s, "0123456789.") + 1
	unit, known := units[strings.ToLower(strings.TrimSpace(s[end:]))]
	f, err := strconv.ParseFloat(s[:end], 64)
	// 2^53: up to here a float64 holds every whole number
	if err != nil || !known || f < 0 || f*unit > 1<<53 || strings.ContainsAny(s[:end], "eExX_") {
		return 0, false
	}
	return int64(f * unit), true
}
