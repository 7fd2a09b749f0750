package relay

import (
	"slices"
)

// Add makes a rule at run time, which is kept in the state file. The error is ErrExists or ErrFull, or
// ErrUnsaved: then the rule holds all the same, until the process ends.
func (r *Relay) Add(n Rule) (RuleInfo, error) {
	r.saving.Lock()
	defer r.saving.Unlock()
	r.mu.Lock()
	made := 0
	for _, old := range r.rules {
		if old.collides(n) {
			r.mu.Unlock()
			return RuleInfo{}, ErrExists
		}
		if old.by == byAPI {
			made++
		}
	}
	if made >= MaxRules {
		r.mu.Unlock()
		return RuleInfo{}, ErrFull
	}
	by := &rule{Rule: n, id: r.newIDLocked(n.Kind), by: byAPI}
	r.rules = append(r.rules, by)
	if !r.closed {
		r.beginLocked([]*rule{by})
	}
	info := r.infosLocked(by)[0]
	kept := r.keptLocked()
	r.mu.Unlock()
	return info, r.save(kept)
}

// Remove ends a rule that was made at run time. The error is ErrNoRule, ErrByConf, or ErrUnsaved: then
// the rule is ended all the same, and there again after a restart.
func (r *Relay) Remove(id string) error {
	r.saving.Lock()
	defer r.saving.Unlock()
	r.mu.Lock()
	i := slices.IndexFunc(r.rules, func(by *rule) bool { return by.id == id })
	if i < 0 {
		r.mu.Unlock()
		return ErrNoRule
	}
	by := r.rules[i]
	if by.by != byAPI {
		r.mu.Unlock()
		return ErrByConf
	}
	r.rules = slices.Delete(slices.Clone(r.rules), i, i+1)
	r.endLocked(by)
	kept := r.keptLocked()
	r.mu.Unlock()
	return r.save(kept)
}

// save writes the rules that were made at run time. saving is held.
func (r *Relay) save(kept []*rule) error {
	err := writeState(r.cfg.StateFile, kept)
	if err != nil {
		r.cfg.Logger.Error("the relays cannot be written", "error", err)
		err = ErrUnsaved
	}
	return err
}

// keptLocked returns the rules that are kept in the state file.
func (r *Relay) keptLocked() (kept []*rule) {
	for _, by := range r.rules {
		if by.by == byAPI {
			kept = append(kept, by)
		}
	}
	return kept
}
