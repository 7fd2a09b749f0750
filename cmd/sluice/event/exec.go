package event

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Bounds of an Exec.
const (
	execWorkers = 4                // programs at a time
	execTimeout = 30 * time.Second // for one of them; then it is killed with its children
	execWait    = time.Second      // for children that hold its output, once it has ended
	maxOutput   = 4 << 10          // bytes that go to the log, at debug level
)

// ExecFiles is how many files programs have open at the most: each has two pipes and a descriptor
// of its process, and while it is started the other ends and a third pipe.
const ExecFiles = execWorkers * (2*2 + 1 + 2)

// Exec says which program is run for each event, for those of a stream one after the other, up to
// four at a time. It gets the event as JSON on its standard input, and these variables, nothing
// else of this process: EVENT_TYPE, EVENT_STREAM, EVENT_ID and a PATH of the system's folders. It
// runs without a shell, in the root folder, for 30 s at the most. An event is not told again
// because its program has failed, but for one that could not be started.
type Exec struct {
	Program string // an absolute path
	Args    []string
}

// execPath is the PATH of the programs: so a script finds what every system has.
const execPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// program is an Exec at work.
type program struct {
	Exec
	timeout time.Duration
	log     *slog.Logger
}

func newProgram(cfg Exec, log *slog.Logger) (*program, error) {
	if !filepath.IsAbs(cfg.Program) {
		return nil, errors.New("the path of the program is not absolute")
	}
	info, err := os.Stat(cfg.Program)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, fmt.Errorf("%s is a folder", cfg.Program)
	}
	if _, err := exec.LookPath(cfg.Program); err != nil {
		return nil, fmt.Errorf("%s is not executable", cfg.Program)
	}
	return &program{cfg, execTimeout, log.With("program", cfg.Program)}, nil
}

// deliver runs the program once.
func (p *program) deliver(ctx context.Context, e *Event) error {
	input, err := json.Marshal(e)
	if err != nil {
		return &failure{err: err, told: true}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, p.timeout, fmt.Errorf("killed after %s", p.timeout))
	defer cancel()
	var out output
	cmd := exec.CommandContext(ctx, p.Program, p.Args...)
	cmd.Dir = string(filepath.Separator)
	cmd.Env = []string{"PATH=" + execPath, "EVENT_TYPE=" + string(e.Type), "EVENT_STREAM=" + e.Stream, "EVENT_ID=" + e.ID}
	cmd.Stdin = bytes.NewReader(append(input, '\n'))
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = execWait
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("not started: %w", err)
	}
	err = cmd.Wait()
	if errors.Is(err, exec.ErrWaitDelay) {
		killGroup(cmd) // children that hold its output
		err = nil
	}
	p.log.Debug("program for an event has run", "event", e.ID, "type", e.Type, "error", err, "output", out.String())
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return &failure{err: context.Cause(ctx), told: true}
	}
	return &failure{err: err, told: true}
}

// output keeps the beginning of what a program prints. One goroutine writes.
type output struct{ kept []byte }

// Write takes everything.
func (o *output) Write(b []byte) (int, error) {
	o.kept = append(o.kept, b[:min(len(b), maxOutput-len(o.kept))]...)
	return len(b), nil
}

func (o *output) String() string { return strings.ToValidUTF8(string(o.kept), "\uFFFD") }
