// Command sluice is a live-streaming gateway: RTMP in; RTMP, HTTP-FLV and
// WebSocket-FLV out. It runs without configuration; sluice help tells what can be
// set.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		cancel(fmt.Errorf("signal: %v", <-signals)) // drain
		<-signals                                   // somebody who asks twice won't wait
		fmt.Fprintln(os.Stderr, "sluice: a second signal: ended at once")
		os.Exit(exitFailure)
	}()
	os.Exit(run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}
