package memory

import (
	"fmt"
	"testing"

	"sluice/hub/cluster"
	"sluice/hub/cluster/directorytest"
)

func open(_ *testing.T, nodes int) (all []cluster.Directory) {
	e := New(Config{})
	for i := range nodes {
		all = append(all, e.Join(fmt.Sprintf("n%d:6222", i+1)))
	}
	return all
}

func TestDirectory(t *testing.T) { directorytest.Run(t, open) }
