package bench

import (
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseStat(t *testing.T) {
	const fields = " S 1 2 3 4 5 6 7 8 9 10 1234 66 0 0 20 0 9 0 100 200 300"
	for _, name := range []string{"(sluice)", "(a b) c)", "((tricky) S 1 2 3 4 5 6 7 8 9 10 11 12 13)"} {
		cpu, threads, err := parseStat([]byte("4711 " + name + fields + "\n"))
		require.NoError(t, err)
		assert.Equal(t, 13*time.Second, cpu, "1234 + 66 ticks of 10 ms")
		assert.Equal(t, 9, threads)
	}
	for _, bad := range []string{"", "1 (x) S", "1 (x) S 1 2 3 4 5 6 7 8 9 10 x 66 0 0 20 0 9", "1 (x) S 1 2 3 4 5 6 7 8 9 10 1 66 0 0 20 0 x"} {
		_, _, err := parseStat([]byte(bad))
		assert.ErrorIs(t, err, errMalformedProc, bad)
	}
}

func TestParsePSS(t *testing.T) {
	pss, err := parsePSS([]byte("5581-7ffc [rollup]\nRss:            9000 kB\nPss:            1234 kB\nPss_Dirty:      77 kB\n"))
	require.NoError(t, err)
	assert.EqualValues(t, 1234<<10, pss)
	for _, bad := range []string{"", "Pss_Dirty: 77 kB\n", "Pss:\n"} {
		_, err := parsePSS([]byte(bad))
		assert.ErrorIs(t, err, errMalformedProc)
	}
	_, err = parsePSS([]byte("Pss: many kB\n"))
	assert.Error(t, err)
}

func TestUsageOfThisProcess(t *testing.T) {
	me := []int{os.Getpid()}
	if runtime.GOOS != "linux" {
		_, err := usageOf(me)
		assert.ErrorIs(t, err, errNoProc)
		return
	}
	one, err := usageOf(me)
	require.NoError(t, err)
	assert.Positive(t, one.pss)
	assert.GreaterOrEqual(t, one.descriptors, 3)
	assert.Positive(t, one.threads)
	two, err := usageOf(append(me, me...))
	require.NoError(t, err)
	assert.GreaterOrEqual(t, two.cpu, 2*one.cpu, "processes are added up")
	assert.GreaterOrEqual(t, two.descriptors, 6)

	_, err = usageOf([]int{1 << 30})
	assert.ErrorIs(t, err, os.ErrNotExist)
	assert.ErrorContains(t, err, "process 1073741824")
}

func TestCores(t *testing.T) {
	at := time.Now()
	assert.InDelta(t, 0.25, cores(usage{at: at, cpu: time.Second}, usage{at: at.Add(4 * time.Second), cpu: 2 * time.Second}), 1e-9)
	assert.Zero(t, cores(usage{at: at}, usage{at: at, cpu: time.Second}))
	assert.Equal(t, 2., median([]float64{3, 1, 2}))
	assert.Equal(t, 2.5, median([]float64{4, 1, 2, 3}))
	assert.Zero(t, median(nil))
}

func TestParseMachine(t *testing.T) {
	const stat = "cpu  100 1 200 5000 7 30 40 5 0 0\ncpu0 1 2 3\n"
	assert.Equal(t, 3760*time.Millisecond, parseMachine([]byte(stat)))
	for _, bad := range []string{"", "cpu 1 2 3", "cpu0 1 2 3 4 5 6 7 8", "cpu a 2 3 4 5 6 7 8"} {
		assert.Zero(t, parseMachine([]byte(bad)), bad)
	}
}
