package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"sluice/httpflv/pull"
	"sluice/hub"
	"sluice/hub/relay"
	"sluice/hub/relay/dialer"
	rtmprelay "sluice/rtmp/relay"
	"sluice/web/admin"
)

// relayFile is where relays that operators make are kept, in the folder of state.
const relayFile = "relays.json"

// pushEnd bounds how long targets have to take it that their streams are over when the server
// ends: it is a part of drainTimeout.
const pushEnd = 3 * time.Second

// newNodeID returns the id of this process among servers that relay streams to each other: no two
// have the same.
func newNodeID() string {
	var id [8]byte
	rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

// relays are the parts of the service that pull and push. The hub and the relay know each other: the
// hub tells and asks of it before it is there, and then waits until ready is closed. The nil relays
// relay nothing.
type relays struct {
	ready chan struct{}
	relay *relay.Relay // nil if it could not be made
}

// relayed reports whether there is anything to relay, or may be: by the configuration, by operators,
// or by what they have left in the folder of state.
func (c *config) relayed() bool {
	return len(c.rules()) > 0 || len(c.AdminAddr) > 0 || c.relayState() != "" && exists(c.relayState())
}

// pulls reports whether viewers may have streams pulled: not where rules are of the configuration only, and
// none of them is an origin.
func (c *config) pulls() bool {
	return c.relayed() && (c.Origin != "" || len(c.AdminAddr) > 0 || len(c.rules()) == 0)
}

// exists reports whether a file is there, or may be.
func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// relayState returns the file in which relays are kept, "" for none.
func (c *config) relayState() string {
	if c.StateDir == "" {
		return ""
	}
	return filepath.Join(c.StateDir, relayFile)
}

// newRelays returns what will relay when it is opened, nil if there is nothing to.
func newRelays(cfg *config) *relays {
	if !cfg.relayed() {
		return nil
	}
	return &relays{ready: make(chan struct{})}
}

// open begins to relay: all that is told of it must be there. It is called once.
func (r *relays) open(cfg *config, s *service, log *slog.Logger) (err error) {
	if r == nil {
		return nil
	}
	defer close(r.ready)
	config := relay.Config{
		Hub: s.hub, Rules: cfg.rules(), StateFile: cfg.relayState(),
		StartTimeout: cfg.OriginStartTimeout, Idle: orNever(cfg.OriginIdle),
		PullHold: orNever(cfg.PullHold), PushHold: orNever(cfg.PushHold), MaxOrigins: cfg.maxOrigins, Logger: log,
	}
	if s.notifier != nil {
		config.Told = s.notifier.Relayed
	}
	// Connections are opened before New has returned.
	var names atomic.Pointer[relay.Relay]
	o := newOpeners(func(address string) bool {
		of := names.Load()
		return of != nil && of.Names(address)
	})
	config.Open, config.Send = o.open, o.send
	if s.cluster != nil {
		config.Elsewhere = s.cluster.isElsewhere
	}
	if r.relay, err = relay.New(config); err != nil {
		return fmt.Errorf("%sSTATE_DIR: %w", envPrefix, err)
	}
	names.Store(r.relay)
	return nil
}

// get returns the relay when it is there; nil if there is none.
func (r *relays) get() *relay.Relay {
	if r == nil {
		return nil
	}
	<-r.ready
	return r.relay
}

// observe tells it what happens in the hub.
func (r *relays) observe(e hub.Event) {
	if of := r.get(); of != nil {
		of.Observe(e)
	}
}

// wanted tells it of viewers of a stream that no node has.
func (r *relays) wanted(key hub.Key, who *hub.Session) {
	r.observe(hub.Event{Kind: hub.EventWanted, Time: time.Now(), Key: key, Session: who})
}

// locate returns for how long it is worth waiting for a stream that nobody publishes.
func (r *relays) locate(key hub.Key) time.Duration {
	if of := r.get(); of != nil {
		return of.Locate(key)
	}
	return 0
}

// load takes the rules of a configuration that was read again.
func (r *relays) load(cfg *config) {
	if of := r.get(); of != nil {
		of.Load(cfg.rules())
	}
}

// endPushes tells targets that their streams are over, before the hub ends all else.
func (r *relays) endPushes(ctx context.Context) {
	if of := r.get(); of != nil {
		ctx, cancel := context.WithTimeout(ctx, pushEnd)
		defer cancel()
		_ = of.ClosePushes(ctx) // who has not taken it by then is cut off
	}
}

// close ends what is left, and returns when it has.
func (r *relays) close() {
	if of := r.get(); of != nil {
		_ = of.Close(context.Background()) // which has no end
	}
}

// figures returns the sums.
func (r *relays) figures() relay.Figures {
	if of := r.get(); of != nil {
		return of.Figures()
	}
	return relay.Figures{}
}

// operatedRelays are relays as the operators' API takes them.
type operatedRelays struct{ *relays }

var _ admin.Relays = operatedRelays{}

// Relays returns the rules.
func (o operatedRelays) Relays() []relay.RuleInfo { return o.get().Relays() }

// Add makes a rule.
func (o operatedRelays) Add(of relay.Rule) (relay.RuleInfo, error) { return o.get().Add(of) }

// Remove ends a rule.
func (o operatedRelays) Remove(id string) error { return o.get().Remove(id) }

// openers open the connections of relays, by the schemes of their URLs.
type openers struct {
	rtmp rtmprelay.Opener
	http pull.Opener
}

// newOpeners returns what opens connections. named reports whether a HOST:PORT is one that a
// configured URL names: a redirect may lead there, wherever that is.
func newOpeners(named func(address string) bool) *openers {
	d := dialer.New(0)
	dial := func(ctx context.Context, network, address string, trusted bool) (net.Conn, error) {
		return d.Dial(ctx, network, address, trusted || named(address))
	}
	return &openers{rtmp: rtmprelay.Opener{Dial: dial}, http: pull.Opener{Dial: dial}}
}

func (o *openers) open(ctx context.Context, of relay.Opening) (relay.Source, error) {
	switch of.URL.Scheme() {
	case "rtmp", "rtmps":
		return o.rtmp.Open(ctx, of)
	}
	return o.http.Open(ctx, of)
}

func (o *openers) send(ctx context.Context, to relay.Sending) (relay.Sink, error) {
	return o.rtmp.Send(ctx, to)
}
