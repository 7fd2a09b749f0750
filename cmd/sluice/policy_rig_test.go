//go:build unix

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
)

// policy answers for a test whether a session may be.
type policy func(ctx context.Context, s *hub.Session) (hub.Grant, error)

// startPolicy starts a service that asks the policy, and gives it so long to answer.
func startPolicy(t *testing.T, log io.Writer, ask policy, timeout time.Duration, environ ...string) (*runningService, *process) {
	t.Helper()
	cfg, err := loadConfig(append([]string{
		"SLUICE_RTMP_ADDR=127.0.0.1:0", "SLUICE_HTTP_ADDR=127.0.0.1:0", "SLUICE_PUBLISHER_GRACE=0",
	}, environ...))
	require.NoError(t, err)
	require.NoError(t, cfg.open(newLogger(log, "text", slog.LevelInfo)))
	cfg.authorize, cfg.authorizeTimeout = ask, timeout
	return startConfigured(t, floodTimeout, log, cfg)
}

// publishHere publishes the beginning of a made-up stream from within the process, which
// nobody is asked about.
func publishHere(t *testing.T, svc *runningService, name string) *hub.Publisher {
	t.Helper()
	session := svc.hub.NewSession(hub.RolePublish, hub.Key{App: "live", Name: name}, hub.Client{Protocol: "test"})
	p, err := svc.hub.Publish(session, hub.PublishOptions{})
	require.NoError(t, err)
	t.Cleanup(p.Close)
	for _, tag := range append(madeHeader(), stream200k.frames(time.Second)...) {
		require.NoError(t, p.Write(tag))
	}
	return p
}

// asker is a client over one protocol that wants something for which the policy is asked.
type asker struct {
	protocol string
	role     hub.Role
	denied   string // what it is told when the policy says no
	tooMany  string // and when there are too many
	ask      func(t testing.TB, p *process, from net.IP, name string) *asked
}

// askers are one of each kind. Names may have a query.
var askers = []asker{
	{"RTMP publish", hub.RolePublish, "NetStream.Publish.Denied", "NetStream.Publish.Rejected", askRTMP("publish", "NetStream.Publish.Start")},
	{"RTMP play", hub.RoleWatch, "NetStream.Play.Failed", "NetStream.Play.Failed", askRTMP("play", "NetStream.Play.Start")},
	{"HTTP-FLV", hub.RoleWatch, "403 denied", "503 too many", askHTTP(http.MethodGet)},
	{"HTTP-FLV HEAD", hub.RoleWatch, "403", "503", askHTTP(http.MethodHead)},
	{"WebSocket-FLV", hub.RoleWatch, "4403", "1013", askSocket},
}

// in is the answer to an asker that is let in.
const in = "in"

// asked is an asker that has said what it wants.
type asked struct {
	*net.TCPConn
	reader *bufio.Reader // all that comes is read from here
	// answer reads the answer: in, or as which code the refusal came.
	answer func() (string, error)
	// next reads on after the answer; nil for who gets no media.
	next func() (flv.Tag, error)
	rtmp *rawRTMP // nil over other protocols
}

// silent fails if anything comes within a moment.
func (a *asked) silent(t testing.TB, who string) {
	t.Helper()
	a.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	_, err := a.reader.Peek(1)
	assert.ErrorIs(t, err, os.ErrDeadlineExceeded, who)
	a.SetReadDeadline(time.Time{})
}

// dialFrom opens a connection from the given address, nil for any.
func dialFrom(t testing.TB, from net.IP, addr string) *net.TCPConn {
	t.Helper()
	conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}).DialContext(t.Context(), "tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

func askRTMP(command, granted string) func(testing.TB, *process, net.IP, string) *asked {
	return func(t testing.TB, p *process, from net.IP, name string) *asked {
		t.Helper()
		conn := dialFrom(t, from, p.rtmp)
		c, err := connectRaw(conn, "live", true)
		require.NoError(t, err)
		c.command(0, "createStream", 2.0, nil)
		for {
			m, err := c.next()
			require.NoError(t, err)
			if m.typ == rawCommand {
				break
			}
		}
		c.command(1, command, 0.0, nil, name, "live")
		a := &asked{TCPConn: conn, reader: c.in, rtmp: c}
		a.answer = func() (string, error) {
			for {
				m, err := c.next()
				if err != nil {
					return "", err
				}
				switch code := m.code(); code {
				case "", "NetStream.Play.Reset":
				case granted:
					return in, nil
				default:
					return code, nil
				}
			}
		}
		a.next = func() (flv.Tag, error) {
			for {
				m, err := c.next()
				if err != nil {
					return flv.Tag{}, err
				}
				if m.typ == uint8(flv.TypeAudio) || m.typ == uint8(flv.TypeVideo) {
					return flv.Tag{Type: flv.Type(m.typ), Timestamp: m.time, Data: m.body}, nil
				}
			}
		}
		return a
	}
}

func askHTTP(method string) func(testing.TB, *process, net.IP, string) *asked {
	return func(t testing.TB, p *process, from net.IP, name string) *asked {
		t.Helper()
		conn := dialFrom(t, from, p.http)
		path, query := splitQuery(name)
		fmt.Fprintf(conn, "%s /live/%s.flv%s HTTP/1.1\r\nHost: x\r\n\r\n", method, path, query)
		a := &asked{TCPConn: conn, reader: bufio.NewReader(conn)}
		a.answer = func() (string, error) {
			res, err := http.ReadResponse(a.reader, &http.Request{Method: method})
			switch {
			case err != nil:
				return "", err
			case res.StatusCode == http.StatusOK:
				a.next = flv.NewReader(res.Body).Next
				return in, nil
			case method == http.MethodHead:
				return fmt.Sprint(res.StatusCode), nil
			}
			var said struct{ Error, Reason string }
			if err := json.NewDecoder(res.Body).Decode(&said); err != nil {
				return "", err
			}
			if res.Header.Get("Content-Type") != "application/json" || said.Reason == "" {
				return "", errors.New("not a refusal as they are")
			}
			return fmt.Sprintf("%d %s", res.StatusCode, said.Error), nil
		}
		return a
	}
}

// splitQuery divides a name that may have a query, which keeps its question mark.
func splitQuery(name string) (path, query string) {
	for i := range name {
		if name[i] == '?' {
			return name[:i], name[i:]
		}
	}
	return name, ""
}

func askSocket(t testing.TB, p *process, from net.IP, name string) *asked {
	t.Helper()
	path, query := splitQuery(name)
	conn := dialFrom(t, from, p.http)
	s, err := openSocket(conn, &selection{key: "live/" + path, query: query}) // which reads the 101
	require.NoError(t, err)
	a := &asked{TCPConn: conn, reader: s.in}
	a.next = flv.NewReader(s).Next
	a.answer = func() (string, error) {
		first, err := s.in.Peek(1)
		switch {
		case err != nil:
			return "", err
		case first[0]&0x0f == wsBinary:
			return in, nil
		}
		if _, err = s.Read(nil); err != io.EOF {
			return "", err
		}
		return fmt.Sprint(s.code), nil
	}
	return a
}
