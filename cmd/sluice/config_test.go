package main

import (
	"cmp"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/httpflv/answer"
	"sluice/hub/pattern"
)

func TestConfigDefaults(t *testing.T) {
	want := config{
		ListenSettings: ListenSettings{RTMPAddr: addresses{":1935"}, HTTPAddr: addresses{":8080"}},

		LogLevel: logLevel(slog.LevelInfo), LogForm: "text", Coalesce: coalesceAuto,
		PublisherGrace: 8 * time.Second, ViewerWait: 10 * time.Second, MaxLag: 5 * time.Second,
		StallTimeout: 30 * time.Second, GOPMaxBytes: 32 << 20,
		FillSilence: true,
		Record:      list(t, "**"), RecordSync: 5 * time.Second, RecordMinFree: 1 << 30, RecordBuffer: 64 << 20,
		AccessSettings: AccessSettings{
			PublishAuth: methods{"open"}, WatchAuth: methods{"open"}, SignFormats: words{"sluice"}, SignSkew: 30 * time.Second,
			JWTAlgorithms: words{"RS256", "ES256", "EdDSA", "HS256"}, AuthFailures: failures{20, time.Minute},
			PublicList: words{"auto"}, AuthTimeout: 3 * time.Second, AuthFail: words{"closed"},
		},
		ControlSettings: ControlSettings{ProxyProtocol: words{"off"}},
		RelaySettings: RelaySettings{
			OriginStartTimeout: 10 * time.Second, OriginIdle: 10 * time.Second, PullHold: time.Minute, PushHold: time.Minute,
		},
		ClusterSettings: ClusterSettings{NATSPrefix: "sluice"},
	}
	for name, environ := range map[string][]string{
		"nothing set":    nil,
		"others' names":  {"PATH=/bin", "HOME=/", "RTMP_ADDR=x", "SLUICEGATE=1", "XSLUICE_DEMO=1"},
		"empty is unset": {"SLUICE_RTMP_ADDR=", "SLUICE_DEMO=", "SLUICE_COALESCE=", "SLUICE_MAX_LAG=", "SLUICE_GOP_MAX_BYTES=", "SLUICE_ALLOW_ORIGINS=", "SLUICE_EMBED_ORIGINS="},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := loadConfig(environ)
			require.NoError(t, err)
			assert.Equal(t, want, got)
		})
	}
}

// list reads a list of patterns.
func list(t *testing.T, text string) (l pattern.List) {
	t.Helper()
	require.NoError(t, l.UnmarshalText([]byte(text)))
	return l
}

