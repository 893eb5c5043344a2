package docs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a command's output may take to be what is shown, and
// how long a command may run: some compile.
const patience = 5 * time.Minute

// session is a shell in a folder like a fresh clone.
type session struct {
	t      *testing.T
	stdin  io.Writer
	codes  *bufio.Reader // the shell writes each command's exit code there
	home   string        // the user's folder
	output string        // the file that a command prints to
	there  *strings.Replacer
	back   *strings.Replacer
}

// ports are those that the documents use. In a session they are others, which
// are free here.
var ports = []string{"8080", "8081", "8443", "9000", "9001", "9002", "9901", "9902", "18000", "18001", "18002", "19000", "18010", "18011", "18012", "19010", "2379", "2380"}

func newSession(t *testing.T, root, tools string, free *freePorts) *session {
	t.Helper()
	dir := t.TempDir()
	clone := filepath.Join(dir, "wasmxds")
	s := &session{t: t, home: dir, output: filepath.Join(dir, "output")}
	s.choosePorts(free)
	must(t, s.copyTree(root, clone))
	must(t, os.CopyFS(filepath.Join(clone, "bin", "filters"), os.DirFS(filepath.Join(tools, "filters"))))

	codes, codesIn, err := os.Pipe()
	must(t, err)
	shell := exec.Command("bash", "--noprofile", "--norc")
	shell.Dir = clone
	shell.ExtraFiles = []*os.File{codesIn}                                          // 3
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}                         // what it starts ends with it
	shell.Env = append(os.Environ(), "HOME="+dir, "KUBECONFIG=", "XDG_STATE_HOME=", // where serve keeps its data
		"GOPATH="+goEnv(t, "GOPATH"), "GOCACHE="+goEnv(t, "GOCACHE"),
		"PATH="+tools+":"+os.Getenv("PATH"), "TERM=dumb", "MAKEFLAGS=", "MAKELEVEL=",
		"ENVOY="+filepath.Join(tools, bareEnvoy),
		// The defaults, at this session's ports.
		"XDS_SERVER_XDS_LISTEN="+s.there.Replace("127.0.0.1:18000"),
		"XDS_SERVER_XDS_ADDRESS="+s.there.Replace("127.0.0.1:18000"),
		"XDS_SERVER_MODULES_LISTEN="+s.there.Replace("127.0.0.1:18001"),
		"XDS_SERVER_PEER_LISTEN="+s.there.Replace("127.0.0.1:18002"),
		"XDS_SERVER_ADMIN_LISTEN="+s.there.Replace("127.0.0.1:19000"),
		"XDS_SERVER_ADMIN="+s.there.Replace("http://127.0.0.1:19000"),
		"XDS_SERVER_ADMIN_ADDRESS="+s.there.Replace("127.0.0.1:9901"))
	s.stdin, err = shell.StdinPipe()
	must(t, err)
	must(t, shell.Start())
	must(t, codesIn.Close())
	s.codes = bufio.NewReader(codes)
	t.Cleanup(func() {
		group := -shell.Process.Pid
		_ = syscall.Kill(group, syscall.SIGTERM) // the group is gone where all have ended
		ended := time.AfterFunc(10*time.Second, func() { _ = syscall.Kill(group, syscall.SIGKILL) })
		_ = shell.Wait() // it was told to end
		// What has ended is still of the group where nobody asks for its exit code.
		for end := time.Now().Add(15 * time.Second); syscall.Kill(group, 0) == nil && time.Now().Before(end); {
			time.Sleep(10 * time.Millisecond)
		}
		ended.Stop()
		codes.Close()
	})
	return s
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	must(t, err)
	return strings.TrimSpace(string(out))
}

// choosePorts finds a free port for each of the documents'.
func (s *session) choosePorts(free *freePorts) {
	var there, back []string
	for _, port := range ports {
		ours := free.next(s.t)
		there = append(there, ":"+port, ":"+ours, "port_value: "+port, "port_value: "+ours)
		back = append(back, ":"+ours, ":"+port)
	}
	s.there, s.back = strings.NewReplacer(there...), strings.NewReplacer(back...)
}

