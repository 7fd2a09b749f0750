package rtmp

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
)

// Enhanced RTMP v2, "Reconnect Request": an onStatus on message stream 0 with transaction 0 and a
// null command object, level status; tcUrl and description are optional.
func TestReconnectRequestBytes(t *testing.T) {
	begin := "\x02\x00\x08onStatus\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05" +
		"\x03\x00\x05level\x02\x00\x06status\x00\x04code\x02\x00\x26NetConnection.Connect.ReconnectRequest"
	for _, tt := range []struct {
		r    Reconnect
		want string
	}{
		{Reconnect{}, ""},
		{Reconnect{Description: "bye"}, "\x00\x0bdescription\x02\x00\x03bye"},
		{Reconnect{TcURL: "rtmp://h/a", URL: "never sent"}, "\x00\x05tcUrl\x02\x00\x0artmp://h/a"},
		{Reconnect{TcURL: "/b", Description: "x"}, "\x00\x0bdescription\x02\x00\x01x\x00\x05tcUrl\x02\x00\x02/b"},
	} {
		body := begin + tt.want + "\x00\x00\x09"
		header := append([]byte{csidCommand, 0, 0, 0, 0, 0, byte(len(body)), typeCommand, 0, 0, 0, 0}, body...)
		assert.Equal(t, header, appendReconnect(nil, defaultChunkSize, &tt.r))
	}
}

// "A relative URI reference should be resolved relative to the tcUrl for the current connection."
func TestReconnectResolves(t *testing.T) {
	for _, tt := range []struct{ own, name, asked, tcURL, url string }{
		{"rtmp://h/live", "x", "", "rtmp://h/live", "rtmp://h/live/x"},
		{"rtmp://h:1936/live/a", "x?k=v", "", "rtmp://h:1936/live/a", "rtmp://h:1936/live/a/x?k=v"},
		{"rtmp://h/live", "x", "rtmp://foo.mydomain.com:1935/realtimeapp", "rtmp://foo.mydomain.com:1935/realtimeapp", "rtmp://foo.mydomain.com:1935/realtimeapp/x"},
		{"rtmp://h/live", "x", "//192.0.2.0/realtimeapp", "rtmp://192.0.2.0/realtimeapp", "rtmp://192.0.2.0/realtimeapp/x"},
		{"rtmps://h/live", "x", "//192.0.2.0/realtimeapp", "rtmps://192.0.2.0/realtimeapp", "rtmps://192.0.2.0/realtimeapp/x"},
		{"rtmp://h/live", "x?k=v", "/realtimeapp", "rtmp://h/realtimeapp", "rtmp://h/realtimeapp/x?k=v"},
		{"rtmp://h/live/a", "x", "b", "rtmp://h/live/b", "rtmp://h/live/b/x"},
		{"rtmp://h/live/a", "x", "../b/", "rtmp://h/b", "rtmp://h/b/x"},
		{"rtmp://h/live", "x?k=v", "RTMPS://o/live?k=w&t=1", "rtmps://o/live?k=w&t=1", "rtmps://o/live/x?k=v&k=w&t=1"},
		{"rtmp://h/live", "x", "?t=1", "rtmp://h/live?t=1", "rtmp://h/live/x?t=1"},
		{"rtmp://h/live", "a%20b", "rtmp://o/c%2Fd", "rtmp://o/c%2Fd", "rtmp://o/c%2Fd/a%20b"},
		{"rtmp://h/live", "x", "rtmp://u:p@o/live#f", "rtmp://o/live", "rtmp://o/live/x"},
		{"rtmp://h/live", "x", "rtmp://[::1]:1935/live", "rtmp://[::1]:1935/live", "rtmp://[::1]:1935/live/x"},

		{"rtmp://h/live", "x", "http://o/live", "", ""},
		{"rtmp://h/live", "x", "rtmp://o", "", ""},
		{"rtmp://h/live", "x", "rtmp://o/", "", ""},
		{"rtmp://h/live", "x", "/", "", ""},
		{"rtmp://h/live", "x", "rtmp:///live", "", ""},
		{"rtmp://h/live", "x", "rtmp:live", "", ""},
		{"rtmp://h/live", "x", "rtmp://o/li\x00ve", "", ""},
		{"rtmp://h/live", "x", "rtmp://o:port/live", "", ""},
		{"rtmp://h/live", "x", "/" + strings.Repeat("a", maxArgument), "", ""},
		{"rtmp://h/live", "x", "/" + strings.Repeat(" ", maxArgument/2), "", ""},
	} {
		c := &command{name: "onStatus", args: []any{nil, amf.Object{
			{Name: "code", Value: CodeReconnectRequest}, {Name: "tcUrl", Value: tt.asked},
			{Name: "description", Value: strings.Repeat("d", 2*maxShown)},
		}}}
		r, ok := reconnectOf(c, &target{tcURL: tt.own, name: tt.name})
		if assert.Equal(t, tt.tcURL != "", ok, tt.asked) && ok {
			assert.Equal(t, Reconnect{TcURL: tt.tcURL, URL: tt.url, Description: strings.Repeat("d", maxShown)}, r, tt.asked)
		}
	}
}

