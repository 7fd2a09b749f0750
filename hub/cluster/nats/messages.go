package nats

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go"

	"sluice/hub/cluster"
)

// subject returns what a subject is called in the engine.
func (d *Directory) subject(name string) (string, error) {
	if err := checkName(name); err != nil {
		return "", err
	}
	return d.cfg.Prefix + ".m." + name, nil
}

// Send implements cluster.Directory. It does wait, though for no more than a second, where a server is still
// connected and takes nothing.
func (d *Directory) Send(name string, data []byte) error {
	subject, err := d.subject(name)
	if err == nil {
		err = checkSize(data)
	}
	if err != nil {
		return err
	}
	if !d.online.Load() {
		return cluster.ErrMute
	}
	if err := d.nc.Publish(subject, data); err != nil {
		return mute(err)
	}
	return nil
}

// Listen implements cluster.Directory.
func (d *Directory) Listen(name string, f func(data []byte)) (stop func(), err error) {
	return d.subscribe(name, func(m *nats.Msg) { f(m.Data) })
}

// Ask implements cluster.Directory.
func (d *Directory) Ask(ctx context.Context, name string, data []byte) ([]byte, error) {
	subject, err := d.subject(name)
	if err == nil {
		err = checkSize(data)
	}
	if err != nil {
		return nil, err
	}
	m, err := d.request(ctx, &nats.Msg{Subject: subject, Data: data})
	if errors.Is(err, nats.ErrNoResponders) {
		return nil, cluster.ErrNobody
	}
	if err != nil {
		return nil, err
	}
	return m.Data, nil
}

// Answer implements cluster.Directory.
func (d *Directory) Answer(name string, f func(data []byte) []byte) (stop func(), err error) {
	slots := make(chan struct{}, maxAnswers)
	return d.subscribe(name, func(m *nats.Msg) {
		if m.Reply == "" {
			return // somebody sent it, and asks nothing
		}
		// Where all are busy questions wait, in the subscription.
		select {
		case slots <- struct{}{}:
		case <-d.done:
			return
		}
		go func() {
			defer func() { <-slots }()
			answer := f(m.Data)
			if err := checkSize(answer); err != nil {
				d.cfg.Logger.Warn("cluster: an answer is too large", "subject", name, "bytes", len(answer))
				return
			}
			if err := m.Respond(answer); err != nil {
				d.cfg.Logger.Debug("cluster: an answer is lost", "subject", name, "err", err)
			}
		}()
	})
}

// subscribe has f called for each message, one after the other. The subscription outlasts the connection.
func (d *Directory) subscribe(name string, f nats.MsgHandler) (stop func(), err error) {
	subject, err := d.subject(name)
	if err != nil {
		return nil, err
	}
	sub, err := d.nc.Subscribe(subject, f)
	if err != nil {
		return nil, mute(err)
	}
	if err := sub.SetPendingLimits(pendingNews, pendingBytes); err != nil {
		return nil, mute(err)
	}
	return func() {
		if err := sub.Unsubscribe(); err != nil {
			d.cfg.Logger.Debug("cluster: a subscription is gone already", "subject", name, "err", err)
		}
	}, nil
}

// request sends a message and returns the answer. The error is nats.ErrNoResponders where nobody can answer,
// ErrMute where no answer came, or says what is wrong with the message.
func (d *Directory) request(ctx context.Context, m *nats.Msg) (*nats.Msg, error) {
	if !d.online.Load() {
		return nil, cluster.ErrMute
	}
	answer, err := d.nc.RequestMsgWithContext(ctx, m)
	switch {
	case err == nil, errors.Is(err, nats.ErrNoResponders):
		return answer, err
	case errors.Is(err, nats.ErrMaxPayload):
		return nil, errLarge
	}
	return nil, mute(err)
}
