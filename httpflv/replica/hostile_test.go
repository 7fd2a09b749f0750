package replica

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sluice/flv"
	"sluice/flv/amf"
	"sluice/hub"
	"sluice/hub/cluster"
)

// impostor answers each request as it likes, until the test ends, and returns where.
func impostor(t testing.TB, answer func(nc net.Conn, p proof)) string {
	t.Helper()
	l := listen(t)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			nc.SetDeadline(time.Now().Add(20 * time.Second))
			if r, err := http.ReadRequest(bufio.NewReader(nc)); err == nil {
				p, _, _ := parseProof(r.Header.Get("Authorization"))
				answer(nc, p)
			}
			nc.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-ended })
	return l.Addr().String()
}

// headOf is the head of a node's answer.
func headOf(p proof, start cluster.Start) string {
	h := Handler{cfg: Config{Node: boot}, key: newKey(secret)}
	return string(h.head(asking{proof: p}, start))
}

// Nothing is taken of an answer that is not proved.
func TestOnlyNodesAreBelieved(t *testing.T) {
	start := cluster.Start{At: at(5)}
	var before string // what a node has said to another request
	earlier := impostor(t, func(nc net.Conn, p proof) {
		before = headOf(p, start)
		io.WriteString(nc, before)
	})
	open(t, earlier, nil)
	changed := func(from, to string) func(proof) string {
		return func(p proof) string {
			text := headOf(p, start)
			require.Contains(t, text, from)
			return strings.Replace(text, from, to, 1)
		}
	}
	said := func(text string) func(proof) string { return func(proof) string { return text } }
	for _, c := range []struct {
		name   string
		answer func(proof) string
		from   *cluster.Position
		want   error
	}{
		{"to an earlier request", func(proof) string { return before }, nil, ErrUnproven},
		{"another position", changed("1/5", "1/6"), nil, ErrUnproven},
		{"another time", changed("Time: 0", "Time: 1"), nil, ErrUnproven},
		{"joined", changed("Joined: false", "Joined: true"), nil, ErrUnproven},
		{"tracks", changed("Sluice-Joined", "Sluice-Tracks: none\r\nSluice-Joined"), nil, ErrUnproven},
		{"another process", changed(boot, asker), nil, ErrUnproven},
		{"no proof", changed(proofHeader, "X"), nil, ErrUnproven},
		{"by another process", func(p proof) string {
			h := Handler{cfg: Config{Node: asker}, key: newKey(secret)}
			return string(h.head(asking{proof: p}, start))
		}, nil, ErrOtherProcess},
		{"not FLV", changed("FLV\x01", "FLV\x02"), nil, ErrProtocol},
		{"joined without a wish", func(p proof) string { return headOf(p, cluster.Start{At: at(5), Joined: true}) }, nil, ErrProtocol},
		{"joined before it", func(p proof) string { return headOf(p, cluster.Start{At: at(5), Joined: true}) }, &cluster.Position{Incarnation: incarnation, Epoch: 1, Number: 6}, ErrProtocol},
		{"an earlier epoch", func(p proof) string { return headOf(p, start) }, &cluster.Position{Incarnation: incarnation, Epoch: 2, Number: 1}, cluster.ErrStale},
		{"no position", func(p proof) string { return headOf(p, cluster.Start{}) }, nil, ErrProtocol},
		{"no time", func(p proof) string { return headOf(p, cluster.Start{At: at(1), Time: maxTime + 1}) }, nil, ErrProtocol},
		{"no HTTP", said("hello\r\n\r\n"), nil, ErrUnproven},
		{"an answer before the answer", said("HTTP/1.1 100 Continue\r\n\r\n"), nil, ErrUnproven},
		{"a head without end", said("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2*maxHead)), nil, ErrUnproven},
		{"nothing", said(""), nil, io.EOF},
		{"half a head", said("HTTP/1.1 200 OK\r\n"), nil, io.EOF},
		{"not found", said("HTTP/1.1 404 Not Found\r\nContent-Length: 21\r\n\r\n{\"error\":\"not found\"}"), nil, ErrUnproven},
		{"stale", said("HTTP/1.1 409 Conflict\r\nContent-Length: 17\r\n\r\n{\"error\":\"stale\"}"), nil, ErrUnproven},
		{"denied", said("HTTP/1.1 401 Unauthorized\r\n\r\n"), nil, ErrUnproven},
		{"a redirect", said("HTTP/1.1 302 Found\r\nLocation: //h/\r\n\r\n"), nil, ErrUnproven},
		{"a large refusal", said("HTTP/1.1 404 Not Found\r\nContent-Length: 1000000\r\n\r\n{"), nil, ErrUnproven},
		{"half a refusal", said("HTTP/1.1 404 Not Found\r\nContent-Length: 10\r\n\r\n{"), nil, io.EOF},
	} {
		t.Run(c.name, func(t *testing.T) {
			address := impostor(t, func(nc net.Conn, p proof) { io.WriteString(nc, c.answer(p)) })
			_, err := opener().Open(t.Context(), cluster.Opening{Address: address, Boot: boot, Key: demo, From: c.from})
			assert.ErrorIs(t, err, c.want)
			assert.NotContains(t, err.Error(), secret)
		})
	}
}

// Whoever does not answer is given up in time, and so is one whom nobody wants any more.
func TestNoAnswer(t *testing.T) {
	quiet := make(chan struct{})
	defer close(quiet)
	address := impostor(t, func(net.Conn, proof) { <-quiet })
	o := opener()
	o.AnswerTimeout = 50 * time.Millisecond
	opening := cluster.Opening{Address: address, Boot: boot, Key: demo}
	_, err := o.Open(t.Context(), opening)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	o.TLS = &tls.Config{}
	_, err = o.Open(t.Context(), opening)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	_, err = opener().Open(ctx, opening)
	assert.ErrorIs(t, err, context.Canceled)
	for _, address := range []string{"", "host", "h:1\r\nX: y", "h :1"} {
		_, err = opener().Open(t.Context(), cluster.Opening{Address: address, Boot: boot, Key: demo})
		assert.ErrorContains(t, err, "HOST:PORT")
	}
	_, err = opener().Open(t.Context(), cluster.Opening{Address: "127.0.0.1:1", Key: demo})
	assert.ErrorContains(t, err, "no id")
}

// tagOf makes a tag with any fields.
func tagOf(kind flv.Type, id uint64, ms int64, body []byte) string {
	b := appendHead(nil, kind, len(body), ms, id)
	return string(appendTrailer(append(b, body...), len(body)))
}

func said(c control) string { return tagOf(flv.TypeScript, 0, 0, c.append(nil)) }

// stream returns a source of what comes after a head that says packet 100, 1000 ms.
func stream(r io.Reader) *source {
	nc := replay{r}
	return &source{nc: nc, in: input{conn: nc}, place: begin(cluster.Start{At: at(100), Time: 1000})}
}

// replay is a connection on which something comes, whatever is written to it.
type replay struct{ io.Reader }

func (replay) Write(p []byte) (int, error)      { return len(p), nil }
func (replay) Close() error                     { return nil }
func (replay) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (replay) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (replay) SetDeadline(time.Time) error      { return nil }
func (replay) SetReadDeadline(time.Time) error  { return nil }
func (replay) SetWriteDeadline(time.Time) error { return nil }

// What makes no sense ends a copy with a reason.
func TestMalformed(t *testing.T) {
	video := func(id uint64, ms int64) string { return tagOf(flv.TypeVideo, id, ms, []byte("x")) }
	object := func(properties ...amf.Property) string {
		return tagOf(flv.TypeScript, 0, 0, amf.AppendAMF0(bytes.Clone(named), amf.Object(properties)))
	}
	cases := []struct{ name, bytes, words string }{
		{"a number twice", video(100, 1000) + video(100, 1000), "comes twice"},
		{"a number that goes back", video(100, 1000) + video(99, 1000), "goes back"},
		{"before the first", video(99, 1000), "goes back"},
		{"too far", video(101+maxStep, 1000), "jumps by"},
		{"a time that goes back", video(100, 999-maxBack), "the time jumps by -"},
		{"a time too far ahead", video(100, 1001+maxAhead), "the time jumps by"},
		{"another number than was told", said(control{far: true, epoch: 1, number: 300}) + video(301, 1000), "another number"},
		{"told to go back", said(control{far: true, epoch: 1, number: 50}) + video(50, 1000), "goes back"},
		{"an epoch that goes back", said(control{far: true, epoch: 0, number: 300}) + video(300, 1000), "the epoch goes back"},
		{"a tag of no type", tagOf(1, 100, 1000, nil), "tag type 1"},
		{"an encrypted tag", tagOf(flv.TypeVideo|0x20, 100, 1000, nil), "tag type"},
		{"another size behind it", strings.TrimSuffix(video(100, 1000), "\x0c") + "\x0d", "should stand"},
		{"a large control tag", object(amf.Property{Name: "x", Value: strings.Repeat("x", maxControl)}), "control tag of"},
		{"a control tag without an object", tagOf(flv.TypeScript, 0, 0, named), "no sense"},
		{"more behind the object", tagOf(flv.TypeScript, 0, 0, append(control{}.append(nil), 5)), "no sense"},
		{"no reason", object(amf.Property{Name: "end", Value: "none"}), "no sense"},
		{"a reason of no words", object(amf.Property{Name: "end", Value: true}), "no sense"},
		{"an unknown reason", object(amf.Property{Name: "end", Value: "tired"}), "no sense"},
		{"no flag", object(amf.Property{Name: "header", Value: 1.0}), "no sense"},
		{"no number", object(amf.Property{Name: "lost", Value: 1.0}), "no sense"},
		{"a negative number", object(amf.Property{Name: "lost", Value: "-1"}), "no sense"},
		{"an epoch alone", object(amf.Property{Name: "epoch", Value: "1"}), "no sense"},
		{"a number alone", object(amf.Property{Name: "number", Value: "101"}), "no sense"},
		{"an end", video(100, 1000), "broke off"},
		{"an end in a tag", video(100, 1000)[:14], "broke off"},
		{"an end behind what is about a tag", said(control{first: true}), "broke off"},
	}
	for _, c := range cases {
		for _, r := range []io.Reader{strings.NewReader(c.bytes), iotest.OneByteReader(strings.NewReader(c.bytes))} {
			s := stream(r)
			err := readEnd(s)
			assert.ErrorContains(t, err, c.words, c.name)
			if c.words == "broke off" {
				assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
			} else {
				assert.ErrorIs(t, err, ErrProtocol, c.name)
			}
			_, again := s.Next()
			assert.Equal(t, err, again)
		}
	}
	s := stream(strings.NewReader(object(amf.Property{Name: "later", Value: amf.Object{}}) + video(100, 1000)))
	it, err := s.Next()
	require.NoError(t, err, "what is not known is passed over")
	assert.Equal(t, packet(at(100), 1000, "x"), it)
}

// Memory is taken as bytes come, and given back.
func TestMemoryOfTags(t *testing.T) {
	promise := string(appendHead(nil, flv.TypeVideo, flv.MaxTagSize, 1000, 100))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 100 {
		assert.ErrorIs(t, readEnd(stream(strings.NewReader(promise))), io.ErrUnexpectedEOF)
	}
	runtime.ReadMemStats(&after)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(10<<20))

	whole := tagOf(flv.TypeVideo, 100, 1000, make([]byte, flv.MaxTagSize)) + tagOf(flv.TypeVideo, 101, 1000, make([]byte, 5000)) +
		tagOf(flv.TypeAudio, 102, 1000, []byte("x"))
	s := stream(strings.NewReader(whole))
	for _, size := range []int{flv.MaxTagSize, 5000, 1} {
		it, err := s.Next()
		require.NoError(t, err)
		assert.Len(t, it.Tag.Data, size)
	}
	assert.LessOrEqual(t, len(s.in.buf), maxSmall)
	assert.Nil(t, s.in.lent)
}

// A stream that its server cannot express is broken off, and said in its log.
func TestOutflowThatMakesNoSense(t *testing.T) {
	for name, bad := range map[string]cluster.Item{
		"back":          packet(at(1), 0, "x"),
		"another life":  packet(cluster.Position{Incarnation: asker, Epoch: 1, Number: 9}, 0, "x"),
		"a large jump":  packet(at(9), maxAhead+1, "x"),
		"a large tag":   {Tag: flv.Tag{Type: flv.TypeVideo, Data: make([]byte, flv.MaxTagSize+1)}, At: at(9)},
		"another epoch": packet(cluster.Position{Incarnation: incarnation, Epoch: 0, Number: 9}, 0, "x"),
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, serveLog(t, newLog(packet(at(7), 0, "x"), packet(at(8), 0, "y"), bad)), nil)
			read(t, s, 2)
			assert.ErrorIs(t, readEnd(s), io.ErrUnexpectedEOF)
		})
	}
}

