package check

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// All six protocols work, and the report says so in both forms.
func TestEveryProtocol(t *testing.T) {
	t.Parallel()
	s, a := startServer(t, hub.Config{}), newAuthority(t)
	cert := a.sign(t, ofLoopback())
	rtmps, https := secureFront(t, s.rtmp, cert), secureFront(t, s.http, cert)
	r := runTest(t, func(o *options) { o.authorities = a.pool() },
		"rtmp://"+s.rtmp, "rtmps://"+rtmps, "http://"+s.http, "https://"+https)
	table, js := r.texts(t)
	require.True(t, r.OK, table)
	var protocols []string
	for _, row := range r.Outputs {
		protocols = append(protocols, row.Protocol)
		assert.True(t, row.OK)
		assert.Positive(t, row.Picture, row.Protocol)
		assert.NotNil(t, row.Delay, row.Protocol)
		assert.GreaterOrEqual(t, row.Frames.Video, 5, row.Protocol)
		assert.GreaterOrEqual(t, row.Frames.Audio, 5, row.Protocol)
		secure := strings.HasSuffix(row.Protocol, "s") && row.Protocol != "ws"
		assert.Equal(t, secure, row.Expires != nil, row.Protocol)
		assert.Equal(t, secure, row.Stages[stageTLS] > 0, row.Protocol)
		sum := 0.0
		for _, took := range row.Stages {
			sum += took
		}
		assert.InDelta(t, row.Picture, sum, 0.1, "the stages add up")
	}
	assert.Equal(t, []string{"rtmp", "rtmps", "http", "ws", "https", "wss"}, protocols)
	assert.Contains(t, table, "all of it works")
	var read map[string]any
	require.NoError(t, json.Unmarshal([]byte(js), &read))
	assert.Equal(t, true, read["ok"])
	assert.Contains(t, r.Stream, "live/sluice-check-")
	assert.Empty(t, s.hub.Streams(), "the stream is gone at once")
}

// A publisher over rtmps alone will do, and what is skipped is not watched.
func TestPublishOverRTMPS(t *testing.T) {
	t.Parallel()
	s, a := startServer(t, hub.Config{}), newAuthority(t)
	rtmps := secureFront(t, s.rtmp, a.sign(t, endingSoon()))
	r := runTest(t, func(o *options) { o.authorities = a.pool() }, "-skip", "rtmps,ws", "-app", "a/b", "rtmps://"+rtmps, "http://"+s.http)
	table, _ := r.texts(t)
	require.True(t, r.OK, table)
	require.Len(t, r.Outputs, 1)
	assert.Equal(t, "http", r.Outputs[0].Protocol)
	assert.Contains(t, r.Stream, "a/b/")
	require.Len(t, r.Outputs[0].Notes, 0)
	require.Len(t, r.Publish[0].Notes, 1, "of a certificate that ends soon")
	assert.Contains(t, r.Publish[0].Notes[0], "renew it")
}

// The first that takes the clip is published to; those before it are told.
func TestSecondPublishes(t *testing.T) {
	t.Parallel()
	s, closed := startServer(t, hub.Config{}), listen(t)
	closed.Close()
	r := runTest(t, nil, "-skip", "rtmp", "rtmp://"+closed.Addr().String(), "rtmp://"+s.rtmp, "http://"+s.http)
	assert.False(t, r.OK)
	require.Len(t, r.Publish, 2)
	assert.Equal(t, "refused-connection", r.Publish[0].Fault.Word)
	assert.True(t, r.Publish[1].OK)
	assert.True(t, r.output(t, "http").OK)
}

// What a server needs to permit is shown, and told nobody: not even where the server repeats it.
func TestPermissions(t *testing.T) {
	t.Parallel()
	const publishKey, watchKey, token, streamKey = "pub-S3CRET", "watch-S3CRET", "tok.S3CRET", "stream-S3CRET"
	name := hub.CheckName([16]byte{7})
	authorize := func(_ context.Context, s *hub.Session) (hub.Grant, error) {
		q := s.Client().Query
		shown := q.Get("key") + " " + q.Get("token")
		switch {
		case s.Role() == hub.RolePublish && s.Key().Name == streamKey && len(q) == 0:
			return hub.Grant{Key: hub.Key{App: "live", Name: name}}, nil
		case s.Role() == hub.RolePublish && shown == publishKey+" "+token, s.Role() == hub.RoleWatch && shown == watchKey+" "+token:
			return hub.Grant{}, nil
		}
		return hub.Grant{}, &hub.Refusal{Reason: hub.ReasonDenied, Detail: "wrong: " + shown + " for " + s.Key().String()}
	}
	s := startServer(t, hub.Config{Authorize: authorize})
	file := t.TempDir() + "/key"
	require.NoError(t, os.WriteFile(file, []byte(watchKey+"\n"), 0o600))
	urls := []string{"rtmp://" + s.rtmp, "http://" + s.http}
	for _, c := range []struct {
		name string
		args []string
		want string // words of the faults
	}{
		{"all", []string{"-key", publishKey, "-watch-key", "@" + file, "-token", token}, ""},
		{"stream key", []string{"-stream-key", streamKey, "-name", name, "-watch-key", watchKey, "-watch-token", token}, ""},
		{"not to publish", []string{"-key", "x" + publishKey, "-watch-key", watchKey, "-token", token}, "denied-publish"},
		{"not to watch", []string{"-key", publishKey, "-watch-key", publishKey, "-token", token}, "denied-watch denied-watch denied-watch"},
		{"another token", []string{"-key", publishKey, "-watch-key", watchKey, "-token", token, "-watch-token", "x" + token}, "denied-watch denied-watch denied-watch"},
		{"stream key that is none", []string{"-stream-key", "x" + streamKey, "-name", name}, "denied-publish"},
	} {
		r := runTest(t, nil, append(c.args, urls...)...)
		assert.Equal(t, c.want, strings.Join(words(r), " "), c.name)
		table, js := r.texts(t)
		assert.NotContains(t, table+js, "S3CRET", c.name)
		if c.want != "" {
			assert.Contains(t, table, "wrong: ", "%s: what the server says is told", c.name)
		}
	}
}

