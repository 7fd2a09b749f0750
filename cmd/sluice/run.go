package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"sluice/hub/relay"
)

// Exit codes, as helpText explains them.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// drainTimeout bounds how long viewers and publishers get to end properly after
// the first signal and SLUICE_DRAIN_DELAY.
const drainTimeout = 10 * time.Second

// run is the program: it reads arguments and environment, serves until ctx ends,
// drains, and returns the exit code. What goes wrong before there is a logger
// goes to stderr; the log and everything else to stdout.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	if code, done := runWord(ctx, args, environ, stdout, stderr); done {
		return code
	}
	passed, supervisor, environ, err := activate(environ)
	if err != nil {
		fmt.Fprintf(stderr, "sluice: cannot start as systemd says:\n%s\n", indent(err.Error()))
		return exitUsage
	}
	cfg, err := loadConfig(environ)
	if err != nil {
		passed.close()
		fmt.Fprintf(stderr, "sluice: cannot start, the configuration has mistakes:\n%s\n", indent(err.Error()))
		return exitUsage
	}
	cfg.passed = passed
	log := newLogger(stdout, cfg.LogForm, slog.Level(cfg.LogLevel))
	if err := cfg.open(log); err != nil {
		cfg.close()
		fmt.Fprintf(stderr, "sluice: cannot start: %v\n", err)
		return exitUsage
	}
	listeners, err := listen(ctx, cfg)
	if err != nil {
		cfg.close()
		fmt.Fprintf(stderr, "sluice: %v\n", err)
		return exitFailure
	}
	if limit, known := raiseFileLimit(); known {
		reportFiles(limit, log)
		cfg.maxOrigins = originsFor(limit)
		cfg.MaxConnections = boundConnections(cfg.MaxConnections, limit, cfg.filesBesides(limit), log)
	}
	cfg.memory = setUpMemory(environ, os.DirFS("/"), log)
	svc, err := newService(cfg, listeners, log)
	if err != nil {
		cfg.close()
		listeners.close()
		fmt.Fprintf(stderr, "sluice: cannot start: %v\n", err)
		return exitUsage
	}
	announce(stdout, cfg, listeners)
	cfg.permission.tellOpen(&cfg, log)
	return operate(ctx, notified{svc, supervisor.With(log)}, environ, log)
}

// operate serves until ctx ends, reads what stands in files again whenever it is told to, and
// drains. It returns the exit code.
func operate(ctx context.Context, svc notified, environ []string, log *slog.Logger) int {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGHUP)
	defer signal.Stop(told)
	var beside sync.WaitGroup
	defer beside.Wait()
	serving, end := context.WithCancel(ctx)
	defer end()
	beside.Go(func() { reloads(serving, told, func() { svc.reload(environ) }) })
	running, ended := context.WithCancel(context.WithoutCancel(ctx)) // while it drains, too
	defer ended()
	beside.Go(func() { svc.watch(running) })
	return serve(ctx, svc, log)
}

// open opens what the configuration keeps on disk.
func (c *config) open(log *slog.Logger) (err error) {
	if c.state, err = openState(*c); err != nil {
		return err
	}
	if c.permission, err = openPermission(c, log); err != nil {
		return err
	}
	if err = relay.CheckState(c.relayState()); err != nil {
		return fmt.Errorf("%sSTATE_DIR: %w", envPrefix, err)
	}
	if c.certificates, err = openCertificates(c, log); err != nil {
		return err
	}
	c.archive, err = openArchive(*c, log)
	return err
}

// close closes what open opened, where there is to be no service.
func (c *config) close() {
	c.passed.close()
	c.permission.close()
	if c.archive != nil {
		c.archive.Close()
	}
	if c.state != nil {
		c.state.Close()
	}
}

// server is what serve starts and ends; *service is the real one.
type server interface {
	// Start begins to serve and returns at once. A part that cannot go on
	// sends its error.
	Start() <-chan error
	// BeginDrain says to all who ask that the server is about to end, and returns for how long
	// everybody is served as ever all the same.
	BeginDrain() time.Duration
	// HandOver has publishers go on at other nodes, where there are others, and returns when they do and viewers
	// see them, or ctx ends. Viewers stay.
	HandOver(ctx context.Context)
	// Move lets nobody in any more, asks those to go who can go on elsewhere, and returns when they
	// have gone, or ctx ends.
	Move(ctx context.Context)
	// Shutdown ends everybody properly, cuts off those who have not ended when ctx does,
	// and returns when nothing runs any more.
	Shutdown(ctx context.Context) error
}

// serve runs svc until ctx ends or a part of svc fails, drains it, and returns
// the exit code.
//
//	serving --ctx ends----> draining --> exitOK
//	        --part fails--> draining --> exitFailure
func serve(ctx context.Context, svc server, log *slog.Logger) int {
	code := exitOK
	failed := svc.Start()
	select {
	case <-ctx.Done():
		log.Info("shutting down", "reason", context.Cause(ctx))
	case err := <-failed:
		log.Error("cannot go on", "error", err)
		code = exitFailure
	}
	return leave(ctx, svc, failed, code, log)
}

// newLogger returns the logger of the whole program.
func newLogger(w io.Writer, format logFormat, level slog.Level) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level, ReplaceAttr: readable}
	if format == "json" {
		return slog.New(limitLog(slog.NewJSONHandler(w, opts)))
	}
	return slog.New(limitLog(slog.NewTextHandler(w, opts)))
}

// readable writes durations as people do in every form of the log, "1.5s", where slog's JSON
// has a number of nanoseconds.
func readable(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

// indent puts two spaces before each line.
func indent(s string) string {
	return "  " + strings.ReplaceAll(s, "\n", "\n  ")
}
