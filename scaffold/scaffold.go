// Package scaffold creates the folder of a new filter, with source, tests, Makefile, README
// and definition. It builds on its own, and its module and definition can be dropped into
// the directory of an xds-server.
//
// There is one function, [New].
package scaffold

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Languages are the languages that New supports.
var Languages = []string{"go", "rust"}

// The names end with .tmpl because Go would compile templates with its own
// endings, and wouldn't embed a folder that has a go.mod.
//
//go:embed all:templates
var templates embed.FS

const ending = ".tmpl"

// validName matches what is valid as an ECDS resource, a folder, a crate and the end of a
// Go import path.
var validName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)

// New creates the folder of a filter in dir, under the filter's name. The folder must not
// exist. If anything fails, it does not exist afterwards either.
func New(dir, name, lang string) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("filter name %q: needs lower-case letters, digits and dashes, a letter first, 63 at most", name)
	}
	if !slices.Contains(Languages, lang) {
		return fmt.Errorf("language %q: needs one of %s", lang, strings.Join(Languages, ", "))
	}
	folder := filepath.Join(dir, name)
	if err := os.Mkdir(folder, 0o755); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s exists already", folder)
		}
		return fmt.Errorf("making the folder: %w", err)
	}
	if err := write(folder, name, path.Join("templates", lang)); err != nil {
		return errors.Join(err, os.RemoveAll(folder))
	}
	return nil
}

// write fills the folder with the templates below root.
func write(folder, name, root string) error {
	return fs.WalkDir(templates, root, func(at string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := templates.ReadFile(at)
		if err != nil {
			return fmt.Errorf("reading a template: %w", err)
		}
		fill := strings.NewReplacer("@name@", name)
		relative := strings.TrimSuffix(strings.TrimPrefix(at, root+"/"), ending)
		file := filepath.Join(folder, filepath.FromSlash(fill.Replace(relative)))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return fmt.Errorf("making a folder: %w", err)
		}
		mode := fs.FileMode(0o644)
		if strings.HasSuffix(file, ".sh") {
			mode = 0o755
		}
		if err := os.WriteFile(file, []byte(fill.Replace(string(content))), mode); err != nil {
			return fmt.Errorf("writing: %w", err)
		}
		return nil
	})
}
