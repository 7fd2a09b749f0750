package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub/access"
)

// Settings that do not go together are refused at the start.
func TestConfigRelations(t *testing.T) {
	token := "ADMIN_TOKEN=" + strings.Repeat("t", 16)
	scraper := "METRICS_TOKEN=" + strings.Repeat("m", 16)
	for _, c := range []struct {
		set  []string
		want string // empty for none
	}{
		{[]string{"PUBLISH_AUTH=key"}, "SLUICE_PUBLISH_AUTH names key, which needs SLUICE_PUBLISH_KEYS"},
		{[]string{"PUBLISH_AUTH=key", "PUBLISH_KEYS=** a"}, ""},
		{[]string{"PUBLISH_KEYS=** a"}, "SLUICE_PUBLISH_KEYS is set, but SLUICE_PUBLISH_AUTH does not name key"},
		{[]string{"WATCH_AUTH=sign"}, "SLUICE_WATCH_AUTH names sign, which needs SLUICE_WATCH_SECRETS"},
		{[]string{"WATCH_AUTH=jwt"}, "SLUICE_WATCH_AUTH names jwt, which needs SLUICE_JWT_KEYS or SLUICE_JWT_JWKS_URL"},
		{[]string{"JWT_JWKS_URL=https://x/"}, "neither SLUICE_PUBLISH_AUTH nor SLUICE_WATCH_AUTH names jwt"},
		{[]string{"STREAM_KEYS=a live/x", "PUBLISH_AUTH=streamkey open"}, ""},
		{
			[]string{"PUBLISH_AUTH=key", "WATCH_AUTH=key", "PUBLISH_KEYS=** a; live/x geheim", "WATCH_KEYS=live/* gehe%69m"},
			"SLUICE_PUBLISH_KEYS and SLUICE_WATCH_KEYS have a secret in common",
		},
		{
			[]string{"PUBLISH_AUTH=sign", "WATCH_AUTH=sign", "PUBLISH_SECRETS=** a", "WATCH_SECRETS=** a"},
			"SLUICE_PUBLISH_SECRETS and SLUICE_WATCH_SECRETS have a secret in common",
		},
		{
			[]string{"PUBLISH_AUTH=streamkey", "WATCH_AUTH=key", "STREAM_KEYS=gehe%69m live/x; a live/y", "WATCH_KEYS=live/* geheim"},
			"SLUICE_STREAM_KEYS and SLUICE_WATCH_KEYS have a secret in common",
		},
		{
			[]string{"PUBLISH_AUTH=key", "WATCH_AUTH=sign", "PUBLISH_KEYS=** geheim", "WATCH_SECRETS=** geheim"},
			"SLUICE_PUBLISH_KEYS and SLUICE_WATCH_SECRETS have a secret in common",
		},
		{[]string{"PUBLISH_AUTH=streamkey", "WATCH_AUTH=key", "STREAM_KEYS=a live/x", "WATCH_KEYS=live/x b"}, ""},
		{[]string{"WATCH_AUTH=url"}, "SLUICE_WATCH_AUTH names url, which needs SLUICE_AUTH_URL"},
		{[]string{"PUBLISH_AUTH=key url", "PUBLISH_KEYS=** a", "AUTH_URL=http://x/"}, ""},
		{[]string{"AUTH_URL=http://geheim@x/"}, "neither SLUICE_PUBLISH_AUTH nor SLUICE_WATCH_AUTH names url"},
		{[]string{"AUTH_FORMAT=srs"}, "SLUICE_AUTH_FORMAT is set, but SLUICE_AUTH_URL is not"},
		{[]string{"EVENT_FORMAT=srs"}, "SLUICE_EVENT_FORMAT is set, but SLUICE_EVENT_URL is not"},
		{[]string{"ADMIN_ADDR=127.0.0.1:0"}, "SLUICE_ADMIN_ADDR needs SLUICE_ADMIN_TOKEN"},
		{[]string{token}, "SLUICE_ADMIN_TOKEN is set, but SLUICE_ADMIN_ADDR is not"},
		{[]string{token, "ADMIN_ADDR=:0"}, "would cross the network in clear"},
		{[]string{token, "ADMIN_ADDR=:0", "ADMIN_PLAINTEXT=true"}, ""},
		{[]string{"METRICS_ADDR=127.0.0.1:0"}, ""},
		{[]string{"METRICS_ADDR=localhost:0", scraper, "METRICS_STREAMS=10"}, ""},
		{[]string{token, "ADMIN_ADDR=[::1]:0", scraper}, ""},
		{[]string{scraper}, "SLUICE_METRICS_TOKEN is set, but neither SLUICE_METRICS_ADDR nor SLUICE_ADMIN_ADDR"},
		{[]string{"METRICS_STREAMS=1"}, "SLUICE_METRICS_STREAMS is set, but neither"},
		{[]string{"METRICS_ADDR=:0"}, "beyond loopback it needs SLUICE_METRICS_TOKEN"},
		{[]string{"METRICS_ADDR=:0", "ADMIN_PLAINTEXT=true"}, "beyond loopback it needs SLUICE_METRICS_TOKEN"},
		{[]string{"METRICS_ADDR=192.0.2.1:0", scraper}, "SLUICE_ADMIN_PLAINTEXT=true where"},
		{[]string{"METRICS_ADDR=192.0.2.1:0", scraper, "ADMIN_PLAINTEXT=true"}, ""},
		{[]string{token, "ADMIN_ADDR=[::1]:0", "METRICS_TOKEN=" + strings.TrimPrefix(token, "ADMIN_TOKEN=")}, "are one"},
		{[]string{token, "ADMIN_ADDR=localhost:0"}, ""},
		{[]string{"PROXY_PROTOCOL=rtmp"}, "needs SLUICE_TRUSTED_PROXIES"},
		{[]string{"PROXY_PROTOCOL=off http", "TRUSTED_PROXIES=10.0.0.1"}, "off stands alone"},
		{[]string{"PROXY_PROTOCOL=rtmp http", "TRUSTED_PROXIES=10.0.0.1 2001:db8::/32"}, ""},
		{[]string{"EVENT_SECRET=geheim"}, "SLUICE_EVENT_SECRET is set, but SLUICE_EVENT_URL is not"},
	} {
		var environ []string
		for _, set := range c.set {
			environ = append(environ, envPrefix+set)
		}
		_, err := loadConfig(environ)
		if c.want == "" {
			assert.NoError(t, err, c.set)
			continue
		}
		if assert.ErrorContains(t, err, c.want, c.set) {
			assert.NotContains(t, err.Error(), "geheim")
		}
	}
}

