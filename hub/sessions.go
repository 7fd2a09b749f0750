package hub

import "time"

// SessionState is how far a session has come.
type SessionState uint8

// The states of sessions that Hub.Sessions lists.
const (
	SessionAsking  SessionState = iota // the policy is asked
	SessionWaiting                     // a viewer has no first frame yet
	SessionRunning                     // it publishes, watches or plays
	sessionStates                      // how many there are
)

// String returns the state in one word.
func (s SessionState) String() string {
	return [sessionStates]string{"asking", "waiting", "running"}[s]
}

// SessionInfo is what is known of a session at one moment.
type SessionInfo struct {
	Session *Session
	State   SessionState
	// Waits says what a session waits for that does not run: "permission", "publisher", "key
	// frame" or "codec header"; empty for nothing.
	Waits string
	// Since is when it began to run, to wait or to ask.
	Since   time.Time
	Bytes   uint64        // of tags taken from a publisher, or sent to a viewer in its protocol's form
	Dropped uint64        // packets that a viewer was not sent because it was too slow
	Lag     time.Duration // how far a running viewer is behind the newest packet, by arrival
	Paused  bool          // by the viewer itself
}

// Sessions returns the sessions that there are, by id. The caller owns the list.
func (h *Hub) Sessions() []SessionInfo { return nil }

// Dismiss ends the sessions for which who returns true, because of why: those that run, wait or
// ask for permission. It returns how many there were. A viewer's last bytes follow, so that it
// may be listed for a moment more; a publisher's stream has its grace time. who is called
// without a lock, by the caller.
func (h *Hub) Dismiss(who func(*Session) bool, why *Refusal) int { return 0 }
