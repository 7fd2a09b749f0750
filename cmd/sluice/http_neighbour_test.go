package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/rtmp"
)

// numbered is the nth frame of a stream of H.264 whose key frames are 50 apart.
func numbered(n uint32) flv.Tag {
	kind := byte(0x27)
	if n%50 == 0 {
		kind = 0x17
	}
	body := binary.BigEndian.AppendUint32([]byte{kind, 1, 0, 0, 0}, n)
	return flv.Tag{Type: flv.TypeVideo, Timestamp: 20 * n, Data: append(body, make([]byte, 500)...)}
}

// neighbours publishes live/neighbour and watches it over everything until end is
// called. None of them must have missed a frame by then.
func neighbours(t *testing.T, s servedStream) (end func()) {
	s.key = "live/neighbour"
	var c rtmp.Client
	p, err := c.Publish(t.Context(), "rtmp://"+s.publish+"/"+s.key)
	require.NoError(t, err)
	var last atomic.Uint32
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		header := flv.Tag{Type: flv.TypeVideo, Data: []byte{0x17, 0, 0, 0, 0, 1, 0x64, 0, 0x1f}}
		if !assert.NoError(t, p.WriteTag(header)) {
			return
		}
		for n := uint32(0); ; n++ {
			if !assert.NoError(t, p.WriteTag(numbered(n))) {
				return
			}
			last.Store(n)
			select {
			case <-stop:
				assert.NoError(t, p.Close())
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	var viewers, begun sync.WaitGroup
	for name, open := range map[string]func(context.Context) (tagSource, error){
		"RTMP": s.openRTMP, "HTTP-FLV": s.openHTTP, "WebSocket-FLV": s.openWebSocket,
	} {
		begun.Add(1)
		viewers.Go(func() {
			begun := sync.OnceFunc(begun.Done)
			defer begun()
			source, err := open(t.Context())
			if !assert.NoError(t, err, name) {
				return
			}
			defer source.close()
			end, err := watchNumbers(source, begun)
			assert.NoError(t, err, name)
			assert.Equal(t, last.Load(), end, name)
		})
	}
	begun.Wait()
	return func() {
		close(stop)
		<-stopped
		viewers.Wait()
		t.Logf("%d frames at each neighbour", last.Load()+1)
	}
}

// watchNumbers reads frames to the end of the stream and returns the number of the
// last; each has to follow the one before it.
func watchNumbers(s tagSource, begun func()) (last uint32, err error) {
	for first := true; ; {
		tag, err := s.next()
		if errors.Is(err, io.EOF) && !first {
			return last, nil
		}
		if err != nil {
			return last, fmt.Errorf("after frame %d: %w", last, err)
		}
		if tag.Type != flv.TypeVideo || len(tag.Data) < 9 || tag.Data[1] != 1 {
			continue
		}
		n := binary.BigEndian.Uint32(tag.Data[5:])
		if !first && n != last+1 {
			return last, fmt.Errorf("frame %d after %d", n, last)
		}
		last, first = n, false
		begun()
	}
}
