package certificate

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"time"
)

// maxFile bounds a file of certificates or of a key, in bytes.
const maxFile = 256 << 10

// pair is a certificate from files. Its content counts, and no time of change: files are replaced in
// place, by renaming, or by a symbolic link above them that points elsewhere.
//
//	         content is another
//	good ----------------------------> judged --of use----> good, with the new one
//	  ^                                  |
//	  |    content is that of the        of no use
//	  |    certificate that is served    v
//	  +------------------------------- refused (the old one is served; told once for each
//	                                            content and reason)
//
// Open judges in the same way, and has nothing to go on with.
type pair struct {
	files   Files
	cert    *tls.Certificate
	content [32]byte // of the files that cert is from
	problem string   // why the present content was refused; empty in good
	told    [32]byte // the content and reason that were told last
}

// open reads the files for the first time.
func (p *pair) open(now time.Time) error {
	read, err := p.read()
	if err == nil {
		p.cert, err = read.parse()
		p.content = read.digest
	}
	if err != nil {
		return p.files.wrap(err)
	}
	return nil
}

// wrap says of which files an error speaks, if it does not say so itself.
func (f Files) wrap(err error) error {
	var of *fileError
	if errors.As(err, &of) {
		return err
	}
	return fmt.Errorf("%s with %s: %w", f.Cert, f.Key, err)
}

// look reads the files anew and reports whether the certificate was replaced.
func (p *pair) look(now time.Time, log *slog.Logger) (replaced bool) {
	read, err := p.read()
	if err == nil && read.digest == p.content {
		if p.problem != "" {
			p.problem, p.told = "", [32]byte{}
			log.Info("the files of the certificate are as they were before", "file", p.files.Cert)
		}
		return false
	}
	if again, errAgain := p.read(); again.digest != read.digest || (err == nil) != (errAgain == nil) {
		return false // they are just being written; the next look will find them whole
	}
	var cert *tls.Certificate
	if err == nil {
		cert, err = read.parse()
	}
	if err == nil {
		err = p.compare(cert, now)
	}
	if err != nil {
		p.refuse(read.digest, p.files.wrap(err).Error(), log)
		return false
	}
	lost := lostNames(p.cert.Leaf, cert.Leaf)
	p.cert, p.content, p.problem, p.told = cert, read.digest, "", [32]byte{}
	log.Info("certificate replaced", p.attrs()...)
	p.warnNames(log)
	if len(lost) > 0 {
		log.Warn("the new certificate is not for all names that the old one was for", "file", p.files.Cert,
			"missing", strings.Join(lost, " "))
	}
	return true
}

// lostNames returns the names of a certificate that another one does not serve.
func lostNames(old, next *x509.Certificate) (lost []string) {
	for _, name := range namesOf(old) {
		if next.VerifyHostname(name) != nil {
			lost = append(lost, name)
		}
	}
	return lost
}

// warnNames tells of a certificate that no client takes, since none looks at the common name any more.
func (p *pair) warnNames(log *slog.Logger) {
	if len(namesOf(p.cert.Leaf)) == 0 {
		log.Warn("the certificate is for no name, and clients refuse it: it needs names in subjectAltName, the common name does not count",
			"file", p.files.Cert, "common_name", p.cert.Leaf.Subject.CommonName)
	}
}

// compare says whether the certificate that is served is better than the one in its files.
func (p *pair) compare(next *tls.Certificate, now time.Time) error {
	if old := p.cert.Leaf; now.After(old.NotAfter) || now.Before(old.NotBefore) {
		return nil
	}
	switch leaf := next.Leaf; {
	case now.After(leaf.NotAfter):
		return fmt.Errorf("it expired at %s, and the old one has not", leaf.NotAfter.Format(time.RFC3339))
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("it is not good before %s, and the old one is", leaf.NotBefore.Format(time.RFC3339))
	}
	return nil
}

// refuse keeps the old certificate, and tells why where that was not told before.
func (p *pair) refuse(content [32]byte, why string, log *slog.Logger) {
	p.problem = why
	told := sha256.Sum256(append(content[:], why...))
	if told == p.told {
		return
	}
	p.told = told
	log.Warn("the certificate is not replaced, the old one is still served", "file", p.files.Cert, "reason", why,
		"not_after", p.cert.Leaf.NotAfter.UTC())
}

