package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
)

// version, commit and date are set by a release build, where there is no checkout to read them
// from (-ldflags "-X main.version=v1.2.3 -X main.commit=… -X main.date=…"): the commit by its full
// hash, and its date as RFC 3339 has it. What is not set is taken from what the Go tool has noted
// in the binary.
var version, commit, date string

// shownCommit is how many digits of a commit's hash are shown.
const shownCommit = 12

// origin is where the binary comes from. Each part is empty where it is unknown.
type origin struct {
	version, commit, date string
	dirty                 bool // files differed from the commit
}

// readOrigin returns where this binary comes from.
func readOrigin() origin {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = new(debug.BuildInfo)
	}
	return originOf(info)
}

// originOf is readOrigin for what the Go tool has noted.
func originOf(info *debug.BuildInfo) origin {
	o := origin{version: version, commit: commit, date: date}
	if v := info.Main.Version; o.version == "" && v != "(devel)" {
		o.version = v
	}
	for _, s := range info.Settings {
		switch {
		case commit != "": // the checkout, if there is one, may be another's
		case s.Key == "vcs.revision":
			o.commit = s.Value
		case s.Key == "vcs.time":
			o.date = cmp.Or(date, s.Value)
		case s.Key == "vcs.modified":
			o.dirty = s.Value == "true"
		}
	}
	o.commit = o.commit[:min(shownCommit, len(o.commit))]
	return o
}

// name returns the version, or what stands for it in a build that is no release.
func (o origin) name() string {
	switch {
	case o.version != "":
		return o.version
	case o.commit == "":
		return "devel"
	case o.dirty:
		return "devel-" + o.commit + "-dirty"
	}
	return "devel-" + o.commit
}

// String returns all of it in one line, without a line end.
func (o origin) String() string {
	return fmt.Sprintf("%s, commit %s, %s, %s %s/%s", o.name(), cmp.Or(o.commit, "unknown"), cmp.Or(o.date, "date unknown"),
		runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// versionText returns the version alone, as the page, the API, metrics and the log name it.
func versionText() string { return readOrigin().name() }
