package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// floorWarmup is how long the null server runs with all viewers before it is
// measured.
const floorWarmup = time.Second

// floorRound is what one comparison gave, in cores.
type floorRound struct {
	Server float64 `json:"server_cpu_cores"`
	Floor  float64 `json:"floor_cpu_cores"`
	Ratio  float64 `json:"ratio"`
	// Others is what programs that have nothing to do with it used meanwhile, in the
	// worse half of the round: they cost both servers caches and turns.
	Others float64 `json:"others_cpu_cores"`
}

// floor measures a null server with as many viewers, at the given rate in bytes a
// second for each of them, and reports it beside the server's window.
func (b *bench) floor(ctx context.Context, w *window, rate float64) error {
	child, err := startNull(ctx, b.o, rate)
	if err != nil {
		return fmt.Errorf("null server: %w", err)
	}
	defer child.close()
	o := *b.o
	o.watch = nil
	for _, w := range b.o.watch { // in the same mix
		w.target = target{pattern: "http://" + child.address + "/floor.flv", protocol: httpFLV}.encrypted(w.secure)
		o.watch = append(o.watch, w)
	}
	o.check = 0
	c := newCrowd(&o, nil, nil)
	defer c.leave()
	b.p.set("the floor: joining", c.status)
	c.join(ctx)
	sleepUntil(ctx, time.Now().Add(floorWarmup))
	b.p.set("the floor: measuring", c.status)
	pids := []int{child.cmd.Process.Pid}
	from, toolFrom, err := processes{pids: pids}.look()
	if err != nil {
		return err
	}
	c.begin(o.duration)
	sleepUntil(ctx, time.Now().Add(o.duration))
	to, toolTo, err := processes{pids: pids}.look()
	if err != nil {
		return fmt.Errorf("null server: %w", err)
	}
	c.finish(ctx.Err() != nil)
	c.leave()
	if ctx.Err() != nil {
		return nil
	}
	round := floorRound{
		Server: cores(w.server[0], w.server[1]), Floor: cores(from, to),
		Others: max(othersCores(w.server, w.tool), othersCores([2]usage{from, to}, [2]usage{toolFrom, toolTo})),
	}
	if round.Floor > 0 {
		round.Ratio = round.Server / round.Floor
	}
	b.r.floorRound(round, c)
	return nil
}

// nullServer is this program as a null server, in a process of its own.
type nullServer struct {
	cmd     *exec.Cmd
	stdin   io.Closer
	address string
}

// startNull starts a null server; close it. It also ends with this process.
func startNull(ctx context.Context, o *options, rate float64) (*nullServer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "bench", "-null", "-until-eof", "-listen", "127.0.0.1:0",
		"-interval", o.interval.String(), "-bitrate", strconv.FormatFloat(rate*8, 'f', 0, 64), "-nodelay="+strconv.FormatBool(o.noDelay))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &nullServer{cmd: cmd, stdin: stdin}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		s.close()
		return nil, fmt.Errorf("it told no address: %w", err)
	}
	s.address = strings.TrimSpace(line)
	return s, nil
}

// nullGrace is how long a null server may take to end.
const nullGrace = 5 * time.Second

// close ends it and waits.
func (s *nullServer) close() {
	s.stdin.Close()
	kill := time.AfterFunc(nullGrace, func() { s.cmd.Process.Kill() })
	defer kill.Stop()
	s.cmd.Wait()
}
