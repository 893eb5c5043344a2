package main

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// paths are the values of a flag that takes one path, and can be repeated: the
// name of a folder may have a comma. In a variable of the environment, paths
// are separated as in PATH.
type paths []string

var _ pflag.SliceValue = (*paths)(nil)

func (p *paths) String() string                { return strings.Join(*p, string(filepath.ListSeparator)) }
func (p *paths) Type() string                  { return "path" }
func (p *paths) Set(path string) error         { return p.Append(path) }
func (p *paths) GetSlice() []string            { return slices.Clone(*p) }
func (p *paths) Replace(values []string) error { *p = values; return nil }

func (p *paths) Append(path string) error {
	*p = append(*p, path)
	return nil
}
