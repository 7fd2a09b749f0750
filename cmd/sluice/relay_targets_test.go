package main

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/hub"
	"sluice/rtmp"
)

// target is a server that is pushed to, which does what its functions do.
type target struct {
	publish  func(s *rtmp.ServerStream, r *rtmp.Request) error // nil takes it
	write    func(s *rtmp.ServerStream, t flv.Tag) error       // nil takes it
	asked    atomic.Int32
	address  string
	accepted atomic.Int32
}

func (g *target) Publish(s *rtmp.ServerStream, r *rtmp.Request) (rtmp.Publication, error) {
	g.asked.Add(1)
	if g.publish != nil {
		if err := g.publish(s, r); err != nil {
			return nil, err
		}
	}
	return &taken{g, s}, nil
}

func (g *target) Play(*rtmp.ServerStream, *rtmp.Request) (rtmp.Playback, error) {
	return nil, errors.New("nothing is played here")
}

type taken struct {
	target *target
	s      *rtmp.ServerStream
}

func (p *taken) WriteTag(t flv.Tag) error {
	if p.target.write != nil {
		return p.target.write(p.s, t)
	}
	return nil
}

func (*taken) Close(error) {}

// serve serves RTMP on a free port until the test ends.
func (g *target) serve(t *testing.T) *target {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	g.address = l.Addr().String()
	s := &rtmp.Server{Handler: g}
	var running sync.WaitGroup
	running.Go(func() { _ = s.Serve(l) })
	t.Cleanup(func() {
		s.Close()
		running.Wait()
	})
	return g
}

// rawTarget does as a script says with each connection, which is none of RTMP.
func rawTarget(t *testing.T, script func(nc net.Conn)) *target {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	g := &target{address: l.Addr().String()}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			g.accepted.Add(1)
			running.Go(func() {
				defer nc.Close()
				script(nc)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		running.Wait()
	})
	return g
}

// Targets that do anything but what they should hold up neither the publisher nor the good one beside
// them, are not hammered, and what they say does not show the key, which goes to no other host.
func TestTargetsThatLie(t *testing.T) {
	t.Parallel()
	status := func(code, text string, more ...amf.Property) func(*rtmp.ServerStream, *rtmp.Request) error {
		return func(_ *rtmp.ServerStream, r *rtmp.Request) error {
			return &rtmp.StatusError{Code: code, Description: strings.ReplaceAll(text, "NAME", r.Name), Properties: more}
		}
	}
	elsewhere := (&target{}).serve(t)
	redirect := amf.Property{Name: "ex", Value: amf.Object{{Name: "code", Value: 302.0}, {Name: "redirect", Value: "rtmp://" + elsewhere.address + "/live"}}}
	circle := &target{}
	circle.publish = func(*rtmp.ServerStream, *rtmp.Request) error {
		return &rtmp.StatusError{Code: "NetConnection.Connect.Rejected", Description: "elsewhere", Properties: amf.Object{
			{Name: "ex", Value: amf.Object{{Name: "code", Value: 302.0}, {Name: "redirect", Value: "rtmp://" + circle.address + "/live"}}},
		}}
	}
	isKey := func(t flv.Tag) bool {
		return t.Type == flv.TypeVideo && len(t.Data) > 1 && t.Data[0] == 0x17 && t.Data[1] == 1
	}
	over := make(chan struct{})
	defer close(over)
	targets := map[string]*target{
		"repeats the key":       (&target{publish: status("NetStream.Publish.BadName", "Already publishing live/NAME, NAME\r\nlevel=ERROR")}).serve(t),
		"denies with the key":   (&target{publish: status("NetStream.Publish.Denied", "no NAME here")}).serve(t),
		"redirects elsewhere":   (&target{publish: status("NetConnection.Connect.Rejected", "RTMP 302 Redirect", redirect)}).serve(t),
		"redirects in a circle": circle.serve(t),
		"breaks behind each key": (&target{write: func(_ *rtmp.ServerStream, t flv.Tag) error {
			if isKey(t) {
				return errors.New("S3CRET enough")
			}
			return nil
		}}).serve(t),
		"asks to go elsewhere": (&target{write: func(s *rtmp.ServerStream, t flv.Tag) error {
			if isKey(t) {
				s.RequestReconnect(rtmp.Reconnect{TcURL: "rtmp://" + elsewhere.address + "/live", Description: "S3CRET-key is better off there"})
			}
			return nil
		}}).serve(t),
		"asks to go in a circle": (&target{write: func(s *rtmp.ServerStream, t flv.Tag) error {
			if isKey(t) {
				s.RequestReconnect(rtmp.Reconnect{Description: "again"})
			}
			return nil
		}}).serve(t),
		"reads nothing":     rawTarget(t, func(net.Conn) { <-over }),
		"answers garbage":   rawTarget(t, func(nc net.Conn) { nc.Write([]byte(strings.Repeat("S3CRET", 1000))) }),
		"closes at once":    rawTarget(t, func(net.Conn) {}),
		"takes and is good": (&target{}).serve(t),
	}
	log := new(syncBuffer)
	list, ids := "", map[string]string{}
	for name, g := range targets {
		list += "** rtmp://" + g.address + "/live/S3CRET-key?pass=S3CRET\n"
		ids[name] = fmt.Sprint("push-", len(ids)+1)
	}
	svc, at := permitted(t, log, append(operators, "SLUICE_DEMO=true", "SLUICE_PUSH="+list)...)
	untilLive(t, svc, ids["takes and is good"], 1)
	v := watchLies(t, at.http, "/live/demo.flv")
	time.Sleep(3 * time.Second)
	assert.False(t, v.isOver())
	assert.NotZero(t, v.frames.Load())
	v.leave()
	untilLive(t, svc, ids["takes and is good"], 1)
	assert.Zero(t, elsewhere.asked.Load(), "the key went to another host")
	for name, most := range map[string]int32{
		"repeats the key": 1, "denies with the key": 1, "redirects elsewhere": 1, "redirects in a circle": 4, "breaks behind each key": 15,
		"asks to go elsewhere": 1, "asks to go in a circle": 2, "takes and is good": 1,
	} {
		assert.LessOrEqual(t, targets[name].asked.Load(), most, name)
		assert.NotZero(t, targets[name].asked.Load(), name)
	}
	for _, name := range []string{"reads nothing", "answers garbage", "closes at once"} {
		assert.LessOrEqual(t, targets[name].accepted.Load(), int32(15), name)
	}
	states := strings.Join(connections(t, svc), "\n")
	for _, name := range []string{"repeats the key", "denies with the key", "redirects elsewhere", "redirects in a circle"} {
		assert.Contains(t, states, ids[name]+" live/demo refused", name)
	}
	askOperators[any](t, svc, "GET", "/api/v1/events?limit=1000", "") // which looks for secrets
	assert.True(t, svc.hub.Live(hub.Key{App: "live", Name: "demo"}))
	svc.stop()
	noSecrets(t, "the log", log.bytes())
	for line := range strings.Lines(string(log.bytes())) {
		assert.False(t, strings.HasPrefix(line, "level=ERROR"), "a target writes lines of the log")
	}
}
