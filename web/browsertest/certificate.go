package browsertest

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"time"

	"github.com/chromedp/chromedp"

	"sluice/hub/tlsconn/tlstest"
)

// Certificate returns a certificate for loopback, and the option by which a browser of [New]
// trusts its key and no other.
func Certificate() (tls.Certificate, chromedp.ExecAllocatorOption) {
	c := tlstest.Certificate(24*time.Hour, "localhost")
	sum := sha256.Sum256(c.Leaf.RawSubjectPublicKeyInfo)
	return c, chromedp.Flag("ignore-certificate-errors-spki-list", base64.StdEncoding.EncodeToString(sum[:]))
}
