package waitgroup

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group
		returned := make(chan struct{}, 10)
		wait := func() {
			go func() {
				g.Wait()
				returned <- struct{}{}
			}()
			synctest.Wait()
		}
		require.True(t, g.Enter())
		release := make(chan struct{})
		g.Go(func() { <-release })
		g.Add()
		g.Done()
		wait()
		assert.False(t, g.Enter(), "somebody waits")
		g.Done()
		wait()
		g.Go(func() { <-release }) // of the goroutine that is left
		assert.Empty(t, returned)
		close(release)
		synctest.Wait()
		assert.Len(t, returned, 2)
		assert.False(t, g.Enter())
		g.Wait()

		var none Group
		none.Wait()
		assert.False(t, none.Enter())
	})
}

// What begins after Wait has returned is waited for by the next one.
func TestGroupGoesOn(t *testing.T) {
	var g Group
	for range 100 {
		done := false
		g.Go(func() { done = true })
		g.Wait()
		assert.True(t, done)
	}
}
