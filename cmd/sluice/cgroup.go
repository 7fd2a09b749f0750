package main

import (
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// cgroupMemory returns the lowest limit of memory, in bytes, that this process's
// control group and those above it set, as containers and systemd units have
// them; ok is false if there is none, or no Linux. It knows both versions:
//
//	/proc/self/cgroup     which group, by controller   cgroups(7)
//	/proc/self/mountinfo  where the groups' files are  proc_pid_mountinfo(5)
func cgroupMemory(root fs.FS) (limit int64, ok bool) {
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0, false
	}
	mounts, err := fs.ReadFile(root, "proc/self/mountinfo")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(mounts)) {
		m, known := parseCgroupMount(line)
		if !known {
			continue
		}
		group, known := m.group(string(groups))
		if !known {
			continue
		}
		for _, file := range m.files(group) {
			if n, set := readLimit(root, file); set && (!ok || n < limit) {
				limit, ok = n, true
			}
		}
	}
	return limit, ok
}

// cgroupMount is a place where control groups with limits of memory are mounted.
type cgroupMount struct {
	v2   bool
	root string // the group that is seen at dir
	dir  string
}

// parseCgroupMount parses a line of mountinfo:
//
//	36 35 0:31 /root /dir rw,nosuid shared:9 - type source options
func parseCgroupMount(line string) (m cgroupMount, ok bool) {
	mount, system, _ := strings.Cut(line, " - ")
	where, what := strings.Fields(mount), strings.Fields(system)
	if len(where) < 5 || len(what) < 3 {
		return cgroupMount{}, false
	}
	m = cgroupMount{v2: what[0] == "cgroup2", root: where[3], dir: where[4]}
	return m, m.v2 || what[0] == "cgroup" && slices.Contains(strings.Split(what[2], ","), "memory")
}

// group finds the process's group in /proc/self/cgroup, whose lines are
// hierarchy:controllers:path, with hierarchy 0 for version 2.
func (m cgroupMount) group(groups string) (group string, ok bool) {
	for line := range strings.Lines(groups) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) < 3 {
			continue
		}
		if m.v2 && f[0] == "0" || !m.v2 && slices.Contains(strings.Split(f[1], ","), "memory") {
			return f[2], true
		}
	}
	return "", false
}

// files returns the files with the limits of a group and of those above it, as
// far as they are mounted. A container may see its own group only, mounted as if
// it were the root.
func (m cgroupMount) files(group string) (files []string) {
	below, inside := strings.CutPrefix(group, strings.TrimSuffix(m.root, "/"))
	if !inside || below != "" && below[0] != '/' {
		below = ""
	}
	names := []string{"memory.limit_in_bytes"}
	if m.v2 {
		names = []string{"memory.max", "memory.high"}
	}
	for below = path.Clean("/" + below); ; below = path.Dir(below) {
		for _, name := range names {
			files = append(files, path.Join(m.dir, below, name))
		}
		if below == "/" {
			return files
		}
	}
}

// readLimit reads a limit. None is written as "max" in version 2 and as about
// 2^63 in version 1.
func readLimit(root fs.FS, file string) (n int64, set bool) {
	text, err := fs.ReadFile(root, strings.TrimPrefix(file, "/"))
	if err != nil {
		return 0, false
	}
	n, err = strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil && n > 0 && n < 1<<60
}
