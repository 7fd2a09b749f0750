package hub_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/hub"
)

func TestParsePath(t *testing.T) {
	long := strings.Repeat("x", 32)
	sixteen := strings.TrimSuffix(strings.Repeat(long+", ", 16), ", ")
	for _, test := range []struct {
		text string
		ids  int
		bad  bool
	}{
		{"", 0, false},
		{"a", 1, false},
		{"a-1,B_2", 2, false},
		{" a , b ", 2, false},
		{sixteen, 16, false},
		{sixteen + ",y", 0, true},
		{long + "x", 0, true},
		{",", 0, true},
		{"a,,b", 0, true},
		{"a b", 0, true},
		{"a;b", 0, true},
		{"é", 0, true},
		{"a" + strings.Repeat(" ", 1000), 0, true},
		{strings.Repeat(",", 1<<20), 0, true},
	} {
		ids, err := hub.ParsePath(test.text)
		assert.Equal(t, test.bad, err != nil, "%.40q", test.text)
		assert.Len(t, ids, test.ids, "%.40q", test.text)
		again, err := hub.ParsePath(hub.FormatPath(ids))
		assert.NoError(t, err)
		assert.Equal(t, ids, again)
	}
}

// metaPath makes metadata that tell which servers a stream has passed.
func metaPath(path string) flv.Tag {
	return flv.Tag{Type: flv.TypeScript, Data: amf.AppendAMF0(nil, "onMetaData", amf.ECMAArray{
		{Name: "videocodecid", Value: 7.0}, {Name: hub.PathProperty, Value: path},
	})}
}

// Who comes by way of this server is refused, in either role, and told so.
func TestLoopIsRefused(t *testing.T) {
	for _, test := range []struct {
		path []string
		node string
		loop bool
	}{
		{nil, "me", false},
		{[]string{"a", "b"}, "me", false},
		{[]string{"me"}, "me", true},
		{[]string{"a", "me", "b"}, "me", true},
		{[]string{"a", "mee"}, "me", false},
		{[]string{"me"}, "", false},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWitness(t)
			h := newHub(t, hub.Config{Node: test.node, Observe: w.observe})
			assert.Equal(t, test.node, h.Node())
			c := hub.Client{Path: test.path}
			p, err := h.Publish(h.NewSession(hub.RolePublish, key, c), hub.PublishOptions{})
			v, watchErr := h.Watch(h.NewSession(hub.RoleWatch, key, c), hub.WatchOptions{})
			synctest.Wait()
			if test.loop {
				assert.Equal(t, hub.ReasonLoop, reasonOf(t, err))
				assert.Equal(t, hub.ReasonLoop, reasonOf(t, watchErr))
				assert.Equal(t, "refused (loop), refused (loop)", w.tell())
				return
			}
			require.NoError(t, err)
			require.NoError(t, watchErr)
			assert.Equal(t, test.path, h.Path(key))
			v.Close()
			p.Close()
			assert.Nil(t, h.Path(key), "nobody publishes it")
		})
	}
}

// A publisher whose metadata say that the stream has been here ends; its stream has its grace time.
func TestLoopInMetadata(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWitness(t)
		h := newHub(t, hub.Config{Node: "me", Observe: w.observe})
		p := publish(t, h, client{})
		require.NoError(t, p.Write(metaPath("a,b")))
		p.send("vc:s K:1@0")
		assert.Equal(t, []string{"a", "b"}, h.Path(key))
		assert.Equal(t, hub.ReasonLoop, reasonOf(t, p.Write(metaPath("a,me,b"))))
		assert.Equal(t, hub.ReasonLoop, reasonOf(t, p.Write(tag("P:2@40"))))
		assert.Empty(t, p.ended, "who writes is told by its Write")
		assert.Equal(t, "grace", info(t, h).State)
		synctest.Wait()
		assert.Contains(t, w.tell(), "unpublished (loop)")

		// Its path says nothing of who comes next.
		next := publish(t, h, client{})
		assert.Empty(t, h.Path(key))
		require.NoError(t, next.Write(metaPath("no path!")))
		assert.Empty(t, h.Path(key))
	})
}
