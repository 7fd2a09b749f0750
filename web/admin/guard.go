package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// MinToken is how many characters a token has at least.
const MinToken = 16

// Bounds on wrong tokens.
const (
	// maxFailures is how many an address may show in failuresFor; then it is refused unread
	// until that time is over. The one that it has shown last may come again: that is no
	// guess, but a scraper that nobody has told the new token.
	maxFailures = 10
	failuresFor = time.Minute
	// maxFailing bounds the addresses that are remembered. Beyond it, some are forgotten.
	maxFailing = 4096
	// sharedBits is what addresses of one IPv6 client have in common.
	sharedBits = 64
)

// Guard lets requests through that show a token, and refuses an address for a while that has shown
// too many wrong ones, at whatever is behind the guard. Its methods may be called from any
// goroutine.
type Guard struct {
	// Passed is called with the context of each request that is let through; nil is for nothing. It is
	// set before the first request.
	Passed func(context.Context)

	log      *slog.Logger
	failures failures
	wrong    atomic.Uint64
}

// NewGuard returns a guard that has seen nobody. An address that is refused has a line in the log;
// nil is slog.Default.
func NewGuard(log *slog.Logger) *Guard {
	if log == nil {
		log = slog.Default()
	}
	return &Guard{log: log}
}

// Wrong returns how many wrong tokens were shown.
func (g *Guard) Wrong() uint64 { return g.wrong.Load() }

// Require returns a handler that passes requests on to next that show one of the tokens, each as it
// is now, and refuses others. A token of less than MinToken characters lets nobody in.
func (g *Guard) Require(next http.Handler, tokens ...func() string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from := remote(r)
		if wait := g.failures.wait(from, time.Now()); wait > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
			say(w, r, reply{http.StatusTooManyRequests, problem{"too many", "this address has shown too many wrong tokens"}}, g.log)
			return
		}
		shown, any := bearer(r)
		if any && isOneOf(shown, tokens) {
			if g.Passed != nil {
				g.Passed(r.Context())
			}
			next.ServeHTTP(w, r)
			return
		}
		challenge, reason := "Bearer", "this needs the header Authorization: Bearer TOKEN"
		if any {
			challenge, reason = `Bearer error="invalid_token"`, "this is not the token"
			g.wrong.Add(1)
			if g.failures.add(from, shown, time.Now()) {
				g.log.Warn("an address has shown too many wrong tokens to the operators' address", "address", from.String())
			}
		}
		w.Header().Set("WWW-Authenticate", challenge)
		say(w, r, reply{http.StatusUnauthorized, problem{"unauthorized", reason}}, g.log)
	})
}

// isOneOf reports whether what was shown is one of the tokens, in a time that does not tell which.
func isOneOf(shown string, tokens []func() string) bool {
	found := false
	for _, token := range tokens {
		found = equal(shown, token()) || found
	}
	return found
}

// bearer returns the token of a request (RFC 6750 §2.1), and false if it shows none. One with
// several says nothing that can be right.
func bearer(r *http.Request) (token string, any bool) {
	fields := r.Header.Values("Authorization")
	if len(fields) == 0 {
		return "", false
	}
	scheme, token, _ := strings.Cut(fields[0], " ")
	if len(fields) > 1 || !strings.EqualFold(scheme, "Bearer") {
		return "", true
	}
	return strings.TrimLeft(token, " "), true
}

// equal compares tokens in a time that tells nothing of either, their lengths included.
func equal(shown, token string) bool {
	a, b := sha256.Sum256([]byte(shown)), sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1 && len(token) >= MinToken
}

// failures counts wrong tokens by address. The zero value has seen none.
type failures struct {
	mu sync.Mutex
	by map[netip.Addr]failing
}

// failing is what is known of an address.
type failing struct {
	began time.Time
	n     int
	last  [sha256.Size]byte // of what was shown last
}

// client returns what stands for an address: its network, where one client has many.
func client(a netip.Addr) netip.Addr {
	if a.Is6() {
		p, _ := a.WithZone("").Prefix(sharedBits)
		return p.Addr()
	}
	return a
}

// wait returns for how long an address is still refused, 0 for not at all.
func (f *failures) wait(from netip.Addr, now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if known := f.by[client(from)]; known.n >= maxFailures {
		return max(0, known.began.Add(failuresFor).Sub(now))
	}
	return 0
}

// add counts a failure with what was shown, and reports whether it was the last one that is borne.
func (f *failures) add(from netip.Addr, shown string, now time.Time) bool {
	sum := sha256.Sum256([]byte(shown))
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.by == nil {
		f.by = make(map[netip.Addr]failing)
	}
	from = client(from)
	known, found := f.by[from]
	if !found && len(f.by) >= maxFailing {
		f.forgetLocked(now)
	}
	if now.Sub(known.began) >= failuresFor {
		known = failing{began: now, last: known.last}
	}
	if found && known.last == sum {
		return false
	}
	known.n++
	known.last = sum
	f.by[from] = known
	return known.n == maxFailures
}

// forgetLocked makes room: of those whose time is over, or else of anyone. Who has so many
// addresses to try from is held up by no count.
func (f *failures) forgetLocked(now time.Time) {
	for address, known := range f.by {
		if now.Sub(known.began) >= failuresFor {
			delete(f.by, address)
		}
	}
	for address := range f.by {
		if len(f.by) < maxFailing {
			return
		}
		delete(f.by, address)
	}
}
