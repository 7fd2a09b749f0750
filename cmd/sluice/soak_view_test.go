//go:build unix

package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"

	"sluice/flv"
	"sluice/rtmp"
)

// selection is what a viewer asks for.
type selection struct {
	key                  string
	query                string // with a ? unless empty
	onlyAudio, onlyVideo bool
	live                 bool   // ?start=live
	track                string // ?track=
	shape                flv.Shape
	naps                 bool // it reads nothing now and then, over a connection that holds little
	fixed                bool // it ends at a change of codecs (hub.WatchOptions.FixedCodecs)
	scripts              bool // it gets script data in the flow
	file                 bool // it is a recording, which may begin anywhere
}

// selection makes one up.
func (w *soak) selection(rng *rand.Rand) selection {
	v := selection{key: w.streams[rng.IntN(len(w.streams))].key}
	query := []string{"token=" + soakSecret + "viewer"}
	switch rng.IntN(8) {
	case 0:
		v.onlyAudio, query = true, append(query, "onlyaudio=1")
	case 1:
		v.onlyVideo, query = true, append(query, "onlyvideo=1")
	case 2:
		v.live, query = true, append(query, "start=live")
	case 3:
		query = append(query, fmt.Sprintf("back=%d", rng.IntN(4)*rng.IntN(10))) // further back than the log reaches, too
	}
	switch rng.IntN(8) {
	case 0:
		v.track = fmt.Sprint(rng.IntN(2))
		query = append(query, "track="+v.track)
	case 1:
		v.track = "all"
		query = append(query, "track=all")
	case 2:
		v.shape.HEVC, query = flv.HEVCLegacy, append(query, "hevc=legacy")
	case 3:
		v.shape.HEVC, query = flv.HEVCEnhanced, append(query, "hevc=enhanced")
	}
	v.query = "?" + strings.Join(query, "&")
	return v
}

// in settles the shape of what the viewer gets, where that is otherwise the form.
func (v *selection) in(form flv.Form) {
	v.shape.Form = form
	switch v.track {
	case "":
	case "all":
		v.shape.Form = flv.FormAsSent
	default:
		v.shape.Form = max(form, flv.FormSingle)
		v.shape.Track = v.track[0] - '0'
	}
}

// feed is what a viewer reads: its tags up to an error, io.EOF for a proper end.
type feed func() (flv.Tag, error)

// errRefused is a stream that is not there, or has no such track.
var errRefused = errors.New("refused")

// watch is one actor: it watches streams, one after the other.
func (w *soak) watch(rng *rand.Rand) {
	kinds := []struct {
		name string
		open func(context.Context, *selection) (feed, error)
	}{
		{"HTTP-FLV", w.openHTTP},
		{"HTTP-FLV, not chunked", w.openPlainHTTP},
		{"WebSocket-FLV", w.openSocket},
		{"RTMP, Enhanced", w.openRTMP},
	}
	for !w.over() {
		kind := kinds[rng.IntN(len(kinds))]
		v := w.selection(rng)
		v.naps = rng.IntN(3) == 0
		ctx, leave := context.WithCancel(w.ctx)
		next, err := kind.open(ctx, &v)
		switch {
		case err == nil:
			w.count("watch " + kind.name)
			w.judge(newChecker(w, v), kind.name, next, rng)
		case errors.Is(err, errRefused):
			w.count("session refused")
		case !w.over():
			w.fail("%s of %s%s: %v", kind.name, v.key, v.query, err)
		}
		leave()
	}
}

// judge reads some tags, or to the end.
func (w *soak) judge(c *checker, kind string, next feed, rng *rand.Rand) {
	for range rng.IntN(500) {
		if c.selection.naps && rng.IntN(40) == 0 {
			w.count("viewer naps")
			w.sleep(time.Duration(rng.IntN(1000)) * time.Millisecond)
		}
		t, err := next()
		if err != nil {
			err = c.end(err)
		} else if err = c.tag(t); err == nil {
			continue
		}
		if err != nil {
			w.fail("%s of %s%s, tag %d: %v", kind, c.selection.key, c.selection.query, c.tags, err)
		} else {
			w.count("viewer saw the end")
		}
		break
	}
	if c.tags > 0 {
		protocol, _, _ := strings.Cut(kind, ",")
		w.count(countedMedia + protocol)
	}
	w.tags.Add(int64(c.tags))
}

// dial opens a connection that is closed when ctx ends.
func (w *soak) dial(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err == nil {
		context.AfterFunc(ctx, func() { conn.Close() })
	}
	return conn, err
}

// dialFor is dial for a viewer.
func (w *soak) dialFor(ctx context.Context, v *selection, addr string) (net.Conn, error) {
	conn, err := w.dial(ctx, addr)
	if err == nil && v.naps {
		conn.(*net.TCPConn).SetReadBuffer(64 << 10)
	}
	return conn, err
}

