package definition

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/anypb"

	"wasmxds/definition/internal/document"
)

// A filter's configuration may be in a file beside its definition
// (configFrom.file). Whoever reads the definition also reads that file, and
// appends it to the definition's content, so that both are stored and restored
// together.

const (
	maxConfigFile = 1 << 20 // bytes
	configMark    = "\x00configuration\x00"
)

// configFile is the content of a file that configFrom names, or the reason why
// it can't be read.
type configFile struct {
	Text    []byte `json:"text,omitempty"`
	Missing string `json:"missing,omitempty"`
}

// WithConfigFiles returns the content of a file of definitions, followed by the
// content of the files that it names. It calls read with the path of each and
// the maximum number of bytes. If read can't return the file, it returns the
// reason as missing.
func WithConfigFiles(name string, data []byte, read func(path string, limit int64) (text []byte, missing string)) []byte {
	if !bytes.Contains(data, []byte("configFrom")) {
		return data
	}
	roots, _ := reader(name)(data)
	var named []string
	for _, root := range roots {
		named = configFilesOf(named, root)
	}
	if len(named) == 0 {
		return data
	}
	rest := int64(MaxSize-len(data)) * 3 / 4 // base64 adds a third
	all := map[string]configFile{}
	for _, at := range named {
		if _, is := all[at]; is {
			continue
		}
		rest -= int64(len(at)) + 100
		var f configFile
		if f.Missing = notConfigFile(at); f.Missing == "" {
			limit := max(min(maxConfigFile, rest), 0)
			f.Text, f.Missing = read(configPath(filepath.Dir(name), at), limit)
			if rest -= int64(len(f.Text)); !utf8.Valid(f.Text) {
				f.Text, f.Missing = nil, "is no text"
			}
		}
		all[at] = f
	}
	b, err := json.Marshal(all)
	if err != nil { // can't happen: these are plain values
		return data
	}
	return slices.Concat(data, []byte(configMark), b)
}

// configPath resolves the path of a configuration file against base.
func configPath(base, at string) string {
	if filepath.IsAbs(at) {
		return at
	}
	return filepath.Join(base, filepath.FromSlash(at))
}

// notConfigFile returns why a file of this name can't be used, or "".
func notConfigFile(at string) string {
	for element := range strings.SplitSeq(at, "/") {
		if element != "." && element != ".." && (strings.HasPrefix(element, ".") || strings.HasSuffix(element, "~")) {
			return "is hidden, and not watched; name it otherwise"
		}
	}
	switch filepath.Ext(at) {
	case ".yaml", ".yml", ".json":
		return "would be read as definitions itself; name it otherwise, as " + strings.TrimSuffix(at, filepath.Ext(at)) + ".conf"
	}
	return ""
}

// configFilesOf appends the files that a document names to named.
func configFilesOf(named []string, root *document.Node) []string {
	if items := root.Get("items"); items != nil && items.Kind == document.List {
		for _, item := range items.Items {
			named = configFilesOf(named, item)
		}
	}
	for _, of := range []*document.Node{root, root.Get("spec")} {
		if at := document.TextOf(of.Get("configFrom").Get("file")); at != "" {
			named = append(named, at)
		}
	}
	return named
}

// cutConfigFiles splits what WithConfigFiles has joined.
func cutConfigFiles(data []byte) ([]byte, map[string]configFile) {
	own, rest, is := bytes.Cut(data, []byte(configMark))
	if !is {
		return data, nil
	}
	var all map[string]configFile
	if json.Unmarshal(rest, &all) != nil {
		return data, nil // and it will fail to parse as a document
	}
	return own, all
}

// configFile returns the configuration in the file that configFrom.file names.
func (d *Doc) configFile(at string) *anypb.Any {
	const field = "configFrom.file"
	f, read := d.configFiles[at]
	switch {
	case at == "":
		d.Problem(field, "", "is empty")
	case d.InCluster():
		d.Problem(field, "use configMap or secret", "is for definitions in a directory")
	case d.base == "":
		d.Problem(field, "write it into config", "is for definitions in a directory")
	case !read:
		d.Problem(field, "", "%s is not read", at)
	case f.Missing != "":
		d.Problem(field, "", "%s %s", at, f.Missing)
	default:
		return TextConfig(string(f.Text))
	}
	return nil
}
