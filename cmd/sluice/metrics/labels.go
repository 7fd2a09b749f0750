package metrics

import (
	"slices"

	"sluice/hub"
)

// The values of labels, all of which are known beforehand: what is not among them, which would be a
// mistake here and nothing that a client can do, is counted as other.

const other = "other"

// listeners are those of connections; admin are those of operators and for metrics.
var listeners = []string{"rtmp", "rtmps", "http", "https", "admin"}

// receivers are those of events.
var receivers = []string{"webhook", "exec"}

// protocols are those of sessions.
var protocols = map[hub.Role][]string{
	hub.RolePublish: {"rtmp", "pull", "demo"},
	hub.RoleWatch:   append([]string{"http-file", "ws-file"}, live...),
}

// live are the protocols of viewers of streams.
var live = []string{"rtmp", "http-flv", "ws-flv"}

// ends are the reasons for which sessions end.
var ends = map[hub.Role][]hub.Reason{
	hub.RolePublish: {
		hub.ReasonClientLeft, hub.ReasonReplaced, hub.ReasonIdle, hub.ReasonConnection, hub.ReasonProtocol,
		hub.ReasonTooMany, hub.ReasonKicked, hub.ReasonExpired, hub.ReasonLoop, hub.ReasonShuttingDown,
	},
	hub.RoleWatch: {
		hub.ReasonClientLeft, hub.ReasonUnpublished, hub.ReasonCodecChanged, hub.ReasonComplete, hub.ReasonStalled,
		hub.ReasonConnection, hub.ReasonProtocol, hub.ReasonKicked, hub.ReasonExpired, hub.ReasonShuttingDown,
	},
}

// refusals are the reasons for which sessions do not begin.
var refusals = map[hub.Role][]hub.Reason{
	hub.RolePublish: {
		hub.ReasonBadRequest, hub.ReasonBusy, hub.ReasonDenied, hub.ReasonTooMany, hub.ReasonKicked, hub.ReasonLoop,
		hub.ReasonClientLeft, hub.ReasonConnection, hub.ReasonProtocol, hub.ReasonShuttingDown,
	},
	hub.RoleWatch: {
		hub.ReasonBadRequest, hub.ReasonNotFound, hub.ReasonBusy, hub.ReasonDenied, hub.ReasonTooMany, hub.ReasonKicked, hub.ReasonLoop,
		hub.ReasonClientLeft, hub.ReasonConnection, hub.ReasonProtocol, hub.ReasonShuttingDown,
	},
}

// results are what a method, or a check before all methods, may say (access.Config.Decided).
var results = map[string][]string{
	"open":      {"granted"},
	"none":      {"failed"},
	"key":       {"granted", "missing", "wrong"},
	"streamkey": {"granted", "wrong"},
	"sign":      {"granted", "missing", "expired", "wrong"},
	"jwt":       {"granted", "missing", "expired", "wrong", "failed"},
	"url":       {"granted", "missing", "expired", "wrong", "failed"},
	"network":   {"denied"},
	"origin":    {"denied"},
	"failures":  {"denied"},
	"ban":       {"denied"},
	other:       {other},
}

// checks are what is looked at before any method is asked.
func checks(role hub.Role) []string {
	if role == hub.RolePublish {
		return []string{"network", "failures", "ban"}
	}
	return []string{"network", "origin", "failures", "ban"}
}

// sums adds figures up by label, each of the known ones included.
type sums map[string]float64

func newSums(known []string) sums {
	s := make(sums, len(known)+1)
	for _, label := range known {
		s[label] = 0
	}
	return s
}

// add adds to a label, or to other if it is not known.
func (s sums) add(label string, n uint64) {
	if _, known := s[label]; !known {
		label = other
	}
	s[label] += float64(n)
}

// reasonWords returns reasons in words.
func reasonWords(reasons []hub.Reason) (words []string) {
	for _, r := range reasons {
		words = append(words, r.String())
	}
	return words
}

// known returns a label if it is among the known ones, and other otherwise.
func known(label string, among []string) string {
	if slices.Contains(among, label) {
		return label
	}
	return other
}
