package nats

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"

	"sluice/hub/cluster"
)

// Headers of messages.
const (
	headerThere    = "Sluice-There"     // of a question: is anybody there?
	headerTooLarge = "Sluice-Too-Large" // of an answer: what there is to say does not fit
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

// Ask implements cluster.Directory. Where the answer is long in coming it looks from time to time whether
// anybody is still there to give it; if not, the error is ErrMute.
func (d *Directory) Ask(ctx context.Context, name string, data []byte) ([]byte, error) {
	subject, err := d.subject(name)
	if err == nil {
		err = checkSize(data)
	}
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer time.AfterFunc(oneTry, func() { d.watch(ctx, cancel, subject) }).Stop()
	m, err := d.request(ctx, &nats.Msg{Subject: subject, Data: data})
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil, cluster.ErrNobody
	case err != nil:
		return nil, err
	case m.Header.Get(headerTooLarge) != "":
		return nil, errLarge
	}
	return m.Data, nil
}

// watch cancels a question when nobody is there any more who could answer it.
func (d *Directory) watch(ctx context.Context, cancel func(), subject string) {
	for ctx.Err() == nil {
		try, end := context.WithTimeout(ctx, oneTry)
		_, err := d.request(try, &nats.Msg{Subject: subject, Header: nats.Header{headerThere: {"?"}}})
		if errors.Is(err, nats.ErrNoResponders) {
			cancel()
		}
		if err == nil {
			<-try.Done()
		}
		end()
	}
}

// Answer implements cluster.Directory.
func (d *Directory) Answer(name string, f func(data []byte) []byte) (stop func(), err error) {
	slots := make(chan struct{}, maxAnswers)
	return d.subscribe(name, func(m *nats.Msg) {
		if m.Reply == "" {
			return // somebody sent it, and asks nothing
		}
		if m.Header.Get(headerThere) != "" {
			d.respond(m, &nats.Msg{})
			return
		}
		// Where all are busy questions wait, in the subscription.
		select {
		case slots <- struct{}{}:
		case <-d.done:
			return
		}
		go func() {
			defer func() { <-slots }()
			answer := &nats.Msg{Data: f(m.Data)}
			if checkSize(answer.Data) != nil {
				d.cfg.Logger.Warn("cluster: an answer is too large", "subject", name, "bytes", len(answer.Data))
				answer = &nats.Msg{Header: nats.Header{headerTooLarge: {"!"}}}
			}
			d.respond(m, answer)
		}()
	})
}

func (d *Directory) respond(m, answer *nats.Msg) {
	if err := m.RespondMsg(answer); err != nil {
		d.cfg.Logger.Debug("cluster: an answer is lost", "subject", m.Subject, "err", err)
	}
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
		if err := sub.Unsubscribe(); err != nil { // also where it is called again, which does nothing
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
