package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// lockDocument has the order in which mutexes are taken, and names functions as name().
const lockDocument = "../../hub/README.md"

// The order of locks is read from the document: each mutex of the server has its place in
// it, each that stands there exists, and there is no circle.
func TestLockOrder(t *testing.T) {
	text, err := os.ReadFile(lockDocument)
	require.NoError(t, err)
	_, block, found := strings.Cut(string(text), "\n## Locks\n")
	require.True(t, found)
	block = strings.Split(block, "```")[1]
	name := regexp.MustCompile(`^[a-z]+\.\w+\.\w+$`)
	after := map[string][]string{} // what may be taken while it is held
	for line := range strings.Lines(block) {
		before := ""
		for _, lock := range strings.Split(strings.TrimSpace(line), " -> ") {
			if !name.MatchString(lock) {
				continue
			}
			after[lock] = slices.Clone(after[lock])
			if before != "" {
				after[before] = append(after[before], lock)
			}
			before = lock
		}
	}
	var path []string
	var visit func(lock string)
	visit = func(lock string) {
		require.NotContains(t, path, lock, "a circle: %v", path)
		path = append(path, lock)
		for _, next := range after[lock] {
			visit(next)
		}
		path = path[:len(path)-1]
	}
	declared := serverMutexes(t)
	for lock := range after {
		visit(lock)
		assert.Contains(t, declared, lock, "there is no such mutex")
	}
	for _, lock := range declared {
		assert.Contains(t, after, lock, "%s has no line for the mutex", lockDocument)
	}
}

// serverMutexes returns the fields of structs that are mutexes, as package.Type.field, of
// all packages but the bench, the self-test and what is for tests, which are no servers.
func serverMutexes(t *testing.T) (all []string) {
	eachSource(t, func(dir string, f *ast.File) {
		if strings.HasPrefix(dir, "cmd/sluice/bench") || strings.HasPrefix(dir, "cmd/sluice/check") || slices.Contains([]string{"hub/relay/relaytest", "hub/cluster/directorytest", "hub/cluster/memory"}, dir) {
			return
		}
		for _, d := range f.Decls {
			gen, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range gen.Specs {
				typ, ok := spec.(*ast.TypeSpec)
				if !ok {
					continue
				}
				ast.Inspect(typ.Type, func(n ast.Node) bool {
					field, ok := n.(*ast.Field)
					if !ok {
						return true
					}
					sel, ok := field.Type.(*ast.SelectorExpr)
					if !ok || sel.Sel.Name != "Mutex" && sel.Sel.Name != "RWMutex" {
						return true
					}
					for _, name := range field.Names {
						all = append(all, filepath.Base(dir)+"."+typ.Name.Name+"."+name.Name)
					}
					return true
				})
			}
		}
	})
	require.Contains(t, all, "hub.Stream.mu")
	return all
}

// What the document calls a function, or a file, exists.
func TestHubDocumentNamesWhatThereIs(t *testing.T) {
	text, err := os.ReadFile(lockDocument)
	require.NoError(t, err)
	functions, files := map[string]bool{}, map[string]bool{}
	eachSource(t, func(dir string, f *ast.File) {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				functions[n.Name.Name] = true
			case *ast.InterfaceType:
				for _, m := range n.Methods.List {
					for _, name := range m.Names {
						functions[name.Name] = true
					}
				}
			}
			return true
		})
	})
	for _, root := range []string{"../../hub", "../../rtmp", "../../httpflv", "."} {
		require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			files[d.Name()] = true
			return err
		}))
	}
	for _, call := range regexp.MustCompile(`(\w+)\(\)`).FindAllStringSubmatch(string(text), -1) {
		assert.True(t, functions[call[1]], "there is no function %s", call[1])
	}
	for _, file := range regexp.MustCompile(`\w+\.go\b`).FindAllString(string(text), -1) {
		assert.True(t, files[file], "there is no file %s", file)
	}
}

// eachSource calls f for each source file of the module that is no test, with its folder.
func eachSource(t *testing.T, f func(dir string, file *ast.File)) {
	t.Helper()
	const root = "../.."
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if name == "node_modules" || name == "testdata" || len(name) > 2 && name[0] == '.' {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		f(filepath.ToSlash(dir), file)
		return nil
	})
	require.NoError(t, err)
}
