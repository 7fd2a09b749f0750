package union

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"sluice/hub"
	"sluice/hub/archive"
	"sluice/hub/pattern"
)

// question is what other nodes are asked: for one recording where there is an id, else for a page of the list.
type question struct {
	Stream  string `json:"stream,omitempty"`
	ID      string `json:"id,omitempty"` // may be archive.Latest
	Pattern string `json:"pattern,omitempty"`
	State   string `json:"state,omitempty"`
	After   string `json:"after,omitempty"` // a mark, which is a place in the list of all nodes
	Limit   int    `json:"limit,omitempty"`
}

// order is how a question is told from other orders.
type order struct {
	Recordings *question `json:"recordings"`
}

// answer is what a node answers.
type answer struct {
	Items []item `json:"items,omitempty"`
	Next  string `json:"next,omitempty"` // its place in that node's list
}

// item is one recording.
type item struct {
	Recording archive.Recording `json:"recording"`
}

func (q question) encode() []byte {
	b, err := json.Marshal(order{&q})
	if err != nil {
		panic(err) // texts and numbers
	}
	return b
}

// Answer answers a question of another node's union; false if an order is something else.
func (u *Union) Answer(data []byte) (said []byte, ok bool) {
	var o order
	if json.Unmarshal(data, &o) != nil || o.Recordings == nil {
		return nil, false
	}
	a, err := u.answer(*o.Recordings)
	if err != nil {
		return []byte("null"), true
	}
	if said, err = json.Marshal(a); err != nil {
		return []byte("null"), true
	}
	return said, true
}

// maxPages bounds how many pages of an archive are looked through for one answer.
const maxPages = 100

// answer answers a question by what this node has.
func (u *Union) answer(q question) (a answer, err error) {
	key, err := keyOf(q.Stream)
	if err != nil {
		return a, err
	}
	if q.ID != "" {
		r, err := u.own.Recording(key, q.ID)
		switch {
		case errors.Is(err, archive.ErrNotFound):
			return a, nil
		case err != nil:
			return a, err
		}
		return answer{Items: []item{{r}}}, nil
	}
	fits := func(archive.Recording) bool { return true }
	if q.Pattern != "" {
		p, err := pattern.Parse(q.Pattern)
		if err != nil {
			return a, err
		}
		fits = func(r archive.Recording) bool { return p.Matches(r.Key.String()) }
	}
	after, err := q.after(u.Self())
	if err != nil {
		return a, err
	}
	limit := bounded(q.Limit)
	a.Next = after
	for range maxPages {
		var page []archive.Recording
		if page, a.Next, err = u.own.Recordings(key, a.Next, limit-len(a.Items)); err != nil {
			return a, err
		}
		for _, r := range page {
			if fits(r) && (q.State == "" || q.State == string(r.State)) {
				a.Items = append(a.Items, item{r})
			}
		}
		if a.Next == "" || len(a.Items) == limit {
			break
		}
	}
	return a, nil
}

func bounded(limit int) int {
	if limit <= 0 || limit > maxItems {
		return maxItems
	}
	return limit
}

// keyOf reads a stream, the zero Key for none.
func keyOf(stream string) (key hub.Key, err error) {
	if stream == "" {
		return key, nil
	}
	i := strings.LastIndexByte(stream, '/')
	if key, err = hub.NewKey(stream[:max(i, 0)], stream[i+1:]); err == nil && key.String() != stream {
		err = errors.New("union: no name of a stream")
	}
	return key, err
}

// states are those of recordings.
var states = []archive.State{archive.StateRecording, archive.StateFinished, archive.StateDiskFull}

// parseAnswer reads what another node answers to a question. It drops what cannot be, since clients are told of the rest.
func parseAnswer(data []byte, q question) (a answer, ok bool) {
	if len(data) == 0 || string(data) == "null" || json.Unmarshal(data, &a) != nil || len(a.Items) > maxItems {
		return answer{}, false
	}
	if _, _, err := archive.ParsePlace(a.Next); a.Next != "" && err != nil {
		return answer{}, false
	}
	a.Items = slices.DeleteFunc(a.Items, func(i item) bool { return !i.isFor(q) })
	return a, true
}

// isFor reports whether a recording can be, and is among those that were asked for.
func (i *item) isFor(q question) bool {
	r := &i.Recording
	key, err := keyOf(r.Key.String())
	_, _, badPlace := archive.ParsePlace(r.Place)
	switch {
	case err != nil, key != r.Key, key == hub.Key{}, q.Stream != "" && key.String() != q.Stream:
		return false
	case r.ID == "", len(r.ID) > maxID, !utf8.ValidString(r.ID), strings.ContainsAny(r.ID, "/\x00"):
		return false
	case !slices.Contains(states, r.State), r.Duration < 0, r.Size < 0:
		return false
	case q.ID != "":
		return q.ID == archive.Latest || q.ID == r.ID
	}
	return badPlace == nil
}

// maxID bounds an id, in bytes: no file has a longer name.
const maxID = 255
