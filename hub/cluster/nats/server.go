package nats

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"sluice/hub/cluster"
)

// Bounds of the engine in this process.
const (
	maxRecords    = 64 << 20         // of all records, in bytes
	maxStore      = 64 << 20         // of what the engine writes into its folder, in bytes
	maxPending    = 32 << 20         // of what one connection has not taken yet, in bytes
	maxHeader     = 4 << 10          // of a message, beside its data, in bytes
	maxClients    = 4                // connections on the client port: there is one
	routePing     = 5 * time.Second  // a node that answers none of three is cut off
	routeDeadline = 10 * time.Second // of a write to another node
	routeUser     = "sluice"         // what counts is the password
	clusterName   = "sluice-"        // with the list of voters behind it
	globalAccount = "$G"             // in which all that is ours happens
	jsFolder      = "jetstream-"     // in Config.Dir, one for each list of voters
)

// engine is a server of NATS in this process.
type engine struct {
	cfg    *Config
	voters []string
	log    *serverLog
	srv    *server.Server
	user   string // of the client port
	pass   string
	temp   string // the folder that goes with the process; empty where there is another
}

// startEngine starts a server. It waits for no other node.
func startEngine(cfg *Config, log *serverLog) (e *engine, err error) {
	e = &engine{cfg: cfg, voters: cfg.voters(), log: log, user: routeUser, pass: rand.Text()}
	defer func() {
		if err != nil {
			e.kill()
		}
	}()
	log.hide(e.pass)
	opts, err := e.options()
	if err != nil {
		return e, err
	}
	if opts.Cluster.Port != 0 {
		// The server would only write a line where it cannot listen.
		l, err := net.Listen("tcp", net.JoinHostPort(opts.Cluster.Host, strconv.Itoa(opts.Cluster.Port)))
		if err != nil {
			return e, fmt.Errorf("the address of this node: %w", err)
		}
		l.Close()
	}
	if e.srv, err = server.NewServer(opts); err != nil {
		return e, err
	}
	e.srv.SetLoggerV2(log, false, false, false)
	e.srv.Start()
	if err := log.fatal(); err != nil {
		return e, err
	}
	return e, nil
}

func (e *engine) options() (*server.Options, error) {
	opts := &server.Options{
		ServerName: e.cfg.Node,
		// The server has a client port, or no routes either. It is also how this process talks to it: a
		// connection in memory has no buffer, so that both ends can come to wait for each other while each
		// writes.
		Host:                   "127.0.0.1",
		Port:                   server.RANDOM_PORT,
		Username:               e.user,
		Password:               e.pass,
		MaxConn:                maxClients,
		MaxPayload:             cluster.MaxMessage + maxHeader,
		MaxPending:             maxPending,
		WriteDeadline:          routeDeadline,
		NoSigs:                 true,
		NoFastProducerStall:    true,
		DisableJetStreamBanner: true,
	}
	if slices.Contains(e.voters, e.cfg.Node) {
		dir, err := e.folder()
		if err != nil {
			return nil, err
		}
		opts.JetStream = true
		opts.StoreDir = dir
		opts.JetStreamMaxMemory = 2 * maxRecords
		opts.JetStreamMaxStore = maxStore
	}
	if len(e.cfg.Nodes) == 1 {
		return opts, nil
	}
	return opts, e.routes(opts)
}

