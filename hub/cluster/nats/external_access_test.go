package nats

import (
	"crypto/tls"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pair returns a key with its public half and its seed.
func pair(t *testing.T, create func() (nkeys.KeyPair, error)) (k nkeys.KeyPair, public, seed string) {
	t.Helper()
	k, err := create()
	require.NoError(t, err)
	public, err = k.PublicKey()
	require.NoError(t, err)
	secret, err := k.Seed()
	require.NoError(t, err)
	return k, public, string(secret)
}

// file writes a text that only its owner may read.
func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// refused waits until somebody is told why there is no connection, and returns what is said and logged.
func refused(t *testing.T, cfg Config, why string) (said string) {
	t.Helper()
	var log lines
	cfg.Logger = log.logger()
	d := start(t, cfg)
	until(t, why, func() bool {
		h := d.Health()
		return !h.Writable && strings.Contains(strings.ToLower(h.Detail), why)
	})
	return d.Health().Detail + log.String()
}

// Who shows the seed of an nkey that the server knows is let in, and nobody else.
func TestExternalNkey(t *testing.T) {
	t.Parallel()
	_, public, seed := pair(t, nkeys.CreateUser)
	_, _, other := pair(t, nkeys.CreateUser)
	address, _ := external(t, func(opts *server.Options) { opts.Nkeys = []*server.NkeyUser{{Nkey: public}} })
	d := start(t, Config{URL: "nats://" + address, NkeyFile: file(t, "user.nk", seed+"\n")})
	usable(t, d)
	records(t, d, d)
	messages(t, d)
	assert.NotContains(t, refused(t, Config{URL: "nats://" + address, NkeyFile: file(t, "user.nk", other)}, "authorization"), other)

	_, err := New(Config{URL: "nats://" + address, NkeyFile: file(t, "user.nk", "SUnonsense")})
	require.Error(t, err)
	assert.Contains(t, err.Error(), "user.nk: no seed of an nkey")
	assert.NotContains(t, err.Error(), "SUnonsense")
}

// A server with accounts by JWT takes the file that its tools write (.creds). The account may have what the bucket takes
// with its replicas (also where there is one server: more are asked for first), and the user the rights of the README.
func TestExternalCredentials(t *testing.T) {
	t.Parallel()
	operatorKey, operatorID, _ := pair(t, nkeys.CreateOperator)
	accountKey, accountID, _ := pair(t, nkeys.CreateAccount)
	_, systemID, _ := pair(t, nkeys.CreateAccount)
	account := jwt.NewAccountClaims(accountID)
	account.Name = "live"
	account.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: externalReplicas * maxRecords, Streams: 1}
	system := jwt.NewAccountClaims(systemID)
	accounts := &server.MemAccResolver{}
	for id, claims := range map[string]*jwt.AccountClaims{accountID: account, systemID: system} {
		token, err := claims.Encode(operatorKey)
		require.NoError(t, err)
		require.NoError(t, accounts.Store(id, token))
	}
	operator := jwt.NewOperatorClaims(operatorID)
	operator.SystemAccount = systemID
	token, err := operator.Encode(operatorKey)
	require.NoError(t, err)
	operator, err = jwt.DecodeOperatorClaims(token)
	require.NoError(t, err)
	address, _ := external(t, func(opts *server.Options) {
		opts.TrustedOperators = []*jwt.OperatorClaims{operator}
		opts.AccountResolver = accounts
		opts.SystemAccount = systemID
	})
	credentials := func(signer nkeys.KeyPair) (path, seed string) {
		_, id, seed := pair(t, nkeys.CreateUser)
		user := jwt.NewUserClaims(id)
		user.Name = "sluice"
		user.Expires = time.Now().Add(time.Hour).Unix()
		rights := documented(t).Users[0].Permissions
		user.Pub.Allow, user.Sub.Allow = rights.Publish.Allow, rights.Subscribe.Allow
		user.Resp = &jwt.ResponsePermission{MaxMsgs: 1, Expires: time.Minute}
		token, err := user.Encode(signer)
		require.NoError(t, err)
		text, err := jwt.FormatUserConfig(token, []byte(seed))
		require.NoError(t, err)
		return file(t, "user.creds", string(text)), seed
	}
	path, _ := credentials(accountKey)
	a, b := start(t, Config{URL: "nats://" + address, CredentialsFile: path}), start(t, Config{URL: "nats://" + address, CredentialsFile: path})
	usable(t, a, b)
	records(t, a, b)
	messages(t, a, b)

	stranger, _, _ := pair(t, nkeys.CreateAccount)
	path, seed := credentials(stranger)
	assert.NotContains(t, refused(t, Config{URL: "nats://" + address, CredentialsFile: path}, "authorization"), seed)
}

