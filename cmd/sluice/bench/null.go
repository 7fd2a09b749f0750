package bench

import (
	"bufio"
	"context"
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
// every connection, at an interval.

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
		greeting.Go(func() { pumps.greet(conn, cfg.noDelay) })
	}
}

// greet reads a request, if there is one, and hands the connection to a pump.
func (p *pumps) greet(conn net.Conn, noDelay bool) {
	conn.(*net.TCPConn).SetNoDelay(noDelay)
	conn.SetDeadline(time.Now().Add(nullRequestWait))
	for in := bufio.NewReaderSize(conn, 512); ; {
		line, err := in.ReadSlice('\n')
		if isTimeout(err) {
			break
		}
		if err != nil {
			conn.Close()
			return
		}
		if len(line) > len("\r\n") {
			continue
		}
		if _, err := io.WriteString(conn, nullHead); err != nil {
			conn.Close()
			return
		}
		break
	}
	p.add(conn)
}
