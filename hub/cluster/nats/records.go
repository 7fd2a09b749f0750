package nats

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"sluice/hub/cluster"
)

// Times of calls for records. A server that is about to be killed has been seen to take a request and never
// answer it; asked again, another one does.
const (
	oneTry   = 250 * time.Millisecond
	allTries = 10 * time.Second // where the context ends later
	oneList  = time.Second      // for all records
	pause    = 25 * time.Millisecond
)

// Headers of messages. Those of the engine are those of its buckets of keys and values, so that its own tools
// read them.
const (
	headerExpected  = "Nats-Expected-Last-Subject-Sequence"
	headerTTL       = "Nats-TTL"
	headerOperation = "KV-Operation"
	headerWrite     = "Nats-Msg-Id" // a write with the id of an earlier one is that one
	headerSequence  = "Nats-Sequence"
	headerSubject   = "Nats-Subject"
	deleted         = "DEL"
	deletedFor      = "15s" // how long the engine keeps that there was a record; longer than one is tried
)

// errClosed is the error of calls that are made, or still tried, after Close.
var errClosed = fmt.Errorf("%w: %w", cluster.ErrMute, net.ErrClosed)

// record is what the engine has under a key.
type record struct {
	cluster.Entry
	deleted bool
	write   string // headerWrite
}

// again calls f until it has an answer, or ctx ends. An answer is anything but ErrMute. f gets a context that
// ends sooner, after try, so that an answer that is lost costs no more, and there is time for another one. Each
// try has twice the time of the one before: where answers are only late, asking again and again would make them
// later.
func (d *Directory) again(ctx context.Context, try time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, allTries)
	defer cancel()
	for ; ; try *= 2 {
		deadline, _ := ctx.Deadline()
		one, cancel := context.WithTimeout(ctx, max(min(try, time.Until(deadline)/2), pause))
		err := f(one)
		cancel()
		if !errors.Is(err, cluster.ErrMute) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-d.done:
			return errClosed
		case <-time.After(pause):
		}
	}
}

// Get implements cluster.Directory.
//
// It asks the server that decides on changes, which has the last one. Any other replica would answer as well, and
// sooner, also while nobody decides, but may not have heard of a change yet: who has just been told that a stream
// began would not find it, and a claim would begin with a revision that cannot win. Tried as a second choice
// where the first was late, replicas gave old values as soon as the machine was busy. So Get is mute for as long
// as Update would be, and who asks goes by the news.
func (d *Directory) Get(ctx context.Context, key string) (cluster.Entry, error) {
	if err := checkKey(key); err != nil {
		return cluster.Entry{}, err
	}
	var found record
	err := d.again(ctx, oneTry, func(ctx context.Context) (err error) {
		found, err = d.fromLeader(ctx, key)
		return err
	})
	switch {
	case err != nil:
		return cluster.Entry{}, err
	case found.deleted:
		return cluster.Entry{}, cluster.ErrNone
	}
	return found.Entry, nil
}

// Create implements cluster.Directory.
func (d *Directory) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	var revision uint64
	for range 3 { // more than one only where the record is made and deleted by others meanwhile
		got, err := d.write(ctx, key, value, revision, false)
		if !errors.Is(err, cluster.ErrConflict) {
			return got, err
		}
		// What was deleted has left something behind for a while.
		var there record
		err = d.again(ctx, oneTry, func(ctx context.Context) (err error) {
			there, err = d.fromLeader(ctx, key)
			return err
		})
		switch {
		case errors.Is(err, cluster.ErrNone):
			revision = 0
		case err != nil:
			return 0, err
		case !there.deleted:
			return 0, cluster.ErrConflict
		default:
			revision = there.Revision
		}
	}
	return 0, cluster.ErrConflict
}

// Update implements cluster.Directory.
func (d *Directory) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if revision == 0 {
		return 0, cluster.ErrConflict // to the engine it means that there is none
	}
	return d.write(ctx, key, value, revision, false)
}

// Delete implements cluster.Directory.
func (d *Directory) Delete(ctx context.Context, key string, revision uint64) error {
	if revision == 0 {
		return cluster.ErrConflict
	}
	_, err := d.write(ctx, key, nil, revision, true)
	return err
}

