//go:build unix

//lint:file-ignore SA1019 the WebSocket library is given, and final at this version.

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"

	"nhooyr.io/websocket"

	"sluice/flv"
	"sluice/rtmp"
)

// testViewer is a viewer over one of the protocols: how it joins a stream, and
// how it reads on. next returns io.EOF at a proper end only: a last chunk and then
// the end of the connection, a close frame with code 1000, UnpublishNotify.
type testViewer struct {
	next  func() (flv.Tag, error)
	close func() error
}

// joinFunc opens a viewer of live/NAME.
type joinFunc func(ctx context.Context, p *process, name string) (testViewer, error)

var protocols = []struct {
	name string
	join joinFunc
}{
	{"http-flv", joinHTTP},
	{"ws-flv", joinWebSocket},
	{"rtmp", joinRTMP},
}

// joinHTTP speaks HTTP itself: a viewer of http.Client has two goroutines and
// twice 4 KB, and a thousand of them are to leave the machine to the server.
func joinHTTP(ctx context.Context, p *process, name string) (testViewer, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", p.http)
	if err != nil {
		return testViewer{}, err
	}
	fmt.Fprintf(conn, "GET /live/%s.flv HTTP/1.1\r\nHost: %s\r\n\r\n", name, p.http)
	body := &httpBody{conn: bufio.NewReader(conn)}
	res, err := http.ReadResponse(body.conn, nil)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %s", res.Status)
	}
	if err != nil {
		conn.Close()
		return testViewer{}, err
	}
	body.Reader = res.Body
	return testViewer{flv.NewReader(body).Next, conn.Close}, nil
}

// httpBody is a chunked body whose connection has to end with it.
type httpBody struct {
	io.Reader
	conn *bufio.Reader
}

func (b *httpBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		if _, open := b.conn.ReadByte(); open != io.EOF {
			err = fmt.Errorf("after the last chunk: %w", open)
		}
	}
	return n, err
}

func joinWebSocket(ctx context.Context, p *process, name string) (testViewer, error) {
	return joinSocket(ctx, "ws://"+p.http+"/live/"+name+".flv", nil)
}

// joinSocket is joinWebSocket by a URL, with a client for the request; nil is any.
func joinSocket(ctx context.Context, url string, client *http.Client) (testViewer, error) {
	ws, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPClient: client})
	if err != nil {
		return testViewer{}, err
	}
	ws.SetReadLimit(-1)
	messages := &messageReader{ctx: context.WithoutCancel(ctx), conn: ws}
	tags := flv.NewReader(messages)
	next := func() (flv.Tag, error) {
		t, err := tags.Next()
		if err == io.EOF && websocket.CloseStatus(messages.end) != websocket.StatusNormalClosure {
			err = messages.end
		}
		return t, err
	}
	return testViewer{next, ws.CloseNow}, nil
}

func joinRTMP(ctx context.Context, p *process, name string) (testViewer, error) {
	player, err := new(rtmp.Client).Play(ctx, "rtmp://"+p.rtmp+"/live/"+name)
	if err != nil {
		return testViewer{}, err
	}
	return testViewer{player.ReadTag, player.Close}, nil
}
