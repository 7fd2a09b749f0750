package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"sluice/cmd/sluice/systemd"
)

// kinds are those of listeners, and the names that systemd's sockets have for them.
var kinds = []string{kindRTMP, kindRTMPS, kindHTTP, kindHTTPS, kindAdmin, kindMetrics}

// activate takes the sockets that systemd has opened for this process, and returns how it is told
// of the state of the process; nil where it does not ask. The sockets of a kind take the place of
// the addresses in its variable, which is set to theirs in the environ that is returned: what holds
// for addresses, such as that operators need a token, holds for sockets. The caller owns the
// listeners.
func activate(environ []string) (passed listeners, told *systemd.Notifier, with []string, err error) {
	defer systemd.Forget()
	told, err = systemd.NewNotifier(environ)
	if err != nil {
		return nil, nil, nil, err
	}
	sockets, err := systemd.Sockets(environ, kinds...)
	if err != nil {
		return nil, nil, nil, err
	}
	for _, s := range sockets {
		passed = append(passed, listener{s.Listener, s.Name, s.Listener.Addr().String()})
	}
	with = slices.Clone(environ)
	for _, kind := range kinds {
		if open := passed.of(kind); len(open) > 0 {
			with = append(with, variableOf(kind)+"="+open.asAddresses().String())
		}
	}
	return passed, told, with, nil
}

// asAddresses returns the addresses of listeners as a variable could have them. Sockets may share a
// port that are for all interfaces, one for IPv4 and one for IPv6: they are one address.
func (l listeners) asAddresses() (all addresses) {
	var everywhere []int // ports
	for _, open := range l {
		if at := endpointOf(open, ""); at.any && !slices.Contains(everywhere, at.port) {
			everywhere = append(everywhere, at.port)
			all = append(all, open.asked)
		}
	}
	for _, open := range l {
		if at := endpointOf(open, ""); !slices.Contains(everywhere, at.port) {
			all = append(all, open.asked)
		}
	}
	return all
}

// notified is a server of whose state systemd is told.
type notified struct {
	*service
	systemd *systemd.Notifier // nil where it does not ask
}

// Start begins to serve, and tells so.
func (n notified) Start() <-chan error {
	failed := n.service.Start()
	n.ready()
	return failed
}

// ready tells that the server serves, and where.
func (n notified) ready() {
	var open []string
	for _, l := range n.listeners {
		open = append(open, l.kind+" "+l.Addr().String())
	}
	n.systemd.Ready("serves " + strings.Join(open, ", "))
}

// reload reloads, and tells when it begins and has ended.
func (n notified) reload(environ []string) {
	n.systemd.Reloading()
	n.service.reload(environ)
	n.ready()
}

// BeginDrain tells that it ends, and within which time.
func (n notified) BeginDrain() time.Duration {
	delay := n.service.BeginDrain()
	n.systemd.Stopping("serves on, but is not ready any more", delay+drainTimeout+endingTime)
	return delay
}

// Move tells that nobody new comes in.
func (n notified) Move(ctx context.Context) {
	n.systemd.Status("asks those to go who can go on elsewhere")
	n.service.Move(ctx)
}

// Shutdown tells that it ends those who are left.
func (n notified) Shutdown(ctx context.Context) error {
	n.systemd.Status("ends publishers and viewers")
	return n.service.Shutdown(ctx)
}

// endingTime is what the end of the process takes beyond its bound, at the most: see lastGrace.
const endingTime = 4 * lastGrace

// watch tells that the server is alive, where systemd wants to hear that, until ctx ends.
func (n notified) watch(ctx context.Context) { n.systemd.Watch(ctx, n.alive) }

// alive returns when the parts have answered for which every client waits: what admits it, the
// hub, and each stream. Where one of them is stuck it does not return. It is no request over the
// network: those of the world may be so many that it would wait behind them, and a server under
// load is not one to be killed.
func (s *service) alive() error {
	s.admission.Figures()
	s.hub.Streams()
	return nil
}