func FuzzReconnect(f *testing.F) {
	f.Add("x?k=v", "rtmp://o/live?t=1")
	f.Add("a", "//o/b/../c")
	f.Add("a%2f", "?%2f")
	f.Fuzz(func(t *testing.T, name, asked string) {
		own := target{tcURL: "rtmp://h:1936/live/a", name: name}
		c := &command{name: "onStatus", args: []any{nil, amf.Object{
			{Name: "code", Value: CodeReconnectRequest}, {Name: "tcUrl", Value: asked},
		}}}
		r, ok := reconnectOf(c, &own)
		if !ok {
			return
		}
		u, err := url.Parse(r.TcURL)
		if err != nil || u.Scheme != "rtmp" && u.Scheme != "rtmps" || u.Hostname() == "" || len(u.EscapedPath()) < 2 || u.User != nil {
			t.Fatalf("%q: %q, %v", asked, r.TcURL, err)
		}
		again, err := resolveTcURL(own.tcURL, r.TcURL)
		if err != nil || again.String() != r.TcURL {
			t.Fatalf("%q: %q and then %v, %v", asked, r.TcURL, again, err)
		}
	})
}

// mover is a client that announces that it can reconnect.
func mover() *Client { return &Client{CanReconnect: true} }

// Both kinds of clients are told, by a server that asks all, and go on until they leave by
// themselves; one that has announced nothing is not asked.
func TestAllAreAskedToReconnect(t *testing.T) {
	for _, polled := range []bool{false, true} {
		t.Run(fmt.Sprintf("polled %v", polled), func(t *testing.T) {
			h := &rig{}
			srv := &Server{Handler: h}
			if polled {
				poll(t, srv)
			}
			addr := serve(t, srv)
			pub, err := mover().Publish(t.Context(), "rtmp://"+addr+"/live/a?k=v")
			require.NoError(t, err)
			defer pub.Close()
			player, err := mover().Play(t.Context(), "rtmp://"+addr+"/live/a")
			require.NoError(t, err)
			defer player.Close()
			classic, err := new(Client).Play(t.Context(), "rtmp://"+addr+"/live/a")
			require.NoError(t, err)
			defer classic.Close()
			idling := connected(t, addr, "live") // and publishes nothing

			var mu sync.Mutex
			var apps []string
			r := srv.RequestReconnect(func(app string, secure bool) Reconnect {
				mu.Lock()
				defer mu.Unlock()
				apps = append(apps, fmt.Sprint(app, secure))
				return Reconnect{TcURL: "rtmp://other/" + app, Description: "bye"}
			})
			asked := <-pub.Reconnects()
			assert.Equal(t, Reconnect{TcURL: "rtmp://other/live", URL: "rtmp://other/live/a?k=v", Description: "bye"}, asked)
			h.publication(t, 0)
			require.NoError(t, pub.WriteTags(clip()), "the stream goes on")
			for range clip() {
				_, err := player.ReadTag()
				require.NoError(t, err)
				_, err = classic.ReadTag()
				require.NoError(t, err)
			}
			assert.Equal(t, "rtmp://other/live/a", (<-player.Reconnects()).URL)
			assert.Empty(t, classic.Reconnects())
			idling.sync() // nothing else has come
			require.Eventually(t, func() bool {
				asked, there := r.Figures()
				return asked == 2 && there == 2
			}, 10*time.Second, time.Millisecond)
			mu.Lock()
			assert.Equal(t, []string{"livefalse", "livefalse"}, apps)
			mu.Unlock()
			select {
			case <-r.Left():
				t.Error("nobody has left")
			default:
			}
			require.NoError(t, pub.Close())
			require.NoError(t, player.Close())
			<-r.Left()
			asked2, there := r.Figures()
			assert.Equal(t, []int{2, 0}, []int{asked2, there})
			srv.mu.Lock()
			assert.Empty(t, srv.reconnecting)
			srv.mu.Unlock()
		})
	}
}

