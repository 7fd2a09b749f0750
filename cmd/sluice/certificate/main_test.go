package certificate

import (
	"testing"

	"go.uber.org/goleak"

	"sluice/cmd/sluice/certificate/acmetest"
)

// TestMain fails the package if goroutines are left when its tests have ended.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction(acmetest.Leaks))
}
