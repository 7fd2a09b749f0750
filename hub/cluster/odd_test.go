package cluster_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/hub/cluster/memory"
)

// What comes from nobody, or from a later version, hurts nobody.
func TestOddMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 3, memory.Config{})
		p, err := r.nodes[0].publish("a", "")
		require.NoError(t, err)
		v := r.nodes[1].watch("a")
		var recordKey string
		for key := range r.engine.Records() {
			recordKey = key
		}
		for _, text := range []string{
			``, `null`, `7`, `[]`, `{}`, `{"boot":"x"}`, `{"up":true}`, `{"up":true,"owner":{"stream":"live/a"}}`,
			`{"up":true,"owner":{"stream":"live/a","boot":"00000000000000ff","epoch":9},"revision":99}`,
			`{"up":true,"owner":{"stream":"///","boot":"00000000000000ff","incarnation":"00000000000000ff","epoch":9}}`,
			`{"stream":"live/b","epoch":1}`, `{"stream":""}`, `{"stream":7}`, `{"boot":"00000000000000ff","time":-1,"started":99}`,
			`{"stream":"live/a","both":true,"mine":18446744073709551615}`,
		} {
			for _, subject := range []string{"beat", "news"} {
				require.NoError(t, r.nodes[2].dir.Send(subject, []byte(text)))
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, _ = r.nodes[2].dir.Ask(ctx, "node."+r.nodes[0].boot+".claim", []byte(text))
			cancel()
		}
		require.NoError(t, p.send(100))
		time.Sleep(time.Second)
		assert.Len(t, v.pictures(), 100)
		assert.Empty(t, p.ended)
		p.pub.Close()
		r.until("the name is free", func() bool { return len(r.engine.Records()) == 0 })

		_, err = r.nodes[2].dir.Create(t.Context(), recordKey, []byte(`{"version":2}`))
		require.NoError(t, err)
		q, err := r.nodes[1].publish("a", "")
		require.NoError(t, err, "in the place of what cannot be read")
		q.pub.Close()
	})
}

// A directory that has lost its records lets no stranger in whose node hears of the owner, and gets them back.
func TestLostRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 3, memory.Config{})
		p, err := r.nodes[0].publish("a", "")
		require.NoError(t, err)
		sent := p.start(1000)
		time.Sleep(time.Second)
		for key, entry := range r.engine.Records() {
			require.NoError(t, r.nodes[2].dir.Delete(t.Context(), key, entry.Revision))
		}
		_, err = r.nodes[1].publish("a", "")
		requireRefused(t, err, hub.ReasonBusy)
		require.NoError(t, <-sent)
		assert.Len(t, r.engine.Records(), 1)
		p.pub.Close()
	})
}

// Nobody's records are taken away, though nobody watches: that of a node that has died, and of a change that was made when its node
// had given up waiting for it.
func TestNobodysRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 3, memory.Config{})
		_, err := r.nodes[0].publish("a", "")
		require.NoError(t, err)
		r.nodes[0].kill()
		r.engine.Mute(true)
		r.engine.Late(1, memory.Delay{Min: 10 * time.Second})
		p, err := r.nodes[1].publish("b", "")
		require.NoError(t, err)
		p.pub.Close()
		time.Sleep(30 * time.Second)
		r.engine.Late(0, memory.Delay{})
		r.engine.Mute(false)
		require.NotEmpty(t, r.engine.Records())
		time.Sleep(time.Minute)
		assert.Empty(t, r.engine.Records())
	})
}