// attrs are what the log says of the certificate.
func (p *pair) attrs() []any { return append([]any{"file", p.files.Cert}, leafAttrs(p.cert.Leaf)...) }

// leafAttrs are what the log says of any certificate.
func leafAttrs(leaf *x509.Certificate) []any {
	return []any{"names", strings.Join(namesOf(leaf), " "), "issuer", issuerOf(leaf), "not_after", leaf.NotAfter.UTC()}
}

func (p *pair) info() Info {
	return Info{Names: namesOf(p.cert.Leaf), NotAfter: p.cert.Leaf.NotAfter, Problem: p.problem}
}

// maxNames bounds the names of a certificate that are shown.
const maxNames = 100

// namesOf returns the names that a certificate serves, of which there may be many.
func namesOf(leaf *x509.Certificate) (names []string) {
	names = append(names, leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return names[:min(len(names), maxNames)]
}

// issuerOf returns a short name of who made a certificate.
func issuerOf(leaf *x509.Certificate) string {
	if name := leaf.Issuer.CommonName; name != "" {
		return name
	}
	return leaf.Issuer.String()
}

// content is what stands in the files of a pair.
type content struct {
	cert, key []byte
	digest    [32]byte // of both
}

// read reads both files. Where one cannot be read, the digest is that of what could be.
func (p *pair) read() (c content, err error) {
	c.cert, err = readFile(p.files.Cert)
	if err == nil {
		c.key, err = readFile(p.files.Key)
	}
	certDigest, keyDigest := sha256.Sum256(c.cert), sha256.Sum256(c.key)
	c.digest = sha256.Sum256(append(certDigest[:], keyDigest[:]...))
	return c, err
}

// fileError is an error of one of the files.
type fileError struct {
	path string
	err  error
}

func (e *fileError) Error() string { return e.path + ": " + e.err.Error() }
func (e *fileError) Unwrap() error { return e.err }

// readFile reads a file of at most maxFile bytes.
func readFile(path string) (text []byte, err error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = errNoFile // to open a named pipe would wait for who writes it
	}
	if err == nil {
		text, err = readBounded(path)
	}
	switch {
	case err != nil:
		var of *os.PathError
		if errors.As(err, &of) {
			err = of.Err // the path is told
		}
		return nil, &fileError{path, err}
	case len(text) > maxFile:
		return nil, &fileError{path, fmt.Errorf("is larger than %d bytes", maxFile)}
	case len(bytes.TrimSpace(text)) == 0:
		return nil, &fileError{path, errors.New("is empty")}
	}
	return text, nil
}

// readBounded reads what is in a file, and of a larger one than may be one byte more than that.
func readBounded(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // it may have become a named pipe since
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, cmp.Or(err, errNoFile)
	}
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

// Errors of files; crypto/tls has more.
var (
	errTruncated = errors.New("its end is missing, or damaged: a block of PEM has begun and is none")
	errOtherKey  = errors.New("the key is that of another certificate, or one of them is still to be replaced")
	errNoFile    = errors.New("is not a file")
	errEncrypted = errors.New("its key is encrypted with a passphrase; it must be stored without one")
)

// parse makes a certificate of what stands in the files. Nothing of the key is in its errors.
func (c content) parse() (*tls.Certificate, error) {
	for _, text := range [][]byte{c.cert, c.key} {
		if err := checkPEM(text); err != nil {
			return nil, err
		}
	}
	cert, err := tls.X509KeyPair(c.cert, c.key)
	if err != nil && strings.Contains(err.Error(), "does not match public key") {
		return nil, errOtherKey
	}
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "tls: "))
	}
	return &cert, nil
}

// checkPEM finds blocks that are cut off: crypto/tls passes over them, and would so serve a
// certificate without its issuers.
func checkPEM(text []byte) error {
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			if bytes.Contains(text, []byte("-----BEGIN")) {
				return errTruncated
			}
			return nil
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
			return errEncrypted
		}
		if skipped := text[:len(text)-len(rest)]; bytes.Count(skipped, []byte("-----BEGIN")) != 1 {
			return errTruncated
		}
		text = rest
	}
}
