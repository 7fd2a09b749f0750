package relay

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv/amf"
	"sluice/hub/relay"
)

// guarded is the script of a server that wants user and password in connect, as those of Adobe or
// Limelight do.
func guarded(mode, user, password string, then func(c *fakeConn)) func(c *fakeConn) {
	const salt, challenge, nonce = "s4lt", "ch4llenge==", "n0nce"
	sum := func(parts ...string) []byte {
		h := md5.Sum([]byte(strings.Join(parts, "")))
		return h[:]
	}
	return func(c *fakeConn) {
		txn, args, ok := c.next("connect")
		if !ok {
			return
		}
		object, _ := args[0].(amf.Object)
		app, _ := object.Get("app")
		path, query, _ := strings.Cut(app.(string), "?")
		given := map[string]string{}
		for pair := range strings.SplitSeq(query, "&") {
			name, value, _ := strings.Cut(pair, "=")
			given[name] = value
		}
		name, _ := url.QueryUnescape(given["user"])
		refuse := func(text string) {
			c.say(0, "_error", txn, nil, statusObject("error", "NetConnection.Connect.Rejected", "[ AccessManager.Reject ] : "+text))
			c.rest()
		}
		var want string
		switch mode {
		case "adobe":
			first := base64.StdEncoding.EncodeToString(sum(user, salt, password))
			want = base64.StdEncoding.EncodeToString(sum(first, challenge, given["challenge"]))
		case "llnw":
			first := hex.EncodeToString(sum(user, ":live:", password))
			second := hex.EncodeToString(sum("publish:/", path, "/_definst_"))
			want = hex.EncodeToString(sum(first, ":", nonce, ":00000001:", given["cnonce"], ":auth:", second))
		}
		switch {
		case given["authmod"] != mode:
			refuse(fmt.Sprintf("[ code=403 need auth; authmod=%s ] : ", mode))
		case name != user:
			refuse(fmt.Sprintf("[ authmod=%s ] : ?reason=nosuchuser&user=%s", mode, name))
		case given["response"] == "" && mode == "adobe":
			refuse(fmt.Sprintf("[ authmod=adobe ] : ?reason=needauth&user=%s&salt=%s&challenge=%s&opaque=%s", name, salt, challenge, challenge))
		case given["response"] == "":
			refuse(fmt.Sprintf("[ authmod=llnw ] : ?reason=needauth&user=%s&nonce=%s", name, nonce))
		case given["response"] != want:
			refuse(fmt.Sprintf("[ authmod=%s ] : ?reason=authfailed&user=%s", mode, name))
		default:
			c.say(0, "_result", txn, amf.Object{{Name: "fmsVer", Value: "FMS/3,0,1,123"}},
				statusObject("status", "NetConnection.Connect.Success", "yes"))
			then(c)
		}
	}
}

// played is what follows connect.
func played(command, code string, then func(c *fakeConn)) func(c *fakeConn) {
	return func(c *fakeConn) {
		txn, _, _ := c.next("createStream")
		c.say(0, "_result", txn, nil, 1.0)
		if _, _, ok := c.next(command); ok {
			c.status(1, "status", code, "")
			then(c)
		}
	}
}

// User and password of the URL are for servers that ask for them, and are shown to nobody.
func TestUserAndPassword(t *testing.T) {
	for _, mode := range []string{"adobe", "llnw"} {
		f := newFake(t, false, guarded(mode, "joe@x", "p4ss:w", played("play", "NetStream.Play.Start", (*fakeConn).rest)))
		open(t, opener(), relay.Opening{URL: pull(t, "rtmp://joe%40x:p4ss%3Aw@"+f.address+"/live/a")})
		_, err := opener().Open(t.Context(), relay.Opening{URL: pull(t, "rtmp://joe%40x:wr0ng@"+f.address+"/live/a")})
		failed(t, err, relay.CauseDenied, "authfailed", "joe", "wr0ng")
		_, err = opener().Open(t.Context(), relay.Opening{URL: pull(t, "rtmp://jane:p4ss@"+f.address+"/live/a")})
		failed(t, err, relay.CauseDenied, "nosuchuser", "jane", "p4ss")
		_, err = opener().Open(t.Context(), relay.Opening{URL: pull(t, "rtmp://"+f.address+"/live/a")})
		failed(t, err, relay.CauseDenied, "need auth")

		f = newFake(t, false, guarded(mode, "joe", "p4ss", played("publish", "NetStream.Publish.Start", (*fakeConn).rest)))
		send(t, opener(), relay.Sending{URL: push(t, "rtmp://joe:p4ss@"+f.address+"/live/a")})
	}
}

// What the tests take for right is what FFmpeg does.
func TestUserAndPasswordAsFFmpeg(t *testing.T) {
	for _, mode := range []string{"adobe", "llnw"} {
		in := make(chan bool, 8)
		f := newFake(t, false, guarded(mode, "joe", "p4ss", func(c *fakeConn) { in <- true }))
		cmd := program(t, "ffmpeg", "-v", "error", "-nostdin", "-i", "rtmp://joe:p4ss@"+f.address+"/live/a", "-f", "null", "-")
		out, err := cmd.CombinedOutput()
		require.Error(t, err, "nothing is played")
		select {
		case ok := <-in:
			assert.True(t, ok)
		default:
			t.Errorf("%s: FFmpeg was not let in: %s", mode, out)
		}
	}
}
