package nats

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"github.com/nats-io/nats.go"

	"sluice/hub/cluster"
)

// Of a list, a replica is asked for so much at a time.
const (
	listBatch = 512
	listBytes = 4 << 20
)

// behind is how often a list is asked for again where a replica has not heard of the last change yet.
const behind = 5

// List implements cluster.Directory. It is read from any replica, since the server that decides gives one record
// at a time only; that one is asked first how far the records have come, and a replica that has not come so
// far is asked again. Where it is silent the replica's word counts, as in Get.
func (d *Directory) List(ctx context.Context) (all []cluster.Entry, err error) {
	tries := 0
	err = d.again(ctx, oneList, func(ctx context.Context) error {
		var last uint64
		short, cancel := context.WithTimeout(ctx, oneTry)
		at, err := d.bucketInfo(short)
		cancel()
		switch {
		case err == nil:
			last = at.State.Last
		case !errors.Is(err, cluster.ErrMute):
			return err
		}
		records, reached, err := d.listReplica(ctx)
		if err != nil {
			return err
		}
		// The last change may have been one of which nothing is left.
		if tries++; reached < last && tries < behind {
			return cluster.ErrMute
		}
		all = slices.Collect(maps.Values(records))
		return nil
	})
	return all, err
}

// listReplica returns the records that a replica has, and the last revision among them and what is left of
// deleted ones. A record that is changed meanwhile comes twice, with the later revision last.
func (d *Directory) listReplica(ctx context.Context) (all map[string]cluster.Entry, reached uint64, err error) {
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
	all = map[string]cluster.Entry{}
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
func (d *Directory) listBatch(ctx context.Context, sub *nats.Subscription, all map[string]cluster.Entry, reached *uint64) (more bool, err error) {
	for {
		wait, cancel := context.WithTimeout(ctx, oneTry)
		m, err := sub.NextMsgWithContext(wait)
		cancel()
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
		if delete(all, r.Key); !r.deleted {
			all[r.Key] = r.Entry
		}
	}
}
