package main

import (
	"fmt"
	"net/http"
	"net/http/pprof" // registers with http.DefaultServeMux as well, which nobody serves
	"strconv"
	"time"

	"sluice/httpflv/answer"
)

// profilesPath is below which profiles are.
const profilesPath = "/debug/pprof/"

// Bounds on profiles of the process, which slow it down a little while they are made.
const (
	// maxProfiles is how many are made at a time.
	maxProfiles = 2
	// maxProfileTime is how long one may take: as long as an answer may, less some time to take it.
	maxProfileTime = adminAnswerTimeout - 20*time.Second
)

// profiles returns the handler of profiles of the process, for go tool pprof and go tool trace.
func profiles() http.Handler {
	kinds := http.NewServeMux()
	kinds.HandleFunc(profilesPath, pprof.Index)
	kinds.HandleFunc(profilesPath+"cmdline", pprof.Cmdline)
	kinds.HandleFunc(profilesPath+"profile", pprof.Profile)
	kinds.HandleFunc(profilesPath+"symbol", pprof.Symbol)
	kinds.HandleFunc(profilesPath+"trace", pprof.Trace)
	places := make(chan struct{}, maxProfiles)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer.BoundBody(w, r)
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			refuseOperator(w, r, http.StatusMethodNotAllowed, "method not allowed", "this path takes GET and HEAD")
			return
		}
		if text := r.FormValue("seconds"); text != "" {
			if seconds, err := strconv.ParseFloat(text, 64); err != nil || !(seconds > 0 && seconds <= maxProfileTime.Seconds()) {
				refuseOperator(w, r, http.StatusBadRequest, "bad request", fmt.Sprintf(
					"seconds is a number up to %v, since an answer may take no longer than %v", maxProfileTime.Seconds(), adminAnswerTimeout))
				return
			}
		}
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		default:
			refuseOperator(w, r, http.StatusServiceUnavailable, "too many", fmt.Sprintf("%d profiles are being made, which is as many as may be", maxProfiles))
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		kinds.ServeHTTP(w, r)
	})
}
