package main

import (
	"fmt"
	"go/ast"
	"go/build"
	"go/constant"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// constants finds out the values of constants in the packages of this module, by type
// checking their sources as they are on Linux.
type constants struct {
	files    *token.FileSet
	std      types.Importer
	packages map[string]*checkedPackage
}

type checkedPackage struct {
	types *types.Package
	info  *types.Info
	files []*ast.File
}

func newConstants() *constants {
	return &constants{token.NewFileSet(), importer.Default(), make(map[string]*checkedPackage)}
}

// Import is for go/types. Most packages of others are not looked at: what the sources have
// of them is then unknown, and so would be a constant that is made of it.
func (c *constants) Import(path string) (*types.Package, error) {
	if dir, ours := strings.CutPrefix(path, "sluice/"); ours {
		p, err := c.load(dir)
		if err != nil {
			return nil, err
		}
		return p.types, nil
	}
	switch path {
	case "time", "math":
		return c.std.Import(path)
	}
	return nil, fmt.Errorf("%s is not looked at", path)
}

// load checks a package of the module.
func (c *constants) load(dir string) (*checkedPackage, error) {
	if p := c.packages[dir]; p != nil {
		return p, nil
	}
	linux := build.Default
	linux.GOOS, linux.GOARCH, linux.CgoEnabled = "linux", "amd64", false
	found, err := linux.ImportDir(filepath.Join("../..", dir), 0)
	if err != nil {
		return nil, err
	}
	p := &checkedPackage{info: &types.Info{Types: make(map[ast.Expr]types.TypeAndValue)}}
	for _, name := range found.GoFiles {
		f, err := parser.ParseFile(c.files, filepath.Join(found.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		p.files = append(p.files, f)
	}
	conf := types.Config{Importer: c, Error: func(error) {}, IgnoreFuncBodies: true}
	p.types, _ = conf.Check("sluice/"+dir, c.files, p.files, p.info)
	c.packages[dir] = p
	return p, nil
}

// splitConstant takes hub/fanout.maxQueued apart.
func splitConstant(name string) (pkg, short string) {
	dot := strings.LastIndex(name, "/") + 1
	dot += strings.Index(name[dot:], ".")
	return name[:dot], name[dot+1:]
}

// text returns the value of a constant, or of a field of a struct that a variable of the
// package is declared with, as people write it. The unit is "" or "bytes".
func (c *constants) text(pkg, name, unit string) (string, error) {
	v, err := c.value(pkg, name)
	if err != nil {
		return "", err
	}
	n, exact := constant.Int64Val(constant.ToInt(v.Value))
	switch {
	case v.Value.Kind() == constant.String:
		return "`" + strings.TrimSpace(constant.StringVal(v.Value)) + "`", nil
	case !exact:
		return "", fmt.Errorf("%s is no whole number", v.Value)
	case v.Type.String() == "time.Duration":
		return durationText(time.Duration(n)), nil
	case unit == "bytes":
		return bytesText(n), nil
	}
	return countText(n), nil
}

func (c *constants) value(pkg, name string) (v types.TypeAndValue, err error) {
	p, err := c.load(pkg)
	if err != nil {
		return v, err
	}
	name, field, isField := strings.Cut(name, ".")
	switch o := p.types.Scope().Lookup(name).(type) {
	case *types.Const:
		if !isField {
			v = types.TypeAndValue{Type: o.Type(), Value: o.Val()}
		}
	case *types.Var:
		v = p.info.Types[p.fieldOf(name, field)]
	}
	if v.Value == nil || v.Value.Kind() == constant.Unknown {
		return v, fmt.Errorf("no constant value")
	}
	return v, nil
}

// fieldOf returns the expression that a variable of the package has for a field.
func (p *checkedPackage) fieldOf(name, field string) (value ast.Expr) {
	for _, f := range p.files {
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Names) != 1 || spec.Names[0].Name != name || len(spec.Values) != 1 {
				return true
			}
			if literal, ok := spec.Values[0].(*ast.CompositeLit); ok {
				for _, e := range literal.Elts {
					if kv, ok := e.(*ast.KeyValueExpr); ok && kv.Key.(*ast.Ident).Name == field {
						value = kv.Value
					}
				}
			}
			return false
		})
	}
	return value
}

// durationText writes a duration in its largest unit: 1.5 s, 2 min.
func durationText(d time.Duration) string {
	switch {
	case d >= 2*time.Minute && d%time.Minute == 0:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d >= time.Second:
		return fmt.Sprintf("%v s", d.Seconds())
	}
	return fmt.Sprintf("%v ms", float64(d)/float64(time.Millisecond))
}

// bytesText writes a number of bytes: 255 bytes, 64 KiB, and 16 MiB for one byte less,
// which is what fits into 24 bits.
func bytesText(n int64) string {
	if n&(n+1) == 0 && n > 1<<20 {
		n++
	}
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return countText(n) + " bytes"
}

// countText writes a number, its thousands apart if it has many.
func countText(n int64) string {
	text := fmt.Sprint(n)
	if n < 10_000 {
		return text
	}
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func TestConstants(t *testing.T) {
	code := newConstants()
	for name, want := range map[string]string{
		"hub/fanout.quietCheck":                       "5 s",
		"hub.takeoverSilence":                         "1.5 s",
		"hub.resumeWait":                              "800 ms",
		"hub.pauseMemory":                             "2 min",
		"hub.maxTracks":                               "64",
		"hub.maxEvents":                               "100,000",
		"hub.keyPunctuation":                          "`-_.~+=@,:!()&`",
		"hub/fanout.maxQueued bytes":                  "256 KiB",
		"hub.MaxKeyLength bytes":                      "255 bytes",
		"rtmp/internal/chunk.defaults.Media bytes":    "16 MiB",
		"rtmp/internal/chunk.Cautious.InFlight bytes": "256 KiB",
		"rtmp.commandLimits.Depth":                    "16",
	} {
		name, unit, _ := strings.Cut(name, " ")
		pkg, short := splitConstant(name)
		text, err := code.text(pkg, short, unit)
		require.NoError(t, err, name)
		assert.Equal(t, want, text, name)
	}
	for _, name := range []string{"hub.nothing", "hub.Hub", "hub/fanout.errBrokenOff", "hub.scriptLimits", "hub.scriptLimits.X", "hub/fanout.autoShare"} {
		pkg, short := splitConstant(name)
		_, err := code.text(pkg, short, "")
		assert.Error(t, err, name)
	}
	_, err := code.text("hub/nowhere", "x", "")
	assert.Error(t, err)
}
