package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"runtime/debug"
	"strings"
)

// bom is a software bill of materials, as CycloneDX 1.5 has it
// (https://cyclonedx.org/docs/1.5/json/).
type bom struct {
	Format       string       `json:"bomFormat"`
	SpecVersion  string       `json:"specVersion"`
	Version      int          `json:"version"`
	Metadata     metadata     `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type metadata struct {
	Timestamp string    `json:"timestamp"`
	Component component `json:"component"`
}

type component struct {
	Type     string    `json:"type"`
	Ref      string    `json:"bom-ref"`
	Name     string    `json:"name"`
	Version  string    `json:"version"`
	PURL     string    `json:"purl"`
	Hashes   []hash    `json:"hashes,omitempty"`
	Licenses []license `json:"licenses,omitempty"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type license struct {
	License struct {
		ID string `json:"id"`
	} `json:"license"`
}

type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn"`
}

// sbom says what is in a binary: the modules that are linked into it, by the
// build information that the go command put there, and the standard library.
func sbom(info *buildinfo.BuildInfo, program string) ([]byte, error) {
	content, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	main := moduleComponent("application", &info.Main)
	sum := sha256.Sum256(content)
	main.Hashes = []hash{{"SHA-256", hex.EncodeToString(sum[:])}}
	main.Licenses = make([]license, 1)
	main.Licenses[0].License.ID = "Apache-2.0"

	b := bom{Format: "CycloneDX", SpecVersion: "1.5", Version: 1}
	b.Metadata = metadata{committed(info).Format("2006-01-02T15:04:05Z"), main}
	std := &debug.Module{Path: "std", Version: strings.TrimPrefix(info.GoVersion, "go")}
	b.Components = append(b.Components, moduleComponent("library", std))
	for _, m := range info.Deps {
		c := moduleComponent("library", cmp.Or(m.Replace, m))
		if c.Hashes, err = moduleHash(cmp.Or(m.Replace, m)); err != nil {
			return nil, err
		}
		b.Components = append(b.Components, c)
	}
	linked := dependency{Ref: main.Ref, DependsOn: []string{}}
	for _, c := range b.Components {
		linked.DependsOn = append(linked.DependsOn, c.Ref)
	}
	b.Dependencies = []dependency{linked}

	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err = enc.Encode(b)
	return out.Bytes(), err
}

func moduleComponent(kind string, m *debug.Module) component {
	// https://github.com/package-url/purl-spec, type golang
	purl := "pkg:golang/" + m.Path + "@" + url.PathEscape(m.Version)
	return component{Type: kind, Ref: purl, Name: m.Path, Version: m.Version, PURL: purl}
}

// moduleHash is that of go.sum: a SHA-256 over the module's files.
func moduleHash(m *debug.Module) ([]hash, error) {
	coded, ok := strings.CutPrefix(m.Sum, "h1:")
	if !ok {
		return nil, fmt.Errorf("module %s: checksum %q does not begin with h1", m.Path, m.Sum)
	}
	sum, err := base64.StdEncoding.DecodeString(coded)
	if err != nil {
		return nil, fmt.Errorf("module %s: checksum: %w", m.Path, err)
	}
	return []hash{{"SHA-256", hex.EncodeToString(sum)}}, nil
}
