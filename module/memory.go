package module

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"

	"wasmxds/definition"
)

// memory is what a Resolver knows across restarts besides what was good last:
// what origins said of what they gave.
type memory struct {
	origins map[originKey]knowledge
	changed bool // this, or what is good, since the saver was told
}

// savedState is the file, as it is read. See [saver] for how it is written.
type savedState struct {
	Version int           `json:"version"`
	Filters []savedFilter `json:"filters"`
	Origins []savedOrigin `json:"origins"`
}

// savedVersion changes when older files can't be read any more.
const savedVersion = 1

type savedFilter struct {
	Definition savedDefinition `json:"definition"`
	Module     Info            `json:"module"`
	Trial      string          `json:"trial,omitempty"`
}

type savedOrigin struct {
	URL        string `json:"url"`
	Pull       string `json:"pull,omitempty"`
	PullSecret string `json:"pullSecret,omitempty"`
	Validators
	Module Info `json:"module"`
}

// savedDefinition has the messages of a Filter as bytes, since JSON can't
// have them as they are. Its fields hide those of the same name.
type savedDefinition struct {
	definition.Filter
	Config, VMConfig, Wasm []byte `json:",omitempty"`
}

func (m *memory) origin(key originKey) knowledge { return m.origins[key] }

func (m *memory) learn(key originKey, k knowledge) {
	if key.sha256 == "" && m.origins[key] != k {
		m.origins[key] = k
		m.changed = true
	}
}

func (m *memory) forget(but map[originKey]*origin) {
	for key := range m.origins {
		if but[key] == nil {
			delete(m.origins, key)
			m.changed = true
		}
	}
}

// restore takes over what was good before a restart, as far as the store
// still has it. A file that can't be read is a pity, not an error.
func (l *loop) restore() {
	if l.State == "" {
		return
	}
	b, err := os.ReadFile(l.State)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var state savedState
	if err == nil {
		err = json.Unmarshal(b, &state)
	}
	if err == nil && state.Version != savedVersion {
		err = fmt.Errorf("it has version %d, this program knows %d", state.Version, savedVersion)
	}
	if err != nil {
		l.Logger.Error("what was good before the restart can't be read", "file", l.State, "error", err)
		return
	}
	there := l.present(state)
	for _, f := range state.Filters {
		d, err := f.Definition.restore()
		if err != nil {
			l.Logger.Error("what was good before the restart can't be read", "filter", f.Definition.Name, "error", err)
			continue
		}
		if f.Module.ABI == "" || there[f.Module.SHA256] { // no ABI: only Envoys have it
			l.filters[d.Name] = &entry{good: good{d, f.Module, f.Trial}}
		}
	}
	for _, o := range state.Origins {
		if there[o.Module.SHA256] {
			key := originKey{url: o.URL, pull: definition.PullPolicy(o.Pull), secret: o.PullSecret}
			l.memory.origins[key] = knowledge{Validators: o.Validators, info: o.Module}
		}
	}
}

// present verifies the modules that a state names.
func (l *loop) present(state savedState) map[string]bool {
	there := map[string]bool{}
	for _, f := range state.Filters {
		if f.Module.ABI != "" { // else only Envoys have it
			there[f.Module.SHA256] = false
		}
	}
	for _, o := range state.Origins {
		there[o.Module.SHA256] = false
	}
	named := slices.Collect(maps.Keys(there))
	good := make([]bool, len(named))
	var group errgroup.Group
	group.SetLimit(8)
	for i, sum := range named {
		group.Go(func() error {
			_, err := l.Store.Stat(sum)
			if err != nil {
				l.Logger.Error("module that was good before the restart is lost", "sha256", sum, "error", err)
			}
			good[i] = err == nil
			return nil
		})
	}
	_ = group.Wait() // they give no error
	for i, sum := range named {
		there[sum] = good[i]
	}
	return there
}

// pack puts the messages into the fields that hide them.
func (d *savedDefinition) pack() error {
	marshal := proto.MarshalOptions{Deterministic: true}
	var errs [3]error
	if d.Filter.Config != nil {
		d.Config, errs[0] = marshal.Marshal(d.Filter.Config)
	}
	if d.Filter.VMConfig != nil {
		d.VMConfig, errs[1] = marshal.Marshal(d.Filter.VMConfig)
	}
	if d.Filter.Wasm != nil {
		d.Wasm, errs[2] = marshal.Marshal(d.Filter.Wasm)
	}
	return errors.Join(errs[:]...)
}

// restore is the opposite.
func (d *savedDefinition) restore() (*definition.Filter, error) {
	f := d.Filter
	var errs [3]error
	if d.Config != nil {
		f.Config = new(anypb.Any)
		errs[0] = proto.Unmarshal(d.Config, f.Config)
	}
	if d.VMConfig != nil {
		f.VMConfig = new(anypb.Any)
		errs[1] = proto.Unmarshal(d.VMConfig, f.VMConfig)
	}
	if d.Wasm != nil {
		f.Wasm = new(wasmv3.Wasm)
		errs[2] = proto.Unmarshal(d.Wasm, f.Wasm)
	}
	return &f, errors.Join(errs[:]...)
}
