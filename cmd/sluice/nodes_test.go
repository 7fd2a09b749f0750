//go:build unix

package main

import (
	"encoding/json"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/web/admin"
)

// A node of a cluster tells its operators which nodes there are, and what is where; those of a server that is alone are
// told that it is.
func TestOperatorsSeeNodes(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	node := l.Addr().String()
	require.NoError(t, l.Close())
	svc, _ := permitted(t, new(syncBuffer), append(operators, "SLUICE_CLUSTER="+node)...)
	address := svc.listeners.addr("admin")
	ask := func(method, path string, want int) string {
		code, body := fetch(t, method, address, path, adminToken)
		require.Equal(t, want, code, "%s: %s", path, body)
		return body
	}
	var said admin.NodeList
	require.NoError(t, json.Unmarshal([]byte(ask("GET", "/api/v1/nodes", 200)), &said))
	require.Len(t, said.Nodes, 1)
	one := said.Nodes[0]
	assert.Equal(t, node, one.Name)
	assert.Equal(t, svc.hub.Node(), one.Boot)
	assert.True(t, one.Self && one.State == "running" && one.Version != "")
	assert.Empty(t, said.Streams)
	assert.Contains(t, ask("GET", "/api/v1/info", 200), `"cluster":{"node":"`+node+`"}`)
	assert.Contains(t, ask("GET", "/api/v1/info?node="+node, 200), `"cluster":{"node":"`+node+`"}`, "by its own order")
	assert.Contains(t, ask("GET", "/api/v1/sessions?node=all", 200), `"total":0`)
	ask("GET", "/api/v1/sessions?node=none", 404)
	ask("DELETE", "/api/v1/sessions/"+one.Boot+"-7", 404)
	ask("DELETE", "/api/v1/sessions/none-7", 404)
	assert.Contains(t, ask("GET", "/metrics", 200), `sluice_cluster_nodes{state="running"} 1`)

	// It records nothing, and has what others do.
	for _, of := range []string{"", "?node=all"} {
		assert.JSONEq(t, `{"recordings":[]}`, ask("GET", "/api/v1/recordings"+of, 200))
	}
	ask("GET", "/api/v1/recordings?cursor=nonsense", 400)
	assert.Contains(t, ask("DELETE", "/api/v1/recordings/live/x/1", 404), "there is no such recording")
	ask("POST", "/api/v1/recordings/live/x/1/pin", 404)
	public := svc.listeners.addr("http")
	for path, want := range map[string]int{"/api/v1/recordings": 200, "/api/v1/recordings?after=nonsense": 400, "/api/v1/recordings/live/x/latest": 404, "/rec/live/x/latest.flv": 404, "/rec/live/x/1.mp4": 404} {
		code, body := fetch(t, "GET", public, path, "")
		assert.Equal(t, want, code, "%s: %s", path, body)
	}

	alone, _ := permitted(t, new(syncBuffer), operators...)
	code, body := fetch(t, "GET", alone.listeners.addr("admin"), "/api/v1/nodes", adminToken)
	assert.Equal(t, 404, code)
	assert.Contains(t, body, "this server is alone")
}