// What an item without a tag and a position says, it says of the place where it stands.
func TestItemWithoutPosition(t *testing.T) {
	s := open(t, serveLog(t, newLog(packet(at(7), 50, "x"), cluster.Item{Lost: 3}, packet(at(12), 60, "y"))), nil)
	items := read(t, s, 3)
	assert.Equal(t, cluster.Item{At: at(7), Time: 50, Lost: 3}, items[1])
	assert.Equal(t, packet(at(12), 60, "y"), items[2])
}

// Close ends what waits for the stream, whoever calls it.
func TestCloseEndsNext(t *testing.T) {
	s := open(t, serveLog(t, newLog(packet(at(1), 0, "x"))), nil)
	read(t, s, 1)
	ended := make(chan error)
	go func() { ended <- readEnd(s) }()
	s.Close()
	assert.ErrorIs(t, <-ended, net.ErrClosed)
}

// When a server closes, its copies break: the stream is not over.
func TestServerCloses(t *testing.T) {
	s := NewServer(Config{Streams: newLog(packet(at(1), 0, "x")), Secret: secret, Node: boot}, nil)
	address := serve(t, s)
	source := open(t, address, nil)
	read(t, source, 1)
	assert.Equal(t, Figures{Copies: 1, Begun: 1}, s.Figures())
	require.NoError(t, s.Close())
	var ended *cluster.Ended
	err := readEnd(source)
	assert.NotErrorAs(t, err, &ended)
	figures := s.Figures()
	assert.NotZero(t, figures.Bytes)
	assert.Zero(t, figures.Copies)
	_, err = opener().Open(t.Context(), cluster.Opening{Address: address, Boot: boot, Key: demo})
	assert.Error(t, err)
}

