package replica

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"sluice/httpflv/answer"
	"sluice/hub"
	"sluice/hub/cluster"
	"sluice/hub/waitgroup"
)

// Config is what a Handler needs. Streams and Node must be set; the rest may be zero.
type Config struct {
	Streams cluster.Streams
	// Secret is that of the cluster. An empty one proves nothing, and is for loopback.
	Secret string
	// Node is the id of this process.
	Node   string
	Logger *slog.Logger
	// MaxCopies bounds the streams that are given at a time; 0 for 4,096.
	MaxCopies int
	// Now is the time of day; nil for time.Now.
	Now func() time.Time
}

const (
	defaultMaxCopies     = 4096
	defaultUnprovenDelay = 500 * time.Millisecond
	// maxDetail bounds the words of a refusal, in bytes.
	maxDetail = 512
)

// Handler gives streams to other nodes, over HTTP/1.1: it takes the connection over, which is closed when the
// copy has ended. http.Server.Shutdown does not know of these; Close ends them.
type Handler struct {
	cfg    Config
	key    key
	nonces nonces
	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	// unprovenDelay is how long one waits for an answer who has not proved to be a node.
	unprovenDelay time.Duration

	serving waitgroup.Group
	copies  atomic.Int64
	figures struct{ begun, unproven, refused, bytes atomic.Uint64 }
	warned  atomic.Int64 // when a line was last written of one who has not proved to be a node, in s since 1970
}

// Figures are what a Handler has done so far.
type Figures struct {
	Copies   int    // that are under way
	Begun    uint64 // copies in all
	Unproven uint64 // requests of those who have not proved to be nodes
	Refused  uint64 // requests of nodes that were refused
	Bytes    uint64 // written of copies
}

// NewHandler makes a Handler. Close it.
func NewHandler(cfg Config) *Handler {
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	cfg.MaxCopies = cmp.Or(cfg.MaxCopies, defaultMaxCopies)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	h := &Handler{cfg: cfg, key: newKey(cfg.Secret), unprovenDelay: defaultUnprovenDelay}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h
}

// Figures returns what it has done so far. It may be called at any time.
func (h *Handler) Figures() Figures {
	return Figures{
		Copies: int(h.copies.Load()), Begun: h.figures.begun.Load(), Unproven: h.figures.unproven.Load(),
		Refused: h.figures.refused.Load(), Bytes: h.figures.bytes.Load(),
	}
}

// Close breaks all copies off, which to their nodes is neither the end of a stream nor a refusal, and waits
// for them. Requests that come later are refused.
func (h *Handler) Close() {
	h.cancel()
	h.serving.Wait()
}

// asking is a request of a process that has shown that it knows the secret.
type asking struct {
	proof
	key  hub.Key
	from *cluster.Position
}

// refusal is why a request is refused: the hub's words, or those of an error that is none of its.
type refusal struct {
	status        int
	words, detail string
}

// Errors that are none of the hub's, in words, which a client knows again.
const (
	wordsUnproven = "unproven" // 401
	wordsOther    = "other process"
	wordsStale    = "stale"
)

// ServeHTTP answers a request, with a stream until it ends.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !h.serving.Enter() {
		panic(http.ErrAbortHandler)
	}
	defer h.serving.Done()
	a, refused, proved := h.examine(r)
	if !proved {
		h.figures.unproven.Add(1)
		h.warn(r, refused)
		h.delay(r.Context())
		h.refuse(w, r, "", refused)
		return
	}
	markProven(r.Context())
	if refused == nil {
		refused = h.serve(w, r, a)
	}
	if refused != nil {
		h.figures.refused.Add(1)
		if refused.words == wordsUnproven { // somebody has to set the clocks
			h.warn(r, refused)
		}
		h.cfg.Logger.Debug("copy refused", "asker", a.node, "remote", r.RemoteAddr, "stream", a.key.String(),
			"error", refused.words, "reason", refused.detail) // nodes ask again and again
		h.refuse(w, r, a.nonce, refused)
	}
}

// examine finds out who asks, and for what. Nothing is said of the request to one who does not know the secret.
func (h *Handler) examine(r *http.Request) (a asking, _ *refusal, proved bool) {
	unproven := func(detail string) *refusal { return &refusal{http.StatusUnauthorized, wordsUnproven, detail} }
	said := r.Header.Values("Authorization")
	if len(said) != 1 {
		return a, unproven("only nodes of the cluster are served here"), false
	}
	p, n, ok := parseProof(said[0])
	if !ok || !same(p.mac, h.key.requestMAC(r.Method, r.RequestURI, p)) {
		return a, unproven("the request is not proved with the secret of this cluster"), false
	}
	a.proof = p
	if p.to != h.cfg.Node { // it has begun anew, or another one has its address now
		return a, &refusal{http.StatusMisdirectedRequest, wordsOther, "another process was asked for"}, true
	}
	now := h.cfg.Now()
	if skewed := p.skewed(now); skewed != "" {
		return a, unproven(skewed), true
	}
	switch h.nonces.take(n, time.UnixMilli(p.time), now) {
	case verdictSeen: // it may be anybody who has seen it
		a.proof = proof{}
		return a, unproven("the request has been here before"), false
	case verdictFull:
		return a, refusalOf(&hub.Refusal{Reason: hub.ReasonTooMany, Detail: "too many requests in a minute"}), true
	}
	if err := a.read(r); err != nil {
		return a, refusalOf(err), true
	}
	return a, nil, true
}

