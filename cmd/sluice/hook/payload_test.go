package hook

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/cmd/sluice/event"
)

func TestFormatNames(t *testing.T) {
	for i, name := range Formats {
		f := Format(99)
		require.NoError(t, f.UnmarshalText([]byte(name)))
		assert.Equal(t, Format(i), f)
		assert.Equal(t, name, f.String())
	}
	assert.ErrorContains(t, new(Format).UnmarshalText([]byte("SRS")), "json, srs, nginx")
	assert.Equal(t, "unknown", Format(99).String())
}

var question = Call{
	Action: ActionPublish, Server: "here", Service: "run1", Session: 17, App: "live/studio", Name: "me & you",
	Protocol: "rtmp", Address: netip.MustParseAddr("192.0.2.1"), Agent: "FMLE/3.0", Publishing: "record",
	TCURL: "rtmp://host/live/studio?t=1", SWFURL: "rtmp://host/swf", Host: "host",
	Query: url.Values{"token": {"a b", "<c>"}, "t": {"1"}},
}

// watching is a question of a viewer over HTTP.
func watching() Call {
	c := question
	c.Action, c.Protocol, c.Secure, c.Host, c.Referer = ActionPlay, "http-flv", true, "host:8443", "https://page.example/?q=1"
	c.TCURL, c.SWFURL, c.Publishing, c.Origin, c.Authorization = "", "", "", "https://page.example", "Bearer x"
	return c
}

func TestQuestions(t *testing.T) {
	play := watching()
	for _, test := range []struct {
		format     Format
		call       Call
		typ, wants string
	}{
		{FormatJSON, question, "application/json", `{"type":"question","server":"here","stream":"live/studio/me & you","app":"live/studio",` +
			`"name":"me & you","session":{"id":17,"role":"publish","protocol":"rtmp","address":"192.0.2.1","agent":"FMLE/3.0"},` +
			`"query":{"t":["1"],"token":["a b","<c>"]},"secure":false,"host":"host","tc_url":"rtmp://host/live/studio?t=1",` +
			`"swf_url":"rtmp://host/swf","publishing":"record"}`},
		{FormatJSON, play, "application/json", `{"type":"question","server":"here","stream":"live/studio/me & you","app":"live/studio",` +
			`"name":"me & you","session":{"id":17,"role":"watch","protocol":"http-flv","address":"192.0.2.1","agent":"FMLE/3.0"},` +
			`"query":{"t":["1"],"token":["a b","<c>"]},"secure":true,"host":"host:8443","origin":"https://page.example",` +
			`"referer":"https://page.example/?q=1","authorization":"Bearer x"}`},
		{FormatSRS, question, "application/json", `{"server_id":"here","service_id":"run1","action":"on_publish","client_id":"17",` +
			`"ip":"192.0.2.1","vhost":"__defaultVhost__","app":"live/studio","tcUrl":"rtmp://host/live/studio?t=1","stream":"me & you",` +
			`"param":"?t=1&token=a+b&token=%3Cc%3E","stream_url":"/live/studio/me & you","stream_id":"vid-cd15ef9d"}`},
		{FormatSRS, play, "application/json", `{"server_id":"here","service_id":"run1","action":"on_play","client_id":"17",` +
			`"ip":"192.0.2.1","vhost":"__defaultVhost__","app":"live/studio","tcUrl":"https://host:8443/live/studio","stream":"me & you",` +
			`"param":"?t=1&token=a+b&token=%3Cc%3E","pageUrl":"https://page.example/?q=1",` +
			`"stream_url":"/live/studio/me & you","stream_id":"vid-cd15ef9d"}`},
		{FormatNginx, question, "application/x-www-form-urlencoded", "app=live%2Fstudio&flashver=FMLE%2F3.0&swfurl=rtmp%3A%2F%2Fhost%2Fswf" +
			"&tcurl=rtmp%3A%2F%2Fhost%2Flive%2Fstudio%3Ft%3D1&pageurl=&addr=192.0.2.1&clientid=17&call=publish&name=me+%26+you&type=record" +
			"&t=1&token=a+b&token=%3Cc%3E"},
		{FormatNginx, play, "application/x-www-form-urlencoded", "app=live%2Fstudio&flashver=FMLE%2F3.0&swfurl=" +
			"&tcurl=https%3A%2F%2Fhost%3A8443%2Flive%2Fstudio&pageurl=https%3A%2F%2Fpage.example%2F%3Fq%3D1&addr=192.0.2.1&clientid=17" +
			"&call=play&name=me+%26+you&start=0&duration=0&reset=0&t=1&token=a+b&token=%3Cc%3E"},
	} {
		typ, body := test.format.question(&test.call)
		assert.Equal(t, test.typ, typ)
		assert.Equal(t, test.wants, string(body), "%v", test.format)
	}
}

