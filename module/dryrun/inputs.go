package dryrun

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"

	"wasmxds/definition"
)

// version is part of every Key: raise it when the same module may come out
// otherwise than before.
const version = 6

// inputs are all that the outcome of a trial depends on. A trial is given
// these and nothing else, and they are what its key is made of.
type inputs struct {
	Version                  int
	SHA256                   string // of the module
	Name, RootID, VMID       string
	Config, VMConfig         []byte // as on the wire
	ConfigType, VMConfigType string
	Env                      map[string][]byte
	Unset                    []string // names of hostEnv that have no value here
	Allow                    []string // host calls
	Restricted               bool     // to Allow
	AsWritten                bool     // Allow is for callbacks, too
	Secret                   bool     `json:",omitempty"` // Config, so what the module logs is not told
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

// environment is what the module sees. Of the variables that hostEnv names it
// gets only those that whoever runs this program has allowed: this is not the
// Envoys' environment, and may have secrets.
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
	if err != nil { // strings, numbers and bytes only
		panic(err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
