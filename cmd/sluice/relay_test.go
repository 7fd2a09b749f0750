package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/rtmp"
	"sluice/web/admin"
)

// askOperators makes a request of an operator, and returns the status and what is said.
func askOperators[T any](t *testing.T, svc *runningService, method, path, body string) (status int, said T) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+svc.listeners.addr("admin")+path, strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+adminToken)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}).Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	noSecrets(t, path, text)
	if len(text) > 0 {
		require.NoError(t, json.Unmarshal(text, &said), "%s", text)
	}
	return resp.StatusCode, said
}

// connections returns the states of the connections of relays, as ID STREAM STATE.
func connections(t *testing.T, svc *runningService) (states []string) {
	t.Helper()
	_, list := askOperators[admin.RelayList](t, svc, "GET", "/api/v1/relays", "")
	for _, r := range list.Relays {
		for _, c := range r.Connections {
			states = append(states, r.ID+" "+c.Stream+" "+c.State)
		}
	}
	return states
}

// untilLive waits until so many connections are live.
func untilLive(t *testing.T, svc *runningService, id string, count int) {
	t.Helper()
	until(t, id+" is live", func() bool {
		n := 0
		for _, s := range connections(t, svc) {
			if strings.HasPrefix(s, id+" ") && strings.HasSuffix(s, " live") {
				n++
			}
		}
		return n == count
	})
}

// Streams come from a server by the configuration, for their first viewer and by an operator, over
// each protocol, and go to another, and all that is told of it, figures and events included, holds no secret.
func TestRelays(t *testing.T) {
	log := new(syncBuffer)
	_, from := permitted(t, log, "SLUICE_DEMO=true")
	_, to := permitted(t, io.Discard)
	state := t.TempDir()
	environ := append(operators,
		"SLUICE_STATE_DIR="+state, "SLUICE_ORIGIN_IDLE=0",
		"SLUICE_PULL=live/always http://u:S3CRET@"+from.http+"/live/demo.flv?k=S3CRET rtmp://"+from.rtmp+"/live/demo",
		"SLUICE_ORIGIN=live/* ws://"+from.http+"/{app}/{name}.flv?{query}",
		"SLUICE_PUSH=live/always rtmp://"+to.rtmp+"/live/S3CRET?k=S3CRET",
	)
	svc, edge := permitted(t, log, environ...)
	untilLive(t, svc, "pull-1", 1)
	untilLive(t, svc, "push-1", 1)

	resp, err := http.Get("http://" + edge.http + "/live/demo.flv?key=S3CRET")
	require.NoError(t, err)
	require.Equal(t, 200, resp.StatusCode)
	_, err = flv.NewReader(resp.Body).Next()
	require.NoError(t, err)
	untilLive(t, svc, "origin-1", 1)
	resp.Body.Close()
	until(t, "nobody watches, and it is not pulled", func() bool { return !strings.Contains(fmt.Sprint(connections(t, svc)), "origin-1") })

	status, made := askOperators[admin.RelayMade](t, svc, "POST", "/api/v1/relays",
		`{"kind":"pull","stream":"live/more","url":"rtmp://u:S3CRET@`+from.rtmp+`/live/demo?k=S3CRET"}`)
	require.Equal(t, 201, status)
	assert.Equal(t, []string{"rtmp://" + from.rtmp + "/live/***"}, made.Relay.URLs)
	untilLive(t, svc, made.Relay.ID, 1)
	status, _ = askOperators[admin.RelayMade](t, svc, "POST", "/api/v1/relays", `{"kind":"pull","stream":"live/more","url":"rtmp://h/a/S3CRET"}`)
	assert.Equal(t, 409, status)
	status, pushed := askOperators[admin.RelayMade](t, svc, "POST", "/api/v1/relays", `{"kind":"push","pattern":"**","url":"rtmp://`+to.rtmp+`/copies/{name}"}`)
	require.Equal(t, 201, status)
	untilLive(t, svc, pushed.Relay.ID, 2)
	status, _ = askOperators[any](t, svc, "DELETE", "/api/v1/relays/"+pushed.Relay.ID, "")
	assert.Equal(t, 204, status)
	status, _ = askOperators[any](t, svc, "DELETE", "/api/v1/relays/pull-1", "")
	assert.Equal(t, 409, status, "it is of the configuration")

	_, events := askOperators[struct{ Events []json.RawMessage }](t, svc, "GET", "/api/v1/events?limit=1000", "")
	assert.Contains(t, fmt.Sprintf("%s", events.Events), `"relay":{"id":"push-1","kind":"push","state":"live","url":"rtmp://`+to.rtmp+`/live/***"}`)
	_, figures := fetch(t, "GET", svc.listeners.addr("admin"), "/metrics", adminToken)
	assert.Contains(t, figures, `sluice_relays{kind="pull",state="live"} 2`)
	assert.Contains(t, figures, `sluice_sessions{protocol="pull",role="publish"} 2`)
	noSecrets(t, "figures", []byte(figures))
	info, err := os.Stat(filepath.Join(state, relayFile))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	svc.stop()
	svc, _ = permitted(t, log, append(operators, "SLUICE_STATE_DIR="+state)...)
	untilLive(t, svc, made.Relay.ID, 1) // it is kept
	status, _ = askOperators[any](t, svc, "DELETE", "/api/v1/relays/"+made.Relay.ID, "")
	assert.Equal(t, 204, status)
	noSecrets(t, "the log", log.bytes())
}

