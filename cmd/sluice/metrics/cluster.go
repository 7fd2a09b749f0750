package metrics

import (
	"sluice/httpflv/replica"
	"sluice/hub/cluster"
)

// Cluster are the figures of a node of a cluster.
type Cluster struct {
	cluster.Figures
	Engine cluster.Health
	Inner  replica.Figures // of what gives streams to other nodes
}

// clusterFigures are those of a node.
func clusterFigures() []figure {
	return []figure{
		{"sluice_cluster_nodes", "Nodes of the cluster that this one has heard of, itself included, by whether they give signs of life.",
			gauge, []string{"state"}, func(m *moment, emit func(float64, ...string)) {
				emit(float64(m.cluster.Nodes-m.cluster.Silent), "running")
				emit(float64(m.cluster.Silent), "silent")
			}},
		{"sluice_cluster_streams", "Streams that this node owns, those included that nothing is recorded of yet (provisional), and those of others that it copies, or looks for.",
			gauge, []string{"how"}, func(m *moment, emit func(float64, ...string)) {
				emit(float64(m.cluster.Owned), "owned")
				emit(float64(m.cluster.Provisional), "provisional")
				emit(float64(m.cluster.Copied), "copied")
			}},
		{"sluice_cluster_breaks_total", "Connections from which a stream was copied that broke.", counter, nil,
			one(func(m *moment) uint64 { return m.cluster.Breaks })},
		{"sluice_cluster_joined_total", "Breaks after which a copy went on with the next packet.", counter, nil,
			one(func(m *moment) uint64 { return m.cluster.Joined })},
		{"sluice_cluster_lost_packets_total", "Packets that copies lack.", counter, nil,
			one(func(m *moment) uint64 { return m.cluster.Lost })},
		{"sluice_cluster_engine", "Whether the engine of the cluster is connected, whether records could be written when that was last tried, and whether this node has all records that others have (current), without which no other one may be stopped: 1 if so.",
			gauge, []string{"is"}, func(m *moment, emit func(float64, ...string)) {
				emit(truth(m.cluster.Engine.Connected), "connected")
				emit(truth(m.cluster.Engine.Writable), "writable")
				emit(truth(m.cluster.Engine.Current), "current")
			}},
		{"sluice_cluster_copies", "Copies of this node's streams that other nodes take.", gauge, nil,
			one(func(m *moment) int { return m.cluster.Inner.Copies })},
		{"sluice_cluster_sent_bytes_total", "Bytes of streams that other nodes were sent.", counter, nil,
			one(func(m *moment) uint64 { return m.cluster.Inner.Bytes })},
		{"sluice_cluster_refused_total", "Requests for copies that were refused, by who asked: another node, or somebody who has not proved to be one.",
			counter, []string{"who"}, func(m *moment, emit func(float64, ...string)) {
				emit(float64(m.cluster.Inner.Refused), "node")
				emit(float64(m.cluster.Inner.Unproven), "unproven")
			}},
	}
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
