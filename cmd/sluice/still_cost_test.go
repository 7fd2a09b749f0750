//go:build unix

package main

import (
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/rtmp"
)

// A page that shows 300 streams, 60 of them in sight, asks for a still of each of these every ten
// seconds. What that costs the server is told from many more: each of 300 new key frames, of
// 50 KB, fetched once, their publishing included.
func TestStillsAreCheap(t *testing.T) {
	if testing.Short() {
		t.Skip("left out: it opens 300 publishers; run without -short")
	}
	const streams = 300
	p := startProcess(t, "SLUICE_LOG_LEVEL=warn", "SLUICE_COALESCE=0")
	frame := madeStream{gop: time.Second, video: 1_000_000, key: 50_000}.frames(time.Millisecond)[0]
	var publishers []*rtmp.Publisher
	for i := range streams {
		publisher, err := new(rtmp.Client).Publish(t.Context(), "rtmp://"+p.rtmp+"/live/"+strconv.Itoa(i))
		require.NoError(t, err)
		defer publisher.Close()
		require.NoError(t, publisher.WriteTag(madeHeader()[1]))
		publishers = append(publishers, publisher)
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
	defer client.CloseIdleConnections()
	fetched := func(i int) bool { // whether there is a still
		res, err := client.Get("http://" + p.http + "/api/v1/still?stream=live/" + strconv.Itoa(i))
		if err != nil {
			return false
		}
		defer res.Body.Close()
		n, err := io.Copy(io.Discard, res.Body)
		return err == nil && res.StatusCode == http.StatusOK && n > 50_000
	}
	before, ok := p.usage()
	if !ok {
		t.Skip("needs /proc")
	}
	for _, publisher := range publishers {
		require.NoError(t, publisher.WriteTag(frame))
	}
	for i := range publishers {
		require.Eventually(t, func() bool { return fetched(i) }, time.Minute, 10*time.Millisecond)
	}
	after, _ := p.usage()
	each := (after.cpu - before.cpu) / streams
	const perSecond = 60 / 10
	share := each.Seconds() * perSecond
	t.Logf("%v of CPU for each still and its key frame: %.2f %% of a core for 60 of them every 10 s", each, 100*share)
	assert.Less(t, share, 0.05, "of a core")
}
