package main

import (
	"log/slog"
	"math"
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

// ownFiles are the open files that are no client's connection: listeners, pollers,
// the runtime's own, and connections that are being told that they are too many.
const ownFiles = 100

// boundConnections returns how many connections there may be: as many as are asked
// for, or as a limit of open files is good for if these are fewer or 0 is asked for.
func boundConnections(asked int, limit uint64, log *slog.Logger) int {
	most := int(min(limit-min(limit/2, ownFiles), math.MaxInt32))
	if asked > most {
		log.Warn("fewer connections than asked for, since each is an open file",
			"asked", asked, "connections", most, "limit", limit, "reserved", limit-uint64(most))
	}
	if asked == 0 || asked > most {
		return most
	}
	return asked
}
