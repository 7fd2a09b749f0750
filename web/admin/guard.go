package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
)

// MinToken is how many characters a token has at least.
const MinToken = 16

// Bounds on wrong tokens.
const (
	// maxFailures is how many an address may show in failuresFor; then it is refused unread
	// until that time is over.
	maxFailures = 10
	failuresFor = time.Minute
	// maxFailing bounds the addresses that are remembered. Beyond it, some are forgotten.
	maxFailing = 4096
	// sharedBits is what addresses of one IPv6 client have in common.
	sharedBits = 64
)

// guard lets those through who show the token.
func (a *api) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from := remote(r)
		if wait := a.failures.wait(from, time.Now()); wait > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
			a.say(w, r, reply{http.StatusTooManyRequests, problem{"too many", "this address has shown too many wrong tokens"}})
			return
		}
		shown, any := bearer(r)
		if any && equal(shown, a.Token()) {
			next.ServeHTTP(w, r)
			return
		}
		challenge, reason := "Bearer", "this needs the header Authorization: Bearer TOKEN"
		if any {
			challenge, reason = `Bearer error="invalid_token"`, "this is not the token"
			if a.failures.add(from, time.Now()) {
				a.Logger.Warn("an address has shown too many wrong tokens to the operators' API", "address", from.String())
			}
		}
		w.Header().Set("WWW-Authenticate", challenge)
		a.say(w, r, reply{http.StatusUnauthorized, problem{"unauthorized", reason}})
	})
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

// add counts a failure, and reports whether it was the last one that is borne.
func (f *failures) add(from netip.Addr, now time.Time) bool {
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
		known = failing{began: now}
	}
	known.n++
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
