package check

import (
	"fmt"
	"time"
)

// pictureFault returns why there is no picture of a stream of which something came.
func pictureFault(c *comparison, age time.Duration) fault {
	video := &c.tracks[trackVideo]
	switch {
	case video.count == 0:
		return faultf("no-video", "no video came for %v, only sound: look at what in between takes the video out", age)
	case !video.config:
		return faultf("header", "video came without its codec header, so that no player shows a picture: look at whether the server keeps headers for those who come later")
	}
	return faultf("no-key-frame", "no key frame came for %v, although one is sent each second: look at what in between drops frames, and at the server's queues", age)
}

// findingAdvice is where to look, by kind of finding.
var findingAdvice = [findingKinds]string{
	findChanged: "the server or something in between changes frames (a transcoder, a filter)",
	findMissing: "look at the network's losses, at what the server drops for slow viewers, and at its queues",
	findTwice:   "look at a proxy or relay that takes up a stream anew",
	findOrder:   "look at a server that sorts or mixes frames",
	findTime:    "players stutter or lose lip sync by that: look at a setting that mends timestamps",
	findHeader:  "no player shows that track: look at whether the server keeps headers for those who come later",
}

// framesFault returns what is wrong with the frames of a stream that came whole.
func (t *tester) framesFault(c *comparison) fault {
	for kind := range findingKinds {
		if f := &c.findings[kind]; f.count > 0 {
			more := ""
			if f.count > 1 {
				more = fmt.Sprintf(" (%d in all)", f.count)
			}
			return faultf(findingWords[kind], "%s%s: %s", f.first, more, findingAdvice[kind])
		}
	}
	if c.tracks[trackAudio].count == 0 {
		return faultf("no-sound", "no sound came, although it is sent: look at what in between takes it out")
	}
	if median, _ := c.delay(); median > t.times.late || median > t.times.lumps && c.gap > lumps {
		return lateFault(median, c.gap)
	}
	if took := c.trace.picture.Sub(c.trace.began); took > t.times.slow {
		return slowFault(took, c.trace)
	}
	return fault{}
}

// lumps is how long nothing may come between two frames until the stream is said to come in lumps.
// Frames are sent every 20 ms.
const lumps = 500 * time.Millisecond

func lateFault(median, gap time.Duration) fault {
	if gap > lumps {
		return faultf("late", "frames arrive %s after they were sent, in lumps up to %s apart: something in between gathers bytes before it passes them on, as a rule a proxy that buffers (nginx: proxy_buffering off)",
			seconds(median), seconds(gap))
	}
	return faultf("late", "frames arrive %s after they were sent: look at whether the line is too slow, and at queues of the server", seconds(median))
}

// slowFault says which stage of a first picture took longest.
func slowFault(took time.Duration, tr *trace) fault {
	longest, where := time.Duration(0), ""
	for _, s := range tr.stages() {
		if s.took > longest {
			longest, where = s.took, s.name
		}
	}
	return faultf("slow", "the first picture took %s, of which %s were the stage %q: look at %s", seconds(took), seconds(longest), where, stageAdvice[where])
}

// stageAdvice is where to look when a stage takes long.
var stageAdvice = map[string]string{
	stageConnect:   "DNS, and the way to the server",
	stageTLS:       "the load of what ends TLS",
	stageHandshake: "the server's load",
	stageCommands:  "whom the server asks for permission, and whether it waits for a publisher elsewhere",
	stageFirstByte: "a proxy that buffers (nginx: proxy_buffering off), and whether the server waits for a key frame",
	stageKeyFrame:  "a line that is too slow, and what drops key frames, of which one is sent each second",
}

// seconds prints a duration for people.
func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
