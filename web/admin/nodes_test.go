package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/hub/archive"
	"sluice/hub/archive/union"
	"sluice/hub/cluster"
)

// nodes are those of a cluster as one of them knows them: what is asked of another one is answered by its rig.
type nodes struct {
	own    string
	all    []cluster.NodeInfo
	placed []cluster.StreamInfo
	answer map[string]func([]byte) []byte // by the name of the node; nil does not answer
}

func (n *nodes) Nodes() []cluster.NodeInfo {
	all := slices.Clone(n.all)
	for i := range all {
		all[i].Self = all[i].Name == n.own
	}
	return all
}

func (n *nodes) Health() cluster.Health {
	return cluster.Health{
		Connected: true, Writable: true, Leader: "n1:6222", Voters: 3, Reachable: 2, Since: time.Unix(1_800_000_000, 0),
		Roundtrip: 1500 * time.Microsecond, Detail: "n3 is away",
	}
}

func (n *nodes) Streams() []cluster.StreamInfo { return n.placed }

func (n *nodes) Order(_ context.Context, node string, order []byte) ([]byte, error) {
	i := slices.IndexFunc(n.all, func(i cluster.NodeInfo) bool { return i.Name == node || i.Boot == node })
	if i < 0 {
		return nil, cluster.ErrNobody
	}
	answer := n.answer[n.all[i].Name]
	if answer == nil {
		return nil, cluster.ErrMute
	}
	return answer(order), nil
}

// newNodes makes a cluster of two nodes with a rig each, and of one that does not answer.
func newNodes(t *testing.T) (one, two *rig) {
	all := []cluster.NodeInfo{
		{Name: "n1:6222", Boot: "0000000000000001", Media: "10.0.0.1:7000", Heard: time.Now(), Started: time.Now(), NodeFigures: cluster.NodeFigures{
			Owned: 1, Description: cluster.Description{HTTP: "http://10.0.0.1:8080", RTMP: "rtmp://10.0.0.1"}}},
		{Name: "n2:6222", Boot: "0000000000000002", Heard: time.Now(), Started: time.Now(), Draining: true},
		{Name: "n3:6222", Silent: true, Clock: -2 * time.Second},
	}
	answer := map[string]func([]byte) []byte{}
	var rigs []*rig
	for i := range 2 {
		r := newRig(t, hub.Config{ViewerWait: -1})
		r.nodes = &nodes{own: all[i].Name, all: all, answer: answer}
		c := r.api.Config
		c.Nodes, c.Union = r.nodes, r.shelf()
		r.serve(c)
		answer[all[i].Name] = Orders(r.api.Config)
		rigs = append(rigs, r)
	}
	return rigs[0], rigs[1]
}

