package e2e

import (
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/hub"
)

// readClip reads the tags of an FLV file that hold sound or pictures.
func readClip(path string) (tags []flv.Tag) {
	file, err := os.Open(path)
	if err != nil {
		panic(err)
	}
	defer file.Close()
	r := flv.NewReader(file)
	for tag, err := r.Next(); err == nil; tag, err = r.Next() {
		if tag.Type != flv.TypeScript {
			tags = append(tags, tag)
		}
	}
	return tags
}

// method is a way to be permitted, and what clients show of it. Who publishes does so as
// live/cam, however it is asked for.
type method struct {
	name    string
	environ []string
	// What is granted: each of the publishers and viewers takes one, in turn. Without any,
	// nobody is.
	publish, watch []asked
	// And what is not: missing, wrong, expired, of the other role, of another stream.
	noPublish, noWatch []asked
}

// all returns places on live/cam with these queries.
func all(queries ...string) (places []asked) {
	for _, query := range queries {
		places = append(places, asked("live/cam?"+query))
	}
	return places
}

func methods(t *testing.T) []method {
	key := func(secret string) string { return "key=" + url.QueryEscape(secret) }
	published := func(stream string, in time.Duration, address string) string {
		return signed(hub.RolePublish, stream, publishSecret, in, address)
	}
	watched := func(stream string, in time.Duration, address string) string {
		return signed(hub.RoleWatch, stream, watchSecret, in, address)
	}
	both := token(t, time.Hour, jwt.MapClaims{"publish": "live/*", "watch": "live/cam"})
	past := token(t, -time.Hour, jwt.MapClaims{"publish": "**", "watch": "**"})
	other := token(t, time.Hour, jwt.MapClaims{"publish": "live/other", "watch": "live/other"})
	list := []method{
		{
			"key",
			[]string{
				"SLUICE_PUBLISH_AUTH=key", "SLUICE_PUBLISH_KEYS=live/cam " + publishKey,
				"SLUICE_WATCH_AUTH=key", "SLUICE_WATCH_KEYS=live/cam old; live/cam " + watchKey,
			},
			all(key(publishKey)), all(key(watchKey), "key=old"),
			all("", "key=wrong", key(watchKey)), all("", "key=wrong", key(publishKey), key(watchKey)+"&key=old"),
		},
		{
			"streamkey", []string{"SLUICE_PUBLISH_AUTH=streamkey", "SLUICE_STREAM_KEYS=" + typedKey + " live/cam"},
			[]asked{"studio/" + typedKey, "live/" + typedKey}, all(""),
			[]asked{"live/cam", "live/S3CRET-mistyped", "live/cam?key=" + typedKey}, nil,
		},
		{
			"sign", []string{
				"SLUICE_PUBLISH_AUTH=sign", "SLUICE_PUBLISH_SECRETS=** " + publishSecret,
				"SLUICE_WATCH_AUTH=sign", "SLUICE_WATCH_SECRETS=** old; ** " + watchSecret,
			},
			all(published("live/cam", time.Hour, "")),
			all(watched("live/cam", time.Hour, ""), watched("live/cam", time.Hour, "127.0.0.1"), signed(hub.RoleWatch, "live/cam", "old", time.Hour, "")),
			all("", published("live/cam", -time.Hour, ""), published("live/other", time.Hour, ""), watched("live/cam", time.Hour, "")),
			all("", watched("live/cam", -time.Hour, ""), watched("live/other", time.Hour, ""), published("live/cam", time.Hour, ""),
				watched("live/cam", time.Hour, "192.0.2.1")),
		},
		{
			"jwt", []string{"SLUICE_PUBLISH_AUTH=jwt", "SLUICE_WATCH_AUTH=jwt", "SLUICE_JWT_KEYS=- HS256 " + tokenKey},
			all(both), all(both), all("", past, other), all("", past, other, "token=x.y.z"),
		},
		{
			"none", []string{"SLUICE_PUBLISH_AUTH=none", "SLUICE_WATCH_AUTH=none"},
			nil, nil, all("", key(publishKey)), all("", key(watchKey)),
		},
	}
	for _, format := range []string{"json", "srs", "nginx"} {
		m := method{
			"url, " + format,
			[]string{"SLUICE_PUBLISH_AUTH=url", "SLUICE_WATCH_AUTH=url", "SLUICE_AUTH_FORMAT=" + format, "SLUICE_AUTH_URL=" + knows(t, format)},
			all(key(publishKey)), all(key(watchKey)),
			all("", "key=wrong", key(watchKey)), all("", "key=wrong", key(publishKey)),
		}
		if format != "srs" { // which has no other names
			m.publish = append(m.publish, asked("live/alias-cam?"+key(publishKey)))
			m.watch = append(m.watch, asked("live/alias-cam?"+key(watchKey)))
		}
		list = append(list, m)
	}
	return list
}

