package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"sluice/hub"
)

// question is what a node asks the owner of a stream that somebody wants to publish at its own.
type question struct {
	Stream      string `json:"stream"`
	Node        string `json:"node"` // who asks
	Incarnation string `json:"incarnation"`
	Epoch       uint64 `json:"epoch"` // that the asker believes the owner to have
	Proof       []byte `json:"proof"` // hub.Session.Proof
	Backup      bool   `json:"backup"`
	Yields      bool   `json:"yields"` // hub.Session.Yields
	// CanWait says that the asker knows what answerStandsBy means: nodes of before that ask again and again.
	CanWait bool `json:"canWait"`
	// StepsUp says that its publisher stands by for the owner's, and would go on in its place; Asked, that an operator wants
	// that (hub.Claimant).
	StepsUp bool `json:"stepsUp"`
	Asked   bool `json:"asked"`
	// StandsBy says that its publisher was shown, and would only stand by from now on (hub.Claimant). Raise is set as well: nodes
	// of before that do not know it let nothing go then.
	StandsBy bool `json:"standsBy,omitempty"`
	// Both says that the two nodes own the stream both, after they were parted: of publishers with one identity
	// the later one stays. That of the asker began Age ms ago: the nodes' clocks may differ by more.
	Both bool  `json:"both"`
	Age  int64 `json:"age"`
	// Raise only asks the owner to go on in an epoch behind Mine: there are viewers who have followed one whom nobody knows
	// any more. It answers that the asker is to look again.
	Raise bool   `json:"raise"`
	Mine  uint64 `json:"mine"` // the epoch that the asker has then, of that incarnation; 0 if it is another one
}

// What is answered.
const (
	answerYields   = "yields"    // the stream is the asker's
	answerStandsBy = "stands by" // its publisher stays, and the asker's may stand by for it
	answerKeeps    = "keeps"     // its publisher stays
	answerGone     = "gone"      // nobody publishes it there
	answerStale    = "stale"     // the owner is another one, or of another epoch: the asker is to look again
)

// answered is the answer. The zero value is none.
type answered struct {
	What   string `json:"what"`
	Detail string `json:"detail,omitempty"` // why it stays
	Time   int64  `json:"time,omitempty"`   // that a stream has come to which goes over
}

// askToYield asks the owner of a stream whether it lets it go to a publisher. The answer is the zero value where none
// came.
func (c *Cluster) askToYield(ctx context.Context, o *owner, s claimant) answered {
	return c.ask(ctx, o, &question{
		Proof: s.Proof(c.cfg.ProofKey), Backup: s.IsBackup(), Yields: s.Yields(),
		CanWait: true, StepsUp: s.stepsUp, Asked: s.asked,
	})
}

func (c *Cluster) ask(ctx context.Context, o *owner, q *question) (a answered) {
	q.Stream, q.Node, q.Incarnation, q.Epoch = o.Stream, c.cfg.Node, o.Incarnation, o.Epoch
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	reply, err := c.cfg.Directory.Ask(ctx, subjectOf(o.Boot, questionClaim), encode(q))
	if err != nil || json.Unmarshal(reply, &a) != nil {
		return answered{}
	}
	return a
}

// answerClaim answers askToYield. An answer that comes too late for the asker has had its effect: it is asked
// again, and answers "stale" or "gone" then; the record stays this node's until the asker changes it.
func (c *Cluster) answerClaim(data []byte) []byte {
	var q question
	key, err := hub.Key{}, json.Unmarshal(data, &q)
	if err == nil {
		key, err = hub.NewKey("", q.Stream)
	}
	if err != nil {
		return nil
	}
	return encode(c.yield(key, &q))
}

