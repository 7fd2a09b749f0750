package hook

import (
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

var (
	asked = hub.Key{App: "live/studio", Name: "me"}
	now   = time.Unix(1_800_000_000, 0)
)

func TestAnswers(t *testing.T) {
	yes := verdict{allow: true}
	renamed := func(app, name string) verdict { return verdict{allow: true, key: hub.Key{App: app, Name: name}} }
	elsewhere := verdict{reason: "the server of this site wants the stream taken elsewhere, which is not supported"}
	noSuch := verdict{reason: reasonRename}
	for _, test := range []struct {
		format   Format
		status   int
		body     string
		location string
		want     verdict
		garbled  bool
	}{
		{FormatJSON, 200, `{"allow":true}`, "", yes, false},
		{FormatJSON, 201, ` {"allow": true, "more": [1]} `, "", yes, false},
		{FormatJSON, 200, ``, "", yes, false},
		{FormatJSON, 204, ``, "", yes, false},
		{FormatJSON, 200, `{"allow":true,"identity":"i","subject":"ann\n","until":1800000001}`, "",
			verdict{allow: true, identity: "i", subject: "ann", until: now.Add(time.Second)}, false},
		{FormatJSON, 200, `{"allow":true,"until":1800000000.5}`, "", verdict{allow: true, until: now.Add(500 * time.Millisecond)}, false},
		{FormatJSON, 200, `{"allow":true,"until":"2027-01-15T09:00:00+01:00"}`, "", verdict{expired: true}, false},
		{FormatJSON, 200, `{"allow":true,"until":1800000000}`, "", verdict{expired: true}, false},
		{FormatJSON, 200, `{"allow":true,"until":0}`, "", yes, false},
		{FormatJSON, 200, `{"allow":true,"until":null}`, "", yes, false},
		{FormatJSON, 200, `{"allow":true,"until":""}`, "", yes, false},
		{FormatJSON, 200, `{"allow":true,"until":"tomorrow"}`, "", verdict{}, true},
		{FormatJSON, 200, `{"allow":true,"until":-1}`, "", verdict{}, true},
		{FormatJSON, 200, `{"allow":true,"until":1e300}`, "", verdict{}, true},
		{FormatJSON, 200, `{"allow":true,"until":{}}`, "", verdict{}, true},
		{FormatJSON, 200, `{"allow":true,"name":"show"}`, "", renamed("live/studio", "show"), false},
		{FormatJSON, 200, `{"allow":true,"name":"a/b/show"}`, "", renamed("a/b", "show"), false},
		{FormatJSON, 200, `{"allow":true,"name":"me"}`, "", yes, false},
		{FormatJSON, 200, `{"allow":true,"name":"live/studio/me"}`, "", yes, false},
		{FormatJSON, 200, `{"allow":true,"name":"../me"}`, "", noSuch, false},
		{FormatJSON, 200, `{"allow":true,"name":"a/../../me"}`, "", noSuch, false},
		{FormatJSON, 200, `{"allow":true,"name":"a/b?c"}`, "", noSuch, false},
		{FormatJSON, 200, `{"allow":true,"name":"a/"}`, "", noSuch, false},
		{FormatJSON, 200, `{"allow":true,"name":"a\u0000b"}`, "", noSuch, false},
		{FormatJSON, 200, `{"allow":false}`, "", no, false},
		{FormatJSON, 200, `{"allow":false,"reason":"too\u0007 late"}`, "", verdict{counts: true, reason: "too  late", theirs: true}, false},
		{FormatJSON, 200, `{}`, "", no, false},
		{FormatJSON, 200, `{"identity":"i"}`, "", no, false},
		{FormatJSON, 401, `{"allow":true}`, "", no, false},
		{FormatJSON, 403, `{"reason":"not you"}`, "", verdict{counts: true, reason: "not you", theirs: true}, false},
		{FormatJSON, 403, `<html>`, "", no, false},
		{FormatJSON, 404, ``, "", verdict{}, false},
		{FormatJSON, 429, `{"reason":"later"}`, "", verdict{reason: "later", theirs: true}, false},
		{FormatJSON, 302, `{"allow":true}`, "other", verdict{}, false},
		{FormatJSON, 200, `<html>`, "", verdict{}, true},
		{FormatJSON, 200, `true`, "", verdict{}, true},
		{FormatJSON, 200, `[]`, "", verdict{}, true},
		{FormatJSON, 200, `null`, "", verdict{}, true},
		{FormatJSON, 200, `{"allow":"yes"}`, "", verdict{}, true},
		{FormatJSON, 200, `{"allow":true`, "", verdict{}, true},
		{FormatJSON, 200, `{"allow":true}{"allow":false}`, "", verdict{}, true},
		{FormatJSON, 200, `{"allow":true,"identity":"` + strings.Repeat("x", maxIdentity+1) + `"}`, "", verdict{}, true},

		{FormatSRS, 200, `0`, "", yes, false},
		{FormatSRS, 200, " 0\r\n", "", yes, false},
		{FormatSRS, 200, `{"code":0}`, "", yes, false},
		{FormatSRS, 200, `{"code": 0, "msg": "OK", "data": null}`, "", yes, false},
		{FormatSRS, 200, ``, "", no, false},
		{FormatSRS, 200, `1`, "", no, false},
		{FormatSRS, 200, `{"code":403}`, "", no, false},
		{FormatSRS, 200, `{"code":"0"}`, "", no, false},
		{FormatSRS, 200, `{"code":null}`, "", no, false},
		{FormatSRS, 200, `{}`, "", no, false},
		{FormatSRS, 200, `"0"`, "", no, false},
		{FormatSRS, 200, `[0]`, "", no, false},
		{FormatSRS, 200, `false`, "", no, false},
		{FormatSRS, 200, `OK`, "", verdict{}, true},
		{FormatSRS, 200, `00`, "", verdict{}, true},
		{FormatSRS, 200, `0 0`, "", verdict{}, true},
		{FormatSRS, 204, ``, "", verdict{}, false},
		{FormatSRS, 201, `0`, "", verdict{}, false},
		{FormatSRS, 401, `0`, "", no, false},
		{FormatSRS, 403, `0`, "", no, false},
		{FormatSRS, 404, `0`, "", verdict{}, false},
		{FormatSRS, 302, `0`, "x", verdict{}, false},

		{FormatNginx, 200, `whatever`, "", yes, false},
		{FormatNginx, 299, ``, "ignored", yes, false},
		{FormatNginx, 302, ``, "show", renamed("live/studio", "show"), false},
		{FormatNginx, 301, ``, "other/show", renamed("other", "show"), false},
		{FormatNginx, 307, ``, "/show", renamed("live/studio", "show"), false},
		{FormatNginx, 302, ``, "my%20show", renamed("live/studio", "my show"), false},
		{FormatNginx, 302, ``, "me", yes, false},
		{FormatNginx, 302, ``, "", yes, false},
		{FormatNginx, 302, ``, "rtmp://other.example/live/show", elsewhere, false},
		{FormatNginx, 302, ``, "RTMP://other.example/live/show", elsewhere, false},
		{FormatNginx, 302, ``, "http://site.example/show", elsewhere, false},
		{FormatNginx, 302, ``, "//site.example/show", elsewhere, false},
		{FormatNginx, 302, ``, "rtmp:%2F%2Fother.example%2Fshow", elsewhere, false},
		{FormatNginx, 302, ``, "%2F%2Fsite.example%2Fshow", elsewhere, false},
		{FormatJSON, 200, `{"allow":true,"name":"rtmp://other.example/live/show"}`, "", elsewhere, false},
		{FormatJSON, 200, `{"allow":true,"name":"//other.example/show"}`, "", elsewhere, false},
		{FormatNginx, 302, ``, "12:30", renamed("live/studio", "12:30"), false},
		{FormatNginx, 302, ``, "../show", noSuch, false},
		{FormatNginx, 302, ``, "%2e%2e%2fshow", noSuch, false},
		{FormatNginx, 302, ``, "/../show", noSuch, false},
		{FormatNginx, 302, ``, "show?token=1", noSuch, false},
		{FormatNginx, 302, ``, "show%3Ftoken", noSuch, false},
		{FormatNginx, 302, ``, "%zz", noSuch, false},
		{FormatNginx, 302, ``, "a\\b", noSuch, false},
		{FormatNginx, 302, ``, strings.Repeat("x", 300), noSuch, false},
		{FormatNginx, 403, ``, "", no, false},
		{FormatNginx, 401, ``, "", no, false},
		{FormatNginx, 404, ``, "show", verdict{}, false},
		{FormatNginx, 101, ``, "", verdict{}, false},
	} {
		got, err := test.format.read(Answer{Status: test.status, Location: test.location, Body: []byte(test.body)}, asked, now)
		if test.garbled {
			assert.ErrorIs(t, err, ErrUnanswered, "%v %d %s", test.format, test.status, test.body)
			continue
		}
		require.NoError(t, err, "%v %d %s", test.format, test.status, test.body)
		if !test.want.allow {
			assert.False(t, got.allow)
		}
		got.until, test.want.until = got.until.UTC(), test.want.until.UTC()
		if f := test.want; f.until.IsZero() {
			got.until = f.until
		}
		assert.Equal(t, test.want, got, "%v %d %s %s", test.format, test.status, test.body, test.location)
	}
}

// Whatever a server says, its verdict is within bounds, and a yes is one by the rules.
func FuzzAnswer(f *testing.F) {
	for _, body := range []string{`{"allow":true,"name":"a/b","until":1,"subject":"x"}`, "0", `{"code":0}`, "", "\xff", `{"reason":"\u202e"}`} {
		f.Add(200, body, "x")
	}
	f.Add(302, "", "../%2e")
	f.Fuzz(func(t *testing.T, status int, body, location string) {
		for format := range formats {
			v, err := format.read(Answer{Status: status, Location: location, Body: []byte(body)}, asked, now)
			if err != nil {
				assert.ErrorIs(t, err, ErrUnanswered)
				continue
			}
			assert.LessOrEqual(t, len(v.identity), maxIdentity)
			assert.LessOrEqual(t, len(v.subject), maxIdentity)
			assert.LessOrEqual(t, len(v.reason), maxReason)
			for _, r := range v.subject + v.reason {
				assert.True(t, unicode.IsPrint(r))
			}
			if v.key != (hub.Key{}) {
				again, err := hub.NewKey(v.key.App, v.key.Name)
				assert.NoError(t, err)
				assert.Equal(t, v.key, again)
			}
			assert.False(t, v.allow && (v.counts || v.expired))
			if format == FormatSRS && v.allow {
				assert.Equal(t, http.StatusOK, status)
			}
		}
	})
}
