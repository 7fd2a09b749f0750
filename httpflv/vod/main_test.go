package vod

import (
	"testing"

	"go.uber.org/goleak"

	"sluice/web/browsertest"
)

// TestMain fails the package if goroutines are left when its tests have ended.
func TestMain(m *testing.M) { goleak.VerifyTestMain(browsertest.Main(m)) }
