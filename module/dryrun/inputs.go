package dryrun

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"

	"wasmxds/definition"
)

// version is part of every Key. Increase it when the verdict on the same module may change.
const version = 6

// inputs are all that the outcome of a trial depends on. A trial gets nothing else, and its
// key is computed from them.
type inputs struct {
	Version                  int
	SHA256                   string // of the module
	Name, RootID, VMID       string
	Config, VMConfig         []byte // in wire format
	ConfigType, VMConfigType string
	Env                      map[string][]byte
	Unset                    []string // names of hostEnv that have no value here
	Allow                    []string // allowed host calls
	Restricted               bool     // only what is in Allow is allowed
	AsWritten                bool     // Allow applies to callbacks, too
	Secret                   bool     `json:",omitempty"` // Config is secret, so the module's log is not shown
	Time                     time.Duration
	Memory                   int64
}

func (r *Runner) inputs(f *definition.Filter, sum string) inputs {
	in := inputs{
		Version: version,
		SHA256:  sum,
		Name:    f.Name, RootID: f.RootID, VMID: f.VMID,
		Config: f.Config.GetValue(), ConfigType: f.Config.GetTypeUrl(),
		VMConfig: f.VMConfig.GetValue(), VMConfigType: f.VMConfig.GetTypeUrl(),
		Allow: f.Allow, Restricted: f.Allow != nil || f.AllowComputed, AsWritten: f.Wasm != nil || f.AllowComputed,
		Secret: f.ConfigSecret != nil,
		Time:   r.options.Time, Memory: r.options.Memory,
	}
	in.Env, in.Unset = r.environment(f)
	return in
}

// environment returns the variables that the module sees. Of those that hostEnv names, it
// gets only the ones that the operator of this program allows: this is not the environment
// of the Envoys, and it may contain secrets.
func (r *Runner) environment(f *definition.Filter) (env map[string][]byte, unset []string) {
	env = map[string][]byte{}
	for _, name := range f.HostEnv {
		value, ok := "", false
		if slices.Contains(r.options.HostEnv, name) {
			value, ok = r.options.LookupEnv(name)
		}
		if ok {
			env[name] = []byte(value)
		} else {
			unset = append(unset, name)
		}
	}
	for name, value := range f.Env {
		env[name] = []byte(value)
	}
	slices.Sort(unset)
	return env, unset
}

func (in inputs) key() string {
	b, err := json.Marshal(in)
	if err != nil { // can't happen: there are only strings, numbers and bytes
		panic(err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
