package exectest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// Find returns the path of a program for tests, such as "etcd": the value of $ETCD, or else
// the newest one below the project's .tools, where "make etcd" installs it.
func Find(name string) (string, error) {
	variable := strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
	if path := os.Getenv(variable); path != "" {
		return path, nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find %s: %w", name, err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if found, _ := filepath.Glob(filepath.Join(dir, ".tools", name+"-*", name)); len(found) > 0 {
			return found[len(found)-1], nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no %[1]s here: run `make %[1]s`, or set %[2]s=/path/to/%[1]s", name, variable)
		}
	}
}

// FreeAddress returns a loopback address that is free now, with a port below those that
// systems assign to outgoing connections: a program that is restarted finds it free.
func FreeAddress() (string, error) {
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 12000+rand.IntN(20000))
		if l, err := net.Listen("tcp", address); err == nil {
			return address, l.Close()
		}
	}
	return "", errors.New("no free port")
}
