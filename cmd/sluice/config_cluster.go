package main

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"

	"sluice/hub/cluster/nats"
)

// ClusterSettings make several servers one. It is a part of config.
type ClusterSettings struct {
	Cluster       nodes  `env:"CLUSTER" doc:"The nodes of a cluster, HOST:PORT each, separated by commas, spaces or ;, the same list in the same order at all of them: there they speak to each other. What they have in common is kept by an engine inside (NATS), on which the first three nodes decide, of five or more the first five. Empty: this server is alone."`
	ClusterNode   string `env:"CLUSTER_NODE" doc:"Which of them this one is. Empty: the one whose host is this machine, if there is only one. With SLUICE_NATS_URL: any name that no other node has; empty: that of the machine."`
	ClusterSecret secret `env:"CLUSTER_SECRET" doc:"What nodes show each other, 16 characters or more, the same at all of them. Only on loopback it may be empty."`

	ClusterTLSCert string `env:"CLUSTER_TLS_CERT" doc:"File with this node's certificate, PEM, for its host and for both ends of a connection. Beyond loopback nodes speak TLS among themselves, and both ends show a certificate."`
	ClusterTLSKey  string `env:"CLUSTER_TLS_KEY" doc:"File with its key, PEM."`
	ClusterTLSCA   string `env:"CLUSTER_TLS_CA" doc:"File with the certificates of those who may sign the nodes', PEM."`

	ClusterDir       string `env:"CLUSTER_DIR" doc:"Folder of the engine, a few KB. Empty: a folder in SLUICE_STATE_DIR, or a temporary one."`
	ClusterMediaAddr string `env:"CLUSTER_MEDIA_ADDR" doc:"HOST:PORT at which other nodes take streams from this one. Empty: any free port of this node's host."`

	ClusterMediaAdvertise string `env:"CLUSTER_MEDIA_ADVERTISE" doc:"HOST:PORT that other nodes are told instead, where they reach that one under another address: behind NAT, in a container, through a proxy. Empty: what is listened on."`

	ClusterHTTPURL string `env:"CLUSTER_HTTP_URL" doc:"Where clients reach this node over HTTP and WebSocket, http://HOST[:PORT] or https://HOST[:PORT]: those whom another node sends here have it. Empty: the host of the node in SLUICE_CLUSTER, with SLUICE_NATS_URL the machine's name, and the port of the listener."`
	ClusterRTMPURL string `env:"CLUSTER_RTMP_URL" doc:"The same over RTMP, rtmp://HOST[:PORT] or rtmps://HOST[:PORT]."`

	NATSURL    secret `env:"NATS_URL" doc:"Instead of SLUICE_CLUSTER: a NATS with JetStream that is there already, nats:// or tls:// HOST:PORT, several with commas between them, with user:password@ or token@."`
	NATSCreds  string `env:"NATS_CREDENTIALS" doc:"File with what that NATS wants instead of a password: a JWT with its nkey (.creds), or the seed of an nkey."`
	NATSPrefix string `env:"NATS_PREFIX" envDefault:"sluice" doc:"What begins the subjects there, and names the bucket of records: clusters that share a NATS need one each."`
}

// nodes are those of a cluster.
type nodes []string

// maxNodes bounds a cluster.
const maxNodes = 64

// UnmarshalText reads nodes separated by spaces, commas and semicolons.
func (n *nodes) UnmarshalText(text []byte) error {
	var all words
	all.UnmarshalText(text)
	*n = nil
	for _, node := range all {
		if err := checkNode(node); err != nil {
			return err
		}
		if slices.Contains(*n, node) {
			return fmt.Errorf("has %s twice", node)
		}
		*n = append(*n, node)
	}
	if len(*n) > maxNodes {
		return fmt.Errorf("are %d nodes, and may be %d", len(*n), maxNodes)
	}
	return nil
}

// checkNode says why a text is no HOST:PORT of a node.
func checkNode(node string) error {
	host, port, err := net.SplitHostPort(node)
	if err != nil || host == "" || port == "0" || checkPort(port) != nil {
		return fmt.Errorf("%q must be HOST:PORT, like 10.0.0.1:6222", node)
	}
	return nil
}

// checkPort says why a text is no number of a port.
func checkPort(port string) error {
	if _, err := net.LookupPort("tcp", port); err != nil || strings.Trim(port, "0123456789") != "" {
		return errors.New("must have a number as its port")
	}
	return nil
}

// nodeName is what a node may be called where its name is no HOST:PORT.
var nodeName = regexp.MustCompile(`^[\pL\pN][\pL\pN._:\[\]-]{0,127}$`)