func TestConfigValues(t *testing.T) {
	for _, c := range []struct {
		set   string // without prefix
		field string
		want  any
	}{
		{"RTMP_ADDR=127.0.0.1:0", "RTMPAddr", addresses{"127.0.0.1:0"}},
		{"RTMP_ADDR=[::1]:1936", "RTMPAddr", addresses{"[::1]:1936"}},
		{"HTTP_ADDR=media.example.org:80", "HTTPAddr", addresses{"media.example.org:80"}},
		{"HTTP_ADDR=:65535", "HTTPAddr", addresses{":65535"}},
		{"RTMP_ADDR=127.0.0.1:0; [::1]:0;\n", "RTMPAddr", addresses{"127.0.0.1:0", "[::1]:0"}},
		{"RTMP_ADDR=off", "RTMPAddr", addresses{}},
		{"HTTP_ADDR=\nOff\n", "HTTPAddr", addresses{}},
		{"RTMPS_ADDR=off", "RTMPSAddr", addresses{}},
		{"HTTPS_ADDR=", "HTTPSAddr", addresses(nil)},
		{"ADMIN_ADDR=off", "AdminAddr", addresses{}},
		{"DEMO=true", "Demo", true},
		{"DEMO=1", "Demo", true},
		{"DEMO=false", "Demo", false},
		{"LOG_LEVEL=debug", "LogLevel", logLevel(slog.LevelDebug)},
		{"LOG_LEVEL=WARN", "LogLevel", logLevel(slog.LevelWarn)},
		{"LOG_LEVEL=error", "LogLevel", logLevel(slog.LevelError)},
		{"LOG_FORMAT=json", "LogForm", logFormat("json")},
		{"LOG_FORMAT=Text", "LogForm", logFormat("text")},
		{"COALESCE=auto", "Coalesce", coalesceAuto},
		{"COALESCE=AUTO", "Coalesce", coalesceAuto},
		{"COALESCE=0", "Coalesce", coalescing(0)},
		{"COALESCE=0s", "Coalesce", coalescing(0)},
		{"COALESCE=350ms", "Coalesce", coalescing(350 * time.Millisecond)},
		{"COALESCE=1s", "Coalesce", coalescing(time.Second)},
		{"PUBLISHER_GRACE=0", "PublisherGrace", time.Duration(0)},
		{"PUBLISHER_GRACE=1m30s", "PublisherGrace", 90 * time.Second},
		{"VIEWER_WAIT=0s", "ViewerWait", time.Duration(0)},
		{"VIEWER_WAIT=10m", "ViewerWait", 10 * time.Minute},
		{"MAX_LAG=500ms", "MaxLag", 500 * time.Millisecond},
		{"MAX_LAG=2m", "MaxLag", 2 * time.Minute},
		{"STALL_TIMEOUT=1s", "StallTimeout", time.Second},
		{"STALL_TIMEOUT=10m", "StallTimeout", 10 * time.Minute},
		{"GOP_MAX_BYTES=1000000", "GOPMaxBytes", byteSize(1_000_000)},
		{"GOP_MAX_BYTES=65536B", "GOPMaxBytes", byteSize(65536)},
		{"GOP_MAX_BYTES=64KiB", "GOPMaxBytes", byteSize(64 << 10)},
		{"GOP_MAX_BYTES=100KB", "GOPMaxBytes", byteSize(100_000)},
		{"GOP_MAX_BYTES=1.5 MiB", "GOPMaxBytes", byteSize(3 << 19)},
		{"GOP_MAX_BYTES=8mb", "GOPMaxBytes", byteSize(8_000_000)},
		{"GOP_MAX_BYTES=1GB", "GOPMaxBytes", byteSize(1_000_000_000)},
		{"GOP_MAX_BYTES=4GiB", "GOPMaxBytes", byteSize(4 << 30)},
		{"LOG_DURATION=0", "LogDuration", time.Duration(0)},
		{"LOG_DURATION=90s", "LogDuration", 90 * time.Second},
		{"LOG_DURATION=1h", "LogDuration", time.Hour},
		{"FILL_SILENCE=false", "FillSilence", false},
		{"FILL_SILENCE=", "FillSilence", true},
		{"MAX_VIEWERS=0", "MaxViewers", 0},
		{"MAX_VIEWERS=10000000", "MaxViewers", 10_000_000},
		{"MAX_BITRATE=0", "MaxBitrate", bitRate(0)},
		{"MAX_BITRATE=8000000", "MaxBitrate", bitRate(8_000_000)},
		{"MAX_BITRATE=8M", "MaxBitrate", bitRate(8_000_000)},
		{"MAX_BITRATE=2.5 m", "MaxBitrate", bitRate(2_500_000)},
		{"MAX_BITRATE=500k", "MaxBitrate", bitRate(500_000)},
		{"MAX_BITRATE=100G", "MaxBitrate", bitRate(100_000_000_000)},
		{"MAX_CONNECTIONS=20", "MaxConnections", 20},
		{"MAX_CONNECTIONS_PER_ADDRESS=7", "MaxConnectionsPerAddress", 7},
		{"ALLOW_ORIGINS=https://a.example", "AllowOrigins", originsOf(t, "https://a.example")},
		{"ALLOW_ORIGINS=\n https://*.a.example:8443 ;null\n", "AllowOrigins", originsOf(t, "https://*.a.example:8443;null")},
		{"EMBED_ORIGINS=*", "EmbedOrigins", answer.Ancestors{"*"}},
		{"EMBED_ORIGINS=https://A.example:443;\nhttp://*.b.example:8080", "EmbedOrigins", answer.Ancestors{"https://a.example", "http://*.b.example:8080"}},
	} {
		t.Run(c.set, func(t *testing.T) {
			got, err := loadConfig([]string{envPrefix + c.set})
			require.NoError(t, err)
			assert.Equal(t, c.want, reflect.ValueOf(got).FieldByName(c.field).Interface())
		})
	}
}

func originsOf(t *testing.T, text string) (list answer.Origins) {
	t.Helper()
	require.NoError(t, list.UnmarshalText([]byte(text)))
	require.NotEmpty(t, list)
	return list
}