// freePorts gives each port to one session alone: they run at the same time, and listen
// when they come to that. All are below those that systems give to connections: one of
// these would be in the way some day.
type freePorts struct {
	mu    sync.Mutex
	given map[int]bool
}

func (f *freePorts) next(t *testing.T) string {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for range 100 {
		port := 12000 + rand.IntN(20000)
		if f.given[port] {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			f.given[port] = true
			must(t, l.Close())
			return strconv.Itoa(port)
		}
	}
	t.Fatal("no free port")
	return ""
}

// copyTree copies the project without what is built or fetched; the examples
// get the session's ports.
func (s *session) copyTree(root, to string) error {
	skipped := []string{".git", ".tools", ".demo", "bin", "dist", "bench/out", "examples/rust/target", "examples/rust/vendor"}
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // another test's file
		} else if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		copied := filepath.Join(to, name)
		switch {
		case d.IsDir() && slices.Contains(skipped, filepath.ToSlash(name)):
			return fs.SkipDir
		case d.IsDir():
			return os.MkdirAll(copied, 0o755)
		case !d.Type().IsRegular():
			return nil
		}
		content, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		if strings.HasPrefix(name, "examples") {
			content = []byte(s.there.Replace(string(content)))
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return os.WriteFile(copied, content, info.Mode().Perm())
	})
}

// run runs a command; one whose output is shown, until that comes.
func (s *session) run(c command) error {
	deadline := time.Now().Add(patience)
	for {
		code, out, err := s.once(c)
		switch {
		case err != nil:
			return fmt.Errorf("%s\n%w\n%s", c.text, err, out)
		case !c.shows && code != "0":
			return fmt.Errorf("%s\nended with code %s:\n%s", c.text, code, out)
		case !c.shows || c.match.MatchString(out):
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("%s\nprinted\n%s\nnot\n%s", c.text, out, c.want)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// once runs a command and returns its exit code and what it printed.
func (s *session) once(c command) (code, out string, err error) {
	stop := "-e" // a block of several commands ends at the first that fails, and the shell with it
	if c.match != nil {
		stop = "+e"
	}
	if _, err := fmt.Fprintf(s.stdin, "set %s\n{\n%s\n} >'%s' 2>&1 </dev/null 3>&-\necho $? >&3\n", stop, s.there.Replace(c.text), s.output); err != nil {
		return "", "", err
	}
	type answer struct {
		line string
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		line, err := s.codes.ReadString('\n')
		answers <- answer{line, err}
	}()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	select {
	case a := <-answers:
		code, err = strings.TrimSpace(a.line), a.err
	case <-ctx.Done():
		err = fmt.Errorf("it did not end: %w", ctx.Err())
	}
	if errors.Is(err, io.EOF) {
		code, err = "other than 0", nil
	}
	text, readErr := os.ReadFile(s.output)
	return code, s.back.Replace(strings.ReplaceAll(string(text), "\r\n", "\n")), errors.Join(err, readErr)
}

// curl is what the documents need of curl, for machines without it: GET, -s
// and -i.
func curl(args []string) int {
	var head bool
	for _, arg := range args {
		switch arg {
		case "-s":
		case "-i", "-si":
			head = true
		default:
			if !strings.Contains(arg, "://") {
				arg = "http://" + arg
			}
			resp, err := http.Get(arg)
			if err != nil {
				return 7
			}
			defer resp.Body.Close()
			if head {
				fmt.Printf("%s %s\r\n", resp.Proto, resp.Status)
				_ = resp.Header.Write(os.Stdout)
				fmt.Print("\r\n")
			}
			_, _ = io.Copy(os.Stdout, resp.Body)
		}
	}
	return 0
}
