package vod

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/hub/archive"
	"sluice/hub/archive/union"
)

// others is another node with a shelf of its own.
type others struct {
	*shelf
	http  string
	err   error
	asked atomic.Int32
}

func (o *others) Find(_ context.Context, key hub.Key, id string) (union.Recording, error) {
	o.asked.Add(1)
	if o.err != nil {
		return union.Recording{}, o.err
	}
	r, err := o.shelf.Recording(key, id)
	return union.Recording{Recording: r, Node: "n2:6222", Away: true, HTTP: o.http}, err
}

func (o *others) Recordings(_ context.Context, q union.Query) (page union.Page, err error) {
	list, next, err := o.shelf.Recordings(q.Key, q.After, q.Limit)
	for _, r := range list {
		page.Recordings = append(page.Recordings, union.Recording{Recording: r, Node: "n2:6222", Away: true, HTTP: o.http})
	}
	page.Next, page.Unreached = next, []string{"n3:6222"}
	return page, err
}

// newAway makes a node that has no recordings, and another one that has.
func newAway(t *testing.T, change ...func(*setup)) (here, there *rig, other *others) {
	there = newRig(t)
	other = &others{shelf: there.shelf, http: there.server.URL}
	here = newRig(t, append(change, func(s *setup) { s.vod.Others = other })...)
	return here, there, other
}

// Who asks a node for what another one has is led there, with the query, and gets it as there: ranges, MP4, what is written
// still, and the newest.
func TestRecordingOfAnotherNode(t *testing.T) {
	here, there, other := newAway(t)
	there.finished(3)
	whole := all(t, there.get("/rec/live/demo/"+firstID+".flv"))

	res := here.get("/rec/live/demo/"+firstID+".flv?token=a%26b", "Range", "bytes=5-")
	assert.Equal(t, http.StatusTemporaryRedirect, res.StatusCode)
	to := res.Header.Get("Location")
	assert.True(t, strings.HasPrefix(to, other.http+"/rec/live/demo/"+firstID+".flv?"), to)
	u, err := url.Parse(to)
	require.NoError(t, err)
	assert.Equal(t, url.Values{"token": {"a&b"}, "node": {"n2:6222"}}, u.Query())
	what, reason := refused(t, res)
	assert.Equal(t, "elsewhere", what)
	assert.NotContains(t, reason, "token")
	assert.NotContains(t, here.log.String(), "a&b")

	follow := func(path string, header ...string) *http.Response { // as curl -L does
		res := here.get(path, header...)
		require.Equal(t, http.StatusTemporaryRedirect, res.StatusCode, path)
		return there.get(strings.TrimPrefix(res.Header.Get("Location"), other.http), header...)
	}
	part := follow("/rec/live/demo/"+firstID+".flv", "Range", "bytes=5-99")
	assert.Equal(t, http.StatusPartialContent, part.StatusCode)
	assert.Equal(t, whole[5:100], all(t, part))
	assert.True(t, bytes.Contains(all(t, follow("/rec/live/demo/"+firstID+".mp4")), []byte("ftyp")))
	assert.Equal(t, whole, all(t, follow("/rec/live/demo/latest.flv")))
	assert.Equal(t, whole, all(t, follow("/rec/live/demo/"+firstID+".flv?follow=1")))
	assert.Equal(t, http.StatusTemporaryRedirect, here.do(http.MethodHead, "/rec/live/demo/"+firstID+".flv").StatusCode)
}

// What nobody has is not there, and who was sent here is not sent on.
func TestRecordingOfNoNode(t *testing.T) {
	here, there, other := newAway(t)
	there.finished(1)
	for _, path := range []string{"other.flv", "other.mp4", "latest.flv?node=n1:6222", firstID + ".flv?node=n1:6222"} {
		assert.Equal(t, http.StatusNotFound, here.get("/rec/live/demo/"+path).StatusCode, path)
	}
	assert.Equal(t, int32(2), other.asked.Load())
	w := here.watch("/rec/live/demo/other.flv")
	readAll(t, w)
	assert.Equal(t, 4404, int(w.end.Code))

	other.http = ""
	_, reason := refused(t, here.get("/rec/live/demo/"+firstID+".flv"))
	assert.Contains(t, reason, "does not say where")
	other.err = &hub.Refusal{Reason: hub.ReasonTooMany, Detail: "too many ask"}
	assert.Equal(t, http.StatusServiceUnavailable, here.get("/rec/live/demo/"+firstID+".flv").StatusCode)
}