// write changes the record with that revision. Where an answer is lost it writes again with the same id: the
// engine says again what became of it. Where it cannot, settle finds out.
func (d *Directory) write(ctx context.Context, key string, value []byte, revision uint64, remove bool) (got uint64, err error) {
	if err := checkKey(key); err != nil {
		return 0, err
	}
	if err := checkSize(value); err != nil {
		return 0, err
	}
	m := &nats.Msg{Subject: d.bucket.subject(key), Data: value, Header: nats.Header{}}
	m.Header.Set(headerExpected, strconv.FormatUint(revision, 10))
	m.Header.Set(headerWrite, rand.Text())
	if remove {
		m.Header.Set(headerOperation, deleted)
		m.Header.Set(headerTTL, deletedFor)
	}
	unsure := false // an earlier try may have had its effect
	err = d.again(ctx, oneTry, func(ctx context.Context) (err error) {
		got, err = d.publish(ctx, m)
		switch {
		case errors.Is(err, cluster.ErrMute):
			unsure = true
		case errors.Is(err, cluster.ErrConflict) && unsure:
			got, err = d.settle(ctx, key, m.Header.Get(headerWrite), revision)
		}
		return err
	})
	could := !errors.Is(err, cluster.ErrMute)
	d.state.wrote(could)
	if !could {
		d.look() // the bucket may be gone
	}
	return got, err
}

// settle finds out what has become of a write whose answer was lost, where there was a conflict when it was
// tried again. All servers know the ids of writes that were made, apart from one that has been started since: that
// one knows the last write of each record.
func (d *Directory) settle(ctx context.Context, key, write string, revision uint64) (uint64, error) {
	there, err := d.fromLeader(ctx, key)
	switch {
	case errors.Is(err, cluster.ErrNone):
		there = record{}
	case err != nil:
		return 0, err
	}
	switch {
	case there.write == write:
		return there.Revision, nil
	case there.Revision == revision:
		return 0, cluster.ErrMute // a change is under way, which may be this one
	}
	return 0, cluster.ErrConflict
}

// publish sends a change to the server that decides, and returns the record's new revision.
func (d *Directory) publish(ctx context.Context, m *nats.Msg) (uint64, error) {
	began := time.Now()
	answer, err := d.request(ctx, m)
	if errors.Is(err, nats.ErrNoResponders) {
		return 0, mute(err) // the bucket is not there, or nobody decides
	}
	if err != nil {
		return 0, err
	}
	var ack struct {
		Error    *apiError `json:"error"`
		Sequence uint64    `json:"seq"`
	}
	if err := json.Unmarshal(answer.Data, &ack); err != nil {
		return 0, mute(err)
	}
	if ack.Error != nil {
		return 0, ack.Error.meaning()
	}
	d.state.took(time.Since(began))
	return ack.Sequence, nil
}

// stored is a message as the engine's interface in JSON has it.
type stored struct {
	Subject  string `json:"subject"`
	Sequence uint64 `json:"seq"`
	Header   []byte `json:"hdrs"`
	Data     []byte `json:"data"`
}

// fromLeader reads a record from the server that decides on changes.
func (d *Directory) fromLeader(ctx context.Context, key string) (record, error) {
	m, err := d.messageFromLeader(ctx, map[string]any{"last_by_subj": d.bucket.subject(key)})
	if err != nil {
		return record{}, err
	}
	header, err := nats.DecodeHeadersMsg(m.Header)
	if err != nil && len(m.Header) > 0 {
		return record{}, fmt.Errorf("cluster: the record cannot be read: %w", err)
	}
	return record{
		Entry:   cluster.Entry{Key: key, Value: m.Data, Revision: m.Sequence},
		deleted: header.Get(headerOperation) != "",
		write:   header.Get(headerWrite),
	}, nil
}

// nextFromLeader returns the first revision from a given one on that the server that decides on changes has, of a record or of what
// a deleted one has left; ErrNone for none.
func (d *Directory) nextFromLeader(ctx context.Context, from uint64) (revision uint64, err error) {
	m, err := d.messageFromLeader(ctx, map[string]any{"seq": from, "next_by_subj": d.bucket.subject(">")})
	return m.Sequence, err
}

// messageFromLeader asks the server that decides on changes for a message.
func (d *Directory) messageFromLeader(ctx context.Context, question map[string]any) (stored, error) {
	began := time.Now()
	var answer struct {
		Message stored `json:"message"`
	}
	if err := d.api(ctx, "STREAM.MSG.GET."+d.bucket.stream(), question, &answer); err != nil {
		return stored{}, err
	}
	d.state.took(time.Since(began))
	return answer.Message, nil
}

// decode reads a record from a message that a replica has sent.
func (d *Directory) decode(m *nats.Msg) (record, error) {
	switch m.Header.Get("Status") {
	case "":
	case "404":
		return record{}, cluster.ErrNone
	default:
		return record{}, mute(errors.New(m.Header.Get("Description")))
	}
	sequence, err := strconv.ParseUint(m.Header.Get(headerSequence), 10, 64)
	if err != nil {
		return record{}, mute(err)
	}
	return record{
		Entry:   cluster.Entry{Key: strings.TrimPrefix(m.Header.Get(headerSubject), d.bucket.subject("")), Value: m.Data, Revision: sequence},
		deleted: m.Header.Get(headerOperation) != "",
		write:   m.Header.Get(headerWrite),
	}, nil
}
