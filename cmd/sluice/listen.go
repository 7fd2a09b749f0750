package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"
)

// listener is an open port.
type listener struct {
	net.Listener
	kind  string // kindRTMP and so on
	asked string // the address that was asked for, whose host may be a name; empty if none was
}

// listeners are the open ports, in the order in which they are told.
type listeners []listener

// close closes them.
func (l listeners) close() {
	for _, open := range l {
		open.Close()
	}
}

// of returns the listeners of some kinds.
func (l listeners) of(kinds ...string) (of listeners) {
	for _, open := range l {
		if slices.Contains(kinds, open.kind) {
			of = append(of, open)
		}
	}
	return of
}

// addr returns where the listeners of a kind are, as a variable lists addresses; empty if there is
// none.
func (l listeners) addr(kind string) string {
	var all []string
	for _, open := range l.of(kind) {
		all = append(all, open.Addr().String())
	}
	return strings.Join(all, ";")
}

// port returns the port of the first listener of some kinds, 0 if there is none.
func (l listeners) port(kinds ...string) int {
	for _, open := range l.of(kinds...) {
		if tcp, ok := open.Addr().(*net.TCPAddr); ok {
			return tcp.Port
		}
	}
	return 0
}

// listen opens the ports, but for those of kinds that systemd has opened. For each port that cannot
// be opened the error says why, in one line, and which variable moves it.
func listen(ctx context.Context, cfg config) (listeners, error) {
	var all listeners
	var errs []error
	for _, of := range cfg.listening() {
		if passed := cfg.passed.of(of.kind); len(passed) > 0 {
			all = append(all, passed...)
			continue
		}
		for _, addr := range of.addresses {
			l, err := listenOn(ctx, of.kind, addr)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			all = append(all, listener{l, of.kind, addr})
		}
	}
	if err := errors.Join(errs...); err != nil {
		all.close()
		return nil, err
	}
	return all, nil
}

func listenOn(ctx context.Context, kind, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err == nil {
		return l, nil
	}
	why := err.Error()
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		why = "the port is in use"
	case errors.Is(err, syscall.EACCES):
		why = "this user may not open the port; below 1024 it takes root, or the capability CAP_NET_BIND_SERVICE"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		why = "this machine has no such address"
	}
	return nil, fmt.Errorf("%s cannot listen on %s: %s (%s sets another)", strings.ToUpper(kind), addr, why, variableOf(kind))
}
