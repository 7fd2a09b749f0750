package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"strings"
)

// fileSuffix ends the name of the variable that says in which file a secret stands.
const fileSuffix = "_FILE"

// maxSecretFile bounds a file of secrets, in bytes.
const maxSecretFile = 1 << 20

// readSecretFiles puts what stands in the files of secrets into values, under the names of the
// secrets. Whoever changes such a file has it read again by SIGHUP.
func readSecretFiles(values map[string]string, vars []variable) (problems []error) {
	for _, v := range vars {
		path := values[v.Name+fileSuffix]
		switch {
		case !v.secret || path == "":
			continue
		case values[v.Name] != "":
			problems = append(problems, fmt.Errorf("%s and %s%s are both set", v.Name, v.Name, fileSuffix))
			continue
		}
		text, err := readSecretFile(path)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s%s=%q: %w", v.Name, fileSuffix, path, err))
			continue
		}
		values[v.Name] = text
	}
	return problems
}

// readSecretFile reads a file, without the white space at its end.
func readSecretFile(path string) (string, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return "", fmt.Errorf("is not a file") // to open a named pipe would wait for who writes it
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("cannot be read: %w", unwrapPath(err))
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("cannot be read: %w", unwrapPath(err))
	case len(text) > maxSecretFile:
		return "", fmt.Errorf("is larger than %d bytes", maxSecretFile)
	case strings.TrimSpace(string(text)) == "":
		return "", fmt.Errorf("is empty")
	}
	return strings.TrimRight(string(text), " \t\r\n"), nil
}

// unwrapPath leaves the path out of an error that is told with it.
func unwrapPath(err error) error {
	if p, ok := err.(*os.PathError); ok {
		return p.Err
	}
	return err
}

// isSecret reports whether a field of config holds secrets.
func isSecret(t reflect.Type) bool { return t == reflect.TypeFor[secret]() }

// isLoopback reports whether a listener on host can be reached from this machine only.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func joinWords(w words) string { return strings.Join(w, " ") }
