//go:build unix

package main

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"sluice/hub"
)

func md5Hex(text string) string {
	sum := md5.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}

// All three forms of signed addresses at the same time, over each protocol. What others' forms sign
// is less, and so is what passes: a secret of its own keeps each app apart.
func TestPermissionSignFormats(t *testing.T) {
	log := new(syncBuffer)
	svc, p, begun := attacked(t, log, "SLUICE_SIGN_FORMATS=sluice tencent; aliyun", "SLUICE_WATCH_AUTH=sign", "SLUICE_PUBLISH_AUTH=sign",
		"SLUICE_WATCH_SECRETS=live/* "+watchSecret+"; other/* S3CRETother", "SLUICE_PUBLISH_SECRETS=** "+publishSecret)
	later := time.Now().Add(time.Hour)
	until, over := fmt.Sprintf("%08X", later.Unix()), fmt.Sprintf("%08x", time.Now().Add(-time.Hour).Unix())
	tencent := func(secret, name, until string) string {
		return "txSecret=" + md5Hex(secret+name+until) + "&txTime=" + until
	}
	aliyun := func(secret, path string) string {
		signed := fmt.Sprintf("%d-0-0", later.Unix())
		return "auth_key=" + signed + "-" + md5Hex(path+"-"+signed+"-"+secret)
	}
	own := signed(hub.RoleWatch, hub.Key{App: "live", Name: "cam"}, watchSecret, later)
	for name, test := range map[string]struct {
		http, rtmp string // queries
		granted    bool
	}{
		"our own":                 {own, own, true},
		"Tencent":                 {tencent(watchSecret, "cam", until), tencent(watchSecret, "cam", until), true},
		"Aliyun":                  {aliyun(watchSecret, "/live/cam.flv"), aliyun(watchSecret, "/live/cam"), true},
		"a wrong one beside":      {own + "&txSecret=x&auth_key=x", own + "&txSecret=x&auth_key=x", true},
		"Tencent, over":           {tencent(watchSecret, "cam", over), tencent(watchSecret, "cam", over), false},
		"Tencent, other secret":   {tencent("S3CRETother", "cam", until), tencent("S3CRETother", "cam", until), false},
		"Tencent, digit moved":    {tencent(watchSecret, "ca", "m"+until), tencent(watchSecret, "ca", "m"+until), false},
		"Tencent, other case":     {tencent(watchSecret, "cam", until) + "&txTime=" + strings.ToLower(until), "txSecret=" + md5Hex(watchSecret+"cam"+until) + "&txTime=" + strings.ToLower(until) + "0", false},
		"Tencent, publisher's":    {tencent(publishSecret, "cam", until), tencent(publishSecret, "cam", until), false},
		"Aliyun, other path":      {aliyun(watchSecret, "/live/other.flv"), aliyun(watchSecret, "/live/other"), false},
		"Aliyun, paths changed":   {aliyun(watchSecret, "/live/cam"), aliyun(watchSecret, "/live/cam.flv"), false},
		"Aliyun, twice":           {aliyun(watchSecret, "/live/cam.flv") + "&auth_key=x", aliyun(watchSecret, "/live/cam") + "&auth_key=x", false},
		"Aliyun, more fields":     {strings.Replace(aliyun(watchSecret, "/live/cam.flv"), "-0-0-", "-0-0-0-", 1), "auth_key=1-2-3-4-5", false},
		"Aliyun, the publisher's": {aliyun(publishSecret, "/live/cam.flv"), aliyun(publishSecret, "/live/cam"), false},
	} {
		status, code := http.StatusForbidden, "NetStream.Play.Failed"
		if test.granted {
			status, code = http.StatusOK, "NetStream.Play.Start"
		}
		assert.Equal(t, status, get(t, p, "/live/cam.flv?"+test.http), name)
		assert.Equal(t, code, attempt{"live", "", "cam?" + test.rtmp}.make(t, p, "play"), name)
	}
	assert.Equal(t, http.StatusForbidden, get(t, p, "/other/cam.flv?"+tencent(watchSecret, "cam", until)), "another app has another secret")
	svc.stop()
	assert.Len(t, begun.keys, 1)
	noSecrets(t, "the log", log.bytes())
}
