package replica

import (
	"context"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"

	"sluice/hub"
	"sluice/hub/cluster"
)

// The log says why a copy has ended: a stream that went over to another node is no failed connection.
func TestReasonOf(t *testing.T) {
	for _, test := range []struct {
		err  error
		want hub.Reason
	}{
		{&cluster.Ended{Reason: hub.ReasonUnpublished}, hub.ReasonUnpublished},
		{fmt.Errorf("wrapped: %w", cluster.ErrStale), hub.ReasonReplaced},
		{ErrProtocol, hub.ReasonProtocol},
		{os.ErrDeadlineExceeded, hub.ReasonStalled},
		{context.Canceled, hub.ReasonShuttingDown},
		{io.ErrClosedPipe, hub.ReasonConnection},
	} {
		assert.Equal(t, test.want, reasonOf(test.err), "%v", test.err)
	}
}
