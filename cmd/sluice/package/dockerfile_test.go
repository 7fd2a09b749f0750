//go:build unix

package packaging

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const terminate = syscall.SIGTERM

// What the tests pass to the build.
const (
	builtVersion = "v1.2.3-test"
	builtCommit  = "0123456789abcdef0123456789abcdef01234567"
	builtDate    = "2026-11-29T19:30:00Z"
)

// instruction is one of a Dockerfile.
type instruction struct {
	word  string   // in capitals
	flags []string // --from=build
	text  string   // the rest
}

// flag returns the value of a flag, empty without.
func (i instruction) flag(name string) string {
	for _, f := range i.flags {
		if value, ok := strings.CutPrefix(f, "--"+name+"="); ok {
			return value
		}
	}
	return ""
}

// readDockerfile takes a Dockerfile apart.
func readDockerfile(r io.Reader) (all []instruction, err error) {
	joined := ""
	for lines := bufio.NewScanner(r); lines.Scan(); {
		line := lines.Text()
		if strings.HasPrefix(strings.TrimSpace(line), "#") || joined == "" && strings.TrimSpace(line) == "" {
			continue
		}
		if before, ok := strings.CutSuffix(line, "\\"); ok {
			joined += before + "\n"
			continue
		}
		var i instruction
		i.word, i.text, _ = strings.Cut(joined+line, " ")
		joined = ""
		for strings.HasPrefix(i.text, "--") {
			var flag string
			flag, i.text, _ = strings.Cut(i.text, " ")
			i.flags = append(i.flags, flag)
		}
		// Within a command, a line that goes on is one line.
		i.text = strings.ReplaceAll(i.text, "\n", " ")
		all = append(all, i)
	}
	if joined != "" {
		return nil, errors.New("the last line goes on")
	}
	return all, nil
}

// image is what the last stage of the Dockerfile becomes.
type image struct {
	root        string // the folder with its files
	environment []string
	user        string
	ports       []string
	volumes     []string
	stopSignal  string
	health      []string
	entrypoint  []string
	owners      map[string]string // of files that have one
}

// stage is a stage under way.
type stage struct {
	dir     string // stands for the root of its file system
	workdir string // below it, with a leading slash; "" before there is one
	args    []string
}

// inside returns the path of a file of the stage on this machine: what does not belong to the
// stage's own folder comes with its base, whose part this machine plays.
func (s *stage) inside(path string) string {
	if !strings.HasPrefix(path, "/") {
		path = filepath.Join(s.workdir, path)
	}
	if own := filepath.Join(s.dir, path); s.workdir == "" || strings.HasPrefix(path, s.workdir) {
		return own
	}
	return path
}

// makeImage does what the Dockerfile says, in dir. What stands before the first WORKDIR of a
// stage with a base equips that with what this machine has, and is passed over.
func makeImage(dir string) (*image, error) {
	f, err := os.Open("Dockerfile")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all, err := readDockerfile(f)
	if err != nil {
		return nil, err
	}
	context, err := buildContext(dir)
	if err != nil {
		return nil, err
	}
	made := &image{owners: map[string]string{}}
	stages, current := map[string]*stage{}, (*stage)(nil)
	for _, i := range all {
		if i.word == "FROM" {
			words := strings.Fields(i.text)
			current = &stage{dir: filepath.Join(dir, fmt.Sprintf("stage%d", len(stages)))}
			stages[words[len(words)-1]] = current
			if words[0] == "scratch" {
				current.workdir = "/"
				made.root = current.dir
			}
			if err := os.MkdirAll(current.dir, 0o755); err != nil {
				return nil, err
			}
			continue
		}
		if current == nil || current.workdir == "" && i.word != "WORKDIR" {
			continue
		}
		if err := made.apply(i, current, stages, context); err != nil {
			return nil, fmt.Errorf("%s %s: %w", i.word, i.text, err)
		}
	}
	return made, nil
}

// apply does what one instruction says.
func (made *image) apply(i instruction, s *stage, stages map[string]*stage, context string) error {
	final := made.root == s.dir
	words := strings.Fields(i.text)
	list := func(into *[]string) error { return json.Unmarshal([]byte(i.text), into) }
	switch {
	case i.word == "WORKDIR":
		s.workdir = i.text
		return os.MkdirAll(filepath.Join(s.dir, s.workdir), 0o755)
	case i.word == "ARG":
		value := map[string]string{"VERSION": builtVersion, "COMMIT": builtCommit, "DATE": builtDate}[i.text]
		s.args = append(s.args, i.text+"="+value)
		return nil
	case i.word == "COPY":
		return made.copy(i, s, stages, context)
	case i.word == "RUN" && !final:
		return s.run(i.text)
	case !final:
		return errors.New("is not known before the last stage")
	case i.word == "USER":
		made.user = i.text
	case i.word == "ENV":
		made.environment = append(made.environment, i.text)
	case i.word == "VOLUME":
		return list(&made.volumes)
	case i.word == "EXPOSE":
		made.ports = words
	case i.word == "STOPSIGNAL":
		made.stopSignal = i.text
	case i.word == "ENTRYPOINT":
		return list(&made.entrypoint)
	case i.word == "HEALTHCHECK":
		i.text = i.text[strings.Index(i.text, "["):]
		return list(&made.health)
	default:
		return errors.New("is not known in the last stage")
	}
	return nil
}