// A secret may stand in a file; what is wrong with the file is told, and nothing of its text.
func TestSecretFiles(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	good := file("good", "live/* geheim\nother/* a\n\n")
	cfg, err := loadConfig([]string{"SLUICE_PUBLISH_AUTH=key", "SLUICE_PUBLISH_KEYS_FILE=" + good})
	require.NoError(t, err)
	assert.Equal(t, secret("live/* geheim\nother/* a"), cfg.PublishKeys)
	for set, want := range map[string]string{
		"PUBLISH_KEYS_FILE=" + filepath.Join(dir, "none"):                      "no such file",
		"PUBLISH_KEYS_FILE=" + dir:                                             "is not a file",
		"PUBLISH_KEYS_FILE=" + file("empty", " \n"):                            "is empty",
		"PUBLISH_KEYS_FILE=" + file("bad", "geheim"):                           "SLUICE_PUBLISH_KEYS_FILE: entry 1",
		"PUBLISH_KEYS_FILE=" + file("large", strings.Repeat("geheim ", 1<<18)): "larger than",
		"DEMO_FILE=x": "unknown variable",
	} {
		_, err := loadConfig([]string{envPrefix + set})
		if assert.ErrorContains(t, err, want, set) {
			assert.NotContains(t, err.Error(), "geheim")
		}
	}
	_, err = loadConfig([]string{"SLUICE_PUBLISH_KEYS=** a", "SLUICE_PUBLISH_KEYS_FILE=" + good})
	assert.ErrorContains(t, err, "are both set")
}

// Nobody else can name a client as a client of one of the methods is named.
func TestMethodsHaveTheirOwnSubjects(t *testing.T) {
	for _, method := range slices.Concat(publishMethods, watchMethods) {
		if method != "open" && method != "none" { // which name nobody
			assert.Equal(t, "other:"+method+":x", access.NamedSubject("other:", method+":x"))
		}
	}
}
