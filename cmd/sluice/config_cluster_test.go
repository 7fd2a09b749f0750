package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What settings of a cluster need of each other.
func TestConfigOfClusters(t *testing.T) {
	const (
		local = "SLUICE_CLUSTER=127.0.0.1:6222,127.0.0.1:6223,localhost:6224"
		far   = "SLUICE_CLUSTER=10.0.0.1:6222,10.0.0.2:6222"
		nats  = "SLUICE_NATS_URL=tls://us:geheim@nats.example.com:4222"
	)
	secret := "SLUICE_CLUSTER_SECRET=0123456789-geheim"
	tls := []string{"SLUICE_CLUSTER_TLS_CERT=/c", "SLUICE_CLUSTER_TLS_KEY=/k", "SLUICE_CLUSTER_TLS_CA=/a"}
	for name, c := range map[string]struct {
		set  []string
		want string // in the error; empty for none
	}{
		"on this machine":              {[]string{local}, ""},
		"on others":                    {append(tls, far, secret), ""},
		"by a NATS":                    {append(tls, nats, secret), ""},
		"by a NATS, nodes on loopback": {[]string{nats, "SLUICE_CLUSTER_MEDIA_ADDR=127.0.0.1:0"}, ""},
		"without a secret":             {append(tls, far), "needs SLUICE_CLUSTER_SECRET beyond loopback"},
		"in clear":                     {[]string{far, secret}, "needs SLUICE_CLUSTER_TLS_CERT"},
		"media in clear":               {[]string{local, secret, "SLUICE_CLUSTER_MEDIA_ADDR=10.0.0.1:7000"}, "needs SLUICE_CLUSTER_TLS_CERT"},
		"half of the files":            {[]string{local, tls[0], tls[1]}, "of use together only"},
		"another node":                 {[]string{local, "SLUICE_CLUSTER_NODE=127.0.0.1:1"}, "none of the nodes"},
		"two engines":                  {append(tls, far, nats, secret), "only one of them can be"},
		"credentials without a NATS":   {[]string{local, "SLUICE_NATS_CREDENTIALS=/c"}, "SLUICE_NATS_URL is not"},
		"a secret of no cluster":       {[]string{secret}, "SLUICE_CLUSTER_SECRET is set, but neither"},
		"told to be elsewhere":         {[]string{local, "SLUICE_CLUSTER_MEDIA_ADVERTISE=127.0.0.1:7000"}, ""},
		"told to be far, in clear":     {[]string{local, secret, "SLUICE_CLUSTER_MEDIA_ADVERTISE=media.example.com:7000"}, "needs SLUICE_CLUSTER_TLS_CERT"},
		"an address of no cluster":     {[]string{"SLUICE_CLUSTER_MEDIA_ADVERTISE=n1:7000"}, "SLUICE_CLUSTER_MEDIA_ADVERTISE is set, but neither"},
		"a folder of no cluster":       {[]string{"SLUICE_CLUSTER_DIR=/d"}, "SLUICE_CLUSTER_DIR is set, but neither"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := loadConfig(c.set)
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.want)
			assert.NotContains(t, err.Error(), "geheim")
		})
	}
}

// Which node of the list this one is.
func TestThisNode(t *testing.T) {
	own := func(host string) bool { return host == "a" || host == "b" }
	for name, c := range map[string]struct {
		set      ClusterSettings
		hostname string
		want     string
		err      string
	}{
		"told":              {ClusterSettings{Cluster: nodes{"a:1", "b:1"}, ClusterNode: "b:1"}, "", "b:1", ""},
		"found":             {ClusterSettings{Cluster: nodes{"c:1", "b:1"}}, "", "b:1", ""},
		"two could be":      {ClusterSettings{Cluster: nodes{"a:1", "c:1", "a:2"}}, "", "", "a:1 and a:2"},
		"none could be":     {ClusterSettings{Cluster: nodes{"c:1", "d:1"}}, "", "", "none of them is an address of this machine"},
		"by a NATS":         {ClusterSettings{NATSURL: "nats://n"}, "box", "box", ""},
		"by a NATS, told":   {ClusterSettings{NATSURL: "nats://n", ClusterNode: "n7"}, "box", "n7", ""},
		"by a NATS, unsaid": {ClusterSettings{NATSURL: "nats://n"}, "", "", "SLUICE_CLUSTER_NODE"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.set.thisNode(c.hostname, own)
			assert.Equal(t, c.want, got)
			if c.err == "" {
				assert.NoError(t, err)
			} else {
				assert.ErrorContains(t, err, c.err)
			}
		})
	}
}
