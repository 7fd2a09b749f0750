package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sluice/hub/relay/relaytest"
)

// cluster is servers of one's own that relay to each other, and the proxies between them.
type cluster struct {
	ctx     context.Context
	servers []*ownServer
	proxies []*relaytest.Proxy
}

// start starts a server with variables, NAME=VALUE each, besides those of every server of one's own.
func (c *cluster) start(vars ...string) (*ownServer, error) {
	s, err := startOwn(c.ctx, ownConfig{vars: append(vars, "SLUICE_METRICS_ADDR=127.0.0.1:0")})
	if err != nil {
		return nil, err
	}
	c.servers = append(c.servers, s)
	return s, nil
}

// edge starts a server that pulls every stream from another one when its first viewer comes, over a
// protocol, through a proxy that makes a round trip as long as that.
func (c *cluster) edge(from *ownServer, over protocol, rtt time.Duration, vars ...string) (*ownServer, *relaytest.Proxy, error) {
	proxy, err := c.proxy(from.hosts.plain(over), rtt)
	if err != nil {
		return nil, nil, err
	}
	s, err := c.start(append(vars, "SLUICE_ORIGIN=** "+over.upstream(proxy.Addr(), "{app}/{name}"))...)
	return s, proxy, err
}

// proxy starts one in front of a HOST:PORT.
func (c *cluster) proxy(target string, rtt time.Duration) (*relaytest.Proxy, error) {
	p, err := relaytest.New(relaytest.Config{Target: target, Delay: rtt / 2})
	if err == nil {
		c.proxies = append(c.proxies, p)
	}
	return p, err
}

// close ends all, those that pull before what they pull from. It may be called again.
func (c *cluster) close() (err error) {
	for len(c.servers) > 0 {
		last := len(c.servers) - 1
		err = errors.Join(err, c.servers[last].close())
		c.servers = c.servers[:last]
	}
	for _, p := range c.proxies {
		err = errors.Join(err, p.Close())
	}
	c.proxies = nil
	if c.ctx.Err() != nil { // they were ended by that
		return nil
	}
	return err
}

// pids returns those of the servers.
func (c *cluster) pids() (pids []int) {
	for _, s := range c.servers {
		pids = append(pids, s.cmd.Process.Pid)
	}
	return pids
}

// upstream returns the URL of a stream at a HOST:PORT over a protocol, in clear.
func (p protocol) upstream(host, stream string) string {
	ending := ".flv"
	if p == rtmpPlay {
		ending = ""
	}
	return schemes[p][0] + "://" + host + "/" + stream + ending
}

// plain returns the HOST:PORT of a protocol in clear.
func (h *hosts) plain(p protocol) string {
	if p == rtmpPlay {
		return h.rtmp[0]
	}
	return h.http[0]
}

// Bounds of asking a server for its figures.
const (
	figuresTimeout = 10 * time.Second
	maxFigures     = 4 << 20 // bytes
)

// figures asks a server for its metrics, as parseFigures returns them.
func (s *ownServer) figures(ctx context.Context) (map[string]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, figuresTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.metrics+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("metrics: HTTP status %d", answer.StatusCode)
	}
	return parseFigures(io.LimitReader(answer.Body, maxFigures))
}

// parseFigures reads metrics in the text format of Prometheus: NAME{LABELS} VALUE. Each is there as
// NAME{LABELS}, and the sum of all labels as NAME.
func parseFigures(r io.Reader) (map[string]float64, error) {
	all := map[string]float64{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		space := strings.LastIndexByte(line, ' ')
		if space < 0 || line[0] == '#' {
			continue
		}
		value, err := strconv.ParseFloat(line[space+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("metrics: a line without a number")
		}
		name, _, labelled := strings.Cut(line[:space], "{")
		all[name] += value
		if labelled {
			all[line[:space]] = value
		}
	}
	return all, lines.Err()
}

// await asks a server for its figures until they are as they should be. A busy one may not have them
// each time.
func (s *ownServer) await(ctx context.Context, limit time.Duration, good func(map[string]float64) bool) error {
	until := time.Now().Add(limit)
	for {
		f, err := s.figures(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil && good(f):
			return nil
		case time.Now().After(until):
			return errors.Join(errors.New("the server is not as it should be in time"), err)
		}
		sleepUntil(ctx, time.Now().Add(100*time.Millisecond))
	}
}
