package main

import (
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// arrows says what the packages of the house may know of each other: a package
// may import those that are listed, and their subpackages where the name ends
// in "/...". The most exact key counts. Arrows point down only, but for httpflv/answer,
// which knows nobody and which everything that speaks HTTP may know.
//
//	         cmd
//	web   httpflv   rtmp/gateway
//	   \     |      /    |
//	     hub/...   /    rtmp
//	          \   |   /
//	            flv/...
var arrows = map[string][]string{
	"flv":               {"flv/amf"},
	"flv/amf":           {},
	"flv/mp4":           {"flv"},
	"hub/...":           {"flv/...", "hub/..."},
	"hub/intake":        {"hub/rawconn"},
	"hub/pattern":       {},
	"hub/rawconn":       {},
	"hub/relay/splice":  {"flv"},
	"hub/timeline":      {"flv"},
	"hub/tlsconn":       {},
	"hub/waitgroup":     {},
	"rtmp":              {"flv/...", "rtmp/internal/..."},
	"rtmp/internal/...": {"flv/...", "rtmp/internal/..."},
	"rtmp/...":          {"flv/...", "hub/...", "rtmp/..."}, // what ties rtmp to the hub
	"httpflv/...":       {"flv/...", "hub/...", "httpflv/..."},
	"httpflv/answer":    {},
	"web/...":           {"flv/...", "hub/...", "httpflv/answer", "web/..."},
	"cmd/...":           {"flv/...", "hub/...", "rtmp/...", "httpflv/...", "web/...", "cmd/..."},
	"testdata/...":      {"flv/...", "hub/...", "rtmp/...", "httpflv/...", "web/...", "testdata/..."},
}

// matches says whether a package without the module's name falls under a
// pattern of arrows.
func matches(pattern, pkg string) bool {
	root, tree := strings.CutSuffix(pattern, "/...")
	return pkg == root || tree && strings.HasPrefix(pkg, root+"/")
}

// allowed returns what pkg may import; nil when no key covers it.
func allowed(pkg string) []string {
	var key string
	for pattern := range arrows {
		if matches(pattern, pkg) && len(strings.TrimSuffix(pattern, "/..."))*2+exact(pattern) > len(strings.TrimSuffix(key, "/..."))*2+exact(key) {
			key = pattern
		}
	}
	return arrows[key]
}

// exact makes "rtmp" win over "rtmp/...".
func exact(pattern string) int {
	if strings.HasSuffix(pattern, "/...") {
		return 0
	}
	return 1
}

type listedPackage struct {
	ImportPath string
	Standard   bool
	Imports    []string
}

// packages asks the Go tool for every package of the module and everything that
// they need, by import path. Test files don't count: they may look sideways.
func packages(t *testing.T) map[string]listedPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-deps", "-json=ImportPath,Standard,Imports", "./...")
	cmd.Dir = "../.."
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err)
	all := map[string]listedPackage{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listedPackage
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		require.NoError(t, err)
		all[p.ImportPath] = p
	}
}

func TestArrowsPointDown(t *testing.T) {
	const module = "sluice/"
	all := packages(t)
	for path, p := range all {
		pkg, ours := strings.CutPrefix(path, module)
		if !ours {
			continue
		}
		may := allowed(pkg)
		if !assert.NotNil(t, may, "package %s has no place in the house: give it one in arrows", pkg) {
			continue
		}
		for _, imported := range p.Imports {
			if to, ours := strings.CutPrefix(imported, module); ours {
				ok := slices.ContainsFunc(may, func(pattern string) bool { return matches(pattern, to) })
				assert.True(t, ok, "%s imports %s", pkg, to)
			}
		}
	}
	require.Contains(t, all, module+"cmd/sluice", "the list of packages is not that of the module")
}

// The hub knows no protocol, not even through somebody else.
func TestHubKnowsNoProtocol(t *testing.T) {
	all := packages(t)
	forbidden := []string{"net/http", "sluice/rtmp", "sluice/httpflv", "nhooyr.io/websocket"}
	for path := range all {
		// NATS brings HTTP with it, for what is not used of it. So no package of the hub may know this one:
		// it is given to them as a cluster.Directory.
		if !matches("sluice/hub/...", path) || path == "sluice/hub/cluster/nats" {
			continue
		}
		reached := map[string]bool{}
		var visit func(path string)
		visit = func(path string) {
			if !reached[path] {
				reached[path] = true
				for _, to := range all[path].Imports {
					visit(to)
				}
			}
		}
		visit(path)
		for _, bad := range forbidden {
			assert.False(t, reached[bad], "%s depends on %s", path, bad)
		}
	}
}

// nhooyr.io/websocket has come to its end under this name: one file to change.
func TestWebSocketIsImportedInOneFile(t *testing.T) {
	var files []string
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && (name == "node_modules" || name == "testdata" || len(name) > 2 && name[0] == '.') {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			if strings.HasPrefix(spec.Path.Value, `"nhooyr.io/websocket`) {
				files = append(files, path)
			}
		}
		return nil
	})
	require.NoError(t, err)
	assert.LessOrEqual(t, len(files), 1, "%v", files)
}
