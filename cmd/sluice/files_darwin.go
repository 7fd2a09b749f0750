package main

import "syscall"

// raiseFileLimit returns how many open files the process may have. Go's runtime
// has raised the soft limit to the hard one (syscall/rlimit.go); where that says
// "unlimited", the kernel still has a bound for each process.
func raiseFileLimit() (limit uint64, known bool) {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return 0, false
	}
	if most, err := syscall.SysctlUint32("kern.maxfilesperproc"); err == nil {
		l.Cur = min(l.Cur, uint64(most))
	}
	return l.Cur, true
}
