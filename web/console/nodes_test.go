package console

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/hub/cluster"
	"sluice/web/admin"
)

// nodes are those of nobody.
type nodes struct{}

func (nodes) Nodes() []cluster.NodeInfo {
	now := time.Now()
	of := func(f cluster.NodeFigures) cluster.NodeFigures {
		f.Version = "1.2.3"
		return f
	}
	return []cluster.NodeInfo{
		{Name: "n1:6222", Boot: "0000000000000001", Self: true, Heard: now, Started: now.Add(-50 * time.Hour),
			NodeFigures: of(cluster.NodeFigures{Owned: 12, Copied: 3, Description: cluster.Description{Sessions: 20_312}})},
		{Name: "media-2.example.com:6222", Boot: "0000000000000002", Heard: now, Started: now.Add(-time.Hour), Clock: 31 * time.Millisecond,
			NodeFigures: of(cluster.NodeFigures{Owned: 1, Provisional: 1})},
		{Name: "n3:6222", Boot: "0000000000000003", Heard: now, Started: now.Add(-time.Hour), Draining: true, Clock: -2 * time.Second},
		{Name: "n4:6222", Boot: "0000000000000004", Heard: now.Add(-time.Minute), Started: now.Add(-time.Hour), Silent: true},
		{Name: "n5:6222", Silent: true},
	}
}

func (nodes) Health() cluster.Health {
	return cluster.Health{
		Connected: true, Leader: "media-2.example.com:6222", Voters: 3, Reachable: 1, Since: time.Now().Add(-time.Hour), Roundtrip: 1800 * time.Microsecond,
		Detail: "of three nodes that vote only one is there",
	}
}

func (nodes) Streams() []cluster.StreamInfo {
	return []cluster.StreamInfo{
		{Key: key("live/channel-001"), Owned: true, Node: "n1:6222", Epoch: 3},
		{Key: key("live/wanted"), Copy: &cluster.EdgeState{Since: time.Now().Add(-3 * time.Second)}},
	}
}

func (nodes) Order(_ context.Context, node string, _ []byte) ([]byte, error) {
	place := admin.Place{Node: node, State: "copying", From: "n1:6222", Epoch: 3, Viewers: 12_000, Standby: true, Breaks: 4, Joined: 3, Lost: 120}
	switch node {
	case "n4:6222", "n5:6222":
		return nil, cluster.ErrMute
	case "n3:6222":
		place.Viewers, place.State, place.Standby, place.Detail = 3, "looking", false, "<b>connection refused"
	}
	return json.Marshal(map[string]any{"status": 200, "body": map[string]admin.Place{"live/channel-001": place}})
}

// The nodes of a cluster have a page: which there are, the engine, and where each stream is. A server that is alone
// has none.
func TestNodes(t *testing.T) {
	axe := axe(t)
	r := newRig(t, nodes{})
	r.populate(1, 2)
	p := r.tab(t)
	p.Open(r.URL + Path)
	p.login("#/nodes")
	p.Until("document.querySelectorAll('[aria-label=Nodes] tbody tr').length === 5")
	p.Until("document.querySelectorAll('[aria-label=Streams] tbody tr').length === 4")
	p.Run(desktop)
	text := p.text("main")
	for _, want := range []string{
		"n1:6222 (this one)", "Running", "Draining", "Silent", "2.0 s behind", "Same", "Nothing can be written",
		"Of three nodes that vote only one is there.", "1 of 3 there", "Owner", "Copies", "Looks for it", "12,000", "From n1:6222. A publisher stands by here.",
		"Broke 4 times, went on with the next packet 3 times. 120 packets lost.", "<b>connection refused",
		"What is at n4:6222, n5:6222 is not known: no answer.",
	} {
		assert.Contains(t, text, want)
	}
	assert.Contains(t, p.text("#nav"), "Nodes")
	p.look(axe, "nodes")
	p.visit("#/nodes?search=none")
	p.visit("#/stream/live%2Fchannel-001")

	alone := newRig(t)
	q := alone.tab(t)
	q.Open(alone.URL + Path)
	q.login("#/nodes")
	q.Until("document.querySelector('main').innerText.includes('This server is alone')")
	assert.NotContains(t, q.text("#nav"), "Nodes")
}

// some are nodes of which those answer that are there.
type some struct {
	nodes
	own    string                         // the name of the one that asks
	answer map[string]func([]byte) []byte // by the name, and by the id of the process
}

func (s some) Nodes() []cluster.NodeInfo {
	all := s.nodes.Nodes()
	for i := range all {
		all[i].Self = all[i].Name == s.own
	}
	return all
}

func (s some) Order(_ context.Context, node string, order []byte) ([]byte, error) {
	switch answer := s.answer[node]; {
	case answer != nil:
		return answer(order), nil
	case node == "n5:6222":
		return nil, cluster.ErrNobody
	}
	return nil, cluster.ErrMute
}