// The nodes are told, and where each stream is.
func TestNodes(t *testing.T) {
	one, two := newNodes(t)
	one.publish("live/a", from("192.0.2.1:1"))
	for _, backup := range []string{"0", "1"} {
		c := from("192.0.2.1:1")
		c.Query = url.Values{"key": {"x"}, "backup": {backup}}
		two.publish("live/b", c)
	}
	two.watch("live/a", from("192.0.2.2:1"))
	two.watch("live/a", from("192.0.2.3:1"))
	one.nodes.placed = []cluster.StreamInfo{
		{Key: key("live/a"), Owned: true, Node: "n1:6222", Epoch: 2},
		{Key: key("live/c"), Copy: &cluster.EdgeState{}},
	}
	two.nodes.placed = []cluster.StreamInfo{
		{Key: key("live/a"), Node: "n1:6222", Epoch: 2, Copy: &cluster.EdgeState{Copying: true, Breaks: 3, Joined: 2, Lost: 1}},
		{Key: key("live/b"), Owned: true, Node: "n2:6222", Epoch: 1, Provisional: true},
	}
	said := get[NodeList](one, "/api/v1/nodes")
	require.Len(t, said.Nodes, 3)
	assert.Equal(t, []string{"running", "draining", "silent"}, []string{said.Nodes[0].State, said.Nodes[1].State, said.Nodes[2].State})
	assert.True(t, said.Nodes[0].Self && !said.Nodes[1].Self && said.Nodes[2].Heard == nil)
	assert.Equal(t, int64(-2000), said.Nodes[2].ClockMS)
	assert.Equal(t, []string{"http://10.0.0.1:8080", "rtmp://10.0.0.1"}, []string{said.Nodes[0].HTTP, said.Nodes[0].RTMP})
	assert.Equal(t, 1.5, said.Engine.RoundtripMS)
	assert.Equal(t, []string{"n3:6222"}, said.Unreached.Nodes)
	require.Len(t, said.Streams, 3)
	a := said.Streams[0]
	require.Len(t, a.Places, 2)
	assert.Equal(t, Place{Node: "n1:6222", State: "owner", From: "n1:6222", Epoch: 2}, a.Places[0])
	a.Places[1].Since = nil
	assert.Equal(t, Place{Node: "n2:6222", State: "copying", From: "n1:6222", Epoch: 2, Viewers: 2, Breaks: 3, Joined: 2, Lost: 1}, a.Places[1])
	assert.True(t, said.Streams[1].Places[0].Provisional && said.Streams[1].Places[0].Standby)
	assert.Equal(t, "looking", said.Streams[2].Places[0].State)

	var found []string
	for cursor := ""; ; {
		page := get[NodeList](two, "/api/v1/nodes?limit=1&cursor="+cursor)
		require.Len(t, page.Streams, 1)
		found = append(found, page.Streams[0].Stream)
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	assert.Equal(t, []string{"live/a", "live/b", "live/c"}, found)
	assert.Len(t, get[NodeList](one, "/api/v1/nodes?search=B").Streams, 1)
	assert.Len(t, get[NodeList](one, "/api/v1/nodes?stream=live/*").Streams, 3)
}

// A server that is alone says so, and says nothing of nodes elsewhere.
func TestAlone(t *testing.T) {
	r := newRig(t, hub.Config{ViewerWait: -1})
	r.watch("live/a", from("192.0.2.2:1"))
	w := r.do(request("GET", "/api/v1/nodes", ""))
	assert.Equal(t, 404, w.Code)
	assert.Contains(t, w.Body.String(), "this server is alone")
	for _, path := range []string{"streams", "sessions"} {
		body := r.do(request("GET", "/api/v1/"+path, "")).Body.String()
		for _, word := range []string{`"node"`, `"ref"`, `"unreached"`} {
			assert.NotContains(t, body, word)
		}
		assert.Equal(t, 400, r.do(request("GET", "/api/v1/"+path+"?node=all", "")).Code)
	}
	assert.Equal(t, 400, r.do(request("GET", "/api/v1/sessions/n1-1", "")).Code)
}

// Lists of another node, and of all.
func TestListsOfNodes(t *testing.T) {
	one, two := newNodes(t)
	for i := range 5 {
		one.watch("live/a", from(fmt.Sprintf("192.0.2.%d:1", i+1)))
		two.watch("live/a", from(fmt.Sprintf("192.0.3.%d:1", i+1)))
	}
	own := get[Sessions](one, "/api/v1/sessions")
	assert.Equal(t, "n1:6222", own.Sessions[0].Node)
	assert.Equal(t, fmt.Sprint("0000000000000001-", own.Sessions[0].ID), own.Sessions[0].Ref)
	for _, node := range []string{"n2:6222", "0000000000000002"} {
		other := get[Sessions](one, "/api/v1/sessions?sort=-id&node="+node)
		require.Equal(t, 5, other.Total)
		assert.Equal(t, "192.0.3.5", other.Sessions[0].Address)
	}
	assert.Equal(t, 5, get[Sessions](one, "/api/v1/sessions?node=n1:6222").Total)
	for _, limit := range []int{1, 2, 3, 5, 7, 100} {
		var addresses []string
		for cursor := ""; ; {
			var all map[string]any
			page := get[Sessions](one, fmt.Sprintf("/api/v1/sessions?node=all&role=watch&limit=%d&cursor=%s", limit, url.QueryEscape(cursor)))
			w := one.do(request("GET", "/api/v1/sessions?node=all", ""))
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &all))
			require.Equal(t, []any{"n3:6222"}, all["unreached"])
			require.Equal(t, 10, page.Total)
			require.LessOrEqual(t, len(page.Sessions), limit)
			for _, s := range page.Sessions {
				addresses = append(addresses, s.Address)
			}
			if cursor = page.Next; cursor == "" {
				break
			}
		}
		require.Len(t, addresses, 10, "%d a page", limit)
		assert.Len(t, slices.Compact(slices.Sorted(slices.Values(addresses))), 10)
	}
	streams := get[Streams](one, "/api/v1/streams?node=all")
	require.Len(t, streams.Streams, 2)
	assert.Equal(t, []string{"n1:6222", "n2:6222"}, []string{streams.Streams[0].Node, streams.Streams[1].Node})
	for path, status := range map[string]int{
		"sessions?node=n9": 404, "sessions?node=n3:6222": 504, "sessions?node=all&sort=-lag": 400, "relays?node=all": 400,
		"sessions?node=n2:6222&limit=0": 400, "info?node=n2:6222": 200, "recordings?node=n2:6222": 200, "sessions?node=all&cursor=x": 400,
		"series?node=n2:6222": 200, "relays?node=n2:6222": 200, "bans?node=n2:6222": 400, "sessions?node=all&state=running": 200,
	} {
		assert.Equal(t, status, one.do(request("GET", "/api/v1/"+path, "")).Code, path)
	}
	two.api.Info = func() Info { return Info{Version: strings.Repeat("x", cluster.MaxMessage)} }
	one.nodes.answer["n2:6222"] = Orders(two.api.Config)
	w := one.do(request("GET", "/api/v1/info?node=n2:6222", ""))
	assert.Equal(t, 400, w.Code)
	assert.Contains(t, w.Body.String(), "smaller limit")
}

