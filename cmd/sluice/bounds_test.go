package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// bounds are the rows of the table in BOUNDS.md. What stands in braces is a variable of
// the configuration, or a constant of the code: a package, its constant, for some a field
// of a struct, and the unit of a number of bytes.
var bounds = []struct{ what, bound, beyond string }{
	{"connections in all", "the limit of open files less {cmd/sluice.ownFiles} and what proxies, questions, events and operators need, and with recordings 1/{cmd/sluice.recordedPart} of them; {SLUICE_MAX_CONNECTIONS}",
		"those that have shown nothing yet go first, then those that have waited for permission for more than {cmd/sluice/admission.askingPatience}; then 503 over HTTP, closed over RTMP"},
	{"connections of one address (IPv6: of one /64)", "none; {SLUICE_MAX_CONNECTIONS_PER_ADDRESS}. Those of a trusted proxy over HTTP count for the addresses of its clients, and for none between two requests",
		"the same, for that address alone"},
	{"connections that have shown nothing, of one address; in all", "{cmd/sluice/admission.maxPendingPerAddress}; {cmd/sluice/admission.maxPending}",
		"the oldest of the address with the most are closed, none younger than {cmd/sluice/admission.defaultPatience}"},
	{"connections that are being told that they are too many", "{cmd/sluice/admission.maxTurned} for {cmd/sluice/admission.refusalTimeout}", "closed"},
	{"connections of operators and for metrics", "{cmd/sluice.maxAdminConnections}", "those without a request, or without a token in it, give way"},
	{"scrapes of metrics at a time; time for one; streams that have figures by name", "{cmd/sluice/metrics.maxScrapes}; {cmd/sluice/metrics.scrapeTimeout}; {SLUICE_METRICS_STREAMS}, up to {cmd/sluice/metrics.MaxStreams}",
		"503; 503; they have none"},
	{"profiles of the process at a time; time for one", "{cmd/sluice.maxProfiles}; {cmd/sluice.maxProfileTime}", "503; 400"},
	{"a PROXY header: bytes of version 1; of version 2; time for it", "{cmd/sluice/proxied.maxV1 bytes}; {cmd/sluice/proxied.maxV2 bytes}; {cmd/sluice/proxied.headerTimeout}", "closed"},
	{"PROXY headers of a port that have not come with their connections", "{cmd/sluice/proxied.maxHeaders}", "the oldest are closed, none younger than {cmd/sluice/proxied.slowHeader}; until then the port waits"},
	{"relays that operators make; URLs of a relay; bytes of one", "{hub/relay.MaxRules}; {hub/relay.MaxURLs}; {hub/relay.MaxURL bytes}",
		"409; 400; the same, and in the configuration an error at the start"},
	{"streams that viewers have pulled at a time; connections of a pull in a row; what comes that leads nowhere; what all pulls hold together while they join",
		"1 in {cmd/sluice.originPart} of the limit of open files; {hub/relay.paceBurst}, then 1 each {hub/relay.paceEach}; {hub/relay.noMedia}; {hub/relay.maxJoining bytes}, {hub/relay.leastJoining bytes} each at least",
		"viewers are refused; it waits; as if it had broken off; it goes on at a key frame"},
	{"dials of relays at a time; those to one address; time for one", "{hub/relay/dialer.DefaultMax}; half of them; {hub/relay/dialer.timeout}", "others wait; the same; tried again"},
	{"redirects of a pull over HTTP; the head of an answer; time for that and for TLS, each; until the answer begins; from there to the first frame",
		"{httpflv/pull.maxRedirects}; {httpflv/pull.maxHead bytes}; {httpflv/pull.defaultHeadTimeout}; {httpflv/pull.defaultAnswerTimeout}; {httpflv/pull.defaultFirstTimeout}", "it has failed, and is tried again"},
	{"a server that a stream is pulled from over HTTP and that sends nothing; one tag of it", "{httpflv/pull.defaultSilenceTimeout}; {httpflv/pull.maxTagTime} times as long", "it has broken off"},
	{"connections to the inner protocol of those who have not proved to be nodes, in all; of one address (IPv6: of one /64); a request's head; time for it and for TLS; before one that is not proved is refused; requests of nodes that are remembered",
		"{httpflv/replica.maxUnproven}; {httpflv/replica.maxUnprovenPerAddress}; {httpflv/replica.maxHead bytes}; {httpflv/replica.readHeaderTimeout}; {httpflv/replica.defaultUnprovenDelay}; {httpflv/replica.maxNonces}, until their time has passed",
		"the oldest of the address with the most is closed; the oldest, if it has had {httpflv/replica.provingTime}; 431; closed; it waits; refused, \"too many\""},
	{"streams that a node gives to others at a time; time until it is known where one begins; a node that takes nothing; clocks of two nodes", "{httpflv/replica.defaultMaxCopies}; {httpflv/replica.serveTimeout}; {httpflv/replica.writeTimeout}; {httpflv/replica.maxSkew} apart",
		"refused, \"too many\"; refused, \"not found\"; closed; refused, with the difference"},
	{"a node that a stream is copied from: until its answer is there; silence; one tag; what is said between tags; a time that differs from the one before",
		"{httpflv/replica.defaultAnswerTimeout}; {httpflv/replica.defaultSilence}; {httpflv/replica.maxTagTime} times as long; {httpflv/replica.maxControl bytes}; a week more, 10 minutes less", "it has broken off, and is asked again"},
	{"addresses of a variable", "{cmd/sluice.maxAddresses}", "an error at the start"},
	{"handshakes of TLS: time for one, those of a connection that waits included; those that compute at a time",
		"{hub/tlsconn.defaultTimeout}; half as many as there are cores, one at least", "closed; others wait"},
	{"a client that speaks no TLS where it has to: time to take the answer; bytes read meanwhile", "{hub/tlsconn.politeTime}; {hub/tlsconn.politeBytes bytes}", "closed"},
	{"answers of TLS to a peer that does not read them: bytes; before it is served by a pump, time", "{hub/tlsconn.maxPending bytes}; {hub/tlsconn.answerTimeout}", "closed"},
	{"what a client sends of TLS itself after the handshake: a message; key updates", "{hub/tlsconn.maxPost bytes}; some {hub/tlsconn.maxUpdates}, and one more with {hub/tlsconn.updateBytes bytes} that it sends", "closed"},
	{"what a viewer says over HTTPS that nobody asked for", "{httpflv.maxIgnored bytes}", "not read any more"},
	{"X-Forwarded-For: addresses; bytes", "{cmd/sluice/proxied.maxHops}; {cmd/sluice/proxied.maxForwarded bytes}", "what stands further left is not looked at"},
	{"pairs of files with certificates, or names for which they are obtained; bytes of a file", "{cmd/sluice/certificate.MaxCertificates}; {cmd/sluice/certificate.maxFile bytes}",
		"an error at the start; the same, and later the old one is served"},
	{"orders of certificates at a time; time for one; for one of the authority's answers; its size", "{cmd/sluice/certificate.maxOrders}; {cmd/sluice/certificate.orderTimeout}; {cmd/sluice/certificate.requestTimeout}; {cmd/sluice/certificate.maxAnswer bytes}",
		"others wait; it has failed and is made anew, after an hour at the latest; the same; the same"},
	{"streams", "{hub.defaultMaxStreams}; as many more may be published when viewers wait for that many", "refused, \"too many\""},
	{"viewers of a stream", "none; {SLUICE_MAX_VIEWERS}", "refused, \"too many\""},
	{"streams of self-tests (`sluice check`), published at a time; for how long", "{hub.maxChecks}; {hub.maxCheckTime}", "refused, \"too many\"; ended, `NetStream.Publish.Rejected`"},
	{"bitrate of a publisher", "none; {SLUICE_MAX_BITRATE}, of which twice as much passes for {hub.allowanceWindow}", "ended, `NetStream.Publish.Rejected`"},
	{"what a stream keeps", "{SLUICE_GOP_MAX_BYTES}", "the GOP is cut"},
	{"what all streams keep", "1/{cmd/sluice.logsPart} of the memory", "those that keep more than their share are cut, to {hub.minLogBound bytes} at the least"},
	{"the beginning of a session that is kept for readers", "{hub.sessionLead}, {hub.maxSessionLead bytes}", "a reader that comes later begins with what the log still holds"},
	{"large frames that wait for congested viewers", "1/{cmd/sluice.unwrittenPart} of the memory; viewers who wait for the same frame hold it once", "those that cost most are ended, \"stalled\""},
	{"what else a congested viewer's connection keeps: of media; of its session's own messages", "{hub/fanout.largeRest bytes}; {hub/fanout.maxQueued bytes}", "it is read from the log later; ended, \"stalled\""},
	{"what the kernel keeps of a viewer's bytes that it cannot send yet", "about {hub/fanout.maxUnsent bytes} (Linux)", "the viewer is behind"},
	{"a viewer that takes nothing", "{SLUICE_STALL_TIMEOUT}", "ended, \"stalled\""},
	{"a viewer behind the live edge", "{SLUICE_MAX_LAG}", "goes on at the newest key frame"},
	{"a viewer's wait: for a publisher; for its first key frame", "{SLUICE_VIEWER_WAIT}; {hub.startWait}", "refused, \"not found\""},
	{"questions to the policy at a time; in the queues of publishers and of viewers, each; time for an answer", "{hub.maxQuestions}; {hub.maxQueuedQuestions}; {cmd/sluice.defaultAuthorizeTimeout}",
		"the rest is queued; the last question of the address with the most in the queue is refused, \"too many\"; refused, \"denied\""},
	{"addresses (IPv6: /64) whose wrong secrets are counted; lists of recordings of one that count once", "{hub/access.maxFailing}; {hub/access.maxLists}",
		"the oldest is forgotten; each stream of a further one counts"},
	{"a token; keys that are tried for one that names none", "{hub/access/token.MaxToken bytes}; {hub/access/token.maxTried}", "refused, \"denied\"; others are not"},
	{"fetches of the keys of tokens; their document; how many keys; questions that wait for a fetch, and for how long",
		"one in {hub/access/token.minInterval}; {cmd/sluice/hook.maxKeys bytes}; {hub/access/token.MaxKeys}; {hub/access/token.maxWaiting}, {hub/access/token.maxWait}",
		"the keys that are there count"},
	{"bans; those that one kick makes", "{hub/access/ban.MaxBans}; {web/admin.maxKickBans}", "409"},
	{"wrong tokens of operators, of one address (IPv6: of one /64); addresses", "{web/admin.maxFailures} in {web/admin.failuresFor}; {web/admin.maxFailing}", "429 until that time is over; some are forgotten"},
	{"bytes of an RTMP client that waits for permission; of all of them", "{rtmp.maxHeld bytes}; {rtmp.maxHeldInAll bytes}", "the rest stays in the system's buffers"},
	{"what recordings keep in memory of what their disk has not taken", "{SLUICE_RECORD_BUFFER}", "lost: a gap, which is told"},
	{"writes of recordings at a time; bytes of one", "{hub/record.maxWrites}; {hub/record.gather bytes}, or one packet", "others wait, in the log"},
	{"files of a stream's recording that a viewer may rewind into", "{hub/record.maxParts}", "as far as the newest"},
	{"what a browser is sent of a recording ahead of its picture, when it rewinds a stream", "{cmd/sluice.rewindAhead}, about {cmd/sluice.rewindAheadBytes bytes}", "it gets it later"},
	{"figures of streams that have ended", "{hub/monitor.maxGone} streams, for five minutes", "those that ended first are forgotten"},
	{"events that wait for an observer", "{hub.maxEvents}", "lost, and one event says how many"},
	{"questions to the server of `url` at a time; time for one; its answer; failures in a row until it is left alone", "{cmd/sluice/hook.maxConnections}; {cmd/sluice/hook.defaultTimeout}; {cmd/sluice/hook.maxAnswer bytes}; {cmd/sluice/hook.breakerFailures}",
		"others wait; no answer; no answer; no answer for {cmd/sluice/hook.breakerPause}"},
	{"what is known of the server of `url`: answers that hold; publishers that may come back; sessions of which it knows", "{cmd/sluice/hook.maxCached}; {cmd/sluice/hook.maxPublishers}; {cmd/sluice/hook.maxAsked}",
		"the oldest is asked for again; the oldest may not; it is told twice of the oldest"},
	{"events that wait for a receiver; denials among them", "{cmd/sluice/event.maxWaiting}; {cmd/sluice/event.maxDenied}",
		"the oldest is dropped, a gap tells; the newest is dropped, a gap tells"},
	{"finished recordings that wait until a receiver takes events again; until all receivers were told", "{cmd/sluice/event.maxKept}; {cmd/sluice/event.maxUntold}",
		"told after the next start; the oldest is never told, a line in the log"},
	{"attempts to tell an event: for how long; one that the endpoint does not want", "{cmd/sluice/event.patience}; {cmd/sluice/event.maxRefusals}", "dropped, a gap tells"},
	{"requests to the endpoint for events at a time; time for one; its answer", "{cmd/sluice/event.webhookWorkers}; {cmd/sluice/event.webhookTimeout}; {cmd/sluice/event.maxAnswer bytes}",
		"others wait; tried again; the rest is not read"},
	{"programs for events at a time; time for one; what it prints", "{cmd/sluice/event.execWorkers}; {cmd/sluice/event.execTimeout}; {cmd/sluice/event.maxOutput bytes}",
		"others wait; killed with its children; not kept"},
	{"denials that are told a second: of one address (IPv6: of one /64); in all", "{cmd/sluice/event.deniedRate}; {cmd/sluice/event.deniedTotal}", "counted, and their number told"},
	{"events that are kept for the operators' API", "{cmd/sluice/event.ringSize}", "the oldest are forgotten"},
	{"each text that a session keeps of its client; of its agent in the log", "{hub.maxShown bytes}; {hub.maxAgentPrinted bytes}", "cut"},
	{"RTMP handshake; then connect; then publish or play", "{rtmp.defaultHandshakeTimeout}; {rtmp.defaultConnectTimeout}; {rtmp.defaultCommandTimeout}", "closed"},
	{"silence of a publisher", "{rtmp.defaultPublishIdleTimeout} without a byte", "closed, \"idle\""},
	{"silence of a player", "none, as players may be silent. Where its system answers nothing: {rtmp.defaultPingInterval} until it is asked, then {rtmp.defaultDeadPeerTimeout}, or {SLUICE_STALL_TIMEOUT} and 10 s if that is more (Linux)", "closed"},
	{"a write to an RTMP client that has no viewer yet", "{rtmp.defaultWriteTimeout}", "closed"},
	{"chunk streams of a connection", "{rtmp/internal/chunk.defaults.ChunkStreams}", "closed"},
	{"chunk size of a client", "1 to {rtmp/internal/chunk.maxChunkSize}; nothing is sized by it", "closed"},
	{"a message before publishing: media and others; control", "{rtmp/internal/chunk.Cautious.Media bytes}; {rtmp/internal/chunk.Cautious.Control bytes}", "closed at its header"},
	{"a message of a publisher: media; others; control", "{rtmp/internal/chunk.defaults.Media bytes}; {rtmp/internal/chunk.defaults.Command bytes}; {rtmp/internal/chunk.defaults.Control bytes}", "closed at its header"},
	{"bytes of unfinished messages: before publishing; of a publisher", "{rtmp/internal/chunk.Cautious.InFlight bytes}; {rtmp/internal/chunk.defaults.InFlight bytes}", "closed"},
	{"parts of an aggregate message", "{rtmp.maxAggregated}", "closed"},
	{"AMF of a command: depth; values; texts", "{rtmp.commandLimits.Depth}; {rtmp.commandLimits.Elements}; {rtmp.commandLimits.Bytes bytes}", "the rest is passed over"},
	{"AMF of script data, and of each value of onMetaData: depth; values; texts", "{hub.scriptLimits.Depth}; {hub.scriptLimits.Elements}; {hub.scriptLimits.Bytes bytes}",
		"left out, counted; what else the metadata says stays"},
	{"onMetaData; its properties; their names; their texts", "{hub.maxScript bytes}; {hub.maxProperties}; {hub.maxPropertyKey bytes}; {hub.maxPropertyStr bytes}", "left out, counted"},
	{"commands, pings and the like of a client", "{rtmp.defaultMaxCommands} a second, twice as many in a burst", "closed"},
	{"message streams of a connection", "{rtmp.defaultMaxStreams}", "refused"},
	{"what one publisher may have read in a turn", "{rtmp.turnBytes bytes} or {rtmp.turnMessages} messages", "others come first"},
	{"stream name, APP/NAME", "{hub.MaxKeyLength bytes}: letters, numbers and marks of any script, and {hub.keyPunctuation}", "refused, \"bad request\""},
	{"app, name and tcUrl of an RTMP client; pageUrl and swfUrl", "{rtmp.maxArgument bytes}; {rtmp.maxURL bytes}", "refused; cut"},
	{"tracks in a body; ModEx headers before them", "{flv.maxTracks}; {flv.maxModEx}", "passed over, counted"},
	{"codec headers of a stream; each of them", "{hub.maxConfigs}; {hub.maxConfigSize bytes}", "passed over, counted"},
	{"HTTP request: header; time for it; time for a body; query of a stream", "{cmd/sluice.maxHeaderBytes bytes}; {cmd/sluice.readHeaderTimeout}; {httpflv/answer.BodyTimeout}; {httpflv.maxQuery bytes}", "431; closed; closed; 400"},
	{"HTTP: time to take a refusal; another answer that is no stream; idle connection", "{httpflv/answer.Timeout}; {cmd/sluice.answerTimeout}; {cmd/sluice.idleTimeout}", "closed"},
	{"HTTP/2: requests on a connection; bytes of bodies that nobody reads; silence until a client is asked, and until it has answered; a connection that takes nothing",
		"{cmd/sluice.maxHTTP2Streams}; {cmd/sluice.http2Buffer bytes}; {cmd/sluice.http2Ping}, {cmd/sluice.http2PingTimeout}; {SLUICE_STALL_TIMEOUT}", "refused, and come again; not taken; closed; closed"},
	{"WebSocket: what is read of a client that exceeded a bound, until its close frame", "{httpflv.closeBurst bytes}", "closed"},
	{"WebSocket: a client's message; all that it sends; time for one frame", "{httpflv.maxClientMessage bytes}; {httpflv.clientBurst bytes}, then {httpflv.clientRate bytes} a second; {httpflv.frameTimeout}", "1009; 1008; 1008"},
	{"recordings over HTTP: a client that takes nothing; one whose answer ends at shutdown", "{httpflv/vod.defaultStallTimeout}; {httpflv/vod.politeEnd}", "closed"},
	{"recordings over WebSocket: what a player gets at once, and is ahead of real time", "{httpflv/vod.playAhead}, and {httpflv/vod.playLull} at a time", "waits"},
	{"ranges of a request for a recording; its id", "{httpflv/vod.maxRanges}; {httpflv/vod.maxID bytes}", "the whole file; 404"},
	{"heads of MP4 files that are kept; that are in use; files that are scanned for theirs at a time", "{httpflv/vod.defaultMP4CacheBytes bytes}; {httpflv/vod.usedFactor} times as much; {httpflv/vod.maxScans}", "those used least recently are made again; 503; the rest waits"},
	{"recordings on a page of the list; streams of it about which the policy is asked at a time", "{web.maxRecordings}; {httpflv/vod.maxAsking}", "400; the rest waits"},
	{"log lines of viewers of one address that are refused again since nobody publishes their stream; how many of these are known", "1 in {hub.repeatsWindow}; {hub.maxRepeats}", "counted in the next line; each has its line"},
	{"log lines of one kind", "{cmd/sluice.logBurst} at once, {cmd/sluice.logRate} a second", "left out, and a line says how many"},
	{"at shutdown: the time that those have who can reconnect elsewhere; requests that wait for one of them, and that its client has not taken", "{cmd/sluice.moveTimeout}; 1, the last one", "ended with the rest"},
	{"the end of all sessions at shutdown", "{cmd/sluice.drainTimeout}", "cut off"},
}

