package main

import (
	"log/slog"
	"math"
	"slices"

	"sluice/cmd/sluice/certificate"
	"sluice/cmd/sluice/event"
	"sluice/cmd/sluice/hook"
	"sluice/cmd/sluice/proxied"
	"sluice/hub/relay/dialer"
)

// reservedFiles are the open files that are not viewers': publishers, connections
// that are being set up or ask for the page, listeners, the runtime's own.
const reservedFiles = 500

// fewViewers is how many viewers a machine should at least be able to have.
const fewViewers = 10_000

// viewersFor returns for how many viewers a limit of open files is good: each of
// them is one.
func viewersFor(limit uint64) uint64 { return limit - min(limit, reservedFiles) }

// reportFiles logs for how many viewers the limit of open files is good, as a
// warning with a remedy if these are few.
func reportFiles(limit uint64, log *slog.Logger) {
	log = log.With("limit", limit, "reserved", reservedFiles, "viewers", viewersFor(limit))
	if viewersFor(limit) < fewViewers {
		log.Warn("few open files, and each viewer is one",
			"remedy", "LimitNOFILE=100000 in the systemd unit, or ulimit -n 100000 as root before the start")
		return
	}
	log.Info("open files")
}

// Open files that are no client's connection.
const (
	// ownFiles are those that there are always: listeners, pollers, the runtime's own, the
	// files of the folder of state, and connections that are being told that they are too many.
	ownFiles = 100
	// keysFiles are for the server of the keys of tokens.
	keysFiles = 2
	// recordedPart is the part of all that is for files which are recorded, two for each
	// stream, and played.
	recordedPart = 16
	// originPart is the part of all that is for streams that viewers have pulled, one for each.
	originPart = 16
	// engineFiles are the engine's of a cluster, its folder's included, and nodeFiles its connections for each node.
	engineFiles = 64
	nodeFiles   = 4
	// copyPart is the part of all that is for streams that are copied from other nodes of a cluster, and as many are
	// for those that are given to them.
	copyPart = originPart
)

// originsFor returns how many streams may be pulled for viewers at a time, with a limit of open files: who
// makes up names has a connection made for each.
func originsFor(limit uint64) int { return int(max(1, min(limit/originPart, math.MaxInt32))) }

// filesBesides returns how many open files, of as many as there may be, are no client's.
func (c *config) filesBesides(limit uint64) uint64 {
	n := ownFiles
	for _, part := range []struct {
		there bool
		files int
	}{
		{c.AuthURL != "", hook.Files}, {c.JWTJWKSURL != "", keysFiles}, {c.EventURL != "", event.WebhookFiles},
		{c.EventExec != "", event.ExecFiles}, {c.relayed(), dialer.DefaultMax + len(c.rules())}, {c.measures(), maxAdminConnections}, {len(c.TLSDomains) > 0, certificate.OpenFiles},
		{c.clustered(), engineFiles + nodeFiles*len(c.Cluster)},
	} {
		if part.there {
			n += part.files
		}
	}
	for _, l := range c.listening() {
		if slices.Contains(c.ProxyProtocol, l.kind) {
			n += len(l.addresses) * proxied.Files
		}
	}
	own := uint64(n)
	if c.pulls() {
		own += limit / originPart
	}
	if c.clustered() {
		own += 2 * (limit / copyPart)
	}
	if c.RecordDir != "" {
		own += limit / recordedPart
	}
	return own
}

// boundConnections returns how many connections there may be: as many as are asked
// for, or as a limit of open files, less our own, is good for if these are fewer or 0 is asked
// for.
func boundConnections(asked int, limit, own uint64, log *slog.Logger) int {
	most := int(min(limit-min(limit/2, own), math.MaxInt32))
	if asked > most {
		log.Warn("fewer connections than asked for, since each is an open file",
			"asked", asked, "connections", most, "limit", limit, "reserved", limit-uint64(most))
	}
	if asked == 0 || asked > most {
		return most
	}
	return asked
}
