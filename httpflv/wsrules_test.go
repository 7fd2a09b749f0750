package httpflv

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/hub/fanout"
)

// appendHead appends the head of a masked frame whose payload is that long, in the
// long form.
func appendHead64(dst []byte, first byte, size uint64) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, first, 0x80|127), size)
	return append(dst, 1, 2, 3, 0xff)
}

// Who breaks a rule is told which, and nothing comes after it.
func TestClientBreaksRules(t *testing.T) {
	type broken struct {
		frames []byte
		code   int
	}
	rules := map[string]broken{
		"unmasked":             {appendFrame(nil, 0x80|opText, false, "hi"), 1002},
		"unmasked ping":        {appendFrame(nil, 0x80|opPing, false, "hi"), 1002},
		"unmasked close":       {appendFrame(nil, 0x80|opClose, false, closePayload(1000, "")), 1002},
		"unmasked, giant":      {append([]byte{0x80 | opText, 127}, "\x00\x00\x00\x7f\xff\xff\xff\xff"...), 1002},
		"RSV1":                 {appendFrame(nil, 0xc0|opText, true, "hi"), 1002},
		"RSV2":                 {appendFrame(nil, 0xa0|opBinary, true, "hi"), 1002},
		"RSV3 in a ping":       {appendFrame(nil, 0x90|opPing, true, "hi"), 1002},
		"long ping":            {appendFrame(nil, 0x80|opPing, true, strings.Repeat("p", 126)), 1002},
		"giant ping":           {appendHead64(nil, 0x80|opPing, 1<<40), 1002},
		"fragmented ping":      {appendFrame(nil, opPing, true, "p"), 1002},
		"fragmented close":     {appendFrame(nil, opClose, true, closePayload(1000, "")), 1002},
		"continues nothing":    {appendFrame(nil, 0x80|opContinuation, true, "p"), 1002},
		"begins a second":      {slices.Concat(appendFrame(nil, opText, true, "one"), appendFrame(nil, 0x80|opText, true, "two")), 1002},
		"length of 64 bits":    {appendHead64(nil, 0x80|opBinary, 1<<63), 1002},
		"all bits of a length": {appendHead64(nil, 0x80|opBinary, 1<<64-1), 1002},
		"close code of a byte": {appendFrame(nil, 0x80|opClose, true, "x"), 1002},
		"close in no UTF-8":    {appendFrame(nil, 0x80|opClose, true, closePayload(1000, "bye \xff")), 1007},
		"too long":             {appendFrame(nil, 0x80|opBinary, true, strings.Repeat("x", maxClientMessage+1)), 1009},
		"far too long":         {appendFrame(nil, 0x80|opText, true, strings.Repeat("x", 300_000)), 1009},
		"too long in fragments": {slices.Concat(
			appendFrame(nil, opText, true, strings.Repeat("x", 3000)),
			appendFrame(nil, 0x80|opContinuation, true, strings.Repeat("x", 3000))), 1009},
		"giant": {append(appendHead64(nil, 0x80|opBinary, 1<<62), make([]byte, maxClientMessage+1)...), 1009},
	}
	for _, opcode := range []byte{3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf} {
		rules[fmt.Sprint("opcode ", opcode)] = broken{appendFrame(nil, 0x80|opcode, true, "hi"), 1002}
	}
	for _, code := range []int{0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535} {
		rules[fmt.Sprint("close code ", code)] = broken{appendFrame(nil, 0x80|opClose, true, closePayload(code, "")), 1002}
	}
	for name, tt := range rules {
		t.Run(name, func(t *testing.T) {
			h := newRig(t)
			c, _ := watching(t, h)
			_, err := c.Write(tt.frames)
			require.NoError(t, err)
			_, err = io.Copy(io.Discard, c)
			require.NoError(t, err)
			assert.Equal(t, tt.code, c.code, c.reason)
			assert.NotEmpty(t, c.reason)
			c.send(opClose, closePayload(tt.code, ""))
			c.expectNothing()
			h.Wait()
			h.waitViewers(0)
			h.log.wait(t, "session ends", `reason="protocol error"`)
		})
	}
}

