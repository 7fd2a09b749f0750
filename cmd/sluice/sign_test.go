package main

import (
	"bytes"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/hub/access/sign"
	"sluice/hub/pattern"
)

func TestSign(t *testing.T) {
	const secret, other = "correct horse battery staple", "another secret of live/studio"
	encode := func(s string) string { return strings.ReplaceAll(s, " ", "%20") }
	list := "live/studio " + encode(other) + "; live/** " + encode(secret) + "\nlive/** older"
	file := filepath.Join(t.TempDir(), "secrets")
	require.NoError(t, os.WriteFile(file, []byte(list+"\n"), 0o600))
	for _, tt := range []struct {
		name string
		args []string
		env  string
		want string // the URL, where EXPIRES and SIGN stand for what is computed

		role    hub.Role
		key     string
		secret  string
		howLong time.Duration
		address string
	}{
		{"as it is", []string{"http://h:8080/live/cam.flv"}, "SLUICE_WATCH_SECRETS=" + list,
			"http://h:8080/live/cam.flv?expires=EXPIRES&sign=SIGN", hub.RoleWatch, "live/cam", secret, time.Hour, ""},
		{"other parameters", []string{"-for", "10m", "ws://h/live/cam.flv?start=live&sign=old"}, "SLUICE_WATCH_SECRETS=" + list,
			"ws://h/live/cam.flv?start=live&expires=EXPIRES&sign=SIGN", hub.RoleWatch, "live/cam", secret, 10 * time.Minute, ""},
		{"publish, from a file", []string{"-role=publish", "-address", "192.0.2.7", "rtmp://h/live/studio"}, "SLUICE_PUBLISH_SECRETS_FILE=" + file,
			"rtmp://h/live/studio?expires=EXPIRES&sign=SIGN&bind=1", hub.RolePublish, "live/studio", other, time.Hour, "192.0.2.7"},
		{"an address of both kinds", []string{"-address", "::ffff:192.0.2.7", "rtmp://h/live/cam"}, "SLUICE_WATCH_SECRETS=" + list,
			"rtmp://h/live/cam?expires=EXPIRES&sign=SIGN&bind=1", hub.RoleWatch, "live/cam", secret, time.Hour, "192.0.2.7"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var stdout, stderr bytes.Buffer
				code := run(t.Context(), append([]string{"sign"}, tt.args...), []string{"SLUICE_X=1", tt.env}, &stdout, &stderr)
				require.Equal(t, exitOK, code, stderr.String())
				expires := time.Now().Add(tt.howLong)
				app, name, _ := strings.Cut(tt.key, "/")
				address, _ := netip.ParseAddr(tt.address)
				want := sign.Sign(tt.role, hub.Key{App: app, Name: name}, []byte(tt.secret), expires.Unix(), address)
				want = strings.NewReplacer("EXPIRES", strconv.FormatInt(expires.Unix(), 10), "SIGN", want).Replace(tt.want)
				assert.Equal(t, want+"\n", stdout.String())
				assert.Contains(t, stderr.String(), "may "+tt.role.String()+" until 2000-01-01T")
				assert.NotContains(t, stderr.String(), "sign=")
			})
		})
	}
}

func TestSignMistakes(t *testing.T) {
	const good = "http://h/live/cam.flv"
	const env = "SLUICE_WATCH_SECRETS=live/** hunter2-and-so-on"
	long := filepath.Join(t.TempDir(), "long")
	require.NoError(t, os.WriteFile(long, make([]byte, pattern.MaxText+1), 0o600))
	for _, tt := range []struct{ args, env, want string }{
		{"", env, "needs the URL"},
		{good + " -for 1h", env, "flags stand before it"},
		{"-x " + good, env, "not defined: -x"},
		{"-role play " + good, env, "watch or publish"},
		{"-for 0 " + good, env, "-for"},
		{"-for -1s " + good, env, "-for"},
		{"-for 999999h " + good, env, "-for"},
		{"-for 1d " + good, env, "-for"},
		{"-address host " + good, env, "-address"},
		{"-address fe80::1%eth0 " + good, env, "zone"},
		{"http://h/live/cam", env, "/APP/NAME.flv"},
		{"h/live/cam.flv", env, "begins with"},
		{good, "", "SLUICE_WATCH_SECRETS is not set"},
		{"-role publish " + good, env, "SLUICE_PUBLISH_SECRETS is not set"},
		{"http://h/other/cam.flv", env, `no secret for "other/cam" in SLUICE_WATCH_SECRETS`},
		{good, env + "\x00SLUICE_WATCH_SECRETS_FILE=x", "both set"},
		{good, "SLUICE_WATCH_SECRETS_FILE=/nowhere", "SLUICE_WATCH_SECRETS_FILE: "},
		{good, "SLUICE_WATCH_SECRETS_FILE=" + long, "more than"},
		{good, "SLUICE_WATCH_SECRETS=live hunter2-and-so-on", "SLUICE_WATCH_SECRETS: "},
	} {
		var stdout, stderr bytes.Buffer
		code := runSign(strings.Fields(tt.args), strings.Split(tt.env, "\x00"), &stdout, &stderr)
		assert.Equal(t, exitUsage, code, tt.args)
		assert.Empty(t, stdout.String())
		assert.Contains(t, stderr.String(), tt.want)
		assert.Equal(t, 1, strings.Count(stderr.String(), "\n"), stderr.String())
		assert.NotContains(t, stderr.String(), "hunter2")
	}
	var stdout, stderr bytes.Buffer
	assert.Equal(t, exitOK, runSign([]string{"-h"}, nil, &stdout, &stderr))
	assert.Contains(t, stdout.String(), "Usage: sluice sign")
	assert.Contains(t, stdout.String(), "-address")
	assert.Empty(t, stderr.String())
}

// What the subcommand signs, the server reads from the same URL.
func TestSignedAddressesFit(t *testing.T) {
	for _, address := range []string{"rtmp://h/live/cam", "http://h/live/c%C3%A4m%20x.flv?x=1", "ws://h/live/studio/cam.flv"} {
		var stdout, stderr bytes.Buffer
		require.Equal(t, exitOK, runSign([]string{address}, []string{"SLUICE_WATCH_SECRETS=** abcdefgh"}, &stdout, &stderr), stderr.String())
		key, err := sign.KeyOf(address)
		require.NoError(t, err)
		u, err := url.Parse(strings.TrimSpace(stdout.String()))
		require.NoError(t, err)
		expires, err := strconv.ParseInt(u.Query().Get("expires"), 10, 64)
		require.NoError(t, err)
		assert.Equal(t, sign.Sign(hub.RoleWatch, key, []byte("abcdefgh"), expires, netip.Addr{}), u.Query().Get("sign"))
	}
}
