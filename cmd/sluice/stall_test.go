//go:build unix

package main

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/rtmp"
)

// A viewer that takes nothing is ended after SLUICE_STALL_TIMEOUT, with a
// reason.
func TestStallTimeout(t *testing.T) {
	t.Parallel()
	out, stop := start(t, "SLUICE_STALL_TIMEOUT=1s")
	publish := out.find(t, `(rtmp://127\.0\.0\.1:\d+)/live/NAME\n`)[1]
	host := out.find(t, `http://(127\.0\.0\.1:\d+)/ in a browser`)[1]
	publisher, err := new(rtmp.Client).Publish(t.Context(), publish+"/live/stall")
	require.NoError(t, err)
	defer publisher.Close()
	// more than the buffers of a connection hold
	key := flv.Tag{Type: flv.TypeVideo, Data: make([]byte, 15<<20)}
	copy(key.Data, "\x17\x01\x00\x00\x00")
	nalUnit(key.Data)
	for _, tag := range append(madeHeader(), key) {
		require.NoError(t, publisher.WriteTag(tag))
	}

	conn, err := net.Dial("tcp", host)
	require.NoError(t, err)
	defer conn.Close()
	began := time.Now()
	fmt.Fprintf(conn, "GET /live/stall.flv HTTP/1.1\r\nHost: %s\r\n\r\n", host)
	out.find(t, `msg="session ends".* stream=live/stall .*reason=stalled`)
	assert.GreaterOrEqual(t, time.Since(began), time.Second)
	assert.Equal(t, exitOK, stop())
}