// run runs a command of a stage.
func (s *stage) run(command string) error {
	if command == "go generate ./web" && os.Getenv("SLUICE_TEST_LONG") == "" {
		return nil // it fetches from the network; the context has what was fetched, if anything was
	}
	cmd := exec.Command("sh", "-ec", command)
	cmd.Dir = filepath.Join(s.dir, s.workdir)
	cmd.Env = append(os.Environ(), s.args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// copy copies files of the context or of a stage.
func (made *image) copy(i instruction, s *stage, stages map[string]*stage, context string) error {
	words := strings.Fields(i.text)
	sources, to := words[:len(words)-1], words[len(words)-1]
	for _, from := range sources {
		path := filepath.Join(context, from)
		if name := i.flag("from"); name != "" {
			if stages[name] == nil {
				return fmt.Errorf("there is no stage %q", name)
			}
			path = stages[name].inside(from)
		}
		into := s.inside(to)
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if !info.IsDir() && (to == "./" || strings.HasSuffix(to, "/")) {
			into = filepath.Join(into, filepath.Base(from))
		}
		if err := copyTree(path, into); err != nil {
			return err
		}
		if owner := i.flag("chown"); owner != "" {
			made.owners[to] = owner
		}
	}
	return nil
}

// copyTree copies a file, or what is in a folder, with its modes.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rest, _ := filepath.Rel(from, path)
		target := filepath.Join(to, rest)
		info, err := os.Stat(path) // certificates of authorities may be links
		if err != nil {
			return err
		}
		if info.IsDir() {
			return os.MkdirAll(target, info.Mode().Perm())
		}
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, text, info.Mode().Perm())
	})
}

// buildContext copies what a build is given: all files of the repository that are not ignored, and
// what go generate has fetched for the page.
func buildContext(dir string) (string, error) {
	out, err := exec.Command("git", "-C", repository, "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		return "", fmt.Errorf("git ls-files: %w", err)
	}
	ignored, err := ignoredPatterns()
	if err != nil {
		return "", err
	}
	files := strings.Split(strings.TrimRight(string(out), "\x00"), "\x00")
	context := filepath.Join(dir, "context")
	for _, file := range files {
		info, err := os.Stat(filepath.Join(repository, file))
		if err != nil || info.IsDir() || ignores(ignored, file) {
			continue
		}
		if err := copyTree(filepath.Join(repository, file), filepath.Join(context, file)); err != nil {
			return "", err
		}
	}
	const fetched = "web/static/npm"
	if _, err := os.Stat(filepath.Join(repository, fetched)); err != nil || os.Getenv("SLUICE_TEST_LONG") != "" {
		return context, nil
	}
	return context, copyTree(filepath.Join(repository, fetched), filepath.Join(context, fetched))
}

// ignoredPatterns returns the patterns of the Dockerfile's list of what it does not need.
func ignoredPatterns() (patterns []string, err error) {
	text, err := os.ReadFile("Dockerfile.dockerignore")
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			patterns = append(patterns, line)
		}
	}
	return patterns, err
}

// ignores reports whether a file or a folder above it is left out of the context.
func ignores(patterns []string, file string) bool {
	for path := file; path != "."; path = filepath.Dir(path) {
		for _, p := range patterns {
			name := path
			if anywhere, ok := strings.CutPrefix(p, "**/"); ok {
				p, name = anywhere, filepath.Base(path)
			}
			if ok, _ := filepath.Match(p, name); ok {
				return true
			}
		}
	}
	return false
}

func TestIgnores(t *testing.T) {
	patterns, err := ignoredPatterns()
	require.NoError(t, err)
	for file, want := range map[string]bool{
		".git/config": true, "web/node_modules/mpegts.js/dist/mpegts.js": true, "cmd/sluice/main.go": false, "sluice": true,
		"cmd/sluice/demo/clip.flv": false, "flv/testdata/golden.txt": true, "web/static/npm/mpegts.js": true, "web/static/page.css": false,
		"go.mod": false, "cmd/sluice/package/compose/secrets/admin-token": true,
	} {
		assert.Equal(t, want, ignores(patterns, file), file)
	}
}

// The image is built with a Go that the module takes, and a Node that fetches the player.
func TestDockerfileBases(t *testing.T) {
	all, err := readDockerfile(strings.NewReader(read(t, "Dockerfile")))
	require.NoError(t, err)
	var bases []string
	for _, i := range all {
		if i.word == "FROM" {
			bases = append(bases, strings.Fields(i.text)[0])
		}
	}
	require.Len(t, bases, 3)
	var major, minor, node int
	_, err = fmt.Sscanf(bases[1], "golang:%d.%d-bookworm", &major, &minor)
	require.NoError(t, err)
	assert.Contains(t, read(t, repository+"/go.mod"), fmt.Sprintf("\ngo %d.%d.", major, minor))
	_, err = fmt.Sscanf(bases[0], "node:%d-bookworm-slim", &node)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, node, 20, "as the README says")
	assert.Equal(t, "scratch", bases[2])
}

func TestReadDockerfile(t *testing.T) {
	all, err := readDockerfile(strings.NewReader("# a\nFROM x AS y\n\nRUN --mount=type=cache,target=/a --network=none a && \\\n  # within\n  b\nCMD [\"a b\"]\n"))
	require.NoError(t, err)
	assert.Equal(t, []instruction{
		{"FROM", nil, "x AS y"}, {"RUN", []string{"--mount=type=cache,target=/a", "--network=none"}, "a &&    b"}, {"CMD", nil, `["a b"]`},
	}, all)
	assert.Equal(t, "none", all[1].flag("network"))
	_, err = readDockerfile(strings.NewReader("RUN a \\\n"))
	assert.Error(t, err)
}