// A server with TLS is known by the authority that signed its certificate, and may ask for one of its clients; what it
// is shown in the URL does not reach one that somebody else has signed.
func TestExternalTLS(t *testing.T) {
	t.Parallel()
	authority := newAuthority(t)
	for name, mutual := range map[string]bool{"its certificate": false, "both certificates": true} {
		t.Run(name, func(t *testing.T) {
			address, _ := external(t, func(opts *server.Options) {
				withPassword(opts)
				config, err := authority.certificate(t).config(mutual)
				require.NoError(t, err)
				opts.TLS, opts.TLSVerify, opts.TLSConfig, opts.TLSTimeout = true, mutual, config, patience.Seconds()
				if !mutual {
					config.ClientAuth = tls.NoClientCert
				}
			})
			ours := &TLS{CA: authority.file}
			if mutual {
				ours = authority.certificate(t)
			}
			d := start(t, Config{URL: "tls://" + password + address, TLS: ours})
			usable(t, d)
			records(t, d, d)
			said := refused(t, Config{URL: "tls://" + password + address, TLS: &TLS{CA: newAuthority(t).file}}, "unknown authority")
			assert.NotContains(t, said, "ss:word")
			assert.NotContains(t, said, "ss%3Aword")
		})
	}
}

// documented returns the server's settings as the README has them for somebody who runs a NATS.
func documented(t *testing.T) *server.Options {
	t.Helper()
	readme, err := os.ReadFile("../../../README.md")
	require.NoError(t, err)
	block := regexp.MustCompile("(?s)```hocon\n(.*?)```").FindStringSubmatch(string(readme))
	require.NotNil(t, block, "the settings of a NATS in the README")
	opts := &server.Options{}
	require.NoError(t, opts.ProcessConfigFile(file(t, "nats.conf", strings.Replace(block[1], "/var/lib/nats", t.TempDir(), 1))))
	require.Len(t, opts.Users, 1)
	require.NotNil(t, opts.Users[0].Permissions)
	return opts
}

// The settings of a NATS in the README are enough for all that nodes do, and let them do nothing else: one more part of
// the rights than another prefix has makes another cluster.
func TestExternalRightsOfTheReadme(t *testing.T) {
	t.Parallel()
	address, _ := external(t, func(opts *server.Options) {
		documented := documented(t)
		opts.Accounts, opts.Users, opts.MaxPayload = documented.Accounts, documented.Users, documented.MaxPayload
		opts.JetStreamMaxMemory = documented.JetStreamMaxMemory
	})
	user := documented(t).Users[0]
	from := "nats://" + url.UserPassword(user.Username, user.Password).String() + "@" + address
	a, b := start(t, Config{URL: from}), start(t, Config{URL: from})
	usable(t, a, b)
	records(t, a, b)
	messages(t, a, b)

	said := refused(t, Config{URL: from, Prefix: "other"}, "nobody decides on records")
	assert.Contains(t, said, `Permissions Violation for Publish to \"$JS.API.STREAM.INFO.KV_other\"`, "it says what is lacking")
	assert.NotContains(t, said, user.Password)
}
