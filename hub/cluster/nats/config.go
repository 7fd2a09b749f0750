package nats

import (
	"cmp"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
)

// Config says where the engine is. Either Nodes is set, and it runs in this process, or URL is, and it is
// there already.
type Config struct {
	// Nodes are those of the cluster, this one included, each as HOST:PORT on which its engine listens
	// for the others: the same list, in the same order, at all nodes. The first three, of five or
	// more the first five, vote on records. With two, both have to be there for a record to be written.
	Nodes []string
	// Node is the entry of Nodes that is this node.
	Node string
	// Secret is what the nodes have in common. Without it the engine listens on loopback addresses
	// only.
	Secret string
	// TLS is for the connections among nodes, where both ends have to show a certificate; off loopback it
	// has to be there, since the secret would cross in clear. With URL: for the connection to it, where the
	// certificate may be left out.
	TLS *TLS
	// Dir is a folder for what the engine has to find after a restart, a few KB; made where it is
	// missing. Empty: a temporary one, for as long as the process runs. Records are in memory.
	Dir string

	// URL is that of servers that are there: nats:// or tls://, several separated by commas, with
	// user:password@ or token@.
	URL string
	// NkeyFile and CredentialsFile hold what such a server may want instead: the seed of an nkey; a JWT with
	// its nkey, as the tools of NATS write it.
	NkeyFile, CredentialsFile string

	// Prefix begins the subjects of all messages, and names the bucket of records: letters, digits, -
	// and _, with dots between the parts. Clusters that share a server need one each. Empty: sluice.
	Prefix string
	// Logger is told of what an operator should know, and at debug of all that the engine says.
	// nil: slog.Default.
	Logger *slog.Logger
}

// TLS names files in PEM. A certificate is read for each new connection, so that a renewed one counts without
// a restart; CA is read once.
type TLS struct {
	Cert, Key string // of this node, for its host and for both ends of a connection
	CA        string // whose certificates are accepted; empty: those of the system, with URL only
}

// defaults checks c and fills in what is empty.
func (c *Config) defaults() error {
	if c.Prefix == "" {
		c.Prefix = "sluice"
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	switch {
	case len(c.Prefix) > maxPrefix || checkName(c.Prefix) != nil:
		return fmt.Errorf("the prefix has to be letters, digits, - and _ with dots between the parts, %d at the most", maxPrefix)
	case c.URL != "" && len(c.Nodes) > 0:
		return errors.New("there are nodes to run the engine and a URL of one that runs: only one can be")
	case c.URL != "":
		return c.checkURL()
	case len(c.Nodes) == 0:
		return errors.New("there are neither nodes to run the engine nor the URL of one that runs")
	}
	return c.checkNodes()
}

// CheckURL says why a text is no Config.URL, and repeats nothing of it: there may be a password in it.
func CheckURL(text string) error {
	_, err := parseURLs(text)
	return err
}

func parseURLs(text string) (all []*url.URL, err error) {
	for one := range strings.SplitSeq(text, ",") {
		u, err := url.Parse(strings.TrimSpace(one))
		if err != nil || u.Scheme != "nats" && u.Scheme != "tls" || u.Hostname() == "" {
			return nil, errors.New("the URL of the engine has to be nats://HOST:PORT or tls://HOST:PORT, or several with commas between them")
		}
		all = append(all, u)
	}
	return all, nil
}

// withUser returns the URLs of a text. Those without a user get that of the first that has one: servers of one cluster know
// the same users. The error is that of CheckURL.
func withUser(text string) (string, error) {
	all, err := parseURLs(text)
	if err != nil {
		return "", err
	}
	var user *url.Userinfo
	for _, u := range all {
		user = cmp.Or(user, u.User)
	}
	texts := make([]string, len(all))
	for i, u := range all {
		u.User = cmp.Or(u.User, user)
		texts[i] = u.String()
	}
	return strings.Join(texts, ","), nil
}

// checkURL says nothing of what is in the URL: there may be a password in it.
func (c *Config) checkURL() error {
	if err := CheckURL(c.URL); err != nil {
		return err
	}
	for _, file := range []string{c.NkeyFile, c.CredentialsFile} {
		if file == "" {
			continue
		}
		if _, err := os.Stat(file); err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) checkNodes() error {
	for i, node := range c.Nodes {
		host, port, err := net.SplitHostPort(node)
		if err != nil || host == "" || port == "" || strings.ContainsAny(node, " *>\t\r\n") {
			return fmt.Errorf("node %q: it has to be HOST:PORT", node)
		}
		if slices.Contains(c.Nodes[:i], node) {
			return fmt.Errorf("node %q is there twice", node)
		}
		switch {
		case len(c.Nodes) == 1 || loopback(host):
		case c.Secret == "":
			return fmt.Errorf("node %q: without a secret all nodes have to be on loopback addresses", node)
		case c.TLS == nil:
			return fmt.Errorf("node %q: without TLS all nodes have to be on loopback addresses, or the secret would cross in clear", node)
		}
	}
	if !slices.Contains(c.Nodes, c.Node) {
		return fmt.Errorf("node %q is none of %s", c.Node, strings.Join(c.Nodes, ", "))
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// voters returns the nodes that vote on records.
func (c *Config) voters() []string {
	n := len(c.Nodes)
	switch {
	case n >= 5:
		n = 5
	case n >= 3:
		n = 3
	}
	return c.Nodes[:n]
}

// routePassword returns what nodes show each other, made from the secret for nothing but this.
func (c *Config) routePassword() (string, error) {
	key, err := hkdf.Key(sha256.New, []byte(c.Secret), nil, "sluice cluster: routes of the engine", sha256.Size)
	return hex.EncodeToString(key), err
}

// bucket is the name of the bucket of records, which can have no dots.
func (c *Config) bucket() string { return strings.ReplaceAll(c.Prefix, ".", "_") }

// config returns the settings for both ends of a connection. Both have to show a certificate where mutual is
// set.
func (t *TLS) config(mutual bool) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, err
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: no certificate in it", t.CA)
		}
		cfg.ClientCAs = cfg.RootCAs
	} else if mutual {
		return nil, errors.New("the nodes need the certificate of an authority to know each other by")
	}
	if t.Cert == "" && t.Key == "" && !mutual {
		return cfg, nil
	}
	read := func() (*tls.Certificate, error) {
		cert, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		return &cert, err
	}
	if _, err := read(); err != nil {
		return nil, err
	}
	cfg.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return read() }
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return read() }
	if mutual {
		cfg.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return cfg, nil
}

// Mutual returns settings for both ends of a connection, both of which have to show a certificate.
func (t *TLS) Mutual() (*tls.Config, error) { return t.config(true) }
