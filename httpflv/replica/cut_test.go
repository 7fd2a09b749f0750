package replica

import (
	"crypto/tls"
	"encoding/binary"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/hub/cluster"
	"sluice/hub/relay/relaytest"
	"sluice/hub/tlsconn/tlstest"
)

// cuts is how often connections are cut; CUTS sets another number.
func cuts(t *testing.T) int {
	text := os.Getenv("CUTS")
	if text == "" {
		return 10
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err)
	return n
}

// numbered makes a packet that says its number, and sometimes is large.
func numbered(n uint64) cluster.Item {
	data := binary.BigEndian.AppendUint64(nil, n)
	if n%50 == 0 {
		data = append(data, make([]byte, 100_000)...)
	}
	it := packet(at(n), int64(2*n), string(data))
	it.Header = n%50 == 1
	return it
}

// However often the connection between two nodes is cut, and wherever in a tag, the copy goes on with the packet behind
// the last one: none is missing, none comes twice.
func TestCuts(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		t.Run(map[bool]string{false: "in the clear", true: "encrypted"}[encrypted], func(t *testing.T) {
			testCuts(t, encrypted)
		})
	}
}

func testCuts(t *testing.T, encrypted bool) {
	const trip = 20 * time.Millisecond
	l := newLog(numbered(1))
	o := opener()
	var served *tls.Config
	if encrypted {
		served, o.TLS = tlstest.Server(), tlstest.Client()
	}
	address := serve(t, NewServer(Config{Streams: l, Secret: secret, Node: boot}, served))
	proxy, err := relaytest.New(relaytest.Config{Target: address, Delay: trip / 2})
	require.NoError(t, err)
	stopped := make(chan struct{})
	var publishing sync.WaitGroup
	publishing.Go(func() {
		for n := uint64(2); ; n++ {
			l.add(numbered(n))
			select {
			case <-time.After(2 * time.Millisecond):
			case <-stopped:
				return
			}
		}
	})
	defer func() {
		close(stopped)
		publishing.Wait()
		assert.NoError(t, proxy.Close())
	}()
	opening := cluster.Opening{Address: proxy.Addr(), Boot: boot, Key: demo, From: &cluster.Position{Incarnation: incarnation, Epoch: 1, Number: 1}}
	next, fails := uint64(1), 0
	for cut := 0; cut < cuts(t); {
		s, err := o.Open(t.Context(), opening)
		if err != nil {
			fails++
			require.Less(t, fails, 100, "%v", err)
			continue
		}
		require.True(t, s.Start().Joined)
		require.Equal(t, next, s.Start().At.Number)
		until := next + 3 + uint64(7*cut%60)
		for {
			it, err := s.Next()
			if err != nil {
				break
			}
			if isSign(it) {
				continue
			}
			want := numbered(next)
			require.Equal(t, next, it.At.Number)
			require.Equal(t, want, it)
			next++
			if next == until {
				if cut%2 == 0 {
					proxy.Break()
				} else {
					proxy.Finish()
				}
				cut++
			}
		}
		s.Close()
		opening.From.Number = next
	}
	t.Logf("%d cuts, %d packets, none lost and none twice; %d connections had no answer", cuts(t), next-1, fails)
}

// Both ends may have certificates of one authority, and then nobody else is heard.
func TestMutualCertificates(t *testing.T) {
	mine, other := tlstest.Certificate(time.Hour, "node"), tlstest.Certificate(time.Hour, "other")
	both := func(c tls.Certificate) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{c}, RootCAs: tlstest.Pool(mine), ServerName: "node",
			ClientCAs: tlstest.Pool(mine), ClientAuth: tls.RequireAndVerifyClientCert}
	}
	address := serve(t, NewServer(Config{Streams: newLog(packet(at(1), 0, "x")), Secret: secret, Node: boot}, both(mine)))
	opening := cluster.Opening{Address: address, Boot: boot, Key: demo}
	o := opener()
	for _, c := range []*tls.Config{both(other), {RootCAs: tlstest.Pool(mine), ServerName: "node"}, {}, nil} {
		o.TLS = c
		_, err := o.Open(t.Context(), opening)
		assert.Error(t, err)
	}
	o.TLS = both(mine)
	s, err := o.Open(t.Context(), opening)
	require.NoError(t, err)
	defer s.Close()
	read(t, s, 1)
}
