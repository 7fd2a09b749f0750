package main

import (
	"context"
	"slices"

	"sluice/cmd/sluice/metrics"
	"sluice/hub/cluster"
	"sluice/web/admin"
)

// operatedNodes are the nodes as the operators' API takes them.
type operatedNodes struct {
	*clustered
	configured []string // the names of all; none where the engine is one that was there
}

var _ admin.Nodes = operatedNodes{}

// Nodes returns the nodes, those included that are configured, and were never heard of.
func (o operatedNodes) Nodes() []cluster.NodeInfo {
	all := o.get().Nodes()
	for _, name := range o.configured {
		if !slices.ContainsFunc(all, func(n cluster.NodeInfo) bool { return n.Name == name }) {
			all = append(all, cluster.NodeInfo{Name: name, Silent: true})
		}
	}
	slices.SortFunc(all, cluster.NodeInfo.Compare)
	return all
}

// Health returns how the engine is.
func (o operatedNodes) Health() cluster.Health { return o.get().Health() }

// Streams returns what this node owns, and copies.
func (o operatedNodes) Streams() []cluster.StreamInfo { return o.get().Streams() }

// Order has a node answer.
func (o operatedNodes) Order(ctx context.Context, node string, order []byte) ([]byte, error) {
	return o.get().Order(ctx, node, order)
}

// obey returns what answers other nodes: who has which recordings, and everything else.
func (s *service) obey(rest func(order []byte) []byte) func(order []byte) []byte {
	if s.union == nil {
		return rest
	}
	return func(order []byte) []byte {
		if answer, ok := s.union.Answer(order); ok {
			return answer
		}
		return rest(order)
	}
}

// figures returns the sums, for metrics.
func (c *clustered) figures() metrics.Cluster {
	of := c.get()
	if of == nil {
		return metrics.Cluster{}
	}
	return metrics.Cluster{Figures: of.Figures(), Engine: of.Health(), Inner: c.inner.Figures()}
}

// describe returns what this node says of itself to others.
func (s *service) describe() cluster.Description {
	d := cluster.Description{
		Version: versionText(), Connections: s.admission.Figures().Open, Draining: s.drain.began.Load(),
		HTTP: s.cluster.reach.http, RTMP: s.cluster.reach.rtmp,
	}
	for _, t := range s.hub.Totals() {
		if t.Protocol != cluster.Protocol {
			d.Sessions += int(t.Running())
		}
	}
	return d
}
