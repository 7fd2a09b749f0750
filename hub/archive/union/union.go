// Package union makes one list of the recordings of all nodes of a cluster, and finds the node that has one. Each has
// those of the streams that it owned at the time.
//
// Whoever asks for what is not there makes a message to each node. So questions are
//
//	shared     those who ask the same while it is asked wait for that answer, and those who come within a few
//	           seconds have it, too, also where it is that there is none
//	bounded    maxAsking are under way at a time, and askEvery apart in the long run, beyond askBurst at once
//	short      a node that has not answered in askWithin is named, and not waited for
//
// Beyond that nobody is asked: a list has this node's recordings only and names the others, and who looks for one
// recording is told to come again, unless it was found not long ago.
package union

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"sluice/hub"
	"sluice/hub/archive"
	"sluice/hub/cluster"
)

// Bounds on questions to other nodes.
const (
	// askWithin bounds one question to all nodes.
	askWithin = time.Second
	// maxAsking is how many questions are under way at a time.
	maxAsking = 8
	// askBurst is how many there may be at once, and askEvery how far apart they are beyond.
	askBurst = 64
	askEvery = 25 * time.Millisecond
	// answerFor is how long an answer counts, and foundFor how long a recording that was found is taken to be
	// there still where nobody can be asked.
	answerFor = 3 * time.Second
	foundFor  = time.Minute
	// maxAnswers bounds the answers about one recording that are kept, and the recordings that were found; maxLists those
	// with a page of each node, which have up to 200 KB or so of a node.
	maxAnswers = 512
	maxLists   = 32
	// maxItems is how many recordings a page has of a node.
	maxItems = 200
)

// Nodes is what it needs of a *cluster.Cluster.
type Nodes interface {
	Nodes() []cluster.NodeInfo
	Order(ctx context.Context, node string, order []byte) (answer []byte, err error)
}

// Archive is what it needs of an *archive.Archive, or of an archive.None.
type Archive interface {
	Recordings(key hub.Key, after string, limit int) (page []archive.Recording, next string, err error)
	Recording(key hub.Key, id string) (archive.Recording, error)
}

// Recording is a recording of one of the nodes.
type Recording struct {
	archive.Recording
	Node       string // that has it
	Away       bool   // it is another one than this
	HTTP, RTMP string // where clients reach that one, SCHEME://HOST[:PORT]; empty where they do not, or it is not known
}

// Page is a part of the list of all nodes.
type Page struct {
	Recordings []Recording // the newest first
	Next       string      // for Query.After; empty behind the last
	Unreached  []string    // nodes whose recordings are missing, by name
}

// Query says which recordings are wanted.
type Query struct {
	Key     hub.Key // of one stream; the zero Key for all
	Pattern string  // of those that fit (pattern.Parse); empty for all
	State   string  // in that state; empty for any
	After   string  // behind that Next; empty from the beginning
	Limit   int     // so many at the most, up to 200, which is 0, too
}

// Union knows what the nodes have. Its methods may be called from any goroutine.
type Union struct {
	own   Archive
	nodes Nodes

	mu      sync.Mutex
	answers map[question]*exchange // about one recording
	lists   map[question]*exchange
	found   map[question]*exchange // of those, the recordings that were found last
	asking  int
	credit  time.Time // what askEvery counts from: it lies in the past by what may be asked at once
}

// New returns the union of this node's recordings and those of others.
func New(own Archive, nodes Nodes) *Union {
	return &Union{own: own, nodes: nodes, answers: make(map[question]*exchange), lists: make(map[question]*exchange), found: make(map[question]*exchange)}
}

// exchange is one question to all other nodes.
type exchange struct {
	done      chan struct{} // closed when what follows is known
	at        time.Time     // when it was asked
	answers   []answered
	unreached []string
}

// answered is what one node has answered.
type answered struct {
	node cluster.NodeInfo
	answer
}

// ask returns what the other nodes answer, which others may have asked for just before; false where nobody may be asked
// now.
func (u *Union) ask(ctx context.Context, q question) (*exchange, bool) {
	kept, most := u.answers, maxAnswers
	if q.ID == "" {
		kept, most = u.lists, maxLists
	}
	u.mu.Lock()
	e := kept[q]
	if e == nil || e.isOver() && time.Since(e.at) >= answerFor {
		if !u.mayAskLocked(time.Now()) {
			u.mu.Unlock()
			return nil, false
		}
		e = &exchange{done: make(chan struct{}), at: time.Now()}
		keep(kept, most, q, e)
		u.asking++
		u.mu.Unlock()
		u.askAll(q, e) // whoever comes meanwhile waits for it, so that it does not end with this client
		return e, true
	}
	u.mu.Unlock()
	select {
	case <-e.done:
		return e, true
	case <-ctx.Done():
		return nil, false
	}
}

