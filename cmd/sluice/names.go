package main

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// serviceLink matches what Kubernetes puts into every pod for a service that is called
// "sluice" or "sluice-…": SLUICE_SERVICE_HOST, SLUICE_PORT_1935_TCP_ADDR and their kin.
// SLUICE_PORT itself is recognized by its value, a URL.
var serviceLink = regexp.MustCompile(`^SLUICE_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)=|` +
	`^SLUICE_(\w+_)?PORT=(tcp|udp|sctp)://`)

// unknownNames reports each variable that has our prefix and is not one of ours: a
// misspelt setting must not look as if it worked. The value is not printed, since it may
// be a secret.
func unknownNames(values map[string]string, vars []variable) (problems []error) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !strings.HasPrefix(strings.ToUpper(name), envPrefix) ||
			slices.ContainsFunc(vars, func(v variable) bool { return v.Name == name || v.secret && v.Name+fileSuffix == name }) ||
			serviceLink.MatchString(name+"="+values[name]) {
			continue
		}
		if hint := nearestName(name, vars); hint != "" {
			problems = append(problems, fmt.Errorf("%s: unknown variable (did you mean %s?)", name, hint))
		} else {
			problems = append(problems, fmt.Errorf("%s: unknown variable (sluice -h lists the known ones)", name))
		}
	}
	return problems
}

// nearestName returns the variable that name was probably meant to be, or "".
func nearestName(name string, vars []variable) string {
	name = strings.TrimPrefix(strings.ToUpper(name), envPrefix)
	best, bestDistance := "", len(name)/2 // further away is not a slip of the keyboard
	for _, v := range vars {
		if d := distance(name, strings.TrimPrefix(v.Name, envPrefix)); d <= bestDistance && (best == "" || d < bestDistance) {
			best, bestDistance = v.Name, d
		}
	}
	return best
}

// maxNameLength bounds the work of distance; longer names are not compared.
const maxNameLength = 64

// distance is the Levenshtein distance of two names: how many letters must be
// put in, taken out or changed to make one the other.
func distance(a, b string) int {
	if len(a) > maxNameLength || len(b) > maxNameLength {
		return len(a) + len(b)
	}
	row := make([]int, len(b)+1) // row[j]: distance of a[:i] and b[:j]
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
