package asset

import (
	"bytes"
	"path"
	"strings"

	"github.com/tdewolff/minify/v2"
	"github.com/tdewolff/minify/v2/css"
	"github.com/tdewolff/minify/v2/js"
)

// foreign is the folder of what others have written. It is served as it came, with the words of its
// licences.
const foreign = "npm/"

// lean returns a script or a style without what only those need who work on it: comments, blanks,
// long names of variables. Every other file, and what cannot be parsed, stays as it is. It shares no memory with
// data.
func lean(name string, data []byte) []byte {
	minifier := map[string]minify.Minifier{".js": &js.Minifier{}, ".css": &css.Minifier{}}[path.Ext(name)]
	if minifier == nil || strings.HasPrefix(name, foreign) {
		return data
	}
	var out bytes.Buffer
	if err := minifier.Minify(minify.New(), &out, bytes.NewReader(data), nil); err != nil {
		return data
	}
	return out.Bytes()
}
