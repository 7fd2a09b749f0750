package bench

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// options is what the flags say.
type options struct {
	publish         target
	publishes       bool
	publishers      int
	file            string
	bitrate         float64 // bits per second, 0 for the stream's own
	publishInterval time.Duration

	watch    []watched
	mix      mix
	viewers  int
	streams  int
	check    int
	joinRate float64
	duration time.Duration
	warmup   time.Duration

	churn         float64
	stay          time.Duration
	stalled       int
	stalledBuffer int

	pids   []int
	floor  bool
	rounds int

	record       string // folder
	play         target
	plays        bool
	players      int
	still        target
	stills       bool
	stillStreams int
	stillEvery   time.Duration
	seek         target
	seeking      bool
	seeks        int
	make         string // folder
	length       time.Duration

	null     bool
	listen   string
	interval time.Duration
	noDelay  bool
	untilEOF bool

	relay relayOptions
	whole clusterOptions // servers that are one
	tls   clientTLS
	ways  []way
	nginx string // the program
	front []int  // those of pids that stand in front of the server
	json  bool
}

// automatic is the publishInterval that is chosen by the load.
const automatic = -1

// helpIntro and helpEnd stand around the list of flags.
const (
	helpIntro = `Usage: sluice bench [flags]

Publishes streams to a media server and watches them with many viewers, checks
what a few of the viewers get frame by frame, and reports what it cost. URLs are
rtmp://HOST/APP/NAME, http://HOST/APP/NAME.flv and ws://HOST/APP/NAME.flv, or rtmps://,
https:// and wss://, of any server; %d in one (or %03d and the like) is the number of the
stream, from 0.

`
	helpEnd = `
Examples:
  sluice bench -publish rtmp://127.0.0.1/live/a \
      -watch http://127.0.0.1:8080/live/a.flv -viewers 1000 -pid $(pidof sluice)
  sluice bench -publish rtmp://127.0.0.1/live/s%d -publishers 500 \
      -watch rtmp://127.0.0.1/live/s%d -viewers 500
  sluice bench -publish rtmp://127.0.0.1/live/a \
      -watch ws://127.0.0.1:8080/live/a.flv -churn 300 -duration 30s
  sluice bench -publish rtmp://127.0.0.1/live/a -viewers 3000 -pid $(pidof sluice) \
      -watch 20%:rtmp://127.0.0.1/live/a -watch 30%:http://127.0.0.1:8080/live/a.flv \
      -watch 50%:ws://127.0.0.1:8080/live/a.flv -floor -interval 100ms -rounds 5
  sluice bench -record /tmp -publish rtmp://own/live/s%d -publishers 2000 \
      -watch http://own/live/s%d.flv -viewers 50 -check 50 -rounds 5
  sluice bench -publish rtmp://127.0.0.1/live/s%d -publishers 300 \
      -watch http://127.0.0.1:8080/live/s%d.flv -viewers 1000 -pid $(pidof sluice) \
      -stills 'http://127.0.0.1:8080/api/v1/still?stream=live/s%d' -rounds 5
  sluice bench -make /tmp/recordings -length 24h

A mix (-watch several times) is watched by viewers that join in turn, one beside the
other, not in blocks. N%: before a URL is its share of them, a whole number; with one
share all URLs need theirs, and they add up to 100. The floor of -floor is one null
server for all of them that writes the mean of their rates.

-record, -play and -stills compare the same load without something and with it, in turn,
-rounds times, and -ways the same load by different ways. -record and -ways start servers
of their own, this program with the variables of its environment, ports of its own and a
certificate of its own: their address takes the place of that in the URLs.
` + helpRelay + helpCluster + `
Exit codes: 0 when everything that was published came, 1 when something was lost,
wrong, late by more than 2 %, refused or ended, or the run was interrupted, 2 for a
mistake in the flags.
`
)

