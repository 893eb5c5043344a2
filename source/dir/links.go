package dir

import (
	"os"
	"path/filepath"
	"strings"
)

// maxLinks is the maximum number of symbolic links in one path, the same as in
// Linux.
const maxLinks = 40

// place is a name in a directory whose real path is dir.
type place struct{ dir, name string }

// trail returns every place that determines what path leads to: the place of
// each symbolic link on the way, and the last name. A link that is swapped, as
// Kubernetes does with "..data", is a change at one of them. If something on
// the way is missing, the trail ends there, because that is where it will
// appear.
func trail(path string) []place {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil
	}
	var (
		places []place
		root   = filepath.VolumeName(abs) + string(filepath.Separator)
		at     = root
		rest   = split(abs[len(root):])
		links  int
	)
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case ".":
			continue
		case "..":
			at = filepath.Dir(at)
			continue
		}
		next := filepath.Join(at, name)
		info, err := os.Lstat(next)
		if err != nil {
			return append(places, place{at, name})
		}
		if info.Mode()&os.ModeSymlink == 0 {
			if len(rest) == 0 {
				places = append(places, place{at, name})
			}
			at = next
			continue
		}
		places = append(places, place{at, name})
		target, err := os.Readlink(next)
		if links++; err != nil || links > maxLinks {
			return places
		}
		if filepath.IsAbs(target) {
			at = filepath.VolumeName(target) + string(filepath.Separator)
			target = target[len(at):]
		}
		rest = append(split(target), rest...)
	}
	return places
}

// split returns the elements of a path. It keeps "..": after a link, it is the
// parent of the link's target, not of the link.
func split(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return os.IsPathSeparator(uint8(r)) && r < 0x80 })
}
