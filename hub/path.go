package hub

import (
	"errors"
	"slices"
	"strings"
)

// PathProperty is the property of onMetaData, and of RTMP's connect, that holds a path: the ids of
// the servers that a stream has passed, or is asked for by, the nearest last, with commas between
// them. HTTP has it in a header field.
const PathProperty = "sluicePath"

// NodeProperty is the property with this server's id (Config.Node) in RTMP's answer to a client that
// has sent a path, and ReasonProperty that of a status with a Reason in words: what relays of other
// servers go by, who are told little by RTMP's codes.
const (
	NodeProperty   = "sluiceNode"
	ReasonProperty = "sluiceReason"
)

// Bounds of a path.
const (
	maxPath   = 16 // ids
	maxNodeID = 32 // bytes of one
	// maxPathText bounds what is looked at, in bytes: there may be a space beside each comma.
	maxPathText = maxPath * (maxNodeID + 3)
)

// errLoop refuses what has passed this server already.
var errLoop = refuse(ReasonLoop, "the stream has passed this server already")

// errPath is the error of a text that is no path.
var errPath = errors.New("no path of servers: up to 16 ids of up to 32 letters, digits, _ and -, with commas between them")

// ParsePath reads a path; an empty text is none.
func ParsePath(text string) ([]string, error) {
	if len(text) > maxPathText {
		return nil, errPath
	}
	ids := splitPath(text)
	if len(ids) > maxPath || slices.ContainsFunc(ids, func(id string) bool { return !IsNodeID(id) }) {
		return nil, errPath
	}
	return ids, nil
}

// FormatPath writes what ParsePath reads.
func FormatPath(ids []string) string { return strings.Join(ids, ",") }

// IsNodeID reports whether a text can be the id of a server: 1 to 32 letters, digits, _ and -.
func IsNodeID(id string) bool {
	return id != "" && len(id) <= maxNodeID && !strings.ContainsFunc(id, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-')
	})
}

// splitPath returns the ids of a path.
func splitPath(text string) []string {
	if text == "" {
		return nil
	}
	ids := strings.Split(text, ",")
	for i := range ids {
		ids[i] = strings.TrimSpace(ids[i])
	}
	return ids
}

// loops reports whether this server is one of a path's.
func (h *Hub) loops(path string) bool {
	return h.cfg.Node != "" && path != "" && slices.Contains(splitPath(path), h.cfg.Node)
}

// Node returns Config.Node.
func (h *Hub) Node() string { return h.cfg.Node }

// Path returns the ids of the servers that the stream has passed on its way here, as its publisher's
// metadata tell, or its session where they tell none; nil if nobody publishes it.
func (h *Hub) Path(key Key) []string {
	s := h.stream(key)
	if s == nil {
		return nil
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.pub == nil {
		return nil
	}
	// Not that of the headers: until a publisher's tracks are known, these are of the one before it.
	if ids, err := ParsePath(s.session.declared.text(PathProperty)); err == nil && len(ids) > 0 {
		return ids
	}
	return s.pub.session.Path()
}