// What a client writes into its query never stands where nginx-rtmp's own arguments are looked for,
// however a server reads forms.
func TestNginxReserved(t *testing.T) {
	own := "app=live&flashver=&swfurl=&tcurl=&pageurl=&addr=&clientid=&call=publish&name=me&type=live"
	for _, name := range []string{
		"name", "addr", "NAME", "Addr", "name[]", "name[0]", " name", "\tname", "name\x00x", "name ", "call", "Clientid",
		"app", "tcurl", "TCURL", "type", "path", "recorder", "time", "timestamp", "epoch", "ſtart",
	} {
		body, ok := appendNginx(nil, &Call{App: "live", Name: "me", Query: url.Values{name: {"evil"}}})
		assert.True(t, ok)
		assert.Equal(t, own, string(body), "%q", name)
	}
	for _, name := range []string{"token", "names", "my[name]", "x&name", ";name"} {
		body, _ := appendNginx(nil, &Call{App: "live", Name: "me", Query: url.Values{name: {"a&name=b"}}})
		values, err := url.ParseQuery(string(body))
		require.NoError(t, err)
		assert.Equal(t, []string{"me"}, values["name"])
		assert.Equal(t, []string{"a&name=b"}, values[name])
	}
}

// events are all there are, of a client in whose every word there is a secret.
func events() []*event.Event {
	who := &event.Session{
		ID: 17, Role: "publish", Protocol: "rtmp", Address: "[2001:db8::1]:5000", Agent: "FMLE/3.0", Subject: "ann", Method: "url",
		TCURL: "rtmp://u:s3cret@host/live?t=s3cret#s3cret", PageURL: "http://page.example/a%3Fs3cret", SWFURL: "mailto:s3cret",
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	base := event.Event{ID: "x-1", Seq: 1, Time: at, Server: "here", Stream: "live/me", App: "live", Name: "me", Session: who}
	var all []*event.Event
	for _, typ := range []event.Type{
		event.TypeStarted, event.TypePublish, event.TypePlay, event.TypeUnpublish, event.TypeStop, event.TypeTracks, event.TypeSwitched, event.TypeWanted,
		event.TypeUnwanted, event.TypeDenied, event.TypeKicked, event.TypeRecordBegun, event.TypeRecordFinished, event.TypeUpdate,
		event.TypeGap, event.TypeDraining, event.TypeHealth, event.TypeRelay,
	} {
		e := base
		e.Type = typ
		switch typ {
		case event.TypeRecordBegun, event.TypeRecordFinished:
			e.Session, e.Recording = nil, &event.Recording{ID: "1", Path: "live/me/2026.flv", Begin: at}
		case event.TypeHealth:
			e.Health = &event.Health{Word: "too_slow", Sentence: "It is.", Hint: "Do.", Begins: true}
		case event.TypeRelay:
			e.Session, e.Relay = nil, &event.Relay{ID: "push-1", Kind: "push", State: "live", URL: "rtmp://host/app/***"}
		case event.TypeUpdate:
			e.Session = nil
			run := event.Running{Session: *who, Stream: "live/me", State: "running", Since: at.Add(-90 * time.Second)}
			view, wait := run, run
			view.Role, view.ID = "watch", 18
			wait.State = "waiting"
			e.Sessions = []event.Running{run, view, wait}
		}
		all = append(all, &e)
	}
	return all
}

func TestEvents(t *testing.T) {
	srs := func(action, client, ip, tcurl, more string) string {
		return fmt.Sprintf(`{"server_id":"here","service_id":"SERVICE","action":"%s","client_id":"%s","ip":"%s","vhost":"__defaultVhost__",`+
			`"app":"live","tcUrl":"%s","stream":"me","param":"",%s"stream_url":"/live/me","stream_id":"vid-f75873f6"}`, action, client, ip, tcurl, more)
	}
	const tcurl, ip = "rtmp://host/live", "2001:db8::1"
	nginx := func(client, rest string) string {
		return "app=live&flashver=FMLE%2F3.0&swfurl=&tcurl=rtmp%3A%2F%2Fhost%2Flive&pageurl=http%3A%2F%2Fpage.example%2Fa&addr=2001%3Adb8%3A%3A1&clientid=" +
			client + "&call=" + rest
	}
	want := map[event.Type]map[Format][]string{
		event.TypePublish:   {FormatSRS: {srs("on_publish", "17", ip, tcurl, "")}, FormatNginx: {nginx("17", "publish&name=me&type=live")}},
		event.TypeUnpublish: {FormatSRS: {srs("on_unpublish", "17", ip, tcurl, "")}, FormatNginx: {nginx("17", "publish_done&name=me")}},
		event.TypePlay: {FormatSRS: {srs("on_play", "17", ip, tcurl, `"pageUrl":"http://page.example/a",`)},
			FormatNginx: {nginx("17", "play&name=me&start=0&duration=0&reset=0")}},
		event.TypeStop: {FormatSRS: {srs("on_stop", "17", ip, tcurl, "")}, FormatNginx: {nginx("17", "play_done&name=me")}},
		event.TypeRecordFinished: {FormatSRS: {srs("on_dvr", "", "", "", `"cwd":"/rec","file":"./live/me/2026.flv",`)},
			FormatNginx: {"app=live&flashver=&swfurl=&tcurl=&pageurl=&addr=&clientid=&call=record_done&recorder=&name=me&path=%2Frec%2Flive%2Fme%2F2026.flv"}},
		event.TypeUpdate: {FormatNginx: {nginx("17", "update_publish&time=90&timestamp=90000&name=me"),
			nginx("18", "update_play&time=90&timestamp=90000&name=me")}},
	}
	for _, e := range events() {
		for _, f := range []Format{FormatSRS, FormatNginx} {
			_, bodies := Encoder{Format: f, Folder: "/rec"}.Encode(e)
			var got []string
			for _, b := range bodies {
				got = append(got, strings.ReplaceAll(string(b), service, "SERVICE"))
				assert.NotContains(t, string(b), "s3cret")
			}
			assert.Equal(t, want[e.Type][f], got, "%v %v", e.Type, f)
		}
		typ, bodies := Encoder{}.Encode(e)
		require.Len(t, bodies, 1)
		assert.Equal(t, "application/json", typ)
		assert.NotContains(t, string(bodies[0]), "s3cret")
		theirs, err := json.Marshal(e)
		require.NoError(t, err)
		assert.JSONEq(t, string(theirs), string(bodies[0]))
	}
}

// A Call does not print what may be secret in it.
func TestCallPrints(t *testing.T) {
	for _, text := range []string{fmt.Sprint(question), fmt.Sprintf("%v %+v %#v %s", question, question, question, question)} {
		assert.NotContains(t, text, "token")
		assert.NotContains(t, text, "t=1")
	}
}

// Whatever a client shows, its question can be read, and says of whom it is.
func FuzzQuestion(f *testing.F) {
	f.Add("FMLE", "token=1&name=x", "rtmp://host/live?a=b")
	f.Add("\xff\x00", "NAME[]=%00&;=&=", "\n")
	f.Fuzz(func(t *testing.T, agent, query, tcURL string) {
		values, _ := url.ParseQuery(query)
		c := Call{App: "live", Name: "me", Session: 1, Agent: agent, TCURL: tcURL, Query: values, Address: question.Address}
		_, body := FormatNginx.question(&c)
		got, err := url.ParseQuery(string(body))
		require.NoError(t, err)
		for name, want := range map[string]string{"app": "live", "name": "me", "addr": "192.0.2.1", "call": "publish", "clientid": "1"} {
			assert.Equal(t, []string{want}, got[name])
		}
		for _, format := range []Format{FormatJSON, FormatSRS} {
			_, body := format.question(&c)
			var v map[string]any
			require.NoError(t, json.Unmarshal(body, &v))
			assert.Equal(t, "live", v["app"])
		}
	})
}