// badSettings are settings that must be refused, and a part of the message.
var badSettings = []struct{ set, want string }{
	{"RTMP_ADDR=1935", "HOST:PORT (did you mean :1935?)"},
	{"RTMP_ADDR=localhost", "HOST:PORT"},
	{"RTMP_ADDR=:65536", "from 0 to 65535"},
	{"RTMP_ADDR=:-1", "from 0 to 65535"},
	{"RTMP_ADDR=:rtmp", "from 0 to 65535"},
	{"RTMP_ADDR=::1:1935", "HOST:PORT"},
	{"RTMP_ADDR=:1935;1936", `"1936": must be HOST:PORT (did you mean :1936?)`},
	{"RTMP_ADDR=:1935;off", "off stands alone"},
	{"RTMP_ADDR=;", "must be HOST:PORT, or off"},
	{"RTMP_ADDR=" + strings.Repeat(":0;", 17), "16 addresses at the most"},
	{"RTMPS_ADDR=true", "HOST:PORT"},
	{"HTTPS_ADDR=https://x:443", "HOST:PORT"},
	{"HTTP_ADDR=http://localhost:8080", "HOST:PORT"},
	{"HTTP_ADDR=user@host:80", "without a scheme"},
	{"HTTP_ADDR=:8080/", "from 0 to 65535"},
	{"DEMO=yes", "true or false"},
	{"DEMO=2", "true or false"},
	{"LOG_LEVEL=trace", "debug, info, warn or error"},
	{"LOG_LEVEL=info+1", "debug, info, warn or error"},
	{"LOG_FORMAT=xml", "text or json"},
	{"COALESCE=1001ms", "up to 1s"},
	{"COALESCE=-1ns", "up to 1s"},
	{"COALESCE=20", "up to 1s"},
	{"COALESCE=never", "auto, 0 or a duration"},
	{"PUBLISHER_GRACE=8", "with its unit"},
	{"PUBLISHER_GRACE=-1s", "between 0s and 10m"},
	{"PUBLISHER_GRACE=601s", "between 0s and 10m"},
	{"VIEWER_WAIT=soon", "with its unit"},
	{"VIEWER_WAIT=-1ns", "between 0s and 10m"},
	{"VIEWER_WAIT=11m", "between 0s and 10m"},
	{"MAX_LAG=5", "with its unit"},
	{"MAX_LAG=0", "between 500ms and 2m"},
	{"MAX_LAG=3m", "between 500ms and 2m"},
	{"STALL_TIMEOUT=30", "with its unit"},
	{"STALL_TIMEOUT=0", "between 1s and 10m"},
	{"STALL_TIMEOUT=999ms", "between 1s and 10m"},
	{"STALL_TIMEOUT=601s", "between 1s and 10m"},
	{"GOP_MAX_BYTES=0", "between 64KiB and 4GiB"},
	{"GOP_MAX_BYTES=65535", "between 64KiB and 4GiB"},
	{"GOP_MAX_BYTES=5GiB", "between 64KiB and 4GiB"},
	{"GOP_MAX_BYTES=-1MiB", "number of bytes"},
	{"GOP_MAX_BYTES=MiB", "number of bytes"},
	{"GOP_MAX_BYTES=1TBit", "number of bytes"},
	{"GOP_MAX_BYTES=1e6", "number of bytes"},
	{"GOP_MAX_BYTES=0x10000", "number of bytes"},
	{"GOP_MAX_BYTES=1.2.3MB", "number of bytes"},
	{"GOP_MAX_BYTES=32MiB ram", "number of bytes"},
	{"GOP_MAX_BYTES=99999999999999999999GiB", "number of bytes"},
	{"FILL_SILENCE=never", "must be true or false"},
	{"LOG_DURATION=30", "with its unit"},
	{"LOG_DURATION=-1s", "between 0s and 1h"},
	{"LOG_DURATION=61m", "between 0s and 1h"},
	{"MAX_VIEWERS=many", "whole number"},
	{"MAX_VIEWERS=1.5", "whole number"},
	{"MAX_VIEWERS=-1", "between 0 and 10000000"},
	{"MAX_VIEWERS=10000001", "between 0 and 10000000"},
	{"MAX_BITRATE=8MB", "bits per second"},
	{"MAX_BITRATE=8Mi", "bits per second"},
	{"MAX_BITRATE=-8M", "bits per second"},
	{"MAX_BITRATE=1e6", "bits per second"},
	{"MAX_BITRATE=101G", "between 0 and 100G"},
	{"MAX_CONNECTIONS=1k", "whole number"},
	{"MAX_CONNECTIONS=-1", "between 0 and 10000000"},
	{"MAX_CONNECTIONS_PER_ADDRESS=99999999999999999999", "whole number"},
	{"MAX_CONNECTIONS_PER_ADDRESS=-1", "between 0 and 10000000"},
	{"ALLOW_ORIGINS=https://a.example;\nhttps://b.example/live", `"https://b.example/live": an origin has no path`},
	{"ALLOW_ORIGINS=https://a.example https://b.example", "separated by ;"},
	{"ALLOW_ORIGINS=*", `"*": an origin is scheme://host`},
	{"ALLOW_ORIGINS=wss://a.example", "that of a page"},
	{"ALLOW_ORIGINS=;", "an origin is scheme://host"},
	{"EMBED_ORIGINS=*;https://a.example", `"*": an origin is scheme://host`},
	{"EMBED_ORIGINS=a.example", "an origin is scheme://host"},
	{"EMBED_ORIGINS=https://a.*.example", `"https://a.*.example": browsers can be told of`},
	{"EMBED_ORIGINS=null", "have an origin"},
	{"RECORD=live", "APP/NAME"},
	{"RECORD=!live/a", "begin with **"},
	{"RECORD=live/a, live/b", "separated by ;"},
	{"RECORD_SEGMENT=60", "with its unit"},
	{"RECORD_SEGMENT=721h", "between 0s and 720h"},
	{"RECORD_SEGMENT_BYTES=1GIG", "number of bytes"},
	{"RECORD_SYNC=-1s", "between 0s and 1h"},
	{"RECORD_KEEP=30d", "with its unit"},
	{"RECORD_KEEP_BYTES=-1", "number of bytes"},
	{"RECORD_KEEP_BYTES_PER_STREAM=many", "number of bytes"},
	{"RECORD_MIN_FREE=9PiB", "number of bytes"},
	{"RECORD_MIN_FREE=10%", "number of bytes"},
	{"RECORD_BUFFER=1KiB", "between 1MiB and 1TiB"},
	{"PUBLISH_AUTH=keys", `"keys" is not one of open, key, streamkey, sign, jwt, url, none`},
	{"PUBLISH_AUTH=;", "at least one of"},
	{"WATCH_AUTH=streamkey", `"streamkey" is not one of`},
	{"PUBLISH_KEYS=geheim", "entry 1: the pattern is none"},
	{"PUBLISH_KEYS=live/** a; live/x geheim%zz", "entry 2: the secret has a %"},
	{"WATCH_KEYS=live/x geheim geheim", "must be PATTERN SECRET"},
	{"STREAM_KEYS=geheim", "must be SECRET APP/NAME"},
	{"STREAM_KEYS=gehe%2Fim live/x", "cannot be a stream key"},
	{"PUBLISH_SECRETS=!live/x geheim", "must be PATTERN SECRET"},
	{"WATCH_SECRETS=x geheim", "the pattern is none"},
	{"SIGN_FORMATS=sluice akamai", `"akamai" is not one of sluice, tencent, aliyun`},
	{"SIGN_SKEW=2h", "between 0s and 1h"},
	{"JWT_KEYS={geheim", "not a JSON Web Key Set"},
	{"JWT_JWKS_URL=ftp://geheim@x/", "must be a URL like"},
	{"JWT_ALGORITHMS=none", `"none" is not one of`},
	{"AUTH_URL=//geheim@x", "must be a URL like"},
	{"AUTH_FORMAT=xml", `"xml" is not one of json, srs, nginx`},
	{"AUTH_TIMEOUT=0", "between 100ms and 1m"},
	{"AUTH_FAIL=maybe", `"maybe" is not one of closed, open`},
	{"AUTH_CACHE=-1s", "between 0s and 24h"},
	{"ALLOW_PUBLISH=10.0.0.0/33", "neither an address nor a network"},
	{"DENY_PUBLISH=localhost", "neither an address nor a network"},
	{"ALLOW_WATCH=::ffff:10.0.0.0/104", "neither an address nor a network"},
	{"DENY_WATCH=10.0.0", "neither an address nor a network"},
	{"AUTH_FAILURES=20", "like 20/1m"},
	{"AUTH_FAILURES=0/1m", "between 1 and 10000"},
	{"EXPIRE_SESSIONS=maybe", "true or false"},
	{"MAX_SESSIONS_PER_IDENTITY=-1", "between 0 and 1000000"},
	{"PUBLIC_LIST=auto true", "must be one of auto, true, false"},
	{"EVENT_URL=geheim", "must be a URL like"},
	{"EVENT_FORMAT=SRS", `"SRS" is not one of json, srs, nginx`},
	{"EVENT_EXEC=notify.sh", "absolute path"},
	{"EVENT_EXEC=/bin/a;/bin/b", "one program"},
	{"EVENT_UPDATE=10", "with its unit"},
	{"DRAIN_DELAY=-1s", "between 0s and 5m"},
	{"DRAIN_DELAY=301s", "between 0s and 5m"},
	{"DRAIN_DELAY=5", "with its unit"},
	{"DRAIN_URL=b.example.com", "rtmp://HOST"},
	{"DRAIN_URL=http://b.example.com", "rtmp://HOST"},
	{"DRAIN_URL=rtmp://b.example.com/live", "the app is that of the client"},
	{"DRAIN_URL=rtmp://u:geheim@b.example.com", "rtmp://HOST"},
	{"DRAIN_URL=rtmp://b.example.com?k=geheim", "rtmp://HOST"},
	{"DRAIN_URL=rtmp://b.example.com:rtmp", "rtmp://HOST"},
	{"DRAIN_URL=rtmp://b.example.com:65536", "rtmp://HOST"},
	{"DRAIN_URL=rtmp://b.example.com:", "rtmp://HOST"},
	{"DRAIN_URL=rtmp://::1", "rtmp://HOST"},
	{"DRAIN_URL=rtmp://", "rtmp://HOST"},
	{"ADMIN_ADDR=8081", "HOST:PORT (did you mean :8081?)"},
	{"ADMIN_TOKEN=geheim", "16 characters or more"},
	{"ADMIN_TLS=yes", "true or false"},
	{"ADMIN_PLAINTEXT=yes", "true or false"},
	{"METRICS_ADDR=localhost", "HOST:PORT"},
	{"METRICS_TOKEN=geheim", "16 characters or more"},
	{"METRICS_STREAMS=1001", "between 0 and 1000"},
	{"METRICS_STREAMS=all", "whole number"},
	{"TRUSTED_PROXIES=proxy.example", "neither an address nor a network"},
	{"PROXY_PROTOCOL=smtp", `"smtp" is not one of off, rtmp, rtmps, http, https`},
	{"PUBLIC_RTMP_URL=live.example.com", "must be rtmp://HOST[:PORT] or rtmps://HOST[:PORT]"},
	{"PUBLIC_RTMP_URL=rtmp:live.example.com", "must be rtmp://HOST[:PORT]"},
	{"PUBLIC_RTMP_URL=https://live.example.com", "must be rtmp://HOST[:PORT]"},
	{"PUBLIC_RTMP_URL=rtmp://", "must be rtmp://HOST[:PORT]"},
	{"PUBLIC_RTMP_URL=rtmp://:1935", "must be rtmp://HOST[:PORT]"},
	{"PUBLIC_RTMP_URL=rtmp://live.example.com/geheim", "without a path: APP and NAME come behind it"},
	{"PUBLIC_RTMP_URL=rtmp://me:geheim@live.example.com", "without a user and a password"},
	{"PUBLIC_RTMP_URL=rtmp://live.example.com?key=geheim", "without a query"},
	{"PUBLIC_RTMP_URL=rtmp://live.example.com#geheim", "without a query"},
	{"PUBLIC_RTMP_URL=rtmp://a.example; rtmp://b.example", "two for rtmp"},
	{"PUBLIC_RTMP_URL=rtmp://a.example,rtmps://b.example", "separated by ; or line ends"},
	{"PUBLIC_RTMP_URL=rtmp://live.example.com:0", "from 1 to 65535"},
	{"PUBLIC_RTMP_URL=rtmp://live.example.com:70000", "from 1 to 65535"},
	{"PUBLIC_RTMP_URL=rtmp://live.example.com:", "from 1 to 65535"},
	{"PUBLIC_RTMP_URL=rtmp://0.0.0.0", "address of all interfaces"},
	{"PUBLIC_HTTP_URL=http://[::]:8080", "address of all interfaces"},
	{"PUBLIC_HTTP_URL=http://[fe80::1%25eth0]", "IPv6 address, without a zone"},
	{"PUBLIC_HTTP_URL=https://bücher.example", "xn--"},
	{"PUBLIC_HTTP_URL=https://a b.example", "must be http://HOST[:PORT] or https://HOST[:PORT]"},
	{"PUBLIC_HTTP_URL=https://x;script-src", "must be http://HOST[:PORT]"},
	{"PUBLIC_HTTP_URL=wss://live.example.com", "must be http://HOST[:PORT] or https://HOST[:PORT]"},
	{"PUBLIC_HTTP_URL=http://live.example.com;https://live.example.com", "must be one origin"},
	{"PUBLIC_HTTP_URL=https://live.example.com/live", "without a path"},
	{"TLS_CERT=/a b.pem", "a space in a path is written %20"},
	{"TLS_KEY=/a%b.pem", "two hexadecimal digits"},
	{"TLS_DOMAINS=media.example.com 192.0.2.1", `"192.0.2.1" is an address`},
	{"TLS_DOMAINS=*.example.com", "only be obtained by way of the DNS"},
	{"TLS_DOMAINS=localhost", "a name that the world knows"},
	{"PULL=live/a", "entry 1: must be APP/NAME URL"},
	{"PULL=live/a rtmp://h/a/b\nlive/b ftp://geheim/a", "entry 2: the URL must begin with rtmp://"},
	{"PULL=rtmp://h/a/geheim live/a", "entry 1: the stream is none"},
	{"ORIGIN=** http://{name}.geheim/x", "in path and query only"},
	{"PUSH=** rtmp://h/a/geheim?{query}", "may have nothing in braces but {app}, {name}"},
	{"PUSH=** rtmp://h/a/geheim rtmp://h/a/b", "a push has one URL"},
	{"ORIGIN_START_TIMEOUT=0", "between 100ms and 10m"},
	{"ORIGIN_IDLE=-1s", "between 0s and 24h"},
	{"PULL_HOLD=60", "with its unit"},
	{"PUSH_HOLD=25h", "between 0s and 24h"},
	{"CLUSTER=n1", `"n1" must be HOST:PORT`},
	{"CLUSTER=n1:6222,:6222", `":6222" must be HOST:PORT`},
	{"CLUSTER=n1:0", `"n1:0" must be HOST:PORT`},
	{"CLUSTER=n1:nats", `"n1:nats" must be HOST:PORT`},
	{"CLUSTER=n1:6222 n2:6222 n1:6222", "has n1:6222 twice"},
	{"CLUSTER=" + manyNodes(65), "are 65 nodes, and may be 64"},
	{"CLUSTER_NODE=n 1", "letters, digits"},
	{"CLUSTER_SECRET=geheim", "16 characters or more"},
	{"CLUSTER_MEDIA_ADDR=7000", "HOST:PORT"},
	{"CLUSTER_MEDIA_ADDR=n1:media", "HOST:PORT"},
	{"CLUSTER_MEDIA_ADVERTISE=:7000", "HOST:PORT"},
	{"CLUSTER_MEDIA_ADVERTISE=n1:0", "HOST:PORT"},
	{"CLUSTER_HTTP_URL=n1:8080", "must be http://HOST[:PORT] or https://HOST[:PORT]"},
	{"CLUSTER_HTTP_URL=rtmp://n1", "must be http://HOST[:PORT]"},
	{"CLUSTER_RTMP_URL=rtmp://n1/live", "must be without a path"},
	{"NATS_URL=http://geheim", "nats://HOST:PORT or tls://HOST:PORT"},
	{"NATS_URL=nats://us:geheim@n1:4222,n2:4222", "nats://HOST:PORT or tls://HOST:PORT"},
	{"NATS_PREFIX=a b", "letters, digits"},
	{"NATS_PREFIX=a.b.c.d.e", "up to four parts"},
	{"ACME_URL=http://acme.example.com/directory", "must be a URL like https://"},
}