// Every method with the programs that people use: who may not is refused before anything has
// begun, and is told; who may publishes live/cam and watches it, whatever the name that was
// asked for.
func TestPermission(t *testing.T) {
	t.Parallel()
	p := openPlayers(t)
	for _, m := range methods(t) {
		t.Run(m.name, func(t *testing.T) {
			g, p := guard(t, m.environ...), p.in(t)
			g.refusePublishers(m.noPublish)
			publishers := g.grantPublisher(m)
			g.refuseWatchers(p, m.noWatch)
			watched := 0
			if len(m.publish) > 0 {
				watched = g.grantWatchers(p, m.watch)
			}
			g.told.has(t, publishers, "publish ")
			g.told.has(t, publishers, "publish live/cam")
			g.told.has(t, watched, "play ")
			until(t, "somebody is told who was denied", func() bool { return g.told.count("denied ") > 0 })
		})
	}
}

// refusePublishers has ffmpeg and one like OBS ask in vain.
func (g *guarded) refusePublishers(places []asked) {
	g.t.Helper()
	var programs []*process
	for _, place := range places {
		programs = append(programs, g.tryPublish(string(place), both))
		_, err := g.likeOBS(place)
		assert.Equal(g.t, rtmp403, code(err), "OBS with %s", place)
	}
	for _, p := range programs {
		assert.NotZero(g.t, p.wait(), p.what)
		assert.Contains(g.t, p.said.String(), "Server error: ", p.what)
	}
	assert.Empty(g.t, g.streams(), "no stream has appeared")
}

// rtmp403 is what a publisher is told that is refused, and ends.
const rtmp403 = "NetStream.Publish.Denied"

// grantPublisher has one like OBS publish live/cam in each of the places, and then ffmpeg in the
// last, which stays. It returns how often it was published.
func (g *guarded) grantPublisher(m method) (n int) {
	g.t.Helper()
	if len(m.publish) == 0 {
		return 0
	}
	for _, place := range m.publish {
		o, err := g.likeOBS(place)
		require.NoError(g.t, err, "OBS with %s", place)
		g.state("live/cam", "live")
		o.stop()
		g.state("live/cam", "")
		n++
	}
	last := m.publish[len(m.publish)-1]
	if app, name, query := last.split(); m.name == "key" { // in the app, as ffmpeg divides it
		last = asked(app + "?" + query + "/" + name)
	}
	g.tryPublish(string(last), both)
	g.until("live/cam", "live with its tracks", func(st stream) bool { return st.State == "live" && st.Video != nil && st.Audio != nil })
	return n + 1
}

// refuseWatchers has every program, and the browser, ask in vain.
func (g *guarded) refuseWatchers(p *players, places []asked) {
	g.t.Helper()
	if len(places) == 0 {
		return
	}
	pulls := map[*pull]watcher{}
	var urls, want []string
	for _, place := range places {
		for _, w := range watchers {
			pulls[g.watch(w, place, false)] = w
		}
		urls = append(urls, g.httpURL("http", place), g.httpURL("ws", place))
		want = append(want, "403 denied", "4403 denied")
	}
	said := p.knock(urls...)
	for i := range said {
		assert.True(g.t, strings.HasPrefix(said[i], want[i]), "%s: %s", urls[i], said[i])
	}
	for pull, w := range pulls {
		assert.NotZero(g.t, pull.wait(), pull.what)
		assert.Contains(g.t, pull.said.String(), w.refused, pull.what)
		assert.Empty(g.t, read(g.t, pull.path).tags, pull.what)
	}
}

// grantWatchers has every program, and the browser's players, watch at a time, and returns how
// many they are.
func (g *guarded) grantWatchers(p *players, places []asked) (n int) {
	g.t.Helper()
	place := func() asked {
		n++
		return places[n%len(places)]
	}
	var pulls []*pull
	ways := watchers
	if strings.Contains(string(places[0]), "?token=") {
		ways = slices.Concat(watchers, bearers)
	}
	for _, w := range ways {
		pulls = append(pulls, g.watch(w, place(), true))
	}
	var names []string
	for _, way := range [][2]string{{"mpegts", "ws"}, {"flvjs", "http"}} {
		name := fmt.Sprintf("%s over %s, %s", way[0], way[1], g.t.Name())
		p.playURL(name, way[0], g.httpURL(way[1], place()))
		names = append(names, name)
	}
	for _, pull := range pulls {
		pull.reaches(1500)
	}
	for _, name := range names {
		p.wait(name, "p.picture && p.time > 1 && p.frames > 20 && p.width === 320")
	}
	g.watched("live/cam", n)
	for _, name := range names {
		eval[bool](p.browser, fmt.Sprintf("stop(%q), true", name))
	}
	for _, pull := range pulls {
		pull.stop()
		assert.Equal(g.t, []string{"AAC", "H.264"}, slices.Sorted(slices.Values(read(g.t, pull.path).codecs())), pull.what)
	}
	checkRecording(g.t, pulls[0].path, both)
	g.watched("live/cam", 0)
	return n
}