func TestNobodyToAsk(t *testing.T) {
	srv := &Server{Handler: &rig{}}
	addr := serve(t, srv)
	<-srv.RequestReconnect(nil).Left()
	p, err := new(Client).Publish(t.Context(), "rtmp://"+addr+"/live/a")
	require.NoError(t, err)
	defer p.Close()
	<-srv.RequestReconnect(nil).Left()
	srv.mu.Lock()
	defer srv.mu.Unlock()
	assert.Empty(t, srv.reconnecting)
}

// One client is asked, by its message stream. What it was asked for already is not repeated, and
// of many requests at a time the last one counts.
func TestOneIsAskedToReconnect(t *testing.T) {
	h := &rig{}
	addr := serve(t, &Server{Handler: h})
	classic, err := new(Client).Publish(t.Context(), "rtmp://"+addr+"/live/a")
	require.NoError(t, err)
	defer classic.Close()
	assert.False(t, h.publication(t, 0).stream.RequestReconnect(Reconnect{}), "it has not announced it")

	p := dialPeer(t, addr)
	p.command(0, "connect", 1.0, amf.Object{{Name: "app", Value: "live"}, {Name: "capsEx", Value: 1.0}})
	p.result(1)
	p.publish("b")
	stream := h.publication(t, 1).stream
	request := func(to string) {
		assert.True(t, stream.RequestReconnect(Reconnect{TcURL: to}))
	}
	wantRequest := func(to string) {
		t.Helper()
		id, values := p.values()
		assert.Zero(t, id, "message stream 0")
		info := props(values[3].(amf.Object))
		assert.Equal(t, []any{"onStatus", 0.0, nil}, values[:3])
		assert.Equal(t, []string{LevelStatus, CodeReconnectRequest, to}, []string{info.str("level"), info.str("code"), info.str("tcUrl")})
	}
	request("")
	wantRequest("")
	request("")
	p.sync()
	request("/b")
	wantRequest("/b")
	for i := range 10_000 {
		request(fmt.Sprint("/", i))
	}
	last := ""
	for last != "/9999" {
		_, values := p.values()
		last = props(values[3].(amf.Object)).str("tcUrl")
	}
	p.command(1, "closeStream", 0.0, nil)
	p.sync()
	request("/late")
	p.sync()
}

