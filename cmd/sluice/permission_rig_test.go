package main

import "log/slog"

// mustService is newService for a configuration that can be served.
func mustService(cfg config, l listeners, log *slog.Logger) *service {
	s, err := newService(cfg, l, log)
	if err != nil {
		panic(err)
	}
	return s
}
