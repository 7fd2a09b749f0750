// Package certificate has the certificates of the server: from files that somebody else renews, or
// obtained from an authority by ACME. Listeners with TLS take them from Source.Config.
//
// A handshake finds its certificate in memory: it waits neither for a file nor for an authority,
// and nothing that a client asks for begins an order.
package certificate

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"
)

// MaxCertificates bounds the pairs of files, and the names for which certificates are obtained.
const MaxCertificates = 100

// lookInterval is how often files are looked at, and how long the certificates still last.
const lookInterval = 10 * time.Second

// Config says which certificates there are: those of Files, or one for each of Domains.
type Config struct {
	Files []Files // at most MaxCertificates
	// Domains are names for which certificates are obtained, as Domain returns them, at most
	// MaxCertificates.
	Domains []string
	// Directory is the address of the authority's directory; that of Let's Encrypt if empty.
	Directory string
	// StateDir is the folder in which keys and obtained certificates are kept. It must exist
	// where there are Domains.
	StateDir string
	Logger   *slog.Logger // nil discards

	client *http.Transport // asks the authority; of tests, nil for the network
}

// Files are the paths of a certificate, with those of its issuers behind it, and of its key, both
// as PEM. They may be one file.
type Files struct{ Cert, Key string }

// Info is what is known of one certificate, or of a name that has none yet.
type Info struct {
	Names    []string  // that it serves; the one that it is for where there is none yet
	NotAfter time.Time // when it expires; zero where there is none yet
	Problem  string    // why it could not be replaced, or obtained, the last time; empty if it could
}

// Left returns how much longer the certificate is good, negative if it has expired, 0 where there
// is none.
func (i Info) Left(now time.Time) time.Duration {
	if i.NotAfter.IsZero() {
		return 0
	}
	return i.NotAfter.Sub(now)
}

// Source has the certificates of a server. Its methods may be called from any goroutine, Run once.
type Source struct {
	log    *slog.Logger
	pairs  []*pair                // those of Open, and then of Run
	acme   *authority             // nil without Domains
	served atomic.Pointer[served] // from pairs
	again  chan struct{}          // asks Run to look at once
	warned map[[32]byte]int       // Run's: how few days were warned of, by certificate
}

// Open reads the certificates. It returns an error if a file is of no use; then nothing could take
// its place. What has to be obtained is obtained by Run.
func Open(c Config) (*Source, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Source{log: c.Logger, again: make(chan struct{}, 1), warned: make(map[[32]byte]int)}
	for _, files := range c.Files {
		p := &pair{files: files}
		if err := p.open(time.Now()); err != nil {
			return nil, err
		}
		s.log.Info("certificate", p.attrs()...)
		p.warnNames(s.log)
		s.pairs = append(s.pairs, p)
	}
	s.served.Store(serve(s.pairs))
	if len(c.Domains) == 0 {
		return s, nil
	}
	var err error
	s.acme, err = openAuthority(c)
	return s, err
}

// Config returns the configuration of a TLS server with the certificates, in which they change while
// it is in use. Whoever takes it clones it and sets NextProtos, to which those of ALPN belong. Keys of
// session tickets are each clone's own, and change as Go changes them: one is new for a day, and good
// for a week.
func (s *Source) Config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.get}
}

// ALPN returns the protocols that listeners offer for the sake of the certificates.
func (s *Source) ALPN() []string {
	if s.acme == nil {
		return nil
	}
	return []string{acme.ALPNProto}
}

// Challenge returns the handler that stands on plain HTTP in front of next: it answers the questions
// of an authority and passes on everything else. Without it an authority asks over TLS only.
func (s *Source) Challenge(next http.Handler) http.Handler {
	if s.acme == nil {
		return next
	}
	return s.acme.challenge(next)
}

// Reload has the files looked at by Run at once, and what is wrong with them told once more; what
// could not be obtained is tried anew. It does not wait.
func (s *Source) Reload() {
	if s.acme != nil {
		s.acme.reload()
	}
	select {
	case s.again <- struct{}{}:
	default: // Run is about to look
	}
}

// Run looks after the certificates until ctx ends: it replaces them when their files change, obtains
// and renews them, and warns before they expire.
func (s *Source) Run(ctx context.Context) {
	var working sync.WaitGroup
	defer working.Wait()
	if s.acme != nil {
		working.Go(func() { s.acme.run(ctx) })
	}
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	for {
		s.warn(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.look(time.Now(), false)
		case <-s.again:
			s.look(time.Now(), true)
		}
	}
}

// look reads the files anew. Where somebody asked for it, that is told.
func (s *Source) look(now time.Time, asked bool) {
	changed := 0
	for _, p := range s.pairs {
		if asked {
			p.told = [32]byte{}
		}
		if p.look(now, s.log) {
			changed++
		}
	}
	if len(s.pairs) > 0 {
		s.served.Store(serve(s.pairs))
	}
	if asked && s.acme == nil {
		s.log.Info("the certificates were read again", "changed", changed)
	}
}

// Certificates returns what is known of each certificate, in the order of the configuration.
func (s *Source) Certificates() []Info {
	if s.acme != nil {
		return s.acme.infos()
	}
	return s.served.Load().infos
}

// get returns the certificate for a handshake; none for a name that none may have.
func (s *Source) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if s.acme != nil {
		return s.acme.get(hello)
	}
	return s.served.Load().get(hello), nil
}

// served are the certificates of files as handshakes find them. It is never changed.
type served struct {
	all    []*tls.Certificate
	byName map[string][]*tls.Certificate // in lower case, with * for the first label of a wildcard
	infos  []Info
}

// serve returns what handshakes find of pairs.
func serve(pairs []*pair) *served {
	t := &served{byName: make(map[string][]*tls.Certificate)}
	for _, p := range pairs {
		t.all = append(t.all, p.cert)
		t.infos = append(t.infos, p.info())
		for _, name := range p.cert.Leaf.DNSNames {
			name = strings.ToLower(name)
			t.byName[name] = append(t.byName[name], p.cert)
		}
	}
	return t
}

// get returns the certificate that serves the name asked for, and the first one for none and for a
// name that none serves: its client tells its user better what is wrong than this server could. Of
// several for a name it returns the first whose algorithms the client knows.
func (t *served) get(hello *tls.ClientHelloInfo) *tls.Certificate {
	name := strings.ToLower(hello.ServerName)
	fit := t.byName[name]
	if _, rest, found := strings.Cut(name, "."); found && fit == nil {
		fit = t.byName["*."+rest]
	}
	if fit == nil {
		fit = t.all
	}
	if len(fit) == 1 {
		return fit[0]
	}
	for _, cert := range fit {
		if hello.SupportsCertificate(cert) == nil {
			return cert
		}
	}
	if len(fit) == 0 {
		return nil
	}
	return fit[0]
}
