package relay

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"sluice/hub/durable"
)

// keptRule is a rule in the state file, which holds secrets.
type keptRule struct {
	ID   string   `json:"id"`
	Kind string   `json:"kind"`
	What string   `json:"what"` // the stream of a pull, a pattern otherwise, as in a list
	URLs []string `json:"urls"`
}

// CheckState says what is wrong with a state file, before anything runs: New would return the same
// error.
func CheckState(path string) error {
	_, err := readState(path)
	return err
}

// readState reads the rules of a state file; one that is not there has none.
func readState(path string) ([]*rule, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var kept []keptRule
	if json.Unmarshal(text, &kept) != nil { // whose error may quote a secret
		return nil, fmt.Errorf("%s is damaged: it is no list of relays", path)
	}
	var rules []*rule
	seen := make(map[string]bool, 2*len(kept)) // ids, and what rules are about
	for i, k := range kept {
		if i == MaxRules {
			return nil, fmt.Errorf("%s is damaged: it has more than %d relays", path, MaxRules)
		}
		kind, ok := ParseKind(k.Kind)
		if n := numberOf(k.ID); !ok || n == 0 || k.ID != fmt.Sprintf("%s-%d", kind, n) {
			return nil, fmt.Errorf("%s is damaged: entry %d", path, i+1)
		}
		r, err := NewRule(kind, k.What, k.URLs)
		if err != nil {
			return nil, fmt.Errorf("%s is damaged: entry %d: %w", path, i+1, err)
		}
		same := k.Kind + " " + r.About()
		if kind == Push {
			same += " " + r.URLs[0].Secret()
		}
		if seen[k.ID] || seen[same] {
			return nil, fmt.Errorf("%s is damaged: entry %d is there twice", path, i+1)
		}
		seen[k.ID], seen[same] = true, true
		rules = append(rules, &rule{Rule: r, id: k.ID, by: byAPI})
	}
	return rules, nil
}

// writeState writes the rules into the state file, if there is one.
func writeState(path string, rules []*rule) error {
	if path == "" {
		return nil
	}
	kept := make([]keptRule, 0, len(rules))
	for _, by := range rules {
		k := keptRule{ID: by.id, Kind: by.Kind.String(), What: by.About()}
		for _, u := range by.URLs {
			k.URLs = append(k.URLs, u.Secret())
		}
		kept = append(kept, k)
	}
	text, err := json.MarshalIndent(kept, "", "  ")
	if err != nil {
		return err
	}
	return durable.Replace(path, append(text, '\n'))
}

// ParseKind reads a kind's word.
func ParseKind(text string) (Kind, bool) {
	for _, k := range Kinds() {
		if k.String() == text {
			return k, true
		}
	}
	return 0, false
}

// maxNumber bounds the numbers of rules, far above those that there are ever.
const maxNumber = 1 << 40

// numberOf returns the number in a rule's id, 0 if there is none.
func numberOf(id string) int {
	_, text, _ := strings.Cut(id, "-")
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > maxNumber {
		return 0
	}
	return n
}
