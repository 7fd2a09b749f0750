package main

import (
	"cmp"
	"fmt"
	"strings"
)

// helpText is what sluice -h prints: how to call it, and every variable with
// default, bounds and meaning.
func helpText() string {
	var b strings.Builder
	b.WriteString(`Sluice takes live streams over RTMP and serves them to RTMP players, as HTTP-FLV
and as WebSocket-FLV.

Usage:
  sluice                 run until SIGINT or SIGTERM
  sluice bench [flags]   measure a server under load, see sluice bench -h
  sluice check URL…      test a running server, see sluice check -h
  sluice sign URL        sign the address of a stream, see sluice sign -h
  sluice help            print this text, like -h and --help
  sluice version         print version, commit and date, like -v and -version

It needs no configuration. These environment variables change it:

`)
	for _, v := range variables() {
		fmt.Fprintf(&b, "  %s (default %s)\n", v.Name, cmp.Or(v.Default, "empty"))
		for _, line := range wrap(v.Doc+v.boundsText(), 72) {
			fmt.Fprintf(&b, "        %s\n", line)
		}
	}
	b.WriteString(`
Exit codes: 0 after a signal or for help and version, 1 when it cannot run
(a port in use, for example), 2 for a mistake in arguments or variables.
`)
	return b.String()
}

// markdownTable is the same list as a table, for the README.
func markdownTable() string {
	var b strings.Builder
	b.WriteString("| Variable | Default | Meaning |\n|---|---|---|\n")
	for _, v := range variables() {
		def := "empty"
		if v.Default != "" {
			def = "`" + v.Default + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s%s |\n", v.Name, def, v.Doc, v.boundsText())
	}
	return b.String()
}

func (v variable) boundsText() string {
	if v.Min == "" {
		return ""
	}
	return fmt.Sprintf(" From %s to %s.", v.Min, v.Max)
}

// wrap breaks text at spaces into lines of at most width bytes, if it can.
func wrap(text string, width int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