func (w *soak) openHTTP(ctx context.Context, v *selection) (feed, error) {
	body, err := w.getHTTP(ctx, v, "")
	if err != nil {
		return nil, err
	}
	return (&strictFLV{r: body}).next, nil
}

func (w *soak) openPlainHTTP(ctx context.Context, v *selection) (feed, error) {
	body, err := w.getHTTP(ctx, v, "&chunked=0")
	if err != nil {
		return nil, err
	}
	return (&strictFLV{r: body.Reader}).next, nil
}

func (w *soak) getHTTP(ctx context.Context, v *selection, query string) (*httpBody, error) {
	v.fixed, v.scripts = true, v.track == "all"
	v.in(flv.FormBrowser)
	conn, err := w.dialFor(ctx, v, w.httpAddr)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(conn, "GET /%s.flv%s%s HTTP/1.1\r\nHost: soak\r\n\r\n", v.key, v.query, query)
	body := &httpBody{conn: bufio.NewReader(conn)}
	res, err := http.ReadResponse(body.conn, nil)
	if err != nil {
		return nil, err
	}
	body.Reader = res.Body
	switch {
	case res.StatusCode == http.StatusNotFound:
		return nil, errRefused
	case res.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("status %s", res.Status)
	case (len(res.TransferEncoding) == 0) != (query != ""):
		return nil, fmt.Errorf("transfer encoding %v", res.TransferEncoding)
	}
	return body, nil
}

func (w *soak) openSocket(ctx context.Context, v *selection) (feed, error) {
	v.fixed, v.scripts = true, v.track == "all"
	v.in(flv.FormBrowser)
	s, err := w.dialSocket(ctx, v)
	if err != nil {
		return nil, err
	}
	tags := strictFLV{r: s}
	return func() (flv.Tag, error) {
		t, err := tags.next()
		if err == nil {
			return t, nil
		}
		switch s.code {
		case 4404:
			return t, errors.Join(io.EOF, errRefused)
		case 1000, 1001:
			return t, err
		}
		return t, fmt.Errorf("closed with %d: %w", s.code, io.ErrUnexpectedEOF)
	}, nil
}

func (w *soak) openRTMP(ctx context.Context, v *selection) (feed, error) {
	v.scripts = true
	v.in(flv.FormAsSent)
	c := rtmp.Client{Dial: func(ctx context.Context, _, address string) (net.Conn, error) {
		return w.dialFor(context.WithoutCancel(ctx), v, address)
	}}
	p, err := c.Play(ctx, "rtmp://"+w.rtmpAddr+"/"+v.key+v.query)
	if _, refused := errors.AsType[*rtmp.StatusError](err); refused {
		return nil, errRefused
	}
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { p.Close() })
	return p.ReadTag, nil
}

// strictFLV reads tags, and minds what flv.Reader lets pass.
type strictFLV struct {
	r     io.Reader
	file  bool // it is a recording: a codec header need not be announced
	grows bool // nor what comes later
	begun bool
	has   [2]bool // audio, video, by the header
}

func (f *strictFLV) next() (flv.Tag, error) {
	if !f.begun {
		var head [flv.HeaderSize]byte
		if _, err := io.ReadFull(f.r, head[:]); err != nil {
			return flv.Tag{}, err
		}
		if string(head[:4]) != "FLV\x01" || head[4]&^5 != 0 || head[4] == 0 || string(head[5:]) != "\x00\x00\x00\x09\x00\x00\x00\x00" {
			return flv.Tag{}, fmt.Errorf("FLV header % x", head)
		}
		f.begun, f.has = true, [2]bool{head[4]&4 != 0, head[4]&1 != 0}
	}
	var head [11]byte
	if _, err := io.ReadFull(f.r, head[:]); err != nil {
		return flv.Tag{}, err
	}
	b := make([]byte, int(binary.BigEndian.Uint32(head[:])&0xffffff)+4)
	if _, err := io.ReadFull(f.r, b); err != nil {
		return flv.Tag{}, fmt.Errorf("in a tag: %v", err) // which is no proper end
	}
	body, back := b[:len(b)-4], b[len(b)-4:]
	t := flv.Tag{Type: flv.Type(head[0]), Timestamp: binary.BigEndian.Uint32(head[4:])>>8 | uint32(head[7])<<24, Data: body}
	switch {
	case head[8]|head[9]|head[10] != 0:
		return t, fmt.Errorf("FLV stream id in % x", head)
	case binary.BigEndian.Uint32(back) != uint32(t.Size()-4):
		return t, fmt.Errorf("previous tag size % x behind % x", back, head)
	case t.Type == flv.TypeAudio && !f.has[0], t.Type == flv.TypeVideo && !f.has[1]:
		if p, err := t.Packet(); f.grows || f.file && err == nil && p.Kind == flv.KindConfig {
			return t, nil
		}
		return t, fmt.Errorf("a %v tag that the header does not announce", t.Type)
	}
	return t, nil
}
