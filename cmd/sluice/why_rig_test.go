//go:build unix

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/hub"
	"sluice/rtmp"
	"sluice/web/admin"
)

// whyRig is a service whose operators ask why a picture is black. What it publishes goes over
// RTMP, and its viewers are real ones, too.
type whyRig struct {
	*runningService
	t  *testing.T
	at *process
}

// startWhy starts the service. Whoever asks for a stream named "hang" waits for permission.
func startWhy(t *testing.T, environ ...string) *whyRig {
	t.Helper()
	cfg, err := loadConfig(append([]string{
		"SLUICE_RTMP_ADDR=127.0.0.1:0", "SLUICE_HTTP_ADDR=127.0.0.1:0", "SLUICE_ADMIN_ADDR=127.0.0.1:0",
		"SLUICE_ADMIN_TOKEN=" + adminToken, "SLUICE_VIEWER_WAIT=1m", "SLUICE_PUBLISHER_GRACE=1m", "SLUICE_STALL_TIMEOUT=1m",
	}, environ...))
	require.NoError(t, err)
	log := newOutput()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log:\n%s", log)
		}
	})
	require.NoError(t, cfg.open(newLogger(log, "text", slog.LevelInfo)))
	cfg.authorize = func(ctx context.Context, s *hub.Session) (hub.Grant, error) {
		if s.Key().Name == "hang" {
			<-ctx.Done()
			return hub.Grant{}, ctx.Err()
		}
		return hub.Grant{Rewind: true}, nil
	}
	cfg.authorizeTimeout = patience
	r := &whyRig{t: t}
	r.runningService, r.at = startConfigured(t, patience, log, cfg)
	return r
}

// ask asks the operators' API.
func (r *whyRig) ask(path string, answer any) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "http://"+r.listeners.addr("admin")+path, nil)
	require.NoError(r.t, err)
	req.Header.Set("Authorization", "Bearer "+adminToken)
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	require.NoError(r.t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(r.t, err)
	require.Equal(r.t, http.StatusOK, res.StatusCode, "%s", body)
	require.NoError(r.t, json.Unmarshal(body, answer))
}

// viewers returns the viewers of live/NAME.
func (r *whyRig) viewers(name string) []admin.Session {
	r.t.Helper()
	var said admin.Sessions
	r.ask("/api/v1/sessions?role=watch&stream=live/"+name, &said)
	return said.Sessions
}

// why waits until the one viewer of live/NAME is black for a reason, and returns it. It can be
// asked for by its id, too.
func (r *whyRig) why(name, code string) admin.Session {
	r.t.Helper()
	return r.whyWhere(name, code, func(*admin.Why) bool { return true })
}

// whyWhere is why for an answer that fits.
func (r *whyRig) whyWhere(name, code string, fits func(*admin.Why) bool) admin.Session {
	r.t.Helper()
	var found admin.Session
	last := admin.Why{}
	defer func() {
		if r.t.Failed() {
			r.t.Logf("%s is said to be %+v", name, last)
		}
	}()
	until(r.t, name+" is "+code, func() bool {
		all := r.viewers(name)
		if len(all) != 1 || all[0].Why == nil {
			return false
		}
		found, last = all[0], *all[0].Why
		return last.Code == code && fits(&last)
	})
	var one admin.Session
	r.ask(fmt.Sprintf("/api/v1/sessions/%d", found.ID), &one)
	assert.Equal(r.t, found.ID, one.ID)
	assert.NotNil(r.t, one.Why)
	assert.Regexp(r.t, `^[A-Z].*\.$`, last.Sentence)
	r.t.Logf("%s: %s", last.Code, last.Sentence)
	return found
}

// publish publishes tags as live/NAME, and no end.
func (r *whyRig) publish(name string, tags ...flv.Tag) *rtmp.Publisher {
	r.t.Helper()
	var c rtmp.Client
	p, err := c.Publish(r.t.Context(), "rtmp://"+r.at.rtmp+"/live/"+name)
	require.NoError(r.t, err)
	r.t.Cleanup(func() { p.Close() })
	require.NoError(r.t, p.WriteTags(tags))
	return p
}

// live publishes a stream at its pace until the test ends, or what it returns is called.
func (r *whyRig) live(name string, m madeStream) (stop func()) {
	r.t.Helper()
	p := r.publish(name, madeHeader()...)
	ctx, cancel := context.WithCancel(r.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		began, tick := time.Now(), time.NewTicker(20*time.Millisecond)
		defer tick.Stop()
		for _, tag := range m.frames(2 * time.Minute) {
			for time.Since(began) < time.Duration(tag.Timestamp)*time.Millisecond {
				select {
				case <-tick.C:
				case <-ctx.Done():
					return
				}
			}
			if p.WriteTag(tag) != nil {
				return
			}
		}
	}()
	stop = func() {
		cancel()
		<-ended
	}
	r.t.Cleanup(stop)
	return stop
}

// get asks for live/NAME over HTTP, and reads nothing but the head of the answer, in a small
// window. The connection ends with the test.
func (r *whyRig) get(target string, header ...string) *net.TCPConn {
	r.t.Helper()
	conn := dialFrom(r.t, nil, r.at.http)
	require.NoError(r.t, conn.SetReadBuffer(8<<10))
	fmt.Fprintf(conn, "GET /live/%s HTTP/1.1\r\nHost: x\r\n", target)
	for _, line := range header {
		fmt.Fprintf(conn, "%s\r\n", line)
	}
	fmt.Fprint(conn, "\r\n")
	return conn
}

// watch is get for a viewer that takes everything.
func (r *whyRig) watch(target string, header ...string) {
	r.t.Helper()
	conn := r.get(target, header...)
	read := make(chan struct{})
	go func() {
		defer close(read)
		io.Copy(io.Discard, conn)
	}()
	r.t.Cleanup(func() {
		conn.Close()
		<-read
	})
}

// play plays live/NAME over RTMP, and takes everything.
func (r *whyRig) play(name string) *rawRTMP {
	r.t.Helper()
	return r.takes(askRTMP("play", "NetStream.Play.Start")(r.t, r.at, nil, name)).rtmp
}

// takes reads everything that comes until the test ends.
func (r *whyRig) takes(a *asked) *asked {
	read := make(chan struct{})
	go func() {
		defer close(read)
		io.Copy(io.Discard, a.reader)
	}()
	r.t.Cleanup(func() {
		a.Close()
		<-read
	})
	return a
}

// declared is metadata that names codecs.
func declared(names ...string) flv.Tag {
	var all amf.ECMAArray
	for _, name := range names {
		all = append(all, amf.Property{Name: name, Value: map[string]float64{"videocodecid": 7, "audiocodecid": 10}[name]})
	}
	return flv.Tag{Type: flv.TypeScript, Data: amf.AppendAMF0(nil, "onMetaData", all)}
}

// only returns the tags of a type.
func only(tags []flv.Tag, typ flv.Type) (some []flv.Tag) {
	for _, tag := range tags {
		if tag.Type == typ {
			some = append(some, tag)
		}
	}
	return some
}
