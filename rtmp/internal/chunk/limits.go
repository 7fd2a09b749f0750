package chunk

// Limits are what a Reader accepts from its peer. Zero fields stand for the
// defaults. None of them is memory that is taken beforehand: memory is taken as
// bytes arrive. There is no limit on the chunk size that a peer may set, since
// nothing is sized by it.
type Limits struct {
	ChunkStreams int // chunk stream ids used over the life of a connection; default 64, clients use 5
	Media        int // bytes of an audio, video or aggregate message; default MaxMessageSize
	Command      int // bytes of a message of any other kind; default 1 MiB
	Control      int // bytes of a protocol control or user control message, types 1 to 6; default 1 KiB
	InFlight     int // bytes of all messages together that are begun and not finished; default 32 MiB
}

// Cautious are the Limits for a peer of which nothing is known yet, and which has no
// reason to send much: commands are short, and media is not wanted.
var Cautious = Limits{
	ChunkStreams: 64,
	Media:        64 << 10,
	Command:      64 << 10,
	Control:      1 << 10,
	InFlight:     256 << 10,
}

// defaults are what Readers of known peers use.
var defaults = Limits{
	ChunkStreams: 64,
	Media:        MaxMessageSize,
	Command:      1 << 20,
	Control:      1 << 10,
	InFlight:     32 << 20,
}

// withDefaults returns the limits that l stands for, which must not be changed.
func (l Limits) withDefaults() *Limits {
	switch l {
	case Limits{}:
		return &defaults
	case Cautious:
		return &Cautious
	}
	for _, f := range []struct {
		field *int
		value int
	}{
		{&l.ChunkStreams, defaults.ChunkStreams},
		{&l.Media, defaults.Media},
		{&l.Command, defaults.Command},
		{&l.Control, defaults.Control},
		{&l.InFlight, defaults.InFlight},
	} {
		if *f.field <= 0 {
			*f.field = f.value
		}
	}
	return &l
}

// messageSize returns how long a message of a type may be.
func (l *Limits) messageSize(typ uint8) int {
	switch {
	case typ == typeAudio, typ == typeVideo, typ == typeAggregate:
		return l.Media
	case typ <= lastControlType:
		return l.Control
	}
	return l.Command
}