// flagSet returns the flags of o.
func flagSet(o *options) *flag.FlagSet {
	fs := flag.NewFlagSet("sluice bench", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Func("publish", "publish to this rtmp:// or rtmps:// `URL`", func(s string) (err error) {
		o.publishes = true
		o.publish, err = parseTarget(s)
		return err
	})
	fs.IntVar(&o.publishers, "publishers", 1, "how many streams to publish")
	fs.StringVar(&o.file, "file", "", "FLV `file` to publish in a loop (default the built-in clip of 8 s)")
	fs.Func("bitrate", "fill H.264 frames up to this `rate` in bits per second, like 2M; with -null, the rate for each connection", func(s string) (err error) {
		o.bitrate, err = parseRate(s)
		return err
	})
	o.publishInterval = automatic
	fs.Func("publish-interval", "gather what is due in this `time` into one write; 0 sends each frame by itself (default by the load: 0 or 100ms)", func(s string) (err error) {
		o.publishInterval, err = time.ParseDuration(s)
		if err == nil && (o.publishInterval < 0 || o.publishInterval > time.Second) {
			err = errors.New("must be from 0 to 1s")
		}
		return err
	})
	fs.Func("watch", "watch this `URL`, which tells the protocol; several -watch are a mix: equal shares of the viewers, or those of 20%:URL", func(s string) error {
		w, err := parseWatched(s)
		o.watch = append(o.watch, w)
		return err
	})
	fs.IntVar(&o.viewers, "viewers", 1, "how many viewers; those of a URL go round the streams, and neighbours watch different URLs")
	fs.IntVar(&o.streams, "streams", 0, "how many streams -watch spreads over, if somebody else publishes them (default -publishers)")
	fs.IntVar(&o.check, "check", 3, "how many of the viewers check every frame; the others count bytes")
	fs.Float64Var(&o.joinRate, "join-rate", 2000, "viewers and publishers that begin in a second, at most")
	fs.DurationVar(&o.duration, "duration", 20*time.Second, "how long to measure")
	fs.DurationVar(&o.warmup, "warmup", 4*time.Second, "how long to wait before that, once the last viewer has joined")
	fs.Float64Var(&o.churn, "churn", 0, "viewers that join in a second while measuring, wait for a key frame, stay and leave")
	fs.DurationVar(&o.stay, "stay", time.Second, "how long they stay, on average")
	fs.IntVar(&o.stalled, "stalled", 0, "viewers that join and read nothing while measuring, and go on reading then")
	fs.IntVar(&o.stalledBuffer, "stalled-buffer", 0, "their SO_RCVBUF in `bytes` (default the system's)")
	fs.Func("pid", "report CPU and memory of this `process`; several by commas or several flags (Linux)", func(s string) error {
		for text := range strings.SplitSeq(s, ",") {
			pid, err := strconv.Atoi(strings.TrimSpace(text))
			if err != nil || pid <= 0 {
				return errors.New("must be the number of a process")
			}
			o.pids = append(o.pids, pid)
		}
		return nil
	})
	fs.BoolVar(&o.floor, "floor", false, "compare the CPU with that of a null server at the same rate, number of viewers, -interval and -nodelay (Linux)")
	fs.IntVar(&o.rounds, "rounds", 1, "how often to measure, with -floor the server and the null server in turn; CPU is the median, and each round is reported")
	fs.StringVar(&o.record, "record", "", "compare servers without recordings and with; recordings go to a new `folder` within this one, and are deleted")
	fs.Func("play", "compare the server of -pid without players of a file and with: play this `URL`, over HTTP by ranges, no faster than it plays", func(s string) (err error) {
		o.plays = true
		o.play, err = parseTarget(s)
		return err
	})
	fs.IntVar(&o.players, "players", 500, "how many players of -play")
	fs.Func("stills", "compare the server of -pid without stills and with: fetch those of this `URL`, with %d for the number of the stream", func(s string) (err error) {
		o.stills = true
		o.still, err = parseTarget(s)
		return err
	})
	fs.IntVar(&o.stillStreams, "still-streams", 60, "of how many streams -stills fetches them")
	fs.DurationVar(&o.stillEvery, "still-every", 10*time.Second, "how often -stills fetches that of each stream")
	fs.Func("seek", "seek in the file of this rtmp:// or rtmps:// `URL`", func(s string) (err error) {
		o.seeking = true
		o.seek, err = parseTarget(s)
		return err
	})
	fs.IntVar(&o.seeks, "seeks", 1000, "how often to seek")
	fs.StringVar(&o.make, "make", "", "make a recording in this `folder` of recordings, which no server may have open, and print its path")
	fs.DurationVar(&o.length, "length", time.Hour, "how long it is")
	fs.BoolVar(&o.null, "null", false, "be a null server: answer every connection with the same bytes, every -interval, at -bitrate (Linux)")
	fs.StringVar(&o.listen, "listen", "127.0.0.1:0", "`address` of the null server")
	fs.DurationVar(&o.interval, "interval", 0, "how far apart the writes of the null server are")
	fs.BoolVar(&o.noDelay, "nodelay", true, "TCP_NODELAY of the null server")
	fs.BoolVar(&o.untilEOF, "until-eof", false, "end the null server with its standard input")
	o.tls.flags(fs)
	o.wayFlags(fs)
	o.relayFlags(fs)
	o.clusterFlags(fs)
	fs.BoolVar(&o.json, "json", false, "report as JSON")
	return fs
}

// helpText is what sluice bench -h prints.
func helpText() string {
	var b strings.Builder
	b.WriteString(helpIntro)
	fs := flagSet(new(options))
	fs.SetOutput(&b)
	fs.PrintDefaults()
	b.WriteString(helpEnd)
	return b.String()
}

// parseFlags reads the arguments.
func parseFlags(args []string) (*options, error) {
	o := new(options)
	fs := flagSet(o)
	if err := fs.Parse(args); err != nil {
		return nil, secretive(err, args)
	}
	if fs.NArg() > 0 {
		return nil, errors.New("arguments that belong to no flag")
	}
	if err := errors.Join(o.relayDefaults(fs), o.clusterDefaults(fs)); err != nil {
		return nil, err
	}
	if o.streams == 0 {
		o.streams = o.publishers
	}
	if err := o.validate(); err != nil {
		return nil, err
	}
	var percents []int
	for _, w := range o.watch {
		percents = append(percents, w.percent)
	}
	var err error
	o.mix, err = newMix(percents)
	return o, err
}

// secretive takes the value of a flag out of the flag package's error: a URL may
// hold a stream key.
func secretive(err error, args []string) error {
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	text := err.Error()
	for _, arg := range args {
		if _, value, ok := strings.Cut(arg, "="); ok && strings.HasPrefix(arg, "-") {
			arg = value
		}
		if strings.Contains(arg, "://") {
			text = strings.ReplaceAll(text, strconv.Quote(arg)+" ", "")
		}
	}
	return errors.New(text)
}

// validate says what is wrong with flags that are well-formed by themselves.
func (o *options) validate() error {
	wrong := func(bad bool, text string) error {
		if bad {
			return errors.New(text)
		}
		return nil
	}
	linux := runtime.GOOS == "linux"
	measures := len(o.watch) > 0
	problems := []error{
		wrong(o.publishers < 1 || o.publishers > 1_000_000, "-publishers must be from 1 to 1000000"),
		wrong(o.viewers < 0 || o.viewers > 10_000_000, "-viewers must be from 0 to 10000000"),
		wrong(o.streams < 1, "-streams must be 1 at least"),
		wrong(o.check < 0, "-check must not be negative"),
		wrong(o.stalled < 0, "-stalled must not be negative"),
		wrong(o.stalledBuffer < 0, "-stalled-buffer must not be negative"),
		wrong(!(o.joinRate > 0), "-join-rate must be more than 0"),
		wrong(!(o.churn >= 0), "-churn must not be negative"),
		wrong(o.duration <= 0, "-duration must be more than 0"),
		wrong(o.warmup < 0 || o.stay < 0, "-warmup and -stay must not be negative"),
		wrong(o.rounds < 1, "-rounds must be 1 at least"),
		wrong((o.null || o.floor) && !linux, "-null and -floor need Linux"),
		wrong(len(o.pids) > 0 && !linux, "-pid needs Linux"),
		wrong((o.null || o.floor) && o.interval <= 0, "-null and -floor need an -interval, like 100ms"),
	}
	if o.null {
		problems = append(problems,
			wrong(o.bitrate == 0, "-null needs a -bitrate"),
			wrong(o.publishes || measures, "-null goes without -publish and -watch"))
		return first(problems)
	}
	problems = append(problems, o.validateFiles(wrong)...)
	problems = append(problems, o.validateRelay(wrong)...)
	problems = append(problems, o.validateCluster(wrong)...)
	if o.seeking || o.make != "" || len(o.whole.parts) > 0 {
		return first(problems)
	}
	problems = append(problems,
		wrong(!o.publishes && !measures && !o.plays, "nothing to do: give -publish, -watch, -play, -seek, -make or -null"),
		wrong(o.publishes && o.publish.protocol != rtmpPlay, "-publish must be an rtmp:// or rtmps:// URL"),
		wrong(o.publishers > 1 && !(o.publishes && o.publish.numbered()), "-publishers needs a -publish URL with %d for the number of the stream"),
		wrong(!measures && (o.churn > 0 || o.stalled > 0), "-churn and -stalled need -watch"),
		wrong(o.floor && (len(o.pids) == 0 || !measures || o.viewers == 0), "-floor needs -watch, -viewers and -pid"),
		wrong(o.publishes && o.streams > o.publishers, "-streams are more than -publishers"))
	return first(problems)
}

// maxLength is the longest recording that -make makes.
const maxLength = 1000 * time.Hour

// validateFiles says what is wrong with the flags about recordings.
func (o *options) validateFiles(wrong func(bad bool, text string) error) []error {
	modes := 0
	for _, on := range []bool{o.record != "", o.plays, o.stills, o.seeking, o.make != "", o.floor, len(o.ways) > 0, o.relay.mode != "", len(o.whole.parts) > 0} {
		if on {
			modes++
		}
	}
	alone := o.seeking || o.make != ""
	return []error{
		wrong(modes > 1, "-record, -play, -stills, -seek, -make, -ways, -relay, -cluster and -floor go one at a time"),
		wrong(alone && (o.publishes || len(o.watch) > 0), "-seek and -make go without -publish and -watch"),
		wrong(o.record != "" && runtime.GOOS != "linux", "-record needs Linux"),
		wrong(o.record != "" && (!o.publishes || len(o.pids) > 0), "-record needs -publish, and goes without -pid"),
		wrong(len(o.ways) > 0 && runtime.GOOS != "linux", "-ways needs Linux"),
		wrong(len(o.ways) > 0 && (!o.publishes || len(o.watch) == 0 || len(o.pids) > 0), "-ways needs -publish and -watch, and goes without -pid"),
		wrong(o.plays && len(o.pids) == 0, "-play needs -pid"),
		wrong(o.players < 1 || o.players > 1_000_000, "-players must be from 1 to 1000000"),
		wrong(o.stills && (len(o.pids) == 0 || !o.publishes && len(o.watch) == 0), "-stills needs -pid, and -publish or -watch"),
		wrong(o.stills && o.still.protocol != httpFLV, "-stills must be an http:// or https:// URL"),
		wrong(o.stillStreams < 1 || o.stillStreams > 1_000_000, "-still-streams must be from 1 to 1000000"),
		wrong(o.stillEvery < time.Millisecond, "-still-every must be 1ms at least"),
		wrong(o.seeking && o.seek.protocol != rtmpPlay, "-seek must be an rtmp:// or rtmps:// URL"),
		wrong(o.seeks < 1 || o.seeks > 10_000_000, "-seeks must be from 1 to 10000000"),
		wrong(o.length < time.Second || o.length > maxLength, "-length must be from 1s to 1000h"),
	}
}

// first returns the first error.
func first(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// nullConfig returns how to be a null server.
func (o *options) nullConfig() nullConfig {
	return nullConfig{listen: o.listen, interval: o.interval, bitrate: o.bitrate, noDelay: o.noDelay, untilEOF: o.untilEOF}
}

// loadLoop returns what to publish.
func (o *options) loadLoop(builtIn []byte) (*loop, error) {
	l, err := o.readFile(builtIn)
	if err != nil {
		return nil, err
	}
	if o.bitrate == 0 {
		return l, nil
	}
	if l, err = l.padded(o.bitrate); err != nil {
		return nil, fmt.Errorf("-bitrate: %w", err)
	}
	return l, nil
}

func (o *options) readFile(builtIn []byte) (*loop, error) {
	if o.file == "" {
		return readLoop(strings.NewReader(string(builtIn)))
	}
	f, err := os.Open(o.file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	l, err := readLoop(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.file, err)
	}
	return l, nil
}
