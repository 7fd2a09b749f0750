package rtmp

import (
	"crypto/tls"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"sluice/flv/amf"
)

// What a client shows of itself reaches the Handler, and the log has nothing of what
// may be secret.
func TestRequestHoldsWhatAClientShows(t *testing.T) {
	var log logBuffer
	h := &rig{}
	addr := serve(t, &Server{Handler: h, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	p := dialPeer(t, addr)
	p.command(0, "connect", 1.0, amf.Object{
		{Name: "app", Value: "live?a=secret1"},
		{Name: "flashVer", Value: "LNX 9,0,124,2"},
		{Name: "tcUrl", Value: "rtmp://user:secret2@media.example:1936/live?t=secret3"},
		{Name: "pageUrl", Value: "https://page.example/watch?secret4"},
		{Name: "swfUrl", Value: "https://page.example/player.swf?secret5"},
	})
	p.result(1)
	p.publish("a?n=secret6")
	p.play("a?n=secret6")
	want := Request{
		App: "live", Name: "a", Type: "live",
		Query: map[string][]string{"n": {"secret6"}, "a": {"secret1"}, "t": {"secret3"}},
		Host:  "media.example:1936", TcURL: "rtmp://media.example:1936/live", FlashVer: "LNX 9,0,124,2",
		FullTcURL: "rtmp://user:secret2@media.example:1936/live?t=secret3",
		PageURL:   "https://page.example/watch?secret4",
		SWFURL:    "https://page.example/player.swf?secret5",
	}
	assert.Equal(t, want, *h.publication(t, 0).req)
	want.Type, want.Start = "", -2000
	assert.Equal(t, want, *h.playback(t, 0).req)
	p.nc.Close()
	log.endLine(t)
	assert.NotContains(t, log.String(), "secret")
}

// Text that is too long is cut.
func TestShownTextIsCut(t *testing.T) {
	h := &rig{}
	p := dialPeer(t, serve(t, &Server{Handler: h}))
	long := strings.Repeat("x", 5000)
	p.command(0, "connect", 1.0, amf.Object{
		{Name: "app", Value: "live"},
		{Name: "tcUrl", Value: "rtmp://" + long + "/live"},
		{Name: "pageUrl", Value: long},
		{Name: "swfUrl", Value: long},
	})
	p.result(1)
	p.publish("a")
	r := h.publication(t, 0).req
	assert.Len(t, r.Host, maxShown)
	assert.Len(t, r.TcURL, maxShown)
	assert.Len(t, r.FullTcURL, len("rtmp:///live")+len(long))
	assert.Len(t, r.PageURL, maxURL)
	assert.Len(t, r.SWFURL, maxURL)
}

func TestCutURL(t *testing.T) {
	for _, tt := range []struct{ url, host, shown string }{
		{"rtmp://host/live", "host", "rtmp://host/live"},
		{"rtmps://[::1]:443/live?t=1", "[::1]:443", "rtmps://[::1]:443/live"},
		{"rtmp://u:p@x@host:1/live/a@b", "host:1", "rtmp://host:1/live/a@b"},
		{"rtmp://host?t=a@b", "host", "rtmp://host"},
		{"rtmp://", "", "rtmp://"},
		{"host/live", "", "host/live"},
		{"", "", ""},
	} {
		assert.Equal(t, tt.host, hostOfURL(tt.url), tt.url)
		assert.Equal(t, tt.shown, shownURL(tt.url), tt.url)
	}
}

// A connection is secure with TLS anywhere in it.
func TestIsSecure(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	encrypted := tls.Server(near, new(tls.Config))
	assert.True(t, isSecure(encrypted))
	assert.True(t, isSecure(layered{layered{encrypted}}))
	assert.False(t, isSecure(near))
	assert.False(t, isSecure(layered{layered{near}}))
	assert.False(t, isSecure(layered{}))
	h := &rig{}
	nc := &tape{input: append(append([]byte{}, hello...), commands(1, []any{"connect", 1.0, amf.Object{{Name: "app", Value: "live"}}}, []any{"publish", 0.0, nil, "a"})...), piece: 1 << 20}
	newSession(&Server{Handler: h}, encryptedTape{nc}, 1).run()
	assert.True(t, h.publication(t, 0).req.Secure)
}

// layered is a connection around another.
type layered struct{ net.Conn }

func (c layered) NetConn() net.Conn { return c.Conn }

// encryptedTape says that it is encrypted.
type encryptedTape struct{ *tape }

func (encryptedTape) ConnectionState() tls.ConnectionState { return tls.ConnectionState{} }