// SIGHUP reads the rules again: what is the same goes on, whatever else changes.
func TestRelaysAreReadAgain(t *testing.T) {
	_, from := permitted(t, io.Discard, "SLUICE_DEMO=true")
	file := filepath.Join(t.TempDir(), "pull")
	write := func(text string) { require.NoError(t, os.WriteFile(file, []byte(text), 0o600)) }
	one := "live/one rtmp://" + from.rtmp + "/live/demo\n"
	write(one)
	log := new(syncBuffer)
	environ := append(operators, "SLUICE_PULL_FILE="+file)
	svc, _ := permitted(t, log, environ...)
	session := func() uint64 {
		_, list := askOperators[admin.RelayList](t, svc, "GET", "/api/v1/relays?stream=live/one&state=live", "")
		if len(list.Relays) == 0 {
			return 0
		}
		return list.Relays[0].Connections[0].Session
	}
	until(t, "it is pulled", func() bool { return session() > 0 })
	first := session()
	write(one + "live/two http://" + from.http + "/live/demo.flv")
	svc.reload(environ)
	untilLive(t, svc, "pull-2", 1)
	write(one + "live/two S3CRET")
	svc.reload(environ)
	assert.Contains(t, string(log.bytes()), "SLUICE_PULL_FILE: entry 2: the URL must begin with")
	write(one)
	svc.reload(environ)
	until(t, "the other is gone", func() bool { return len(connections(t, svc)) == 1 })
	assert.Equal(t, first, session())
	noSecrets(t, "the log", log.bytes())
}

// A server that ends tells its targets so, and its viewers as ever.
func TestShutdownEndsPushes(t *testing.T) {
	target, to := permitted(t, io.Discard, "SLUICE_PUBLISHER_GRACE=10m")
	svc, at := permitted(t, io.Discard, append(operators, "SLUICE_DEMO=true", "SLUICE_PUSH=** rtmp://"+to.rtmp+"/live/{name}")...)
	untilLive(t, svc, "push-1", 1)
	var c rtmp.Client
	player, err := c.Play(t.Context(), "rtmp://"+at.rtmp+"/live/demo")
	require.NoError(t, err)
	defer player.Close()
	svc.stop()
	ends := target.hub.Totals()
	require.NotEmpty(t, ends)
	for _, sums := range ends {
		for why := range sums.Ended {
			assert.Equal(t, "client left", why.String(), "it took its leave")
		}
	}
	for err == nil {
		_, err = player.ReadTag()
	}
	assert.ErrorIs(t, err, io.EOF, "a proper end")
}

