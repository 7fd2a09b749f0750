package certificate

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestWarnings lets time pass, and tells at which days left something was logged.
func TestWarnings(t *testing.T) {
	for _, c := range []struct {
		name string
		life time.Duration
		want []string
	}{
		{"three months", 90 * day, []string{"WARN 14", "WARN 7", "WARN 2", "ERROR 0"}},
		{"six weeks", 42 * day, []string{"WARN 7", "WARN 2", "ERROR 0"}},
		{"a week", 7 * day, []string{"WARN 2", "ERROR 0"}},
		{"six days", 6 * day, []string{"ERROR 0"}},
		{"a day", day, []string{"ERROR 0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log logged
				m := template{names: []string{"a.example"}, notBefore: time.Now(), notAfter: time.Now().Add(c.life)}.make(t)
				s := openFiles(t, &log, m.filesIn(t, t.TempDir()))
				var told []string
				for range int(c.life/time.Hour) + 48 {
					s.warn(time.Now())
					for _, line := range log.take() {
						level, _, _ := strings.Cut(line[strings.Index(line, "level=")+6:], " ")
						left := (time.Until(m.leaf.NotAfter) + day - time.Hour) / day // rounded up
						told = append(told, level+" "+string('0'+rune(left/10))+string('0'+rune(left%10)))
					}
					time.Sleep(time.Hour)
				}
				for i := range told {
					told[i] = strings.Replace(told[i], " 0", " ", 1)
				}
				assert.Equal(t, c.want, told)
			})
		})
	}
}

// A certificate that was renewed is warned of anew, and one that is short of time at the start once.
func TestWarningsOfEachCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logged
		dir := t.TempDir()
		short := func() made {
			return template{names: []string{"a.example"}, notBefore: time.Now().Add(-88 * day), notAfter: time.Now().Add(36 * time.Hour)}.make(t)
		}
		s := openFiles(t, &log, short().filesIn(t, dir))
		s.warn(time.Now())
		s.warn(time.Now())
		lines := log.take()
		assert.Len(t, lines, 1)
		assert.Contains(t, lines[0], "left=36h0m0s")
		assert.Contains(t, lines[0], "names=a.example")
		short().filesIn(t, dir)
		s.look(time.Now(), false)
		log.take()
		s.warn(time.Now())
		assert.Len(t, log.take(), 1)
		assert.Len(t, s.warned, 1, "what was replaced is forgotten")
	})
}
