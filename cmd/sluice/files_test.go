package main

import (
	"bytes"
	"log/slog"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestFilesAreReported(t *testing.T) {
	for _, c := range []struct {
		limit uint64
		want  string
		warn  bool
	}{
		{0, "limit=0 reserved=500 viewers=0", true},
		{256, "limit=256 reserved=500 viewers=0", true},
		{1024, "limit=1024 reserved=500 viewers=524", true},
		{10_499, "limit=10499 reserved=500 viewers=9999", true},
		{10_500, "limit=10500 reserved=500 viewers=10000", false},
		{1 << 20, "limit=1048576 reserved=500 viewers=1048076", false},
		{math.MaxUint64, "limit=18446744073709551615 reserved=500 viewers=18446744073709551115", false},
	} {
		var out bytes.Buffer
		reportFiles(c.limit, newLogger(&out, "text", slog.LevelInfo))
		assert.Contains(t, out.String(), c.want)
		assert.Equal(t, 1, bytes.Count(out.Bytes(), []byte("\n")), "one line")
		if c.warn {
			assert.Contains(t, out.String(), "level=WARN")
			assert.Contains(t, out.String(), "LimitNOFILE=")
			assert.Contains(t, out.String(), "ulimit -n")
		} else {
			assert.Contains(t, out.String(), `level=INFO msg="open files"`)
		}
	}
}
