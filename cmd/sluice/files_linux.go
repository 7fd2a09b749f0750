package main

import (
	"os"
	"strconv"
	"strings"
	"syscall"
)

// mostFiles bounds how far the hard limit is raised.
const mostFiles = 1 << 20

// raiseFileLimit lets the process have as many open files as the system allows, and
// returns how many that are. Go's runtime has raised the soft limit to the hard one, less
// one as a mark of its own work (syscall/rlimit.go). What is left is the hard limit,
// which only the privileged may raise (CAP_SYS_RESOURCE), up to fs.nr_open.
func raiseFileLimit() (limit uint64, known bool) {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return 0, false
	}
	if most := min(openFilesOfSystem(), mostFiles); l.Max < most {
		raised := syscall.Rlimit{Cur: most, Max: most}
		if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised) == nil {
			l = raised
		}
	}
	return l.Cur, true
}

// openFilesOfSystem returns the greatest limit of open files that the kernel
// accepts, 0 if it can't be read.
func openFilesOfSystem() uint64 {
	text, _ := os.ReadFile("/proc/sys/fs/nr_open")
	n, _ := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	return n
}