// manyNodes lists nodes.
func manyNodes(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("n%d:6222", i))
	}
	return strings.Join(all, ",")
}

// anyText are variables that may hold any text: what is wrong with a folder shows when it
// is opened (TestRecordDir).
var anyText = map[string]bool{
	envPrefix + "RECORD_DIR": true, envPrefix + "STATE_DIR": true, envPrefix + "JWT_ISSUER": true,
	envPrefix + "JWT_AUDIENCE": true, envPrefix + "EVENT_SECRET": true,
	envPrefix + "CLUSTER_DIR": true, envPrefix + "CLUSTER_TLS_CERT": true, envPrefix + "CLUSTER_TLS_KEY": true,
	envPrefix + "CLUSTER_TLS_CA": true, envPrefix + "NATS_CREDENTIALS": true,
}

func TestConfigBadValues(t *testing.T) {
	for _, c := range badSettings {
		t.Run(c.set, func(t *testing.T) {
			got, err := loadConfig([]string{envPrefix + c.set})
			require.ErrorContains(t, err, c.want)
			name, _, _ := strings.Cut(c.set, "=")
			begin, _, _ := strings.Cut(strings.ReplaceAll(err.Error(), ": ", "="), "=")
			assert.Equal(t, envPrefix+name, begin, "does not begin with the name: %v", err)
			assert.NotContains(t, err.Error(), "geheim", "a secret is quoted")
			assert.NotContains(t, err.Error(), "\n", "one problem, one line")
			assert.Zero(t, got)
		})
	}
}

