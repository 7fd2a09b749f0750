package why

import (
	"fmt"
	"time"

	"sluice/flv"
	"sluice/hub"
	"sluice/hub/player"
)

func waitsPermission(k *Known) (Answer, bool) {
	return Answer{
		Sentence: fmt.Sprintf("It waits for permission: the policy has been asked for %s.", k.ago(k.Since)),
		Since:    k.Since,
	}, k.State == hub.SessionAsking
}

func recording(k *Known) (Answer, bool) {
	return Answer{
		Sentence: fmt.Sprintf("It has played a recording for %s, not the live stream.", k.ago(k.Since)),
		Since:    k.Since,
	}, k.Plays
}

// lacks reports whether a viewer waits for what.
func (k *Known) lacks(what hub.Lack) bool {
	return !k.Viewer.At.IsZero() && !k.Viewer.Started && k.Viewer.Lacks == what
}

func waitsPublisher(k *Known) (Answer, bool) {
	a := Answer{Since: k.Since}
	if left := k.Viewer.Left; !left.IsZero() {
		a.Since = left
		a.Sentence = fmt.Sprintf("It waits for the publisher, which left %s ago; the stream is held for %s more.",
			k.ago(left), k.until(left.Add(k.Viewer.Grace)))
	} else {
		a.Sentence = fmt.Sprintf("It has waited for a publisher for %s: nobody publishes the stream.", k.ago(k.Since))
	}
	return a, k.lacks(hub.LacksPublisher)
}

func waitsTrack(k *Known) (Answer, bool) {
	v := &k.Viewer
	a := Answer{Since: v.Published, Expected: v.Decided}
	switch {
	case v.Decided.IsZero() || len(v.Awaits) == 0:
		a.Sentence = fmt.Sprintf("It waits for the first frame of the publisher, which began %s ago.", k.ago(v.Published))
	case v.Awaits[0].Codec != 0:
		a.Sentence = fmt.Sprintf("It waits for the %s that the publisher's metadata announces: the stream begins with it, or without it in %s.",
			words(v.Awaits), k.until(v.Decided))
	default:
		a.Sentence = fmt.Sprintf("It waits for %s, which may still come: the stream begins with it, or without it in %s.",
			words(v.Awaits), k.until(v.Decided))
	}
	a.Sentence += k.silence()
	return a, k.lacks(hub.LacksTracks)
}

func waitsCodecHeader(k *Known) (Answer, bool) {
	return Answer{
		Sentence: fmt.Sprintf("It waits for the codec header of the %s: the publisher, which began %s ago, sends frames without it, and nothing can show these.",
			words(k.Viewer.Awaits), k.ago(k.Viewer.Published)) + k.silence(),
		Since: k.Viewer.Published,
	}, k.lacks(hub.LacksCodecHeader)
}

func waitsKeyFrame(k *Known) (Answer, bool) {
	v := &k.Viewer
	a := Answer{Since: k.Since, Expected: k.keyDue()}
	switch {
	case v.KeyLost:
		a.Sentence = "It waits for the next key frame, since the last one is too far back: what followed it is more than SLUICE_GOP_MAX_BYTES allows"
	case a.Expected.IsZero():
		a.Sentence = fmt.Sprintf("It waits for the first key frame of the publisher, which began %s ago", k.ago(v.Published))
	default:
		a.Sentence = "It waits for a key frame"
	}
	a.Sentence += k.keyFrames() + "." + k.silence()
	return a, k.lacks(hub.LacksKeyFrame)
}

// keyDue returns when the next key frame is due, the zero Time where nothing tells.
func (k *Known) keyDue() time.Time {
	if v := &k.Viewer; v.KeyInterval > 0 {
		return v.KeyFrame.Add(v.KeyInterval)
	}
	return time.Time{}
}

// keyFrames returns the part of a sentence that says when the next key frame is due.
func (k *Known) keyFrames() string {
	due := k.keyDue()
	switch {
	case due.IsZero():
		return ""
	case due.Before(k.Now):
		return fmt.Sprintf("; by the interval so far, %s, one was due %s ago", span(k.Viewer.KeyInterval), k.ago(due))
	}
	return fmt.Sprintf("; by the interval so far, %s, one is due in %s", span(k.Viewer.KeyInterval), k.until(due))
}

// isSilent reports whether the publisher sends nothing.
func (k *Known) isSilent() bool {
	return !k.Viewer.LastWrite.IsZero() && k.Now.Sub(k.Viewer.LastWrite) >= silentAfter
}

// silence returns a further sentence where the publisher sends nothing.
func (k *Known) silence() string {
	if !k.isSilent() {
		return ""
	}
	return fmt.Sprintf(" The publisher has sent nothing for %s.", k.ago(k.Viewer.LastWrite))
}

func rewinding(k *Known) (Answer, bool) {
	return Answer{
		Sentence: "It asked to begin further back: it is given the recording of the stream before it goes on live.",
		Since:    k.Since,
	}, k.Viewer.Delivery.Rewinding
}

func paused(k *Known) (Answer, bool) {
	return Answer{Sentence: "Its player has paused it."}, k.Viewer.Paused
}

func onlyAudio(k *Known) (Answer, bool) {
	return Answer{Sentence: "It asked for the stream without video (onlyaudio)."}, k.Viewer.NoVideo
}

func videoOff(k *Known) (Answer, bool) {
	return Answer{Sentence: "Its player has turned video off (receiveVideo)."}, k.Viewer.VideoOff
}

func noVideo(k *Known) (Answer, bool) {
	told := k.Viewer.Told
	a := Answer{Sentence: "The stream has no video."}
	if len(told) > 0 {
		a.Sentence = fmt.Sprintf("The stream has no video: the viewer was told of %s only.", words(told))
	}
	for _, t := range told {
		if t.Type == flv.TypeVideo {
			return a, false
		}
	}
	return a, k.Viewer.Started
}

