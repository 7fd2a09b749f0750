//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv/amf"
	"sluice/hub"
)

// attributes returns those of a line of the log, in their order.
func attributes(line string) (names []string) {
	for _, m := range regexp.MustCompile(`(\w+)=(?:"(?:\\.|[^"\\])*"|\S*)`).FindAllStringSubmatch(line, -1) {
		names = append(names, m[1])
	}
	return names
}

// Sessions of all protocols have the same two lines, in which they have one id that no
// other session has.
func TestSessionsOfAllProtocolsHaveTheSameLines(t *testing.T) {
	out := newOutput()
	svc, p := startPolicy(t, out, func(context.Context, *hub.Session) (hub.Grant, error) { return hub.Grant{}, nil }, 0)
	present := publishHere(t, svc, "here")
	for _, kind := range askers {
		name := "here"
		if kind.role == hub.RolePublish {
			name = "lines"
		}
		a := kind.ask(t, p, nil, name)
		answer, err := a.answer()
		require.NoError(t, err, kind.protocol)
		require.Equal(t, in, answer, kind.protocol)
		a.Close()
	}
	const protocols = 4 // HEAD is no session that begins
	line := regexp.MustCompile(`(?m)^.*level=INFO msg="session (begins|ends)" session=(\d+) role=\w+ protocol=([^t]\S+) .*$`)
	require.Eventually(t, func() bool {
		present.Write(stream200k.frames(100 * time.Millisecond)[0]) // what is written to a viewer shows that it is gone
		return len(line.FindAllString(out.String(), -1)) >= 2*protocols
	}, 20*time.Second, time.Millisecond)
	who := []string{"time", "level", "msg", "session", "role", "protocol", "remote", "stream", "agent"}
	want := map[string][]string{"begins": who, "ends": append(slices.Clone(who), "reason", "duration", "bytes", "dropped")}
	lines := map[string]map[string]int{"begins": {}, "ends": {}}
	for _, m := range line.FindAllStringSubmatch(out.String(), -1) {
		assert.Equal(t, want[m[1]], attributes(m[0]), m[0])
		lines[m[1]][m[2]]++
	}
	assert.Len(t, lines["begins"], protocols)
	assert.Equal(t, lines["begins"], lines["ends"])
	assert.Equal(t, []int{1, 1, 1, 1}, slices.Collect(maps.Values(lines["ends"])))
}

// Whatever the policy answers, what a client shows that may be secret is not printed.
func TestSecretsOfAskersAreNotLogged(t *testing.T) {
	const secret = "hunter2"
	var panics error
	out := newOutput()
	_, p := startPolicy(t, out, func(ctx context.Context, s *hub.Session) (hub.Grant, error) {
		c := s.Client()
		shown := c.Query.Get("token") == secret && (c.Authorization != "" || c.PageURL != "" && c.SWFURL != "" && c.TCURL != "")
		if !shown {
			panics = errors.Join(panics, fmt.Errorf("the policy does not see all of %#v", c))
		}
		switch s.Key().Name {
		case "panic":
			panic(fmt.Sprint("no policy for ", s, c, &c)) // as careless policies are
		case "hang":
			<-ctx.Done()
		case "refuse":
			return hub.Grant{}, errors.New("no")
		}
		return hub.Grant{Identity: secret, Key: hub.Key{App: "live", Name: "elsewhere"}}, nil
	}, 200*time.Millisecond, "SLUICE_LOG_LEVEL=debug", "SLUICE_VIEWER_WAIT=0")
	for _, name := range []string{"grant", "panic", "hang", "refuse"} {
		for _, upgrade := range []string{"", upgradeLines + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"} {
			exchangeHead(t, p.http, "GET /live/"+name+".flv?token="+secret+" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+secret+
				"\r\nReferer: http://x/?"+secret+"\r\nOrigin: http://"+secret+"\r\nCookie: "+secret+"\r\n"+upgrade+"\r\n")
		}
		for _, command := range []string{"publish", "play"} {
			conn := dialFrom(t, nil, p.rtmp)
			c, err := connectRawWith(conn, true, amf.Object{
				{Name: "app", Value: "live?" + secret}, {Name: "tcUrl", Value: "rtmp://user:" + secret + "@x/live?" + secret},
				{Name: "pageUrl", Value: "http://x/" + secret}, {Name: "swfUrl", Value: "http://x/" + secret},
			})
			require.NoError(t, err)
			c.command(1, command, 0.0, nil, name+"?token="+secret, "live")
			for code := ""; code == ""; {
				m, err := c.next()
				require.NoError(t, err)
				code = m.code()
			}
			conn.Close()
		}
	}
	out.find(t, `msg="session refused" .*role=publish .*detail="permission was not answered in time"`)
	assert.NoError(t, panics)
	assert.NotContains(t, out.String(), secret)
	assert.Equal(t, 4, strings.Count(out.String(), "the policy panicked"))
}