// prefixName is what subjects may begin with.
var prefixName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}(\.[A-Za-z0-9_-]{1,32}){0,3}$`)

// minClusterSecret is how long the secret of a cluster is at the least.
const minClusterSecret = 16

// clustered reports whether this server is one of several.
func (s *ClusterSettings) clustered() bool { return len(s.Cluster) > 0 || s.NATSURL != "" }

// check says what is wrong with each value by itself.
func (s *ClusterSettings) check(c *valueCheck) {
	if s.ClusterSecret != "" && len(s.ClusterSecret) < minClusterSecret {
		c.secret("CLUSTER_SECRET", fmt.Errorf("must have %d characters or more", minClusterSecret))
	}
	if s.ClusterNode != "" && !nodeName.MatchString(s.ClusterNode) {
		c.value("CLUSTER_NODE", s.ClusterNode, errors.New("must be letters, digits and . _ - :, 128 at the most"))
	}
	if s.ClusterMediaAddr != "" {
		_, port, err := net.SplitHostPort(s.ClusterMediaAddr)
		if err == nil {
			err = checkPort(port)
		}
		if err != nil {
			err = errors.New("must be HOST:PORT, like 10.0.0.1:7000")
		}
		c.value("CLUSTER_MEDIA_ADDR", s.ClusterMediaAddr, err)
	}
	if s.ClusterMediaAdvertise != "" {
		c.value("CLUSTER_MEDIA_ADVERTISE", s.ClusterMediaAdvertise, checkNode(s.ClusterMediaAdvertise))
	}
	for _, of := range []struct {
		name, url string
		schemes   []string
	}{{"CLUSTER_HTTP_URL", s.ClusterHTTPURL, httpSchemes}, {"CLUSTER_RTMP_URL", s.ClusterRTMPURL, rtmpSchemes}} {
		if of.url != "" {
			_, _, err := parseOrigin(of.url, of.schemes)
			c.public(of.name, of.url, err)
		}
	}
	if s.NATSURL != "" {
		c.secret("NATS_URL", nats.CheckURL(string(s.NATSURL)))
	}
	if !prefixName.MatchString(s.NATSPrefix) {
		c.value("NATS_PREFIX", s.NATSPrefix, errors.New("must be letters, digits, - and _, with dots between up to four parts"))
	}
}

// relations says what the settings lack of each other.
func (s *ClusterSettings) relations() (problems []error) {
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if !s.clustered() {
		for name, set := range map[string]bool{
			"CLUSTER_NODE": s.ClusterNode != "", "CLUSTER_SECRET": s.ClusterSecret != "", "CLUSTER_DIR": s.ClusterDir != "",
			"CLUSTER_MEDIA_ADDR": s.ClusterMediaAddr != "", "CLUSTER_MEDIA_ADVERTISE": s.ClusterMediaAdvertise != "", "CLUSTER_TLS_CERT": s.ClusterTLSCert != "",
			"CLUSTER_TLS_KEY": s.ClusterTLSKey != "", "CLUSTER_TLS_CA": s.ClusterTLSCA != "", "NATS_CREDENTIALS": s.NATSCreds != "",
			"CLUSTER_HTTP_URL": s.ClusterHTTPURL != "", "CLUSTER_RTMP_URL": s.ClusterRTMPURL != "",
		} {
			if set {
				problem("SLUICE_%s is set, but neither SLUICE_CLUSTER nor SLUICE_NATS_URL", name)
			}
		}
		return problems
	}
	if len(s.Cluster) > 0 && s.NATSURL != "" {
		problem("SLUICE_CLUSTER runs a NATS inside, SLUICE_NATS_URL says where there is one: only one of them can be")
	}
	if s.NATSCreds != "" && s.NATSURL == "" {
		problem("SLUICE_NATS_CREDENTIALS is set, but SLUICE_NATS_URL is not")
	}
	if s.ClusterNode != "" && len(s.Cluster) > 0 && !slices.Contains(s.Cluster, s.ClusterNode) {
		problem("SLUICE_CLUSTER_NODE=%q is none of the nodes in SLUICE_CLUSTER", s.ClusterNode)
	}
	tls := []bool{s.ClusterTLSCert != "", s.ClusterTLSKey != "", s.ClusterTLSCA != ""}
	if slices.Contains(tls, true) && slices.Contains(tls, false) {
		problem("SLUICE_CLUSTER_TLS_CERT, SLUICE_CLUSTER_TLS_KEY and SLUICE_CLUSTER_TLS_CA are of use together only")
	}
	if s.areLoopback() {
		return problems
	}
	if s.ClusterSecret == "" {
		problem("a cluster needs SLUICE_CLUSTER_SECRET beyond loopback: whoever reaches a node could take its streams")
	}
	if !slices.Contains(tls, true) {
		problem("a cluster needs SLUICE_CLUSTER_TLS_CERT, SLUICE_CLUSTER_TLS_KEY and SLUICE_CLUSTER_TLS_CA beyond loopback: " +
			"the secret and the streams would cross the network in clear")
	}
	return problems
}

// areLoopback reports whether all of the cluster is on addresses of this machine only, as far as is set.
func (s *ClusterSettings) areLoopback() bool {
	all := slices.Clone(s.Cluster)
	for _, addr := range []string{s.ClusterMediaAddr, s.ClusterMediaAdvertise} {
		if addr != "" {
			all = append(all, addr)
		}
	}
	return len(all) > 0 && !slices.ContainsFunc(all, func(addr string) bool {
		host, _, _ := net.SplitHostPort(addr)
		return !isLoopback(host)
	})
}

// thisNode returns this node's name. The error says that it has to be set.
func (s *ClusterSettings) thisNode(hostname string, isOwn func(host string) bool) (string, error) {
	switch {
	case s.ClusterNode != "":
		return s.ClusterNode, nil
	case len(s.Cluster) == 0 && nodeName.MatchString(hostname):
		return hostname, nil
	}
	var own []string
	for _, node := range s.Cluster {
		if host, _, _ := net.SplitHostPort(node); isOwn(host) {
			own = append(own, node)
		}
	}
	switch len(own) {
	case 1:
		return own[0], nil
	case 0:
		return "", errors.New("SLUICE_CLUSTER_NODE has to say which of the nodes in SLUICE_CLUSTER this one is: none of them is an address of this machine")
	}
	return "", fmt.Errorf("SLUICE_CLUSTER_NODE has to say which of these this node is: %s are all addresses of this machine", strings.Join(own, " and "))
}
