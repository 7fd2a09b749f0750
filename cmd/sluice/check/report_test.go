package check

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
)

// A certificate is noted when it should have been renewed, which for one of few days is late; one that
// has ended has ended, where -insecure takes it.
func TestCertificateNotes(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		age, left time.Duration
		want      string // empty for no note
	}{
		{60 * day, 30 * day, ""},
		{80 * day, 10 * day, "the certificate ends on "},
		{4 * day, 3 * day, ""},
		{5 * day, 2 * day, "the certificate ends on "},
		{90 * day, -time.Hour, "the certificate has ended on "},
	} {
		r := new(row)
		r.certificate(tls.ConnectionState{PeerCertificates: []*x509.Certificate{
			{NotBefore: time.Now().Add(-c.age), NotAfter: time.Now().Add(c.left)},
		}})
		if c.want == "" {
			assert.Empty(t, r.Notes, c)
		} else if assert.Len(t, r.Notes, 1, c) {
			assert.Contains(t, r.Notes[0], c.want, c)
		}
	}
}

// What is the same of who publishes and who watches is told once, and what was not tried is not
// counted among what works.
func TestTableOfFailures(t *testing.T) {
	r := report{
		Publish: []*row{{Protocol: "rtmps", URL: "rtmps://a", Notes: []string{"N"}, Fault: &fault{"refused-connection", "look"}}},
		Outputs: []*row{{Protocol: "rtmps", URL: "rtmps://a", Notes: []string{"N"}, NotTried: true}, {Protocol: "http", URL: "http://a", NotTried: true}},
	}
	table, _ := r.texts(t)
	assert.Equal(t, 1, strings.Count(table, "note, rtmps rtmps://a: N."), table)
	assert.Contains(t, table, "\nnothing could be published, so that no output was tried, tested in 0.0 s\n")
	r.Publish[0].Fault, r.Publish[0].OK, r.Outputs[0].NotTried, r.Outputs[1].NotTried = nil, true, false, false
	r.Outputs[1].Fault = &fault{"status", "look"}
	table, _ = r.texts(t)
	assert.Contains(t, table, "\n1 of 3 do not work")
}

// The help fits into a window.
func TestHelpWidth(t *testing.T) {
	for line := range strings.Lines(helpText()) {
		assert.LessOrEqual(t, utf8.RuneCountInString(strings.ReplaceAll(line, "\t", "    ")), 90, line)
	}
}
