package relay

import (
	"crypto/tls"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/hub/tlsconn/tlstest"
	"sluice/rtmp/internal/chunk"
	"sluice/rtmp/internal/handshake"
)

// fake is a server of another kind, which does as a script says with each of its connections.
type fake struct {
	scheme, address string
	ran             sync.WaitGroup
}

// fakeConn is a connection to a fake, shaken hands on. Its methods return false, or nothing, when it has ended.
type fakeConn struct {
	net.Conn
	rd *chunk.Reader
	n  int // which connection it is, from 1
	// over is closed when the test is.
	over <-chan struct{}
}

// newFake serves until the test ends; raw leaves the handshake to the script.
func newFake(t testing.TB, raw bool, script func(c *fakeConn)) *fake {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return serveFake(t, l, raw, script)
}

// newFakeTLS is newFake over TLS.
func newFakeTLS(t testing.TB, script func(c *fakeConn)) *fake {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	f := serveFake(t, tls.NewListener(l, tlstest.Server()), false, script)
	f.scheme = "rtmps"
	return f
}

func serveFake(t testing.TB, l net.Listener, raw bool, script func(c *fakeConn)) *fake {
	f := &fake{scheme: "rtmp", address: l.Addr().String()}
	f.ran.Go(func() {
		for n := 1; ; n++ {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			stop := make(chan struct{})
			f.ran.Go(func() { // closes what a script leaves open
				select {
				case <-t.Context().Done():
				case <-stop:
				}
				nc.Close()
			})
			f.ran.Go(func() {
				defer close(stop)
				c := &fakeConn{Conn: nc, n: n, over: t.Context().Done()}
				if !raw {
					if _, err := handshake.Server(nc); err != nil {
						return
					}
				}
				c.rd = chunk.NewReader(nc, chunk.Limits{})
				script(c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		f.ran.Wait()
	})
	return f
}

func (f *fake) url(name string) string { return f.scheme + "://" + f.address + "/live/" + name }

// next returns the next command with this name: its transaction, and what follows that.
func (c *fakeConn) next(name string) (txn float64, args []any, ok bool) {
	for {
		m, err := c.rd.Read()
		if err != nil {
			return 0, nil, false
		}
		if m.Type != 20 {
			continue
		}
		values, err := amf.DecodeAll(m.Payload, amf.Limits{})
		if err == nil && len(values) > 2 && values[0] == name {
			txn, _ := values[1].(float64)
			return txn, values[2:], true
		}
	}
}

// rest reads what comes until the connection ends.
func (c *fakeConn) rest() {
	for {
		if _, err := c.rd.Read(); err != nil {
			return
		}
	}
}

// message writes a message.
func (c *fakeConn) message(typ uint8, stream, timestamp uint32, payload []byte) {
	c.Write(chunk.AppendMessage(nil, chunk.DefaultSize, chunk.Message{
		Type: typ, ChunkStream: 5, StreamID: stream, Timestamp: timestamp, Payload: payload,
	}))
}

// say writes a command.
func (c *fakeConn) say(stream uint32, values ...any) {
	c.message(20, stream, 0, amf.AppendAMF0(nil, values...))
}

// status writes an onStatus.
func (c *fakeConn) status(stream uint32, level, code, description string, more ...amf.Property) {
	c.say(stream, "onStatus", 0.0, nil, statusObject(level, code, description, more...))
}

func statusObject(level, code, description string, more ...amf.Property) amf.Object {
	return append(amf.Object{
		{Name: "level", Value: level}, {Name: "code", Value: code}, {Name: "description", Value: description},
	}, more...)
}

// connect answers connect with further properties, and returns its object.
func (c *fakeConn) connect(more ...amf.Property) (amf.Object, bool) {
	txn, args, ok := c.next("connect")
	if !ok {
		return nil, false
	}
	object, _ := args[0].(amf.Object)
	c.say(0, "_result", txn, append(amf.Object{{Name: "fmsVer", Value: "FMS/3,0,1,123"}}, more...),
		statusObject("status", "NetConnection.Connect.Success", "yes"))
	return object, true
}

// refuseConnect answers connect with an _error, and returns its object.
func (c *fakeConn) refuseConnect(code, description string, more ...amf.Property) (amf.Object, bool) {
	txn, args, ok := c.next("connect")
	if !ok {
		return nil, false
	}
	object, _ := args[0].(amf.Object)
	c.say(0, "_error", txn, nil, statusObject("error", code, description, more...))
	return object, true
}

// begin answers connect, createStream and play or publish, and returns the name that was asked for.
func (c *fakeConn) begin(command string, more ...amf.Property) (name string, ok bool) {
	if name, ok = c.ask(command, more...); !ok {
		return "", false
	}
	code := "NetStream.Play.Start"
	if command == "publish" {
		code = "NetStream.Publish.Start"
	}
	c.status(1, "status", code, "")
	return name, true
}

// ask is begin without the answer to the last.
func (c *fakeConn) ask(command string, more ...amf.Property) (name string, ok bool) {
	if _, ok = c.connect(more...); !ok {
		return "", false
	}
	txn, _, ok := c.next("createStream")
	if !ok {
		return "", false
	}
	c.say(0, "_result", txn, nil, 1.0)
	_, args, ok := c.next(command)
	if !ok || len(args) < 2 {
		return "", false
	}
	name, _ = args[1].(string)
	return name, true
}

// tag writes a tag.
func (c *fakeConn) tag(t flv.Tag) { c.message(uint8(t.Type), 1, t.Timestamp, t.Data) }

// redirectTo is the property that sends a client elsewhere.
func redirectTo(field, url string) amf.Property {
	return amf.Property{Name: "ex", Value: amf.Object{{Name: "code", Value: 302.0}, {Name: field, Value: url}}}
}