// Servers that pull from each other do not multiply a stream: the circle is refused.
func TestRelaysInACircle(t *testing.T) {
	var all [2]*runningService
	var at [2]*process
	for i := range all {
		all[i], at[i] = permitted(t, io.Discard, operators...)
	}
	for i := range all {
		status, _ := askOperators[admin.RelayMade](t, all[i], "POST", "/api/v1/relays",
			`{"kind":"origin","pattern":"**","url":"http://`+at[1-i].http+`/{app}/{name}.flv"}`)
		require.Equal(t, 201, status)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", "http://"+at[0].http+"/live/nothing.flv", nil)
	require.NoError(t, err)
	resp, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(t, err)
	resp.Body.Close()
	assert.Equal(t, http.StatusLoopDetected, resp.StatusCode)
}

// A damaged file of relays is an error at the start, which repeats nothing of it.
func TestRelaysDamagedState(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, relayFile), []byte(`[{"kind":"S3CRET"}]`), 0o600))
	cfg, err := loadConfig([]string{"SLUICE_STATE_DIR=" + dir})
	require.NoError(t, err)
	err = cfg.open(newLogger(io.Discard, "text", 0))
	defer cfg.close()
	require.ErrorContains(t, err, "SLUICE_STATE_DIR: ")
	assert.NotContains(t, err.Error(), "S3CRET")
}

// Without rules and operators nothing of it is there, but for what operators have left.
func TestRelaysAreThereWhereWanted(t *testing.T) {
	dir := t.TempDir()
	relayed := func(environ ...string) bool {
		cfg, err := loadConfig(environ)
		require.NoError(t, err)
		return cfg.relayed()
	}
	assert.False(t, relayed())
	assert.False(t, relayed("SLUICE_STATE_DIR="+dir))
	assert.True(t, relayed("SLUICE_PUSH=** rtmp://h/a/b"))
	assert.True(t, relayed(operators...))
	require.NoError(t, os.WriteFile(filepath.Join(dir, relayFile), []byte("[]"), 0o600))
	assert.True(t, relayed("SLUICE_STATE_DIR="+dir))
}

// What an operator's program sends that makes no sense is refused, changes nothing and is repeated nowhere.
func TestRelaysGarbage(t *testing.T) {
	log := new(syncBuffer)
	svc, _ := permitted(t, log, operators...)
	one := `{"kind":"push","pattern":"**","url":"rtmp://h/a/S3CRET"}`
	for _, body := range []string{
		"null", "[]", "{", "{}", "S3CRET", `"S3CRET"`, one + one, one[:20], `{"kind":"S3CRET","pattern":"**","url":"rtmp://h/a/b"}`,
		`{"kind":"push","pattern":"**","url":["rtmp://h/a/S3CRET"]}`, `{"kind":"push","pattern":"**","url":"http://h/a/S3CRET"}`,
		`{"kind":"pull","stream":"live/../S3CRET","url":"rtmp://h/a/b"}`, `{"kind":"pull","stream":"**","url":"rtmp://h/a/S3CRET"}`,
		`{"kind":"push","pattern":"**","url":"rtmp://h/a/S3CRET\r\nx"}`, `{"kind":"push","pattern":"**","url":"rtmp://{name}/a/S3CRET"}`,
		`{"kind":"pull","stream":"live/a","url":"http://h/{query}/S3CRET"}`, `{"kind":"push","pattern":"**","url":"rtmp://h/a/S3CRET","x":1}`,
		`{"kind":"push","pattern":"**","url":"rtmp://h/a/` + strings.Repeat("S3CRET", 1000) + `"}`,
		strings.Repeat("[", 1<<16), `{"kind":"` + strings.Repeat("S3CRET", 30_000) + `"}`, // as much as is read before the answer
	} {
		status, _ := askOperators[any](t, svc, "POST", "/api/v1/relays", body)
		assert.Contains(t, []int{400, 413}, status, "%.60s", body)
	}
	for _, id := range []string{"", "S3CRET", "push-1", "push-0", "..%2fS3CRET", "push-1%00"} {
		status, _ := askOperators[any](t, svc, "DELETE", "/api/v1/relays/"+id, "")
		assert.Contains(t, []int{404, 405, 400}, status, id)
	}
	assert.Empty(t, svc.relays.get().Relays())
	svc.stop()
	noSecrets(t, "the log", log.bytes())
}