// A server that asks again and again fills no memory, and holds up nobody: the newest request
// counts. What leads nowhere is passed over, also where it is an error to end the stream.
func TestClientIsFloodedWithRequests(t *testing.T) {
	h := &rig{}
	addr := serve(t, &Server{Handler: h})
	pub, err := mover().Publish(t.Context(), "rtmp://"+addr+"/live/a")
	require.NoError(t, err)
	defer pub.Close()
	player, err := mover().Play(t.Context(), "rtmp://"+addr+"/live/a")
	require.NoError(t, err)
	defer player.Close()
	var flood []byte
	for i := range 20_000 {
		flood = appendReconnect(flood, defaultChunkSize, &Reconnect{TcURL: fmt.Sprint("/", i)})
	}
	for _, bad := range []string{"http://h/x", "rtmp://h", strings.Repeat("/a", maxArgument)} {
		flood = appendReconnect(flood, defaultChunkSize, &Reconnect{TcURL: bad})
	}
	// on another message stream it says nothing of the connection
	flood = appendStatus(flood, defaultChunkSize, 1, LevelStatus, CodeReconnectRequest, "")
	require.NoError(t, h.publication(t, 0).stream.Send(flood))
	require.NoError(t, h.playback(t, 0).stream.Send(flood))
	require.NoError(t, pub.WriteTag(clip()[0]))
	tag, err := player.ReadTag()
	require.NoError(t, err)
	equalTags(t, clip()[:1], []flv.Tag{tag})
	for _, c := range []<-chan Reconnect{player.Reconnects(), pub.Reconnects()} {
		want := "rtmp://" + addr + "/19999/a"
		assert.Eventually(t, func() bool {
			select {
			case r := <-c:
				return r.URL == want
			default:
				return false
			}
		}, 10*time.Second, time.Millisecond)
	}
}

// A request may come before the stream has begun: it is there when it has.
func TestAskedWhileOpening(t *testing.T) {
	h := &rig{}
	addr := serve(t, &Server{Handler: &early{h}})
	p, err := mover().Publish(t.Context(), "rtmp://"+addr+"/live/a")
	require.NoError(t, err)
	defer p.Close()
	assert.Equal(t, "rtmp://"+addr+"/b/a", (<-p.Reconnects()).URL)
}

// early asks before it grants.
type early struct{ *rig }

func (e *early) Publish(s *ServerStream, r *Request) (Publication, error) {
	if err := s.Send(appendReconnect(nil, defaultChunkSize, &Reconnect{TcURL: "/b"})); err != nil {
		return nil, err
	}
	return e.rig.Publish(s, r)
}

// A session that is asking for permission is not asked to reconnect, unless another of its message
// streams publishes; one that ends at that moment is not waited for.
func TestReconnectWhileAsking(t *testing.T) {
	h := newAskingRig()
	srv := &Server{Handler: h}
	addr := serve(t, srv)
	p := dialPeer(t, addr)
	p.command(0, "connect", 1.0, amf.Object{{Name: "app", Value: "live"}, {Name: "capsEx", Value: 1.0}})
	p.result(1)
	p.command(1, "publish", 0.0, nil, "a")
	q := h.asked(t)
	<-srv.RequestReconnect(nil).Left()
	q.answer(nil)
	p.wantStatus(1, LevelStatus, CodePublishStart)

	id := p.createStream()
	p.command(id, "publish", 0.0, nil, "b")
	h.asked(t)
	r := srv.RequestReconnect(func(string, bool) Reconnect { return Reconnect{} })
	p.wantStatus(0, LevelStatus, CodeReconnectRequest)
	p.nc.Close()
	<-r.Left()
}

// Everybody is asked while sessions come and go.
func TestReconnectAmongMany(t *testing.T) {
	srv := &Server{Handler: &rig{}}
	poll(t, srv)
	addr := serve(t, srv)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for ctx.Err() == nil {
				c := Client{CanReconnect: i%2 == 0}
				p, err := c.Publish(t.Context(), fmt.Sprintf("rtmp://%s/live/%d", addr, i))
				if err != nil {
					continue
				}
				p.WriteTags(clip())
				p.Close()
			}
		})
	}
	var rounds []*Reconnecting
	for range 50 {
		rounds = append(rounds, srv.RequestReconnect(func(string, bool) Reconnect { return Reconnect{} }))
	}
	for _, r := range rounds {
		<-r.Left()
	}
	cancel()
	wg.Wait()
	srv.mu.Lock()
	defer srv.mu.Unlock()
	assert.Empty(t, srv.reconnecting)
}