// Its own a node gives without asking, but for the newest.
func TestOwnRecordingInACluster(t *testing.T) {
	here, _, other := newAway(t)
	here.finished(1)
	assert.Equal(t, http.StatusOK, here.get("/rec/live/demo/"+firstID+".flv").StatusCode)
	w := here.watch("/rec/live/demo/" + firstID + ".flv")
	assert.NotEmpty(t, readAll(t, w))
	assert.Equal(t, 1000, int(w.end.Code))
	assert.Zero(t, other.asked.Load())
	assert.Equal(t, "./"+firstID+".flv", here.get("/rec/live/demo/latest.flv").Header.Get("Location"))
	other.err = &hub.Refusal{Reason: hub.ReasonTooMany}
	assert.Equal(t, "./"+firstID+".flv", here.get("/rec/live/demo/latest.flv").Header.Get("Location"), "where nobody can be asked")
	w = here.watch("/rec/live/demo/latest.flv")
	assert.NotEmpty(t, readAll(t, w))
}

// A WebSocket for what another node has is answered by the same redirect, in place of the upgrade.
func TestSocketOfAnotherNode(t *testing.T) {
	here, there, other := newAway(t)
	there.finished(1)
	for _, id := range []string{firstID, "latest"} {
		res := here.get("/rec/live/demo/"+id+".flv?start=1&token=x", "Connection", "Upgrade", "Upgrade", "websocket",
			"Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")
		assert.Equal(t, http.StatusTemporaryRedirect, res.StatusCode)
		at := "ws" + strings.TrimPrefix(other.http, "http") + "/rec/live/demo/" + firstID + ".flv"
		assert.Equal(t, at+"?node=n2%3A6222&start=1&token=x", res.Header.Get("Location"))
		_, reason := refused(t, res)
		assert.Contains(t, reason, at)
		assert.NotContains(t, reason, "token")
	}
}

// Whoever may not have a recording does not learn whether another node has it, and makes nobody ask.
func TestRecordingOfAnotherNodeDenied(t *testing.T) {
	here, there, other := newAway(t, asked(func(context.Context, *hub.Session) (hub.Grant, error) {
		return hub.Grant{}, &hub.Refusal{Reason: hub.ReasonDenied}
	}))
	there.finished(1)
	for _, id := range []string{firstID, "latest", "other"} {
		assert.Equal(t, http.StatusForbidden, here.get("/rec/live/demo/"+id+".flv").StatusCode)
		w := here.watch("/rec/live/demo/" + id + ".flv")
		readAll(t, w)
		assert.Equal(t, 4403, int(w.end.Code))
		_, err := here.vod.Find(httptest.NewRequest(http.MethodGet, "/", nil), demo, id)
		assert.ErrorContains(t, err, "denied")
	}
	assert.Zero(t, other.asked.Load())
}

// The list is that of all, and a recording of another node is found.
func TestListOfAnotherNode(t *testing.T) {
	here, there, _ := newAway(t)
	there.finished(1)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	page, err := here.vod.List(r, hub.Key{}, "", 10)
	require.NoError(t, err)
	require.Len(t, page.Recordings, 1)
	assert.True(t, page.Recordings[0].Away)
	assert.Equal(t, []string{"n3:6222"}, page.Unreached)
	for _, id := range []string{firstID, archive.Latest} {
		one, err := here.vod.Find(r, demo, id)
		require.NoError(t, err)
		assert.Equal(t, "n2:6222", one.Node)
	}
	_, err = here.vod.Find(r, demo, "other")
	assert.ErrorContains(t, err, "no such recording")
}
