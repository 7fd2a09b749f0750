package check

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// secureFault returns why there is no encrypted connection.
func (t *tester) secureFault(ctx context.Context, w *way, err error) fault {
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	var authority x509.UnknownAuthorityError
	var record tls.RecordHeaderError
	var alert *net.OpError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && time.Now().Before(invalid.Cert.NotBefore):
		return faultf("certificate-early", "the certificate of %s begins on %s only: look at the clock of this machine", w.address, day(invalid.Cert.NotBefore))
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return faultf("certificate-expired", "the certificate of %s has expired on %s: renew it, and see that the server or proxy has read the new one", w.address, day(invalid.Cert.NotAfter))
	case errors.As(err, &name):
		return faultf("certificate-name", "the certificate of %s is for %s, and not for %s: look at which certificate the server shows for this name, and at the name in the URL", w.address, names(name.Certificate), w.host())
	case errors.As(err, &authority):
		return faultf("certificate-authority", "the certificate of %s is signed by %s, whom this machine does not trust: look at whether the server sends the intermediate certificates too (fullchain), or name the authority with -ca", w.address, issuer(authority.Cert))
	case errors.As(err, &invalid):
		return faultf("certificate", "the certificate of %s is not good (%s): look at how it was made", w.address, t.clean(invalid.Error()))
	case errors.As(err, &record):
		what := found(record.RecordHeader[:])
		if what == "" {
			what = t.probe(ctx, w)
		}
		if what == "" || what == "tls" {
			what = "other"
		}
		return t.foreign(w, what)
	case errors.As(err, &alert) && alert.Op == "remote error": // as crypto/tls tells the peer's alert
		return faultf("tls", "%s refuses the TLS handshake (%s): look at whether it has a certificate for %s", w.address, t.clean(alert.Err.Error()), w.host())
	case isTimeout(err) || isEnd(err):
		if what := t.probe(ctx, w); what != "" && what != "tls" {
			return t.foreign(w, what)
		}
		return faultf("tls", "%s does not answer the TLS handshake: look at whether this is a port with TLS, at whether the server has a certificate for %s, and at its log", w.address, w.host())
	}
	return faultf("tls", "the TLS handshake with %s fails (%s): look at the versions and certificates of the server", w.address, t.clean(last(err).Error()))
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// maxNames bounds the names of a certificate that are listed.
const maxNames = 5

// names returns whom a certificate is for.
func names(cert *x509.Certificate) string {
	all := append([]string{}, cert.DNSNames...)
	for _, ip := range cert.IPAddresses {
		all = append(all, ip.String())
	}
	if len(all) == 0 {
		return "nobody by name"
	}
	if len(all) > maxNames {
		all = append(all[:maxNames], "…")
	}
	return printable(strings.Join(all, ", "))
}

// issuer returns who signed a certificate.
func issuer(cert *x509.Certificate) string {
	switch {
	case cert == nil:
		return "somebody"
	case bytes.Equal(cert.RawIssuer, cert.RawSubject):
		return "itself"
	}
	return fmt.Sprintf("%q", printable(cert.Issuer.String()))
}

// family returns what a server of the way speaks, of what probe returns.
func (w *way) family() string {
	switch {
	case w.secure():
		return "tls"
	case w.publishes():
		return "rtmp"
	}
	return "http"
}

// found returns what speaks by its first bytes: "http", "tls", "rtmp"; empty if that is not known.
func found(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte("HTTP/")):
		return "http"
	case len(head) >= 2 && (head[0] == 0x15 || head[0] == 0x16) && head[1] == 3: // alert, handshake (RFC 8446 §5.1)
		return "tls"
	case len(head) > 0 && head[0] == 3:
		return "rtmp"
	}
	return ""
}

// foreign returns the fault of a port on which something else is spoken.
func (t *tester) foreign(w *way, what string) fault {
	wanted := map[string]string{"rtmp": "RTMP", "http": "HTTP", "tls": "TLS"}
	switch speaks := wanted[what]; {
	case what == w.family():
		return faultf("not-"+what, "what %s answers is malformed %s: look at what stands in front of the server", w.address, speaks)
	case speaks == "":
		return faultf("not-"+w.family(), "what answers on %s does not speak %s: look at the port", w.address, wanted[w.family()])
	case what == "tls":
		return faultf("not-"+w.family(), "%s speaks TLS and not plain %s: use %ss://, or another port", w.address, wanted[w.family()], w.base.Scheme)
	case w.secure():
		return faultf("not-tls", "%s speaks %s without TLS: use %s://, or another port", w.address, speaks, what)
	default:
		return faultf("not-"+w.family(), "%s speaks %s and not %s: this is another port of the server, look at which it has for %s", w.address, speaks, wanted[w.family()], wanted[w.family()])
	}
}

// probe tries what is spoken on the address of a way: "rtmp", "tls", "http", empty if that is not
// known. It takes times.probe.
func (t *tester) probe(ctx context.Context, w *way) string {
	ctx, cancel := context.WithTimeout(ctx, t.times.probe)
	defer cancel()
	hello := append([]byte{3}, make([]byte, 1536)...) // C0 and C1, of the plain form (RTMP 1.0 §5.2)
	probes := []struct {
		what string
		try  func(net.Conn) string
	}{
		{"tls", func(c net.Conn) string {
			if tls.Client(c, &tls.Config{ServerName: w.host(), InsecureSkipVerify: true}).HandshakeContext(ctx) == nil {
				return "tls"
			}
			return ""
		}},
		{"rtmp", func(c net.Conn) string { return firstWords(c, hello) }},
		{"http", func(c net.Conn) string { return firstWords(c, []byte("GET / HTTP/1.0\r\n\r\n")) }},
	}
	answers := make([]string, len(probes))
	var probing sync.WaitGroup
	for i, p := range probes {
		probing.Go(func() {
			var d net.Dialer
			c, err := d.DialContext(ctx, "tcp", w.address)
			if err != nil {
				return
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(t.times.probe))
			defer context.AfterFunc(ctx, func() { c.Close() })()
			answers[i] = p.try(c)
		})
	}
	probing.Wait()
	for i, p := range probes {
		if answers[i] == p.what {
			return p.what
		}
	}
	return ""
}

// firstWords sends something and returns what the answer's first bytes are.
func firstWords(c net.Conn, say []byte) string {
	if _, err := c.Write(say); err != nil {
		return ""
	}
	head := make([]byte, len("HTTP/"))
	n, _ := io.ReadAtLeast(c, head, 1)
	if n > 0 && head[0] == 'H' && n < len(head) {
		m, _ := io.ReadFull(c, head[n:])
		n += m
	}
	return found(head[:n])
}
