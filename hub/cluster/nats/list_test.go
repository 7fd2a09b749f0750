package nats

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub/cluster"
)

// A list is whole, too, when the engine has forgotten its last changes: that there were records, which have been deleted.
func TestListBehindForgottenChanges(t *testing.T) {
	t.Parallel()
	all, ctx := open(t, 3), soon(t)
	stays, goes := key(t), key(t)
	kept, err := all[0].Create(ctx, stays, nil)
	require.NoError(t, err)
	gone, err := all[0].Create(ctx, goes, nil)
	require.NoError(t, err)
	deleted := func(key string, revision uint64, left ...cluster.Entry) {
		t.Helper()
		require.NoError(t, all[1].Delete(ctx, key, revision))
		until(t, "it is forgotten", func() bool {
			_, err := all[2].nextFromLeader(ctx, kept+1)
			return errors.Is(err, cluster.ErrNone)
		})
		for _, d := range all {
			list, err := d.List(ctx)
			require.NoError(t, err)
			assert.ElementsMatch(t, left, list)
		}
	}
	deleted(goes, gone, cluster.Entry{Key: stays, Value: []byte{}, Revision: kept})
	deleted(stays, kept)
}
