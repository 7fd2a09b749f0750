package main

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"sluice/httpflv/replica"
	"sluice/hub"
	"sluice/hub/cluster"
	"sluice/hub/cluster/nats"
	"sluice/web/admin"
)

// clustered are the parts of the service that make it one of several. The hub and the cluster know each other: the
// hub tells and asks of it before it is there, and then waits until ready is closed. The nil clustered is alone.
type clustered struct {
	ready     chan struct{}
	name      string           // of this node; of use when it is ready
	reach     reach            // likewise
	cluster   *cluster.Cluster // nil if it could not be made
	directory *nats.Directory
	inner     *replica.Server // gives streams to other nodes
	media     net.Listener
	sends     bool // the operator has said where clients reach nodes over RTMP
	log       *slog.Logger
}

// hubPulse is how long the process may stand still before what its publishers send waits (hub.Config.Pulse).
const hubPulse = time.Second

// resumable is how much of a stream is kept at the least for nodes whose connections break: so much may be on its way, or
// come until they are back.
const resumable = 5 * time.Second

// newClustered returns what will be one of several when it is opened, nil where this server is alone.
func newClustered(cfg *config, log *slog.Logger) *clustered {
	if !cfg.clustered() {
		return nil
	}
	return &clustered{ready: make(chan struct{}), sends: cfg.ClusterRTMPURL != "", log: log}
}

// policy puts the cluster into the hub's.
func (c *clustered) policy(of *hub.Config) {
	if c == nil {
		return
	}
	of.Pulse = hubPulse
	of.LogDuration = max(of.LogDuration, resumable)
	of.Claim = func(ctx context.Context, s *hub.Session) (hub.Claim, error) {
		if c.get() == nil {
			return hub.Claim{}, nil
		}
		return c.cluster.Claim(ctx, s)
	}
	of.StepUp = func(ctx context.Context, s *hub.Session, asked bool) (hub.Claim, error) {
		if c.get() == nil {
			return hub.Claim{}, nil
		}
		return c.cluster.StepUp(ctx, s, asked)
	}
	others := of.Locate
	of.Locate = func(key hub.Key) (wait time.Duration) {
		if others != nil {
			wait = others(key)
		}
		if c.get() != nil {
			wait = max(wait, c.cluster.Locate(key))
		}
		return wait
	}
}

// get returns the cluster when it is there; nil if there is none.
func (c *clustered) get() *cluster.Cluster {
	if c == nil {
		return nil
	}
	<-c.ready
	return c.cluster
}

// isElsewhere reports whether another node has a stream.
func (c *clustered) isElsewhere(key hub.Key) bool {
	of := c.get()
	return of != nil && of.IsElsewhere(key)
}

// elsewhere returns where clients reach other nodes over RTMP that go on, none where nobody has said so: what a node finds
// out by itself may be of use among nodes only.
func (c *clustered) elsewhere() (addresses []string) {
	of := c.get()
	if of == nil || !c.sends {
		return nil
	}
	for _, n := range of.Nodes() {
		if !n.Self && !n.Silent && !n.Draining && n.RTMP != "" {
			addresses = append(addresses, n.RTMP)
		}
	}
	return addresses
}

// observe tells it what happens in the hub.
func (c *clustered) observe(e hub.Event) {
	if of := c.get(); of != nil {
		of.Observe(e)
	}
}

// nowhere tells others of streams that viewers wait for and no node has.
func (c *clustered) open(cfg *config, s *service, nowhere func(hub.Key, *hub.Session)) (err error) {
	if c == nil {
		return nil
	}
	defer close(c.ready)
	defer func() {
		if err != nil {
			c.close(context.Background())
		}
	}()
	hostname, _ := os.Hostname()
	node, err := cfg.thisNode(hostname, isThisMachine)
	if err != nil {
		return err
	}
	c.name, c.reach = node, reachOf(cfg, s.listeners, node)
	secret, boot := string(cfg.ClusterSecret), s.hub.Node()
	encrypted, err := cfg.clusterTLS()
	if err != nil {
		return err
	}
	address, err := c.listen(cfg, node)
	if err != nil {
		return err
	}
	if c.directory, err = nats.New(cfg.engine(node, c.log)); err != nil {
		return fmt.Errorf("the engine of the cluster: %w", err)
	}
	key, err := hkdf.Key(sha256.New, []byte(secret), nil, "sluice cluster: proofs", sha256.Size)
	if err != nil {
		return err
	}
	opener := replica.Opener{TLS: encrypted, Secret: secret, Node: boot}
	config := cluster.Config{
		Hub: s.hub, Directory: c.directory, Open: opener.Open, Node: node, Boot: boot, Media: address, ProofKey: key,
		Grace: cfg.PublisherGrace, Hold: cfg.PullHold, Idle: orNever(cfg.OriginIdle), MaxEdges: cfg.maxOrigins,
		Nowhere: nowhere, Describe: s.describe, Logger: c.log,
	}
	if p := cfg.permission; p != nil {
		config.Common, config.Obey = p.bans, s.obey(admin.Orders(s.apiConfig(cfg, nil, c.log)))
	}
	if c.cluster, err = cluster.New(config); err != nil {
		return err
	}
	if p := cfg.permission; p != nil {
		p.bans.Share(c.cluster.Share)
	}
	c.inner = replica.NewServer(replica.Config{Streams: c.cluster, Secret: secret, Node: boot, Logger: c.log}, encrypted)
	c.log.Info("node of a cluster", "node", node, "media", address, "nodes", len(cfg.Cluster))
	return nil
}

