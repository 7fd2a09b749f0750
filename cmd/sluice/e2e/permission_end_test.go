//go:build unix

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// operate has the operators' API do something, and returns what it answers.
func operate[T any](s *server, method, path, body string) (answer T) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.operators+"/api/v1/"+path, strings.NewReader(body))
	require.NoError(s.t, err)
	r.Header.Set("Authorization", "Bearer "+operatorToken)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := client.Do(r)
	require.NoError(s.t, err)
	defer resp.Body.Close()
	require.Less(s.t, resp.StatusCode, 300)
	if resp.StatusCode != http.StatusNoContent {
		require.NoError(s.t, json.NewDecoder(resp.Body).Decode(&answer))
	}
	return answer
}

// kick ends sessions of a stream, and returns how many.
func (s *server) kick(body string) int {
	s.t.Helper()
	return operate[struct{ Ended int }](s, http.MethodPost, "streams/kick", body).Ended
}

// unban ends the bans of a role.
func (s *server) unban(role string) {
	s.t.Helper()
	list := operate[struct{ Bans []struct{ ID string } }](s, http.MethodGet, "bans?role="+role, "")
	require.NotEmpty(s.t, list.Bans)
	for _, ban := range list.Bans {
		operate[any](s, http.MethodDelete, "bans/"+ban.ID, "")
	}
}

// knockLater is knock whose answer comes later: wait returns it.
func (p *players) knockLater(urls ...string) (wait func() []string) {
	p.t.Helper()
	list, err := json.Marshal(urls)
	require.NoError(p.t, err)
	eval[bool](p.browser, fmt.Sprintf(
		"window.later = null, Promise.all(%s.map((url) => knock(url).catch(String))).then((all) => { later = all; }), true", list))
	return func() []string {
		p.t.Helper()
		p.until("!!later", "later")
		return eval[[]string](p.browser, "later")
	}
}

// Where sessions end with their grants, every viewer ends as when the stream does, and a browser
// is told why; whoever asks again is refused. So is a publisher.
func TestPermissionExpires(t *testing.T) {
	t.Parallel()
	p := openPlayers(t)
	g := guard(t, "SLUICE_EXPIRE_SESSIONS=true", "SLUICE_SIGN_SKEW=0s",
		"SLUICE_PUBLISH_AUTH=sign", "SLUICE_PUBLISH_SECRETS=** "+publishSecret,
		"SLUICE_WATCH_AUTH=sign", "SLUICE_WATCH_SECRETS=** "+watchSecret)
	_, err := g.likeOBS(asked("live/cam?" + signed(hub.RolePublish, "live/cam", publishSecret, time.Hour, "")))
	require.NoError(t, err)
	g.state("live/cam", "live")

	began := false
	for _, valid := range validities {
		if began = g.expire(p, valid); began {
			break
		}
	}
	assert.True(t, began, "all have begun before their permission ended")
}

// expire has live/short published and live/cam watched by who may do so for some time. Unless all
// have begun by then, it returns false.
func (g *guarded) expire(p *players, valid time.Duration) bool {
	g.t.Helper()
	over := time.Now().Add(valid - 500*time.Millisecond)
	publish := asked("live/short?" + signed(hub.RolePublish, "live/short", publishSecret, valid, ""))
	watch := asked("live/cam?" + signed(hub.RoleWatch, "live/cam", watchSecret, valid, ""))
	publisher, err := g.likeOBS(publish)
	if err != nil {
		return false
	}
	var pulls []*pull
	for _, w := range watchers {
		pulls = append(pulls, g.watch(w, watch, true))
	}
	ends := p.knockLater(g.httpURL("ws", watch), g.httpURL("http", watch))
	began := func() bool {
		return g.stream("live/cam").Viewers.Total == len(pulls)+2 &&
			!slices.ContainsFunc(pulls, func(pull *pull) bool { return read(g.t, pull.path).length() < 500 })
	}
	late := false
	until(g.t, "all have begun, or it is too late", func() bool {
		all := began()
		late = !all && time.Now().After(over)
		return all || late
	})
	if late {
		for _, pull := range pulls {
			pull.wait()
		}
		ends()
		return false
	}
	for _, pull := range pulls {
		pull.done()
	}
	assert.Equal(g.t, []string{"4401 expired: the permission has ended", "ended"}, ends())
	until(g.t, "the publisher has ended", publisher.over)
	g.state("live/short", "")
	assert.Equal(g.t, "live", g.stream("live/cam").State, "others go on")
	_, err = g.likeOBS(publish)
	assert.Equal(g.t, rtmp403, code(err))
	assert.ErrorContains(g.t, err, "has ended")
	g.refuseWatchers(p, []asked{watch})
	return true
}