func unplayableCodec(k *Known) (Answer, bool) {
	codec, verdict, sentence := k.worst()
	return Answer{Sentence: sentence, Codec: codec}, verdict == player.Unplayable
}

func ended(k *Known) (Answer, bool) {
	return Answer{Sentence: "The stream has ended; the viewer is given what is left of it."}, k.Viewer.Stream == "ended"
}

func publisherLeft(k *Known) (Answer, bool) {
	left := k.Viewer.Left
	return Answer{
		Sentence: fmt.Sprintf("The publisher left %s ago; its viewers are held for %s more.", k.ago(left), k.until(left.Add(k.Viewer.Grace))),
		Since:    left,
	}, !left.IsZero()
}

func publisherSilent(k *Known) (Answer, bool) {
	return Answer{
		Sentence: fmt.Sprintf("The publisher is connected and has sent nothing for %s.", k.ago(k.Viewer.LastWrite)),
		Since:    k.Viewer.LastWrite,
	}, k.isSilent()
}

func congested(k *Known) (Answer, bool) {
	d := &k.Viewer.Delivery
	state := fmt.Sprintf("has not taken all that is due for %s: it is %s behind, and", k.ago(d.Congested), span(k.Viewer.Lag))
	// What it is too slow for is skipped also while it takes nothing: its lag is then that of
	// the key frame at which it would go on.
	if !d.Written.IsZero() && k.Now.Sub(d.Written) >= max(k.Viewer.Lag, congestedAfter) {
		state = fmt.Sprintf("has taken nothing for %s:", k.ago(d.Written))
	}
	return Answer{
		Sentence: fmt.Sprintf("Its connection %s %s.%s%s", state, waiting(d), k.peer(), k.losses()),
		Since:    d.Congested,
	}, !d.Congested.IsZero() && k.Now.Sub(d.Congested) >= congestedAfter
}

// waiting returns the part of a sentence that says how much waits for a connection.
func waiting(d *hub.Delivery) string {
	if d.Unacknowledged < 0 {
		return fmt.Sprintf("%s wait to be written", size(d.Unwritten))
	}
	return fmt.Sprintf("%s wait to be written and %s to be acknowledged", size(d.Unwritten), size(d.Unacknowledged))
}

// peer returns a further sentence where it is known what is wrong with the viewer's peer.
func (k *Known) peer() string {
	d := &k.Viewer.Delivery
	switch {
	case d.Unanswered >= resentOften:
		return fmt.Sprintf(" Its host does not answer: the same bytes were sent %d times more.", d.Unanswered)
	case d.Closed:
		return " Its host answers: it is the player there that does not read, or not fast enough."
	}
	return ""
}

func unacknowledged(k *Known) (Answer, bool) {
	d := &k.Viewer.Delivery
	a := Answer{Since: d.Written}
	late := !d.Acknowledged.IsZero() && k.Now.Sub(d.Acknowledged) >= unansweredAfter
	if late {
		a.Since = d.Acknowledged
	}
	switch {
	case late:
		a.Sentence = fmt.Sprintf("Its peer has acknowledged nothing for %s, and %s are under way to it.%s", k.ago(d.Acknowledged), size(d.Unacknowledged), k.peer())
	default:
		a.Sentence = fmt.Sprintf("Its peer takes nothing more: %s wait to be acknowledged.%s", size(d.Unacknowledged), k.peer())
	}
	return a, d.Unacknowledged > 0 && (late || d.Asked >= closedOften || d.Unanswered >= resentOften)
}

func skippedToKeyFrame(k *Known) (Answer, bool) {
	v := &k.Viewer
	a := Answer{Expected: k.keyDue()}
	if v.Evicted {
		a.Sentence = "It was too slow, so that " + leftOut(k.Dropped) + ", and gets video again from the next key frame on"
	} else {
		a.Sentence = "It gets video from the next key frame on"
	}
	a.Sentence += k.keyFrames() + "."
	return a, v.NeedsKey && v.Begun
}

func behind(k *Known) (Answer, bool) {
	return Answer{
		Sentence: fmt.Sprintf("It is %s behind the newest packet, though its connection takes what it is given.", span(k.Viewer.Lag)),
	}, k.Viewer.Lag >= behindAfter
}

func starting(k *Known) (Answer, bool) {
	v := &k.Viewer
	if v.At.IsZero() {
		return Answer{Sentence: "It has just been let in, or is leaving: it stands in no stream."}, true
	}
	return Answer{
		Sentence: fmt.Sprintf("It was let in %s ago and has had no frame yet.", k.ago(k.Since)) + k.silence(),
		Since:    k.Since,
	}, !v.Started || !v.Begun
}

// losses returns a further sentence where a viewer was too slow before.
func (k *Known) losses() string {
	if k.Dropped == 0 {
		return ""
	}
	return " It has been too slow before: " + leftOut(k.Dropped) + " so far."
}

// leftOut says how many packets a viewer missed.
func leftOut(packets uint64) string {
	if packets == 1 {
		return "1 packet was left out"
	}
	return fmt.Sprintf("%d packets were left out", packets)
}

// fine returns the sentence for a viewer of whom nothing is known that is wrong.
func fine(k *Known) string {
	s := fmt.Sprintf("It gets %s and is %s behind: nothing is known to be wrong", words(k.Viewer.Gets), span(k.Viewer.Lag))
	if k.Dropped > 0 {
		s += " now"
	}
	s += "." + k.losses()
	if _, verdict, sentence := k.worst(); verdict == player.Doubtful {
		s += " " + sentence
	}
	return s
}
