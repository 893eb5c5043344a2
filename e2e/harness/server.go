package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"wasmxds/exectest"
)

// BuildServer builds xds-server into dir and returns the program's path.
func BuildServer(ctx context.Context, root, dir string) (string, error) {
	path := filepath.Join(dir, "xds-server")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, "./cmd/xds-server")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build xds-server: %w\n%s", err, out)
	}
	return path, nil
}

// ServerConfig says how to start xds-server.
type ServerConfig struct {
	Program     string
	Dir         string // for its log and other files
	Definitions string
	Data        string
	Args        []string // further flags of serve
}

// Server is a running xds-server.
type Server struct {
	config ServerConfig
	proc   *exectest.Process

	read      int64 // of the log, by Published
	published int

	Addresses Addresses
}

// Addresses are what xds-server listens on, host:port.
type Addresses struct {
	XDS     string `json:"xds"`
	Modules string `json:"modules"`
	Admin   string `json:"admin"`
	Peer    string `json:"peer"`
}

// StartServer returns once xds-server listens.
func StartServer(ctx context.Context, config ServerConfig) (*Server, error) {
	if err := os.MkdirAll(config.Dir, 0o755); err != nil {
		return nil, err
	}
	any := "127.0.0.1:0"
	s := &Server{config: config, Addresses: Addresses{XDS: any, Modules: any, Admin: any, Peer: any}}
	return s, s.Start(ctx)
}

// Start starts a server again that was killed, at the addresses it had.
func (s *Server) Start(ctx context.Context) error {
	if err := s.launch(ctx); err != nil {
		return err
	}
	return s.listens(ctx)
}

// addressesFile is where a server writes its addresses once it listens.
func (s *Server) addressesFile() string { return filepath.Join(s.config.Dir, "addresses.json") }

// launch starts the process.
func (s *Server) launch(ctx context.Context) error {
	file := s.addressesFile()
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	args := append([]string{"serve",
		"--definitions", s.config.Definitions, "--data", s.config.Data,
		"--xds-listen", s.Addresses.XDS, "--modules-listen", s.Addresses.Modules,
		"--admin-listen", s.Addresses.Admin, "--peer-listen", s.Addresses.Peer, "--addresses-file", file, "--check-invariants"}, s.config.Args...)
	var err error
	s.proc, err = exectest.Start(exec.CommandContext(ctx, s.config.Program, args...), s.Log())
	return err
}

// listens waits until the server does.
func (s *Server) listens(ctx context.Context) error {
	err := Poll(ctx, time.Minute, func() error {
		if err := s.proc.Running(); err != nil {
			return err
		}
		b, err := os.ReadFile(s.addressesFile())
		if err != nil {
			return err
		}
		return json.Unmarshal(b, &s.Addresses)
	})
	if err != nil {
		s.Kill()
	}
	return err
}

// Kill ends the server at once, as kill -9 does.
func (s *Server) Kill() { s.proc.Kill() }

// Stop ends the server as a service manager does.
func (s *Server) Stop() error { return s.proc.Stop(time.Minute) }

// PID is the process's number.
func (s *Server) PID() int { return s.proc.PID() }

// Running is nil while the process runs; after that it has the end of the log.
func (s *Server) Running() error { return s.proc.Running() }

// Log is the file that the server's output goes to.
func (s *Server) Log() string { return filepath.Join(s.config.Dir, "xds-server.log") }

// Broken is nil where no response broke an invariant of the swap; else it has
// the lines of the log that say so.
func (s *Server) Broken() error {
	b, err := os.ReadFile(s.Log())
	if err != nil {
		return err
	}
	var lines []string
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, "a response breaks an invariant") {
			lines = append(lines, line)
		}
	}
	if len(lines) > 0 {
		return errors.New(strings.Join(lines, ""))
	}
	return nil
}

// Published is how many sets the server has published since it was first
// started, by its log. Not safe for concurrent use.
func (s *Server) Published() (int, error) {
	log, err := os.Open(s.Log())
	if err != nil {
		return 0, err
	}
	defer log.Close()
	more, err := io.ReadAll(io.NewSectionReader(log, s.read, math.MaxInt64-s.read))
	if err != nil {
		return 0, err
	}
	lines := more[:bytes.LastIndexByte(more, '\n')+1]
	s.read += int64(len(lines))
	s.published += bytes.Count(lines, []byte(" msg=published "))
	return s.published, nil
}

// Run runs another command of xds-server and returns its standard output.
func (s *Server) Run(ctx context.Context, args ...string) ([]byte, error) {
	out, err := exec.CommandContext(ctx, s.config.Program, args...).Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return out, fmt.Errorf("xds-server %s: %w\n%s", args[0], err, exit.Stderr)
	}
	return out, err
}

