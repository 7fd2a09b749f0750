package rtmp

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv/amf"
)

// noded is a rig whose server has an id.
type noded struct{ *rig }

func (noded) Node() string { return "n0de" }

// A client that shows a path is told who answers, and the Handler what it has shown; others are
// told nothing.
func TestPathAndNode(t *testing.T) {
	h := &rig{}
	addr := serve(t, &Server{Handler: noded{h}})
	long := strings.Repeat("x", maxPath+1)
	for i, tt := range []struct{ path, want, node string }{{"a,b", "a,b", "n0de"}, {long, "?", "n0de"}, {"", "", ""}} {
		c := Client{Capabilities: AllCapabilities()}
		if tt.path != "" {
			c.Properties = amf.Object{{Name: PropertyPath, Value: tt.path}}
		}
		pub, err := c.Publish(t.Context(), "rtmp://"+addr+"/live/a")
		require.NoError(t, err)
		info := pub.Server()
		assert.Equal(t, tt.node, info.Text(PropertyNode))
		assert.Equal(t, 31.0, info.Number("capabilities"))
		assert.True(t, info.Capabilities.HasCapsEx)
		assert.Contains(t, info.Capabilities.FourCCs, "hvc1")
		assert.Equal(t, tt.want, h.publication(t, i).req.Path)
		require.NoError(t, pub.Close())
	}
}

// A server may have its capabilities in either object of its answer, and say more than is kept.
func TestServerInfo(t *testing.T) {
	list := amf.Object{{Name: "fourCcList", Value: amf.StrictArray{"av01"}}}
	for _, args := range [][]any{{list, nil}, {nil, list}, {amf.Object{{Name: "x", Value: 1.0}}, amf.ECMAArray(list)}} {
		c := command{args: args}
		info := (&clientConn{server: c.serverInfo()}).info()
		assert.Equal(t, []string{"av01"}, info.Capabilities.FourCCs)
	}
	c := command{args: []any{amf.Object{{Name: "x", Value: strings.Repeat("y", maxArgument)}}, list}}
	assert.Equal(t, ServerInfo{}, (&clientConn{server: c.serverInfo()}).info())
	assert.Equal(t, ServerInfo{}, (&clientConn{}).info())
}

// What a server says is told in one line, bounded, and without what the URL holds.
func TestMask(t *testing.T) {
	target, err := parseURL("rtmp://joe:p%404ss@h/live/cam?key=t0ken+x&n=1&%6cong=%73ecret")
	require.NoError(t, err)
	for said, want := range map[string]string{
		"no":                                  "no",
		"no\r\n\tcam":                         "no   ***",
		"camera, scam, cam.":                  "camera, scam, ***.",
		"cam?key=t0ken+x&n=1":                 "***?key=***&n=***",
		"t0ken+x":                             "***",
		"11 of 1":                             "11 of ***",
		"joe, p@4ss or p%404ss":               "***, *** or p%404ss",
		"secret":                              "***",
		"cam?key=t0ken+x&n=1&%6cong=%73ecret": "***",
	} {
		assert.Equal(t, want, target.mask(said), said)
	}
	long, err := parseURL("rtmp://h/live/" + strings.Repeat("s", minLongSecret))
	require.NoError(t, err)
	assert.Equal(t, "x***x", long.mask("xssssssx"))
}