// Sessions, streams and bans are ended and made at all nodes, whichever is asked.
func TestActsOnNodes(t *testing.T) {
	one, two := newNodes(t)
	one.watch("live/a", from("192.0.2.1:1"))
	two.watch("live/a", from("192.0.2.2:1"))
	two.watch("live/a", from("192.0.2.3:1"))
	two.watch("live/b", from("192.0.2.4:1"))
	copying := hub.Client{Protocol: cluster.Protocol, Address: from("10.0.0.1:7000").Address}
	two.publish("live/b", copying)

	away := get[Sessions](two, "/api/v1/sessions").Sessions
	ref := away[0].Ref
	assert.Equal(t, away[0].ID, get[Session](one, "/api/v1/sessions/"+ref).ID)
	assert.Equal(t, away[0].ID, get[Session](two, "/api/v1/sessions/"+ref).ID, "at its own node too")
	ended := act[Ended](one, "DELETE", "/api/v1/sessions/"+ref, `{"reason":"spam","ban":"1m"}`, 200)
	assert.Equal(t, Ended{Ended: 1, Bans: 1}, ended)
	require.Len(t, two.bans.All(), 1)
	assert.Contains(t, two.log(), "address=192.0.2.99", "who has done it is in the log of the node where it was done")
	act[Ended](one, "DELETE", "/api/v1/sessions/"+ref, "", 404)
	act[Ended](one, "DELETE", "/api/v1/sessions/n2:6222-x", "", 400)
	act[Ended](one, "DELETE", "/api/v1/sessions/n3:6222-1", "", 504)
	act[Ended](one, "DELETE", "/api/v1/sessions/n9-1", "", 404)

	ended = act[Ended](one, "POST", "/api/v1/streams/kick", `{"stream":"live/b","ban":"0"}`, 200)
	assert.Equal(t, Ended{Ended: 1, Unreached: Unreached{[]string{"n3:6222"}}}, ended, "what copies a stream is not ended")
	_, possible := kickBan(two.hub.NewSession(hub.RolePublish, key("live/x"), copying))
	assert.False(t, possible, "another node is not banned")

	banned := act[Banned](one, "POST", "/api/v1/bans", `{"stream":"live/a","role":"watch","for":"1h"}`, 201)
	assert.Equal(t, 2, banned.Ended)
	assert.Equal(t, []string{"n3:6222"}, banned.Unreached.Nodes)
	act[Ended](one, "POST", "/api/v1/streams/switch", `{"stream":"live/none"}`, 404)
	shown := from("192.0.2.7:1000")
	shown.Query = url.Values{"key": {"x"}}
	two.publish("live/two", shown)
	shown.Query = url.Values{"key": {"x"}, "backup": {"1"}}
	two.publish("live/two", shown)
	act[Ended](one, "POST", "/api/v1/streams/switch", `{"stream":"live/two"}`, 204)
}

