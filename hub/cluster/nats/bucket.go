package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"sluice/hub/cluster"
)

// externalReplicas is how many servers keep the records where the engine is elsewhere, if it has so many.
const externalReplicas = 3

// fewServers is for how long a cluster of servers may have fewer of them than replicas are wanted, before
// one has to do.
const fewServers = 10 * time.Second

// makingBucket is how long a server may take to make a bucket: it answers when somebody decides on it.
const makingBucket = 5 * time.Second

// duplicates is for how long the engine knows the ids of writes; longer than one is tried.
const duplicates = 3 * allTries

// apiPrefix begins the subjects under which the engine is asked, in JSON.
const apiPrefix = "$JS.API."

// bucket is where the records are: what NATS calls a bucket of keys and values, which is a stream with one
// message for each key.
type bucket struct {
	name     string
	replicas int       // wanted; keep alone changes it
	refused  time.Time // since when there have been too few servers; zero if there are enough
}

func (b *bucket) stream() string { return "KV_" + b.name }

func (b *bucket) subject(key string) string { return "$KV." + b.name + "." + key }

// config is how the bucket is made. It is the same at all nodes, so that two that make it at the same time
// make one.
func (b *bucket) config() map[string]any {
	return map[string]any{
		"name":                 b.stream(),
		"subjects":             []string{b.subject(">")},
		"retention":            "limits",
		"storage":              "memory",
		"discard":              "new",
		"num_replicas":         b.replicas,
		"max_consumers":        -1,
		"max_msgs":             -1,
		"max_msgs_per_subject": 1,
		"max_bytes":            maxRecords,
		"max_msg_size":         cluster.MaxMessage + maxHeader,
		"duplicate_window":     duplicates,
		"allow_direct":         true,
		"allow_rollup_hdrs":    true,
		"deny_delete":          true,
		"allow_msg_ttl":        true, // for what deleting leaves behind; records have no end
	}
}

// apiError is what the engine says that it did not do.
type apiError struct {
	Code        int    `json:"code"` // as in HTTP
	Number      int    `json:"err_code"`
	Description string `json:"description"`
}

// Numbers of errors of the engine.
const (
	errNumberNoPeers       = 10005
	errNumberNoMessage     = 10037
	errNumberNoStream      = 10059
	errNumberWrongRevision = 10071
	errNumberNoReplicas    = 10074
	errNumberUnderWay      = 10158 // the same write is being made
	errNumberChangeUnder   = 10164 // another change of the record is under way, or was until a moment ago
)

func (e *apiError) Error() string { return "the engine: " + e.Description }

// meaning returns the error that a caller of the Directory is given.
func (e *apiError) meaning() error {
	switch {
	case e.Number == errNumberNoMessage:
		return cluster.ErrNone
	case e.Number == errNumberWrongRevision:
		return cluster.ErrConflict
	// A server answers a change before it counts as made: one on top of it that comes at once is refused as well,
	// whatever its revision. Tried again it is made, or has the wrong revision.
	case e.Number == errNumberNoStream, e.Number == errNumberUnderWay, e.Number == errNumberChangeUnder, e.Code == 503:
		return mute(e)
	}
	return fmt.Errorf("cluster: %w", e)
}

// api asks the engine something, in JSON.
func (d *Directory) api(ctx context.Context, subject string, question, answer any) error {
	var data []byte
	if question != nil {
		var err error
		if data, err = json.Marshal(question); err != nil {
			return err
		}
	}
	m, err := d.request(ctx, &nats.Msg{Subject: apiPrefix + subject, Data: data})
	if errors.Is(err, nats.ErrNoResponders) {
		return mute(err)
	}
	if err != nil {
		return err
	}
	var failed struct {
		Error *apiError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &failed); err != nil {
		return mute(err)
	}
	if failed.Error != nil {
		return failed.Error.meaning()
	}
	if err := json.Unmarshal(m.Data, answer); err != nil {
		return mute(err)
	}
	return nil
}

// info is what the engine says of the bucket.
type info struct {
	State struct {
		Last uint64 `json:"last_seq"`
	} `json:"state"`
	Cluster struct {
		Leader   string `json:"leader"`
		Replicas []struct {
			Name    string        `json:"name"`
			Offline bool          `json:"offline"`
			Active  time.Duration `json:"active"` // since it was last heard of
		} `json:"replicas"`
	} `json:"cluster"`
}

// bucketInfo asks the server that decides.
func (d *Directory) bucketInfo(ctx context.Context) (i info, err error) {
	return i, d.api(ctx, "STREAM.INFO."+d.bucket.stream(), nil, &i)
}

// makeBucket makes the bucket where it is missing. It is called by keep only.
func (d *Directory) makeBucket(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, makingBucket)
	defer cancel()
	var made info
	err := d.api(ctx, "STREAM.CREATE."+d.bucket.stream(), d.bucket.config(), &made)
	var refused *apiError
	if d.engine != nil || !errors.As(err, &refused) || d.bucket.replicas == 1 {
		return err
	}
	switch refused.Number {
	case errNumberNoReplicas:
		d.bucket.replicas = 1
	case errNumberNoPeers:
		if d.bucket.refused.IsZero() {
			d.bucket.refused = time.Now()
		}
		if time.Since(d.bucket.refused) > fewServers {
			d.bucket.replicas = 1
		}
	}
	return err
}
