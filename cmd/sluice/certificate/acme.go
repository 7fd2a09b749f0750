package certificate

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// Bounds on what is asked of an authority.
const (
	// maxOrders is how many certificates are ordered at a time.
	maxOrders = 4
	// maxAnswer bounds one of its answers, in bytes.
	maxAnswer = 1 << 20
	// requestTimeout bounds one of its answers in time.
	requestTimeout = 30 * time.Second
	// connectTimeout bounds a connection to it, and the handshake after that.
	connectTimeout = 10 * time.Second
	// maxHeader bounds the header of an answer, in bytes.
	maxHeader = 64 << 10
	// orderTimeout bounds an order; it is autocert's.
	orderTimeout = 5 * time.Minute
	// OpenFiles is how many files and connections this takes at the most.
	OpenFiles = 2*maxOrders + 4
)

// retries are the times after orders that failed in a row; the last one is for all further ones. An
// order may count as two failed validations, of which Let's Encrypt takes five an hour for a name.
var retries = []time.Duration{2 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour}

// authority obtains a certificate for each of some names, and renews it, by ACME (RFC 8555). What it
// asks for, its operator has asked for: a client's handshake only finds what is there.
//
// Each order has an autocert.Manager of its own, which is given up afterwards. A manager that lives
// on would begin orders in handshakes, renew without saying why it could not, and never end. The
// timer that it keeps for a renewal comes to nothing: by then its requests are refused.
type authority struct {
	log       *slog.Logger
	store     *store
	directory string // its address
	client    *http.Transport
	// obtain makes an order; it is (*authority).order but for tests.
	obtain func(context.Context, *domain) (*tls.Certificate, error)
	http01 atomic.Bool // its questions over plain HTTP are answered

	domains []*domain // in the order of the configuration
	byName  map[string]*domain
}

// domain is a name for which there is to be a certificate.
type domain struct {
	name    string
	cert    atomic.Pointer[tls.Certificate]  // nil as long as there is none
	problem atomic.Pointer[string]           // why the last order failed; nil if it did not
	ordered atomic.Pointer[autocert.Manager] // answers for the order that is under way; nil without one
	again   chan struct{}                    // ends a wait for the next attempt
}

// openAuthority returns the authority, with the certificates that it gave before.
func openAuthority(c Config) (*authority, error) {
	directory := c.Directory
	if directory == "" {
		directory = autocert.DefaultACMEDirectory
	}
	store, err := openStore(c.StateDir, directory)
	if err != nil {
		return nil, err
	}
	a := &authority{log: c.Logger, store: store, directory: directory, client: c.client, byName: make(map[string]*domain)}
	a.obtain = a.order
	if a.client == nil {
		a.client = newClient()
	}
	for _, name := range c.Domains {
		d := &domain{name: name, again: make(chan struct{}, 1)}
		a.domains = append(a.domains, d)
		a.byName[name] = d
		cert, err := store.load(name)
		if err != nil {
			c.Logger.Warn("a certificate that was obtained before cannot be used", "domain", name, "error", err)
			continue
		}
		if cert != nil {
			d.cert.Store(cert)
			c.Logger.Info("certificate", append([]any{"domain", name}, leafAttrs(cert.Leaf)...)...)
		}
	}
	return a, nil
}

// errNotYet is told to who asks for a name whose certificate is still to be obtained.
var errNotYet = errors.New("the certificate for this name is not there yet")

// get returns the certificate for a handshake: that of the name asked for; of the first one for none;
// none for a name that is not ours.
func (a *authority) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	d := a.domains[0]
	if hello.ServerName != "" {
		d = a.byName[strings.ToLower(hello.ServerName)]
	}
	if d == nil {
		return nil, nil
	}
	if len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == acme.ALPNProto {
		if manager := d.ordered.Load(); manager != nil {
			return manager.GetCertificate(hello) // in memory, for this kind of hello
		}
		return nil, errors.New("no certificate is being ordered for this name")
	}
	if cert := d.cert.Load(); cert != nil {
		return cert, nil
	}
	return nil, errNotYet
}

// challengePath is below which authorities ask (RFC 8555 §8.3).
const challengePath = "/.well-known/acme-challenge/"

// challenge is Source.Challenge.
func (a *authority) challenge(next http.Handler) http.Handler {
	a.http01.Store(true)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, challengePath) {
			if d := a.byName[hostOf(r.Host)]; d != nil {
				if manager := d.ordered.Load(); manager != nil {
					manager.HTTPHandler(next).ServeHTTP(w, r)
					return
				}
			}
		}
		next.ServeHTTP(w, r)
	})
}

// hostOf returns the name in a Host header.
func hostOf(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(host)
}

// infos returns what is known of each name.
func (a *authority) infos() (all []Info) {
	for _, d := range a.domains {
		info := Info{Names: []string{d.name}}
		if cert := d.cert.Load(); cert != nil {
			info.NotAfter = cert.Leaf.NotAfter
		}
		if problem := d.problem.Load(); problem != nil {
			info.Problem = *problem
		}
		all = append(all, info)
	}
	return all
}

// reload has orders that failed made anew at once.
func (a *authority) reload() {
	for _, d := range a.domains {
		select {
		case d.again <- struct{}{}:
		default:
		}
	}
}

// run keeps a certificate for each name until ctx ends.
func (a *authority) run(ctx context.Context) {
	var keeping sync.WaitGroup
	places := make(chan struct{}, maxOrders)
	for _, d := range a.domains {
		keeping.Go(func() { a.keep(ctx, d, places) })
	}
	keeping.Wait()
	a.client.CloseIdleConnections()
}