// Who says too much is told so, takes no memory meanwhile, and disturbs nobody.
func TestClientFloods(t *testing.T) {
	for name, frame := range map[string][]byte{
		"pings":          appendFrame(nil, 0x80|opPing, true, strings.Repeat("p", 125)),
		"empty pings":    appendFrame(nil, 0x80|opPing, true, ""),
		"pongs":          appendFrame(nil, 0x80|opPong, true, "unasked"),
		"messages":       appendFrame(nil, 0x80|opBinary, true, strings.Repeat("x", maxClientMessage)),
		"empty messages": appendFrame(nil, 0x80|opText, true, ""),
	} {
		for _, reads := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, reads %v", name, reads), func(t *testing.T) {
				h := newRig(t)
				s := h.publish()
				s.send(start)
				neighbour := newTape(t, h.dialWS("/live/demo.flv"))
				neighbour.expect(started)
				c := h.dialWS("/live/demo.flv")
				h.waitViewers(2)
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					if reads {
						io.Copy(io.Discard, c)
					}
				}()
				flood, sent := slices.Repeat(frame, 1+16<<10/len(frame)), 0
				for err := error(nil); err == nil; {
					var n int
					n, err = c.Conn.Write(flood)
					sent += n
				}
				h.log.wait(t, "session ends", "protocol=ws-flv", `reason="protocol error"`)
				<-ended
				// 12 MB may wait in sockets.
				assert.Less(t, sent, closeBurst+12<<20, "it is not read for as long as it may take to leave")
				if reads && c.code != 1006 { // a reset overtakes what it has not read
					assert.Equal(t, "1008 the client says too much", fmt.Sprint(c.code, " ", c.reason))
				}
				assert.LessOrEqual(t, len(c.pongs), clientBurst/frameCost)
				h.waitViewers(1)
				for i := range 50 {
					s.send(fmt.Sprintf("P:%d@%d", i, 5080+i*40))
					neighbour.expect(fmt.Sprintf("P:%d@%d", i, 80+i*40))
				}
				s.Close()
			})
		}
	}
}

// A message that never ends, in fragments of nothing, is bounded as well.
func TestEndlessFragments(t *testing.T) {
	h := newRig(t)
	c, _ := watching(t, h)
	_, err := c.Write(append(appendFrame(nil, opText, true, ""),
		slices.Repeat(appendFrame(nil, opContinuation, true, ""), 2*clientBurst/frameCost)...))
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, c)
	require.NoError(t, err)
	assert.Equal(t, 1008, c.code, c.reason)
}

// A declared length takes no memory.
func TestGiantFramesTakeNoMemory(t *testing.T) {
	h := newRig(t)
	s := h.publish()
	s.send(start)
	const clients = 50
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var all []*wsClient
	for range clients {
		c := h.dialWS("/live/demo.flv")
		_, err := c.Write(append(appendHead64(nil, 0x80|opBinary, 1<<40), make([]byte, 100)...))
		require.NoError(t, err)
		all = append(all, c)
	}
	h.waitViewers(clients)
	require.Eventually(t, func() bool { return waiters() == 2*clients }, 10*time.Second, time.Millisecond)
	runtime.GC()
	runtime.ReadMemStats(&after)
	assert.Less(t, int64(after.HeapInuse)-int64(before.HeapInuse), int64(clients*100<<10))
	for _, c := range all {
		c.Close()
	}
	h.waitViewers(0)
}