// Whoever is kicked is told, and refused while the ban lasts: OBS and its like are back at once.
func TestPermissionKicked(t *testing.T) {
	t.Parallel()
	p := openPlayers(t)
	g := guard(t, "SLUICE_PUBLISH_AUTH=key", "SLUICE_PUBLISH_KEYS=** "+publishKey, "SLUICE_WATCH_AUTH=key", "SLUICE_WATCH_KEYS=** "+watchKey)
	publish, watch := asked("live/cam?key="+publishKey), asked("live/cam?key="+url.QueryEscape(watchKey))
	publisher, err := g.likeOBS(publish)
	require.NoError(t, err)
	g.state("live/cam", "live")
	pulls := map[*pull]watcher{}
	for _, w := range watchers {
		pulls[g.watch(w, watch, false)] = w
	}
	ends := p.knockLater(g.httpURL("ws", watch), g.httpURL("http", watch))
	g.watched("live/cam", len(pulls)+2)
	for pull := range pulls {
		pull.reaches(500)
	}
	assert.Equal(t, len(pulls)+2, g.kick(`{"stream":"live/cam","who":"viewers","reason":"enough"}`))
	for pull, w := range pulls {
		pull.wait()
		switch w.name {
		case "ffmpeg over HTTP": // which takes a body that is cut off for one that is whole
		case "curl":
			assert.Contains(t, pull.said.String(), "curl: (18)", "the body is cut off")
		default:
			assert.Contains(t, pull.said.String(), w.refused, pull.what)
		}
	}
	said := ends()
	assert.Equal(t, "4403 kicked: enough", said[0])
	assert.Contains(t, said[1], "TypeError", "the body does not end as one that is whole")
	g.refuseWatchers(p, []asked{watch})

	g.kick(`{"stream":"live/cam","who":"publisher","reason":"enough","ban":"1h"}`)
	until(t, "OBS is told", publisher.over)
	assert.Equal(t, rtmp403, code(publisher.err))
	assert.ErrorContains(t, publisher.err, "enough")
	_, err = g.likeOBS(publish)
	assert.Equal(t, rtmp403, code(err))
	assert.ErrorContains(t, err, "banned: enough")
	ffmpeg := g.tryPublish(string(publish), both)
	assert.NotZero(t, ffmpeg.wait())
	assert.Contains(t, ffmpeg.said.String(), "Server error: banned")
	g.unban("publish")
	_, err = g.likeOBS(publish)
	require.NoError(t, err)
	g.state("live/cam", "live")
	g.kick(`{"stream":"live/cam","who":"publisher","ban":"0"}`)
	g.state("live/cam", "")
	ffmpeg = g.tryPublish(string(publish), both)
	g.state("live/cam", "live")
	g.kick(`{"stream":"live/cam","reason":"and you"}`)
	assert.NotZero(t, ffmpeg.wait(), "ffmpeg ends")
	g.told.has(t, 3, "publish ")
	g.told.has(t, len(pulls)+2, "play ")
	g.told.has(t, len(pulls)+2+3, "kicked ")
}

// A secret is replaced while everybody goes on: the new one beside the old one, and then alone.
func TestPermissionRotates(t *testing.T) {
	t.Parallel()
	p := openPlayers(t)
	dir := t.TempDir()
	publishKeys, watchSecrets := filepath.Join(dir, "keys"), filepath.Join(dir, "secrets")
	write := func(names ...string) {
		var keys, secrets strings.Builder
		for _, name := range names {
			fmt.Fprintf(&keys, "live/* %s%s\n", publishKey, name)
			fmt.Fprintf(&secrets, "live/* %s%s\n", watchSecret, name)
		}
		require.NoError(t, os.WriteFile(publishKeys, []byte(keys.String()), 0o600))
		require.NoError(t, os.WriteFile(watchSecrets, []byte(secrets.String()), 0o600))
	}
	write("old")
	g := guard(t, "SLUICE_PUBLISH_AUTH=key", "SLUICE_PUBLISH_KEYS_FILE="+publishKeys,
		"SLUICE_WATCH_AUTH=sign", "SLUICE_WATCH_SECRETS_FILE="+watchSecrets)
	reread := func(times int) {
		g.signal(syscall.SIGHUP)
		until(t, "the secrets are read again", func() bool { return strings.Count(g.said.String(), "were read again") == times })
	}
	publish := func(stream, name string) asked { return asked("live/" + stream + "?key=" + publishKey + name) }
	watch := func(name string) asked {
		return asked("live/cam?" + signed(hub.RoleWatch, "live/cam", watchSecret+name, time.Hour, ""))
	}
	granted := func(name, stream string) []*pull {
		t.Helper()
		o, err := g.likeOBS(publish(stream, name))
		require.NoError(t, err, name)
		g.state("live/"+stream, "live")
		if stream != "cam" {
			o.stop()
		}
		pulls := []*pull{g.watch(watchers[0], watch(name), true), g.watch(watchers[4], watch(name), true), g.watch(watchers[6], watch(name), true)}
		for _, pull := range pulls {
			pull.reaches(500)
		}
		return pulls
	}
	refused := func(name string) {
		t.Helper()
		_, err := g.likeOBS(publish("refused", name))
		assert.Equal(t, rtmp403, code(err))
		g.refuseWatchers(p, []asked{watch(name)})
	}
	first := granted("old", "cam")
	refused("new")
	write("old", "new")
	reread(1)
	first = append(first, granted("old", "other")...)
	first = append(first, granted("new", "third")...)
	write("new")
	reread(2)
	refused("old")
	granted("new", "fourth")
	goOn(first, 1000)
}

// over reports whether it has ended.
func (o *likeOBS) over() bool {
	select {
	case <-o.ended:
		return true
	default:
		return false
	}
}
