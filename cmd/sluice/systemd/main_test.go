package systemd

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"go.uber.org/goleak"
)

// asChild makes the test binary a program that was started with sockets.
const asChild = "GO_TEST_AS_CHILD"

// TestMain is such a program, or runs the tests and fails the package if goroutines are left
// when they have ended.
func TestMain(m *testing.M) {
	if os.Getenv(asChild) != "" {
		child()
		return
	}
	goleak.VerifyTestMain(m)
}

// child says which sockets it has, which names them to whom connects, and what a program
// that it starts inherits.
func child() {
	sockets, err := Sockets(os.Environ(), "rtmp", "http")
	Forget()
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for _, s := range sockets {
		fmt.Println("socket", s.Name, s.Listener.Addr())
	}
	out, err := exec.Command("sh", "-c", `echo "inherited $(ls -l /proc/$$/fd 2>/dev/null | grep -c socket:) ${LISTEN_FDS-}${LISTEN_PID-}${LISTEN_FDNAMES-}${NOTIFY_SOCKET-}"`).Output()
	fmt.Print(string(out))
	if err != nil {
		os.Exit(1)
	}
	for _, s := range sockets {
		c, err := s.Listener.Accept()
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Fprintln(c, s.Name)
		c.Close()
	}
}
