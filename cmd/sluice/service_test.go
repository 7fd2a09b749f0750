//lint:file-ignore SA1019 the WebSocket library is given, and final at this version.

package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"nhooyr.io/websocket"

	"sluice/flv"
	"sluice/rtmp"
	"sluice/web"
)

// The demo comes out in all three forms, each beginning with the headers and a
// key frame, the page's figures tell of it, and the first signal ends everybody
// properly.
func TestDemoOverEverythingAndShutdown(t *testing.T) {
	out, stop := start(t, "SLUICE_DEMO=true")
	publish := out.find(t, `(rtmp://127\.0\.0\.1:\d+)/live/NAME\n`)[1]
	host := out.find(t, `http://(127\.0\.0\.1:\d+)/ in a browser`)[1]
	out.find(t, `Demo +http://127\.0\.0\.1:\d+/\?stream=live/demo\n`)
	client := &http.Client{}
	defer client.CloseIdleConnections()

	type viewer struct {
		name string
		next func() (flv.Tag, error) // io.EOF at a proper end
	}
	var viewers []viewer

	res, err := client.Get("http://" + host + "/live/demo.flv")
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, http.StatusOK, res.StatusCode)
	overHTTP := flv.NewReader(res.Body)
	viewers = append(viewers, viewer{"HTTP-FLV", overHTTP.Next})

	ws, _, err := websocket.Dial(t.Context(), "ws://"+host+"/live/demo.flv", nil)
	require.NoError(t, err)
	defer ws.CloseNow()
	ws.SetReadLimit(1 << 20)
	messages := &messageReader{ctx: t.Context(), conn: ws}
	overWebSocket := flv.NewReader(messages)
	viewers = append(viewers, viewer{"WebSocket-FLV", overWebSocket.Next})

	var c rtmp.Client
	player, err := c.Play(t.Context(), publish+"/live/demo")
	require.NoError(t, err)
	defer player.Close()
	viewers = append(viewers, viewer{"RTMP", player.ReadTag})

	for _, v := range viewers {
		var kinds []flv.Kind
		audio := 0
		for len(kinds) < 2 || audio < 5 {
			tag, err := v.next()
			require.NoError(t, err, v.name)
			if tag.Type == flv.TypeAudio {
				audio++
			}
			if tag.Type != flv.TypeVideo {
				continue
			}
			p, err := tag.Packet()
			require.NoError(t, err)
			kinds = append(kinds, p.Kind)
			if len(kinds) == 2 {
				assert.Equal(t, []flv.Kind{flv.KindConfig, flv.KindFrame}, kinds, v.name)
				assert.True(t, p.Key, v.name)
				assert.Zero(t, tag.Timestamp, v.name)
			}
		}
	}
	assert.Equal(t, flv.Header{Audio: true, Video: true}, must(overHTTP.Header()))
	assert.Equal(t, flv.Header{Audio: true, Video: true}, must(overWebSocket.Header()))

	figures, err := client.Get("http://" + host + "/api/v1/streams")
	require.NoError(t, err)
	defer figures.Body.Close()
	var streams web.Streams
	require.NoError(t, json.NewDecoder(figures.Body).Decode(&streams))
	require.Len(t, streams.Streams, 1)
	assert.Equal(t, "live/demo", streams.Streams[0].Key)
	assert.Equal(t, "live", streams.Streams[0].State)
	assert.Equal(t, 3, streams.Streams[0].Viewers.Total)
	assert.Equal(t, &web.Video{Codec: "H.264", Profile: "Main", Width: 640, Height: 360, FPS: 25}, streams.Streams[0].Video)

	code := make(chan int, 1)
	began := time.Now()
	go func() { code <- stop() }()
	for _, v := range viewers {
		var err error
		for err == nil {
			_, err = v.next()
		}
		assert.ErrorIs(t, err, io.EOF, v.name)
	}
	assert.Equal(t, websocket.StatusGoingAway, websocket.CloseStatus(messages.end), messages.end)
	ws.CloseNow()
	player.Close()
	res.Body.Close()
	assert.Equal(t, exitOK, <-code)
	assert.Less(t, time.Since(began), drainTimeout)
	assert.Contains(t, out.String(), "msg=stopped")
	warnings := regexp.MustCompile(`(?m)^.*level=WARN.*\n`).FindAllString(out.String(), -1)
	for _, line := range warnings { // of this machine's limits it may warn
		assert.Contains(t, line, "few open files", "nobody had to be cut off")
	}
	assert.NotContains(t, out.String(), "level=ERROR")
}

// messageReader reads the messages of a WebSocket as one flow of bytes.
type messageReader struct {
	ctx  context.Context
	conn *websocket.Conn
	rest []byte
	end  error // what Read told as io.EOF
}

func (m *messageReader) Read(p []byte) (int, error) {
	for len(m.rest) == 0 {
		if _, m.rest, m.end = m.conn.Read(m.ctx); m.end != nil {
			return 0, io.EOF
		}
	}
	n := copy(p, m.rest)
	m.rest = m.rest[n:]
	return n, nil
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Zero means "not at all" all the way down to the hub.
func TestZeroIsNotTheDefault(t *testing.T) {
	out, _ := start(t, "SLUICE_VIEWER_WAIT=0")
	page := out.find(t, `(http://127\.0\.0\.1:\d+)/ in a browser`)[1]
	client := &http.Client{Timeout: 5 * time.Second} // less than the default wait
	defer client.CloseIdleConnections()
	res, err := client.Get(page + "/live/nobody.flv")
	require.NoError(t, err)
	defer res.Body.Close()
	assert.Equal(t, http.StatusNotFound, res.StatusCode)
	var body map[string]string
	require.NoError(t, json.NewDecoder(res.Body).Decode(&body))
	assert.NotEmpty(t, body["reason"])
}