// Bootstrap gives what `xds-server bootstrap` writes for an Envoy of this
// server. Later args win over the ones given here.
func (s *Server) Bootstrap(ctx context.Context, id string, args ...string) ([]byte, error) {
	return s.Run(ctx, append([]string{"bootstrap", "--node-id", id,
		"--xds-address", s.Addresses.XDS, "--admin-address", "127.0.0.1:0"}, args...)...)
}

// Status is the part of /api/v1/status that tests look at.
type Status struct {
	Definitions struct {
		Loaded int `json:"loaded"`
		Errors []struct {
			File    string `json:"file"`
			Line    int    `json:"line"`
			Message string `json:"message"`
		} `json:"errors"`
		Warnings []struct {
			File    string `json:"file"`
			Message string `json:"message"`
		} `json:"warnings"`
		Withheld []struct {
			Listener string `json:"listener"`
		} `json:"withheld"`
	} `json:"definitions"`
	Filters []struct {
		Name    string `json:"name"`
		SHA256  string `json:"sha256"`
		Version string `json:"version"`
		Nodes   int    `json:"nodes"`
		Running int    `json:"running"`
		Pending int    `json:"pending"`
		Failed  int    `json:"failed"`
		State   string `json:"state"`
		Reason  string `json:"reason"`

		VariantOf string `json:"variantOf"`

		Signer   string   `json:"signer"`
		Allow    []string `json:"allow"`
		Computed bool     `json:"computed"`
	} `json:"filters"`
	Nodes    []NodeStatus `json:"nodes"`
	Replicas []Replica    `json:"replicas"`
	Envoys   struct {
		Connected int `json:"connected"`
		Behind    int `json:"behind"`
		Awaited   int `json:"awaited"`
	} `json:"envoys"`
}

// Replica is a server in a [Status].
type Replica struct {
	ID      string `json:"id"`
	Self    bool   `json:"self"`
	Lives   bool   `json:"lives"`
	Stand   string `json:"stand"`
	Trouble string `json:"trouble"`
}

// NodeStatus is an Envoy in a [Status].
type NodeStatus struct {
	ID        string         `json:"id"`
	Cluster   string         `json:"cluster"`
	AwaySince time.Time      `json:"awaySince"` // zero: it is connected
	Filters   []FilterStatus `json:"filters"`
	Listeners []struct {
		Name     string    `json:"name"`
		Running  string    `json:"running"`
		Reason   string    `json:"reason"`
		Draining *Draining `json:"draining"`
	} `json:"listeners"`
}

// FilterStatus is a filter of an Envoy.
type FilterStatus struct {
	Name    string    `json:"name"`
	Wanted  string    `json:"wanted"`
	Running string    `json:"running"`
	State   string    `json:"state"`
	Reason  string    `json:"reason"`
	Since   time.Time `json:"since"`

	Draining *Draining `json:"draining"`
	Crashes  *struct {
		Count    int       `json:"count"`
		Replaced time.Time `json:"replaced"`
		WentBack bool      `json:"wentBack"`
	} `json:"crashes"`
}

// Draining is that connections go on with a listener that was replaced.
type Draining struct {
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
}

// Get reads a path of the admin address.
func (s *Server) Get(ctx context.Context, path string) ([]byte, error) {
	return get(ctx, "http://"+s.Addresses.Admin+path)
}

// Status asks the server for its status, with up to a thousand Envoys.
func (s *Server) Status(ctx context.Context) (*Status, error) {
	body, err := s.Get(ctx, "/api/v1/status?limit=1000")
	if err != nil {
		return nil, err
	}
	status := &Status{}
	if err := json.Unmarshal(body, status); err != nil {
		return nil, fmt.Errorf("read the status: %w", err)
	}
	return status, nil
}

// Filter finds a filter of an Envoy.
func (s *Status) Filter(node, name string) (FilterStatus, error) {
	for _, n := range s.Nodes {
		if n.ID != node {
			continue
		}
		for _, f := range n.Filters {
			if f.Name == name {
				return f, nil
			}
		}
	}
	return FilterStatus{}, fmt.Errorf("the status has no filter %q of node %q", name, node)
}

// Done is nil where all Envoys run all that is wanted, as status --wait has it.
func (s *Status) Done() error {
	e := s.Envoys
	if e.Connected == 0 || e.Behind > 0 || e.Awaited > 0 || len(s.Definitions.Errors) > 0 {
		return fmt.Errorf("Envoys: %+v, errors: %v", e, s.Definitions.Errors)
	}
	for _, f := range s.Filters {
		if f.State != "good" || f.Running != f.Nodes {
			return fmt.Errorf("filter %s: module %s, runs on %d of %d", f.Name, f.State, f.Running, f.Nodes)
		}
	}
	return nil
}
