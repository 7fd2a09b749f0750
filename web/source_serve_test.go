package web

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"net"
	"net/http"
	"strconv"
	"time"
)

func (s *source) serve(w http.ResponseWriter, r *http.Request) {
	s.wg.Add(1)
	defer s.wg.Done()
	over := "http"
	if r.Header.Get("Upgrade") != "" {
		over = "ws"
	}
	s.mu.Lock()
	s.served[over]++
	s.asked = r.URL.RawQuery
	s.viewers++
	s.joined = append(s.joined, time.Now())
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.viewers--
	}()
	live, kill, refuse, reason := s.live, s.kill, s.refuse, s.reason
	blocked := s.proxy && over == "ws"
	s.mu.Unlock()
	if blocked {
		http.Error(w, "what is this?", http.StatusBadGateway)
		return
	}
	if over == "http" {
		s.serveHTTP(w, r, live, kill, refuse, reason)
		return
	}

	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	gone := make(chan struct{})
	go func() { // a browser says nothing but good-bye
		defer close(gone)
		conn.Read(make([]byte, 1))
	}()
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n")
	rw.Flush()
	if refuse != 0 {
		closeWith(rw.Writer, conn, refuse, reason, gone)
		return
	}
	select {
	case <-live:
	case <-kill:
		conn.Close()
		<-gone
		return
	case <-time.After(500 * time.Millisecond): // SLUICE_VIEWER_WAIT, only shorter
		closeWith(rw.Writer, conn, 4404, "no publisher", gone)
		return
	case <-gone:
		return
	}
	err = s.play(r, kill, gone, func(b []byte) error {
		rw.Write(frame(2, b))
		return rw.Flush()
	})
	s.mu.Lock()
	code, reason := s.code, s.reason
	s.mu.Unlock()
	if err == nil && code != abrupt {
		closeWith(rw.Writer, conn, code, reason, gone)
	}
	conn.Close()
	<-gone
}

func (s *source) serveHTTP(w http.ResponseWriter, r *http.Request, live, kill chan struct{}, refuse uint16, reason string) {
	deny := func(status int, reason string) {
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(map[string]string{"error": "refused", "reason": reason})
	}
	if refuse != 0 {
		deny(int(refuse-4000), reason)
		return
	}
	select {
	case <-live:
	case <-time.After(500 * time.Millisecond):
		deny(404, "no publisher")
		return
	case <-kill:
		panic(http.ErrAbortHandler)
	case <-r.Context().Done():
		return
	}
	w.Header().Set("Content-Type", "video/x-flv")
	err := s.play(r, kill, r.Context().Done(), func(b []byte) error {
		w.Write(b)
		return http.NewResponseController(w).Flush()
	})
	s.mu.Lock()
	code := s.code
	s.mu.Unlock()
	if err == nil && code == abrupt {
		panic(http.ErrAbortHandler)
	}
}

// lookBack is how long ago a viewer wants to begin, in ms.
func lookBack(r *http.Request) int {
	seconds, _ := strconv.ParseFloat(r.URL.Query().Get("back"), 64)
	return int(seconds * 1000)
}

// frame is a whole unmasked WebSocket message (RFC 6455 §5.2).
func frame(opcode byte, payload []byte) []byte {
	b := []byte{0x80 | opcode}
	switch n := len(payload); {
	case n < 126:
		b = append(b, byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	return append(b, payload...)
}

// closeWith sends a close frame and waits a moment for the browser's.
func closeWith(w *bufio.Writer, conn net.Conn, code uint16, reason string, gone <-chan struct{}) {
	w.Write(frame(8, append(binary.BigEndian.AppendUint16(nil, code), reason...)))
	w.Flush()
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.CloseWrite()
	}
	select {
	case <-gone:
	case <-time.After(time.Second):
		conn.Close()
		<-gone
	}
}
