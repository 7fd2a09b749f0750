//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
)

// each runs a test for one asker of each kind, all at a time.
func each(t *testing.T, test func(t *testing.T, kind asker)) {
	t.Helper()
	t.Run("askers", func(t *testing.T) {
		for _, kind := range askers {
			t.Run(kind.protocol, func(t *testing.T) {
				t.Parallel()
				test(t, kind)
			})
		}
	})
}

// A policy that takes its time keeps clients waiting, who hear nothing before its answer,
// and then have what they came for.
func TestPolicyTakesItsTime(t *testing.T) {
	const long = 2 * time.Second
	var answered sync.Map // role and name → struct{}
	svc, p := startPolicy(t, io.Discard, func(ctx context.Context, s *hub.Session) (hub.Grant, error) {
		select {
		case <-time.After(long):
		case <-ctx.Done():
			return hub.Grant{}, ctx.Err()
		}
		answered.Store(s.ID(), nil)
		return hub.Grant{}, nil
	}, time.Minute)
	publishHere(t, svc, "slow")
	asked := func() (n int) {
		answered.Range(func(any, any) bool { n++; return true })
		return n
	}
	var clients []*waitingAsker
	for _, kind := range askers {
		name := "slow"
		if kind.role == hub.RolePublish {
			name = "published"
		}
		clients = append(clients, &waitingAsker{kind, kind.ask(t, p, nil, name)})
	}
	for _, c := range clients {
		c.silent(t, c.protocol)
	}
	assert.Zero(t, asked(), "this machine stood still")
	for _, c := range clients {
		answer, err := c.answer()
		require.NoError(t, err, c.protocol)
		assert.Equal(t, in, answer, c.protocol)
		if c.role == hub.RoleWatch && c.protocol != "HTTP-FLV HEAD" {
			assert.NoError(t, keyFrameOf(c.next), c.protocol)
		}
	}
	assert.Equal(t, len(askers), asked())
	assert.Eventually(t, func() bool { return svc.admission.Figures().Asking == 0 }, 10*time.Second, time.Millisecond)
}

// waitingAsker is an asker with what it has asked.
type waitingAsker struct {
	asker
	*asked
}

// keyFrameOf reads up to a key frame.
func keyFrameOf(next func() (flv.Tag, error)) error {
	for {
		tag, err := next()
		if err != nil {
			return err
		}
		if isKeyFrame(tag) {
			return nil
		}
	}
}

