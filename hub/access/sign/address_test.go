package sign

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

func TestKeyOf(t *testing.T) {
	for address, want := range map[string]string{
		"rtmp://host/live/cam":                     "live/cam",
		"rtmps://host:1936/live/cam?x=1#f":         "live/cam",
		"RTMP://host/live/cam":                     "live/cam",
		"rtmp://host/live/studio/cam":              "live/studio/cam",
		"rtmp://host//live//cam/":                  "live/cam",
		"rtmp://host/live/_definst_/cam.flv":       "live/cam",
		"rtmp://host/live/.flv":                    "live/.flv",
		"rtmp://host/live/%C3%A4%20b":              "live/ä b",
		"rtmp://host/rec/live/cam/2026":            "live/cam",
		"http://host:8080/live/cam.flv":            "live/cam",
		"https://host/live/cam.flv?start=live":     "live/cam",
		"ws://host/live/cam.flv":                   "live/cam",
		"wss://[2001:db8::1]/live/cam.flv":         "live/cam",
		"http://host/live/cam.flv.flv":             "live/cam.flv",
		"http://host/live/ca%6d%2eflv":             "live/cam",
		"http://host/live%2Fcam.flv":               "live/cam",
		"http://host/rec/live/cam/latest.flv":      "live/cam",
		"http://host/rec/live/studio/cam/2026.mp4": "live/studio/cam",
		"http://host/rec/cam.flv":                  "rec/cam",

		"http://host/?stream=live/cam":                        "live/cam",
		"http://host/?stream=/live/cam.flv":                   "live/cam",
		"https://host?stream=live%2Fstudio/cam&start=live":    "live/studio/cam",
		"http://host/?recording=live/cam/2026":                "live/cam",
		"http://host/embed/live/cam?muted=1":                  "live/cam",
		"http://host/embed/live/cam.flv":                      "embed/live/cam",
		"http://host/live/cam.flv?stream=live/other":          "live/cam",
		"rtmp://host/embed/cam?stream=live/other":             "embed/cam",
		"ws://host/embed/live/cam.flv?recording=live/other/1": "embed/live/cam",
	} {
		key, err := KeyOf(address)
		require.NoError(t, err, address)
		assert.Equal(t, want, key.String(), address)
	}
	for address, want := range map[string]string{
		"":                                                   "begins with",
		"live/cam":                                           "begins with",
		"ftp://host/live/cam.flv":                            "begins with",
		"rtmp:/live/cam":                                     "no host",
		"rtmp:live/cam":                                      "no host",
		"http:///live/cam.flv":                               "no host",
		"rtmp://host":                                        "APP/NAME",
		"rtmp://host/live":                                   "APP/NAME",
		"rtmp://host/live/../cam":                            `segment ".."`,
		"rtmp://host/live/mp4:cam":                           "leave out",
		"http://host/live/cam":                               "/APP/NAME.flv",
		"http://host/live/cam.FLV":                           "/APP/NAME.flv",
		"http://host/live/cam.flv/":                          "/APP/NAME.flv",
		"http://host/cam.flv":                                "APP/NAME",
		"http://host/live/.flv":                              "APP/NAME",
		"http://host/live/a%00b.flv":                         "not allowed",
		"http://host/live/%FF.flv":                           "UTF-8",
		"http://host/rec/live/cam/2026":                      "recording",
		"http://host/?stream=live/a&stream=live/b":           "/?stream=APP/NAME",
		"http://host/?stream=live/a&recording=live/b/1":      "/?stream=APP/NAME",
		"http://host/?stream=cam":                            "needs an app and a name",
		"http://host/?recording=cam/2026":                    "needs an app and a name",
		"http://host/?wall=live/a":                           "/?stream=APP/NAME",
		"http://host/page?stream=live/a":                     "/?stream=APP/NAME",
		"ws://host/?stream=live/a":                           "/?stream=APP/NAME",
		"http://u:hunter2@host/%zz.flv":                      "percent-encoded",
		"http://u:hunter2@host:x/live/a.flv":                 "cannot be read",
		"http://h/live/" + strings.Repeat("x", 300) + ".flv": "longer",
		"http://h/" + strings.Repeat("x", maxURL):            "longer",
	} {
		_, err := KeyOf(address)
		require.ErrorIs(t, err, ErrURL, address)
		require.ErrorContains(t, err, want, address)
		assert.NotContains(t, err.Error(), "hunter2")
	}
}

func TestURL(t *testing.T) {
	sum := Sign(hub.RoleWatch, cam, secret, twoYears, nobody)
	for address, want := range map[string]string{
		"rtmp://host/live/cam":                                 "rtmp://host/live/cam?expires=1893456000&sign=" + sum,
		"http://host/live/cam.flv?start=live&a=%20#x":          "http://host/live/cam.flv?start=live&a=%20&expires=1893456000&sign=" + sum,
		"ws://host/live/cam.flv?sign=1&x=y&expires=2&bind=1&&": "ws://host/live/cam.flv?x=y&expires=1893456000&sign=" + sum,
		"ws://host/live/cam.flv?%73ign=1&sign":                 "ws://host/live/cam.flv?expires=1893456000&sign=" + sum,
		"http://host/live%2Fcam.flv":                           "http://host/live%2Fcam.flv?expires=1893456000&sign=" + sum,
	} {
		got, err := URL(address, hub.RoleWatch, secret, twoYears, nobody)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	got, err := URL("rtmp://host/live/cam", hub.RolePublish, secret, twoYears, alice)
	require.NoError(t, err)
	assert.Equal(t, "rtmp://host/live/cam?expires=1893456000&sign="+Sign(hub.RolePublish, cam, secret, twoYears, alice)+"&bind=1", got)
	_, err = URL("rtmp://host/live", hub.RolePublish, secret, twoYears, alice)
	require.ErrorIs(t, err, ErrURL)
	_, err = URL("rtmp://host/live/cam", hub.RolePublish, secret, 0, alice)
	require.Error(t, err)
}

// What is signed, the method takes.
func FuzzURL(f *testing.F) {
	for _, seed := range []string{"rtmp://host/live/cam", "http://host/live/c%20am.flv?a=b&sign=1;expires=%zz", "ws://h/a/b/c.flv#x"} {
		f.Add(seed)
	}
	method := New(Config{Secrets: secrets(string(secret))})
	f.Fuzz(func(t *testing.T, address string) {
		signed, err := URL(address, hub.RoleWatch, secret, twoYears, nobody)
		if err != nil {
			return
		}
		key, err := KeyOf(signed)
		require.NoError(t, err)
		u, err := url.Parse(signed)
		require.NoError(t, err)
		c := hub.Client{Protocol: "http-flv", Query: u.Query()}
		_, err = method.Decide(t.Context(), new(hub.Hub).NewSession(hub.RoleWatch, key, c))
		require.NoError(t, err)
	})
}