func FuzzSource(f *testing.F) {
	var b bytes.Buffer
	sent := &sender{nc: writer{&b}, place: begin(cluster.Start{At: at(7), Time: -20})}
	require.NoError(f, sent.items(everything()[:17]))
	require.NoError(f, sent.say(control{ping: true}))
	require.NoError(f, sent.say(control{end: hub.ReasonUnpublished}))
	f.Add(b.Bytes(), uint64(7), int64(-20))
	f.Add([]byte(tagOf(flv.TypeVideo, 100, 1000, []byte("x"))), uint64(100), int64(1000))
	f.Add([]byte(said(control{alone: true, lost: 1})), uint64(0), int64(0))
	f.Add([]byte(said(control{far: true, epoch: 3, number: 1 << 63})+tagOf(flv.TypeAudio, 0, -1, nil)), uint64(1), int64(maxTime))
	f.Fuzz(func(t *testing.T, data []byte, number uint64, ms int64) {
		if ms > maxTime || ms < -maxTime {
			return
		}
		start := cluster.Start{At: at(number), Time: ms}
		follow := func(r io.Reader) (said string, size int) {
			s := stream(r)
			s.place = begin(start)
			last, again := start.At, true
			for {
				it, err := s.Next()
				if err != nil {
					return said + err.Error(), size
				}
				require.GreaterOrEqual(t, it.At.Epoch, last.Epoch)
				require.GreaterOrEqual(t, it.At.Number, last.Number)
				require.True(t, again || it.At.Number > last.Number || it.Tag.Type == 0)
				again = it.Header || it.Tag.Type == 0 && (again || it.At.Number > last.Number)
				last = it.At
				size += len(it.Tag.Data)
				said += fmt.Sprintf("%v\n", it)
			}
		}
		whole, size := follow(bytes.NewReader(data))
		assert.LessOrEqual(t, size, len(data))
		slowly, _ := follow(iotest.OneByteReader(bytes.NewReader(data)))
		assert.Equal(t, whole, slowly)
	})
}

// writer is a connection that is written to.
type writer struct{ io.Writer }

func (writer) Read([]byte) (int, error)         { return 0, os.ErrDeadlineExceeded }
func (writer) Close() error                     { return nil }
func (writer) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (writer) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (writer) SetDeadline(time.Time) error      { return nil }
func (writer) SetReadDeadline(time.Time) error  { return nil }
func (writer) SetWriteDeadline(time.Time) error { return nil }

// Whatever answers comes to an end, the same however it comes.
func FuzzAnswer(f *testing.F) {
	p := signed(time.Unix(1e9, 0))
	f.Add([]byte(headOf(p, cluster.Start{At: at(5), Tracks: true, Audio: true})))
	f.Add([]byte("HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		open := func(r io.Reader) string {
			o := opener()
			o.Dial = func(context.Context, string, string) (net.Conn, error) { return replay{r}, nil }
			_, err := o.Open(t.Context(), cluster.Opening{Address: "h:1", Boot: boot, Key: demo})
			require.Error(t, err, "it cannot be of this request")
			return err.Error()
		}
		assert.Equal(t, open(bytes.NewReader(answer)), open(iotest.OneByteReader(bytes.NewReader(answer))))
	})
}
