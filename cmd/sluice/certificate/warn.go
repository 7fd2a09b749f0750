package certificate

import (
	"crypto/sha256"
	"crypto/x509"
	"slices"
	"time"
)

const day = 24 * time.Hour

// warnDays are the days that a certificate still has when that is told, the most first. 0 is for one
// that has expired.
var warnDays = []int{14, 7, 2, 0}

// warn tells which certificates are about to expire, of each certificate and number of days once.
func (s *Source) warn(now time.Time) {
	leaves := s.leaves()
	kept := make(map[[32]byte]int)
	for _, leaf := range leaves {
		id := sha256.Sum256(leaf.Raw)
		days, due := dueWarning(leaf, now)
		before, told := s.warned[id]
		if told {
			kept[id] = before
		}
		if !due || told && before <= days {
			continue
		}
		kept[id] = days
		attrs := append(leafAttrs(leaf), "left", max(leaf.NotAfter.Sub(now), 0).Round(time.Minute).String())
		if days == 0 {
			s.log.Error("a certificate has expired, viewers refuse it", attrs...)
		} else {
			s.log.Warn("a certificate is about to expire and was not renewed", attrs...)
		}
	}
	s.warned = kept
}

// dueWarning returns the fewest of warnDays that a certificate has no more. A number of days that is
// a third of a certificate's time, or more, is no sign that it was not renewed: who makes certificates
// for a few days renews them late.
func dueWarning(leaf *x509.Certificate, now time.Time) (days int, due bool) {
	whole, left := leaf.NotAfter.Sub(leaf.NotBefore), leaf.NotAfter.Sub(now)
	for _, days := range slices.Backward(warnDays) {
		if bound := time.Duration(days) * day; left <= bound && (days == 0 || bound < whole/3) {
			return days, true
		}
	}
	return 0, false
}

// leaves returns the certificates that are served.
func (s *Source) leaves() (leaves []*x509.Certificate) {
	if s.acme != nil {
		for _, d := range s.acme.domains {
			if cert := d.cert.Load(); cert != nil {
				leaves = append(leaves, cert.Leaf)
			}
		}
	}
	for _, cert := range s.served.Load().all {
		leaves = append(leaves, cert.Leaf)
	}
	return leaves
}
