package relay

import (
	"math/rand/v2"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/hub"
)

// The path of a stream ends with this server, and begins with what its metadata tells.
func TestPushPath(t *testing.T) {
	path := func(node, told string) (passed any) {
		p := newPush(pushConfig{Hub: hub.New(hub.Config{}), Node: node, Key: pushKey})
		var props amf.ECMAArray
		if told != "" {
			props = append(props, amf.Property{Name: hub.PathProperty, Value: told})
		}
		values, err := amf.DecodeAll(p.withPath(amf.AppendAMF0(nil, "onMetaData", props)), amf.Limits{})
		require.NoError(t, err)
		passed, _ = values[1].(amf.ECMAArray).Get(hub.PathProperty)
		return passed
	}
	assert.Equal(t, "here", path("here", ""))
	assert.Equal(t, "a,b,here", path("here", "a,b"))
	assert.Equal(t, "here", path("here", "no path!"))
	assert.Equal(t, "a", path("", "a"))
	assert.Nil(t, path("", ""))
}

func TestPushClock(t *testing.T) {
	begin := time.Now()
	frame := func(at int64) *hub.Packet {
		return &hub.Packet{Tag: flv.Tag{Type: flv.TypeVideo}, Time: at}
	}
	var c pushClock
	at := func(p *hub.Packet, passed time.Duration) int {
		ts, ok := c.at(p, begin.Add(passed))
		if !ok {
			return -1
		}
		return int(ts)
	}
	c.join()
	assert.Equal(t, 0, at(frame(70_000), 0))
	assert.Equal(t, -1, at(frame(69_990), 0), "sound from before its beginning")
	assert.Equal(t, 40, at(frame(70_040), 0))
	assert.Equal(t, 30, at(frame(70_030), 0), "sound a little behind pictures")
	assert.Equal(t, 80, at(frame(70_080), time.Second))

	c.join() // another stream of the hub, 5 s later
	header := frame(10)
	header.Header = true
	assert.Equal(t, 5080, at(header, 6*time.Second))
	assert.Equal(t, 5080, at(frame(10), 6*time.Second))
	assert.Equal(t, 5070, at(frame(0), 6*time.Second))
	assert.Equal(t, -1, at(frame(-5001), 6*time.Second))

	c.join() // at once
	assert.Equal(t, 5120, at(frame(90), 6*time.Second))
	c.join() // after a day
	assert.Equal(t, 5120+3600_000, at(frame(90), 24*time.Hour))
	assert.Equal(t, uint32(5120+3600_000), uint32(c.last))
	base := int64(1) << 32
	assert.Equal(t, int(uint32(base+5120+3600_000)), at(frame(90+base), 24*time.Hour), "timestamps wrap")
}

// Only what can be known counts as acknowledged.
func TestPushAcks(t *testing.T) {
	var a pushAcks
	now := time.Now()
	look := func(written uint64, outstanding int, blocked time.Duration) {
		now = now.Add(time.Second)
		a.look(fakeAcks(outstanding), written, blocked, now)
	}
	for range 20 {
		look(0, 300, 0) // of the handshake
	}
	assert.False(t, a.live || a.ever)
	assert.Zero(t, a.stale(now), "nothing was sent")
	look(1000, 1500, 0)
	look(2000, 2600, 0)
	assert.False(t, a.live, "it all is outstanding")
	look(3000, 2000, 0)
	assert.True(t, a.live && a.ever)
	for n := range 6 {
		assert.Equal(t, n < 5, a.live, n)
		look(3000+1000*uint64(n), 2000+1010*n, 0)
	}
	assert.False(t, a.live)
	assert.True(t, a.ever)
	assert.Equal(t, 6*time.Second, a.stale(now))
	look(9000, 0, time.Second)
	assert.True(t, a.live, "more was taken than before")
	assert.False(t, a.healthy(now))
	for range 20 {
		look(9000, 0, 0)
	}
	assert.True(t, a.healthy(now), "nothing is outstanding")
	for range 6 {
		look(9000, 0, time.Second)
	}
	assert.False(t, a.live, "a write is under way that nothing came of")
	assert.False(t, a.healthy(now))
}

// Who is looked at first when media have been sent has had no time yet.
func TestPushAcksBeginWithTheFirstLook(t *testing.T) {
	var a pushAcks
	now := time.Now()
	a.look(fakeAcks(1500), 1000, 0, now)
	assert.False(t, a.live || a.ever)
	assert.Zero(t, a.stale(now), "it has just been sent")
	a.look(fakeAcks(1500), 1000, 0, now.Add(pushStale-time.Millisecond))
	assert.Zero(t, a.stale(now.Add(pushStale-time.Millisecond)))
	a.look(fakeAcks(1500), 1000, 0, now.Add(pushStale))
	assert.Equal(t, pushStale, a.stale(now.Add(pushStale)))
	a.look(fakeAcks(0), 1000, 0, now.Add(pushStale))
	assert.True(t, a.live)
}

// fakeAcks is a Sink with so many bytes outstanding.
type fakeAcks int

func (f fakeAcks) Unacknowledged() (int, bool) { return int(f), true }

// A real stream arrives as it was published: every frame, in order, at its time.
func TestPushClip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, err := os.Open("../../testdata/clips/h264-bframes-aac.flv")
		require.NoError(t, err)
		defer f.Close()
		in := flv.NewReader(f)
		g := newPushRig(t, time.Minute)
		g.run()
		p, err := g.hub.Publish(g.hub.NewSession(hub.RolePublish, pushKey, hub.Client{}), hub.PublishOptions{})
		require.NoError(t, err)
		var sent []flv.Tag
		clock := uint32(0)
		for {
			tag, err := in.Next()
			if err != nil {
				break
			}
			if tag.Timestamp > clock {
				time.Sleep(time.Duration(tag.Timestamp-clock) * time.Millisecond)
				clock = tag.Timestamp
			}
			require.NoError(t, p.Write(tag))
			if packet, err := tag.Packet(); err == nil && packet.Kind == flv.KindFrame {
				tag.Data = append([]byte(nil), tag.Data...)
				sent = append(sent, tag)
			}
		}
		p.Close()
		time.Sleep(time.Second)
		var got []flv.Tag
		for _, tag := range g.target.last().got() {
			if packet, err := tag.Packet(); err == nil && packet.Kind == flv.KindFrame {
				got = append(got, tag)
			}
		}
		checkPushClock(t, g.target.last().got())
		require.Greater(t, len(got), 50)
		from := len(sent) - len(got)
		assert.Less(t, from, 20, "it begins with the newest key frame")
		shift := sent[from].Timestamp - got[0].Timestamp
		for n := range got {
			require.Equal(t, sent[from+n].Data, got[n].Data)
			require.InDelta(t, sent[from+n].Timestamp-shift, got[n].Timestamp, 1)
		}
		g.end()
	})
}

// Where nothing is acknowledged, nothing is ever taken for acknowledged, whenever it is looked.
func TestPushAcksNever(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var a pushAcks
	now := time.Now()
	bodies, wire := 0, rng.IntN(400) // the handshake may be outstanding, too
	for range 1000 {
		now = now.Add(100 * time.Millisecond)
		n := rng.IntN(3000)
		overhead := rng.IntN(100)
		taken := rng.IntN(n + overhead + 1) // of the write under way
		a.look(fakeAcks(wire+taken), uint64(bodies), 1, now)
		bodies, wire = bodies+n, wire+n+overhead
		a.look(fakeAcks(wire), uint64(bodies), 0, now)
	}
	assert.False(t, a.ever)
}
