package nats

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/nats-io/nats.go"

	"sluice/hub/cluster"
)

// Of a list, a replica is asked for so much at a time.
const (
	listBatch = 512
	listBytes = 4 << 20
)

// List implements cluster.Directory. It is read from any replica, since the server that decides gives one record
// at a time only; that one is asked first how far the records have come, and a replica that has not come so
// far is asked again.
func (d *Directory) List(ctx context.Context) (all []cluster.Entry, err error) {
	err = d.again(ctx, oneList, func(ctx context.Context) error {
		at, err := d.bucketInfo(ctx)
		if err != nil {
			return err
		}
		records, reached, err := d.listReplica(ctx)
		if err != nil {
			return err
		}
		if err := d.hasReached(ctx, reached, at.State.Last); err != nil {
			return err
		}
		all = make([]cluster.Entry, 0, len(records))
		for _, r := range records {
			if !r.deleted {
				all = append(all, r.Entry)
			}
		}
		return nil
	})
	return all, err
}

// hasReached returns ErrMute where a replica whose last record has the one revision has yet to be told of changes up to the other
// one. Of those there may be nothing left, which the server that decides knows: then that record is its last one, too.
func (d *Directory) hasReached(ctx context.Context, reached, last uint64) error {
	if reached >= last {
		return nil
	}
	switch next, err := d.nextFromLeader(ctx, reached+1); {
	case errors.Is(err, cluster.ErrNone):
		return nil
	case err != nil:
		return err
	case next <= last:
		return cluster.ErrMute
	}
	return nil // that was changed meanwhile
}

// listReplica returns the records that a replica has, with what is left of deleted ones, and the last revision
// among them. A record that is changed meanwhile comes twice, with the later revision last.
func (d *Directory) listReplica(ctx context.Context) (all map[string]record, reached uint64, err error) {
	if !d.online.Load() {
		return nil, 0, cluster.ErrMute // without it the library would wait for a connection that is tried
	}
	inbox := d.nc.NewRespInbox()
	sub, err := d.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, 0, mute(err)
	}
	defer func() {
		if err := sub.Unsubscribe(); err != nil {
			d.cfg.Logger.Debug("cluster: a subscription is gone already", "err", err)
		}
	}()
	all = map[string]record{}
	for {
		question, err := json.Marshal(map[string]any{
			"seq": reached + 1, "next_by_subj": d.bucket.subject(">"), "batch": listBatch, "max_bytes": listBytes,
		})
		if err != nil {
			return nil, 0, err
		}
		if err := d.nc.PublishRequest(apiPrefix+"DIRECT.GET."+d.bucket.stream(), inbox, question); err != nil {
			return nil, 0, mute(err)
		}
		more, err := d.listBatch(ctx, sub, all, &reached)
		if err != nil {
			return nil, 0, err
		}
		if !more {
			return all, reached, nil
		}
	}
}

// listBatch reads one answer of many messages, and says whether there is more to be asked for.
func (d *Directory) listBatch(ctx context.Context, sub *nats.Subscription, all map[string]record, reached *uint64) (more bool, err error) {
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return false, mute(err)
		}
		if m.Header.Get("Status") == "204" { // the end of the batch
			return m.Header.Get("Nats-Num-Pending") != "0", nil
		}
		r, err := d.decode(m)
		if errors.Is(err, cluster.ErrNone) {
			return false, nil // nothing that late
		}
		if err != nil {
			return false, err
		}
		*reached = max(*reached, r.Revision)
		all[r.Key] = r
	}
}