// Each variable has at least one bad value above.
func TestConfigBadValuesAreWhole(t *testing.T) {
	for _, v := range variables() {
		found := false
		for _, c := range badSettings {
			found = found || strings.HasPrefix(envPrefix+c.set, v.Name+"=")
		}
		assert.NotEqual(t, anyText[v.Name], found, "no bad value of %s is tested", v.Name)
	}
}

func TestConfigNamesEveryProblemInOneGo(t *testing.T) {
	environ := []string{"SLUICE_RTMP_PORT=1", "SLUICE_ZZZ=geheim"}
	seen := map[string]bool{}
	for _, c := range badSettings {
		if name, _, _ := strings.Cut(c.set, "="); !seen[name] {
			seen[name] = true
			environ = append(environ, envPrefix+c.set)
		}
	}
	_, err := loadConfig(environ)
	require.Error(t, err)
	assert.Len(t, strings.Split(err.Error(), "\n"), 2+len(variables())-len(anyText))
	for _, setting := range environ {
		name, _, _ := strings.Cut(setting, "=")
		assert.Contains(t, err.Error(), name)
	}
	assert.NotContains(t, err.Error(), "geheim", "the value of an unknown variable may be a secret")
}

func TestConfigUnknownNames(t *testing.T) {
	for name, hint := range map[string]string{
		"SLUICE_RTMP_ADR":                     "SLUICE_RTMP_ADDR",
		"SLUICE_RTMP_PORT":                    "SLUICE_RTMP_ADDR",
		"SLUICE_HTTPADDR":                     "SLUICE_HTTP_ADDR",
		"SLUICE_LOGLEVEL":                     "SLUICE_LOG_LEVEL",
		"SLUICE_LOG_FROMAT":                   "SLUICE_LOG_FORMAT",
		"SLUICE_VIEWERS_WAIT":                 "SLUICE_VIEWER_WAIT",
		"SLUICE_GOP_MAXBYTES":                 "SLUICE_GOP_MAX_BYTES",
		"sluice_demo":                         "SLUICE_DEMO",
		"Sluice_Max_Lag":                      "SLUICE_MAX_LAG",
		"SLUICE_TLS_CERTS":                    "SLUICE_TLS_CERT",
		"SLUICE_":                             "",
		"SLUICE_PORT":                         "",
		"SLUICE_X_SERVICE_HOSE":               "",
		"SLUICE_" + strings.Repeat("A", 4096): "",
	} {
		t.Run(name[:min(len(name), 40)], func(t *testing.T) {
			_, err := loadConfig([]string{name + "=8"})
			require.ErrorContains(t, err, name+": unknown variable")
			if hint != "" {
				assert.ErrorContains(t, err, "(did you mean "+hint+"?)")
			} else {
				assert.ErrorContains(t, err, "sluice -h")
			}
		})
	}
}