// newRigs starts two nodes.
func newRigs(t *testing.T) (one, two *rig) {
	answer := make(map[string]func([]byte) []byte)
	var rigs []*rig
	for _, info := range (nodes{}).Nodes()[:2] {
		r := newRig(t, some{own: info.Name, answer: answer})
		answer[info.Name] = admin.Orders(r.config)
		answer[info.Boot] = answer[info.Name]
		rigs = append(rigs, r)
	}
	return rigs[0], rigs[1]
}

// choose chooses of what is labelled so.
func (p *tab) choose(label, value string) {
	p.t.Helper()
	p.Run(chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`{
		const select = [...document.querySelectorAll('.filter')].find((f) => f.firstElementChild.textContent === %q).lastElementChild;
		select.value = %q;
		select.dispatchEvent(new Event('change'));
	}`, label, value)))
}

// In both lists a viewer is found wherever he is, and what is done about him is done there.
func TestListsOfNodes(t *testing.T) {
	axe := axe(t)
	one, two := newRigs(t)
	one.populate(2, 2)
	two.populate(2, 2) // of the same names
	viewer := two.watch("live/channel-000", client(9, "rtmp", "VLC", "wanted"))
	p := one.tab(t)
	p.login("#/sessions?sort=-lag")
	const (
		there  = "media-2.example.com:6222"
		silent = "What is at n3:6222, n4:6222, n5:6222 is not known: no answer."
	)
	shows := func(rows int, told string) {
		t.Helper()
		p.Until(fmt.Sprintf("%s === %d && %s && [...document.querySelectorAll('.nothing')].filter((e) => !e.hidden).map((e) => e.textContent).join(' ') === %q",
			shownRows, rows, state("ready"), told))
	}
	rowsAt := func(node string) string {
		return fmt.Sprintf("[...document.querySelectorAll('tbody tr')].filter((r) => r.querySelector('[data-label=Node]').textContent === %q)", node)
	}
	shows(4, "")
	assert.NotContains(t, p.text("main table"), "Node")
	p.Until("[...document.querySelectorAll('option')].some((o) => o.value === 'n5:6222')")
	p.choose("Node", "all")
	p.Until("location.hash === '#/sessions?sort=-lag&node=all'")
	shows(9, silent)
	assert.Equal(t, "true", p.eval("[...document.querySelectorAll('button.sort')].every((b) => b.disabled) && !document.querySelector('[aria-sort], .narrow:not([hidden])')"))
	assert.Contains(t, one.requests(), "GET /api/v1/sessions?node=all&limit=50")
	assert.Equal(t, "[4,5]", p.eval("["+rowsAt("n1:6222")+".length, "+rowsAt(there)+".length]"))
	p.look(axe, "sessions of nodes")
	p.round()
	shows(9, silent)

	p.Run(chromedp.Evaluate[chromedp.Void](rowsAt(there) + ".at(-1).querySelector('.id a').click()"))
	p.Until("document.querySelector('.actions:not([hidden])') && " + state("ready"))
	assert.Contains(t, p.text("main"), there)
	assert.Equal(t, fmt.Sprintf("Session %d", two.sessions()[4]), p.text("h1"))
	p.press(".actions", "End…")
	p.press("#dialog", "End")
	p.told("1 session ended, 1 ban made.")
	_, end := viewer.Fill(&two.batch, discard{}, 1000)
	assert.Equal(t, hub.ReasonKicked, end)
	viewer.Close()
	require.Len(t, two.bans.All(), 1)
	p.Until("document.querySelector('.titles .pill').textContent === 'Ended'")

	p.visit("#/streams?node=" + there)
	shows(2, "")
	assert.Equal(t, "2", p.eval(rowsAt(there)+".length"))
	p.Run(chromedp.Evaluate[chromedp.Void]("[...document.querySelectorAll('button.sort')].find((b) => b.textContent === 'Viewers').click()"))
	p.Until("document.querySelector('[aria-sort=descending]')")
	shows(2, "")
	p.choose("Node", "all")
	shows(4, silent)
	assert.Contains(t, one.requests(), "GET /api/v1/streams?node=all&limit=100")
	p.look(axe, "streams of nodes")
	for _, silent := range []string{"n4:6222", "n5:6222"} {
		p.choose("Node", silent)
		shows(0, "What is at "+silent+" is not known: no answer. No stream fits.")
	}
	p.choose("Node", "")
	p.Until("location.hash === '#/streams?sort=-viewers'")
	shows(2, "")

	two.publish("live/there", client(8, "rtmp", "OBS", "studio"))
	p.visit("#/streams?node=all&search=there")
	shows(1, silent)
	p.Run(chromedp.Evaluate[chromedp.Void]("document.querySelector('td.name a').click()"))
	p.Until("document.querySelector('.titles .hint')?.textContent.startsWith('At this node nobody publishes it')")

	alone := newRig(t)
	alone.populate(1, 1)
	q := alone.tab(t)
	q.login("#/sessions?node=all&sort=-lag")
	for _, hash := range []string{"#/sessions?node=all&sort=-lag", "#/streams?node=all"} {
		q.visit(hash)
		q.Until(shownRows + " > 0 && " + state("ready"))
		assert.NotContains(t, q.text("main"), "Node")
	}
	for _, asked := range alone.requests() {
		assert.NotContains(t, asked, "node")
	}
}
