//lint:file-ignore SA1019 the WebSocket library is given, and final at this version.

package vod

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"nhooyr.io/websocket"

	"sluice/hub"
	"sluice/hub/archive"
)

type policy = func(context.Context, *hub.Session) (hub.Grant, error)

func asked(p policy) func(*setup) { return func(s *setup) { s.hub.Authorize = p } }

// Permission is asked before anything is said, also whether there is such a recording.
func TestDenied(t *testing.T) {
	var seen sync.Map
	h := newRig(t, asked(func(_ context.Context, s *hub.Session) (hub.Grant, error) {
		seen.Store(s.Client().Recording, s.Client())
		if s.Client().Query.Get("token") == "right" {
			return hub.Grant{}, nil
		}
		return hub.Grant{}, &hub.Refusal{Reason: hub.ReasonDenied, Detail: "no token"}
	}))
	h.finished(1)
	for _, path := range []string{firstPath, "/rec/live/demo/latest.flv", "/rec/live/demo/other.flv", "/rec/live/x/latest.mp4"} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			res := h.do(method, path+"?token=wrong")
			assert.Equal(t, http.StatusForbidden, res.StatusCode, path)
			if method == http.MethodGet {
				what, reason := refused(t, res)
				assert.Equal(t, "denied no token", what+" "+reason)
			}
			assert.Empty(t, res.Header.Get("ETag"))
			assert.Empty(t, res.Header.Get("Location"))
		}
		w := h.watch(path)
		assert.Empty(t, readAll(t, w))
		if strings.HasSuffix(path, ".flv") {
			assert.Equal(t, websocket.StatusCode(4403), w.end.Code)
		}
	}
	for _, id := range []string{firstID, "other", "latest"} { // the newest goes by its own id
		client, ok := seen.Load(id)
		require.True(t, ok, id)
		assert.Contains(t, []string{"http-file", "ws-file"}, client.(hub.Client).Protocol)
	}
	assert.Equal(t, http.StatusOK, h.get(firstPath+"?token=right").StatusCode)
	assert.Equal(t, http.StatusTemporaryRedirect, h.get("/rec/live/demo/latest.flv?token=right").StatusCode)
	readAll(t, h.watch("/rec/live/demo/latest.flv?token=right"))
	assert.NotContains(t, h.log.String(), "right")
}

// A policy that hangs keeps nobody longer than its time; whoever leaves meanwhile is gone.
func TestPolicyHangs(t *testing.T) {
	var active atomic.Int32
	h := newRig(t, func(s *setup) {
		s.hub.AuthorizeTimeout = 100 * time.Millisecond
		s.active = func(context.Context) { active.Add(1) }
		s.hub.Authorize = func(ctx context.Context, s *hub.Session) (hub.Grant, error) {
			if s.Client().Query.Has("late") {
				time.Sleep(10 * time.Millisecond)
				return hub.Grant{}, nil
			}
			<-ctx.Done()
			return hub.Grant{}, ctx.Err()
		}
	})
	h.finished(1)
	res := h.get(firstPath)
	assert.Equal(t, http.StatusForbidden, res.StatusCode)
	assert.Zero(t, active.Load())
	assert.Equal(t, http.StatusOK, h.get(firstPath+"?late").StatusCode)
	assert.Equal(t, int32(1), active.Load(), "a download is an active connection")

	c := h.dial("GET " + firstPath + " HTTP/1.1\r\nHost: x\r\n\r\n")
	c.Close()
	require.Eventually(t, func() bool {
		return strings.Contains(h.log.String(), "client left") || strings.Count(h.log.String(), "not answered in time") == 2
	}, 10*time.Second, time.Millisecond)
}

// A grant may name another stream; its recording is given then.
func TestGrantNamesStream(t *testing.T) {
	h := newRig(t, asked(func(_ context.Context, s *hub.Session) (hub.Grant, error) {
		return hub.Grant{Key: demo}, nil
	}))
	h.finished(1)
	assert.Equal(t, http.StatusOK, h.get("/rec/alias/a/"+firstID+".flv").StatusCode)
	res := h.get("/rec/alias/a/latest.flv")
	assert.Equal(t, "./"+firstID+".flv", res.Header.Get("Location"))
	w := h.watch("/rec/alias/a/latest.flv")
	readAll(t, w)
	assert.Equal(t, websocket.StatusNormalClosure, w.end.Code)

	// Also where the other stream has recordings.
	h.finish(h.written(hub.Key{App: "alias", Name: "b"}, "newer"))
	res = h.get("/rec/alias/b/latest.flv")
	assert.Equal(t, "./"+firstID+".flv", res.Header.Get("Location"))
	w = h.watch("/rec/alias/b/latest.flv")
	readAll(t, w)
	assert.Equal(t, websocket.StatusNormalClosure, w.end.Code)

	// The list has what can be had under its name.
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	page, err := h.vod.List(r, hub.Key{}, "", 100)
	require.NoError(t, err)
	require.Len(t, page.Recordings, 1)
	assert.Equal(t, demo, page.Recordings[0].Key)
	one, err := h.vod.Find(r, hub.Key{App: "alias", Name: "b"}, archive.Latest)
	require.NoError(t, err)
	assert.Equal(t, firstID, one.ID)
}