// A Kubernetes service called "sluice" must not keep its own pods from starting.
func TestConfigAllowsServiceLinks(t *testing.T) {
	_, err := loadConfig([]string{
		"SLUICE_SERVICE_HOST=10.0.0.11",
		"SLUICE_SERVICE_PORT=1935",
		"SLUICE_SERVICE_PORT_RTMP=1935",
		"SLUICE_PORT=tcp://10.0.0.11:1935",
		"SLUICE_PORT_1935_TCP=tcp://10.0.0.11:1935",
		"SLUICE_PORT_1935_TCP_PROTO=tcp",
		"SLUICE_PORT_1935_TCP_PORT=1935",
		"SLUICE_PORT_1935_TCP_ADDR=10.0.0.11",
		"SLUICE_RTMP_SERVICE_HOST=10.0.0.12",
		"SLUICE_RTMP_PORT=tcp://10.0.0.12:1935",
		"SLUICE_RTMP_PORT_1935_TCP_ADDR=10.0.0.12",
	})
	assert.NoError(t, err)
}

func TestConfigSamePort(t *testing.T) {
	for _, c := range []struct {
		rtmp, http string
		clash      string
	}{
		{":9000", ":9000", "SLUICE_RTMP_ADDR and SLUICE_HTTP_ADDR name the same port, 9000: each needs its own"},
		{"127.0.0.1:9000", "127.0.0.1:9000", "same port, 9000"},
		{"0.0.0.0:9000", "127.0.0.1:9000", "same port, 9000"},
		{"127.0.0.1:9000", "[::]:9000", "same port, 9000"},
		{":8999", "127.0.0.1:9000;:8999", "same port, 8999"},
		{":9000;127.0.0.1:9000", ":9001", "SLUICE_RTMP_ADDR names the port 9000 twice"},
		{"127.0.0.1:9000", "127.0.0.2:9000", ""},
		{"127.0.0.1:9000;[::1]:9000", "127.0.0.2:9000", ""},
		{":0;:0", ":0", ""},
		{":9000", ":9001", ""},
	} {
		_, err := loadConfig([]string{"SLUICE_RTMP_ADDR=" + c.rtmp, "SLUICE_HTTP_ADDR=" + c.http})
		if c.clash != "" {
			assert.ErrorContains(t, err, c.clash, "%v", c)
		} else {
			assert.NoError(t, err, "%v", c)
		}
	}
}

