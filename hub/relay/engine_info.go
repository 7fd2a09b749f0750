package relay

import (
	"cmp"
	"slices"
)

// Relays returns all rules with what comes of them: those of the configuration first, and then those that
// were made at run time, the oldest first.
func (r *Relay) Relays() []RuleInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.infosLocked(r.rules...)
}

// infosLocked returns what is told of some rules. It looks at each connection once, however many rules
// there are.
func (r *Relay) infosLocked(rules ...*rule) []RuleInfo {
	connections := make(map[*rule][]ConnectionInfo)
	for _, p := range r.pulls {
		connections[p.rule] = append(connections[p.rule], p.status.snapshot())
	}
	for at, p := range r.pushes {
		connections[at.rule] = append(connections[at.rule], p.info())
	}
	infos := make([]RuleInfo, 0, len(rules))
	for _, by := range rules {
		all := connections[by]
		slices.SortFunc(all, func(a, b ConnectionInfo) int {
			return cmp.Or(cmp.Compare(a.Key.App, b.Key.App), cmp.Compare(a.Key.Name, b.Key.Name))
		})
		infos = append(infos, RuleInfo{ID: by.id, By: by.by, Rule: by.Rule, Connections: all})
	}
	return infos
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