// yield lets a stream go to another node, if its publisher here has to.
func (c *Cluster) yield(key hub.Key, q *question) answered {
	n := c.enter(key)
	defer c.leave(n)
	ctx, cancel := context.WithTimeout(c.ctx, askWithin)
	defer cancel()
	if n.lock(ctx) != nil {
		return answered{} // it is asked again
	}
	defer n.unlock()
	o := c.ownedBy(n)
	switch {
	case o == nil && c.hasYielded(n):
		return c.lastWord(n, q)
	case o == nil:
		return answered{What: answerGone}
	case o.Incarnation != q.Incarnation && !q.Both, o.Epoch != q.Epoch && !q.Both:
		return answered{What: answerStale}
	case q.Raise && !q.StandsBy:
		if q.Mine >= o.Epoch && o.Incarnation == q.Incarnation {
			c.raise(ctx, n, o, q.Mine+1)
		}
		return answered{What: answerStale}
	case q.Both && len(q.Proof) > 0 && o.age() < q.Age:
		return c.keep(ctx, n, o, q, errElsewhere.Detail)
	case q.StepsUp && time.Since(o.since) < claimedFor && !c.hasBegun(key):
		return answered{What: answerStandsBy}
	case !q.StepsUp && !q.Both && c.followsSoon(n):
		return answered{} // it is asked again
	}
	head, standsBy, err := c.cfg.Hub.Yield(key, hub.Claimant{
		Proof: q.Proof, ProofKey: c.cfg.ProofKey, Backup: q.Backup, Yields: q.Yields, CanWait: q.CanWait,
		StepsUp: q.StepsUp || q.Both, Asked: q.Asked || q.Both, // of both, the later one goes on
		StandsBy: q.StandsBy, Backed: c.isBacked(key),
	})
	if standsBy {
		return answered{What: answerStandsBy}
	}
	if refusal, ok := errors.AsType[*hub.Refusal](err); ok {
		if refusal.Reason == hub.ReasonNotFound && time.Since(o.since) >= claimedFor {
			return answered{What: answerGone}
		}
		detail := refusal.Detail
		if refusal.Reason == hub.ReasonNotFound { // its publisher is just about to begin
			detail = errElsewhere.Detail
		}
		return c.keep(ctx, n, o, q, detail+", at node "+c.cfg.Node)
	}
	a := answered{What: answerYields, Time: head.Time}
	c.let(n, head)
	c.mu.Lock()
	n.yielded, n.lastWord = time.Now(), lastWord{q.Node, q.Epoch, a}
	c.mu.Unlock()
	c.log.Info("a stream goes over to another node", "stream", key.String(), "node", q.Node)
	return a
}

// hasBegun reports whether a stream that this node owns is its own in the hub, too, or was until a moment ago.
func (c *Cluster) hasBegun(key hub.Key) bool {
	_, own, held := c.cfg.Hub.Head(key)
	return own && held
}

// keep answers that the publisher of a stream stays, whose turn the caller has. Viewers who have followed the asker to
// its epoch do not go back to an earlier one: the stream goes on in a later one first.
func (c *Cluster) keep(ctx context.Context, n *name, o *ownership, q *question, detail string) answered {
	if q.Both && q.Mine >= o.Epoch && !c.raise(ctx, n, o, q.Mine+1) {
		return answered{} // it asks again
	}
	return answered{What: answerKeeps, Detail: detail}
}

// lastWord is what a node was answered that a stream was let go to.
type lastWord struct {
	node  string
	epoch uint64
	answered
}

// lastWord returns what was answered before, to who has not heard it; others have to look who has the stream.
func (c *Cluster) lastWord(n *name, q *question) answered {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w := &n.lastWord; w.node == q.Node && w.epoch == q.Epoch {
		return w.answered
	}
	return answered{What: answerStale}
}

// yieldedFor is how long a name that was let go stays another node's, whatever the record says: so long may that take to
// change it. After that it has died, or given up.
const yieldedFor = 2 * time.Second

// hasYielded reports whether this node has just let a name go.
func (c *Cluster) hasYielded(n *name) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !n.yielded.IsZero() && time.Since(n.yielded) < yieldedFor
}

// let makes this node no owner of a name any more, whose turn the caller has. Its viewers are served from elsewhere from now
// on; head is where its log has come to.
func (c *Cluster) let(n *name, head hub.Head) {
	n.numbers.cease(head.Life, head.Seq)
	c.mu.Lock()
	n.owned = nil
	n.lets++
	c.mu.Unlock()
	c.wantWhereWatched(n)
}