// What is encrypted needs certificates, certificates something to encrypt, and what proxies come to
// an address.
func TestConfigTLSRelations(t *testing.T) {
	files := []string{"SLUICE_TLS_CERT=/c", "SLUICE_TLS_KEY=/k"}
	operators := []string{"SLUICE_ADMIN_ADDR=:8443", "SLUICE_ADMIN_TOKEN=0123456789abcdef"}
	const without = " needs SLUICE_TLS_CERT and SLUICE_TLS_KEY, or SLUICE_TLS_DOMAINS"
	for _, c := range []struct {
		environ []string
		want    string // "" for nothing
	}{
		{[]string{"SLUICE_RTMPS_ADDR=:443"}, "SLUICE_RTMPS_ADDR" + without},
		{[]string{"SLUICE_HTTPS_ADDR=:443"}, "SLUICE_HTTPS_ADDR" + without},
		{append(operators, "SLUICE_ADMIN_TLS=true"), "SLUICE_ADMIN_TLS" + without},
		{[]string{"SLUICE_RTMPS_ADDR=off"}, ""},
		{files, "SLUICE_TLS_CERT is set, but there is nothing with TLS: SLUICE_HTTPS_ADDR, SLUICE_RTMPS_ADDR or SLUICE_ADMIN_TLS says what is"},
		{[]string{"SLUICE_TLS_DOMAINS=a.example", "SLUICE_STATE_DIR=/s"}, "SLUICE_TLS_DOMAINS is set, but"},
		{append(files, "SLUICE_HTTPS_ADDR=:443"), ""},
		{append(files, "SLUICE_RTMPS_ADDR=:443;:1936", "SLUICE_RTMP_ADDR=off", "SLUICE_HTTP_ADDR=off"), ""},
		{append(files, "SLUICE_RTMPS_ADDR=:443", "SLUICE_HTTPS_ADDR=:443"), "same port, 443"},
		{append(files, "SLUICE_ADMIN_TLS=true"), "SLUICE_ADMIN_TLS is set, but neither"},
		{append(files, append(operators, "SLUICE_ADMIN_TLS=true")...), ""},
		{append(files, append(operators, "SLUICE_HTTPS_ADDR=:443")...), "set SLUICE_ADMIN_TLS=true"},
		{append(files, "SLUICE_METRICS_ADDR=:9000", "SLUICE_METRICS_TOKEN=0123456789abcdef", "SLUICE_ADMIN_TLS=true"), ""},
		{[]string{"SLUICE_METRICS_ADDR=:9000", "SLUICE_METRICS_TOKEN=0123456789abcdef"}, "set SLUICE_ADMIN_TLS=true"},
		{append(files, "SLUICE_HTTPS_ADDR=:443", "SLUICE_PROXY_PROTOCOL=https rtmp", "SLUICE_TRUSTED_PROXIES=10.0.0.1"), ""},
		{[]string{"SLUICE_PROXY_PROTOCOL=rtmps", "SLUICE_TRUSTED_PROXIES=10.0.0.1"}, "SLUICE_PROXY_PROTOCOL names rtmps, but SLUICE_RTMPS_ADDR has no address"},
	} {
		_, err := loadConfig(c.environ)
		if c.want == "" {
			assert.NoError(t, err, "%v", c.environ)
		} else {
			assert.ErrorContains(t, err, c.want, "%v", c.environ)
		}
	}
}

// What listens can be switched off, but not all of it.
func TestConfigNothingListens(t *testing.T) {
	for _, one := range []string{"RTMP", "HTTP"} {
		_, err := loadConfig([]string{"SLUICE_" + one + "_ADDR=off"})
		assert.NoError(t, err)
	}
	_, err := loadConfig([]string{"SLUICE_RTMP_ADDR=off", "SLUICE_HTTP_ADDR=off", "SLUICE_ADMIN_ADDR=127.0.0.1:0", "SLUICE_ADMIN_TOKEN=0123456789abcdef"})
	assert.EqualError(t, err, "SLUICE_RTMP_ADDR and SLUICE_HTTP_ADDR are off: nobody could publish or watch")
}

func TestHelpListsEveryVariable(t *testing.T) {
	help := helpText()
	for _, v := range variables() {
		assert.Contains(t, help, "  "+v.Name+" (default "+cmp.Or(v.Default, "empty")+")\n")
		assert.NotEmpty(t, v.Doc, v.Name)
		assert.Contains(t, strings.Join(strings.Fields(help), " "), v.Doc)
		assert.Equal(t, v.Min == "", v.Max == "", "%s has one bound only", v.Name)
	}
	for line := range strings.Lines(help) {
		assert.LessOrEqual(t, len(line), 81, line)
	}
}

