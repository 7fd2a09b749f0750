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
	oneList  = 2 * time.Second  // for all records; each message of a list has oneTry
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
	deletedFor      = "60s" // how long the engine keeps that there was a record
)

// errClosed is the error of calls that are made, or still tried, after Close.
var errClosed = fmt.Errorf("%w: %w", cluster.ErrMute, net.ErrClosed)

// errLost is ErrMute where asking again is of no use: others have changed the record since, so nobody knows
// whether this write was made before.
var errLost = fmt.Errorf("%w: the answer was lost", cluster.ErrMute)

// record is what the engine has under a key.
type record struct {
	cluster.Entry
	deleted bool
	write   string // headerWrite
}

// again calls f until it has an answer, or ctx ends. An answer is anything but ErrMute. f gets a context that
// ends sooner, after try, so that an answer that is lost costs no more, and there is time for another one.
func (d *Directory) again(ctx context.Context, try time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, allTries)
	defer cancel()
	for {
		deadline, _ := ctx.Deadline()
		one, cancel := context.WithTimeout(ctx, max(min(try, time.Until(deadline)/2), pause))
		err := f(one)
		cancel()
		if !errors.Is(err, cluster.ErrMute) || errors.Is(err, errLost) {
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
// It asks the server that decides on changes, which has the last one. Any other replica would answer as well,
// and sooner, but may not have heard of a change yet: who has just been told that a stream began would not
// find it, and a claim would begin with a revision that cannot win. Where that server is silent there is
// none for some seconds, in which nothing changes, so the second try asks whatever replica there is. It may be
// behind by what was under way at that moment, which costs a claim that starts from there a conflict in Update,
// and nothing else.
func (d *Directory) Get(ctx context.Context, key string) (cluster.Entry, error) {
	if err := checkKey(key); err != nil {
		return cluster.Entry{}, err
	}
	var found record
	tries := 0
	err := d.again(ctx, oneTry, func(ctx context.Context) (err error) {
		ask := d.fromLeader
		if tries++; tries%2 == 0 {
			ask = d.fromReplica
		}
		found, err = ask(ctx, key)
		return err
	})
	if err == nil && found.deleted {
		err = cluster.ErrNone
	}
	if err != nil {
		return cluster.Entry{}, err
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
// tried again: another server may decide by then, which does not know of the first try.
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
	return 0, errLost
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
	began := time.Now()
	var answer struct {
		Message stored `json:"message"`
	}
	err := d.api(ctx, "STREAM.MSG.GET."+d.bucket.stream(), map[string]string{"last_by_subj": d.bucket.subject(key)}, &answer)
	if err != nil {
		return record{}, err
	}
	d.state.took(time.Since(began))
	header, err := nats.DecodeHeadersMsg(answer.Message.Header)
	if err != nil && len(answer.Message.Header) > 0 {
		return record{}, fmt.Errorf("cluster: the record cannot be read: %w", err)
	}
	return record{
		Entry:   cluster.Entry{Key: key, Value: answer.Message.Data, Revision: answer.Message.Sequence},
		deleted: header.Get(headerOperation) != "",
		write:   header.Get(headerWrite),
	}, nil
}

// fromReplica reads a record from any server that has it.
func (d *Directory) fromReplica(ctx context.Context, key string) (record, error) {
	m, err := d.request(ctx, &nats.Msg{Subject: apiPrefix + "DIRECT.GET." + d.bucket.stream() + "." + d.bucket.subject(key)})
	if err != nil {
		return record{}, mute(err)
	}
	return d.decode(m)
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