func (e *exchange) isOver() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

// mayAskLocked reports whether one more question may be asked, and counts it.
func (u *Union) mayAskLocked(now time.Time) bool {
	if earliest := now.Add(-askBurst * askEvery); u.credit.Before(earliest) {
		u.credit = earliest
	}
	if u.asking >= maxAsking || u.credit.Add(askEvery).After(now) {
		return false
	}
	u.credit = u.credit.Add(askEvery)
	return true
}

// keep keeps an exchange among others, of which the oldest goes where there are too many.
func keep(all map[question]*exchange, most int, q question, e *exchange) {
	if _, known := all[q]; !known && len(all) >= most {
		var oldest question
		for of, other := range all {
			if oldest == (question{}) || other.at.Before(all[oldest].at) {
				oldest = of
			}
		}
		delete(all, oldest)
	}
	all[q] = e
}

// askAll asks all other nodes at once.
func (u *Union) askAll(q question, e *exchange) {
	ctx, cancel := context.WithTimeout(context.Background(), askWithin)
	defer cancel()
	var mu sync.Mutex
	var all sync.WaitGroup
	order := q.encode()
	for _, node := range u.others() {
		if node.Silent {
			mu.Lock()
			e.unreached = append(e.unreached, node.Name)
			mu.Unlock()
			continue
		}
		all.Go(func() {
			data, err := u.nodes.Order(ctx, cmp.Or(node.Boot, node.Name), order)
			a, ok := parseAnswer(data, q)
			mu.Lock()
			defer mu.Unlock()
			if err != nil || !ok {
				e.unreached = append(e.unreached, node.Name)
				return
			}
			e.answers = append(e.answers, answered{node, a})
		})
	}
	all.Wait()
	slices.Sort(e.unreached)
	e.unreached = slices.Compact(e.unreached)
	close(e.done)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.asking--
	if q.ID != "" && e.has() {
		keep(u.found, maxAnswers, q, e)
	}
}

func (e *exchange) has() bool {
	return slices.ContainsFunc(e.answers, func(a answered) bool { return len(a.Items) > 0 })
}

// others returns the other nodes, of each name one, which gives signs of life if one does.
func (u *Union) others() (others []cluster.NodeInfo) {
	for _, n := range u.nodes.Nodes() {
		if n.Self {
			continue
		}
		i := slices.IndexFunc(others, func(o cluster.NodeInfo) bool { return o.Name == n.Name })
		switch {
		case i < 0:
			others = append(others, n)
		case others[i].Silent && !n.Silent:
			others[i] = n
		}
	}
	return others
}

// Self returns the name of this node.
func (u *Union) Self() string {
	for _, n := range u.nodes.Nodes() {
		if n.Self {
			return n.Name
		}
	}
	return ""
}

// Origins returns where clients reach the other nodes over HTTP.
func (u *Union) Origins() (origins []string) {
	for _, n := range u.others() {
		if n.HTTP != "" {
			origins = append(origins, n.HTTP)
		}
	}
	return origins
}

// errTooMany is the refusal where nobody may be asked now.
var errTooMany = &hub.Refusal{Reason: hub.ReasonTooMany, Detail: "too many ask for recordings of other nodes; try again"}

// ErrUnreachable is the refusal where another node has a recording, and its address is empty.
var ErrUnreachable = &hub.Refusal{
	Reason: hub.ReasonNotFound, Detail: "another node has the recording, and does not say where clients reach it",
}

// Find returns a recording that another node has; of archive.Latest the newest that one has, if it is newer than
// this node's. The error is archive.ErrNotFound where none has it that answers, a *hub.Refusal where nobody can be asked now,
// or that of ctx.
func (u *Union) Find(ctx context.Context, key hub.Key, id string) (Recording, error) {
	q := question{Stream: key.String(), ID: id}
	e, ok := u.ask(ctx, q)
	if !ok {
		if ctx.Err() != nil {
			return Recording{}, context.Cause(ctx)
		}
		u.mu.Lock()
		e = u.found[q]
		u.mu.Unlock()
		if e == nil || time.Since(e.at) >= foundFor {
			return Recording{}, errTooMany
		}
	}
	var best Recording
	var found bool
	for _, a := range e.answers {
		for _, i := range a.Items {
			if !found || best.Begin.Before(i.Recording.Begin) {
				best, found = away(i, a.node), true
			}
		}
	}
	if found && id == archive.Latest {
		if own, err := u.own.Recording(key, id); err == nil && !own.Begin.Before(best.Begin) {
			found = false
		}
	}
	if !found {
		return Recording{}, archive.ErrNotFound
	}
	return best, nil
}

func away(i item, node cluster.NodeInfo) Recording {
	return Recording{Recording: i.Recording, Node: node.Name, Away: true, HTTP: node.HTTP, RTMP: node.RTMP}
}
