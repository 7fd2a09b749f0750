package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"sluice/cmd/sluice/bench"
	"sluice/cmd/sluice/check"
)

// subcommands have a help of their own.
var subcommands = []string{"bench", "check", "sign"}

// runWord does what the arguments ask for, other than to serve. done is false where there
// are none.
func runWord(ctx context.Context, args, environ []string, stdout, stderr io.Writer) (code int, done bool) {
	if len(args) == 0 {
		return exitOK, false
	}
	word, rest := args[0], args[1:]
	if isHelp(word) && len(rest) > 0 && slices.Contains(subcommands, rest[0]) {
		word, rest = rest[0], []string{"-h"} // sluice help sign
	}
	switch {
	case word == "bench":
		return bench.Run(ctx, rest, stdout, stderr), true
	case word == "check":
		return check.Run(ctx, rest, environ, signer(environ), stdout, stderr), true
	case word == "sign":
		return runSign(rest, environ, stdout, stderr), true
	case len(rest) > 0:
		// below: all of what else there is stands alone
	case isHelp(word):
		fmt.Fprint(stdout, helpText())
		return exitOK, true
	case isVersion(word):
		fmt.Fprintln(stdout, "sluice", readOrigin())
		return exitOK, true
	}
	fmt.Fprintf(stderr, "sluice: %s\n", notUnderstood(args))
	return exitUsage, true
}

// isHelp reports whether a word asks for the help.
func isHelp(word string) bool {
	switch word {
	case "help", "-h", "-help", "--help", "-?":
		return true
	}
	return false
}

// isVersion reports whether a word asks for the version.
func isVersion(word string) bool {
	switch word {
	case "version", "-v", "-V", "-version", "--version":
		return true
	}
	return false
}

// notUnderstood says in one line what is wrong with the arguments, and what there is. Of a
// variable it repeats the name only, since its value may be a secret.
func notUnderstood(args []string) string {
	wrong := args[0]
	if isHelp(wrong) || isVersion(wrong) {
		return fmt.Sprintf("%s takes nothing behind it, %q is too much", wrong, inFront(args[1]))
	}
	if variable := inFront(wrong); strings.HasPrefix(variable, envPrefix) {
		return fmt.Sprintf("variables stand in front of the command: %s=… sluice", variable)
	}
	return fmt.Sprintf("unknown argument %q; there are bench, check, sign, help and version, and without any of them it serves. "+
		"All else is set by environment variables, which sluice help lists", inFront(wrong))
}

// inFront returns what stands in front of the first = of an argument.
func inFront(argument string) string {
	before, _, _ := strings.Cut(argument, "=")
	return before
}