// What is no order is answered by nothing, and what no node may want by 404.
func TestBadOrders(t *testing.T) {
	one, _ := newNodes(t)
	obey := one.nodes.answer["n1:6222"]
	for _, bad := range []string{``, `{`, `[]`, `{"method":"G T"}`, `{"method":"GET","path":"%zz"}`} {
		assert.Nil(t, obey([]byte(bad)), bad)
	}
	for _, path := range []string{"/api/v1/events", "/api/v1/nodes", "/api/v1/bans", "", "/", "//x"} {
		var said ordered
		require.NoError(t, json.Unmarshal(obey(marshal(command{Method: "GET", Path: path})), &said))
		assert.Equal(t, 404, said.Status, path)
	}
}

// The recordings of all nodes stand in one list by time, and each is deleted and pinned where it is.
func TestRecordingsOfNodes(t *testing.T) {
	one, two := newNodes(t)
	all := get[Recordings](one, "/api/v1/recordings?node=all&stream=live/*&state=finished&limit=7")
	require.Len(t, all.Recordings, 2)
	assert.Equal(t, []string{"n2:6222", "n1:6222"}, []string{all.Recordings[0].Node, all.Recordings[1].Node})
	assert.Equal(t, []string{"n3:6222"}, all.Unreached.Nodes)
	assert.Equal(t, "next", all.Next)
	assert.Equal(t, union.Query{Pattern: "live/*", State: "finished", Limit: 7}, one.library.asked)
	get[Recordings](one, "/api/v1/recordings?node=all&stream=live/a&limit=1000&cursor=x")
	assert.Equal(t, union.Query{Key: key("live/a"), After: "x", Limit: maxAway}, one.library.asked)
	for _, query := range []string{"cursor=bad", "limit=0", "sort=id", "stream=a*b"} {
		act[problem](one, "GET", "/api/v1/recordings?node=all&"+query, "", 400)
	}

	two.disk.pinned = map[string]bool{"live/b/1": false}
	const there = "/api/v1/recordings/live/b/1"
	act[problem](one, "POST", there+"/pin", "", 404)
	act[problem](one, "POST", there+"/pin?node=n9", "", 404)
	act[problem](one, "POST", there+"/pin?node=n2:6222", "{}", 400)
	act[any](one, "POST", there+"/pin?node=n2:6222", "", 204)
	assert.True(t, two.disk.pinned["live/b/1"])
	act[any](one, "DELETE", there+"?node=n2:6222", "", 204)
	assert.Empty(t, two.disk.pinned)
	one.disk.pinned = map[string]bool{"live/a/1": false}
	act[any](one, "DELETE", "/api/v1/recordings/live/a/1?node=n1:6222", "", 204)
	assert.Contains(t, two.log(), "delete recording")
}

// library is a list of recordings of two nodes.
type library struct{ asked union.Query }

func (r *rig) shelf() Union {
	r.library = new(library)
	return r.library
}

func (l *library) Recordings(_ context.Context, q union.Query) (union.Page, error) {
	if q.After == "bad" {
		return union.Page{}, archive.ErrPlace
	}
	l.asked = q
	of := func(node, stream string) union.Recording {
		return union.Recording{Node: node, Recording: archive.Recording{Key: key(stream), ID: "1", State: archive.StateFinished}}
	}
	return union.Page{
		Recordings: []union.Recording{of("n2:6222", "live/b"), of("n1:6222", "live/a")}, Next: "next", Unreached: []string{"n3:6222"},
	}, nil
}
