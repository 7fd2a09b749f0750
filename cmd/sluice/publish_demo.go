package main

import (
	"context"

	"sluice/cmd/sluice/demo"
	"sluice/flv"
	"sluice/hub"
)

// publishDemo begins a publish session of the demo.
func (s *service) publishDemo(ctx context.Context) (demo.Session, error) {
	session := s.hub.NewSession(hub.RolePublish, demoKey, hub.Client{Protocol: "demo"})
	if err := session.ClaimAndWait(ctx, hub.PublishOptions{}); err != nil {
		return nil, err
	}
	p, err := s.hub.Publish(session, hub.PublishOptions{})
	if err != nil {
		return nil, err
	}
	return demoSession{p}, nil
}

// demoKey is the stream of the demo.
var demoKey = hub.Key{App: "live", Name: "demo"}

// demoSession is a publisher of the hub as demo.Run takes it.
type demoSession struct{ p *hub.Publisher }

func (d demoSession) WriteTag(t flv.Tag) error { return d.p.Write(t) }

func (d demoSession) Close() error {
	d.p.Close()
	return nil
}
