// Package systemd speaks with the service manager that may have started this process: it takes
// the sockets that were opened for it (sd_listen_fds(3)), and tells when it serves and when it
// stops (sd_notify(3)). Both are a few variables and, for the second, datagrams; nothing of
// systemd is linked, and without the variables everything here does nothing.
package systemd

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// variables are those that systemd sets for this process and no other.
var variables = []string{
	"LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES",
	"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID",
}

// Forget takes the variables of this package out of the environment of the process, so that
// programs which it starts do not take them for their own.
func Forget() {
	for _, name := range variables {
		os.Unsetenv(name)
	}
}

// lookup returns the value of a variable in environ, a list of NAME=value as os.Environ returns
// it; "" where it is not set. The last one counts.
func lookup(environ []string, name string) (value string) {
	for _, e := range environ {
		if rest, ok := strings.CutPrefix(e, name+"="); ok {
			value = rest
		}
	}
	return value
}

// isMine reports whether the variable that names a process names this one; absent is what it
// means where the variable is not set.
func isMine(environ []string, name string, absent bool) (bool, error) {
	value := lookup(environ, name)
	if value == "" {
		return absent, nil
	}
	pid, err := number(environ, name, 1<<31-1)
	return pid == uint64(os.Getpid()), err
}

// number reads a variable that is a number, up to most.
func number(environ []string, name string, most uint64) (uint64, error) {
	value := lookup(environ, name)
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil || n > most {
		return 0, fmt.Errorf("%s=%.40q: must be a number from 0 to %d", name, value, most)
	}
	return n, nil
}
