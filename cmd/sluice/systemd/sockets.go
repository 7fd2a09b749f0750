package systemd

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
)

// firstSocket is the file descriptor of the first socket (SD_LISTEN_FDS_START).
const firstSocket = 3

// maxSockets bounds how many sockets are taken.
const maxSockets = 128

// maxShownName bounds what is printed of a socket's name, in runes; systemd allows 255.
const maxShownName = 64

// Socket is a TCP socket that listens, opened by systemd.
type Socket struct {
	Name     string // FileDescriptorName= of its socket unit; several sockets may have one
	Listener net.Listener
}

// Sockets returns the sockets that were passed to this process, in the order in which they stand
// in their units, as environ (os.Environ) tells of them: none if it does not, or means another
// process. The caller owns the listeners. names are those that a socket may have. A socket of
// another name, and one that is no TCP socket or does not listen, is an error which says what is to
// be done; each is on a line of the error, and all sockets are closed then.
//
// It must be called once at most, before the process opens files of its own that could be taken
// for sockets where the variables are wrong. Programs that the process starts do not inherit the
// sockets.
func Sockets(environ []string, names ...string) ([]Socket, error) {
	passed, err := passedNames(environ)
	if err != nil || len(passed) == 0 {
		return nil, err
	}
	var sockets []Socket
	var problems []error
	for i, name := range passed {
		l, err := take(firstSocket + i)
		if err == nil && !slices.Contains(names, name) {
			l.Close()
			err = errName(name, names)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("socket %d of %d that systemd passed, %s: %w", i+1, len(passed), shown(name), err))
			continue
		}
		sockets = append(sockets, Socket{Name: name, Listener: l})
	}
	if problems != nil {
		for _, s := range sockets {
			s.Listener.Close()
		}
		return nil, errors.Join(problems...)
	}
	return sockets, nil
}

// unnamed is how a socket is called where LISTEN_FDNAMES is not set; systemd says so too where
// it does not know a name.
const unnamed = "unknown"

// passedNames returns the names of the sockets that were passed to this process.
func passedNames(environ []string) ([]string, error) {
	if lookup(environ, "LISTEN_FDS") == "" {
		return nil, nil
	}
	mine, err := isMine(environ, "LISTEN_PID", false)
	if err != nil || !mine {
		return nil, err
	}
	n, err := number(environ, "LISTEN_FDS", maxSockets)
	if err != nil || n == 0 {
		return nil, err
	}
	if text := lookup(environ, "LISTEN_FDNAMES"); text != "" {
		names := strings.Split(text, ":")
		if len(names) != int(n) {
			return nil, fmt.Errorf("LISTEN_FDNAMES has %d names for LISTEN_FDS=%d sockets", len(names), n)
		}
		return names, nil
	}
	return slices.Repeat([]string{unnamed}, int(n)), nil
}

// errName says what to do about a socket with a name that means nothing.
func errName(name string, names []string) error {
	if name == "connection" {
		return errors.New("its socket unit needs Accept=no: one process serves all connections")
	}
	return fmt.Errorf("its name says nothing of what it is for: FileDescriptorName= in its socket unit must be one of %s",
		strings.Join(names, ", "))
}

func shown(name string) string {
	if name == unnamed || name == "" {
		return "without a name"
	}
	return fmt.Sprintf("named %.*q", maxShownName, name)
}
