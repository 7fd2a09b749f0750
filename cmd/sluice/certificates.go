package main

import (
	"strings"
	"time"

	"sluice/cmd/sluice/certificate"
)

// certificateInfo is what operators are told of a certificate for TLS.
type certificateInfo struct {
	Names    []string   `json:"names"`     // never null
	NotAfter *time.Time `json:"not_after"` // null where there is none yet
	DaysLeft float64    `json:"days_left"` // negative since it has expired, 0 where there is none yet
	Problem  string     `json:"problem"`   // why it could not be replaced, or obtained, the last time
}

// shownCertificates returns what operators are told of certificates.
func shownCertificates(all []certificate.Info, now time.Time) []certificateInfo {
	shown := make([]certificateInfo, 0, len(all))
	for _, of := range all {
		one := certificateInfo{
			Names: make([]string, 0, len(of.Names)), DaysLeft: of.Left(now).Hours() / 24,
			Problem: strings.ToValidUTF8(of.Problem, "?"),
		}
		for _, name := range of.Names {
			one.Names = append(one.Names, strings.ToValidUTF8(name, "?"))
		}
		if !of.NotAfter.IsZero() {
			one.NotAfter = new(of.NotAfter.UTC())
		}
		shown = append(shown, one)
	}
	return shown
}
