package union

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain fails the package if goroutines are left when its tests have ended.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
