package main

import (
	"cmp"
	"net"
	"slices"
	"strconv"
)

// reach is where clients reach a node of a cluster, SCHEME://HOST[:PORT]; empty where they do not.
type reach struct{ http, rtmp string }

// reachOf returns where clients reach this node: what is set, or the host of its name and the first listener.
func reachOf(cfg *config, l listeners, node string) reach {
	host, _, err := net.SplitHostPort(node)
	if err != nil { // a name that is no address
		host = node
	}
	at := func(set string, kinds ...string) string {
		if _, origin, err := parseOrigin(set, kinds); err == nil {
			return origin
		}
		open := l.of(kinds...)
		if len(open) == 0 {
			return ""
		}
		first := slices.MinFunc(open, func(a, b listener) int { // the plain one, which asks for no certificate of that name
			return cmp.Compare(slices.Index(kinds, a.kind), slices.Index(kinds, b.kind))
		})
		_, origin, _ := parseOrigin(first.kind+"://"+net.JoinHostPort(host, strconv.Itoa(clientPort(cfg, first))), kinds) // a kind is called as its scheme
		return origin
	}
	return reach{at(cfg.ClusterHTTPURL, kindHTTP, kindHTTPS), at(cfg.ClusterRTMPURL, kindRTMP, kindRTMPS)}
}
