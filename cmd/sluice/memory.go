package main

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
)

// collectorPercent is by how much the heap may grow over what is live before
// garbage is collected (GOGC; Go's own default is 100). Most of what is live are
// the streams' bytes, which hold no pointers and so cost a collection nothing:
// it pays to collect often and keep little.
const collectorPercent = 25

// heapShare of the container's memory is for the heap and the rest of Go's
// runtime, in percent. What is left is for the kernel, whose socket buffers count
// as well: some KB for each viewer, more for those that are slow.
const heapShare = 80

// collectAfter is how long garbage may lie in a process that is too quiet to
// collect it; by itself the runtime takes two minutes.
const collectAfter = 20 * time.Second

// What streams and viewers may take of the memory that there is, one part in so many.
const (
	logsPart      = 2 // the logs of all streams
	unwrittenPart = 8 // large frames that wait for congested viewers
)

// setUpMemory sets up the garbage collector for this program, unless the
// environment's GOGC and GOMEMLIMIT, which the runtime obeys by itself, say
// otherwise, and returns how many bytes of memory there are for it: the limit of Go's
// runtime, or what the machine has; 0 if that can't be told. root is the file system
// where the container's limit is found.
func setUpMemory(environ []string, root fs.FS, log *slog.Logger) int64 {
	values := env.ToMap(environ)
	percent := values["GOGC"]
	if percent == "" {
		debug.SetGCPercent(collectorPercent)
		percent = fmt.Sprint(collectorPercent)
	}
	container, limited := cgroupMemory(root)
	if limited && values["GOMEMLIMIT"] == "" {
		debug.SetMemoryLimit(container / 100 * heapShare)
	}
	attrs := []any{"GOGC", percent, "GOMEMLIMIT", mebibytes(debug.SetMemoryLimit(-1))}
	if limited {
		attrs = append(attrs, "container", mebibytes(container))
	}
	log.Info("garbage collector", attrs...)
	if limit := debug.SetMemoryLimit(-1); limit != math.MaxInt64 {
		return limit
	}
	return machineMemory(root)
}

// machineMemory returns how many bytes of memory the machine has, 0 if it does not tell
// (proc_meminfo(5)).
func machineMemory(root fs.FS) int64 {
	info, _ := fs.ReadFile(root, "proc/meminfo")
	for line := range strings.Lines(string(info)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "MemTotal:" && f[2] == "kB" {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			return n << 10
		}
	}
	return 0
}

// collectWhenQuiet collects garbage whenever nobody else has for a while, until ctx
// ends. When a crowd of viewers leaves, little is allocated that would bring a
// collection about, and what they held would stay. The runtime gives back to the
// system what a collection frees.
func collectWhenQuiet(ctx context.Context) {
	tick := time.NewTicker(collectAfter)
	defer tick.Stop()
	for last := collections(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if collections() == last {
			runtime.GC()
		}
		last = collections()
	}
}

// collections returns how often garbage has been collected so far.
func collections() uint64 {
	sample := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// runtimeMemory returns how many bytes of memory Go's runtime holds.
func runtimeMemory() int64 {
	sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64() - sample[1].Value.Uint64())
}

// mebibytes writes a limit as GOMEMLIMIT takes it.
func mebibytes(n int64) string {
	if n == math.MaxInt64 {
		return "off"
	}
	return fmt.Sprintf("%dMiB", n>>20)
}
