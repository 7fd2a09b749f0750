package relay

import "context"

// Close ends all connections, those to targets properly, and returns when that is done or ctx has
// ended, whose error it then returns. It may be called again.
func (r *Relay) Close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	return await(ctx, r.running.Wait)
}

// ClosePushes ends the connections to targets, properly, and makes no further ones; what is pulled
// goes on. It is for a hub that is about to end: targets are told so while there is time, and viewers
// of what is pulled by the hub. It returns as Close does.
func (r *Relay) ClosePushes(ctx context.Context) error {
	r.mu.Lock()
	r.pushless = true
	for _, p := range r.pushes {
		p.stop()
	}
	r.mu.Unlock()
	return await(ctx, r.pushing.Wait)
}

// await returns when wait does, or ctx has ended, whose error it then returns.
func await(ctx context.Context, wait func()) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Names reports whether a URL of a rule leads to a HOST:PORT, so that redirects may, wherever that is.
func (r *Relay) Names(address string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, by := range r.rules {
		for _, u := range by.URLs {
			if u.Address() == address {
				return true
			}
		}
	}
	return false
}