// What an encoder sends behind its publish while the policy is asked is kept: all of it,
// in order, also what is more than is read meanwhile.
func TestPolicyKeepsWhatIsPipelined(t *testing.T) {
	frames := append(madeHeader()[1:], stream2M.frames(2*time.Second)...) // 500 KB
	asking := make(chan struct{})
	let := make(chan struct{})
	svc, p := startPolicy(t, io.Discard, func(ctx context.Context, s *hub.Session) (hub.Grant, error) {
		close(asking)
		<-let
		return hub.Grant{}, nil
	}, time.Minute)
	a := askers[0].ask(t, p, nil, "pipelined")
	<-asking
	sent := make(chan error, 1)
	go func() {
		for _, tag := range frames {
			if err := a.rtmp.sendTag(1, tag); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	a.silent(t, "publisher")
	close(let)
	answer, err := a.answer()
	require.NoError(t, err)
	require.Equal(t, in, answer)

	r, err := svc.hub.Read(hub.Key{App: "live", Name: "pipelined"}, hub.ReadOptions{
		FromSession: true, Lag: hub.LagBudget, Budget: hub.NewBudget(100 << 20),
	})
	require.NoError(t, err)
	defer r.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var b hub.ReadBatch
	for got := 0; got < len(frames)-2; { // without the headers
		require.NoError(t, r.Wait(ctx))
		require.Zero(t, r.Read(&b, 1<<20))
		require.Zero(t, b.Lost)
		for _, packet := range b.Packets {
			if !packet.Header {
				want := frames[got+2]
				require.Equal(t, want.Data, packet.Data, "frame %d", got)
				require.EqualValues(t, want.Timestamp, packet.Time, "frame %d", got)
				got++
			}
		}
	}
	require.NoError(t, <-sent)
}

// sendTag sends a tag, with its timestamp.
func (c *rawRTMP) sendTag(stream uint32, t flv.Tag) error {
	n, ts := len(t.Data), t.Timestamp
	b := []byte{4, byte(ts >> 16), byte(ts >> 8), byte(ts), byte(n >> 16), byte(n >> 8), byte(n), byte(t.Type), byte(stream), 0, 0, 0}
	_, err := c.Write(append(b, t.Data...))
	return err
}

// Every way in which a policy can say no, or nothing, is a refusal in the words of the
// client's protocol; and who is there already lives on.
func TestPolicyRefuses(t *testing.T) {
	stuck := make(chan struct{})
	out := newOutput()
	svc, p := startPolicy(t, out, func(ctx context.Context, s *hub.Session) (hub.Grant, error) {
		switch s.Client().Query.Get("ask") {
		case "hang":
			<-ctx.Done()
			return hub.Grant{}, ctx.Err()
		case "hang and grant":
			<-ctx.Done()
			return hub.Grant{}, nil
		case "stuck":
			<-stuck
			return hub.Grant{}, nil
		case "panic":
			panic("no policy")
		case "refuse":
			return hub.Grant{}, errors.New("bad token")
		case "refusal":
			return hub.Grant{}, &hub.Refusal{Reason: hub.ReasonDenied}
		case "too many":
			return hub.Grant{}, &hub.Refusal{Reason: hub.ReasonTooMany, Detail: "3 of 3"}
		case "over":
			return hub.Grant{Until: time.Now()}, nil
		}
		return hub.Grant{}, nil
	}, 300*time.Millisecond)
	present := publishHere(t, svc, "here")
	watcher, err := joinHTTP(t.Context(), p, "here")
	require.NoError(t, err)
	defer watcher.close()

	each(t, func(t *testing.T, kind asker) {
		for _, how := range []string{"hang", "hang and grant", "stuck", "panic", "refuse", "refusal", "too many", "over"} {
			name := "here"
			if kind.role == hub.RolePublish {
				name = "refused"
			}
			a := kind.ask(t, p, nil, name+"?ask="+strings.ReplaceAll(how, " ", "%20"))
			answer, err := a.answer()
			require.NoError(t, err, how)
			want := kind.denied
			if how == "too many" {
				want = kind.tooMany
			}
			assert.Equal(t, want, answer, how)
		}
	})
	close(stuck)
	for range 25 { // publisher and viewer live on
		require.NoError(t, present.Write(stream200k.frames(100 * time.Millisecond)[0]))
		_, err := watcher.next()
		require.NoError(t, err)
	}
	lines := regexp.MustCompile(`level=ERROR msg="the policy panicked" panic="no policy" stack=.*policy_test\.go`)
	assert.Len(t, lines.FindAllString(out.String(), -1), len(askers))
	for _, reason := range []string{`denied detail="bad token"`, `denied detail="permission was not answered in time"`,
		`denied detail="permission could not be decided"`, `"too many" detail="3 of 3"`, `denied detail="the permission has ended"`} {
		line := regexp.MustCompile(`level=INFO msg="session refused" .*reason=` + reason)
		times := len(askers)
		if strings.Contains(reason, "answered in time") {
			times *= 3
		}
		assert.Len(t, line.FindAllString(out.String(), -1), times, reason)
	}
}

// A grant may name another stream than was asked for.
func TestPolicyRenames(t *testing.T) {
	svc, p := startPolicy(t, io.Discard, func(_ context.Context, s *hub.Session) (hub.Grant, error) {
		if s.Key().Name == "a" {
			return hub.Grant{Key: hub.Key{App: "live", Name: "b"}}, nil
		}
		return hub.Grant{}, nil
	}, time.Minute)
	a := askers[0].ask(t, p, nil, "a")
	answer, err := a.answer()
	require.NoError(t, err)
	require.Equal(t, in, answer)
	for _, tag := range append(madeHeader(), stream200k.frames(time.Second)...) {
		require.NoError(t, a.rtmp.sendTag(1, tag))
	}
	for _, kind := range askers[1:] {
		for _, name := range []string{"a", "b"} {
			v := kind.ask(t, p, nil, name)
			answer, err := v.answer()
			require.NoError(t, err, kind.protocol)
			require.Equal(t, in, answer, kind.protocol)
			if kind.protocol != "HTTP-FLV HEAD" {
				assert.NoError(t, keyFrameOf(v.next), kind.protocol)
			}
		}
	}
	streams := svc.hub.Streams()
	require.Len(t, streams, 1)
	assert.Equal(t, "b", streams[0].Name)
	assert.Equal(t, 6, streams[0].Viewers)
}

// A client that leaves, however it does that, ends the policy's context.
func TestLeavingCancelsTheQuestion(t *testing.T) {
	type end struct {
		name string
		err  error
	}
	began, ended := make(chan string, 100), make(chan end, 100)
	svc, p := startPolicy(t, io.Discard, func(ctx context.Context, s *hub.Session) (hub.Grant, error) {
		began <- s.Key().Name
		<-ctx.Done()
		ended <- end{s.Key().Name, ctx.Err()}
		return hub.Grant{}, nil
	}, 10*time.Minute)
	ways := map[string]func(c *net.TCPConn){
		"close": func(c *net.TCPConn) { c.Close() },
		"shut":  func(c *net.TCPConn) { c.CloseWrite() },
		"reset": func(c *net.TCPConn) { c.SetLinger(0); c.Close() },
	}
	for _, kind := range askers {
		for way, leave := range ways {
			for _, pipelined := range []int{0, 100_000} {
				if pipelined > 0 && kind.protocol != "RTMP publish" {
					continue
				}
				name := strings.NewReplacer(" ", "-").Replace(fmt.Sprint(kind.protocol, "-", way, "-", pipelined))
				a := kind.ask(t, p, nil, name)
				require.Equal(t, name, <-began)
				if pipelined > 0 {
					require.NoError(t, a.rtmp.sendTag(1, flv.Tag{Type: flv.TypeAudio, Data: make([]byte, pipelined)}))
				}
				left := time.Now()
				leave(a.TCPConn)
				select {
				case e := <-ended:
					assert.Equal(t, name, e.name)
					assert.ErrorIs(t, e.err, context.Canceled, name)
					t.Logf("%s: after %v", name, time.Since(left).Round(time.Millisecond))
				case <-time.After(30 * time.Second):
					require.Fail(t, "the question goes on", name)
				}
			}
		}
	}
	assert.Eventually(t, func() bool { return svc.admission.Figures().Open == 0 }, 10*time.Second, time.Millisecond)
}

// The shutdown ends the questions: nobody waits for a policy that hangs, and each client
// is told.
func TestShutdownEndsQuestions(t *testing.T) {
	var began, ended atomic.Int32
	svc, p := startPolicy(t, io.Discard, func(ctx context.Context, s *hub.Session) (hub.Grant, error) {
		began.Add(1)
		<-ctx.Done()
		ended.Add(1)
		return hub.Grant{}, nil
	}, 10*time.Minute)
	var clients []*waitingAsker
	for _, kind := range askers {
		clients = append(clients, &waitingAsker{kind, kind.ask(t, p, nil, "x")})
	}
	require.Eventually(t, func() bool { return int(began.Load()) == len(clients) }, 20*time.Second, time.Millisecond)
	stopped := time.Now()
	go svc.stop()
	want := map[string][]string{ // hub and rtmp.Server both say no, whichever is first
		"RTMP publish":  {"NetStream.Unpublish.Success", "NetStream.Publish.Rejected"},
		"RTMP play":     {"NetStream.Play.UnpublishNotify", "NetStream.Play.Failed"},
		"HTTP-FLV":      {"503 shutting down"},
		"HTTP-FLV HEAD": {"503"},
		"WebSocket-FLV": {"1001"},
	}
	for _, c := range clients {
		answer, err := c.answer()
		assert.NoError(t, err, c.protocol)
		assert.Contains(t, want[c.protocol], answer, c.protocol)
		c.Close()
	}
	svc.stop()
	assert.Equal(t, began.Load(), ended.Load())
	assert.Less(t, time.Since(stopped), drainTimeout)
}
