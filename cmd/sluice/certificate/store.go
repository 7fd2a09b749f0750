package certificate

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"sluice/hub/durable"
)

// store is a folder with what was obtained from one authority: of another one its certificates would
// be of no use, as those of a test are to viewers.
//
//	STATE_DIR/acme/HOST-DIGEST/account.key   the key of the account there
//	                           NAME.pem      a key and its certificate, with those of its issuers
//
// It is for one process, as STATE_DIR is. Files may be saved at the same time if their names differ.
type store struct {
	dir     string
	account crypto.Signer
}

// openStore opens the folder for an authority, which it makes if it is missing.
func openStore(stateDir, directory string) (*store, error) {
	u, err := url.Parse(directory)
	if err != nil || u.Hostname() == "" {
		return nil, fmt.Errorf("%q is not the address of an authority", directory)
	}
	digest := sha256.Sum256([]byte(directory))
	s := &store{dir: filepath.Join(stateDir, "acme", u.Hostname()+"-"+hex.EncodeToString(digest[:4]))}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	s.account, err = s.loadAccount()
	return s, err
}

// loadAccount returns the key of the account, a new one if there is none yet.
func (s *store) loadAccount() (crypto.Signer, error) {
	path := filepath.Join(s.dir, "account.key")
	text, err := readFile(path)
	if err == nil {
		if block, _ := pem.Decode(text); block != nil {
			if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
				if key, ok := key.(*ecdsa.PrivateKey); ok {
					return key, nil
				}
			}
		}
		return nil, fmt.Errorf("%s is damaged; without it a new account is made", path)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if text, err = keyPEM(key); err != nil {
		return nil, err
	}
	return key, durable.Replace(path, text)
}

// keyPEM returns a key as PEM.
func keyPEM(key crypto.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// path returns where the certificate for a name is, which is one as Domain returns it.
func (s *store) path(name string) string { return filepath.Join(s.dir, name+".pem") }

// load returns the certificate for a name, nil if there is none. It may have expired.
func (s *store) load(name string) (*tls.Certificate, error) {
	text, err := readFile(s.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	cert, err := content{cert: text, key: text}.parse()
	if err == nil {
		err = cert.Leaf.VerifyHostname(name)
	}
	if err != nil {
		return nil, &fileError{s.path(name), err}
	}
	return cert, nil
}

// save stores the certificate for a name, so that it is there after a crash.
func (s *store) save(name string, cert *tls.Certificate) error {
	key, err := keyPEM(cert.PrivateKey)
	if err != nil {
		return err
	}
	text := bytes.NewBuffer(key)
	for _, der := range cert.Certificate {
		pem.Encode(text, &pem.Block{Type: "CERTIFICATE", Bytes: der}) // to memory
	}
	return durable.Replace(s.path(name), text.Bytes())
}
