package metrics

import (
	"strings"
	"time"

	"sluice/cmd/sluice/certificate"
)

// maxCertificateName is how long the name of a certificate may be as a label, in bytes: as long as one
// in the DNS. The rest is cut off.
const maxCertificateName = 253

// byName calls emit for each certificate by the first of its names, and of several with the same one
// (for RSA and for ECDSA) with the least of what value returns.
func byName(all []certificate.Info, value func(certificate.Info) float64, emit func(float64, ...string)) {
	least, names := make(map[string]float64), []string(nil)
	for _, info := range all {
		name := "none"
		if len(info.Names) > 0 {
			name = info.Names[0]
		}
		name = strings.ToValidUTF8(name[:min(len(name), maxCertificateName)], "?")
		v := value(info)
		before, there := least[name]
		if !there {
			names = append(names, name)
		}
		if !there || v < before {
			least[name] = v
		}
	}
	for _, name := range names {
		emit(least[name], name)
	}
}

// certificateFigures are those of the certificates for TLS, of which an operator has chosen the names.
func certificateFigures() []figure {
	return []figure{
		{"sluice_certificate_left_seconds", "Time until the certificate expires, by its first name; negative since it has, 0 where none could be obtained yet.",
			gauge, []string{"name"}, func(m *moment, emit func(float64, ...string)) {
				now := time.Now()
				byName(m.cfg.Certificates(), func(i certificate.Info) float64 { return i.Left(now).Seconds() }, emit)
			}},
		{"sluice_certificate_good", "1 if the certificate was replaced or obtained the last time that this was due, 0 if it could not be, as the log says why.",
			gauge, []string{"name"}, func(m *moment, emit func(float64, ...string)) {
				byName(m.cfg.Certificates(), func(i certificate.Info) float64 {
					if i.Problem != "" {
						return 0
					}
					return 1
				}, emit)
			}},
	}
}