// listen opens the port of the inner protocol, and returns the address at which others reach it.
func (c *clustered) listen(cfg *config, node string) (address string, err error) {
	addr := cfg.ClusterMediaAddr
	host, _, err := net.SplitHostPort(node)
	if err != nil { // a name that is no address
		host = node
	}
	if addr == "" {
		addr = net.JoinHostPort(host, "0")
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "", fmt.Errorf("SLUICE_CLUSTER_MEDIA_ADDR: %w", err)
	}
	c.media = l
	if cfg.ClusterMediaAdvertise != "" {
		return cfg.ClusterMediaAdvertise, nil
	}
	if own, _, _ := net.SplitHostPort(addr); own != "" {
		if ip := net.ParseIP(own); ip == nil || !ip.IsUnspecified() {
			host = own
		}
	}
	return net.JoinHostPort(host, strconv.Itoa(l.Addr().(*net.TCPAddr).Port)), nil
}

// serve gives streams to other nodes until close.
func (c *clustered) serve() error { return c.inner.Serve(c.media) }

// close leaves the cluster. The hub has ended its publishers, and those of its viewers who could not move: streams may go on
// at other nodes.
func (c *clustered) close(ctx context.Context) {
	if c == nil {
		return
	}
	if c.cluster != nil {
		c.cluster.Close()
	}
	if c.inner != nil {
		c.inner.Close()
	}
	if c.media != nil {
		c.media.Close()
	}
	if c.directory != nil {
		if err := c.directory.Close(ctx); err != nil {
			c.log.Debug("the engine of the cluster did not end properly", "error", err)
		}
	}
}

// isThisMachine reports whether a host is this machine.
func isThisMachine(host string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	ips, err := net.DefaultResolver.LookupIP(ctx, "ip", host)
	if err != nil {
		return false
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, ip := range ips {
		for _, addr := range own {
			if n, ok := addr.(*net.IPNet); ok && n.IP.Equal(ip) {
				return true
			}
		}
	}
	return false
}

// engine returns the settings of the engine.
func (cfg *config) engine(node string, log *slog.Logger) nats.Config {
	e := nats.Config{
		Nodes: cfg.Cluster, Secret: string(cfg.ClusterSecret), Dir: cfg.ClusterDir,
		URL: string(cfg.NATSURL), Prefix: cfg.NATSPrefix, Logger: log,
	}
	if len(cfg.Cluster) > 0 {
		e.Node = node
	}
	if e.Dir == "" && cfg.StateDir != "" {
		e.Dir = filepath.Join(cfg.StateDir, "cluster")
	}
	if cfg.ClusterTLSCert != "" {
		e.TLS = &nats.TLS{Cert: cfg.ClusterTLSCert, Key: cfg.ClusterTLSKey, CA: cfg.ClusterTLSCA}
	}
	if cfg.NATSCreds != "" {
		if text, err := os.ReadFile(cfg.NATSCreds); err == nil && bytes.HasPrefix(bytes.TrimSpace(text), []byte("SU")) {
			e.NkeyFile = cfg.NATSCreds
		} else {
			e.CredentialsFile = cfg.NATSCreds
		}
	}
	return e
}

// clusterTLS returns what both ends of the inner protocol speak, nil for plain TCP.
func (cfg *config) clusterTLS() (*tls.Config, error) {
	if cfg.ClusterTLSCert == "" {
		return nil, nil
	}
	files := nats.TLS{Cert: cfg.ClusterTLSCert, Key: cfg.ClusterTLSKey, CA: cfg.ClusterTLSCA}
	t, err := files.Mutual()
	if err != nil {
		return nil, errors.Join(errors.New("SLUICE_CLUSTER_TLS_CERT, _KEY or _CA cannot be used"), err)
	}
	return t, nil
}
