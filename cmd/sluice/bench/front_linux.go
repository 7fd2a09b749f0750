package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// front is nginx in front of a server: it ends TLS, and passes on in clear.
type front struct {
	cmd   *exec.Cmd
	hosts hosts // encrypted, its own; plain, the server's
	pids  []int // of its master and its workers
	ended chan struct{}
	err   error // once ended
}

// Bounds of nginx.
const (
	frontStart = 10 * time.Second
	frontGrace = 5 * time.Second
	frontLook  = 20 * time.Millisecond
	// frontConnections are those of a worker; each viewer is two of them.
	frontConnections = 16384
	frontBacklog     = 4096
	frontSays        = 4 << 10 // bytes of its log that an error repeats
)

// frontConfig is its configuration, as cmd/sluice/proxied/README.md has it: after %[1]s for what
// depends on the system, certificate, key, and the addresses of https and http, rtmps and rtmp.
const frontConfig = `%[1]sdaemon off;
events { worker_connections %[8]d; }
http {
    access_log off;
    map $http_upgrade $sluice_connection {
        default upgrade;
        ''      '';
    }
    upstream sluice {
        server %[5]s;
        keepalive 16;
    }
    server {
        listen %[4]s ssl backlog=%[9]d;
        ssl_certificate     %[2]s;
        ssl_certificate_key %[3]s;
        location / {
            proxy_pass http://sluice;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $sluice_connection;
            proxy_buffering off;
            proxy_read_timeout 60s;
        }
    }
}
stream {
    server {
        listen %[6]s ssl backlog=%[9]d;
        ssl_certificate     %[2]s;
        ssl_certificate_key %[3]s;
        proxy_pass %[7]s;
    }
}
`

// frontModule is what Debian's nginx needs for its stream block.
const frontModule = "/usr/lib/nginx/modules/ngx_stream_module.so"

// startFront starts an nginx in front of a server, with files of its own in dir; close it.
func startFront(ctx context.Context, program, dir string, files certificateFiles, of hosts) (*front, error) {
	path, err := findFront(program)
	if err != nil {
		return nil, err
	}
	f := &front{hosts: of, ended: make(chan struct{})}
	var inherited []*os.File
	for _, at := range []*string{&f.hosts.http[1], &f.hosts.rtmp[1]} {
		file, address, err := listenFor()
		if err != nil {
			return nil, err
		}
		defer file.Close()
		inherited, *at = append(inherited, file), address
	}
	workers := runtime.NumCPU()
	conf, said := filepath.Join(dir, "nginx.conf"), filepath.Join(dir, "nginx.log")
	text := fmt.Sprintf(frontConfig, frontSystem(dir, workers), files.cert, files.key,
		f.hosts.http[1], f.hosts.http[0], f.hosts.rtmp[1], f.hosts.rtmp[0], frontConnections, frontBacklog)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, err
	}
	f.cmd = exec.CommandContext(ctx, path, "-p", dir, "-e", said, "-c", conf)
	f.cmd.Cancel = func() error { return f.cmd.Process.Signal(syscall.SIGTERM) }
	f.cmd.WaitDelay = frontGrace
	f.cmd.Env, f.cmd.ExtraFiles = append(os.Environ(), "NGINX=3;4;"), inherited
	if err := f.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		f.err = f.cmd.Wait()
		close(f.ended)
	}()
	for _, file := range inherited {
		// It was made blocking on its way: of two workers that are woken for one connection, the
		// second would wait for the next.
		if err := unix.SetNonblock(int(file.Fd()), true); err != nil {
			return nil, errors.Join(err, f.close())
		}
	}
	if err := f.ready(ctx, workers); err != nil {
		text, _ := os.ReadFile(said)
		return nil, errors.Join(fmt.Errorf("nginx: %w: %s", err, text[:min(len(text), frontSays)]), f.close())
	}
	return f, nil
}

// findFront returns the path of nginx, which Debian has where not everybody looks.
func findFront(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err != nil && !strings.Contains(program, "/") {
		path, err = exec.LookPath("/usr/sbin/" + program)
	}
	return path, err
}

// listenFor returns a port of loopback that another program is to listen on.
func listenFor() (f *os.File, address string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	defer l.Close()
	f, err = l.(*net.TCPListener).File()
	return f, l.Addr().String(), err
}

// frontSystem is the part of nginx's configuration that depends on the system.
func frontSystem(dir string, workers int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "worker_processes %d;\npid %s/nginx.pid;\nerror_log %s/nginx.log crit;\n", workers, dir, dir)
	if os.Getuid() == 0 {
		b.WriteString("user root;\n") // who may read what is in dir
	}
	if _, err := os.Stat(frontModule); err == nil {
		fmt.Fprintf(&b, "load_module %s;\n", frontModule)
	}
	return b.String()
}

// ready waits until all workers are there.
func (f *front) ready(ctx context.Context, workers int) error {
	for end := time.Now().Add(frontStart); time.Now().Before(end); {
		select {
		case <-f.ended:
			return fmt.Errorf("it ended: %w", f.err)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(frontLook):
		}
		children, err := childrenOf(f.cmd.Process.Pid)
		if err != nil {
			return err
		}
		if len(children) == workers {
			f.pids = append([]int{f.cmd.Process.Pid}, children...)
			return nil
		}
	}
	return errors.New("its workers are not there in time")
}

// childrenOf returns the processes that a process has started and that still run.
func childrenOf(pid int) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var children []int
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		// The parent is field 4, the second after the name (proc_pid_stat(5)).
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) > 1 && string(fields[1]) == strconv.Itoa(pid) {
			children = append(children, child)
		}
	}
	return children, nil
}

// close ends it and waits.
func (f *front) close() error {
	f.cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(frontGrace, func() { f.cmd.Process.Kill() })
	defer kill.Stop()
	<-f.ended
	if f.err != nil {
		return fmt.Errorf("nginx: %w", f.err)
	}
	return nil
}