var braces = regexp.MustCompile(`\{[^}]*\}`)

func TestBoundsTable(t *testing.T) {
	code := newConstants()
	var b strings.Builder
	b.WriteString("| what | bound | beyond it | where it stands |\n|---|---|---|---|\n")
	for _, row := range bounds {
		var where []string // constants, those of a package together
		var last string    // package
		fill := func(text string) string {
			return braces.ReplaceAllStringFunc(text, func(in string) string {
				name, unit, _ := strings.Cut(strings.Trim(in, "{}"), " ")
				if strings.HasPrefix(name, envPrefix) {
					return variableText(t, name)
				}
				pkg, short := splitConstant(name)
				value, err := code.text(pkg, short, unit)
				require.NoError(t, err, name)
				if head := "`" + pkg + "`: "; len(where) == 0 || pkg != last {
					where, last = append(where, head+short), pkg
				} else {
					where[len(where)-1] += ", " + short
				}
				return value
			})
		}
		bound, beyond := fill(row.bound), fill(row.beyond)
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", row.what, bound, beyond, strings.Join(where, "; "))
	}
	checkTable(t, "BOUNDS.md", "bounds", "cmd/sluice/bounds_test.go and the constants", b.String())
}

// variableText returns the name of a variable, after its default if that bounds anything.
func variableText(t *testing.T, name string) string {
	t.Helper()
	all := variables()
	i := slices.IndexFunc(all, func(v variable) bool { return v.Name == name })
	require.GreaterOrEqual(t, i, 0, "there is no variable %s", name)
	if v := all[i]; v.Default != "0" {
		return fmt.Sprintf("%s (`%s`)", v.Default, name)
	}
	return "`" + name + "`"
}
