package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub"
)

// sluiceSign has the program sign an address, and returns its query.
func sluiceSign(t *testing.T, url string) string {
	t.Helper()
	path, err := program()
	require.NoError(t, err)
	cmd := exec.Command(path, "sign", "-for", "1h", url)
	cmd.Env = append(environment(), "SLUICE_WATCH_SECRETS=** "+watchSecret)
	out, err := cmd.Output()
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	_, query, found := strings.Cut(lines[len(lines)-1], "?")
	require.True(t, found, "%s", out)
	return query
}

// screenshot keeps what the page looks like, where somebody wants to see it.
func (b *browser) screenshot(name string) {
	b.t.Helper()
	dir := os.Getenv("SLUICE_TEST_SCREENSHOTS")
	if dir == "" {
		return
	}
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	require.NoError(b.t, err)
	require.NoError(b.t, os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o600))
}

// refusal waits until the page says that somebody may not watch, and which way.
func (b *browser) refusal(pill, headline, detail string) {
	b.t.Helper()
	b.inState("failed")
	b.text("#state", pill)
	b.text("#headline", headline)
	b.text("#detail", detail)
}

// The project's page with a signed address: the stream plays over both ways, and its recording,
// which are refused without and afterwards; a viewer whose permission ends is told so. Who signs is
// the program itself.
func TestPagePermission(t *testing.T) {
	t.Parallel()
	g := guard(t, "SLUICE_RECORD_DIR="+t.TempDir(), "SLUICE_RECORD_MIN_FREE=0", "SLUICE_EXPIRE_SESSIONS=true", "SLUICE_SIGN_SKEW=0s",
		"SLUICE_WATCH_AUTH=sign key", "SLUICE_WATCH_SECRETS=** "+watchSecret, "SLUICE_WATCH_KEYS=** "+watchKey)
	b := browse(t)
	publisher := g.publish("live/cam", both)
	page := func(query string) string { return "http://" + g.http + "/?stream=live/cam&" + query }
	signature := sluiceSign(t, g.flvURL("http", "live/cam"))
	const denied, expired = "You may not watch this", "Your permission has ended"
	for _, over := range []string{"ws", "http"} {
		b.open(page(signature + "&over=" + over))
		b.goesOn()
		b.shows(320)
		assert.Equal(t, over, eval[string](b, "sluice.over"))
		assert.NotContains(t, eval[string](b, "document.body.textContent"), signature)
		b.screenshot("e2e-signed-" + over)
		b.open(page("over=" + over))
		b.refusal("Denied", denied, "Permission is needed: ")
		b.open(page("key=wrong&over=" + over))
		b.refusal("Denied", denied, "The permission that was shown is wrong: the key is wrong.")
		b.screenshot("e2e-denied-" + over)
		played := false
		for _, valid := range validities {
			b.open(page(signed(hub.RoleWatch, "live/cam", watchSecret, valid, "") + "&over=" + over))
			b.until("['playing', 'failed'].includes(sluice.state)", pageNow)
			if played = eval[string](b, "sluice.state") == "playing"; played {
				break
			}
		}
		assert.True(t, played)
		b.refusal("Expired", expired, "")
		b.screenshot("e2e-expired-" + over)
		b.do(chromedp.Click(chromedp.CSS("#again")))
		b.refusal("Expired", expired, "The signed address has expired.")
		g.watched("live/cam", 0)
	}

	publisher.signal(os.Interrupt)
	publisher.wait()
	recording := func(query string) string { return "http://" + g.http + "/?recording=live/cam/latest&" + query }
	b.open(recording(""))
	b.refusal("Denied", denied, "Permission is needed: ")
	b.open(recording("key=wrong"))
	b.refusal("Denied", denied, "The permission that was shown is wrong: the key is wrong.")
	b.open(recording(signed(hub.RoleWatch, "live/cam", watchSecret, -time.Minute, "")))
	b.refusal("Expired", expired, "The signed address has expired.")
	b.screenshot("e2e-recording-expired")
	b.open(recording(signature))
	until(t, "the recording is finished", func() bool { // it is written when the grace is over
		b.open(recording(signature))
		b.until("!!document.querySelector('#files a')", pageNow)
		return eval[bool](b, "document.getElementById('files').innerText.includes('MP4')")
	})
	b.at(0, 10)
	assert.Equal(t, "mp4", eval[string](b, "sluice.way"))
	assert.NotContains(t, eval[string](b, "document.body.textContent"), signature)
	b.screenshot("e2e-recording-signed")
	_, hex, _ := strings.Cut(signature, "sign=")
	assert.NotContains(t, g.said.String(), hex)
}