// words returns the words of all faults.
func words(r *report) (all []string) {
	for _, row := range append(append([]*row{}, r.Publish...), r.Outputs...) {
		if row.Fault != nil {
			all = append(all, row.Fault.Word)
		}
	}
	return all
}

// Signed addresses are what Sign makes of them.
func TestSigned(t *testing.T) {
	t.Parallel()
	s := startServer(t, hub.Config{Authorize: func(_ context.Context, s *hub.Session) (hub.Grant, error) {
		if s.Client().Query.Get("sign") != "abc"+s.Role().String() {
			return hub.Grant{}, &hub.Refusal{Reason: hub.ReasonDenied, Detail: "bad sign=abc0123 there"}
		}
		return hub.Grant{}, nil
	}})
	sign := func(role hub.Role, u string) (string, error) { return u + "?sign=abc" + role.String(), nil }
	r := runTest(t, func(o *options) { o.sign = sign }, "rtmp://"+s.rtmp, "http://"+s.http)
	assert.True(t, r.OK)
	r = runTest(t, nil, "rtmp://"+s.rtmp)
	table, _ := r.texts(t)
	assert.Contains(t, table, "bad sign=… there")

	// Secrets for other streams are a mistake, unless something else is shown.
	o, err := parseFlags([]string{"rtmp://" + s.rtmp})
	require.NoError(t, err)
	o.sign = func(hub.Role, string) (string, error) { return "", ErrNoSecret }
	_, err = test(t.Context(), o)
	require.ErrorIs(t, err, ErrNoSecret)
	o.publishKey, o.watchToken, o.times = "k", "t", testTimes
	_, err = test(t.Context(), o)
	assert.NoError(t, err)
}

// Whoever interrupts the test gets what there is, soon.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	s := startServer(t, hub.Config{})
	mute := serveEach(t, listen(t), func(c net.Conn) { io.Copy(io.Discard, c) })
	ctx, cancel := context.WithCancel(t.Context())
	o, err := parseFlags([]string{"rtmp://" + s.rtmp, "http://" + mute})
	require.NoError(t, err)
	o.times = testTimes
	o.times.open, o.times.all = time.Hour, time.Hour
	done := make(chan *report)
	go func() {
		r, err := test(ctx, o)
		assert.NoError(t, err)
		done <- r
	}()
	require.Eventually(t, func() bool { return len(s.hub.Sessions()) == 2 }, 20*time.Second, 5*time.Millisecond)
	cancel()
	r := <-done
	assert.True(t, r.Interrupted)
	assert.False(t, r.OK)
	assert.Equal(t, "interrupted", r.output(t, "http").Fault.Word)
	table, _ := r.texts(t)
	assert.Contains(t, table, "interrupted after")
}

// The whole is bounded, whatever servers do.
func TestBounded(t *testing.T) {
	t.Parallel()
	s := startServer(t, hub.Config{})
	mute := serveEach(t, listen(t), func(c net.Conn) { io.Copy(io.Discard, c) })
	r := runTest(t, func(o *options) {
		o.times.all, o.times.open, o.times.watch, o.times.silence = 2*time.Second, time.Hour, time.Hour, time.Hour
	}, "rtmp://"+s.rtmp, "http://"+mute, "rtmp://"+mute)
	assert.False(t, r.OK)
	assert.False(t, r.Interrupted)
	for _, row := range r.Outputs {
		assert.NotNil(t, row.Fault, row.Protocol)
	}
}

// Run's exit codes and streams of output.
func TestRun(t *testing.T) {
	t.Parallel()
	closed := listen(t)
	closed.Close()
	for _, c := range []struct {
		args        []string
		code        int
		out, errout string
	}{
		{[]string{"-h"}, exitOK, "Usage: sluice check", ""},
		{nil, exitUsage, "", "it needs URLs"},
		{[]string{"rtmp://" + closed.Addr().String()}, exitFailure, "nothing listens on", ""},
		{[]string{"-json", "rtmp://" + closed.Addr().String()}, exitFailure, `"word": "refused-connection"`, ""},
		{[]string{"-health", "http://" + closed.Addr().String()}, exitFailure, "refused", ""},
	} {
		var stdout, stderr bytes.Buffer
		assert.Equal(t, c.code, Run(t.Context(), c.args, nil, nil, &stdout, &stderr), c.args)
		assert.Contains(t, stdout.String(), c.out)
		assert.Contains(t, stderr.String(), c.errout)
		assert.Equal(t, c.errout == "", stderr.Len() == 0, stderr.String())
	}
}
