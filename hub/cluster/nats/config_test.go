package nats

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What is wrong with settings is said, by what they are about, and without what they hide.
func TestBadSettings(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, []byte("no seed"), 0o600))
	two := []string{"127.0.0.1:1", taken.Addr().String()}
	for name, c := range map[string]struct {
		cfg  Config
		want string
	}{
		"nothing":            {Config{}, "neither nodes"},
		"both":               {Config{Nodes: two, Node: two[0], URL: "nats://h"}, "only one"},
		"no port":            {Config{Nodes: []string{"n1"}, Node: "n1"}, "HOST:PORT"},
		"twice":              {Config{Nodes: []string{two[0], two[0]}, Node: two[0]}, "twice"},
		"not in it":          {Config{Nodes: two, Node: "127.0.0.1:3"}, "none of"},
		"no secret":          {Config{Nodes: []string{"n1:1", "n2:1"}, Node: "n1:1"}, "without a secret"},
		"no TLS":             {Config{Nodes: []string{"n1:1", "n2:1"}, Node: "n1:1", Secret: "hidden"}, "without TLS"},
		"no certificate":     {Config{Nodes: []string{"n1:1", "n2:1"}, Node: "n1:1", Secret: "hidden", TLS: &TLS{Cert: "/none", CA: "/none"}}, "/none"},
		"no authority":       {Config{Nodes: []string{"n1:1", "n2:1"}, Node: "n1:1", Secret: "hidden", TLS: &TLS{Cert: file, Key: file}}, "authority"},
		"taken":              {Config{Nodes: two, Node: two[1]}, "address"},
		"folder":             {Config{Nodes: two[:1], Node: two[0], Dir: file}, "not a directory"},
		"prefix":             {Config{URL: "nats://h", Prefix: "a.>"}, "prefix"},
		"no URL":             {Config{URL: "us:hidden@h:4222"}, "nats://HOST:PORT"},
		"another scheme":     {Config{URL: "http://us:hidden@h:4222"}, "nats://HOST:PORT"},
		"a bad escape":       {Config{URL: "nats://us:hidden%@h:4222"}, "nats://HOST:PORT"},
		"no seed":            {Config{URL: "nats://h", NkeyFile: file}, "no seed"},
		"no file of a seed":  {Config{URL: "nats://h", NkeyFile: "/none"}, "/none"},
		"no file of a token": {Config{URL: "nats://h", CredentialsFile: "/none"}, "/none"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(c.cfg)
			require.ErrorContains(t, err, c.want)
			assert.NotContains(t, err.Error(), "hidden")
		})
	}
}

func TestVoters(t *testing.T) {
	nodes := []string{"a", "b", "c", "d", "e", "f"}
	for n, want := range []int{0, 1, 2, 3, 3, 5, 5} {
		assert.Len(t, (&Config{Nodes: nodes[:n]}).voters(), want)
	}
}
