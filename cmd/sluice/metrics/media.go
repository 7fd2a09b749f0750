package metrics

import (
	"strings"

	"sluice/hub"
)

// bothRoles are the roles of sessions.
var bothRoles = []hub.Role{hub.RolePublish, hub.RoleWatch}

// byProtocol tells the sums of a figure of sessions of some roles by protocol, with the labels that are
// made of role and protocol.
func byProtocol(of []hub.Role, value func(t *hub.SessionTotals) uint64, labels func(role, protocol string) []string) func(*moment, func(float64, ...string)) {
	return func(m *moment, emit func(float64, ...string)) {
		for _, role := range of {
			by := newSums(protocols[role])
			for i := range m.sessions {
				if t := &m.sessions[i]; t.Role == role {
					by.add(t.Protocol, value(t))
				}
			}
			for protocol, n := range by {
				emit(n, labels(role.String(), protocol)...)
			}
		}
	}
}

// byReason tells how many sessions there were by role and reason.
func byReason(known map[hub.Role][]hub.Reason, value func(t *hub.SessionTotals) map[hub.Reason]uint64) func(*moment, func(float64, ...string)) {
	return func(m *moment, emit func(float64, ...string)) {
		for _, role := range bothRoles {
			by := newSums(reasonWords(known[role]))
			for i := range m.sessions {
				if t := &m.sessions[i]; t.Role == role {
					for why, n := range value(t) {
						by.add(why.String(), n)
					}
				}
			}
			for reason, n := range by {
				emit(n, role.String(), reason)
			}
		}
	}
}

// sessionFigures are those of publishers and viewers.
func sessionFigures() []figure {
	both := func(role, protocol string) []string { return []string{role, protocol} }
	alone := func(_, protocol string) []string { return []string{protocol} }
	publish, watch := bothRoles[:1], bothRoles[1:]
	roleProtocol, roleReason := []string{"role", "protocol"}, []string{"role", "reason"}
	return []figure{
		{"sluice_sessions", "Publishers, and viewers that have their first frame.", gauge, roleProtocol,
			byProtocol(bothRoles, (*hub.SessionTotals).Running, both)},
		{"sluice_sessions_begun_total", "Sessions that began.", counter, roleProtocol,
			byProtocol(bothRoles, func(t *hub.SessionTotals) uint64 { return t.Begun }, both)},
		{"sluice_sessions_ended_total", "Sessions that had begun and ended, by reason. Most reasons are no errors: client left, unpublished, " +
			"complete, codec changed, shutting down and expired are clean ends.", counter, roleReason,
			byReason(ends, func(t *hub.SessionTotals) map[hub.Reason]uint64 { return t.Ended })},
		{"sluice_sessions_refused_total", "Sessions that never began, by reason. Client left and shutting down are no errors.", counter, roleReason,
			byReason(refusals, func(t *hub.SessionTotals) map[hub.Reason]uint64 { return t.Refused })},
		{"sluice_received_bytes_total", "Bytes of tags from publishers.", counter, []string{"protocol"},
			byProtocol(publish, func(t *hub.SessionTotals) uint64 { return t.Bytes }, alone)},
		{"sluice_sent_bytes_total", "Bytes to viewers, in the form of their protocol.", counter, []string{"protocol"},
			byProtocol(watch, func(t *hub.SessionTotals) uint64 { return t.Bytes }, alone)},
		{"sluice_dropped_packets_total", "Packets that viewers were not sent because they were too slow.", counter, nil,
			one(func(m *moment) (n uint64) {
				for i := range m.sessions {
					n += m.sessions[i].Dropped
				}
				return n
			})},
	}
}

