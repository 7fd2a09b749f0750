package relay

import (
	"cmp"
	"slices"
)

// Relays returns all rules with what comes of them, by kind and in the order in which they were made.
func (r *Relay) Relays() []RuleInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]RuleInfo, 0, len(r.rules))
	for _, by := range r.rules {
		all = append(all, r.infoLocked(by))
	}
	return all
}

func (r *Relay) infoLocked(by *rule) RuleInfo {
	info := RuleInfo{ID: by.id, By: by.by, Rule: by.Rule}
	for _, p := range r.pulls {
		if p.rule == by {
			info.Connections = append(info.Connections, p.status.snapshot())
		}
	}
	for at, p := range r.pushes {
		if at.rule == by {
			info.Connections = append(info.Connections, p.info())
		}
	}
	slices.SortFunc(info.Connections, func(a, b ConnectionInfo) int { return cmp.Compare(a.Key.String(), b.Key.String()) })
	return info
}

// Figures returns the sums.
func (r *Relay) Figures() Figures {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.over
	count := func(kind Kind, c ConnectionInfo) {
		f.Connections[kind][c.State]++
		f.add(kind, &c)
	}
	for _, p := range r.pulls {
		count(p.rule.Kind, p.status.snapshot())
	}
	for _, p := range r.pushes {
		count(Push, p.info())
	}
	return f
}
