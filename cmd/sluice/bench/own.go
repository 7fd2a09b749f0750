package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// ownServer is a server that the bench has started for itself, on ports of loopback that the
// system has chosen.
type ownServer struct {
	cmd     *exec.Cmd
	hosts   hosts
	metrics string // HOST:PORT, if it was told to have one
	reading sync.WaitGroup
	engine  engineState
	killed  bool
}

// engineState is what a node of a cluster has said of its engine.
type engineState struct {
	leader atomic.Pointer[string] // the node that decides on records; nil if nobody does
	whole  atomic.Bool            // it has all records
}

// line takes what a line of the log says about that.
func (e *engineState) line(message, leader string) {
	switch message {
	case "cluster: records can be written":
		e.leader.Store(&leader)
	case "cluster: records cannot be written":
		e.leader.Store(nil)
	case "cluster: this node has all records":
		e.whole.Store(true)
	}
}

// Times of a server of one's own.
const (
	ownStart = 30 * time.Second // it may have to finish recordings first
	ownGrace = 30 * time.Second // from when it is asked to end
)

// ownConfig is what a server of one's own is to do.
type ownConfig struct {
	records     string            // the folder that it records into; nothing is recorded if empty
	certificate *certificateFiles // with which it listens for https and rtmps as well; nil: it does not
	vars        []string          // further variables, NAME=VALUE each
}

// env returns the variables that say so.
func (c ownConfig) env() []string {
	env := []string{"SLUICE_RTMP_ADDR=127.0.0.1:0", "SLUICE_HTTP_ADDR=127.0.0.1:0", "SLUICE_LOG_FORMAT=json", "SLUICE_RECORD_DIR=" + c.records}
	if c.certificate != nil {
		env = append(env, "SLUICE_RTMPS_ADDR=127.0.0.1:0", "SLUICE_HTTPS_ADDR=127.0.0.1:0",
			"SLUICE_TLS_CERT="+c.certificate.cert, "SLUICE_TLS_KEY="+c.certificate.key)
	}
	return append(env, c.vars...)
}

// startOwn starts a server; close it. It is this program, with the variables of this process
// but for those of cfg. It ends with ctx as well.
func startOwn(ctx context.Context, cfg ownConfig) (*ownServer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), cfg.env()...)
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
	for said := false; ; {
		line, err := in.ReadBytes('\n')
		if err != nil {
			if !said {
				ready <- false
			}
			return
		}
		var told struct {
			Message string `json:"msg"`
			Leader  string `json:"leader"`
			RTMP    string `json:"rtmp_addr"`
			HTTP    string `json:"http_addr"`
			RTMPS   string `json:"rtmps_addr"`
			HTTPS   string `json:"https_addr"`
			Metrics string `json:"metrics_addr"`
		}
		if said && !bytes.Contains(line, []byte(`"cluster: `)) || json.Unmarshal(line, &told) != nil {
			continue
		}
		s.engine.line(told.Message, told.Leader)
		if told.Message == "ready" && !said {
			s.hosts = hosts{rtmp: [2]string{told.RTMP, told.RTMPS}, http: [2]string{told.HTTP, told.HTTPS}}
			s.metrics, said = told.Metrics, true
			ready <- true
		}
	}
}

// kill ends the server as a machine that breaks does, and waits.
func (s *ownServer) kill() {
	s.killed = true
	s.cmd.Process.Kill()
	s.reading.Wait()
	s.cmd.Wait()
}

// close has the server end and waits for it.
func (s *ownServer) close() error {
	if s.killed {
		return nil
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(ownGrace, func() { s.cmd.Process.Kill() })
	defer kill.Stop()
	s.reading.Wait() // Wait would close what is read
	if err := s.cmd.Wait(); err != nil {
		return fmt.Errorf("the server that was started: %w", err)
	}
	return nil
}

// hosts are the HOST:PORT of a server's listeners: plain ones and encrypted ones.
type hosts struct{ rtmp, http [2]string }

// of returns a URL with that of the server in place of its host and port.
func (h *hosts) of(t target) target {
	of := h.http
	if t.protocol == rtmpPlay {
		of = h.rtmp
	}
	return t.withHost(of[index(t.secure)])
}

// at returns options whose URLs lead to a server.
func (o *options) at(h *hosts) *options {
	moved := *o
	moved.publish, moved.watch = h.of(o.publish), nil
	for _, w := range o.watch {
		w.target = h.of(w.target)
		moved.watch = append(moved.watch, w)
	}
	return &moved
}

// secures reports whether one of the URLs is encrypted.
func (o *options) secures() bool {
	return o.publish.secure || slices.ContainsFunc(o.watch, func(w watched) bool { return w.secure })
}