// The names that other people's files hold.
func TestVariableNames(t *testing.T) {
	var names []string
	for _, v := range variables() {
		names = append(names, v.Name)
	}
	assert.Equal(t, []string{
		"SLUICE_RTMP_ADDR", "SLUICE_HTTP_ADDR", "SLUICE_RTMPS_ADDR", "SLUICE_HTTPS_ADDR", "SLUICE_DEMO", "SLUICE_LOG_LEVEL", "SLUICE_LOG_FORMAT",
		"SLUICE_COALESCE", "SLUICE_PUBLISHER_GRACE", "SLUICE_VIEWER_WAIT", "SLUICE_MAX_LAG",
		"SLUICE_STALL_TIMEOUT", "SLUICE_GOP_MAX_BYTES", "SLUICE_LOG_DURATION", "SLUICE_FILL_SILENCE",
		"SLUICE_MAX_VIEWERS", "SLUICE_MAX_BITRATE", "SLUICE_MAX_CONNECTIONS", "SLUICE_MAX_CONNECTIONS_PER_ADDRESS",
		"SLUICE_ALLOW_ORIGINS", "SLUICE_EMBED_ORIGINS",
		"SLUICE_RECORD_DIR", "SLUICE_RECORD", "SLUICE_RECORD_SEGMENT", "SLUICE_RECORD_SEGMENT_BYTES", "SLUICE_RECORD_SYNC",
		"SLUICE_RECORD_KEEP", "SLUICE_RECORD_KEEP_BYTES", "SLUICE_RECORD_KEEP_BYTES_PER_STREAM", "SLUICE_RECORD_MIN_FREE",
		"SLUICE_RECORD_BUFFER",
		"SLUICE_PUBLISH_AUTH", "SLUICE_WATCH_AUTH", "SLUICE_PUBLISH_KEYS", "SLUICE_WATCH_KEYS", "SLUICE_STREAM_KEYS",
		"SLUICE_PUBLISH_SECRETS", "SLUICE_WATCH_SECRETS", "SLUICE_SIGN_FORMATS", "SLUICE_SIGN_SKEW",
		"SLUICE_JWT_KEYS", "SLUICE_JWT_JWKS_URL", "SLUICE_JWT_ALGORITHMS", "SLUICE_JWT_ISSUER", "SLUICE_JWT_AUDIENCE",
		"SLUICE_AUTH_URL", "SLUICE_AUTH_FORMAT", "SLUICE_AUTH_TIMEOUT", "SLUICE_AUTH_FAIL", "SLUICE_AUTH_CACHE",
		"SLUICE_ALLOW_PUBLISH", "SLUICE_DENY_PUBLISH", "SLUICE_ALLOW_WATCH", "SLUICE_DENY_WATCH", "SLUICE_AUTH_FAILURES",
		"SLUICE_EXPIRE_SESSIONS", "SLUICE_MAX_SESSIONS_PER_IDENTITY", "SLUICE_PUBLIC_LIST",
		"SLUICE_EVENT_URL", "SLUICE_EVENT_FORMAT", "SLUICE_EVENT_SECRET", "SLUICE_EVENT_EXEC", "SLUICE_EVENT_UPDATE",
		"SLUICE_ADMIN_ADDR", "SLUICE_ADMIN_TOKEN", "SLUICE_ADMIN_TLS", "SLUICE_ADMIN_PLAINTEXT",
		"SLUICE_METRICS_ADDR", "SLUICE_METRICS_TOKEN", "SLUICE_METRICS_STREAMS",
		"SLUICE_TRUSTED_PROXIES", "SLUICE_PROXY_PROTOCOL", "SLUICE_STATE_DIR",
		"SLUICE_TLS_CERT", "SLUICE_TLS_KEY", "SLUICE_TLS_DOMAINS", "SLUICE_ACME_URL",
		"SLUICE_DRAIN_DELAY", "SLUICE_DRAIN_URL",
		"SLUICE_PUBLIC_RTMP_URL", "SLUICE_PUBLIC_HTTP_URL",
		"SLUICE_PULL", "SLUICE_ORIGIN", "SLUICE_PUSH",
		"SLUICE_ORIGIN_START_TIMEOUT", "SLUICE_ORIGIN_IDLE", "SLUICE_PULL_HOLD", "SLUICE_PUSH_HOLD",
		"SLUICE_CLUSTER", "SLUICE_CLUSTER_NODE", "SLUICE_CLUSTER_SECRET",
		"SLUICE_CLUSTER_TLS_CERT", "SLUICE_CLUSTER_TLS_KEY", "SLUICE_CLUSTER_TLS_CA",
		"SLUICE_CLUSTER_DIR", "SLUICE_CLUSTER_MEDIA_ADDR", "SLUICE_CLUSTER_MEDIA_ADVERTISE", "SLUICE_CLUSTER_HTTP_URL", "SLUICE_CLUSTER_RTMP_URL",
		"SLUICE_NATS_URL", "SLUICE_NATS_CREDENTIALS", "SLUICE_NATS_PREFIX",
	}, names)
}
