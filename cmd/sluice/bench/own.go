package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// ownServer is a server that the bench has started for itself, on ports of loopback that the
// system has chosen.
type ownServer struct {
	cmd        *exec.Cmd
	rtmp, http string // HOST:PORT
	reading    sync.WaitGroup
}

// Times of a server of one's own.
const (
	ownStart = 30 * time.Second // it may have to finish recordings first
	ownGrace = 30 * time.Second // from when it is asked to end
)

// startOwn starts a server that records into a folder, or nothing where that is empty; close it.
// It is this program, with the variables of this process otherwise. It ends with ctx as well.
func startOwn(ctx context.Context, records string) (*ownServer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), "SLUICE_RTMP_ADDR=127.0.0.1:0", "SLUICE_HTTP_ADDR=127.0.0.1:0",
		"SLUICE_LOG_FORMAT=json", "SLUICE_RECORD_DIR="+records)
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = ownGrace
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &ownServer{cmd: cmd}
	ready := make(chan bool, 1)
	s.reading.Go(func() { s.read(stdout, ready) })
	timeout := time.NewTimer(ownStart)
	defer timeout.Stop()
	select {
	case ok := <-ready:
		if ok {
			return s, nil
		}
		err = errors.New("it told no addresses")
	case <-timeout.C:
		err = errors.New("it is not ready in time")
	case <-ctx.Done():
		err = ctx.Err()
	}
	return nil, errors.Join(err, s.close())
}

// read reads the server's log: the line that tells its addresses, and all that follows.
func (s *ownServer) read(log io.Reader, ready chan<- bool) {
	in := bufio.NewReader(log)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			ready <- false
			return
		}
		var said struct {
			Message string `json:"msg"`
			RTMP    string `json:"rtmp_addr"`
			HTTP    string `json:"http_addr"`
		}
		if json.Unmarshal(line, &said) == nil && said.Message == "ready" {
			s.rtmp, s.http = said.RTMP, said.HTTP
			ready <- true
			break
		}
	}
	io.Copy(io.Discard, in)
}

// close has the server end and waits for it.
func (s *ownServer) close() error {
	s.cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(ownGrace, func() { s.cmd.Process.Kill() })
	defer kill.Stop()
	s.reading.Wait() // Wait would close what is read
	if err := s.cmd.Wait(); err != nil {
		return fmt.Errorf("the server that was started: %w", err)
	}
	return nil
}

// of returns a URL with the server's address in place of its host and port.
func (s *ownServer) of(t target) target {
	scheme, rest, _ := strings.Cut(t.pattern, "://")
	_, path, _ := strings.Cut(rest, "/")
	host := s.http
	if t.protocol == rtmpPlay {
		host = s.rtmp
	}
	t.pattern = scheme + "://" + host + "/" + path
	return t
}