// What the policy takes for a look at the list is no recording.
func TestAnyRecordingIsNone(t *testing.T) {
	h := newRig(t, asked(func(context.Context, *hub.Session) (hub.Grant, error) {
		return hub.Grant{}, errors.New("asked")
	}))
	assert.Equal(t, http.StatusNotFound, h.get("/rec/live/demo/*.flv").StatusCode)
	assert.Equal(t, http.StatusNotFound, h.get("/rec/live/demo/%2A.mp4").StatusCode)
	_, err := h.vod.Find(httptest.NewRequest(http.MethodGet, "/", nil), demo, hub.AnyRecording)
	assert.ErrorContains(t, err, "no such recording")
}

// The list names only streams that its client may watch. The policy is asked once for each
// stream, some at a time, and no line tells of those refused.
func TestListAsks(t *testing.T) {
	var now, most, count atomic.Int32
	h := newRig(t, asked(func(_ context.Context, s *hub.Session) (hub.Grant, error) {
		defer now.Add(-1)
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		count.Add(1)
		time.Sleep(time.Millisecond)
		if s.Client().Recording != hub.AnyRecording && s.Client().Recording != "1-0" {
			return hub.Grant{}, errors.New("asked for something else")
		}
		if s.Key().Name >= "5" && s.Client().Query.Get("token") != "right" {
			return hub.Grant{}, &hub.Refusal{Reason: hub.ReasonDenied, Detail: "secret"}
		}
		return hub.Grant{}, nil
	}))
	for stream := range 30 {
		for n := range 2 {
			h.finish(h.written(hub.Key{App: "live", Name: fmt.Sprint(stream % 10)}, fmt.Sprintf("%d-%d", stream, n)))
		}
	}
	list := func(query string, key hub.Key) (ids []string) {
		r := httptest.NewRequest(http.MethodGet, "/api/v1/recordings?"+query, nil)
		page, err := h.vod.List(r, key, "", 100)
		require.NoError(t, err)
		assert.Empty(t, page.Next)
		for _, r := range page.Recordings {
			ids = append(ids, r.ID)
		}
		return ids
	}
	assert.Len(t, list("", hub.Key{}), 30)
	assert.Equal(t, int32(10), count.Load())
	assert.LessOrEqual(t, most.Load(), int32(maxAsking))
	assert.Len(t, list("token=right", hub.Key{}), 60)
	assert.Len(t, list("", hub.Key{App: "live", Name: "4"}), 6)
	assert.Empty(t, list("", hub.Key{App: "live", Name: "5"}))
	assert.NotContains(t, h.log.String(), "secret")

	r := httptest.NewRequest(http.MethodGet, "/api/v1/recordings/live/1/1-0", nil)
	one, err := h.vod.Find(r, hub.Key{App: "live", Name: "1"}, "1-0")
	require.NoError(t, err)
	assert.Equal(t, "1-0", one.ID)
	for _, name := range []string{"5", "there is none"} { // which of them exists is not told
		_, err = h.vod.Find(r, hub.Key{App: "live", Name: name}, "5-0")
		assert.Equal(t, hub.ReasonDenied, err.(*hub.Refusal).Reason)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = h.vod.List(r.WithContext(ctx), hub.Key{}, "", 100)
	assert.ErrorIs(t, err, context.Canceled)
}

func TestListWithoutPolicy(t *testing.T) {
	h := newRig(t)
	h.finished(1)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	page, err := h.vod.List(r, hub.Key{}, "", 100)
	require.NoError(t, err)
	assert.Len(t, page.Recordings, 1)
	one, err := h.vod.Find(r, demo, "latest")
	require.NoError(t, err)
	assert.Equal(t, firstID, one.ID)
	_, err = h.vod.Find(r, demo, "other")
	assert.Equal(t, hub.ReasonNotFound, err.(*hub.Refusal).Reason)
}

// The policy learns which sessions only ask, and these never begin.
func TestInquiries(t *testing.T) {
	var inquiries, begun atomic.Int32
	h := newRig(t, func(s *setup) {
		s.hub.Authorize = func(_ context.Context, s *hub.Session) (hub.Grant, error) {
			if s.Client().Inquiry {
				inquiries.Add(1)
			}
			return hub.Grant{}, nil
		}
		s.hub.Observe = func(e hub.Event) {
			if e.Kind == hub.EventJoined {
				begun.Add(1)
			}
		}
	})
	h.finished(1)
	latest := "/rec/live/demo/latest.flv"
	for _, ask := range []func(){
		func() { h.do(http.MethodHead, firstPath) },
		func() { h.do(http.MethodHead, firstPath+"?follow=1") },
		func() { h.do(http.MethodHead, latest) },
		func() { h.do(http.MethodGet, latest) }, // a redirect
		func() { h.vod.List(httptest.NewRequest(http.MethodGet, "/", nil), demo, "", 100) },
		func() { h.vod.Find(httptest.NewRequest(http.MethodGet, "/", nil), demo, firstID) },
	} {
		before := inquiries.Load()
		ask()
		assert.Equal(t, before+1, inquiries.Load())
	}
	assert.Zero(t, begun.Load())
	inquiries.Store(0)
	h.get(firstPath)
	readAll(t, h.watch(latest))
	assert.Zero(t, inquiries.Load())
	assert.Eventually(t, func() bool { return begun.Load() == 2 }, time.Minute, time.Millisecond)
}