// keep obtains a certificate for a name, and each time that it is due a new one.
//
//	waiting --due, or again after failures--> ordering --obtained--> waiting, for two thirds of its time
//	                                             --failed----> waiting, for one of retries
func (a *authority) keep(ctx context.Context, d *domain, places chan struct{}) {
	due, failures := a.due(d), 0
	for {
		if !d.wait(ctx, due, failures > 0) {
			return
		}
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return
		}
		cert, err := a.obtain(ctx, d)
		<-places
		switch {
		case ctx.Err() != nil && err != nil:
			return // which is why
		case err != nil:
			due = time.Now().Add(jitter(retries[min(failures, len(retries)-1)]))
			failures++
			a.failed(d, err, time.Until(due))
		default:
			failures = 0
			a.obtained(d, cert)
			due = a.due(d)
		}
	}
}

// maxSleep bounds how long a timer runs, since clocks are set and machines sleep.
const maxSleep = time.Hour

// wait waits until an order is due, or until someone asks where that counts, and reports false if ctx
// ends first.
func (d *domain) wait(ctx context.Context, due time.Time, asked bool) bool {
	for {
		left := time.Until(due.Round(0)) // by the clock of certificates
		if left <= 0 {
			return ctx.Err() == nil
		}
		timer := time.NewTimer(min(left, maxSleep))
		select {
		case <-timer.C:
		case <-d.again:
			if asked {
				timer.Stop()
				return true
			}
		case <-ctx.Done():
			timer.Stop()
			return false
		}
		timer.Stop()
	}
}

// maxEarly bounds how long before its end a certificate is renewed.
const maxEarly = 30 * day

// due returns when a certificate is to be ordered: when a third of the present one's time is left,
// but maxEarly at the most, and some time later, so that not all servers ask at once.
func (a *authority) due(d *domain) time.Time {
	cert := d.cert.Load()
	if cert == nil {
		return time.Time{}
	}
	early := min(cert.Leaf.NotAfter.Sub(cert.Leaf.NotBefore)/3, maxEarly)
	return cert.Leaf.NotAfter.Add(-early + time.Duration(rand.Int64N(int64(early/20)+1)))
}

// jitter returns a time of about d.
func jitter(d time.Duration) time.Duration { return d + time.Duration(rand.Int64N(int64(d/5))) }

// failed notes that an order failed.
func (a *authority) failed(d *domain, err error, wait time.Duration) {
	why := err.Error()
	d.problem.Store(&why)
	attrs := []any{"domain", d.name, "reason", why, "again_in", wait.Round(time.Second)}
	if cert := d.cert.Load(); cert != nil {
		a.log.Warn("the certificate could not be renewed", append(attrs, "not_after", cert.Leaf.NotAfter.UTC())...)
		return
	}
	a.log.Warn("no certificate could be obtained", attrs...)
}

// obtained takes a new certificate and stores it.
func (a *authority) obtained(d *domain, cert *tls.Certificate) {
	d.cert.Store(cert)
	d.problem.Store(nil)
	a.log.Info("certificate obtained", append([]any{"domain", d.name}, leafAttrs(cert.Leaf)...)...)
	if err := a.store.save(d.name, cert); err != nil {
		a.log.Error("a certificate cannot be stored, the next start has to obtain it anew", "domain", d.name, "error", err)
	}
}

// order obtains a certificate for a name. It takes orderTimeout at the most, and ends soon after ctx.
func (a *authority) order(ctx context.Context, d *domain) (*tls.Certificate, error) {
	// It is not cancelled when the order is done: autocert then still gives up what it did not use.
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	time.AfterFunc(orderTimeout, cancel)
	requests := &requests{ctx: ctx, to: a.client}
	manager := &autocert.Manager{
		Prompt:     autocert.AcceptTOS, // its operator has set the names
		HostPolicy: only(d.name),
		Client: &acme.Client{
			Key: a.store.account, DirectoryURL: a.directory, UserAgent: "sluice",
			HTTPClient: &http.Client{Transport: requests}, RetryBackoff: retryBackoff,
		},
	}
	if a.http01.Load() {
		manager.HTTPHandler(nil) // or it would not offer to be asked so
	}
	d.ordered.Store(manager)
	defer d.ordered.Store(nil)
	cert, err := manager.GetCertificate(&tls.ClientHelloInfo{
		ServerName: d.name, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}, // with an ECDSA key
	})
	if err != nil {
		return nil, requests.explain(err)
	}
	return cert, nil
}

// newClient returns what requests are made with: through a proxy where the system names one, and with
// the certificates that the system trusts, or SSL_CERT_FILE names.
func newClient() *http.Transport {
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: connectTimeout}).DialContext,
		TLSHandshakeTimeout: connectTimeout, ForceAttemptHTTP2: true,
		MaxConnsPerHost: maxOrders, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: maxHeader,
	}
}

// only permits one name.
func only(name string) autocert.HostPolicy {
	return func(_ context.Context, host string) error {
		if hostOf(host) != name {
			return fmt.Errorf("nothing is ordered for %q", host)
		}
		return nil
	}
}

// retryBackoff says how long to wait before a request is made once more: for a nonce that has been used
// hardly at all, for an authority out of order not long, and not where it has had enough, for an order is
// made anew later.
func retryBackoff(n int, _ *http.Request, answer *http.Response) time.Duration {
	switch {
	case n > 3 || answer != nil && answer.StatusCode == http.StatusTooManyRequests:
		return 0
	case answer != nil && answer.StatusCode == http.StatusBadRequest:
		return 10 * time.Millisecond
	}
	return time.Duration(n) * time.Second / 2
}