// routes has the server talk to the other nodes.
func (e *engine) routes(opts *server.Options) error {
	host, port, _ := net.SplitHostPort(e.cfg.Node)
	number, err := net.LookupPort("tcp", port)
	if err != nil {
		return err
	}
	password, err := e.cfg.routePassword()
	if err != nil {
		return err
	}
	e.log.hide(password)
	opts.Cluster = server.ClusterOpts{
		Name:           clusterName + e.votersID(),
		Host:           host,
		Port:           number,
		Advertise:      e.cfg.Node,
		Username:       routeUser,
		Password:       password,
		AuthTimeout:    5,
		TLSTimeout:     5,
		ConnectRetries: math.MaxInt32, // routes that one node has heard of from another are tried for ever too
		PoolSize:       1,             // one connection for votes and one for the rest
		Compression:    server.CompressionOpts{Mode: server.CompressionOff},
		PingInterval:   routePing,
		MaxPingsOut:    2,
		WriteDeadline:  routeDeadline,
	}
	if e.cfg.TLS != nil {
		if opts.Cluster.TLSConfig, err = e.cfg.TLS.config(true); err != nil {
			return err
		}
	}
	// Voters are given voters only, with themselves: of how many there are in the list, the server gets how
	// many have to be there for the first leader. The others dial them.
	nodes := e.voters
	if !opts.JetStream {
		nodes = e.cfg.Nodes
	}
	for _, node := range nodes {
		opts.Routes = append(opts.Routes, &url.URL{Scheme: "nats-route", User: url.UserPassword(routeUser, password), Host: node})
	}
	return nil
}

// votersID stands for the list of voters. Servers with different ones do not connect: together they would be an engine
// with the voters of both, in which nobody decides when the nodes of one list have gone. So they are two until all
// nodes have the same list, as nodes are that do not see each other.
func (e *engine) votersID() string {
	sum := sha256.Sum256([]byte(strings.Join(e.voters, " ")))
	return hex.EncodeToString(sum[:8])
}

// folder returns the folder of the engine. It is another one for each list of voters: a server that remembers
// others would wait for them.
func (e *engine) folder() (string, error) {
	root := e.cfg.Dir
	if root == "" {
		var err error
		if e.temp, err = os.MkdirTemp("", "sluice-cluster-"); err != nil {
			return "", err
		}
		root = e.temp
	}
	name := jsFolder + e.votersID()
	if err := os.MkdirAll(filepath.Join(root, name), 0o700); err != nil {
		return "", err
	}
	old, err := filepath.Glob(filepath.Join(root, jsFolder+"*"))
	if err != nil {
		return "", err
	}
	for _, dir := range old {
		if filepath.Base(dir) != name {
			if err := os.RemoveAll(dir); err != nil {
				return "", err
			}
		}
	}
	return filepath.Join(root, name), nil
}

// newRoute is how old a connection to another node is until it counts: one that is refused stands until that is heard.
const newRoute = 500 * time.Millisecond

// peers returns the other nodes that are connected.
func (e *engine) peers() []string {
	routes, err := e.srv.Routez(nil)
	if err != nil {
		return nil
	}
	var names []string
	for _, r := range routes.Routes {
		if r.RemoteName != "" && time.Since(r.Start) >= newRoute && !slices.Contains(names, r.RemoteName) {
			names = append(names, r.RemoteName)
		}
	}
	return names
}

// isCurrent reports whether this server has what the others that vote have, of records and of what there is at all. Until
// then it is no help to them when another one goes.
func (e *engine) isCurrent(bucket string) bool {
	return !slices.Contains(e.voters, e.cfg.Node) ||
		e.srv.JetStreamIsCurrent() && e.srv.JetStreamIsStreamCurrent(globalAccount, bucket)
}

// stop ends the server. Where it decides on records, another one does before it is gone.
func (e *engine) stop(bucket string) {
	if e.srv.JetStreamEnabled() && len(e.cfg.Nodes) > 1 {
		if err := e.srv.JetStreamStepdownStream(globalAccount, bucket); err != nil {
			e.log.logger.Debug("cluster engine: nothing to hand over", "err", err)
		}
	}
	e.kill()
}

// kill ends the server as it is, if there is one, and takes its temporary folder away.
func (e *engine) kill() {
	if e.srv != nil {
		e.srv.Shutdown()
		e.srv.WaitForShutdown()
	}
	if e.temp != "" {
		if err := os.RemoveAll(e.temp); err != nil {
			e.log.logger.Debug("cluster engine: its temporary folder stays", "err", err)
		}
	}
}
