package sign

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
	"sluice/hub/access"
)

func TestFormats(t *testing.T) {
	var f Formats
	require.NoError(t, f.UnmarshalText([]byte("tencent; sluice\naliyun")))
	assert.Equal(t, Formats{Tencent, Sluice, Aliyun}, f)
	require.NoError(t, f.UnmarshalText(nil))
	assert.Empty(t, f)
	for _, bad := range []string{"tencent sluice", "Sluice", "x"} {
		require.ErrorContains(t, f.UnmarshalText([]byte(bad)), "sluice, tencent, aliyun")
	}
}

// at moves the fake clock, which begins in 2000, to a time.
func at(t *testing.T, seconds int64) {
	t.Helper()
	d := time.Until(time.Unix(seconds, 0))
	require.Positive(t, d)
	time.Sleep(d)
}

// The vector of Tencent's documents, and what must not be taken for it.
func TestTencent(t *testing.T) {
	const key = "e12c46f2612d5106e2034781ab261ca3"
	const sum = "f85a2ab363fe4deaffef9754d79da6fe" // md5(key + test + 5C271099)
	synctest.Test(t, func(t *testing.T) {
		at(t, 0x5C271099-1)
		method := New(Config{Secrets: secrets(key), Formats: Formats{Sluice, Tencent}})
		decide := func(name, query string) error {
			g, err := method.Decide(t.Context(), session(t, hub.RolePublish, hub.Key{App: "live", Name: name}, query, hub.Client{Protocol: "rtmp"}))
			if err == nil {
				assert.Contains(t, []int64{0x5C271099, 0x7fffffff}, g.Until.Unix())
				assert.Equal(t, "sign:live/"+name, g.Identity)
			}
			return err
		}
		require.NoError(t, decide("test", "txSecret="+sum+"&txTime=5C271099"))
		require.NoError(t, decide("test", "sign=x&txSecret="+sum+"&txTime=5C271099"), "another form that is wrong does not hide it")
		require.NoError(t, decide("test", "txTime=7fffffff&txSecret="+md5Hex(key, "test", "7fffffff")), "small digits")
		for _, wrong := range []string{
			"txSecret=" + sum,
			"txSecret=" + sum + "&txTime=5c271099", // it was signed in capitals
			"txSecret=" + sum + "&txTime=5C27109A",
			"txSecret=" + sum + "&txTime=5C271099&txTime=5C271099",
			"txSecret=" + sum + "&txSecret=" + sum + "&txTime=5C271099",
			"txSecret=F85A2AB363FE4DEAFFEF9754D79DA6FE&txTime=5C271099",
			"txTime=%2B5C27109&txSecret=" + md5Hex(key, "test", "+5C27109"),
			"txTime=0x5C2710&txSecret=" + md5Hex(key, "test", "0x5C2710"),
		} {
			require.ErrorIs(t, decide("test", wrong), access.ErrWrong, wrong)
		}
		require.ErrorIs(t, decide("test", "txTime=5C271099"), access.ErrMissing)
		// A digit moved between name and time leaves what is signed as it was.
		require.ErrorIs(t, decide("tes", "txSecret="+md5Hex(key, "tes", "a5C271099")+"&txTime=a5C271099"), access.ErrWrong)
		require.ErrorIs(t, decide("test5", "txSecret="+sum+"&txTime=C271099"), access.ErrWrong)
		time.Sleep(time.Second)
		require.ErrorIs(t, decide("test", "txSecret="+sum+"&txTime=5C271099"), access.ErrExpired)
		require.ErrorIs(t, decide("other", "txSecret="+sum+"&txTime=5C271099"), access.ErrWrong)
	})
}

// The vector of Alibaba's documents is for a file that no stream's path can be.
func TestAliyunVector(t *testing.T) {
	assert.Equal(t, "80cd3862d699b7118eed99103f2a3a4f", md5Hex("/video/standard/1K.html", "-1444435200-0-0-", "aliyuncdnexp1234"))
}

func TestAliyun(t *testing.T) {
	const key, stamp = "aliyuncdnexp1234", "-1444435200-0-0-"
	synctest.Test(t, func(t *testing.T) {
		at(t, 1444435200+1799)
		method := New(Config{Secrets: secrets(key), Formats: Formats{Aliyun}, AliyunValidity: 1800 * time.Second})
		auth := func(path, stamp string) string { return "auth_key=" + stamp[1:] + md5Hex(path, stamp, key) }
		flv := hub.Client{Protocol: "http-flv", Name: "/live/cam.flv"}
		decide := func(k hub.Key, query string, c hub.Client) error {
			g, err := method.Decide(t.Context(), session(t, hub.RoleWatch, k, query, c))
			if err == nil {
				assert.Equal(t, time.Unix(1444435200+1800, 0), g.Until)
			}
			return err
		}
		require.NoError(t, decide(cam, auth("/live/cam", stamp), hub.Client{Protocol: "rtmp", Name: "live/cam"}))
		require.NoError(t, decide(cam, auth("/live/cam.flv", stamp), flv))
		require.NoError(t, decide(cam, auth("/live/cam.flv", stamp), hub.Client{Protocol: "ws-flv", Name: "/live/cam.flv"}))
		require.NoError(t, decide(cam, auth("/live/cam.flv", "-1444435200-477b3bbc253f467b8def6711128c7bec-u1-"), flv))
		spaced := hub.Key{App: "live", Name: "ä b"}
		require.NoError(t, decide(spaced, auth("/live/ä b.flv", stamp), hub.Client{Protocol: "http-flv"}), "decoded")
		require.NoError(t, decide(spaced, auth("/live/%C3%A4%20b.flv", stamp), hub.Client{Protocol: "http-flv"}), "as it is written in a URL")
		recording := hub.Client{Protocol: "http-flv", Name: "/rec/live/cam/1.flv", Recording: "1"}
		require.NoError(t, decide(cam, auth("/rec/live/cam/1.flv", stamp), recording))
		require.ErrorIs(t, decide(cam, auth("/live/cam.flv", stamp), recording), access.ErrWrong)

		right := md5Hex("/live/cam.flv", stamp, key)
		for _, wrong := range []string{
			auth("/live/cam", stamp),
			auth("/live/Cam.flv", stamp),
			auth("live/cam.flv", stamp),
			auth("/live/cam.flv", stamp) + "&" + auth("/live/cam.flv", stamp),
			"auth_key=",
			"auth_key=1444435200-0-" + right,
			"auth_key=1444435200-0-0-0-" + right,
			"auth_key=1444435201-0-0-" + right,
			"auth_key=1444435200-1-0-" + right,
			auth("/live/cam.flv", "-01444435200-0-0-"),
			auth("/live/cam.flv", "-144443520-0-0-"),
			auth("/live/cam.flv", "-+144443520-0-0-"),
		} {
			require.ErrorIs(t, decide(cam, wrong, flv), access.ErrWrong, wrong)
		}
		require.ErrorIs(t, decide(cam, "", flv), access.ErrMissing)
		time.Sleep(time.Second)
		require.ErrorIs(t, decide(cam, auth("/live/cam.flv", stamp), flv), access.ErrExpired)
	})
}
