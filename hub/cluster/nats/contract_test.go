package nats

import (
	"testing"

	"sluice/hub/cluster"
	"sluice/hub/cluster/directorytest"
)

func TestContract(t *testing.T) {
	t.Parallel()
	directorytest.Run(t, func(t *testing.T, n int) (all []cluster.Directory) {
		for _, d := range open(t, n) {
			all = append(all, d)
		}
		return all
	})
}