// read reads what is asked for.
func (a *asking) read(r *http.Request) error {
	bad := func(detail string) error { return &hub.Refusal{Reason: hub.ReasonBadRequest, Detail: detail} }
	query, err := url.ParseQuery(r.URL.RawQuery)
	if r.Method != http.MethodGet || r.URL.Path != resource || err != nil {
		return bad("it is GET " + resource + "?stream=APP/NAME")
	}
	text := query.Get("stream")
	cut := max(0, strings.LastIndexByte(text, '/'))
	if a.key, err = hub.NewKey(text[:cut], text[cut:]); err != nil {
		return err
	}
	if a.key.String() != text {
		return bad("the stream is not written as APP/NAME")
	}
	if query.Has("from") {
		at, err := cluster.ParsePosition(query.Get("from"))
		if err != nil {
			return bad("from is " + err.Error())
		}
		a.from = &at
	}
	return nil
}

// serve gives the stream, or says why not.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, a asking) *refusal {
	defer h.copies.Add(-1)
	if h.copies.Add(1) > int64(h.cfg.MaxCopies) {
		return refusalOf(&hub.Refusal{Reason: hub.ReasonTooMany, Detail: "the node gives as many streams as it may"})
	}
	// The server's own deadline is for answers that do not wait for anybody.
	http.NewResponseController(w).SetWriteDeadline(time.Time{})
	ctx, cancel := context.WithTimeout(r.Context(), serveTimeout)
	defer cancel()
	defer context.AfterFunc(h.ctx, cancel)()
	out, err := h.cfg.Streams.Serve(ctx, a.node, a.key, a.from)
	if err != nil {
		return refusalOf(err)
	}
	defer out.Close()
	h.give(w, r, a, out)
	return nil
}

// refusalOf returns what an error comes to.
func refusalOf(err error) *refusal {
	if errors.Is(err, cluster.ErrStale) {
		return &refusal{http.StatusConflict, wordsStale, "another node owns the stream by now"}
	}
	said, ok := errors.AsType[*hub.Refusal](err)
	switch {
	case ok:
	case errors.Is(err, context.DeadlineExceeded):
		said = &hub.Refusal{Reason: hub.ReasonNotFound, Detail: "the stream has not begun in time"}
	default: // its words are for this node's log
		said = &hub.Refusal{Reason: hub.ReasonConnection, Detail: "the node cannot give the stream"}
	}
	return &refusal{said.Reason.HTTPStatus(), said.Reason.String(), said.Detail}
}

// refuse answers with a refusal, which proves to a node, by its nonce, who has said so.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, nonce string, f *refusal) {
	detail := f.detail
	if len(detail) > maxDetail {
		detail = detail[:maxDetail]
	}
	body, _ := json.Marshal(refusedBody{f.words, strings.ToValidUTF8(detail, "")}) // two strings always encode
	header := w.Header()
	header.Set("Connection", "close")
	if nonce != "" {
		header.Set(nodeHeader, h.cfg.Node)
		header.Set(proofHeader, h.key.answerMAC(nonce, h.cfg.Node, f.status, string(body)))
	}
	answer.Bound(w, r)
	answer.JSON(w, f.status, body)
}

// refusedBody is the body of a refusal, as answer.Refusal has it.
type refusedBody struct {
	Error  string `json:"error"`
	Reason string `json:"reason"`
}

// delay has one wait who tries secrets, or floods: meanwhile it has one of the few connections of those who
// have proved nothing.
func (h *Handler) delay(ctx context.Context) {
	t := time.NewTimer(h.unprovenDelay)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case <-h.ctx.Done():
	}
}

// warn writes a line about one who has not proved to be a node, or whose clock is wrong, once a second for all
// of them.
func (h *Handler) warn(r *http.Request, f *refusal) {
	now := time.Now().Unix()
	if last := h.warned.Load(); now == last || !h.warned.CompareAndSwap(last, now) {
		return
	}
	h.cfg.Logger.Warn("request of a node refused, or of one that is none", "remote", r.RemoteAddr, "reason", f.detail,
		"unproven", h.figures.unproven.Load())
}
