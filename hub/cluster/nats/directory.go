package nats

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"sluice/hub/cluster"
)

// Bounds of what a node keeps for others.
const (
	maxAnswers     = 64              // questions being answered at a time, for each subject
	pendingNews    = 16 << 10        // messages of one subject that f has not seen yet; later ones are lost
	pendingBytes   = 16 << 20        // the same in bytes
	clientPing     = 3 * time.Second // of the connection to a server; the third without an answer ends it
	ownPing        = time.Minute     // the same where that is this process
	writeTimeout   = time.Second     // of a write to it: so long may a call outlast its context
	dialTimeout    = 2 * time.Second // for connection and handshake
	firstReconnect = 50 * time.Millisecond
	lastReconnect  = 2 * time.Second
)

// Directory is a cluster.Directory on NATS.
type Directory struct {
	cfg     Config
	bucket  bucket
	engine  *engine // nil where the engine is elsewhere
	log     *serverLog
	nc      *nats.Conn
	online  atomic.Bool // the connection to the server stands
	state   state
	said    cluster.Health // of which keep wrote its last lines
	done    chan struct{}  // closed when Close begins
	kick    chan struct{}  // has keep look at once
	keeping sync.WaitGroup
	closing sync.Once
	closed  chan struct{} // closed when all is gone
}

var _ cluster.Directory = (*Directory)(nil)

// New starts the engine or connects to one, and waits for no other node and no network: the calls return
// cluster.ErrMute until there is somebody to answer them. The error is of the settings, the folder or the
// node's address. The caller calls Close.
func New(cfg Config) (*Directory, error) {
	if err := cfg.defaults(); err != nil {
		return nil, err
	}
	d := &Directory{
		cfg:    cfg,
		log:    newServerLog(cfg.Logger),
		done:   make(chan struct{}),
		kick:   make(chan struct{}, 1),
		closed: make(chan struct{}),
	}
	d.bucket = bucket{name: cfg.bucket(), replicas: externalReplicas}
	d.state.since = time.Now()
	opts := []nats.Option{
		nats.Name("sluice"),
		nats.MaxReconnects(-1),
		nats.RetryOnFailedConnect(true),
		nats.IgnoreAuthErrorAbort(), // somebody may mend it meanwhile
		nats.CustomReconnectDelay(backoff),
		nats.ReconnectBufSize(-1), // a message that cannot be sent is lost, not sent later
		nats.Timeout(dialTimeout),
		nats.FlusherTimeout(writeTimeout),
		nats.ConnectHandler(func(*nats.Conn) { d.connected(true, nil) }),
		nats.ReconnectHandler(func(*nats.Conn) { d.connected(true, nil) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { d.connected(false, err) }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { d.connected(false, err) }),
		nats.ErrorHandler(d.failed),
	}
	var err error
	if cfg.URL == "" {
		err = d.embed(opts)
	} else {
		err = d.dial(opts)
	}
	if err != nil {
		return nil, err
	}
	d.keeping.Go(d.keep)
	return d, nil
}

// embed starts a server here.
func (d *Directory) embed(opts []nats.Option) (err error) {
	if d.engine, err = startEngine(&d.cfg, d.log); err != nil {
		return err
	}
	d.bucket.replicas = len(d.engine.voters)
	// Other nodes have client ports as well, which are not for this one.
	opts = append(opts, nats.UserInfo(d.engine.user, d.engine.pass), nats.IgnoreDiscoveredServers(), nats.PingInterval(ownPing))
	if d.nc, err = nats.Connect("nats://"+d.engine.srv.Addr().String(), opts...); err != nil {
		d.engine.kill()
	}
	return err
}

// dial connects to servers that are there.
func (d *Directory) dial(opts []nats.Option) (err error) {
	opts = append(opts, nats.PingInterval(clientPing), nats.MaxPingsOutstanding(2), nats.SkipHostLookup(), nats.SetCustomDialer(&dialer{}))
	if d.cfg.NkeyFile != "" {
		option, err := nats.NkeyOptionFromSeed(d.cfg.NkeyFile)
		if err != nil {
			return fmt.Errorf("%s: no seed of an nkey", d.cfg.NkeyFile)
		}
		opts = append(opts, option)
	}
	if d.cfg.CredentialsFile != "" {
		opts = append(opts, nats.UserCredentials(d.cfg.CredentialsFile))
	}
	if d.cfg.TLS != nil {
		tls, err := d.cfg.TLS.config(false)
		if err != nil {
			return err
		}
		opts = append(opts, nats.Secure(tls))
	}
	urls, err := withUser(d.cfg.URL)
	if err != nil {
		return err
	}
	if d.nc, err = nats.Connect(urls, opts...); err != nil {
		// Its error may hold the URL.
		return errors.New("the URL of the engine cannot be used")
	}
	return nil
}

// dialer fails the first time: a connection that is tried by nats.Connect is waited for, later ones are not.
type dialer struct{ tried atomic.Bool }

func (f *dialer) Dial(network, address string) (net.Conn, error) {
	if !f.tried.Swap(true) {
		return nil, errors.New("not yet")
	}
	return (&net.Dialer{Timeout: dialTimeout}).Dial(network, address)
}

// backoff returns how long to wait when all servers have been tried for so many times.
func backoff(attempts int) time.Duration {
	return min(firstReconnect<<min(attempts, 10), lastReconnect)
}

// connected notes that the connection to the server stands, or has ended.
func (d *Directory) connected(on bool, err error) {
	d.online.Store(on)
	d.state.lost(err)
	d.look()
}

// look has keep look how things are.
func (d *Directory) look() {
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

// failed is told of what goes wrong beside all calls.
func (d *Directory) failed(_ *nats.Conn, sub *nats.Subscription, err error) {
	if !d.log.first(err.Error()) {
		return
	}
	if errors.Is(err, nats.ErrSlowConsumer) && sub != nil {
		d.cfg.Logger.Warn("cluster: messages of other nodes are lost, since this one is too slow", "subject", sub.Subject)
		return
	}
	d.cfg.Logger.Warn("cluster engine", "err", err)
}

// Close implements cluster.Directory.
func (d *Directory) Close(ctx context.Context) error {
	d.closing.Do(func() {
		close(d.done)
		go func() {
			defer close(d.closed)
			d.keeping.Wait()
			if d.online.Load() {
				if err := d.nc.FlushTimeout(writeTimeout); err != nil {
					d.cfg.Logger.Debug("cluster: the last messages may be lost", "err", err)
				}
			}
			d.nc.Close()
			d.online.Store(false)
			if d.engine != nil {
				d.engine.stop(d.bucket.stream())
			}
		}()
	})
	select {
	case <-d.closed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// mute is the error of a call that has had no answer.
func mute(cause error) error { return fmt.Errorf("%w: %w", cluster.ErrMute, cause) }
