package main

import (
	"log/slog"

	"sluice/hub/monitor"
)

// openMonitor returns what looks at publishers; nil where nobody is told, and nobody can ask.
func openMonitor(s *service, cfg *config) *monitor.Monitor {
	config := monitor.Config{Hub: s.hub, Usage: processUsage}
	switch {
	case s.notifier != nil:
		config.Observe = s.notifier.Watched
	case !cfg.measures():
		return nil
	}
	return monitor.New(config)
}

// diskInfo is what is told of the disk with the recordings.
type diskInfo struct {
	Free  int64 `json:"free"` // bytes
	Total int64 `json:"total"`
}

// addDisk adds the disk with the recordings to what is told of the server, where there is one of
// which the system tells.
func (s *service) addDisk(to map[string]any, log *slog.Logger) {
	if s.archive == nil {
		return
	}
	free, total, known, err := s.archive.Disk()
	if err != nil {
		log.Debug("the disk of the recordings cannot be looked at", "error", err)
	}
	if known && err == nil {
		to["disk"] = diskInfo{free, total}
	}
}
