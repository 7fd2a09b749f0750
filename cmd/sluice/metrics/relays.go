package metrics

import (
	"sluice/hub/relay"
)

// relayFigures are those of relays, by their kind.
func relayFigures() []figure {
	each := func(kinds []relay.Kind, value func(f *relay.Figures, k relay.Kind) uint64) func(*moment, func(float64, ...string)) {
		return func(m *moment, emit func(float64, ...string)) {
			for _, k := range kinds {
				emit(float64(value(&m.relays, k)), k.String())
			}
		}
	}
	all, kind := relay.Kinds(), []string{"kind"}
	return []figure{
		{"sluice_relays", "Streams that are pulled (pull: always, origin: for their viewers) and pushed, or would be, by the state of their connection.",
			gauge, []string{"kind", "state"}, func(m *moment, emit func(float64, ...string)) {
				for _, k := range all {
					for _, s := range k.States() {
						emit(float64(m.relays.Connections[k][s]), k.String(), s.String())
					}
				}
			}},
		{"sluice_relay_bytes_total", "Bytes of tags that relays received, or sent.", counter, kind,
			each(all, func(f *relay.Figures, k relay.Kind) uint64 { return f.Bytes[k] })},
		{"sluice_relay_dropped_packets_total", "Packets that targets were not sent because they were too slow.", counter, nil,
			one(func(m *moment) uint64 { return m.relays.Dropped[relay.Push] })},
		{"sluice_relay_tries_total", "Attempts to connect.", counter, kind,
			each(all, func(f *relay.Figures, k relay.Kind) uint64 { return f.Tries[k] })},
		{"sluice_relay_breaks_total", "Connections that had been live and broke.", counter, kind,
			each(all, func(f *relay.Figures, k relay.Kind) uint64 { return f.Breaks[k] })},
		{"sluice_relay_resumed_total", "Breaks after which a pulled stream went on: at the exact packet (joined), or at a key frame (cut).",
			counter, []string{"kind", "how"}, func(m *moment, emit func(float64, ...string)) {
				for _, k := range []relay.Kind{relay.Pull, relay.Origin} {
					emit(float64(m.relays.Joined[k]), k.String(), "joined")
					emit(float64(m.relays.Cuts[k]), k.String(), "cut")
				}
			}},
	}
}
