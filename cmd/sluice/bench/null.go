package bench

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"time"
)

// The null server is the floor that servers are measured against: it frames
// nothing, keeps nothing and decides nothing, and only writes prepared bytes to
// every connection, at an interval. To a client that begins with TLS it writes them encrypted,
// which is all that is done for each connection by itself.

// nullConfig is how a null server works.
type nullConfig struct {
	listen   string
	interval time.Duration // between two writes to a connection
	bitrate  float64       // of each connection, bits per second
	noDelay  bool          // TCP_NODELAY
	untilEOF bool          // ends with standard input
}

// nullHead is the head of its answer to an HTTP request.
const nullHead = "HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"

// Bounds of the null server.
const (
	nullRequestWait = 2 * time.Second // for a request; a client that sends none gets bytes all the same
	maxNullWrite    = 4 << 20         // bytes a pass and connection

	handshakeRecord = 22 // ContentType of the first record of TLS (RFC 8446 §5.1)
)

// runNull runs a null server until ctx ends. It prints its address first.
func runNull(ctx context.Context, cfg nullConfig, stdout io.Writer) error {
	size := int(cfg.bitrate / 8 * cfg.interval.Seconds())
	if size < 1 || size > maxNullWrite {
		return fmt.Errorf("-bitrate and -interval make writes of %d bytes: must be from 1 to %d", size, maxNullWrite)
	}
	pumps, err := newPumps(runtime.GOMAXPROCS(0), cfg.interval, size)
	if err != nil {
		return err
	}
	defer pumps.close()
	pair, err := selfSigned()
	if err != nil {
		return fmt.Errorf("making a certificate: %w", err)
	}
	// Records as long as they can be, whatever the connection has sent: no other way is cheaper.
	encryption := &tls.Config{Certificates: []tls.Certificate{pair}, DynamicRecordSizingDisabled: true}
	l, err := net.Listen("tcp", cfg.listen)
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, l.Addr())
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if cfg.untilEOF {
		go func() {
			io.Copy(io.Discard, os.Stdin)
			cancel()
		}()
	}
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var greeting sync.WaitGroup
	defer greeting.Wait()
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			time.Sleep(time.Millisecond) // out of descriptors, mostly: some may be given back
			continue
		}
		conn.(*net.TCPConn).SetNoDelay(cfg.noDelay)
		greeting.Go(func() { pumps.greet(conn, encryption) })
	}
}

// nullClient is a connection to a null server.
type nullClient struct {
	net.Conn                // its bytes
	in        *bufio.Reader // of Conn
	out       *[]byte       // takes what is written in place of Conn, if set
	encrypted *tls.Conn     // over this, nil where nothing is
}

func (c *nullClient) Read(p []byte) (int, error) { return c.in.Read(p) }

func (c *nullClient) Write(p []byte) (int, error) {
	if c.out != nil {
		*c.out = append(*c.out, p...)
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// nullBuffer is for a request, or what begins a handshake.
const nullBuffer = 512

// greet shakes hands if the client encrypts, reads a request, if there is one, and hands the
// connection to a pump.
func (p *pumps) greet(conn net.Conn, encryption *tls.Config) {
	conn.SetDeadline(time.Now().Add(nullRequestWait))
	c := &nullClient{Conn: conn, in: bufio.NewReaderSize(conn, nullBuffer)}
	var plain io.ReadWriter = c
	if first, err := c.in.Peek(1); err == nil && first[0] == handshakeRecord {
		c.encrypted = tls.Server(c, encryption)
		plain = c.encrypted
	}
	err := answer(plain)
	if err != nil && !isTimeout(err) || c.encrypted != nil && !c.encrypted.ConnectionState().HandshakeComplete {
		conn.Close()
		return
	}
	p.add(c)
}

// answer reads a request and answers it.
func answer(conn io.ReadWriter) error {
	for in := bufio.NewReaderSize(conn, nullBuffer); ; {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) > len("\r\n") {
			continue
		}
		_, err = io.WriteString(conn, nullHead)
		return err
	}
}