// A client that sends its end but goes on reading has left: without a close frame
// there is nothing to answer.
func TestHalfClosedClient(t *testing.T) {
	for _, said := range []string{"", string(appendFrame(nil, 0x80|opPing, true, "p")), "\x82", string(appendFrame(nil, opText, true, "hi"))} {
		h := newRig(t)
		c, _ := watching(t, h)
		_, err := io.WriteString(c.Conn, said)
		require.NoError(t, err)
		require.NoError(t, c.Conn.(interface{ CloseWrite() error }).CloseWrite())
		_, err = io.Copy(io.Discard, c)
		assert.NoError(t, err)
		assert.Equal(t, 1006, c.code)
		h.Wait()
		h.log.wait(t, "session ends", `reason="client left"`)
	}
}

// bubble serves a stream in memory, where time does not pass by itself. The functions
// return a client that watches, and end everything.
func bubble(t *testing.T) (dial func() *wsClient, end func()) {
	h := &Handler{Hub: hub.New(hub.Config{}), Pool: fanout.New(fanout.Config{})}
	(&rig{t: t, hub: h.Hub, Handler: h}).publish().send(start)
	l := onceListener{conn: make(chan net.Conn)}
	srv := &http.Server{Handler: h}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	dial = func() *wsClient {
		near, far := net.Pipe()
		l.conn <- near
		_, err := io.WriteString(far, upgradeRequest("/live/demo.flv", ""))
		require.NoError(t, err)
		c := openWS(t, far)
		newTape(t, c).expect(started)
		return c
	}
	return dial, func() {
		assert.NoError(t, h.Hub.Shutdown(t.Context()))
		h.Pool.Close()
		h.Wait()
		close(l.conn)
		<-served
	}
}

// A frame has to come to its end in time, whatever it is and wherever it stops.
func TestSlowFrames(t *testing.T) {
	whole := map[string][]byte{
		"text":    appendFrame(nil, 0x80|opText, true, strings.Repeat("x", 200)),
		"ping":    appendFrame(nil, 0x80|opPing, true, "there?"),
		"close":   appendFrame(nil, 0x80|opClose, true, closePayload(1000, "bye")),
		"giant":   appendHead64(nil, 0x80|opBinary, 1<<40),
		"message": append(appendFrame(nil, opText, true, "one "), appendFrame(nil, 0x80|opContinuation, true, "two")[:7]...),
	}
	for name, frame := range whole {
		for _, step := range []time.Duration{0, 700 * time.Millisecond} { // all at once but the end; bytewise
			t.Run(fmt.Sprint(name, " ", step), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					dial, end := bubble(t)
					c := dial()
					time.Sleep(time.Hour) // who says nothing may do so for ever
					began := time.Now()
					written := make(chan struct{})
					go func() {
						defer close(written)
						if step == 0 {
							c.Write(frame[:min(len(frame)-1, 16)])
							return
						}
						for _, b := range frame {
							if _, err := c.Write([]byte{b}); err != nil {
								return
							}
							time.Sleep(step)
						}
					}()
					_, err := io.Copy(io.Discard, c)
					require.NoError(t, err)
					assert.Equal(t, "1008 a frame took too long to come", fmt.Sprint(c.code, " ", c.reason))
					assert.InDelta(t, frameTimeout.Seconds(), time.Since(began).Seconds(), 0.8)
					c.expectNothing() // though it does not answer
					assert.LessOrEqual(t, time.Since(began), frameTimeout+closeWait+echoWait+time.Second)
					<-written
					end()
				})
			})
		}
	}
}

// Frames that come slowly, but in time, and pings for as long as one likes, are fine.
func TestPatientClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial, end := bubble(t)
		c := dial()
		for i := range 2000 {
			payload := strings.Repeat("p", 125)
			frame := appendFrame(nil, 0x80|opPing, true, payload)
			_, err := c.Write(frame[:i%len(frame)])
			require.NoError(t, err)
			time.Sleep(time.Second)
			_, err = c.Write(frame[i%len(frame):])
			require.NoError(t, err)
			opcode, got, err := c.frame()
			require.NoError(t, err)
			require.EqualValues(t, opPong, opcode)
			require.Equal(t, payload, string(got))
		}
		c.Close()
		end()
	})
}
