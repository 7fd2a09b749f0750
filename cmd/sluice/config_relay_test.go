package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Rules may stand in files, and are read together; nothing prints their URLs.
func TestConfigRelayRules(t *testing.T) {
	file := filepath.Join(t.TempDir(), "push")
	require.NoError(t, os.WriteFile(file, []byte("live/* rtmp://a.example/app/geheim\n\nlive/* rtmps://b.example/app/geheim\n"), 0o600))
	cfg, err := loadConfig([]string{
		"SLUICE_PULL=live/a http://u:geheim@c.example/a.flv ws://c.example/a.flv", "SLUICE_PUSH_FILE=" + file,
		"SLUICE_ORIGIN=edge/** http://d.example/{app}/{name}.flv?{query}",
	})
	require.NoError(t, err)
	var said []string
	for _, r := range cfg.rules() {
		said = append(said, fmt.Sprint(r.Kind, " ", r.About(), " ", r.URLs))
	}
	assert.Equal(t, []string{
		"pull live/a [http://c.example/*** ws://c.example/***]", "origin edge/** [http://d.example/{app}/***]",
		"push live/* [rtmp://a.example/app/***]", "push live/* [rtmps://b.example/app/***]",
	}, said)
	assert.NotContains(t, fmt.Sprintf("%+v %#v", cfg, cfg), "geheim")

	require.NoError(t, os.WriteFile(file, []byte("live/* rtmp://a.example/app/x\nlive/* geheim"), 0o600))
	_, err = loadConfig([]string{"SLUICE_PUSH_FILE=" + file})
	require.ErrorContains(t, err, "SLUICE_PUSH_FILE: entry 2: the URL must begin with rtmp://, rtmps://")
	assert.NotContains(t, err.Error(), "geheim")
}
