package bench

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// usage is what processes have used so far, and what they hold now.
type usage struct {
	at          time.Time
	cpu         time.Duration // in user and kernel mode
	pss         int64         // bytes; proportional set size, proc_pid_smaps(5)
	descriptors int
	threads     int
	machine     time.Duration // used by everything that runs on the machine; 0 if unknown

	frontCPU time.Duration // what is of those in front of the server, of cpu and pss
	frontPSS int64
}

// errNoProc is the error where the kernel tells nothing about processes.
var errNoProc = errors.New("-pid needs Linux's /proc")

// ticksPerSecond is what CPU times in /proc/PID/stat are counted in: USER_HZ, which
// is 100 on everything that Go runs on.
const ticksPerSecond = 100

// usageOf asks the kernel about processes, whose figures are added up.
func usageOf(pids []int) (usage, error) {
	var u usage
	if runtime.GOOS != "linux" {
		return u, errNoProc
	}
	for _, pid := range pids {
		if err := u.add(fmt.Sprintf("/proc/%d/", pid)); err != nil {
			return usage{}, fmt.Errorf("process %d: %w", pid, err)
		}
	}
	u.at = time.Now()
	return u, nil
}

// add adds the process of a directory of /proc.
func (u *usage) add(dir string) error {
	stat, err := os.ReadFile(dir + "stat")
	if err != nil {
		return errors.Unwrap(err)
	}
	cpu, threads, err := parseStat(stat)
	if err != nil {
		return err
	}
	rollup, err := os.ReadFile(dir + "smaps_rollup")
	if err != nil {
		return errors.Unwrap(err)
	}
	pss, err := parsePSS(rollup)
	if err != nil {
		return err
	}
	fds, err := os.ReadDir(dir + "fd")
	if err != nil {
		return errors.Unwrap(err)
	}
	u.cpu += cpu
	u.threads += threads
	u.pss += pss
	u.descriptors += len(fds)
	return nil
}

// errMalformedProc is the error of a file in /proc that is not as expected.
var errMalformedProc = errors.New("/proc is not as expected")

// parseStat returns utime and stime, and the number of threads, from
// /proc/PID/stat, proc_pid_stat(5): fields 14, 15 and 20. The second field may hold
// anything, but ends with the last parenthesis.
func parseStat(stat []byte) (cpu time.Duration, threads int, err error) {
	const utime, stime, numThreads = 14 - 3, 15 - 3, 20 - 3
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) <= numThreads {
		return 0, 0, errMalformedProc
	}
	for _, i := range []int{utime, stime} {
		ticks, err := strconv.ParseInt(string(fields[i]), 10, 64)
		if err != nil {
			return 0, 0, errMalformedProc
		}
		cpu += time.Duration(ticks) * (time.Second / ticksPerSecond)
	}
	if threads, err = strconv.Atoi(string(fields[numThreads])); err != nil {
		return 0, 0, errMalformedProc
	}
	return cpu, threads, nil
}

// parsePSS returns the proportional set size in bytes from /proc/PID/smaps_rollup.
func parsePSS(rollup []byte) (int64, error) { return parseRollup(rollup, "Pss:") }

// parseRollup returns one of its sizes in bytes.
func parseRollup(rollup []byte, name string) (int64, error) {
	for line := range strings.Lines(string(rollup)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == name && fields[2] == "kB" {
			kb, err := strconv.ParseInt(fields[1], 10, 64)
			return kb << 10, err
		}
	}
	return 0, errMalformedProc
}

// parseMachine returns the time that all processors together were busy, from the first
// line of /proc/stat, proc_stat(5): user, nice, system, then idle and iowait, which are
// not, then irq, softirq and steal. It returns 0 if the line is not as expected.
func parseMachine(stat []byte) (busy time.Duration) {
	const name, idle, iowait, last = 0, 4, 5, 8
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	fields := bytes.Fields(line)
	if len(fields) <= last || string(fields[name]) != "cpu" {
		return 0
	}
	for i, field := range fields[:last+1] {
		if i == name || i == idle || i == iowait {
			continue
		}
		ticks, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return 0
		}
		busy += time.Duration(ticks) * (time.Second / ticksPerSecond)
	}
	return busy
}

// othersCores returns the CPU that neither the server nor the tool used in a window, in
// cores; 0 if nobody knows.
func othersCores(server, tool [2]usage) float64 {
	d := tool[1].at.Sub(tool[0].at)
	if tool[0].machine == 0 || d <= 0 {
		return 0
	}
	all := float64(tool[1].machine-tool[0].machine) / float64(d)
	return max(0, all-cores(server[0], server[1])-cores(tool[0], tool[1]))
}

// cores returns the CPU used from one moment to another, in cores.
func cores(from, to usage) float64 {
	if d := to.at.Sub(from.at); d > 0 {
		return float64(to.cpu-from.cpu) / float64(d)
	}
	return 0
}

// frontCores is cores of what stands in front of the server.
func frontCores(from, to usage) float64 {
	from.cpu, to.cpu = from.frontCPU, to.frontCPU
	return cores(from, to)
}

// processes watches over the server's processes, and this one.
type processes struct {
	pids  []int // the server's; may be empty
	front []int // those of them that stand in front of it
}

// look returns the usage of the server, and of the tool; the zero usage where it
// cannot be told.
func (p processes) look() (server, tool usage, err error) {
	if len(p.pids) > 0 {
		if server, err = usageOf(p.pids); err != nil {
			return usage{}, usage{}, err
		}
	}
	if len(p.front) > 0 {
		front, err := usageOf(p.front)
		if err != nil {
			return usage{}, usage{}, err
		}
		server.frontCPU, server.frontPSS = front.cpu, front.pss
	}
	tool, _ = usageOf([]int{os.Getpid()})
	if stat, err := os.ReadFile("/proc/stat"); err == nil {
		tool.machine = parseMachine(stat)
	}
	return server, tool, nil
}