// streamFigures are those of streams.
func streamFigures() []figure {
	return []figure{
		{"sluice_streams", "Streams: waiting have viewers and no publisher, live are published, grace wait for their publisher " +
			"to come back, ended send viewers what is left.", gauge, []string{"state"},
			func(m *moment, emit func(float64, ...string)) {
				emit(float64(m.streams.Waiting), "waiting")
				emit(float64(m.streams.Live), "live")
				emit(float64(m.streams.Grace), "grace")
				emit(float64(m.streams.Ended), "ended")
			}},
		{"sluice_stream_log_bytes", "Memory in which the packets of all streams are kept.", gauge, nil,
			one(func(m *moment) int64 { return m.streams.LogBytes })},
		{"sluice_gop_cuts_total", "GOPs that outgrew their bound and were cut.", counter, nil,
			one(func(m *moment) uint64 { return m.streams.GOPCuts })},
		{"sluice_clock_jumps_total", "Jumps of publishers' clocks that were mended.", counter, nil,
			one(func(m *moment) uint64 { return m.streams.Jumps })},
		{"sluice_unwell_publishers", "Publishers with whom something is wrong, as the operators' API says in words.", gauge, nil,
			func(m *moment, emit func(float64, ...string)) {
				if m.cfg.Unwell != nil {
					emit(float64(m.cfg.Unwell()))
				}
			}},
		{"sluice_filled_frames_total", "Frames of silence put in where a publisher sent no sound.", counter, nil,
			one(func(m *moment) uint64 { return m.streams.Filled })},
		{"sluice_skipped_tags_total", "Tags, or parts of them, that were not taken into their stream.", counter, []string{"reason"},
			func(m *moment, emit func(float64, ...string)) {
				for reason, n := range m.streams.Skipped {
					emit(float64(n), reason)
				}
			}},
	}
}

// fanoutFigures are those of the workers that write to viewers.
func fanoutFigures() []figure {
	return []figure{
		{"sluice_fanout_workers", "Workers that write to viewers.", gauge, nil,
			one(func(m *moment) int { return m.pool.Workers })},
		{"sluice_fanout_passes_total", "Passes of the workers over the viewers of streams that have something for them.", counter, nil,
			one(func(m *moment) uint64 { return m.pool.Passes })},
		{"sluice_fanout_pass_seconds_total", "Time that passes took.", counter, nil,
			one(func(m *moment) float64 { return m.pool.Spent.Seconds() })},
		{"sluice_fanout_served_viewers_total", "Viewers that passes served, each once a pass.", counter, nil,
			one(func(m *moment) uint64 { return m.pool.Served })},
		{"sluice_fanout_congested_connections", "Connections that have not taken all that is due to them, and have a goroutine until they have.", gauge, nil,
			one(func(m *moment) int { return m.pool.Congested })},
	}
}

// recordingFigures are those of recordings.
func recordingFigures() []figure {
	return []figure{
		{"sluice_recordings", "Streams that are recorded now.", gauge, nil,
			one(func(m *moment) int { return m.recordings.Running })},
		{"sluice_recordings_begun_total", "Files that were begun.", counter, nil,
			one(func(m *moment) uint64 { return m.recordings.Begun })},
		{"sluice_recordings_finished_total", "Files that were finished.", counter, nil,
			one(func(m *moment) uint64 { return m.recordings.Finished })},
		{"sluice_recordings_gaps_total", "Places in recordings where something is missing.", counter, nil,
			one(func(m *moment) uint64 { return m.recordings.Gaps })},
		{"sluice_recordings_lost_packets_total", "Packets that are missing there.", counter, nil,
			one(func(m *moment) uint64 { return m.recordings.Lost })},
		{"sluice_recordings_disk_failures_total", "Writes and other operations of the disk that failed.", counter, nil,
			one(func(m *moment) uint64 { return m.recordings.Failures })},
		{"sluice_recordings_written_bytes_total", "Bytes written to files.", counter, nil,
			one(func(m *moment) uint64 { return m.recordings.Bytes })},
		{"sluice_recordings_waiting_bytes", "Bytes that wait in memory for the disk.", gauge, nil,
			one(func(m *moment) int64 { return m.recordings.Waiting })},
		{"sluice_recordings_disk_full", "1 while nothing is recorded for want of room.", gauge, nil,
			one(func(m *moment) int {
				if m.recordings.DiskFull {
					return 1
				}
				return 0
			})},
	}
}

// watchedFigures are those of the most watched streams. They are no counters, since a stream may
// leave the list and come back.
func watchedFigures() []figure {
	each := func(value func(w hub.Watched) float64) func(*moment, func(float64, ...string)) {
		return func(m *moment, emit func(float64, ...string)) {
			told := make(map[string]bool)
			for _, w := range m.watched {
				if name := strings.ToValidUTF8(w.Stream, "?"); !told[name] {
					told[name] = true
					emit(value(w), name)
				}
			}
		}
	}
	stream := []string{"stream"}
	return []figure{
		{"sluice_stream_viewers", "Viewers of the streams that are watched most, those who wait for their first frame included.", gauge, stream,
			each(func(w hub.Watched) float64 { return float64(w.Viewers) })},
		{"sluice_stream_received_bytes_per_second", "What the publishers of these streams send.", gauge, stream,
			each(func(w hub.Watched) float64 { return float64(w.Bitrate) / 8 })},
	}
}
