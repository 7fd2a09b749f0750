//go:build linux

package packaging

import (
	"debug/elf"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// files lists what is in the image, by paths as they are in it.
func (i *image) files(t *testing.T) (all []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(i.root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rest, _ := filepath.Rel(i.root, path)
			all = append(all, "/"+rest)
		}
		return err
	}))
	return all
}

// It holds the program, certificates of authorities and licences; no shell, and nobody's secrets.
func TestImageHasWhatItNeeds(t *testing.T) {
	i := theImage(t)
	files := i.files(t)
	for _, file := range files {
		assert.True(t, file == "/sluice" || file == "/etc/ssl/certs/ca-certificates.crt" || strings.HasPrefix(file, "/licences/"), file)
	}
	assert.Contains(t, files, "/sluice")
	for _, module := range []string{"go", "github.com/go-chi/chi/v5", "nhooyr.io/websocket", "github.com/prometheus/client_golang", "golang.org/x/sys"} {
		assert.True(t, slices.ContainsFunc(files, func(f string) bool { return strings.HasPrefix(f, "/licences/"+module+"/LICENSE") }), module)
	}
	u, g := i.ids(t)
	assert.NotZero(t, u)
	assert.NotZero(t, g)
	assert.Equal(t, []string{"/state", "/recordings"}, i.volumes)
	for _, v := range i.volumes {
		assert.Equal(t, i.user, i.owners[v], v)
		info, err := os.Stat(filepath.Join(i.root, v))
		require.NoError(t, err)
		assert.Equal(t, fs.FileMode(0o700), info.Mode().Perm(), v)
	}
	assert.Equal(t, "SIGTERM", i.stopSignal)
	assert.Equal(t, []string{"/sluice"}, i.entrypoint)
	assert.Subset(t, i.ports, []string{"1935", "8080"})
	assert.Equal(t, []string{"/sluice", "check", "-health"}, i.health)
}

// The program needs nothing beside itself, and tells where it comes from.
func TestImageIsStatic(t *testing.T) {
	path := sluice(t)
	f, err := elf.Open(path)
	require.NoError(t, err)
	defer f.Close()
	for _, p := range f.Progs {
		assert.NotEqual(t, elf.PT_INTERP, p.Type, "it needs a loader")
	}
	libraries, err := f.ImportedLibraries()
	require.NoError(t, err)
	assert.Empty(t, libraries)
	program, err := os.ReadFile(path)
	require.NoError(t, err)
	here, err := filepath.Abs(repository)
	require.NoError(t, err)
	assert.NotContains(t, string(program), here, "paths of who built it")

	out, err := exec.Command(path, "-version").Output()
	require.NoError(t, err)
	assert.Regexp(t, "^sluice "+builtVersion+", commit "+builtCommit[:12]+", "+builtDate+`, go1\.\S+ linux/\w+`+"\n$", string(out))
}

// container returns a copy of the image, whose volumes are its user's.
func (i *image) container(t *testing.T) *image {
	t.Helper()
	c := *i
	c.root = t.TempDir()
	require.NoError(t, copyTree(i.root, c.root))
	for _, v := range i.volumes {
		if os.Getuid() == 0 {
			u, g := i.ids(t)
			require.NoError(t, os.Chown(filepath.Join(c.root, v), u, g))
		}
	}
	return &c
}

// ids returns the numbers of the image's user and group.
func (i *image) ids(t *testing.T) (u, g int) {
	t.Helper()
	uid, gid, _ := strings.Cut(i.user, ":")
	u, err := strconv.Atoi(uid)
	require.NoError(t, err, "a number, which Kubernetes can see not to be root's")
	g, err = strconv.Atoi(gid)
	require.NoError(t, err)
	return u, g
}

// within makes a command one of the image: in its root, as its user, with its environment.
func (i *image) within(t *testing.T, environ []string, args ...string) *exec.Cmd {
	t.Helper()
	u, g := i.ids(t)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Env = "/", append(environ, i.environment...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: i.root}
	if os.Getuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(u), Gid: uint32(g)}
		return cmd
	}
	cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
	cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: u, HostID: os.Getuid(), Size: 1}}
	cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: g, HostID: os.Getgid(), Size: 1}}
	return cmd
}

// It runs in a root that holds nothing else and that it cannot write, its volumes excepted; it is healthy,
// and ends by the signal that stops it.
func TestImageRuns(t *testing.T) {
	i := theImage(t).container(t)
	before := i.files(t)
	cmd := i.within(t, []string{"SLUICE_RTMP_ADDR=127.0.0.1:0", "SLUICE_HTTP_ADDR=127.0.0.1:0", "SLUICE_DEMO=true", "SLUICE_RECORD_DIR=/recordings"}, i.entrypoint...)
	said, ended := run(t, cmd)
	address := said.find(t, `http://(127\.0\.0\.1:\d+)/ in a browser`)[1]
	assert.Contains(t, said.String(), "Sluice "+builtVersion+" is ready")
	res, err := http.Get("http://" + address + "/healthz")
	require.NoError(t, err)
	res.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	assert.Equal(t, http.StatusOK, res.StatusCode)
	written := func() (new []string) {
		for _, file := range i.files(t) {
			if !slices.Contains(before, file) {
				new = append(new, file)
			}
		}
		return new
	}
	until(t, "the demo is being recorded", func() bool {
		return slices.ContainsFunc(written(), func(f string) bool { return strings.HasPrefix(f, "/recordings/live/demo/") })
	})
	assert.NoError(t, i.check(t, address), "healthy")
	require.NoError(t, cmd.Process.Signal(terminate))
	assert.NoError(t, <-ended)
	assert.Error(t, i.check(t, address), "not healthy any more")
	for _, file := range written() {
		assert.True(t, strings.HasPrefix(file, "/state/") || strings.HasPrefix(file, "/recordings/"), file)
	}
	assert.NotContains(t, said.String(), "level=ERROR")
}

// check runs the check of health as an engine of containers does, and returns how that ended.
func (i *image) check(t *testing.T, address string) error {
	t.Helper()
	out, err := i.within(t, []string{"SLUICE_HTTP_ADDR=" + address}, i.health...).CombinedOutput()
	t.Logf("%s", out)
	return err
}
