package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"testing"
)

// newerFolder names the environment variable that says where .ci/newer-ffmpeg has
// unpacked ffmpeg, if not in its usual place.
const newerFolder = "NEWER_FFMPEG"

// newest is the first version of ffmpeg that knows all of Enhanced RTMP v2 which these
// tests use.
const newest = 7

var ffmpegVersion = regexp.MustCompile(`^ffmpeg version n?(\d+)\.`)

// newerPrograms is the folder of an ffmpeg that is recent enough, with a separator
// at its end; empty for the one in the path, and false if there is none.
var newerPrograms = sync.OnceValues(func() (string, bool) {
	folders := []string{""}
	if folder := os.Getenv(newerFolder); folder != "" {
		folders = []string{filepath.Join(folder, "bin") + "/"}
	} else if cache, err := os.UserCacheDir(); err == nil {
		folders = append(folders, filepath.Join(cache, "newer-ffmpeg", "bin")+"/")
	}
	for _, folder := range folders {
		out, err := exec.Command(folder+"ffmpeg", "-version").Output()
		if found := ffmpegVersion.FindSubmatch(out); err == nil && found != nil {
			if version, _ := strconv.Atoi(string(found[1])); version >= newest {
				return folder, true
			}
		}
	}
	return "", false
})

// newer returns the path of ffmpeg or ffprobe of a recent version. Without one the
// test is left out.
func newer(t *testing.T, name string) string {
	t.Helper()
	folder, ok := newerPrograms()
	if !ok {
		leaveOut(t, "%s is missing in version %d or later; .ci/newer-ffmpeg unpacks it on Debian 12", name, newest)
	}
	return folder + name
}
