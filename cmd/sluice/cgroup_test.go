package main

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
)

func text(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }

// Lines of mountinfo as they are on real systems.
const (
	mountsV2 = "24 1 254:1 / / rw,relatime shared:1 - ext4 /dev/root rw\n" +
		"30 24 0:27 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n"
	mountsV1 = "32 31 0:28 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:15 - cgroup cgroup rw,cpu,cpuacct\n" +
		"33 31 0:29 / /sys/fs/cgroup/memory rw,relatime shared:16 - cgroup cgroup rw,memory\n" +
		"34 31 0:30 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
	// a container of Docker with version 1 sees its own group as the root
	mountsDocker = "900 899 0:29 /docker/c0ffee /sys/fs/cgroup/memory ro,nosuid - cgroup cgroup rw,memory\n"
)

func TestCgroupMemory(t *testing.T) {
	const none = -1
	for _, c := range []struct {
		name           string
		groups, mounts string
		files          map[string]string // in /sys/fs/cgroup
		want           int64
	}{
		{"container, version 2", "0::/\n", mountsV2, map[string]string{"memory.max": "536870912\n"}, 536870912},
		{"no limit, version 2", "0::/\n", mountsV2, map[string]string{"memory.max": "max\n", "memory.high": "max\n"}, none},
		{"systemd unit", "0::/system.slice/sluice.service\n", mountsV2,
			map[string]string{"system.slice/sluice.service/memory.max": "1000000000\n", "system.slice/memory.max": "max\n"}, 1000000000},
		{"the lowest of those above", "0::/a/b/c\n", mountsV2,
			map[string]string{"a/b/c/memory.max": "3000000\n", "a/b/memory.max": "max\n", "a/memory.max": "2000000\n"}, 2000000},
		{"throttled before the limit", "0::/a\n", mountsV2,
			map[string]string{"a/memory.max": "3000000\n", "a/memory.high": "2500000\n"}, 2500000},
		{"a sibling's", "0::/ab\n", mountsV2, map[string]string{"a/memory.max": "1\n", "ab/memory.max": "2000000\n"}, 2000000},
		{"outside the namespace", "0::/../../other\n", mountsV2, map[string]string{"memory.max": "4000000\n"}, 4000000},
		{"version 1", "9:cpu,cpuacct:/x\n4:memory:/user/me\n0::/\n", mountsV1,
			map[string]string{"memory/user/me/memory.limit_in_bytes": "700000000\n", "memory/memory.limit_in_bytes": "9223372036854771712\n"}, 700000000},
		{"no limit, version 1", "4:memory:/user/me\n0::/\n", mountsV1,
			map[string]string{"memory/user/me/memory.limit_in_bytes": "9223372036854771712\n"}, none},
		{"Docker, version 1", "4:memory:/docker/c0ffee\n", mountsDocker, map[string]string{"memory/memory.limit_in_bytes": "256000000\n"}, 256000000},
		{"Docker, version 1, group below", "4:memory:/docker/c0ffee/child\n", mountsDocker,
			map[string]string{"memory/memory.limit_in_bytes": "256000000\n", "memory/child/memory.limit_in_bytes": "100000000\n"}, 100000000},
		{"Docker, version 1, a name that begins alike", "4:memory:/docker/c0ffee2\n", mountsDocker,
			map[string]string{"memory/memory.limit_in_bytes": "256000000\n", "memory/2/memory.limit_in_bytes": "1\n"}, 256000000},
		{"no such group", "4:cpu:/\n", mountsV1, map[string]string{"memory/memory.limit_in_bytes": "1\n"}, none},
		{"nonsense", "memory\n\n0:\n0::/a\n", "x\n\n - \n1 2 3 4 5 - cgroup2\n" + mountsV2,
			map[string]string{"a/memory.max": "many\n", "memory.max": "-5\n", "a/memory.high": ""}, none},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := fstest.MapFS{"proc/self/cgroup": text(c.groups), "proc/self/mountinfo": text(c.mounts)}
			for name, content := range c.files {
				root["sys/fs/cgroup/"+name] = text(content)
			}
			got, ok := cgroupMemory(root)
			if c.want == none {
				assert.False(t, ok, "%d", got)
				return
			}
			assert.True(t, ok)
			assert.Equal(t, c.want, got)
		})
	}
}

func TestCgroupMemoryElsewhere(t *testing.T) {
	_, ok := cgroupMemory(fstest.MapFS{})
	assert.False(t, ok)
	_, ok = cgroupMemory(fstest.MapFS{"proc/self/cgroup": text("0::/\n")})
	assert.False(t, ok)
}
